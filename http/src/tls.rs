//! The listener's certificate, kept up to date with its files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use webpki::EndEntityCert;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// HTTP/2, as clients and servers call it in a handshake.
pub(crate) const HTTP_2: &[u8] = b"h2";

/// Where a listener's certificate is, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that vouch for it behind it.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why files are of no use, and which. The text names it and never shows what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The certificate's.
    #[error("{0}")]
    Certificate(String),
    /// The key's.
    #[error("{0}")]
    Key(String),
}

/// A listener's certificate and key. Connections use what was read last.
pub struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
    /// The certificate's, when it was read first.
    names: Vec<String>,
    /// What the files held when they were looked at last, of use or not.
    seen: Mutex<Option<Seen>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Where one cannot be read or is not what it should be, and where the key is not the
    /// certificate's.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let read = Read::of(&files);
        let config = read.config(&files)?;
        Ok(Self {
            files,
            names: read.names(),
            config: ArcSwap::from_pointee(config),
            seen: Mutex::new(Some(read.digest())),
        })
    }

    /// The DNS names that the certificate is for (its subject alternative names), those with a
    /// wildcard as they are: of the one that was there when the files were loaded.
    pub fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Looks at the files again. If they have changed and are of use, connections made from now on
    /// use them; if not, what is in use stays, and the log says why.
    pub async fn reload(self: &Arc<Self>) {
        let tls = Arc::clone(self);
        // It ends early only with the runtime.
        let _ = tokio::task::spawn_blocking(move || tls.look_again()).await;
    }

    fn look_again(&self) {
        let read = Read::of(&self.files);
        let digest = read.digest();
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).replace(digest);
        if before == Some(digest) {
            return;
        }
        let certificate = self.files.certificate.display();
        match read.config(&self.files) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                tracing::info!(%certificate, "the listener has a new certificate");
            }
            Err(error) => {
                tracing::error!(%certificate, %error, "the listener keeps the certificate that it has");
            }
        }
    }

    /// Looks at the files every few seconds until `shutdown`.
    pub(crate) async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => self.reload().await,
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// What a handshake goes by.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

/// What two files held, by SHA-256.
type Seen = [[u8; 32]; 2];

/// What the files hold.
struct Read {
    certificate: Result<Vec<u8>, String>,
    key: Result<Vec<u8>, String>,
}

impl Read {
    fn of(files: &TlsFiles) -> Self {
        let read =
            |file: &Path| std::fs::read(file).map_err(|e| format!("'{}': {e}", file.display()));
        Self { certificate: read(&files.certificate), key: read(&files.key) }
    }

    fn digest(&self) -> Seen {
        let digest = |read: &Result<Vec<u8>, String>| -> [u8; 32] {
            Sha256::digest(read.as_deref().unwrap_or_else(|why| why.as_bytes())).into()
        };
        [digest(&self.certificate), digest(&self.key)]
    }

    fn names(&self) -> Vec<String> {
        let bytes = self.certificate.as_deref().unwrap_or_default();
        let Some(Ok(first)) = CertificateDer::pem_slice_iter(bytes).next() else {
            return Vec::new();
        };
        let Ok(certificate) = EndEntityCert::try_from(&first) else { return Vec::new() };
        certificate.valid_dns_names().map(str::to_owned).collect()
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let certificate = |why: &dyn fmt::Display| {
            TlsError::Certificate(format!("'{}': {why}", files.certificate.display()))
        };
        let key =
            |why: &dyn fmt::Display| TlsError::Key(format!("'{}': {why}", files.key.display()));
        let bytes = self.certificate.as_ref().map_err(|why| TlsError::Certificate(why.clone()))?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(bytes)
            .collect::<Result<_, _>>()
            .map_err(|e| certificate(&e))?;
        if chain.is_empty() {
            return Err(certificate(&"there is no certificate in PEM in it"));
        }
        let bytes = self.key.as_ref().map_err(|why| TlsError::Key(why.clone()))?;
        let private = PrivateKeyDer::from_pem_slice(bytes)
            .map_err(|_| key(&"there is no private key in PEM in it"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        // Cannot fail: the provider speaks both versions of TLS that are switched on.
        let builder = builder.map_err(|e| certificate(&e))?.with_no_client_auth();
        let config = builder.with_single_cert(chain, private);
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => key(&format!(
                "it is not the key of the certificate in '{}'",
                files.certificate.display()
            )),
            rustls::Error::InvalidCertificate(_) => certificate(&error),
            error => key(&error),
        })?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
