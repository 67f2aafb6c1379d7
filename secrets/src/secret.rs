//! A value that is not shown.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// The value of a secret. Copies share the bytes, which are overwritten when the last one is
/// dropped. Neither `Debug` nor `Display` shows any of it.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// The bytes, for whoever may have them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let secret = Secret::from(b"canary".to_vec());
        assert_eq!(
            (format!("{secret:?}"), format!("{secret}")),
            ("Secret(***)".to_owned(), "***".to_owned())
        );
        assert_eq!(secret.clone().expose(), b"canary");
    }
}
