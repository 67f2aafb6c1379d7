//! WASI 0.2 as guests see it: clocks and random numbers work, the environment is the manifest's, standard output becomes
//! log lines, and there are no files and no network.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmill_domain::{LogSource, Manifest};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::log::SharedLog;
use crate::settings::GuestSettings;

/// The most that a guest may write at once. It is also what the host may have to make room for at once.
const WRITE_AT_ONCE: usize = 64 << 10;

/// What a function's instances find around them.
pub(crate) fn context(manifest: &Manifest, log: &SharedLog, settings: &GuestSettings) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    for (name, value) in &manifest.env {
        builder.env(name, value);
    }
    builder
        .stdout(Output { source: LogSource::Stdout, log: log.clone() })
        .stderr(Output { source: LogSource::Stderr, log: log.clone() })
        .max_random_size(settings.random_bytes)
        // Not even a socket is made: each would be a file descriptor of the host's.
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder.build()
}

/// Standard output or standard error.
#[derive(Clone)]
struct Output {
    source: LogSource,
    log: SharedLog,
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
        self.log.bytes(self.source, &bytes);
        Ok(())
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
        self.log.bytes(self.source, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
