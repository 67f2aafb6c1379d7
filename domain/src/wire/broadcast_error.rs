//! What may be wrong with the bytes of a broadcast, in any version.

/// Why bytes are not a broadcast that can be read here.
#[derive(Debug, thiserror::Error)]
pub enum BroadcastError {
    /// No bytes at all.
    #[error("an empty broadcast")]
    Empty,
    /// Of another release of wasmill, or not from wasmill.
    #[error("broadcasts of version {0} cannot be read here (1 can)")]
    Version(u8),
    /// Of a newer release, with something that must not be passed over.
    #[error("the broadcast has something that is not known here (tag {0})")]
    Tag(u8),
    /// Whose an order is, is no tenant's name.
    #[error("an order of a broadcast names a tenant that cannot be one")]
    Tenant,
    /// Cut off or damaged.
    #[error("the broadcast cannot be read: {0}")]
    Damaged(#[from] postcard::Error),
}
