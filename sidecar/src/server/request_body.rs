//! The body of a request, which is read to its end or dropped as it should be.
//!
//! An answer that comes before the body was read is lost to many clients if the connection ends while they still send. So what
//! nobody wants is read on and dropped, within a bound and a time; and where the connection will end after the answer, the
//! answer says so.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::activity::Activity;

/// So many bytes that nobody wants are read: four of the largest bodies.
const MAX_DROPPED: u64 = 64 * 1024 * 1024;
/// For so long,
const DROP_TIMEOUT: Duration = Duration::from_secs(30);
/// and not longer than this without a byte.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of a request. Dropped before its end, the rest is read all the same.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Option<Incoming>,
    ended: Arc<AtomicBool>,
    activity: Activity,
}

/// Knows what is left of a body.
#[derive(Debug)]
pub(super) struct Rest {
    ended: Arc<AtomicBool>,
    /// Whether the connection ends after the answer if the body was not read.
    closes: bool,
}

impl RequestBody {
    /// Watches the body of a request.
    pub(super) fn watch(request: Request<Incoming>, activity: &Activity) -> (Request<Self>, Rest) {
        let (parts, incoming) = request.into_parts();
        let ended = Arc::new(AtomicBool::new(http_body::Body::is_end_stream(&incoming)));
        let length = http_body::Body::size_hint(&incoming).exact();
        // Who has not been told to go on may leave the body out. Where its end is not known, nor is what comes behind it.
        let closes = parts.version < Version::HTTP_2
            && (length.is_none_or(|length| length > MAX_DROPPED) || parts.headers.contains_key(header::EXPECT));
        let body = Self { incoming: Some(incoming), ended: ended.clone(), activity: activity.clone() };
        (Request::from_parts(parts, body), Rest { ended, closes })
    }
}

impl Rest {
    /// Has an answer say that the connection ends, if it does.
    pub(super) fn announce<B>(&self, response: &mut Response<B>) {
        if self.closes && !self.ended.load(Ordering::Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, ended, activity: _ } = self.get_mut();
        let Some(body) = incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || http_body::Body::is_end_stream(body) {
            ended.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        if let (Some(incoming), Ok(runtime)) = (self.incoming.take(), tokio::runtime::Handle::try_current()) {
            let activity = self.activity.clone();
            runtime.spawn(async move {
                let _ = tokio::time::timeout(DROP_TIMEOUT, drop_rest(incoming)).await;
                activity.rests();
            });
        }
    }
}

async fn drop_rest(mut body: Incoming) {
    let mut dropped = 0;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(STALL_TIMEOUT, body.frame()).await {
        dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
        if dropped > MAX_DROPPED {
            return;
        }
    }
}
