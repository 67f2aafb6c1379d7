//! The bounds of a gateway's listener.

use wasmill_http::ServerSettings;

use super::files;
use crate::config;

/// What the configuration says of them, within what the system lets this process have open.
pub(super) fn settings_of(gateway: &config::Gateway) -> ServerSettings {
    ServerSettings {
        max_connections: files::connections_within_limit(
            gateway.max_connections,
            "gateway.max_connections",
        ),
        max_connections_per_address: gateway.max_connections_per_address,
        exempt_networks: gateway.exempt_networks.clone(),
        max_pending_connections: gateway.max_pending_connections,
        max_streams: gateway.max_streams,
        header_timeout: gateway.header_timeout.0,
        idle_timeout: gateway.idle_timeout.0,
        write_timeout: gateway.write_timeout.0,
        max_discarded_bytes: gateway.max_discarded_bytes.0,
        drain_timeout: gateway.grace.0,
        ..ServerSettings::default()
    }
}
