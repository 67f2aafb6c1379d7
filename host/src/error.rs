//! Why an engine cannot start, and how errors of wasmtime are told.

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// wasmtime refuses this machine or these settings.
    #[error("WebAssembly cannot be run here: {0}")]
    Wasmtime(String),
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The certificates that functions are to trust cannot be read.
    #[error("host.ca_file: {0}")]
    Certificates(String),
}

/// An error with its causes, in one line.
pub(crate) fn sentence(error: &wasmtime::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
