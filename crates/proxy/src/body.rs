//! Bodies: streamed from the application, or a sentence of ours.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::forward::Lease;

/// The body of an answer.
pub enum ProxyBody {
    /// A text of ours.
    Own(Option<Bytes>),
    /// Streamed from the application; its connection goes back to the pool at the end.
    Application(ApplicationBody),
}

/// A body that the application sends.
pub struct ApplicationBody {
    body: Incoming,
    lease: Option<Lease>,
}

impl ApplicationBody {
    pub(crate) fn new(body: Incoming, lease: Lease) -> Self {
        let mut this = ApplicationBody { body, lease: Some(lease) };
        if this.body.is_end_stream() {
            this.give_back();
        }
        this
    }

    fn give_back(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl ProxyBody {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        ProxyBody::Own(Some(text.into()).filter(|text| !text.is_empty()))
    }

    pub(crate) fn empty() -> Self {
        ProxyBody::Own(None)
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            ProxyBody::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            ProxyBody::Application(application) => {
                let frame = ready!(Pin::new(&mut application.body).poll_frame(cx));
                match &frame {
                    Some(Ok(_)) if !application.body.is_end_stream() => {}
                    Some(Ok(_)) | None => application.give_back(),
                    // Not given back: a connection that broke in the middle holds the rest of another answer.
                    Some(Err(_)) => application.lease = None,
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ProxyBody::Own(text) => text.is_none(),
            ProxyBody::Application(application) => application.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ProxyBody::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            ProxyBody::Application(application) => application.body.size_hint(),
        }
    }
}

/// A request body on its way to the application, without its trailers: a trailer could carry a name that only we may set,
/// and nothing downstream would have checked it.
pub(crate) struct WithoutTrailers(pub(crate) Incoming);

impl Body for WithoutTrailers {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() => {}
                frame => return Poll::Ready(frame),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
