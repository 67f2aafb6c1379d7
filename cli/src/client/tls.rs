//! Whom the client verbs believe when a gateway speaks HTTPS.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Trusts what the system trusts, and the certificates in `ca_file`; nobody where the URL is not
/// one with https.
///
/// # Errors
/// Where the file is of no use.
pub(super) fn config(url: &str, ca_file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if url.starts_with("https:") {
        if let Some(file) = ca_file {
            add(&mut roots, file).with_context(|| format!("--ca-file '{}'", file.display()))?;
        }
        // One that cannot be read vouches for nobody, and the others still do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder?.with_root_certificates(roots).with_no_client_auth())
}

fn add(roots: &mut RootCertStore, file: &Path) -> anyhow::Result<()> {
    let certificates =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|e| anyhow!("{e}"))?;
    if certificates.is_empty() {
        bail!("there is no certificate in PEM in it");
    }
    for certificate in certificates {
        roots.add(certificate)?;
    }
    Ok(())
}
