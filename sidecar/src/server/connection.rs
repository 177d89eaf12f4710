//! A connection from its first byte to its end: served, given up, or closed when nothing comes of it.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Connection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    activity::{Activity, UnderWay, Verdict},
    listen::Stream,
    stop::stopped,
};
use crate::answer::Body;

/// How long a client may take for TLS's handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a connection until its end. Asked to stop, it finishes what is under way.
pub(super) async fn run<I, S>(
    connection: Connection<'static, TokioIo<I>, S, TokioExecutor>,
    activity: Activity,
    mut stop: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Tracked>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let mut connection = pin!(connection);
    let (mut stopping, mut finishing) = (None, false);
    loop {
        let look = match activity.verdict(Instant::now(), stopping) {
            Verdict::Stays(look) => look,
            Verdict::Finish if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
                // A request that has come meanwhile is answered.
                Instant::now() + super::activity::STOP_GRACE
            }
            Verdict::Finish | Verdict::Close => return,
        };
        tokio::select! {
            // First: what has come since counts.
            biased;
            // Clients hang up in many ways; none of them is our error.
            _ = connection.as_mut() => return,
            () = stopped(&mut stop), if stopping.is_none() => {
                stopping = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
            }
            () = activity.unwanted() => {}
            () = tokio::time::sleep_until(look) => {}
        }
    }
}

/// Agrees on keys with a client. None: it did not come to that, or not in time.
pub(super) async fn secure(
    acceptor: &TlsAcceptor,
    stream: Stream,
    activity: &Activity,
    mut stop: watch::Receiver<bool>,
) -> Option<TlsStream<Stream>> {
    tokio::select! {
        agreed = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => agreed.ok()?.ok(),
        () = activity.unwanted() => None,
        () = stopped(&mut stop) => None,
    }
}

/// The body of a response: until it was handed over, its request is under way.
#[derive(Debug)]
pub(super) struct Tracked {
    body: Body,
    under_way: Option<UnderWay>,
}

impl Tracked {
    pub(super) fn new(body: Body, under_way: UnderWay) -> Self {
        Self { body, under_way: Some(under_way) }
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) {
            self.under_way = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
