//! The certificate of a gateway's listener.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use wasmill_http::{Tls, TlsError, TlsFiles};

/// Reads the files, where there are any, and has them read again on SIGHUP. `names` is what the
/// user calls the two.
///
/// # Errors
/// Where they are of no use: the text begins with the name of the one that is not.
pub(super) fn load(
    certificate: Option<&Path>,
    key: Option<&Path>,
    names: [&str; 2],
) -> anyhow::Result<Option<Arc<Tls>>> {
    let (Some(certificate), Some(key)) = (certificate, key) else { return Ok(None) };
    let files = TlsFiles { certificate: certificate.to_owned(), key: key.to_owned() };
    let tls = Tls::load(files).map_err(|error| match error {
        TlsError::Certificate(why) => anyhow!("{}: {why}", names[0]),
        TlsError::Key(why) => anyhow!("{}: {why}", names[1]),
    })?;
    let tls = Arc::new(tls);
    let mut hangups = signal(SignalKind::hangup()).context("signals")?;
    let reloaded = Arc::clone(&tls);
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            reloaded.reload().await;
        }
    });
    Ok(Some(tls))
}
