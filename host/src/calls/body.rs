//! The body of a request, as it comes over its stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use wasmill_broker::StreamReceiver;
use wasmill_domain::http_message::{Upload, header_map};
use wasmtime_wasi_http::Error;

/// A request's body.
pub(super) struct UploadBody {
    /// What came with the head and was not read yet.
    first: Bytes,
    /// Receives the rest; `None` once all has come.
    rest: Option<StreamReceiver>,
}

impl UploadBody {
    /// A body that begins with `first`; unless that is all of it (`complete`), the rest is what
    /// `receiver` receives.
    pub(super) fn new(first: Bytes, complete: bool, receiver: StreamReceiver) -> Self {
        Self { first, rest: (!complete).then_some(receiver) }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        let Some(receiver) = &mut self.rest else { return Poll::Ready(None) };
        let message = std::task::ready!(receiver.poll_receive(context));
        let upload = message.and_then(|message| Upload::decode(&message).ok());
        if !matches!(upload, Some(Upload::Data(_))) {
            self.rest = None;
        }
        Poll::Ready(match upload {
            Some(Upload::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Upload::End(trailers)) if trailers.is_empty() => None,
            Some(Upload::End(trailers)) => Some(Ok(Frame::trailers(header_map(trailers)))),
            // The caller is gone, or has sent something that cannot be read here.
            None => Some(Err(Error::ConnectionTerminated)),
        })
    }
}
