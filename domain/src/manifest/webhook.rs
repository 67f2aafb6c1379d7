//! How requests of an HTTP trigger prove who sent them: <../../../docs/manifest.md#webhooks> tells
//! users of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::SecretName;
use crate::units::Span;

/// The most secrets of a trigger: a new one and old ones that senders may still use.
pub const MAX_SECRETS: usize = 4;

/// The replay window where the manifest does not say. It is what the schemes' own libraries take.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// The longest replay window.
const MAX_TOLERANCE: Duration = Duration::from_secs(86_400);

/// Requests run the function only with a signature made with one of the secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Webhook {
    /// How senders sign.
    pub scheme: Scheme,
    /// The tenant's secrets that a signature may be made with: 1 to [`MAX_SECRETS`], each once.
    pub secrets: Vec<SecretName>,
    /// How far a signed timestamp may be from now, either way, and for how long at least a delivery
    /// is remembered: 1 s to 1 day.
    pub tolerance: Span,
}

/// How senders sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks:
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
    Standard,
    /// GitHub's: <https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>.
    Github,
    /// Stripe's: <https://docs.stripe.com/webhooks/signature>.
    Stripe,
    /// An HMAC in a header.
    Hmac(Hmac),
}

/// Where an HMAC stands and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// The header that holds it.
    pub header: HeaderName,
    /// The hash function.
    pub algorithm: Algorithm,
    /// How its bytes are written.
    pub encoding: Encoding,
    /// What stands before it in the header; may be empty.
    pub prefix: String,
    /// The header that holds the time of signing, in seconds since 1970.
    pub timestamp_header: Option<HeaderName>,
    /// What is signed.
    pub signed: SignedText,
}

/// A hash function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// SHA-1, for senders that know nothing better. As an HMAC it is not broken.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Hexadecimal.
    #[default]
    Hex,
    /// Base64 with the usual alphabet and padding: RFC 4648, section 4.
    Base64,
}

/// The name of a header in lower case: 1 to 64 characters of a token of RFC 9110.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderName(String);

/// What is signed: a text in which `{body}` stands for the body, once, and `{timestamp}` for the
/// time, at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedText(Vec<Piece>);

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Text(String),
    /// The timestamp as its header has it.
    Timestamp,
    /// The body.
    Body,
}

impl HeaderName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(token) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            let text: String = text.chars().take(80).collect();
            Err(format!("'{text}' is not the name of a header: 1 to 64 letters, digits and '-'"))
        }
    }
}

impl Serialize for HeaderName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HeaderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl SignedText {
    /// Its parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    fn count(&self, wanted: &Piece) -> usize {
        self.0.iter().filter(|piece| *piece == wanted).count()
    }
}

impl FromStr for SignedText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > 256 {
            return Err("'signed' must be at most 256 bytes long".into());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) =
                after.split_once('}').ok_or("'signed' has a '{' without its '}'")?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(match name {
                "body" => Piece::Body,
                "timestamp" => Piece::Timestamp,
                _ => {
                    return Err("'signed' may hold {body} and {timestamp}, and no other '{'".into());
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let signed = Self(pieces);
        if signed.count(&Piece::Body) != 1 || signed.count(&Piece::Timestamp) > 1 {
            return Err("'signed' must hold {body} once, and {timestamp} at most once".into());
        }
        Ok(signed)
    }
}

impl fmt::Display for SignedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| {
            f.write_str(match piece {
                Piece::Text(text) => text,
                Piece::Timestamp => "{timestamp}",
                Piece::Body => "{body}",
            })
        })
    }
}

/// The schemes' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SchemeName {
    Standard,
    Github,
    Stripe,
    Hmac,
}

/// The keys of `[trigger.webhook]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    scheme: SchemeName,
    secrets: Vec<SecretName>,
    tolerance: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<HeaderName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    algorithm: Option<Algorithm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp_header: Option<HeaderName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed: Option<String>,
}

impl TryFrom<Keys> for Webhook {
    type Error = String;

    fn try_from(mut keys: Keys) -> Result<Self, String> {
        let secrets = std::mem::take(&mut keys.secrets);
        let tolerance = keys.tolerance.unwrap_or(Span(DEFAULT_TOLERANCE));
        if !(1..=MAX_SECRETS).contains(&secrets.len()) {
            return Err(format!("'secrets' of a webhook must name 1 to {MAX_SECRETS} secrets"));
        }
        if secrets.iter().enumerate().any(|(i, name)| secrets[..i].contains(name)) {
            return Err("'secrets' of a webhook must name each secret once".into());
        }
        if !(Duration::from_secs(1)..=MAX_TOLERANCE).contains(&tolerance.0) {
            return Err("'tolerance' of a webhook must be 1s to 1d".into());
        }
        let scheme = match keys.scheme {
            SchemeName::Hmac => Scheme::Hmac(keys.hmac()?),
            name => {
                if let Some(key) = keys.misplaced() {
                    return Err(format!(
                        "the key '{key}' belongs to a webhook with scheme = \"hmac\""
                    ));
                }
                match name {
                    SchemeName::Github => Scheme::Github,
                    SchemeName::Stripe => Scheme::Stripe,
                    SchemeName::Standard | SchemeName::Hmac => Scheme::Standard,
                }
            }
        };
        Ok(Self { scheme, secrets, tolerance })
    }
}

impl Keys {
    /// A key that only an HMAC has.
    fn misplaced(&self) -> Option<&'static str> {
        let keys = [
            ("header", self.header.is_some()),
            ("algorithm", self.algorithm.is_some()),
            ("encoding", self.encoding.is_some()),
            ("prefix", self.prefix.is_some()),
            ("timestamp_header", self.timestamp_header.is_some()),
            ("signed", self.signed.is_some()),
        ];
        keys.into_iter().find(|(_, is_there)| *is_there).map(|(key, _)| key)
    }

    fn hmac(self) -> Result<Hmac, String> {
        let header =
            self.header.ok_or("a webhook with scheme = \"hmac\" needs the key 'header'")?;
        let prefix = self.prefix.unwrap_or_default();
        if prefix.len() > 64 || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("'prefix' of a webhook must be at most 64 visible ASCII characters".into());
        }
        let has_timestamp = self.timestamp_header.is_some();
        let usual = if has_timestamp { "{timestamp}.{body}" } else { "{body}" };
        let signed: SignedText = self.signed.as_deref().unwrap_or(usual).parse()?;
        // A timestamp that is not signed proves nothing.
        if (signed.count(&Piece::Timestamp) == 1) != has_timestamp {
            return Err("'signed' must hold {timestamp} where there is a 'timestamp_header', and only there".into());
        }
        Ok(Hmac {
            header,
            algorithm: self.algorithm.unwrap_or_default(),
            encoding: self.encoding.unwrap_or_default(),
            prefix,
            timestamp_header: self.timestamp_header,
            signed,
        })
    }
}

impl From<Webhook> for Keys {
    fn from(webhook: Webhook) -> Self {
        let keys = |scheme| Self {
            scheme,
            secrets: webhook.secrets.clone(),
            tolerance: Some(webhook.tolerance),
            header: None,
            algorithm: None,
            encoding: None,
            prefix: None,
            timestamp_header: None,
            signed: None,
        };
        match webhook.scheme {
            Scheme::Standard => keys(SchemeName::Standard),
            Scheme::Github => keys(SchemeName::Github),
            Scheme::Stripe => keys(SchemeName::Stripe),
            Scheme::Hmac(hmac) => Self {
                header: Some(hmac.header),
                algorithm: Some(hmac.algorithm),
                encoding: Some(hmac.encoding),
                prefix: (!hmac.prefix.is_empty()).then_some(hmac.prefix),
                timestamp_header: hmac.timestamp_header,
                signed: Some(hmac.signed.to_string()),
                ..keys(SchemeName::Hmac)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn read(webhook: &str) -> Result<Webhook, String> {
        let text = format!("name = 'x'\n[[trigger]]\nhttp = '/hook'\n[trigger.webhook]\n{webhook}");
        let manifest = Manifest::from_toml(&text).map_err(|e| e.to_string())?;
        let json = serde_json::to_value(&manifest).unwrap();
        assert_eq!(
            Manifest::from_json(json).unwrap(),
            manifest,
            "what is written can be read again"
        );
        Ok(*manifest.triggers[0].as_http().unwrap().webhook.clone().unwrap())
    }

    #[test]
    fn every_scheme_is_read() {
        let webhook =
            read("scheme = 'github'\nsecrets = ['new', 'old']\ntolerance = '90s'").unwrap();
        assert_eq!(
            (webhook.scheme, webhook.secrets.len(), webhook.tolerance.0.as_secs()),
            (Scheme::Github, 2, 90)
        );
        assert_eq!(
            read("scheme = 'standard'\nsecrets = ['a']").unwrap().tolerance.0,
            DEFAULT_TOLERANCE
        );
        assert_eq!(read("scheme = 'stripe'\nsecrets = ['a']").unwrap().scheme, Scheme::Stripe);
        let Scheme::Hmac(hmac) =
            read("scheme = 'hmac'\nsecrets = ['a']\nheader = 'X-Sig'").unwrap().scheme
        else {
            panic!("another scheme");
        };
        assert_eq!(
            (hmac.header.as_str(), hmac.algorithm, hmac.encoding),
            ("x-sig", Algorithm::Sha256, Encoding::Hex)
        );
        assert_eq!(hmac.signed.to_string(), "{body}");
    }

    #[test]
    fn what_is_signed_may_be_said() {
        let slack = "scheme = 'hmac'\nsecrets = ['a']\nheader = 'x-slack-signature'\nprefix = 'v0='\n\
            timestamp_header = 'x-slack-request-timestamp'\nsigned = 'v0:{timestamp}:{body}'";
        let Scheme::Hmac(hmac) = read(slack).unwrap().scheme else { panic!("another scheme") };
        let text = |text: &str| Piece::Text(text.into());
        assert_eq!(hmac.signed.pieces(), [text("v0:"), Piece::Timestamp, text(":"), Piece::Body]);
        assert_eq!(hmac.prefix, "v0=");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let hmac = "scheme = 'hmac'\nsecrets = ['a']";
        for (webhook, named) in [
            ("scheme = 'github'\nsecrets = []", "1 to 4 secrets"),
            ("scheme = 'github'\nsecrets = ['a', 'b', 'c', 'd', 'e']", "1 to 4 secrets"),
            ("scheme = 'github'\nsecrets = ['a', 'a']", "each secret once"),
            ("scheme = 'github'", "secrets"),
            ("scheme = 'gitlab'\nsecrets = ['a']", "github"),
            ("scheme = 'github'\nsecrets = ['a']\ntolerance = '2d'", "1s to 1d"),
            ("scheme = 'github'\nsecrets = ['a']\nheader = 'x'", "'header' belongs"),
            ("scheme = 'github'\nsecrets = ['a']\ntolerence = '1m'", "did you mean 'tolerance'?"),
            (hmac, "needs the key 'header'"),
            (&format!("{hmac}\nheader = 'a b'"), "not the name of a header"),
            (&format!("{hmac}\nheader = 'x'\nprefix = 'a b'"), "'prefix'"),
            (
                &format!("{hmac}\nheader = 'x'\nsigned = '{{timestamp}}{{body}}'"),
                "'timestamp_header'",
            ),
            (
                &format!("{hmac}\nheader = 'x'\ntimestamp_header = 't'\nsigned = '{{body}}'"),
                "'timestamp_header'",
            ),
            (&format!("{hmac}\nheader = 'x'\nsigned = '{{body}}{{body}}'"), "{body} once"),
            (&format!("{hmac}\nheader = 'x'\nsigned = '{{body}}{{id}}'"), "no other"),
            (&format!("{hmac}\nheader = 'x'\nsigned = '{{body'"), "without its"),
        ] {
            let error = read(webhook).unwrap_err();
            assert!(error.contains(named), "{webhook}: {error}");
        }
    }

    #[test]
    fn a_webhook_is_an_http_triggers() {
        let text = "name = 'x'\n[[trigger]]\nevent = 'a'\n[trigger.webhook]\nscheme = 'github'\nsecrets = ['a']";
        let error = Manifest::from_toml(text).unwrap_err().to_string();
        assert!(error.contains("'webhook' belongs to a trigger with 'http'"), "{error}");
    }
}
