//! What went wrong, in the words of wasi:http.

use std::error::Error as _;
use std::io;

use rustls::Error as TlsError;
use wasmtime_wasi_http::Error;

/// What a name's lookup failed with.
pub(super) fn of_lookup(error: &io::Error) -> Error {
    tracing::debug!(%error, "a name that a function asked for cannot be resolved");
    Error::DnsError { rcode: Some("address not available".into()), info_code: None }
}

/// What an attempt to connect failed with.
pub(super) fn of_connect(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            Error::DestinationIpUnroutable
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            Error::ConnectionTerminated
        }
        _ => Error::DestinationUnavailable,
    }
}

/// What a TLS handshake failed with.
pub(super) fn of_tls(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        None => Error::ConnectionTerminated,
        Some(TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(TlsError::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: alert.as_str().map(str::to_owned),
        },
        Some(_) => Error::TlsProtocolError,
    }
}

/// What an exchange failed with.
pub(super) fn of_hyper(error: &hyper::Error) -> Error {
    if let Some(of_body) = error.source().and_then(|source| source.downcast_ref::<Error>()) {
        return match of_body {
            Error::HttpRequestBodySize(size) => Error::HttpRequestBodySize(*size),
            Error::ConnectionTerminated => Error::ConnectionTerminated,
            _ => Error::HttpProtocolError,
        };
    }
    if error.is_timeout() {
        Error::ConnectionReadTimeout
    } else if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else if error.is_canceled() || error.is_closed() || has_io_error(error) {
        Error::ConnectionTerminated
    } else {
        Error::HttpProtocolError
    }
}

fn has_io_error(error: &hyper::Error) -> bool {
    error.source().is_some_and(<dyn std::error::Error + 'static>::is::<io::Error>)
}
