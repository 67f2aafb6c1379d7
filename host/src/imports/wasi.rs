//! WASI as guests see it: clocks and random numbers work, the environment is the manifest's, standard output becomes
//! log lines, and there are no files and no network.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmill_domain::{LogSource, Manifest};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::entry::{Captured, Streams, TooMuchOutput};
use crate::log::SharedLog;
use crate::settings::GuestSettings;

/// The most that a guest may write at once. It is also what the host may have to make room for at once.
const WRITE_AT_ONCE: usize = 64 << 10;

/// What a function's instances find around them.
pub(crate) fn context(
    manifest: &Manifest,
    log: &SharedLog,
    settings: &GuestSettings,
    streams: Option<&Streams>,
) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    // Where both set a variable, the first is found: the event cannot change what the manifest says.
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
            builder.arg(&*manifest.name);
            builder.stdin(MemoryInputPipe::new(streams.input.clone())).stdout(Output::Result(streams.output.clone()))
        }
    };
    builder
        .stderr(Output::Log(LogSource::Stderr, log.clone()))
        .max_random_size(settings.random_bytes)
        // Not even a socket is made: each would be a file descriptor of the host's.
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder.build()
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
            return Err(StreamError::trap("wrote more to standard output at once than check-write allowed"));
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
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.put(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
