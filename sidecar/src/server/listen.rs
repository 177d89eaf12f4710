//! Where connections come in: TCP, and Unix sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BufMut;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use super::activity::Activity;

/// Containers of a pod run as different users: whoever sees the socket may connect. Keys are asked for all the same.
const MODE: u32 = 0o666;

/// What the system holds of an answer that its client does not read, in bytes.
const SEND_BUFFER: usize = 128 * 1024;
/// The most that is read at a time. The HTTP server makes a connection's buffer as large as the reads that fill it, and reads one piece
/// ahead of who takes a body.
const MAX_READ: usize = 16 * 1024;

/// A bound listener.
#[derive(Debug)]
pub(super) enum Listener {
    /// An address.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(SocketFile),
}

/// A socket in the file system, which goes with its listener.
#[derive(Debug)]
pub(super) struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds an address. `[::]` is every address of both families, and where the machine knows no IPv6, of the one that it knows.
pub(super) async fn tcp(address: SocketAddr, name: &'static str) -> io::Result<TcpListener> {
    let listener = match TcpListener::bind(address).await {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != io::ErrorKind::AddrInUse => {
            tracing::info!(%error, "listening on IPv4 only");
            TcpListener::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())).await
        }
        listening => listening,
    };
    let listener =
        listener.map_err(|error| io::Error::new(error.kind(), format!("failed to listen on {address}: {error}")))?;
    tracing::info!(listener = name, address = %listener.local_addr()?, "listening");
    Ok(listener)
}

/// Binds a socket. One that an earlier process left behind is replaced; one that somebody listens on, or another file, is not.
pub(super) fn unix(path: &Path) -> io::Result<SocketFile> {
    let failed =
        |error: io::Error| io::Error::new(error.kind(), format!("failed to listen on {}: {error}", path.display()));
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path).is_err()
    {
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let socket = SocketFile { listener, path: path.to_owned() };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(failed)?;
    tracing::info!(listener = "proxy", socket = %path.display(), "listening");
    Ok(socket)
}

impl Listener {
    /// Whether those who connect have addresses.
    pub(super) fn has_addresses(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// The next connection, which notes what goes on there, and where it is from.
    pub(super) async fn accept(&self, idle_timeout: Duration) -> io::Result<(Stream, Activity, Option<IpAddr>)> {
        let (socket, address) = match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Small answers go out at once.
                let _ = stream.set_nodelay(true);
                // What a client does not read is not to grow.
                let _ = setsockopt(&stream, sockopt::SndBuf, &SEND_BUFFER);
                (Socket::Tcp(stream), Some(address.ip()))
            }
            Self::Unix(socket) => (Socket::Unix(socket.listener.accept().await?.0), None),
        };
        // Its time begins now, not when the one before it came.
        let activity = Activity::new(idle_timeout);
        Ok((Stream { socket, activity: activity.clone() }, activity, address))
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    activity: Activity,
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, activity } = self.get_mut();
        let mut to = to.limit(MAX_READ);
        let read = loop {
            let read = match socket {
                Socket::Tcp(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_read_buf(&mut to)
                }
                Socket::Unix(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_read_buf(&mut to)
                }
            };
            if !matches!(&read, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                break read?;
            }
        };
        if read > 0 {
            activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.written(written.is_ready());
        written
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, from),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, from),
        };
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, from),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, from),
        };
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Tcp(stream) => stream.is_write_vectored(),
            Socket::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectoll.sock");
        // Dropped without its file, as by a kill.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let error = unix(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        drop(socket);
        assert!(!path.exists());
        std::fs::write(&path, "a file of somebody's").unwrap();
        assert!(unix(&path).is_err());
        assert!(path.exists());
    }
}
