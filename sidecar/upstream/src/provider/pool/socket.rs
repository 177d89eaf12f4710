//! The stream under a connection, which can be looked at while nobody reads it.

use std::{
    io,
    os::fd::AsRawFd,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, recv, shutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::client::TlsStream;

/// A TCP connection that others may look at.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    /// Its place among the connections that may be open.
    _place: OwnedSemaphorePermit,
}

/// Looks at a socket for as long as its connection lives.
#[derive(Clone, Debug)]
pub(super) struct Watched(Weak<TcpStream>);

/// What a look at a socket shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketState {
    /// Open, and nothing to read.
    Quiet,
    /// Bytes that nobody has read.
    Bytes,
    /// Closed by the other end, or broken.
    Closed,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, place: OwnedSemaphorePermit) -> (Self, Watched) {
        let stream = Arc::new(stream);
        let watched = Watched(Arc::downgrade(&stream));
        (Self { stream, _place: place }, watched)
    }
}

impl Watched {
    /// Asks the system, which knows of an end before the connection's task does.
    pub(super) fn look(&self) -> SocketState {
        let Some(stream) = self.0.upgrade() else { return SocketState::Closed };
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(stream.as_raw_fd(), &mut [0], flags) {
            Ok(0) => SocketState::Closed,
            Ok(_) => SocketState::Bytes,
            Err(Errno::EAGAIN | Errno::EINTR) => SocketState::Quiet,
            Err(_) => SocketState::Closed,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read_buf(to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|_| ())),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(from)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write_vectored(from) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = shutdown(self.stream.as_raw_fd(), Shutdown::Write);
        Poll::Ready(closed.map_err(Into::into))
    }
}

/// With TLS or without.
#[derive(Debug)]
enum Layer {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// A stream that notes whether something was read from it: of an answer, that is, not of what TLS itself says.
#[derive(Debug)]
pub(super) struct Stream {
    layer: Layer,
    received: Received,
}

/// Whether something was read since the last request was sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Received(Arc<AtomicBool>);

impl Received {
    /// From here on.
    pub(super) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stream {
    pub(super) fn plain(socket: Socket) -> Self {
        Self { layer: Layer::Plain(socket), received: Received::default() }
    }

    pub(super) fn tls(stream: TlsStream<Socket>) -> Self {
        Self { layer: Layer::Tls(Box::new(stream)), received: Received::default() }
    }

    pub(super) fn received(&self) -> Received {
        self.received.clone()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { layer, received } = self.get_mut();
        let before = to.filled().len();
        let read = ready!(match layer {
            Layer::Plain(socket) => Pin::new(socket).poll_read(cx, to),
            Layer::Tls(stream) => Pin::new(stream).poll_read(cx, to),
        });
        if to.filled().len() > before {
            received.0.store(true, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().layer {
            Layer::Plain(socket) => Pin::new(socket).poll_write(cx, from),
            Layer::Tls(stream) => Pin::new(stream).poll_write(cx, from),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().layer {
            Layer::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, from),
            Layer::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, from),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.layer {
            Layer::Plain(socket) => socket.is_write_vectored(),
            Layer::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layer {
            Layer::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Layer::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layer {
            Layer::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Layer::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
