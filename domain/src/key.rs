//! API keys.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::names::TenantName;
use crate::timestamp::Timestamp;

/// A key as its owner holds it: `wm_` and 43 characters that stand for 32 random bytes. Only its
/// digest is stored, so it can be shown once only.
pub struct ApiKey(String);

/// How a key begins.
const PREFIX: &[u8] = b"wm_";

/// How many characters follow: 32 bytes in base64.
const SECRET_LENGTH: usize = 43;

/// Overwrites with `*` every text that has the form of a key, so that no key is kept or handed on
/// by mistake, and says whether there was one. The length stays.
pub fn mask_keys(text: &mut [u8]) -> bool {
    let is_of_key = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let mut is_masked = false;
    let mut at = 0;
    while let Some(found) = text[at..].windows(PREFIX.len()).position(|window| window == PREFIX) {
        at += found + PREFIX.len();
        // One that something follows is a key all the same.
        let length = text[at..].iter().take_while(|b| is_of_key(b)).count();
        if length >= SECRET_LENGTH {
            text[at..at + length].fill(b'*');
            is_masked = true;
        }
    }
    is_masked
}

/// The same for a text in which characters may be percent-encoded, as in a URI. The length stays
/// here, too.
pub fn mask_encoded_keys(text: &mut [u8]) -> bool {
    let mut decoded = Vec::with_capacity(text.len());
    // Where each decoded byte begins.
    let mut offsets = Vec::with_capacity(text.len() + 1);
    let mut at = 0;
    while at < text.len() {
        offsets.push(at);
        let byte = text.get(at..at + 3).filter(|text| text[0] == b'%').and_then(|text| {
            let digits =
                std::str::from_utf8(&text[1..]).ok().filter(|digits| !digits.starts_with('+'))?;
            u8::from_str_radix(digits, 16).ok()
        });
        decoded.push(byte.unwrap_or(text[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    offsets.push(at);
    if !mask_keys(&mut decoded) {
        return false;
    }
    for (i, byte) in decoded.iter().enumerate() {
        // What was a star before stays one.
        if *byte == b'*' {
            text[offsets[i]..offsets[i + 1]].fill(b'*');
        }
    }
    true
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRole {
    /// Everything, in every tenant, keys included.
    Operator,
    /// Everything in one tenant but its keys.
    Tenant,
}

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDefinition {
    /// Names the key where it is listed and deleted.
    pub id: Uuid,
    /// The tenant that it acts for.
    pub tenant: TenantName,
    /// What it may do.
    pub role: KeyRole,
    /// Its owner's note.
    pub label: String,
    /// The SHA-256 of the key's text. The key has 256 random bits, so a slow hash would add
    /// nothing.
    pub hash: Digest,
    /// When it was made.
    pub created_at: Timestamp,
}

impl ApiKey {
    /// A new key.
    ///
    /// # Errors
    /// Where the operating system has no random bytes to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("wm_{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The key's text, for its owner's eyes.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of the key whose text is `text`.
    pub fn hash_of(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }
}

impl KeyRole {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for KeyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for KeyRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "operator" => Ok(Self::Operator),
            "tenant" => Ok(Self::Tenant),
            _ => Err(format!("'{text}' is not a role: operator or tenant")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_hash_alike() {
        let (a, b) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        assert_ne!(a.reveal(), b.reveal());
        assert_eq!(a.reveal().len(), 46);
        assert_eq!(ApiKey::hash_of(a.reveal()), ApiKey::hash_of(a.reveal()));
    }

    #[test]
    fn encoded_keys_are_masked_too() {
        let key = ApiKey::generate().unwrap();
        let key = key.reveal();
        let encoded: String = key.bytes().map(|b| format!("%{b:02X}")).collect();
        for text in [
            format!("/a/{key}?b=%2F"),
            format!("/a?k=wm%5F{}&b=%2F", &key[3..]),
            format!("/{encoded}/%2F"),
        ] {
            let mut bytes = text.clone().into_bytes();
            assert!(mask_encoded_keys(&mut bytes));
            let masked = String::from_utf8(bytes).unwrap();
            assert_eq!(masked.len(), text.len());
            assert!(
                masked.contains("***") && masked.contains("%2F") && !masked.contains(&key[10..]),
                "{masked}"
            );
        }
        for other in ["/a%", "/a%zz?b=%2", "", "/%77%6d%5fshort"] {
            assert!(!mask_encoded_keys(&mut other.as_bytes().to_vec()), "{other}");
        }
    }

    #[test]
    fn keys_are_masked_wherever_they_stand() {
        let key = ApiKey::generate().unwrap();
        let key = key.reveal();
        let stars = format!("wm_{}", "*".repeat(43));
        let masked = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            mask_keys(&mut bytes).then(|| String::from_utf8(bytes).unwrap())
        };
        for (before, after) in
            [("", ""), ("Bearer ", ""), ("a=wm_&key=", "&b=1"), ("wm_wm_ ", "\r\n"), ("\"", "\"")]
        {
            let expected = format!("{before}{stars}{after}");
            assert_eq!(
                masked(&format!("{before}{key}{after}")),
                Some(expected),
                "{before} {after}"
            );
        }
        assert_eq!(masked(&format!("{key} {key}")), Some(format!("{stars} {stars}")));
        assert_eq!(
            masked(&format!("{key}x{key}")),
            Some(format!("wm_{}", "*".repeat(43 + 1 + 46)))
        );
        for other in ["", "wm_", "wm_short", &key[3..], &key[..45]] {
            assert_eq!(masked(other), None, "{other}");
        }
    }
}
