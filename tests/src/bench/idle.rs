//! Connections that are there and do nothing: each has had one answer, and is kept.

use std::{any::Any, net::SocketAddr, sync::Arc, thread};

use anyhow::{Context, anyhow, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Bytes,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::{
    net::TcpStream,
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    endpoint::Endpoint,
    tls::{HTTP1, HTTP2},
};

/// How many are made at a time.
const AT_A_TIME: usize = 32;

/// What is spoken over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// As clients do that know no other, or are told so.
    Http1,
    /// As sidecars do, and most clients.
    Http2,
}

/// Connections, driven by a thread of their own: whoever they are to may ask something of them.
#[derive(Debug)]
pub struct IdleConnections {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<anyhow::Result<usize>>>,
}

impl IdleConnections {
    /// Opens so many, over TLS, to an endpoint that has some.
    pub fn open(endpoint: &Endpoint, protocol: Protocol, number: usize) -> anyhow::Result<Self> {
        let certificate = endpoint.certificate().context("only connections with TLS are kept")?;
        let alpn = match protocol {
            Protocol::Http1 => HTTP1,
            Protocol::Http2 => HTTP2,
        };
        let to = Arc::new(To { endpoint: endpoint.clone(), protocol, tls: certificate.client(alpn)? });
        let (stop, stopped) = oneshot::channel();
        let (opened, all_open) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let opening = stream::iter(0..number).map(|_| to.open()).buffer_unordered(AT_A_TIME);
                let open = opening.try_collect::<Vec<Open>>().await?;
                let _ = opened.send(());
                let _ = stopped.await;
                Ok(open.iter().filter(|one| !one.driver.is_finished()).count())
            })
        });
        let mut all = Self { stop: Some(stop), thread: Some(thread) };
        // It is dropped where one could not be opened: the thread says why.
        if all_open.recv().is_err() {
            all.end()?;
        }
        Ok(all)
    }

    /// Ends them: how many were still open.
    pub fn close(mut self) -> anyhow::Result<usize> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<usize> {
        drop(self.stop.take());
        let thread = self.thread.take().context("they have been ended")?;
        thread.join().map_err(|_| anyhow!("the thread of idle connections panicked"))?
    }
}

impl Drop for IdleConnections {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Whom to connect to.
struct To {
    endpoint: Endpoint,
    protocol: Protocol,
    tls: Arc<ClientConfig>,
}

/// One that is open. Whoever drops what sends over it ends it.
struct Open {
    _sender: Box<dyn Any + Send>,
    driver: AbortHandle,
}

impl To {
    async fn open(&self) -> anyhow::Result<Open> {
        let address = self.endpoint.address();
        let stream = TlsConnector::from(self.tls.clone());
        let tcp = TcpStream::connect(address).await.with_context(|| format!("failed to connect to {address}"))?;
        tcp.set_nodelay(true)?;
        let stream: TlsStream<TcpStream> =
            stream.connect(address.ip().into(), tcp).await.with_context(|| format!("no TLS with {address}"))?;
        let io = TokioIo::new(stream);
        let request = self.request(address)?;
        let (sender, driver, answer): (Box<dyn Any + Send>, _, _) = match self.protocol {
            Protocol::Http1 => {
                let (mut sender, connection) = http1::handshake(io).await?;
                let driver = spawned(connection);
                let answer = sender.send_request(request).await?;
                (Box::new(sender), driver, answer)
            }
            Protocol::Http2 => {
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                let driver = spawned(connection);
                let answer = sender.send_request(request).await?;
                (Box::new(sender), driver, answer)
            }
        };
        ensure!(answer.status() == 200, "{address} answered {}", answer.status());
        answer.into_body().collect().await?;
        Ok(Open { _sender: sender, driver: driver.abort_handle() })
    }

    fn request(&self, address: SocketAddr) -> anyhow::Result<Request<Empty<Bytes>>> {
        let path = self.endpoint.models_path();
        let uri = match self.protocol {
            Protocol::Http1 => path,
            Protocol::Http2 => format!("https://{address}{path}"),
        };
        let mut request = Request::get(uri).header(header::AUTHORIZATION, format!("Bearer {}", self.endpoint.key()));
        if self.protocol == Protocol::Http1 {
            request = request.header(header::HOST, address.to_string());
        }
        request.body(Empty::new()).context("the request cannot be made")
    }
}

fn spawned<F: Future<Output = hyper::Result<()>> + Send + 'static>(connection: F) -> JoinHandle<()> {
    tokio::spawn(async move {
        // How it ended is of no interest: that it has is counted.
        let _ = connection.await;
    })
}
