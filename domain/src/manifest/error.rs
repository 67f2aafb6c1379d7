//! Why a manifest is none.

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not TOML or JSON, or a key is unknown or of the wrong type. The text names line and
    /// key.
    #[error("{0}")]
    Syntax(String),
    /// A value is out of its bounds.
    #[error("{key}: {message}")]
    Value {
        /// The dotted key.
        key: String,
        /// What would be right.
        message: String,
    },
}

/// A value is out of its bounds.
pub(crate) fn out_of_bounds(key: &str, message: &str) -> ManifestError {
    ManifestError::Value { key: key.to_owned(), message: message.to_owned() }
}
