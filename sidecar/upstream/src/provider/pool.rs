//! Connections to servers: what a call needs and no more. HTTP/1.1 without TLS, and what a server prefers with it.
//!
//! Each server has a stock of connections that wait for the next call. A call takes the one that was used last, or makes
//! one; its connection goes back when the answer was read. Over HTTP/2 calls share one.
//!
//! Servers close connections that wait, and a request may be on its way by then. So the socket is looked at before it is used
//! again, what a server says of its timeout counts, and a request whose connection turns out to have ended before it is sent
//! once more, on a new connection. It is the same request of the same call: nothing was answered, so nothing was settled.

mod connection;
mod socket;
mod timeouts;
mod tunnel;
mod unanswered;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::Scheme};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tower_service::Service;

pub(super) use self::timeouts::{CONNECT_TIMEOUT, IDLE_TIMEOUT};
use self::{
    connection::{Connection, Failed, Http1, Http2, PING_INTERVAL, PING_TIMEOUT},
    socket::{Socket, Stream, Watched},
    tunnel::Route,
    unanswered::Unanswered,
};
use super::{
    dns::Resolver,
    egress::Egress,
    sent_flag::SentFlag,
    trust::{Trust, Untrusted, explained},
};
use crate::credential::keyring::Fingerprint;

/// After such a silence the other end is asked whether it is still there, as often, and so many times.
const KEEPALIVE: (Duration, u32) = (Duration::from_secs(15), 3);
/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// HTTP/2, as TLS names it.
const HTTP2: &[u8] = b"h2";

/// Why a call got no response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection came about, or it had ended before anything was sent.
    #[error("no connection")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke.
    #[error(transparent)]
    Broke(#[from] hyper::Error),
}

impl Error {
    /// Whether no connection came about: the call was not sent.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    /// Why the server's certificate is not trusted, where that is what is wrong.
    pub fn untrusted(&self) -> Option<&str> {
        let Self::Connect(cause) = self else { return None };
        cause.downcast_ref::<Untrusted>().map(Untrusted::reason)
    }
}

/// All servers. A handle: clones share them.
#[derive(Clone, Debug)]
pub struct HttpPool {
    connector: HttpConnector<Resolver>,
    names: Resolver,
    egress: Egress,
    trust: Trust,
    servers: Servers,
    /// A place for each connection that may be open.
    places: Arc<Semaphore>,
}

type Servers = Arc<Mutex<HashMap<Origin, Arc<Server>>>>;

/// Whether there is TLS, the authority, and the CAs that are trusted there: connections that were made by one trust are not for another.
type Origin = (bool, String, Option<Fingerprint>);

/// A server and the connections to it.
#[derive(Debug)]
pub struct Server {
    /// Its scheme and its address are all that counts in it.
    uri: Uri,
    connector: HttpConnector<Resolver>,
    tls: Option<Trust>,
    /// The proxy through which it is reached; none: directly.
    route: Option<Route>,
    stock: Mutex<IdleConnections>,
    places: Arc<Semaphore>,
    others: Weak<Mutex<HashMap<Origin, Arc<Server>>>>,
    /// Who makes a connection that others may share.
    connecting: tokio::sync::Mutex<()>,
    connections: AtomicU64,
}

/// Whether a request is sent again whose connection turns out to have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeats {
    /// Once, if no byte of an answer came.
    OnEndedConnection,
    /// Not even then.
    Never,
}

impl Repeats {
    /// How long a call must have waited before it says anything of a shared connection that it is dropped. Callers leave as they like, and
    /// what they leave is dropped with them where nothing is sent again; else only a deadline drops a call. Pings go on meanwhile.
    fn patience(self) -> Duration {
        match self {
            Self::OnEndedConnection => Duration::ZERO,
            Self::Never => PING_INTERVAL + PING_TIMEOUT,
        }
    }

    /// A place on a connection, where it is to be known whether a request has left. A connection that ends meanwhile says so when it is used.
    async fn place(self, connection: &Connection) -> Option<OwnedSemaphorePermit> {
        match (self, connection) {
            (Self::Never, Connection::Http2(connection)) => connection.place().await.ok(),
            (Self::Never, Connection::Http1(_)) | (Self::OnEndedConnection, _) => None,
        }
    }
}

#[derive(Debug, Default)]
struct IdleConnections {
    /// The one that was used last is the last.
    idle: Vec<Idle>,
    /// Over HTTP/2.
    shared: Option<(Http2, Instant)>,
    /// Whether it speaks HTTP/1.1 only: its connections are made side by side.
    is_http1: bool,
    /// Whether a task looks for those that have waited too long.
    swept: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: Instant,
}

impl HttpPool {
    /// No server yet. `places` bounds its connections, those that wait included.
    pub fn new(names: Resolver, trust: Trust, places: Arc<Semaphore>) -> Self {
        let mut connector = HttpConnector::new_with_resolver(names.clone());
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let (silence, times) = KEEPALIVE;
        connector.set_keepalive(Some(silence));
        connector.set_keepalive_interval(Some(silence));
        connector.set_keepalive_retries(Some(times));
        connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        Self { connector, names, egress: Egress::default(), trust, servers: Arc::default(), places }
    }

    /// Through these proxies.
    #[must_use]
    pub fn through(self, egress: Egress) -> Self {
        Self { egress, ..self }
    }

    fn route(&self, uri: &Uri) -> Option<Route> {
        let proxy = self.egress.proxy_of(&uri.to_string().parse().ok()?)?.clone();
        Some(Route { proxy, names: self.names.clone() })
    }

    /// The server of a URI, by the well-known CAs or by these: for as long as someone holds it, the same one.
    pub fn server(&self, uri: &Uri, trust: Option<&Trust>) -> Arc<Server> {
        let mut servers = lock(&self.servers);
        // Those that no backend holds any more go, and their connections with them.
        servers.retain(|_, server| Arc::strong_count(server) > 1);
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let trust = trust.unwrap_or(&self.trust);
        let new = || {
            Arc::new(Server {
                uri: uri.clone(),
                connector: self.connector.clone(),
                tls: is_tls.then(|| trust.clone()),
                route: self.route(uri),
                stock: Mutex::default(),
                places: self.places.clone(),
                others: Arc::downgrade(&self.servers),
                connecting: tokio::sync::Mutex::default(),
                connections: AtomicU64::new(0),
            })
        };
        servers.entry((is_tls, authority, trust.cas)).or_insert_with(new).clone()
    }
}

impl Server {
    /// Sends a request whose URI is a path and whose headers name the host. On a connection that was closed while it
    /// waited nothing was sent: the request goes over another one. One that ended as the request came to it is made up for
    /// by a new one, once.
    pub async fn send(
        self: &Arc<Self>,
        request: Request<Full<Bytes>>,
        departure: &SentFlag,
    ) -> Result<Response<Incoming>, Error> {
        self.send_as(Repeats::OnEndedConnection, request, departure).await
    }

    /// The same for a request that must not be carried out twice: what may have been read is not sent again. While it waits for a place
    /// on a connection that others share it has not left.
    pub async fn send_once(
        self: &Arc<Self>,
        request: Request<Full<Bytes>>,
        departure: &SentFlag,
    ) -> Result<Response<Incoming>, Error> {
        self.send_as(Repeats::Never, request, departure).await
    }

    async fn send_as(
        self: &Arc<Self>,
        repeats: Repeats,
        request: Request<Full<Bytes>>,
        departure: &SentFlag,
    ) -> Result<Response<Incoming>, Error> {
        let request = match &self.route {
            Some(route) if self.tls.is_none() => route.absolute(request, &self.uri),
            Some(_) | None => request,
        };
        while let Some(connection) = self.take() {
            let _place = repeats.place(&connection).await;
            departure.handed_over();
            match self.send_on(connection, request.clone(), repeats).await {
                Ok(response) => return Ok(response),
                Err(Failed::Unsent(_)) => departure.came_back(),
                // From here on it may have left, whatever becomes of the new connection.
                Err(Failed::Ended(first)) if repeats == Repeats::OnEndedConnection => {
                    tracing::debug!(server = %self.uri, "a connection ended as it was used again: another one is made");
                    let Ok(connection) = self.connect().await else { return Err(first.into()) };
                    return self.send_on(connection, request, repeats).await.map_err(|failed| match failed {
                        Failed::Unsent(_) => first.into(),
                        Failed::Ended(error) | Failed::Broke(error) => error.into(),
                    });
                }
                Err(Failed::Ended(error) | Failed::Broke(error)) => return Err(error.into()),
            }
        }
        let connection = self.connect().await?;
        let _place = repeats.place(&connection).await;
        departure.handed_over();
        self.send_on(connection, request, repeats).await.map_err(|failed| match failed {
            Failed::Unsent(error) => {
                departure.came_back();
                Error::Connect(error.into())
            }
            Failed::Ended(error) | Failed::Broke(error) => error.into(),
        })
    }

    async fn send_on(
        self: &Arc<Self>,
        connection: Connection,
        request: Request<Full<Bytes>>,
        repeats: Repeats,
    ) -> Result<Response<Incoming>, Failed> {
        match connection {
            Connection::Http1(mut connection) => {
                let response = connection.send(request).await?;
                self.give_back(connection);
                Ok(response)
            }
            Connection::Http2(mut connection) => {
                let number = connection.number;
                let retire = || self.retire(number);
                let unanswered = Unanswered::new(connection.answers.clone(), repeats.patience(), retire);
                let sent = connection.send(request).await;
                unanswered.ended(sent.is_ok());
                sent
            }
        }
    }

    /// Sends nobody else to a shared connection.
    fn retire(&self, number: u64) {
        let mut stock = lock(&self.stock);
        if stock.shared.as_ref().is_some_and(|(shared, _)| shared.number == number) {
            stock.shared = None;
        }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.open());
        connecting.await.map_err(|late| Error::Connect(late.into()))?.map_err(Error::Connect)
    }

    async fn open(&self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let Some(trust) = &self.tls else {
            let (socket, watched) = self.reach().await?;
            return Ok(Connection::Http1(Http1::new(Stream::plain(socket), watched).await?));
        };
        // What one has made, the others share.
        let _one_at_a_time = if lock(&self.stock).is_http1 { None } else { Some(self.connecting.lock().await) };
        if let Some(shared) = lock(&self.stock).shared() {
            return Ok(Connection::Http2(shared));
        }
        let (socket, watched) = self.reach().await?;
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let connecting = TlsConnector::from(trust.tls.clone()).connect(ServerName::try_from(host)?, socket);
        let stream = connecting.await.map_err(|error| explained(error, trust))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        let stream = Stream::tls(stream);
        if !is_http2 {
            lock(&self.stock).is_http1 = true;
            return Ok(Connection::Http1(Http1::new(stream, watched).await?));
        }
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let connection = Http2::new(stream, watched, self.uri.clone(), number).await?;
        let mut stock = lock(&self.stock);
        stock.is_http1 = false;
        stock.shared = Some((connection.clone(), Instant::now()));
        Ok(Connection::Http2(connection))
    }

    async fn reach(&self) -> Result<(Socket, Watched), Box<dyn std::error::Error + Send + Sync>> {
        let place = self.place().await?;
        let Some(route) = &self.route else {
            let stream = self.connector.clone().call(self.uri.clone()).await?;
            return Ok(Socket::new(stream.into_inner(), place));
        };
        route.check(&self.uri).await?;
        let connecting = self.connector.clone().call(route.proxy.uri.clone()).await;
        let mut stream = connecting.map_err(|error| route.unreached(&error))?.into_inner();
        if self.tls.is_some() {
            route.connect(&mut stream, &self.uri).await?;
        }
        Ok(Socket::new(stream, place))
    }

    /// A place for one more connection. Where there is none, those that wait for a call give theirs up.
    async fn place(&self) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        if let Some(others) = self.others.upgrade() {
            for server in lock(&others).values() {
                lock(&server.stock).idle.clear();
            }
        }
        self.places.clone().acquire_owned().await
    }

    /// One that is still open: the one that all share, or the one that was used last.
    fn take(self: &Arc<Self>) -> Option<Connection> {
        let mut stock = lock(&self.stock);
        if let Some(shared) = stock.shared() {
            self.sweeps(&mut stock);
            return Some(Connection::Http2(shared));
        }
        while let Some(Idle { connection, since }) = stock.idle.pop() {
            if connection.is_usable(since.elapsed()) {
                return Some(Connection::Http1(connection));
            }
        }
        None
    }

    /// Keeps a connection for the next call, from when its answer was read.
    fn give_back(self: &Arc<Self>, mut connection: Http1) {
        if connection.is_ready() {
            self.put(connection);
        } else if connection.is_open() {
            let server = Arc::downgrade(self);
            tokio::spawn(async move {
                if connection.is_read().await
                    && let Some(server) = server.upgrade()
                {
                    server.put(connection);
                }
            });
        }
    }

    fn put(self: &Arc<Self>, connection: Http1) {
        let mut stock = lock(&self.stock);
        stock.idle.push(Idle { connection, since: Instant::now() });
        self.sweeps(&mut stock);
    }

    fn sweeps(self: &Arc<Self>, stock: &mut IdleConnections) {
        if !std::mem::replace(&mut stock.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

impl IdleConnections {
    /// The connection that all calls share, for one more.
    fn shared(&mut self) -> Option<Http2> {
        let (connection, used) = self.shared.as_mut()?;
        if connection.is_usable() {
            *used = Instant::now();
            return Some(connection.clone());
        }
        self.shared = None;
        None
    }
}

/// Drops the connections that have waited too long, until there are none.
async fn sweep(server: Weak<Server>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT).await;
        let Some(server) = server.upgrade() else { return };
        let mut stock = lock(&server.stock);
        stock.idle.retain(|idle| !idle.connection.is_over(idle.since.elapsed()));
        if stock.shared.as_ref().is_some_and(|(shared, used)| !shared.is_usable() || used.elapsed() >= IDLE_TIMEOUT) {
            stock.shared = None;
        }
        if stock.idle.is_empty() && stock.shared.is_none() {
            stock.swept = false;
            return;
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that could panic is done under these locks.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
