//! Files that are of use, and others.

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A certificate and its key, in PEM.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(certificate: &str, key: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(certificate, key);
        folder
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.files().certificate, certificate).unwrap();
        std::fs::write(self.files().key, key).unwrap();
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.path().join("cert.pem"), key: self.0.path().join("key.pem") }
    }

    fn error(&self) -> TlsError {
        Tls::load(self.files()).unwrap_err()
    }
}

#[test]
fn what_is_no_pair_is_named() {
    let ((certificate, key), (_, other)) = (pair(), pair());
    assert!(
        matches!(Folder::with("", &key).error(), TlsError::Certificate(why) if why.contains("cert.pem"))
    );
    assert!(
        matches!(Folder::with(&key, &key).error(), TlsError::Certificate(why) if why.contains("no certificate"))
    );
    assert!(
        matches!(Folder::with(&certificate, "x").error(), TlsError::Key(why) if why.contains("no private key"))
    );
    assert!(
        matches!(Folder::with(&certificate, &other).error(), TlsError::Key(why) if why.contains("not the key of"))
    );
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(Folder::with(broken, &key).error(), TlsError::Certificate(_)));
    let folder = Folder::with(&certificate, &key);
    std::fs::remove_file(folder.files().key).unwrap();
    assert!(matches!(folder.error(), TlsError::Key(why) if why.contains("key.pem")));
}

#[tokio::test]
async fn only_a_new_pair_that_fits_is_taken() {
    let ((certificate, key), (other, other_key)) = (pair(), pair());
    let folder = Folder::with(&certificate, &key);
    let tls = Arc::new(Tls::load(folder.files()).unwrap());
    let first = tls.config();
    tls.reload().await;
    assert!(Arc::ptr_eq(&first, &tls.config()), "nothing has changed");
    folder.write(&other, &key);
    tls.reload().await;
    assert!(Arc::ptr_eq(&first, &tls.config()), "the key is not the certificate's");
    folder.write(&other, &other_key);
    tls.reload().await;
    let second = tls.config();
    assert!(!Arc::ptr_eq(&first, &second));
    std::fs::remove_file(folder.files().certificate).unwrap();
    tls.reload().await;
    assert!(Arc::ptr_eq(&second, &tls.config()), "there is no certificate");
}

#[test]
fn the_names_are_the_certificate_s() {
    let key = KeyPair::generate().unwrap();
    let names = ["api.example.com", "*.shop.example.com", "127.0.0.1"];
    let params = CertificateParams::new(names.map(str::to_owned)).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let folder = Folder::with(&certificate, &key.serialize_pem());
    assert_eq!(Tls::load(folder.files()).unwrap().names(), names[..2]);
}
