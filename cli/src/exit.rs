//! What the process says when it ends.

use std::io::Write as _;
use std::process::ExitCode;

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

/// Shows what the command line's parser has to say: help on standard output, errors on standard
/// error.
pub(crate) fn explained(error: &clap::Error) -> ExitCode {
    let open = if error.use_stderr() { Ok(()) } else { crate::output::check_open() };
    let shown = open.and_then(|()| error.print()).and_then(|()| std::io::stdout().flush());
    match shown {
        Err(write) if !error.use_stderr() && write.kind() != std::io::ErrorKind::BrokenPipe => {
            report(Err(Failure::Failed(anyhow::anyhow!(
                "standard output cannot be written: {write}"
            ))))
        }
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
    }
}

/// Shows a failure on standard error and turns it into the exit code.
pub(crate) fn report(result: Result) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    crate::output::aside(&format!("error: {failure}"));
    ExitCode::from(match failure {
        Failure::Failed(_) => 1,
        Failure::NotFound(_) => 3,
        Failure::Unreachable(_) => 4,
        Failure::Unsuccessful(_) => 5,
        Failure::Denied(_) => 6,
    })
}
