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
/// Of those who are strangers where anybody may call: a batch of a few texts.
const MAX_DROPPED_OF_STRANGERS: u64 = 256 * 1024;
/// For so long,
const DROP_TIMEOUT: Duration = Duration::from_secs(30);
/// and not longer than this without a byte.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of a request. Dropped before its end, the rest is read all the same.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Option<Incoming>,
    state: Arc<State>,
    activity: Activity,
}

#[derive(Debug)]
struct State {
    ended: AtomicBool,
    /// Whether it is of somebody whose key was refused, or has not been looked at, where anybody may call.
    is_strangers: AtomicBool,
}

impl State {
    fn max_dropped(&self) -> u64 {
        if self.is_strangers.load(Ordering::Relaxed) { MAX_DROPPED_OF_STRANGERS } else { MAX_DROPPED }
    }
}

/// What is known of a body that may not be read to its end.
#[derive(Debug)]
pub(super) struct UnreadBody {
    state: Arc<State>,
    /// How long it is, where that is known; over HTTP/2 no connection ends for it.
    length: Option<u64>,
    is_http2: bool,
    expects: bool,
}

impl RequestBody {
    /// Watches the body of a request. `is_strangers`: until [`Self::is_welcome`] less of it is read that nobody wants.
    pub(super) fn watch(
        request: Request<Incoming>,
        activity: &Activity,
        is_strangers: bool,
    ) -> (Request<Self>, UnreadBody) {
        let (parts, incoming) = request.into_parts();
        let ended = AtomicBool::new(http_body::Body::is_end_stream(&incoming));
        let state = Arc::new(State { ended, is_strangers: AtomicBool::new(is_strangers) });
        let unread = UnreadBody {
            state: state.clone(),
            length: http_body::Body::size_hint(&incoming).exact(),
            is_http2: parts.version >= Version::HTTP_2,
            expects: parts.headers.contains_key(header::EXPECT),
        };
        let body = Self { incoming: Some(incoming), state, activity: activity.clone() };
        (Request::from_parts(parts, body), unread)
    }

    /// It is of somebody with a key.
    pub fn is_welcome(&self) {
        self.state.is_strangers.store(false, Ordering::Relaxed);
    }
}

impl UnreadBody {
    /// Has an answer say that the connection ends, if it does.
    pub(super) fn announce<B>(&self, response: &mut Response<B>) {
        // Who has not been told to go on may leave the body out. Where its end is not known, nor is what comes behind it.
        let closes = || self.length.is_none_or(|length| length > self.state.max_dropped()) || self.expects;
        if !self.is_http2 && !self.state.ended.load(Ordering::Relaxed) && closes() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, state, activity: _ } = self.get_mut();
        let Some(body) = incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || http_body::Body::is_end_stream(body) {
            state.ended.store(true, Ordering::Relaxed);
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
        if self.state.ended.load(Ordering::Relaxed) {
            return;
        }
        if let (Some(incoming), Ok(runtime)) = (self.incoming.take(), tokio::runtime::Handle::try_current()) {
            let (activity, max_dropped) = (self.activity.clone(), self.state.max_dropped());
            runtime.spawn(async move {
                let _ = tokio::time::timeout(DROP_TIMEOUT, drop_unread(incoming, max_dropped)).await;
                activity.rests();
            });
        }
    }
}

async fn drop_unread(mut body: Incoming, max_dropped: u64) {
    let mut dropped = 0;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(STALL_TIMEOUT, body.frame()).await {
        dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
        if dropped > max_dropped {
            return;
        }
    }
}
