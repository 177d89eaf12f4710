//! The ways in which the body of an answer arrives, or does not.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

/// Any body.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// All at once; hyper sets the content-length.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Each part when the connection has room for it, without a content-length.
pub(super) fn lazy(parts: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    boxed(stream::iter(parts.map(Ok)))
}

/// `bytes` after a wait.
pub(super) fn delayed(bytes: Bytes, wait: Duration) -> Body {
    boxed(stream::once(async move {
        tokio::time::sleep(wait).await;
        Ok(bytes)
    }))
}

/// `bytes`, and then the connection ends, whatever content-length was announced.
pub(super) fn cut(bytes: Bytes) -> Body {
    // hyper throws away what it has not written when a body fails; the pause lets it write first.
    const TIME_TO_WRITE: Duration = Duration::from_millis(20);
    let end = stream::once(async {
        tokio::time::sleep(TIME_TO_WRITE).await;
        Err(io::ErrorKind::ConnectionReset.into())
    });
    boxed(stream::once(async move { Ok(bytes) }).chain(end))
}

fn boxed(bytes: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(bytes.map(|part| part.map(Frame::data))).boxed_unsync()
}
