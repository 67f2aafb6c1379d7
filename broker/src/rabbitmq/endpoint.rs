//! Where RabbitMQ is, and how to connect to it.

use std::io;
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Mutex;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use lapin::types::{Heartbeat, LongString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::settings::RabbitSettings;

/// Why a [`RabbitBroker`](super::RabbitBroker) cannot be set up. Trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address is no AMQP URL.
    #[error(
        "the address of the RabbitMQ cannot be read: {0}; it should be like amqp://user:password@host:5672/vhost"
    )]
    Address(String),
    /// The file of certificates cannot be read or holds none.
    #[error("the certificates in {path} cannot be used: {reason}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no certificates to trust, and no file of them was given.
    #[error(
        "the system's certificates cannot be used: {0}; give a file of certificates, or install the system's"
    )]
    SystemCertificates(String),
}

/// Where connections go.
pub(super) struct Endpoint {
    uri: AMQPUri,
    tls: Option<RustlsConnector>,
    pub(super) settings: RabbitSettings,
}

/// A connection, and its socket, which ends it whatever state lapin believes it to be in.
pub(super) struct Dialled {
    pub(super) connection: Connection,
    pub(super) socket: Socket,
}

/// Another handle on a connection's socket.
pub(super) struct Socket(StdTcpStream);

impl Socket {
    /// Ends the connection at once: both sides read its end.
    pub(super) fn cut(&self) {
        // It fails where the socket is closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Endpoint {
    pub(super) fn new(address: &str, settings: RabbitSettings) -> Result<Self, SetupError> {
        let mut uri: AMQPUri = address.parse().map_err(SetupError::Address)?;
        if let Some(host) = literal_ipv6(address) {
            uri.authority.host = host.to_owned();
        }
        // `amqp://host/` names the virtual host with the empty name, which nobody means.
        if uri.vhost.is_empty() {
            uri.vhost = "/".into();
        }
        // `checked` has it between 1 and 3,600.
        uri.query.heartbeat = Some(settings.heartbeat.as_secs() as Heartbeat);
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(connector(&settings)?),
        };
        Ok(Self { uri, tls, settings })
    }

    /// Makes a connection. `role` is what it is for.
    ///
    /// # Errors
    /// What went wrong, with the address.
    pub(super) async fn dial(&self, role: &str) -> Result<Dialled, String> {
        let timeout = self.settings.connect_timeout;
        match tokio::time::timeout(timeout, self.connect(role)).await {
            Ok(Ok(dialled)) => Ok(dialled),
            Ok(Err(reason)) => Err(format!("{}: {reason}", self.address())),
            Err(_) => Err(format!("{}: no connection within {timeout:?}", self.address())),
        }
    }

    async fn connect(&self, role: &str) -> io::Result<Dialled> {
        let (host, port) = (self.uri.authority.host.as_str(), self.uri.authority.port);
        let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
        let runtime = lapin::runtime::default_runtime().map_err(io::Error::other)?;
        let mut stream = AsyncTcpStream::connect(&runtime, addresses).await?;
        let AsyncTcpStream::Plain(plain) = &stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        // The thread that lapin starts for a connection waits for RabbitMQ's first frame without
        // end: whoever stops waiting must shut the socket down, or both stay for ever.
        let mut guard =
            CutOnDrop(Some(Socket(plain.get_ref().as_fd().try_clone_to_owned()?.into())));
        if let Some(connector) = &self.tls {
            stream = stream.into_rustls(connector, host).await?;
        }
        let stream = Mutex::new(Some(stream));
        let this_one = async move |_, _| {
            let stream = stream.lock().ok().and_then(|mut stream| stream.take());
            stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
        };
        let name = LongString::from(format!("{} {role}", self.settings.name));
        let properties = ConnectionProperties::default().with_connection_name(name);
        let connection = Connection::connector(self.uri.clone(), runtime, this_one, properties)
            .await
            .map_err(io::Error::other)?;
        guard
            .0
            .take()
            .map(|socket| Dialled { connection, socket })
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The address for messages: without user and password.
    fn address(&self) -> String {
        format!("{}://{}:{}", self.uri.scheme, self.uri.authority.host, self.uri.authority.port)
    }
}

struct CutOnDrop(Option<Socket>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.cut();
        }
    }
}

/// `::1` of `amqp://user@[::1]:5672/`, which the parser of addresses does not see.
fn literal_ipv6(address: &str) -> Option<&str> {
    let rest = address.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.strip_prefix('[')?.split_once(']').map(|(host, _)| host)
}

fn connector(settings: &RabbitSettings) -> Result<RustlsConnector, SetupError> {
    let Some(path) = &settings.ca_file else {
        return RustlsConnectorConfig::new_with_native_certs()
            .and_then(RustlsConnectorConfig::connector_with_no_client_auth)
            .map_err(|error| SetupError::SystemCertificates(error.to_string()));
    };
    let unusable = |reason: String| SetupError::CaFile { path: path.clone(), reason };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable("it holds no certificate in PEM".into()));
    }
    RustlsConnectorConfig::default()
        .with_parsable_certificates(certificates)
        .connector_with_no_client_auth()
        .map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str) -> Endpoint {
        Endpoint::new(address, RabbitSettings::default()).unwrap()
    }

    #[test]
    fn addresses_are_read() {
        let plain = endpoint("amqp://user:pa%2Fss@rabbit.example/orders").uri;
        assert_eq!((plain.authority.host.as_str(), plain.authority.port), ("rabbit.example", 5672));
        assert_eq!(
            (plain.authority.userinfo.password.as_str(), plain.vhost.as_str()),
            ("pa/ss", "orders")
        );
        for address in
            ["amqp://[::1]:5673", "amqp://user:pw@[::1]:5673/", "amqp://[::1]:5673/%2f?heartbeat=9"]
        {
            let uri = endpoint(address).uri;
            assert_eq!(
                (uri.authority.host.as_str(), uri.authority.port, uri.vhost.as_str()),
                ("::1", 5673, "/")
            );
            assert_eq!(uri.query.heartbeat, Some(5));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["", "rabbit.example", "http://rabbit.example", "amqp:rabbit"] {
            assert!(
                matches!(
                    Endpoint::new(address, RabbitSettings::default()),
                    Err(SetupError::Address(_))
                ),
                "{address}"
            );
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let with = |path: &PathBuf| RabbitSettings {
            ca_file: Some(path.clone()),
            ..RabbitSettings::default()
        };
        for content in
            [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
        {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = Endpoint::new("amqps://rabbit.example", with(&path)).err().unwrap();
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
        // Without TLS nobody asks for it.
        assert!(Endpoint::new("amqp://rabbit.example", with(&path)).is_ok());
    }

    #[test]
    fn messages_show_no_password() {
        assert_eq!(
            endpoint("amqp://user:secret@rabbit.example").address(),
            "amqp://rabbit.example:5672"
        );
    }
}
