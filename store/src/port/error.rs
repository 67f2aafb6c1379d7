//! Why a store does not do what it is asked for.

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or cannot work now. The same call may succeed later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The database's schema is not one that this release works on. Trying again does not help: the
    /// text says what does.
    #[error("{0}")]
    Schema(String),
    /// What was asked for does not exist.
    #[error("{0} not found")]
    NotFound(String),
    /// What was asked for does not fit what is there.
    #[error("{0}")]
    Conflict(String),
    /// The tenant has as much of something as it may.
    #[error("{why}")]
    QuotaExceeded {
        /// Which quota: what the setting is called.
        quota: &'static str,
        /// What there is, what there may be, and how to get under it.
        why: String,
    },
    /// The data itself cannot be stored: trying again will not help.
    #[error("the store refuses the data: {0}")]
    Rejected(String),
}

/// The result of a verb of the port.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
