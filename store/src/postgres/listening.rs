//! Where there is listening for changes of the definitions.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::watch;

use super::settings::PostgresSettings;
use crate::port::{Result, StoreError};

/// Each change of the definitions is told here; the text is its revision.
pub(super) const CHANNEL: &str = "wasmill_revision";

/// Where and until when there is listening.
pub(super) struct Listening {
    pub(super) options: Option<PgConnectOptions>,
    pub(super) wait_timeout: Duration,
    pub(super) is_closed: watch::Sender<bool>,
}

impl Listening {
    pub(super) fn new(url: &str, settings: &PostgresSettings) -> Result<Self> {
        let url = match &settings.listen_url {
            Some(url) => Some(url.as_str()),
            None => (!settings.transaction_pooler).then_some(url),
        };
        let options = url.map(PgConnectOptions::from_str).transpose();
        let options = options.map_err(|e| {
            StoreError::Unavailable(format!("the URL to listen at cannot be used: {e}"))
        })?;
        Ok(Self {
            options: options.map(|options| {
                options.application_name("wasmill-listen").disable_statement_logging()
            }),
            wait_timeout: settings.connect_timeout,
            is_closed: watch::Sender::new(false),
        })
    }

    pub(super) fn close(&self) {
        self.is_closed.send_replace(true);
    }
}
