//! What a signed request says of itself, and whether a key bears it out. Pure: values in, a verdict
//! out.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _};
use http::HeaderMap;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use wasmill_domain::manifest::webhook::{Algorithm, Encoding, Hmac as HmacScheme, Piece, Scheme};
use wasmill_domain::{Timestamp, json};

/// The most signatures of a request that are looked at: one for each secret that a sender may be
/// changing between.
const MAX_SIGNATURES: usize = 8;

/// The longest id of a delivery, in bytes.
const MAX_ID: usize = 255;

/// The headers of Standard Webhooks.
struct StandardNames {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}

/// As the specification has them.
const STANDARD: StandardNames = StandardNames {
    id: "webhook-id",
    timestamp: "webhook-timestamp",
    signature: "webhook-signature",
};

/// As Svix, where the specification comes from, still sends them.
const SVIX: StandardNames =
    StandardNames { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };

impl StandardNames {
    fn all(&self) -> [&'static str; 3] {
        [self.id, self.timestamp, self.signature]
    }
}

/// Why a request is refused. For the log; the caller is told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("a header that the scheme needs is missing, or there twice, or cannot be read")]
    Headers,
    #[error("its timestamp is further from now than the tolerance")]
    Stale,
    #[error("no signature fits any of the secrets")]
    Signature,
}

/// A secret that is no key of the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a key of Standard Webhooks: 'whsec_' and Base64")]
pub(super) struct NotAKey;

/// What a request says of itself, before anybody has checked it.
#[derive(Debug)]
pub(super) struct Statement {
    algorithm: Algorithm,
    /// What it claims to be signed with; at least one.
    signatures: Vec<Vec<u8>>,
    /// What is signed before and after the body.
    before: Vec<u8>,
    after: Vec<u8>,
    timestamp: Option<Timestamp>,
    /// The delivery, where a header names it.
    id: Option<String>,
}

impl Statement {
    /// Reads the headers.
    ///
    /// # Errors
    /// Where one is missing, is there more than once, or cannot be read.
    pub(super) fn read(scheme: &Scheme, headers: &HeaderMap) -> Result<Self, Refused> {
        match scheme {
            Scheme::Standard => standard(headers),
            Scheme::Github => github(headers),
            Scheme::Stripe => stripe(headers),
            Scheme::Hmac(scheme) => hmac(scheme, headers),
        }
        .filter(|statement| !statement.signatures.is_empty())
        .ok_or(Refused::Headers)
    }

    /// Makes sure that the request was signed within `tolerance` of `now`, where it says when.
    ///
    /// # Errors
    /// Where it was not.
    pub(super) fn check_time(&self, now: Timestamp, tolerance: Duration) -> Result<(), Refused> {
        let Some(at) = self.timestamp else { return Ok(()) };
        if now.since(at) <= tolerance && at.since(now) <= tolerance {
            Ok(())
        } else {
            Err(Refused::Stale)
        }
    }

    /// Whether one of the signatures was made with `key` over this body. Takes as long whichever of
    /// them fits, and wherever they differ.
    pub(super) fn is_signed_with(&self, key: &[u8], body: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Sha1 => self.fits(Hmac::<Sha1>::new_from_slice(key), body),
            Algorithm::Sha256 => self.fits(Hmac::<Sha256>::new_from_slice(key), body),
            Algorithm::Sha512 => self.fits(Hmac::<Sha512>::new_from_slice(key), body),
        }
    }

    fn fits<M: hmac::Mac + Clone>(
        &self,
        mac: Result<M, hmac::digest::InvalidLength>,
        body: &[u8],
    ) -> bool {
        // An HMAC takes keys of every length, so there always is one.
        let Ok(mut mac) = mac else { return false };
        for part in [&self.before, body, &self.after] {
            mac.update(part);
        }
        // `verify_slice` compares in constant time; `|` looks at every signature.
        self.signatures
            .iter()
            .fold(false, |fits, signature| fits | mac.clone().verify_slice(signature).is_ok())
    }

    /// The delivery's id, by which a repeated one is known. Ask only once the signature is checked,
    /// as some schemes have it in the body.
    pub(super) fn delivery_id(self, scheme: &Scheme, body: &[u8]) -> Option<String> {
        match scheme {
            Scheme::Stripe => {
                let event = json::lenient(body).ok()?;
                event["id"].as_str().filter(|id| is_id(id)).map(str::to_owned)
            }
            _ => self.id,
        }
    }
}

/// The key that a secret is to a scheme.
///
/// # Errors
/// Where it is none.
pub(super) fn key_of<'a>(scheme: &Scheme, secret: &'a [u8]) -> Result<Cow<'a, [u8]>, NotAKey> {
    match scheme {
        Scheme::Standard => {
            let encoded = secret.strip_prefix(b"whsec_").unwrap_or(secret);
            let key = BASE64.decode(encoded).map_err(|_| NotAKey)?;
            if key.is_empty() { Err(NotAKey) } else { Ok(key.into()) }
        }
        // Stripe's begin with whsec_ too, and are keys as they are.
        Scheme::Stripe | Scheme::Github | Scheme::Hmac(_) => Ok(secret.into()),
    }
}

fn standard(headers: &HeaderMap) -> Option<Statement> {
    // One set of names or the other, never some of each.
    let has = |names: &StandardNames| names.all().iter().any(|name| headers.contains_key(*name));
    let names = match (has(&STANDARD), has(&SVIX)) {
        (true, false) => &STANDARD,
        (false, true) => &SVIX,
        // Senders that change over send both.
        (true, true) if STANDARD.all().iter().zip(SVIX.all()).all(|(a, b)| same(headers, a, b)) => {
            &STANDARD
        }
        _ => return None,
    };
    let id = the(headers, names.id)?;
    // With a dot in it, what is signed could be read in two ways.
    if !is_id(id) || id.contains('.') {
        return None;
    }
    let timestamp = the(headers, names.timestamp)?;
    let signatures = the(headers, names.signature)?
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"));
    Some(Statement {
        algorithm: Algorithm::Sha256,
        signatures: signatures
            .take(MAX_SIGNATURES)
            .filter_map(|text| decode(Encoding::Base64, text))
            .collect(),
        before: format!("{id}.{timestamp}.").into_bytes(),
        after: Vec::new(),
        timestamp: Some(seconds(timestamp)?),
        id: Some(id.to_owned()),
    })
}

/// Whether two headers are there once each, with the same value.
fn same(headers: &HeaderMap, one: &str, other: &str) -> bool {
    the(headers, one).is_some_and(|value| the(headers, other) == Some(value))
}

fn github(headers: &HeaderMap) -> Option<Statement> {
    let signature = the(headers, "x-hub-signature-256")?.strip_prefix("sha256=")?;
    Some(Statement {
        algorithm: Algorithm::Sha256,
        signatures: lower_hex(signature).into_iter().collect(),
        before: Vec::new(),
        after: Vec::new(),
        timestamp: None,
        id: the(headers, "x-github-delivery").filter(|id| is_id(id)).map(str::to_owned),
    })
}

fn stripe(headers: &HeaderMap) -> Option<Statement> {
    let parts = || the(headers, "stripe-signature").into_iter().flat_map(|value| value.split(','));
    let mut timestamps = parts().filter_map(|part| part.strip_prefix("t="));
    let (Some(timestamp), None) = (timestamps.next(), timestamps.next()) else { return None };
    let signatures = parts().filter_map(|part| part.strip_prefix("v1="));
    Some(Statement {
        algorithm: Algorithm::Sha256,
        signatures: signatures.take(MAX_SIGNATURES).filter_map(lower_hex).collect(),
        before: format!("{timestamp}.").into_bytes(),
        after: Vec::new(),
        timestamp: Some(seconds(timestamp)?),
        id: None,
    })
}

fn hmac(scheme: &HmacScheme, headers: &HeaderMap) -> Option<Statement> {
    let signature = the(headers, scheme.header.as_str())?.strip_prefix(&scheme.prefix)?;
    let timestamp = match &scheme.timestamp_header {
        Some(name) => Some(the(headers, name.as_str())?),
        None => None,
    };
    let (mut before, mut after, mut is_after) = (Vec::new(), Vec::new(), false);
    for piece in scheme.signed.pieces() {
        let text = match piece {
            Piece::Text(text) => text,
            Piece::Timestamp => timestamp.unwrap_or_default(),
            Piece::Body => {
                is_after = true;
                continue;
            }
        };
        if is_after { &mut after } else { &mut before }.extend_from_slice(text.as_bytes());
    }
    Some(Statement {
        algorithm: scheme.algorithm,
        signatures: decode(scheme.encoding, signature).into_iter().collect(),
        before,
        after,
        timestamp: match timestamp {
            Some(text) => Some(seconds(text)?),
            None => None,
        },
        id: None,
    })
}

/// The value of a header that is there once, as text.
fn the<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Seconds since 1970: digits and nothing else.
fn seconds(text: &str) -> Option<Timestamp> {
    if !(1..=12).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<i64>().ok().map(|seconds| Timestamp::from_micros(seconds * 1_000_000))
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
}

/// The bytes that a text stands for. One text for each value: otherwise a signature could be
/// changed and still fit.
fn decode(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => BASE64.decode(text).ok(),
        // Some senders write capitals. None mixes them.
        Encoding::Hex if !text.bytes().any(|b| b.is_ascii_lowercase()) => hex::decode(text).ok(),
        Encoding::Hex => lower_hex(text),
    }
}

fn lower_hex(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { None } else { hex::decode(text).ok() }
}

#[cfg(test)]
mod tests;
