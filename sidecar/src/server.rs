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

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, response::IntoResponse};
use http::{Request, Response, Version};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::sync::watch;

use self::{
    activity::Activity, connection::Tracked, connections::Connections, listen::Listener, paths::Wanted, stop::stopped,
};
pub use self::{
    guard::{Guard, host_name, origin},
    request_body::RequestBody,
};
use crate::{
    answer::Body,
    background::Background,
    call_id::CallId,
    proxy::{Proxy, overhead},
};
use vectoll_upstream::descriptors;

/// The most bytes of headers: metadata alone may have 16 KiB. Over HTTP/1 also what is read ahead of a body, or written ahead of a
/// client.
const MAX_HEADERS: u32 = 64 * 1024;
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
        let under_way = activity.request(request.version() == Version::HTTP_2);
        let (request, rest) = RequestBody::watch(request, &activity);
        let mut response = self.answer(request).await?;
        rest.announce(&mut response);
        Ok(response.map(|body| Tracked::new(body, under_way)))
    }

    async fn answer(self: Arc<Self>, request: Request<RequestBody>) -> Result<Response<Body>, Infallible> {
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
    pub async fn proxy(
        addresses: &[SocketAddr],
        socket: Option<&Path>,
        proxy: Arc<Proxy>,
        idle_timeout: Duration,
    ) -> io::Result<Self> {
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
        let connections = Connections::new(descriptors::share());
        Ok(Self { listeners, site, tasks, connections, idle_timeout })
    }

    /// The listener for Prometheus and probes.
    pub async fn admin(address: SocketAddr, proxy: Arc<Proxy>, idle_timeout: Duration) -> io::Result<Self> {
        let listeners = vec![Listener::Tcp(listen::tcp(address, "admin").await?)];
        // Scrapes are not waited for.
        let site = Arc::new(Site { calls: None, guard: proxy.guard.clone(), router: admin::router(proxy) });
        let connections = Connections::new(MAX_ADMIN_CONNECTIONS);
        Ok(Self { listeners, site, tasks: Background::default(), connections, idle_timeout })
    }

    /// Serves until `stop` is true; then takes no more connections, and returns. Those with a call under way finish it.
    pub async fn serve(self, stop: watch::Receiver<bool>) {
        let Self { listeners, site, tasks, connections, idle_timeout } = self;
        let accepting = listeners.into_iter().map(|listener| {
            let (site, connections, stop) = (site.clone(), connections.clone(), stop.clone());
            accept(listener, site, &tasks, (connections, idle_timeout), stop)
        });
        futures_util::future::join_all(accepting).await;
    }
}

async fn accept(
    listener: Listener,
    site: Arc<Site>,
    tasks: &Background,
    (connections, idle_timeout): (Connections, Duration),
    mut stop: watch::Receiver<bool>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Each connection has times of its own, for what it waits for.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEADERS as usize);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256).max_header_list_size(MAX_HEADERS);
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
        let Some(place) = connections.enter(activity.clone(), address) else { continue };
        let (site, serving) = (site.clone(), activity.clone());
        let service = service_fn(move |request| site.clone().serve(request, serving.clone()));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let stop = stop.clone();
        tasks.spawn(async move {
            connection::run(connection, activity, stop).await;
            drop(place);
        });
    }
}
