//! Why a verb did not do what was asked.

/// Why a verb did not do what was asked. Each has its own exit code, listed in `wasmill --help`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// 1: it was tried and did not work.
    #[error("{0:#}")]
    Failed(anyhow::Error),
    /// 3: what was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// 4: the server cannot be reached or is not ready.
    #[error("{0}")]
    Unreachable(String),
    /// 5: the function ran and did not succeed.
    #[error("{0}")]
    Unsuccessful(String),
    /// 6: a key is missing, unknown or not allowed to do this.
    #[error("{0}")]
    Denied(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl Failure {
    /// The same failure with `what` before its text.
    pub(crate) fn about(self, what: impl std::fmt::Display) -> Self {
        self.with_text(|text| format!("{what}: {text}"))
    }

    /// The same failure with more lines after its text.
    pub(crate) fn with_details(self, lines: &str) -> Self {
        self.with_text(|text| format!("{text}\n{lines}"))
    }

    fn with_text(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(anyhow::anyhow!(change(format!("{error:#}")))),
            Self::NotFound(text) => Self::NotFound(change(text)),
            Self::Unreachable(text) => Self::Unreachable(change(text)),
            Self::Unsuccessful(text) => Self::Unsuccessful(change(text)),
            Self::Denied(text) => Self::Denied(change(text)),
        }
    }
}

/// The result of a verb.
pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;
