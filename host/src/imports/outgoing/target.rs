//! Where a request goes, and why it may not.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use wasmill_domain::manifest::allowed_hosts::{HostPattern, Scheme, UrlHost, parse_authority};
use wasmill_domain::units::ByteSize;
use wasmtime_wasi_http::Error;

/// Scheme, host and port of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RequestTarget {
    pub(super) scheme: Scheme,
    pub(super) host: UrlHost,
    pub(super) port: u16,
}

impl RequestTarget {
    /// Reads where a request goes. Of a host that has several spellings one is known, so that what
    /// is checked here is what is looked up and connected to.
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(Refusal::Url("it is neither for http nor for https".into())),
        };
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        let (host, port) = parse_authority(authority).map_err(|e| Refusal::Url(e.to_string()))?;
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.default_port()) })
    }

    /// Whether a function may send requests here at all.
    pub(super) fn check(&self, allowed: &[HostPattern]) -> Result<(), Refusal> {
        let fits =
            allowed.iter().any(|pattern| pattern.matches(self.scheme, &self.host, self.port));
        if fits { Ok(()) } else { Err(Refusal::NotAllowed) }
    }

    /// Host and port as a `Host` header has them.
    pub(super) fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// As a URL without a path, which may hold what nobody else is to see.
impl fmt::Display for RequestTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/", self.scheme.as_str(), self.authority())
    }
}

/// Why the host does not send a request, or does not go on with it. The operator reads the text;
/// the guest gets the code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It cannot be told where it goes.
    #[error("{0}")]
    Url(String),
    #[error("the method CONNECT opens a tunnel, and is for nobody")]
    Tunnel,
    #[error("no pattern of allowed_hosts in wasmill.toml fits")]
    NotAllowed,
    #[error("there have been {0} requests (limits.http_requests)")]
    Requests(u32),
    #[error("{0} requests are under way, as many as the host allows at once")]
    AtOnce(usize),
    #[error(
        "{0} of the function's lookups of names are under way, as many as the host allows at once; one that is given up \
         goes on until the system has answered it"
    )]
    FunctionLookups(usize),
    #[error(
        "{0} lookups of names are under way for the tenant's functions, as many as the host allows at once"
    )]
    TenantLookups(usize),
    #[error("{address} is {why}; an operator can allow its network (host.allowed_networks)")]
    Address { address: IpAddr, why: &'static str },
    #[error(
        "it resolves to {address}, which is {why}; an operator can allow its network (host.allowed_networks)"
    )]
    Resolved { address: IpAddr, why: &'static str },
    #[error(
        "the request is more than is left of the {0} for requests and responses together (limits.http_bytes)"
    )]
    RequestBytes(ByteSize),
    #[error(
        "the response is more than is left of the {0} for requests and responses together (limits.http_bytes)"
    )]
    ResponseBytes(ByteSize),
}

impl Refusal {
    /// What the guest is told.
    pub(super) fn code(&self) -> Error {
        match self {
            Self::Url(_) => Error::HttpRequestUriInvalid,
            Self::Tunnel => Error::HttpRequestMethodInvalid,
            Self::NotAllowed | Self::Requests(_) => Error::HttpRequestDenied,
            Self::AtOnce(_) => Error::ConnectionLimitReached,
            Self::FunctionLookups(_) | Self::TenantLookups(_) => Error::DnsTimeout,
            Self::Address { .. } | Self::Resolved { .. } => Error::DestinationIpProhibited,
            Self::RequestBytes(limit) => Error::HttpRequestBodySize(Some(limit.0)),
            Self::ResponseBytes(limit) => Error::HttpResponseBodySize(Some(limit.0)),
        }
    }
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The host did not want to.
    Refused(Refusal),
    /// It did not work.
    Failed(Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<RequestTarget, Refusal> {
        RequestTarget::of(&url.parse().unwrap())
    }

    #[test]
    fn a_target_has_one_spelling() {
        for (url, expected) in [
            ("https://API.example.com/a?b", "https://api.example.com/"),
            ("https://api.example.com:443", "https://api.example.com/"),
            ("https://api.example.com.:444", "https://api.example.com:444/"),
            ("http://[::FFFF:127.0.0.1]:80/", "http://127.0.0.1/"),
            ("http://[0:0::1]/", "http://[::1]/"),
        ] {
            assert_eq!(target(url).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_has_several_meanings_is_none() {
        for url in [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://017700000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://user@api.example.com/",
            "http://api.example.com@127.0.0.1/",
            "http://api.example.com:0/",
            "http://api.example.com:99999/",
            "ftp://api.example.com/",
            "/path",
        ] {
            assert!(matches!(target(url), Err(Refusal::Url(_))), "{url}: {:?}", target(url));
        }
    }
}
