//! Listening, and the layers between a connection and the request path, in their order.

mod admin;
mod guard;
mod listen;
mod paths;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, response::IntoResponse};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::sync::watch;

pub use self::guard::{Guard, host_name, origin};
use self::{listen::Listener, paths::Wanted};
use crate::{
    answer::Body,
    background::Background,
    call_id::CallId,
    proxy::{Proxy, overhead},
};

/// How long a client may take for a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of headers over HTTP/2: metadata alone may have 16 KiB. (HTTP/1 has room for 400 KiB here.)
const MOST_HEADERS: u32 = 64 * 1024;

/// A bound listener and what it serves.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    site: Arc<Site>,
    tasks: Background,
}

/// What stands behind a listener.
#[derive(Debug)]
struct Site {
    /// Where calls are served: not on the admin listener.
    calls: Option<Arc<Proxy>>,
    /// Who is kept out. On the admin listener as well: it tells names of users and what they spend.
    guard: Guard,
    /// All else.
    router: Router,
}

impl Site {
    /// Answers a request. A call goes straight to the request path.
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        if let Some(proxy) = &self.calls
            && let Wanted::Embeddings { model } = paths::wanted(request.method(), request.uri())
        {
            // It has a line in the access log, whatever becomes of it: the guard is within.
            return Ok(proxy.embeddings(request, model).await);
        }
        let started = Instant::now();
        let mut response = match (self.guard.check(request.uri(), request.headers()), &self.calls) {
            (Ok(()), _) => TowerToHyperService::new(self.router.clone()).call(request).await?,
            (Err(refusal), Some(proxy)) => proxy.refuse(refusal, CallId::random()),
            // No call: it is not counted as one that was refused.
            (Err(refusal), None) => refusal.into_response(),
        };
        if self.calls.is_some() && !response.status().is_success() {
            overhead(response.headers_mut(), started.elapsed());
        }
        Ok(response.map(Body::Framework))
    }
}

impl Server {
    /// The listener for applications, on addresses and, if it is named, on a Unix socket. With 127.0.0.1 goes `::1` where the machine has it: some clients take `localhost` to
    /// be that.
    pub async fn proxy(addresses: &[SocketAddr], socket: Option<&Path>, proxy: Arc<Proxy>) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for &address in addresses {
            let listener = listen::tcp(address, "proxy").await?;
            if address.ip() == std::net::Ipv4Addr::LOCALHOST {
                let other = SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), listener.local_addr()?.port());
                if !addresses.contains(&other) {
                    match listen::tcp(other, "proxy").await {
                        Ok(other) => listeners.push(Listener::Tcp(other)),
                        Err(error) => tracing::info!(%other, %error, "the other loopback is not served"),
                    }
                }
            }
            listeners.push(Listener::Tcp(listener));
        }
        if let Some(path) = socket {
            listeners.push(Listener::Unix(listen::unix(path)?));
        }
        let tasks = proxy.tasks.clone();
        let site =
            Arc::new(Site { calls: Some(proxy.clone()), guard: proxy.guard.clone(), router: paths::router(proxy) });
        Ok(Self { listeners, site, tasks })
    }

    /// The listener for Prometheus and probes.
    pub async fn admin(address: SocketAddr, proxy: Arc<Proxy>) -> io::Result<Self> {
        let listeners = vec![Listener::Tcp(listen::tcp(address, "admin").await?)];
        // Scrapes are not waited for.
        let site = Arc::new(Site { calls: None, guard: proxy.guard.clone(), router: admin::router(proxy) });
        Ok(Self { listeners, site, tasks: Background::default() })
    }

    /// Serves until `stop` is true; then takes no more connections, lets those with a call under way finish it, and
    /// returns.
    pub async fn serve(self, stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let mut accepting = Vec::new();
        for listener in self.listeners {
            accepting.push(accept(listener, self.site.clone(), &self.tasks, &graceful, stop.clone()));
        }
        futures_util::future::join_all(accepting).await;
        graceful.shutdown().await;
    }
}

async fn accept(
    listener: Listener,
    site: Arc<Site>,
    tasks: &Background,
    graceful: &GracefulShutdown,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = auto::Builder::new(TokioExecutor::new());
    connections.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    connections.http2().timer(TokioTimer::new()).max_concurrent_streams(256).max_header_list_size(MOST_HEADERS);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to be closed.
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => return,
        };
        let site = site.clone();
        let service = service_fn(move |request| site.clone().serve(request));
        let connection = connections.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tasks.spawn(async move {
            // Clients hang up in many ways; none of them is our error.
            let _ = connection.await;
        });
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could stop us is gone: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
