//! Accepts connections until it is aborted, and takes them all along.

use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::books::Books;
use super::exchange;
use super::line::{Line, ResetSwitch};

pub(super) async fn run(listener: TcpListener, acceptor: Option<TlsAcceptor>, books: Arc<Books>) {
    // Dropping the set, when this task is aborted, closes the connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of file descriptors, or a client that has left already: neither ends the provider.
                let Ok((stream, _)) = accepted else { continue };
                books.connected();
                // Without it the last part of a large answer waits for an acknowledgement.
                let _ = stream.set_nodelay(true);
                let reset = ResetSwitch::default();
                let line = Line::new(stream, reset.clone());
                let (books, acceptor) = (books.clone(), acceptor.clone());
                connections.spawn(async move {
                    match acceptor {
                        None => serve(line, reset, books).await,
                        Some(acceptor) => {
                            // A client that refuses the certificate gets no further, and sees why itself.
                            if let Ok(stream) = acceptor.accept(line).await {
                                serve(stream, reset, books).await;
                            }
                        }
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, reset: ResetSwitch, books: Arc<Books>) {
    let service = service_fn(|request| exchange::answer(books.clone(), reset.clone(), request));
    // Connections end in errors by design here: cut, reset, left by the client.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
