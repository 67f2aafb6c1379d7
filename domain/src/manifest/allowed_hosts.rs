//! Where a function may send HTTP requests: the patterns of `allowed_hosts`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many patterns a function may have.
const MOST_PATTERNS: usize = 64;

/// The longest pattern, in bytes: a host name, a scheme and a port.
const LONGEST: usize = 280;

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As URLs begin.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where a URL names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The host of a URL, in the one form in which hosts are compared.
///
/// An address has many spellings, and software does not agree on them: `127.1`, `0177.0.0.1`,
/// `0x7f000001` and `2130706433` may all be read as 127.0.0.1. Here an IPv4 address is four decimal
/// numbers; everything else that ends in a number is refused. An IPv4 address inside an IPv6 one
/// (`::ffff:127.0.0.1`) is the IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UrlHost {
    /// A name in lower case, without the dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a text is not the host and the port of a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlHostError(String);

/// The host and the port of a URL, taken apart: `example.com:8080`, `[::1]`. A port that is not
/// there is `None`.
///
/// # Errors
/// Where the host is none, as [`UrlHost`] says, there is a user name, or the port is not 1 to
/// 65535.
pub fn parse_authority(text: &str) -> Result<(UrlHost, Option<u16>), UrlHostError> {
    let (host, port) = split(text)?;
    Ok((host.parse()?, port.map(parse_port).transpose()?))
}

/// Host and port, unchecked.
fn split(text: &str) -> Result<(&str, Option<&str>), UrlHostError> {
    if text.contains('@') {
        return Err(UrlHostError("a user name cannot stand before the host".into()));
    }
    let after_brackets = text.find(']').map_or(0, |end| end + 1);
    let (host, port) = match text[after_brackets..].split_once(':') {
        Some((rest, port)) => (&text[..after_brackets + rest.len()], Some(port)),
        None => (text, None),
    };
    if port.is_some_and(|port| port.contains(':')) {
        return Err(UrlHostError(
            "an IPv6 address stands in brackets: 'https://[2001:db8::1]'".into(),
        ));
    }
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<u16, UrlHostError> {
    let port = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
    port.filter(|port| *port > 0)
        .ok_or_else(|| UrlHostError(format!("the port '{}' is not 1 to 65535", shown(text))))
}

/// At most as much of a text as a reader needs.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl FromStr for UrlHost {
    type Err = UrlHostError;

    fn from_str(text: &str) -> Result<Self, UrlHostError> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Option<Ipv6Addr> =
                inner.strip_suffix(']').and_then(|inner| inner.parse().ok());
            let address = address
                .ok_or_else(|| UrlHostError(format!("'{}' is not an IPv6 address", shown(text))))?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if !text.is_ascii() {
            let message =
                format!("'{}' is not ASCII: write an international name as 'xn--…'", shown(text));
            return Err(UrlHostError(message));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if ends_in_a_number(&name) {
            let address: Option<Ipv4Addr> = name.parse().ok();
            return address.map(|address| Self::Address(address.into())).ok_or_else(|| {
                UrlHostError(format!(
                    "'{}' is not an IPv4 address: four decimal numbers are",
                    shown(text)
                ))
            });
        }
        if name.len() <= 253 && name.split('.').all(is_label) {
            Ok(Self::Name(name))
        } else {
            Err(UrlHostError(format!("'{}' is not a host name", shown(text))))
        }
    }
}

/// Whether some software would take a host for an IPv4 address: as
/// <https://url.spec.whatwg.org/#ends-in-a-number-checker>.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(is_hex)
}

/// Part of a name between dots. (Underscores are in no name on the internet, but in many of
/// containers.)
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for UrlHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A place that a function may send requests to: `https://api.example.com`,
/// `https://*.example.com:8443`, `http://10.0.0.7:*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    scheme: Scheme,
    host: HostPart,
    /// `None` is every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum HostPart {
    Exactly(UrlHost),
    /// Every name below this one.
    Below(String),
}

/// Why a text is not a [`HostPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}': {why}")]
pub struct HostPatternError {
    text: String,
    why: String,
}

impl HostPattern {
    /// Whether a request for this place is allowed.
    pub fn matches(&self, scheme: Scheme, host: &UrlHost, port: u16) -> bool {
        let host_fits = match (&self.host, host) {
            (HostPart::Exactly(allowed), host) => allowed == host,
            (HostPart::Below(domain), UrlHost::Name(name)) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
            (HostPart::Below(_), UrlHost::Address(_)) => false,
        };
        host_fits && self.scheme == scheme && self.port.is_none_or(|allowed| allowed == port)
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("has no scheme: write 'https://api.example.com'".into());
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("must begin with 'http://' or 'https://'".into()),
        };
        if rest.contains(['/', '?', '#']) {
            return Err("must end after host and port: paths cannot be told apart".into());
        }
        let (host, port) = split(rest).map_err(|e| e.to_string())?;
        let port = match port {
            Some("*") => None,
            Some(port) => Some(parse_port(port).map_err(|e| format!("{e}, or '*'"))?),
            None => Some(scheme.default_port()),
        };
        Ok(Self { scheme, host: HostPart::parse(host)?, port })
    }
}

impl HostPart {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Err(
                "would allow every host: '*' stands before a domain, as in 'https://*.example.com'"
                    .into(),
            );
        }
        let (host, is_below) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        if host.contains('*') {
            return Err("'*' stands for the first labels of a host, or for the port: 'https://*.example.com:*'".into());
        }
        match (host.parse().map_err(|e: UrlHostError| e.to_string())?, is_below) {
            (UrlHost::Name(domain), true) => Ok(Self::Below(domain)),
            (UrlHost::Address(_), true) => Err("nothing is below an address".into()),
            (host, false) => Ok(Self::Exactly(host)),
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        Self::parse(text).map_err(|why| HostPatternError { text: shown(text), why })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.as_str())?;
        match &self.host {
            HostPart::Exactly(host) => write!(f, "{host}")?,
            HostPart::Below(domain) => write!(f, "*.{domain}")?,
        }
        match self.port {
            None => f.write_str(":*"),
            Some(port) if port == self.scheme.default_port() => Ok(()),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads the key `allowed_hosts`: an error names the pattern by its place.
pub(super) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<HostPattern>>, D::Error> {
    let Some(texts) = Option::<Vec<String>>::deserialize(deserializer)? else { return Ok(None) };
    if texts.len() > MOST_PATTERNS {
        return Err(serde::de::Error::custom(format!(
            "allowed_hosts: a function has at most {MOST_PATTERNS} of them"
        )));
    }
    let parse = |(i, text): (usize, &String)| {
        text.parse().map_err(|e| serde::de::Error::custom(format!("allowed_hosts[{i}]: {e}")))
    };
    texts.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::Manifest;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    /// Whether a pattern lets a URL without path through.
    fn allows(allowed: &str, url: &str) -> bool {
        let (scheme, authority) = url.split_once("://").unwrap();
        let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
        let (host, port) = parse_authority(authority).unwrap();
        pattern(allowed).matches(scheme, &host, port.unwrap_or(scheme.default_port()))
    }

    #[test]
    fn an_exact_host_is_that_scheme_host_and_port() {
        for url in
            ["https://api.example.com", "https://API.Example.COM:443", "https://api.example.com."]
        {
            assert!(allows("https://api.example.com", url), "{url}");
        }
        for url in [
            "http://api.example.com",
            "https://api.example.com:8443",
            "https://example.com",
            "https://x.api.example.com",
            "https://api.example.com.evil.com",
            "https://xapi.example.com",
        ] {
            assert!(!allows("https://api.example.com", url), "{url}");
        }
        assert!(allows("http://api.example.com", "http://api.example.com:80"));
        assert!(allows("https://api.example.com:*", "https://api.example.com:1"));
        assert!(!allows("https://api.example.com:*", "http://api.example.com:1"));
    }

    #[test]
    fn a_wildcard_is_one_label_or_more_below() {
        for url in ["https://a.example.com", "https://a.b.c.example.com", "https://_x.example.com"]
        {
            assert!(allows("https://*.example.com:443", url), "{url}");
        }
        for url in
            ["https://example.com", "https://badexample.com", "https://a.example.com.evil.com"]
        {
            assert!(!allows("https://*.example.com:443", url), "{url}");
        }
        assert!(!allows("http://*.example.com", "http://10.0.0.1"));
    }

    #[test]
    fn addresses_are_compared_as_addresses() {
        assert!(allows("http://10.0.0.7:8080", "http://10.0.0.7:8080"));
        assert!(allows("http://10.0.0.7:8080", "http://[::ffff:10.0.0.7]:8080"));
        assert!(allows("http://10.0.0.7:8080", "http://[::ffff:a00:7]:8080"));
        assert!(allows("https://[2001:db8::1]", "https://[2001:DB8:0:0::1]:443"));
        assert!(!allows("https://[2001:db8::1]", "https://[2001:db8::2]"));
    }

    #[test]
    fn other_spellings_of_addresses_are_refused() {
        for host in [
            "2130706433",
            "017700000001",
            "0x7f000001",
            "0x7f.0.0.1",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.0x1",
            "1.2.3.4.5",
            "256.0.0.1",
            "foo.1",
            "0x",
            "127.0.0.1..",
            "[127.0.0.1]",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]",
            "[::1",
            "[]",
            "::1",
            "",
            ".",
            "a..b",
            "-a",
            "a b",
            "a%2eb",
            "ⓛocalhost",
            "１２７.0.0.1",
            "user@localhost",
            "localhost:0",
            "localhost:65536",
            "localhost:+80",
            "localhost:",
            "localhost:80:80",
        ] {
            assert!(parse_authority(host).is_err(), "{host}");
        }
        assert_eq!(
            parse_authority("127.0.0.1.").unwrap().0,
            UrlHost::Address(Ipv4Addr::LOCALHOST.into())
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, word) in [
            ("api.example.com", "has no scheme"),
            ("ftp://api.example.com", "must begin with"),
            ("HTTPS://api.example.com", "must begin with"),
            ("https://api.example.com/v1", "must end after"),
            ("https://*", "every host"),
            ("https://api.*.com", "'*' stands for"),
            ("https://*api.example.com", "'*' stands for"),
            ("https://*.*.example.com", "'*' stands for"),
            ("https://*.10.0.0.1", "below an address"),
            ("https://bücher.example", "xn--"),
            ("https://a:b@example.com", "user name"),
            ("https://api.example.com:http", "not 1 to 65535, or '*'"),
            ("https://2001:db8::1", "in brackets"),
            ("https://10.1", "four decimal numbers"),
            (&format!("https://{}", "a".repeat(300)), "longer than"),
        ] {
            let toml = format!("name = 'x'\nallowed_hosts = ['https://one.example', '{text}']");
            let error = Manifest::from_toml(&toml).unwrap_err().to_string();
            assert!(
                error.contains("allowed_hosts[1]: ") && error.contains(word),
                "{text}: {error}"
            );
            assert!(error.contains("line 2"), "{error}");
        }
        let many = vec!["https://a.example"; 65];
        let error = Manifest::from_json(serde_json::json!({"name": "x", "allowed_hosts": many}))
            .unwrap_err();
        assert!(error.to_string().contains("at most 64"), "{error}");
    }

    #[test]
    fn no_key_and_an_empty_list_are_not_the_same() {
        let hosts =
            |toml: &str| Manifest::from_toml(&format!("name = 'x'\n{toml}")).unwrap().allowed_hosts;
        assert_eq!(hosts(""), None);
        assert_eq!(hosts("allowed_hosts = []"), Some(vec![]));
        let manifest = Manifest::from_toml("name = 'x'\nallowed_hosts = []").unwrap();
        let again = Manifest::from_json(serde_json::to_value(&manifest).unwrap()).unwrap();
        assert_eq!(again, manifest);
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_not(text in "\\PC{0,40}") {
            let _ = text.parse::<HostPattern>();
            let _ = parse_authority(&text);
        }

        #[test]
        fn a_pattern_is_written_as_it_is_read(
            scheme in "https?", stars in "(\\*\\.)?", host in "[a-z][a-z0-9-]{0,8}[a-z](\\.[a-z]{2,5}){0,3}",
            port in "(:[1-9][0-9]{0,3}|:\\*)?",
        ) {
            let read = pattern(&format!("{scheme}://{stars}{host}{port}"));
            prop_assert_eq!(pattern(&read.to_string()), read);
        }

        #[test]
        fn addresses_come_back(address: Ipv6Addr) {
            let (host, _) = parse_authority(&format!("[{address}]:80")).unwrap();
            prop_assert_eq!(host, UrlHost::Address(IpAddr::V6(address).to_canonical()));
        }
    }
}
