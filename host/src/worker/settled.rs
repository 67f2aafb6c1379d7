//! What becomes of a message.

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Everything in it is committed, or lives on in other messages.
    Ack,
    /// Something went wrong that was not the message's fault, or of which nobody knows: another
    /// try.
    Release,
}
