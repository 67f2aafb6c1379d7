//! Encryption, by the URL's word.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::super::testing::{Server, give_away};
use super::{PostgresStore, settings};
use crate::port::{Identity as _, StoreError};

/// A certificate for `localhost` and its key, and nobody else's signature.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

async fn error(url: &str) -> String {
    match PostgresStore::connect(url, settings()).await {
        Err(StoreError::Unavailable(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{url} is trusted"),
    }
}

#[tokio::test]
async fn a_certificate_is_checked() {
    let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificate(ours.path());
    certificate(others.path());
    let file = |folder: &TempDir, name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (file(&ours, "server.crt"), file(&ours, "server.key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for path in [ours.path(), certificate.as_ref(), key.as_ref()] {
        give_away(path);
    }
    let server = Server::start(&[
        "ssl=on",
        &format!("ssl_cert_file={certificate}"),
        &format!("ssl_key_file={key}"),
    ]);
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    let url = |host: &str, parameters: &str| {
        format!("postgres://postgres@{host}:{port}/postgres?{parameters}")
    };
    let trusted = |folder: &TempDir| {
        format!("sslmode=verify-full&sslrootcert={}", file(folder, "server.crt"))
    };
    for parameters in ["sslmode=require".to_owned(), trusted(&ours)] {
        let store =
            PostgresStore::connect(&url("localhost", &parameters), settings()).await.unwrap();
        store.ping().await.unwrap();
        let mut session =
            store.inner.pool.begin(super::super::session::Access::Read).await.unwrap();
        let encrypted =
            sqlx::query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl");
        assert!(session.row_if_any(encrypted).await.unwrap().is_some(), "{parameters}");
    }
    let why = error(&url("localhost", &trusted(&others))).await;
    assert!(why.contains("certificate"), "{why}");
    let why = error(&url("localhost", "sslmode=verify-full")).await;
    assert!(why.contains("certificate"), "{why}");
    let why = error(&url("127.0.0.1", &trusted(&ours))).await;
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn encryption_that_is_asked_for_is_not_done_without() {
    let server = Server::start(&[]);
    let why = error(&format!("{}?sslmode=require", server.url())).await;
    assert!(why.contains("TLS"), "{why}");
}
