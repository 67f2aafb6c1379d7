//! HTTPS.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, StatusCode, Version};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_gateway::GatewaySettings;
use wasmill_http::{ServerSettings, Tls, TlsFiles};

use crate::framing::BEGIN;
use crate::harness::{Gateway, WAIT_TIMEOUT, client, component, within};

/// A certificate of its own for 127.0.0.1, in files.
pub(crate) struct Pair {
    folder: tempfile::TempDir,
    certificate: String,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self { folder: tempfile::tempdir().unwrap(), certificate: String::new() };
        pair.renew();
        pair
    }

    fn renew(&mut self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        self.certificate = params.self_signed(&key).unwrap().pem();
        let TlsFiles { certificate, key: key_file } = self.files();
        std::fs::write(certificate, &self.certificate).unwrap();
        std::fs::write(key_file, key.serialize_pem()).unwrap();
    }

    fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.folder.path().join("cert.pem"),
            key: self.folder.path().join("key.pem"),
        }
    }

    /// A client that trusts this certificate and no other.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        client().tls_certs_only([Certificate::from_pem(self.certificate.as_bytes()).unwrap()])
    }

    /// A connection that speaks HTTP/1.1, byte for byte.
    async fn connect(&self, gateway: &Gateway) -> TlsStream<TcpStream> {
        self.connect_by(gateway, &[]).await
    }

    /// One that speaks one of these.
    async fn connect_by(&self, gateway: &Gateway, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let name = gateway.address.ip().into();
        TlsConnector::from(self.config(protocols)).connect(name, stream).await.unwrap()
    }

    fn config(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut trusted = RootCertStore::empty();
        trusted.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(trusted);
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// What a client sends first in a handshake.
    fn hello(&self, gateway: &Gateway) -> Vec<u8> {
        // Whoever comes first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = gateway.address.ip().into();
        let mut connection = ClientConnection::new(self.config(&[]), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }
}

pub(crate) async fn secured(settings: GatewaySettings) -> (Gateway, Arc<Tls>, Pair) {
    let pair = Pair::new();
    let tls = Arc::new(Tls::load(pair.files()).unwrap());
    let gateway =
        Gateway::start_on(settings, EmbeddedSettings::default(), Some(Arc::clone(&tls))).await;
    (gateway, tls, pair)
}

async fn version(http: &Client, gateway: &Gateway) -> Option<Version> {
    let response = http
        .get(format!("https://{}/healthz", gateway.address))
        .timeout(WAIT_TIMEOUT)
        .send()
        .await
        .ok()?;
    assert_eq!(response.status(), StatusCode::OK);
    Some(response.version())
}

#[tokio::test]
async fn the_client_chooses_the_protocol() {
    let (gateway, _tls, pair) = secured(GatewaySettings::default()).await;
    assert_eq!(version(&pair.client().build().unwrap(), &gateway).await, Some(Version::HTTP_2));
    let old = pair.client().http1_only().build().unwrap();
    assert_eq!(version(&old, &gateway).await, Some(Version::HTTP_11));
    // Whoever does not trust the certificate is not served, nor is who speaks without TLS.
    assert_eq!(version(&client().build().unwrap(), &gateway).await, None);
    assert!(client().build().unwrap().get(&gateway.url).send().await.is_err());
}

#[tokio::test]
async fn a_new_certificate_is_taken_while_connections_live() {
    let (gateway, tls, mut pair) = secured(GatewaySettings::default()).await;
    let before = pair.client().build().unwrap();
    assert!(version(&before, &gateway).await.is_some());
    pair.renew();
    tls.reload().await;
    assert!(version(&pair.client().build().unwrap(), &gateway).await.is_some());
    // The connection that was there before goes on.
    assert!(version(&before, &gateway).await.is_some());
    // A broken pair changes nothing.
    std::fs::write(pair.files().key, "no key").unwrap();
    tls.reload().await;
    assert!(version(&pair.client().build().unwrap(), &gateway).await.is_some());
}

#[tokio::test]
async fn functions_see_that_it_was_https() {
    let (gateway, _tls, pair) = secured(GatewaySettings::default()).await;
    for (path, http) in [
        ("/a", pair.client().build().unwrap()),
        ("/b", pair.client().http1_only().build().unwrap()),
    ] {
        let name = &path[1..];
        let digest = upload(&pair, &gateway).await;
        let manifest = json!({"name": name, "trigger": [{"http": path, "mode": "async"}]});
        let url = format!("https://{}", gateway.address);
        let deploy = http
            .put(format!("{url}/v1/functions/{name}"))
            .json(&json!({"digest": digest, "manifest": manifest}));
        assert_eq!(deploy.send().await.unwrap().status(), StatusCode::CREATED);
        let called = http.post(format!("{url}/http/default{path}")).send().await.unwrap();
        assert_eq!(called.status(), StatusCode::ACCEPTED);
        let event = gateway.take(name, 1).await.remove(0).event;
        assert_eq!(event.extensions["httpscheme"].to_string(), "https");
    }
}

async fn upload(pair: &Pair, gateway: &Gateway) -> String {
    let url = format!("https://{}/v1/artifacts", gateway.address);
    let component = component(1);
    let http = pair.client().build().unwrap();
    let answer = http
        .post(url)
        .header("content-type", "application/wasm")
        .body(component)
        .send()
        .await
        .unwrap();
    let document: serde_json::Value = answer.json().await.unwrap();
    document["digest"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn handshakes_are_bounded_in_time() {
    let settings = within(ServerSettings {
        handshake_timeout: Duration::from_millis(500),
        ..ServerSettings::default()
    });
    let (gateway, _tls, pair) = secured(settings).await;
    // One that never ends is given up.
    let mut stalled = TcpStream::connect(gateway.address).await.unwrap();
    stalled.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(WAIT_TIMEOUT, stalled.read_to_end(&mut rest))
        .await
        .expect("the handshake goes on");
    assert!(version(&pair.client().build().unwrap(), &gateway).await.is_some());
}

/// However many there are that never end, with nothing of the first message, a part of it, or all
/// of it and nothing more: others do not wait for them.
#[tokio::test]
async fn handshakes_half_sent_keep_nobody_out() {
    let settings = within(ServerSettings {
        handshake_timeout: Duration::from_secs(3600),
        ..ServerSettings::default()
    });
    let (gateway, _tls, pair) = secured(settings).await;
    let hello = pair.hello(&gateway);
    let mut stalled = Vec::new();
    for sent in [&[], &hello[..3], &hello] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(gateway.address).await.unwrap();
            stream.write_all(sent).await.unwrap();
            stalled.push(stream);
        }
    }
    assert!(version(&pair.client().build().unwrap(), &gateway).await.is_some());
}

/// They are bounded in number as all are whose first head has not come, the oldest goes.
#[tokio::test]
async fn heads_half_sent_over_tls_keep_nobody_out() {
    let settings = within(ServerSettings {
        handshake_timeout: Duration::from_secs(3600),
        header_timeout: Duration::from_secs(3600),
        max_pending_connections: Some(2),
        ..ServerSettings::default()
    });
    let (gateway, _tls, pair) = secured(settings).await;
    let halves: [(&[u8], &[u8]); 2] =
        [(b"http/1.1", b"GET /healthz HTTP/1.1\r\nHost: loc"), (b"h2", BEGIN)];
    for (protocol, half) in halves {
        let mut oldest = TcpStream::connect(gateway.address).await.unwrap();
        oldest.write_all(&pair.hello(&gateway)).await.unwrap();
        let mut stalled = Vec::new();
        for _ in 0..4 {
            let mut stream = pair.connect_by(&gateway, &[protocol]).await;
            stream.write_all(half).await.unwrap();
            stream.flush().await.unwrap();
            stalled.push(stream);
        }
        assert!(version(&pair.client().build().unwrap(), &gateway).await.is_some());
        // The end may be a reset.
        let _ = tokio::time::timeout(WAIT_TIMEOUT, oldest.read_to_end(&mut Vec::new()))
            .await
            .expect("the oldest stays open");
    }
}

/// Without that, a client cannot tell whether something is missing.
#[tokio::test]
async fn the_end_is_said() {
    let settings = within(ServerSettings {
        header_timeout: Duration::from_millis(500),
        ..ServerSettings::default()
    });
    let (gateway, _tls, pair) = secured(settings).await;
    let upgrade = "Connection: close, Upgrade\r\nUpgrade: h2c\r\n";
    // The second ends when it has said nothing for a while; the last is not a head that can be
    // read.
    for (fields, status) in
        [("Connection: close\r\n", 200), ("", 200), (upgrade, 200), ("nonsense\r\n", 400)]
    {
        let mut stream = pair.connect(&gateway).await;
        let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(WAIT_TIMEOUT, stream.read_to_end(&mut answer))
            .await
            .expect("it stays open");
        read.unwrap_or_else(|e| panic!("{fields:?}: {e}"));
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields:?}: {answer}");
    }
}

#[tokio::test]
async fn it_stops_with_tls_as_well() {
    let (gateway, _tls, pair) = secured(GatewaySettings::default()).await;
    let http = pair.client().build().unwrap();
    assert!(version(&http, &gateway).await.is_some());
    // One that is in the middle of its handshake is not waited for.
    let _stalled = TcpStream::connect(gateway.address).await.unwrap();
    gateway.shutdown.cancel();
    tokio::time::timeout(WAIT_TIMEOUT, gateway.served).await.expect("it does not stop").unwrap();
}
