//! WASI as guests see it: clocks and random numbers work, the environment is the manifest's,
//! standard output becomes log lines, the files are those of the function's version, to be read
//! only, and there is no network.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmill_domain::{LogSource, Manifest};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use crate::files::Files;
use crate::log::SharedLog;
use crate::settings::GuestSettings;
use crate::streams::{Captured, Streams, TooMuchOutput};

/// The most that a guest may write at once. It is also what the host may have to make room for at
/// once.
const WRITE_AT_ONCE: usize = 64 << 10;

/// The function's files cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the host cannot open the function's files: {0}")]
pub(crate) struct NoFiles(String);

/// What a function's instances find around them, but for files.
pub(crate) fn context(
    manifest: &Manifest,
    log: &SharedLog,
    settings: &GuestSettings,
    streams: Option<&Streams>,
) -> WasiCtx {
    builder(manifest, log, settings, streams).build()
}

/// The same with the function's files, below `/`. A guest can neither change them nor leave their
/// folder.
pub(crate) fn with_files(
    manifest: &Manifest,
    log: &SharedLog,
    settings: &GuestSettings,
    streams: Option<&Streams>,
    files: Option<&Files>,
) -> wasmtime::Result<WasiCtx> {
    let mut builder = builder(manifest, log, settings, streams);
    if let Some(files) = files {
        let opened = builder.preopened_dir(files.folder(), "/", FsPerms::ReadOnly);
        opened.map_err(|e| NoFiles(format!("{e:#}")))?;
    }
    Ok(builder.build())
}

fn builder(
    manifest: &Manifest,
    log: &SharedLog,
    settings: &GuestSettings,
    streams: Option<&Streams>,
) -> WasiCtxBuilder {
    let mut builder = WasiCtxBuilder::new();
    // Where both set a variable, the first is found: the event cannot change what the manifest
    // says.
    for (name, value) in &manifest.env {
        builder.env(name, value);
    }
    match streams {
        None => builder.stdout(Output::Log(LogSource::Stdout, log.clone())),
        Some(streams) => {
            for (name, value) in &streams.environment {
                if !manifest.env.contains_key(name) {
                    builder.env(name, value);
                }
            }
            builder.arg(&*manifest.name).args(&manifest.args);
            builder
                .stdin(MemoryInputPipe::new(streams.input.clone()))
                .stdout(Output::Result(streams.output.clone()))
        }
    };
    builder
        .stderr(Output::Log(LogSource::Stderr, log.clone()))
        .max_random_size(settings.random_bytes)
        // Not even a socket is made: each would be a file descriptor of the host's.
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder
}

/// Standard output or standard error.
#[derive(Clone)]
enum Output {
    /// Whole lines become log lines.
    Log(LogSource, SharedLog),
    /// A command's result.
    Result(Captured),
}

impl Output {
    /// Takes bytes; says whether there was room for them.
    fn put(&self, bytes: &[u8]) -> Result<(), TooMuchOutput> {
        match self {
            Self::Log(source, log) => log.bytes(*source, bytes),
            Self::Result(captured) if captured.append(bytes) => {}
            Self::Result(_) => return Err(TooMuchOutput),
        }
        Ok(())
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_AT_ONCE {
            return Err(StreamError::trap(
                "wrote more to standard output at once than check-write allowed",
            ));
        }
        self.put(&bytes).map_err(|full| StreamError::Trap(full.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_AT_ONCE)
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.put(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
