//! A client of HTTP/2 that writes frames itself, and so can say what no library would.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Gateway, WAIT_TIMEOUT};

/// What a client says first, and its settings: none of its own.
pub(crate) const BEGIN: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

// Types of frames: RFC 9113, section 6.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

// Codes of errors: section 7.
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A connection.
pub(crate) struct Raw(pub(crate) TcpStream);

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error that a RST_STREAM or GOAWAY ends with.
    pub(crate) fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request for `path` in HPACK (RFC 7541) without any compression that needs a state.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

impl Raw {
    pub(crate) async fn connect(gateway: &Gateway) -> Self {
        let mut raw = Self(TcpStream::connect(gateway.address).await.unwrap());
        raw.say(BEGIN).await;
        raw
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        // The other end may have had enough.
        let _ = self.0.write_all(bytes).await;
    }

    /// The next frame; nothing when the connection has ended.
    pub(crate) async fn receive(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes(head[5..9].try_into().ok()?);
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        tokio::time::timeout(WAIT_TIMEOUT, reading)
            .await
            .expect("the gateway keeps the connection and says nothing")
    }

    /// The next frame of a kind.
    pub(crate) async fn receive_a(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self
                .receive()
                .await
                .unwrap_or_else(|| panic!("the connection ended before a frame of type {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Hears until the connection ends, and gives the last GOAWAY.
    pub(crate) async fn receive_the_end(&mut self) -> Option<Frame> {
        let mut last = None;
        while let Some(frame) = self.receive().await {
            if frame.kind == GOAWAY {
                last = Some(frame);
            }
        }
        last
    }
}
