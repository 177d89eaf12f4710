//! The body of a response: answers as they are, and what the framework made.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;

use super::Relay;

/// A response's body. Not a boxed one: an answer would be boxed on each call.
#[derive(Debug)]
pub enum Body {
    /// A whole answer.
    Whole(Full<Bytes>),
    /// An answer that is still coming.
    Streaming(Relay),
    /// Refusals, lists, metrics.
    Framework(axum::body::Body),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = match self.get_mut() {
            Self::Whole(whole) => ready!(Pin::new(whole).poll_frame(cx)).map(|frame| frame.map_err(axum::Error::new)),
            Self::Streaming(relay) => {
                ready!(Pin::new(relay).poll_frame(cx)).map(|frame| frame.map_err(axum::Error::new))
            }
            Self::Framework(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Streaming(relay) => relay.is_end_stream(),
            Self::Framework(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Streaming(relay) => relay.size_hint(),
            Self::Framework(body) => body.size_hint(),
        }
    }
}
