//! The operator's keys: a text file, and what is done with them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::{AeadInOut as _, KeyInit as _, XChaCha20Poly1305, XNonce};
use wasmill_domain::{SealedSecret, SealingKeyId, SecretName, TenantName, Timestamp};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::source::SecretError;

/// How many bytes a key has.
const KEY_BYTES: usize = 32;

/// How many bytes a nonce has. So many random ones never meet again.
const NONCE_BYTES: usize = 24;

/// How many bytes sealing adds at the end, by which a change is noticed.
const TAG_BYTES: usize = 16;

/// The largest key file, in bytes.
const LARGEST_FILE: u64 = 64 << 10;

/// How many keys a file may have.
const MOST_KEYS: usize = 64;

/// What is sealed begins its associated data with this, so that nothing else that these keys may
/// ever seal can pass for it.
const PURPOSE: &[u8] = b"wasmill secret 1";

/// What is wrong with a key file. The text has nothing of what stands in the file.
#[derive(Debug, thiserror::Error)]
#[error("the operator's key file '{}': {what}", path.display())]
pub struct KeyFileError {
    path: PathBuf,
    what: String,
}

/// The operator's keys. The first one seals, all of them open: to rotate, put a new one first and
/// set every secret again.
pub struct Keyring {
    keys: Vec<(SealingKeyId, XChaCha20Poly1305)>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl Keyring {
    /// Reads a key file: a line for each key, `ID BASE64` (32 bytes in base64 with its padding).
    /// Empty lines and those that begin with `#` mean nothing.
    ///
    /// # Errors
    /// Where it cannot be read, where others than its owner and its group may read it or its group
    /// may write it, and where a line is not a key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let wrong = |what: String| KeyFileError { path: path.to_owned(), what };
        let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
        let metadata = file.metadata().map_err(|e| wrong(e.to_string()))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o027 != 0 {
            return Err(wrong(format!(
                "its mode is {mode:04o}, so others can get at the keys: chmod 0600"
            )));
        }
        let mut text = Zeroizing::new(String::new());
        // One more than is taken, so that a longer file is noticed.
        let read = file.take(LARGEST_FILE + 1).read_to_string(&mut text);
        read.map_err(|e| wrong(e.to_string()))?;
        if text.len() as u64 > LARGEST_FILE {
            return Err(wrong(format!("it is longer than {LARGEST_FILE} bytes")));
        }
        Self::parse(&text).map_err(wrong)
    }

    /// Makes a key file with one new key, which its owner alone can read, and gives the key's id.
    ///
    /// # Errors
    /// Where there is such a file already, or it cannot be written.
    pub fn create(path: &Path) -> Result<SealingKeyId, KeyFileError> {
        let wrong = |what: String| KeyFileError { path: path.to_owned(), what };
        let (id, line) = new_line().map_err(wrong)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => {
                wrong("it exists already; a key that is lost takes its secrets with it".into())
            }
            _ => wrong(e.to_string()),
        })?;
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
        // Its name must survive a power failure too: what is sealed by the key may.
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let named = written.and_then(|()| File::open(folder)?.sync_all());
        named.map_err(|e| wrong(e.to_string()))?;
        Ok(id)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<(SealingKeyId, XChaCha20Poly1305)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, key) = read_line(line).map_err(|what| format!("line {number}: {what}"))?;
            if keys.iter().any(|(other, _)| *other == id) {
                return Err(format!("line {number}: a key with this id stands further up"));
            }
            if keys.len() == MOST_KEYS {
                return Err(format!("it has more than {MOST_KEYS} keys"));
            }
            keys.push((id, key));
        }
        if keys.is_empty() {
            return Err("it has no key: `wasmill secrets keygen FILE` makes a file with one".into());
        }
        Ok(Self { keys })
    }

    /// The key that seals.
    pub fn sealing_key(&self) -> &SealingKeyId {
        // There is at least one: `parse` sees to it.
        &self.keys[0].0
    }

    /// Seals version `version` of a tenant's secret. What comes of it can be opened as this version
    /// of this secret only.
    ///
    /// # Errors
    /// Where the operating system has no random bytes to give.
    pub fn seal(
        &self,
        tenant: &TenantName,
        name: &SecretName,
        version: u32,
        value: &[u8],
        at: Timestamp,
    ) -> Result<SealedSecret, getrandom::Error> {
        let (id, key) = &self.keys[0];
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        // Large enough from the beginning: a vector that grows leaves what was in it behind.
        let mut text = Zeroizing::new(Vec::with_capacity(value.len() + TAG_BYTES));
        text.extend_from_slice(value);
        let associated = associated_data(tenant, name, version, id);
        let encrypted = key.encrypt_in_place(&XNonce::from(nonce), &associated, &mut *text);
        // Fails beyond 256 GiB only.
        encrypted.map_err(|_| getrandom::Error::UNEXPECTED)?;
        let sealed = [&nonce[..], &text].concat().into();
        Ok(SealedSecret {
            tenant: tenant.clone(),
            name: name.clone(),
            version,
            key: id.clone(),
            sealed,
            at,
        })
    }

    /// Opens what was sealed as this version of this tenant's secret.
    ///
    /// # Errors
    /// [`SecretError::UnknownKey`], and [`SecretError::Damaged`] where a bit of it, or of what it
    /// is said to be, is not what was sealed.
    pub fn open(&self, secret: &SealedSecret) -> Result<Secret, SecretError> {
        let SealedSecret { tenant, name, version, key: id, sealed, at: _ } = secret;
        let Some((_, key)) = self.keys.iter().find(|(known, _)| known == id) else {
            return Err(SecretError::UnknownKey { name: name.clone(), key: id.clone() });
        };
        let damaged = || SecretError::Damaged { name: name.clone(), key: id.clone() };
        let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
        let mut text = Zeroizing::new(text.to_vec());
        let associated = associated_data(tenant, name, *version, id);
        key.decrypt_in_place(&XNonce::from(*nonce), &associated, &mut *text)
            .map_err(|_| damaged())?;
        Ok(Secret::from(std::mem::take(&mut *text)))
    }
}

/// What is bound to a sealed value without being in it: names cannot hold NUL, so each ends where
/// it seems to.
fn associated_data(
    tenant: &TenantName,
    name: &SecretName,
    version: u32,
    key: &SealingKeyId,
) -> Vec<u8> {
    [PURPOSE, tenant.as_bytes(), name.as_bytes(), key.as_bytes(), &version.to_be_bytes()].join(&0)
}

fn read_line(line: &str) -> Result<(SealingKeyId, XChaCha20Poly1305), &'static str> {
    const FORM: &str = "a key is an id, a space, and 32 bytes in base64";
    let (id, key) = line.split_once(char::is_whitespace).ok_or(FORM)?;
    // Not with the text itself: somebody may have written the key first.
    let id = id
        .parse()
        .map_err(|_| "an id is 1 to 63 lower-case letters, digits and hyphens, a letter first")?;
    let key = Zeroizing::new(STANDARD.decode(key.trim()).map_err(|_| FORM)?);
    let key = XChaCha20Poly1305::new_from_slice(&key).map_err(|_| FORM)?;
    Ok((id, key))
}

/// A new key's id and line.
fn new_line() -> Result<(SealingKeyId, Zeroizing<String>), String> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let mut number = [0; 4];
    let filled = getrandom::fill(&mut *key).and_then(|()| getrandom::fill(&mut number));
    filled.map_err(|e| format!("no random bytes for a key: {e}"))?;
    let id: SealingKeyId =
        format!("key-{:08x}", u32::from_be_bytes(number)).parse().map_err(|e| format!("{e}"))?;
    let encoded = Zeroizing::new(STANDARD.encode(*key));
    let line = Zeroizing::new(format!("{id} {}\n", *encoded));
    Ok((id, line))
}

#[cfg(test)]
mod tests;
