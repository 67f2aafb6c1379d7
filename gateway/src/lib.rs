//! The gateway: takes events in over HTTP, checks them, hands them to the broker, and serves the
//! API by which everything is managed.
//!
//! Where to look: [`routing`] decides what a request is for. The way in is [`ingest`]; [`triggers`]
//! are requests to functions; the rest of the API has a module for each of its nouns in [`api`],
//! and its documents stand in [`documents`]. Who may do what is in [`auth`], what can go wrong in
//! [`error`] and [`problem`], what is bounded in [`settings`], who may have how much of it in
//! [`budget`] and [`tenant_semaphore`]. The listener is `wasmill_http`'s.

mod api;
mod app;
mod auth;
mod authority;
mod awaited;
mod body;
mod budget;
mod documents;
mod error;
mod extract;
mod ingest;
mod page;
mod parts;
mod ports;
mod preflight;
mod problem;
mod routing;
mod rows;
mod settings;
mod tenant_semaphore;
mod triggers;
mod waiters;
mod webhooks;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wasmill_http::Tls;

pub use parts::GatewayParts;
pub use ports::{GatewayBroker, GatewayStore};
pub use preflight::{HostPreflight, HostPreflightSettings};
pub use settings::GatewaySettings;

/// A gateway for whoever serves its router.
pub struct Service {
    app: Arc<app::App>,
}

impl Service {
    /// A gateway that ends what it began when `shutdown` is cancelled. Needs a tokio runtime.
    pub fn new(parts: GatewayParts, shutdown: CancellationToken) -> Self {
        let app = app::App::new(parts, shutdown);
        api::hostnames::warn_of_not_owned(&app);
        Self { app }
    }

    /// What answers requests.
    pub fn router(&self) -> axum::Router {
        routing::router(Arc::clone(&self.app))
    }

    /// Writes what accepted requests have left to write, for as long as requests may drain. For
    /// when no request comes any more.
    pub async fn finish(self) {
        if !self.app.rows.flush(self.app.settings.server.drain_timeout).await {
            tracing::warn!(
                "rows of accepted executions are left unwritten; they are made when the executions run"
            );
        }
    }
}

/// Serves HTTP/1.1 and HTTP/2 on `listener` until `shutdown`, then lets requests finish for as long
/// as the settings say.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    parts: GatewayParts,
    shutdown: CancellationToken,
) {
    let service = Service::new(parts, shutdown.clone());
    let settings = &service.app.settings.server;
    wasmill_http::serve(listener, tls, service.router().into(), settings, shutdown).await;
    service.finish().await;
}

/// The OpenAPI description of the API, as `GET /openapi.json` serves it with the default settings
/// and while there are no keys.
pub fn openapi() -> serde_json::Value {
    api::description(&GatewaySettings::default(), false)
}
