//! A connection to a server, over either version of HTTP, and how a request fares on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::{
    socket::{Received, SocketState, Stream, Watched},
    timeouts::IDLE_TIMEOUT,
};

/// An HTTP/2 connection that is silent for this long while calls wait is asked whether it is still there,
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// and has this long to answer.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });
/// As many requests as a gateway takes at a time on one connection.
pub(super) const STREAMS: usize = 100;
/// A close that was on its way when the request was sent is seen within a round trip. One that comes later came from a server
/// that had the request.
const CLOSE_RACE: Duration = Duration::from_secs(1);
/// A connection is left alone this long before its server says that it ends.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);
/// The most of an HTTP/1 answer that is read ahead of who takes it.
const MAX_READ_AHEAD: usize = 128 * 1024;
/// The same of one HTTP/2 answer: less than what is kept free in memory for one that streams,
const STREAM_WINDOW: u32 = 256 * 1024;
/// and of all answers of one connection: those that nobody reads keep no other one waiting.
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;
const _: () = assert!(STREAMS == 100, "a window for each");
/// The longest frame that is taken. With its head of nine bytes it fills eight records of TLS, where one of the usual 16 KiB leaves nine
/// bytes to a record of their own (RFC 9113, section 4.1; RFC 8446, section 5.1).
const MAX_FRAME: u32 = 8 * 16 * 1024 - 9;

type Sent = Request<Full<Bytes>>;

/// A connection.
#[derive(Debug)]
pub(super) enum Connection {
    /// For one request at a time.
    Http1(Http1),
    /// For many.
    Http2(Http2),
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing of it was sent, or its server says that it did not look at it.
    Unsent(hyper::Error),
    /// The connection had ended before it: no byte of an answer came.
    Ended(hyper::Error),
    /// Its server may have read it.
    Broke(hyper::Error),
}

/// HTTP/1.1.
#[derive(Debug)]
pub(super) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    socket: Watched,
    received: Received,
    /// How long it is kept for the next request.
    keep: Duration,
}

/// HTTP/2. A handle: clones share the connection.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    socket: Watched,
    /// Scheme and authority, which each request names.
    root: Uri,
    /// Which one it is.
    pub(super) number: u64,
    /// How many requests it has answered.
    pub(super) answers: Arc<AtomicU64>,
    /// Places for requests that wait here, and not in the connection, while there are too many.
    places: Arc<Semaphore>,
}

impl Http1 {
    pub(super) async fn new(stream: Stream, socket: Watched) -> hyper::Result<Self> {
        let received = stream.received();
        let mut builder = http1::Builder::new();
        let (sender, work) = builder.max_buf_size(MAX_READ_AHEAD).handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // What goes wrong there, the call that waits for it learns.
            let _ = work.await;
        });
        Ok(Self { sender, socket, received, keep: IDLE_TIMEOUT })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether it can be used again after it has waited for so long. Bytes that nobody asked for would be taken for the next answer.
    pub(super) fn is_usable(&self, waited: Duration) -> bool {
        self.sender.is_ready() && waited < self.keep && self.socket.look() == SocketState::Quiet
    }

    pub(super) fn is_over(&self, waited: Duration) -> bool {
        self.sender.is_closed() || waited >= self.keep
    }

    /// When its answer has been read, or it has ended.
    pub(super) async fn is_read(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) async fn send(&mut self, request: Sent) -> Result<Response<Incoming>, Failed> {
        self.received.reset();
        let begun = Instant::now();
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                self.keep = keep_alive(response.headers());
                Ok(response)
            }
            Err(mut failed) => {
                let unsent = failed.take_message().is_some();
                let error = failed.into_error();
                Err(match (unsent, self.received.any()) {
                    (true, _) => Failed::Unsent(error),
                    (false, true) => Failed::Broke(error),
                    (false, false) => ended(error, begun),
                })
            }
        }
    }
}

impl Http2 {
    pub(super) async fn new(stream: Stream, socket: Watched, root: Uri, number: u64) -> hyper::Result<Self> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_frame_size(MAX_FRAME);
        builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        builder.keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT);
        let (sender, work) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            let _ = work.await;
        });
        Ok(Self { sender, socket, root, number, answers: Arc::default(), places: Arc::new(Semaphore::new(STREAMS)) })
    }

    /// A place for one more request.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.places.clone().acquire_owned().await
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed() && self.socket.look() != SocketState::Closed
    }

    pub(super) async fn send(&mut self, mut request: Sent) -> Result<Response<Incoming>, Failed> {
        // Its authority says whom it is for.
        request.headers_mut().remove(header::HOST);
        let mut parts = self.root.clone().into_parts();
        parts.path_and_query = request.uri().path_and_query().cloned();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        let begun = Instant::now();
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                Ok(response)
            }
            Err(mut failed) => {
                let unsent = failed.take_message().is_some();
                let error = failed.into_error();
                Err(match http2_cause(&error) {
                    _ if unsent => Failed::Unsent(error),
                    Cause::NotProcessed => Failed::Unsent(error),
                    Cause::Stream => Failed::Broke(error),
                    Cause::Connection => ended(error, begun),
                })
            }
        }
    }
}

/// A connection that ended without a byte of an answer: by a close that was on its way, or because the other end was gone.
fn ended(error: hyper::Error, begun: Instant) -> Failed {
    if begun.elapsed() < CLOSE_RACE || error.is_timeout() || is_timed_out(&error) {
        Failed::Ended(error)
    } else {
        Failed::Broke(error)
    }
}

/// The system gave the other end up: it acknowledged nothing.
fn is_timed_out(error: &hyper::Error) -> bool {
    let cause = causes(error).find_map(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

/// Whose end an error of HTTP/2 is.
enum Cause {
    /// The server says that it has not looked at the request.
    NotProcessed,
    /// Of this request alone.
    Stream,
    /// Of the connection.
    Connection,
}

fn http2_cause(error: &hyper::Error) -> Cause {
    match causes(error).find_map(|cause| cause.downcast_ref::<h2::Error>()) {
        Some(cause) if cause.reason() == Some(h2::Reason::REFUSED_STREAM) && cause.is_remote() => Cause::NotProcessed,
        Some(cause) if cause.is_reset() => Cause::Stream,
        // It names the last request that was looked at; those that were are answered.
        Some(cause) if cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR) => {
            Cause::NotProcessed
        }
        Some(_) | None => Cause::Connection,
    }
}

fn causes<'a>(error: &'a hyper::Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// How long a connection is kept, by its server's `Keep-Alive: timeout=SECONDS`.
fn keep_alive(headers: &HeaderMap) -> Duration {
    let named =
        headers.get_all("keep-alive").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let seconds = named.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().trim_matches('"').parse::<u64>().ok())?
    });
    let least = seconds.min().map(|seconds| Duration::from_secs(seconds).saturating_sub(KEEP_ALIVE_MARGIN));
    least.map_or(IDLE_TIMEOUT, |least| least.min(IDLE_TIMEOUT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_servers_own_timeout_ends_a_second_early() {
        for (value, seconds) in [
            ("timeout=5", 4),
            ("timeout=5, max=100", 4),
            ("max=100,Timeout = \"3\"", 2),
            ("timeout=1", 0),
            ("timeout=0", 0),
            ("timeout=600", 60),
            ("timeout=x", 60),
            ("max=3", 60),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", value.parse().unwrap());
            assert_eq!(keep_alive(&headers), Duration::from_secs(seconds), "{value}");
        }
        assert_eq!(keep_alive(&HeaderMap::new()), IDLE_TIMEOUT);
    }
}
