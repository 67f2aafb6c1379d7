//! What the process says when it ends.

use std::io::Write as _;
use std::process::ExitCode;

use crate::exit::{Failure, Result};
use crate::output::{aside, check_open};

/// Shows what the command line's parser has to say: help on standard output, errors on standard
/// error.
pub(crate) fn explained(error: &clap::Error) -> ExitCode {
    let open = if error.use_stderr() { Ok(()) } else { check_open() };
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
    aside(&format!("error: {failure}"));
    ExitCode::from(match failure {
        Failure::Failed(_) => 1,
        Failure::NotFound(_) => 3,
        Failure::Unreachable(_) => 4,
        Failure::Unsuccessful(_) => 5,
        Failure::Denied(_) => 6,
    })
}
