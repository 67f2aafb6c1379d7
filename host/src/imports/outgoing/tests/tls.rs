//! Requests with TLS.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wasmtime_wasi_http::{Error, RequestOptions};

use super::support::{Accept, Function, Names, Server, network, request, settings, text};
use crate::error::StartError;
use crate::imports::outgoing::Network;
use crate::settings::OutgoingSettings;

const ANYWHERE: &str = "allowed_hosts = ['https://*.example:*']";

/// With TLS.
struct Secured(TlsAcceptor);

impl Accept<TlsStream<TcpStream>> for Secured {
    fn accept(
        &self,
        stream: TcpStream,
    ) -> Pin<Box<dyn Future<Output = io::Result<TlsStream<TcpStream>>> + Send>> {
        Box::pin(self.0.accept(stream))
    }
}

/// A server with a certificate for `api.example`, and the file that vouches for it.
async fn secured() -> (Server, tempfile::NamedTempFile) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["api.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let accept = Secured(TlsAcceptor::from(Arc::new(config)));
    let server =
        Server::start_at(([127, 0, 0, 1], 0).into(), accept, |_| async { text("sealed") }).await;
    (server, file)
}

fn names() -> Arc<Names> {
    Names::new(&[("api.example", &[&["127.0.0.1"]]), ("other.example", &[&["127.0.0.1"]])])
}

#[tokio::test]
async fn a_server_that_the_operators_file_vouches_for() {
    let (server, file) = secured().await;
    let settings = OutgoingSettings { ca_file: Some(file.path().to_owned()), ..settings() };
    let mut function = Function::new(&network(settings, names()), "test", ANYWHERE);
    let port = server.address.port();
    for _ in 0..2 {
        let answer = function.get(&format!("https://api.example:{port}/")).await.unwrap();
        assert_eq!(answer.1, "sealed");
    }
    assert_eq!(server.connections(), 1);
    // The certificate is not for this name.
    let error = function.get(&format!("https://other.example:{port}/")).await.unwrap_err();
    assert!(matches!(error, Error::TlsCertificateError), "{error}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for() {
    let (server, _) = secured().await;
    let (_, strangers) = secured().await;
    let settings = OutgoingSettings { ca_file: Some(strangers.path().to_owned()), ..settings() };
    let mut function = Function::new(&network(settings, names()), "test", ANYWHERE);
    let error =
        function.get(&format!("https://api.example:{}/", server.address.port())).await.unwrap_err();
    assert!(matches!(error, Error::TlsCertificateError), "{error}");
}

#[tokio::test]
async fn servers_that_speak_no_tls() {
    let (_, file) = secured().await;
    let settings = OutgoingSettings { ca_file: Some(file.path().to_owned()), ..settings() };
    let mut function = Function::new(&network(settings, names()), "test", ANYWHERE);
    let server = Server::start(|_| async { text("open") }).await;
    let error =
        function.get(&format!("https://api.example:{}/", server.address.port())).await.unwrap_err();
    assert!(matches!(error, Error::TlsProtocolError), "{error}");
    // One that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = RequestOptions {
        connect_timeout: Some(Duration::from_millis(50)),
        ..RequestOptions::default()
    };
    let request =
        request(&format!("https://api.example:{}/", silent.local_addr().unwrap().port()), "");
    let error = function.send(request, Some(options)).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionTimeout), "{error}");
}

#[test]
fn a_file_that_is_no_good_is_named_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let start = || {
        let settings = OutgoingSettings { ca_file: Some(file.path().to_owned()), ..settings() };
        let error = Network::start(settings, names()).map(drop).unwrap_err();
        assert!(matches!(error, StartError::Certificates(_)), "{error}");
        error.to_string()
    };
    assert!(start().contains("has no certificate in PEM"));
    std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    assert!(start().contains(&file.path().display().to_string()));
    std::fs::remove_file(file.path()).unwrap();
    assert!(start().contains("host.ca_file"));
}
