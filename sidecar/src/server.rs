//! Listening, and the layers between a connection and the request path, in their order.

mod activity;
mod admin;
mod connection;
mod connections;
mod guard;
mod listen;
mod management;
mod paths;
mod request_body;
mod stop;
pub mod tls;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, response::IntoResponse};
use http::{HeaderValue, Request, Response, Version, header};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::{
    activity::Activity, connection::Tracked, connections::Connections, listen::Listener, paths::PathMatch,
    stop::stopped,
};
pub use self::{
    guard::{Guard, host_name, origin},
    request_body::RequestBody,
};
use crate::{
    answer::Body,
    background::Background,
    call_id::CallId,
    client_address::PeerAddress,
    proxy::{Proxy, Stranger, overhead},
};
use vectoll_upstream::descriptors;

/// The most bytes of headers: metadata alone may have 16 KiB. Over HTTP/1 also what is read ahead of a body, or written ahead of a
/// client.
const MAX_HEADERS: u32 = 64 * 1024;
/// The most requests at a time on one connection of HTTP/2 of a gateway's,
const MAX_STREAMS: u32 = 100;
/// what is read ahead of each of them,
const STREAM_WINDOW: u32 = 64 * 1024;
/// and of all together, in bytes;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// what is written ahead of a client,
const MAX_READ_AHEAD: usize = 64 * 1024;
/// streams that it may have reset before anybody has looked at them,
const MAX_RESETS: usize = 20;
/// and that had to be reset for its errors, before the connection ends.
const MAX_ERRORS: usize = 128;
/// The most connections to the admin listener.
const MAX_ADMIN_CONNECTIONS: usize = 32;

/// A bound listener and what it serves.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    site: Arc<Site>,
    tasks: Background,
    connections: Connections,
    idle_timeout: Duration,
    max_age: Option<Duration>,
    tls: Option<Arc<ServerConfig>>,
}

/// How applications are listened for.
#[derive(Debug)]
pub struct ProxyListener<'s> {
    /// Where.
    pub addresses: &'s [SocketAddr],
    /// A Unix socket as well.
    pub socket: Option<&'s Path>,
    /// How long a connection is kept without a request.
    pub idle_timeout: Duration,
    /// How long a connection is used for further requests; none: as long as there are any.
    pub max_age: Option<Duration>,
    /// The most connections; none: as many as there are descriptors for.
    pub max_connections: Option<usize>,
    /// What addresses are served with. The socket is not.
    pub tls: Option<Arc<ServerConfig>>,
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
    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        activity: Activity,
    ) -> Result<Response<Tracked>, Infallible> {
        let is_http2 = request.version() == Version::HTTP_2;
        let under_way = activity.request(is_http2);
        let is_strangers = self.calls.as_ref().is_some_and(|proxy| proxy.gateway.is_some());
        let (request, unread) = RequestBody::watch(request, &activity, is_strangers);
        let mut response = self.answer(request).await?;
        if is_strangers && response.headers().get(header::CONNECTION).is_some_and(|value| value == "close") {
            // Over HTTP/2 the header says nothing: the connection is told by itself.
            activity.finish();
        }
        if is_strangers && !is_http2 && activity.is_aged() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        unread.announce(&mut response);
        Ok(response.map(|body| Tracked::new(body, under_way)))
    }

    async fn answer(self: Arc<Self>, request: Request<RequestBody>) -> Result<Response<Body>, Infallible> {
        if let Some(proxy) = &self.calls
            && let PathMatch::Embeddings { model } = paths::match_path(request.method(), request.uri())
        {
            // It has a line in the access log, whatever becomes of it: the guard is within.
            return Ok(proxy.embeddings(request, model).await);
        }
        let started = Instant::now();
        let client = self.calls.as_ref().and_then(|proxy| proxy.client(&request));
        let checked = self.guard.check(request.uri(), request.headers());
        let is_kept_out = checked.is_err();
        let mut response = match (checked, &self.calls) {
            (Ok(()), _) => TowerToHyperService::new(self.router.clone()).call(request).await?,
            (Err(refusal), Some(proxy)) => proxy.refuse(refusal, CallId::random()),
            // No call: it is not counted as one that was refused.
            (Err(refusal), None) => refusal.into_response(),
        };
        if let (Some(proxy), Some(client)) = (&self.calls, client)
            && (is_kept_out || response.extensions().get::<Stranger>().is_some())
            && let Some(flooded) = proxy.flooded(client)
        {
            response = proxy.refuse(flooded, CallId::random());
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.calls.is_some() && !response.status().is_success() {
            overhead(response.headers_mut(), started.elapsed());
        }
        Ok(response.map(Body::Framework))
    }
}

impl Server {
    /// The listener for applications, on addresses and, if it is named, on a Unix socket. With 127.0.0.1 goes `::1` where the machine has it: some clients take `localhost` to
    /// be that.
    pub async fn proxy(proxy: Arc<Proxy>, listener: ProxyListener<'_>) -> io::Result<Self> {
        let ProxyListener { addresses, socket, idle_timeout, max_age, max_connections, tls } = listener;
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
        let share = descriptors::share();
        let connections = Connections::new(max_connections.map_or(share, |max| max.min(share)));
        Ok(Self { listeners, site, tasks, connections, idle_timeout, max_age, tls })
    }

    /// The listener for Prometheus and probes.
    pub async fn admin(address: SocketAddr, proxy: Arc<Proxy>, idle_timeout: Duration) -> io::Result<Self> {
        let listeners = vec![Listener::Tcp(listen::tcp(address, "admin").await?)];
        let guard = proxy.guard.clone();
        Ok(Self::beside(listeners, guard, admin::router(proxy), idle_timeout))
    }

    /// The listener for probes alone, which others than the pod's own may reach.
    pub async fn probes(address: SocketAddr, proxy: Arc<Proxy>, idle_timeout: Duration) -> io::Result<Self> {
        let listeners = vec![Listener::Tcp(listen::tcp(address, "probes").await?)];
        let guard = proxy.guard.clone();
        Ok(Self::beside(listeners, guard, admin::probes(proxy), idle_timeout))
    }

    fn beside(listeners: Vec<Listener>, guard: Guard, router: Router, idle_timeout: Duration) -> Self {
        let site = Arc::new(Site { calls: None, guard, router });
        let connections = Connections::new(MAX_ADMIN_CONNECTIONS);
        Self { listeners, site, tasks: Background::default(), connections, idle_timeout, max_age: None, tls: None }
    }

    /// Serves until `stop` is true; then takes no more connections, and returns. Those with a call under way finish it.
    pub async fn serve(self, stop: watch::Receiver<bool>) {
        let Self { listeners, site, tasks, connections, idle_timeout, max_age, tls } = self;
        let accepting = listeners.into_iter().map(|listener| {
            let (site, connections, stop) = (site.clone(), connections.clone(), stop.clone());
            let tls = tls.clone().filter(|_| listener.has_addresses()).map(TlsAcceptor::from);
            accept((listener, tls), site, &tasks, (connections, idle_timeout, max_age), stop)
        });
        futures_util::future::join_all(accepting).await;
    }
}

async fn accept(
    (listener, tls): (Listener, Option<TlsAcceptor>),
    site: Arc<Site>,
    tasks: &Background,
    (connections, idle_timeout, max_age): (Connections, Duration, Option<Duration>),
    mut stop: watch::Receiver<bool>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Each connection has times of its own, for what it waits for.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEADERS as usize);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256).max_header_list_size(MAX_HEADERS);
    let gateway = site.calls.as_ref().filter(|proxy| proxy.gateway.is_some()).cloned();
    if gateway.is_some() {
        bound(&mut builder);
    }
    loop {
        let accepted = async {
            connections.place().await;
            listener.accept(idle_timeout).await
        };
        let (stream, activity, address) = tokio::select! {
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to be closed.
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => return,
        };
        // Nobody has them to itself who calls through a proxy that everybody calls through.
        let peer = address.filter(|_| gateway.is_some());
        let mut of_one = address;
        if let (Some(proxy), Some(peer)) = (&gateway, peer)
            && let Some(gateway) = &proxy.gateway
        {
            if gateway.proxies.contains(peer) {
                of_one = None;
            } else if !gateway.unauthorized.may_connect(peer, proxy.accounting.now().elapsed) {
                continue;
            }
        }
        let Some(place) = connections.enter(activity.clone(), of_one) else { continue };
        if let Some(max_age) = max_age {
            activity.ages(max_age);
        }
        let (site, serving) = (site.clone(), activity.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(PeerAddress(peer));
            }
            site.clone().serve(request, serving.clone())
        });
        let stop = stop.clone();
        let Some(tls) = tls.clone() else {
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            tasks.spawn(async move {
                connection::run(connection, activity, stop).await;
                drop(place);
            });
            continue;
        };
        let builder = builder.clone();
        tasks.spawn(async move {
            if let Some(stream) = connection::secure(&tls, stream, &activity, stop.clone()).await {
                let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                connection::run(connection, activity, stop).await;
            }
            drop(place);
        });
    }
}

/// What one connection of HTTP/2 may take where anybody may connect: its windows are memory that no call has been counted for.
fn bound(builder: &mut auto::Builder<TokioExecutor>) {
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_READ_AHEAD)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_ERRORS);
}
