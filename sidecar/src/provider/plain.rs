//! HTTP/1.1 without TLS, to servers in one's own cluster: what a call needs and no more.
//!
//! Each server has a stock of connections that wait for the next call. A call takes the one that was used last, or makes
//! one; its connection goes back when the answer was read. Nothing is asked of a map, no header is copied, no URL is
//! read again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

use super::{
    departure::Departure,
    dns::Resolver,
    http::{CONNECT_TIMEOUT, IDLE_TIMEOUT},
};

/// After such a silence the other end is asked whether it is still there, as often, and so many times.
const KEEPALIVE: (Duration, u32) = (Duration::from_secs(15), 3);
/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Why a call got no response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection came about.
    #[error("no connection")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke.
    #[error(transparent)]
    Broke(#[from] hyper::Error),
}

/// All servers. A handle: clones share them.
#[derive(Clone, Debug)]
pub struct Plain {
    connector: HttpConnector<Resolver>,
    servers: Arc<Mutex<HashMap<String, Arc<Server>>>>,
}

/// A server and the connections to it.
#[derive(Debug)]
pub struct Server {
    /// Its address is all that counts in it.
    uri: Uri,
    connector: HttpConnector<Resolver>,
    stock: Mutex<Stock>,
}

#[derive(Debug, Default)]
struct Stock {
    /// The one that was used last is the last.
    idle: Vec<Idle>,
    /// Whether a task looks for those that have waited too long.
    swept: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

type Connection = SendRequest<Full<Bytes>>;

impl Plain {
    /// No server yet.
    pub fn new(names: Resolver) -> Self {
        let mut connector = HttpConnector::new_with_resolver(names);
        connector.set_nodelay(true);
        let (silence, times) = KEEPALIVE;
        connector.set_keepalive(Some(silence));
        connector.set_keepalive_interval(Some(silence));
        connector.set_keepalive_retries(Some(times));
        connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        Self { connector, servers: Arc::default() }
    }

    /// The server of a URI: for as long as someone holds it, the same one.
    pub fn server(&self, uri: &Uri) -> Arc<Server> {
        let mut servers = lock(&self.servers);
        // Those that no backend holds any more go, and their connections with them.
        servers.retain(|_, server| Arc::strong_count(server) > 1);
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let new = || Arc::new(Server { uri: uri.clone(), connector: self.connector.clone(), stock: Mutex::default() });
        servers.entry(authority).or_insert_with(new).clone()
    }
}

impl Server {
    /// Sends a request whose URI is a path and whose headers name the host. On a connection that was closed while it
    /// waited nothing was sent: the request goes over another one.
    pub async fn send(
        self: &Arc<Self>,
        mut request: Request<Full<Bytes>>,
        departure: &Departure,
    ) -> Result<Response<Incoming>, Error> {
        while let Some(mut connection) = self.take() {
            departure.handed_over();
            match connection.try_send_request(request).await {
                Ok(response) => {
                    self.give_back(connection);
                    return Ok(response);
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => {
                        departure.came_back();
                        request = unsent;
                    }
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        let mut connection = self.connect().await?;
        departure.handed_over();
        let response = connection.send_request(request).await?;
        self.give_back(connection);
        Ok(response)
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let connecting = self.connector.clone().call(self.uri.clone());
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|late| Error::Connect(late.into()))?
            .map_err(|error| Error::Connect(error.into()))?;
        let (connection, work) = http1::handshake(stream).await?;
        tokio::spawn(async move {
            // What goes wrong there, the call that waits for it is told.
            let _ = work.await;
        });
        Ok(connection)
    }

    /// The connection that was used last and is still open.
    fn take(&self) -> Option<Connection> {
        let mut stock = lock(&self.stock);
        while let Some(Idle { connection, since }) = stock.idle.pop() {
            if connection.is_ready() && since.elapsed() < IDLE_TIMEOUT {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next call, from when its answer was read.
    fn give_back(self: &Arc<Self>, mut connection: Connection) {
        if connection.is_ready() {
            self.put(connection);
        } else if !connection.is_closed() {
            let server = Arc::downgrade(self);
            tokio::spawn(async move {
                if connection.ready().await.is_ok()
                    && let Some(server) = server.upgrade()
                {
                    server.put(connection);
                }
            });
        }
    }

    fn put(self: &Arc<Self>, connection: Connection) {
        let mut stock = lock(&self.stock);
        stock.idle.push(Idle { connection, since: Instant::now() });
        if !std::mem::replace(&mut stock.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Drops the connections that have waited too long, until there are none.
async fn sweep(server: std::sync::Weak<Server>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT).await;
        let Some(server) = server.upgrade() else { return };
        let mut stock = lock(&server.stock);
        stock.idle.retain(|idle| !idle.connection.is_closed() && idle.since.elapsed() < IDLE_TIMEOUT);
        if stock.idle.is_empty() {
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
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
    };

    use http_body_util::BodyExt;

    use super::*;
    use crate::provider::reach::Reach;

    fn plain() -> Plain {
        Plain::new(Resolver::new(Reach::Providers))
    }

    fn request() -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = "/embeddings".parse().unwrap();
        request
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri: Uri = format!("http://{}/embeddings", listener.local_addr().unwrap()).parse().unwrap();
        // Each connection answers twice and is then closed.
        let serving = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                for _ in 0..2 {
                    while !lines.next().unwrap().unwrap().is_empty() {}
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                }
            }
        });
        let plain = plain();
        let server = plain.server(&uri);
        for _ in 0..2 {
            for _ in 0..2 {
                let departure = Departure::default();
                let response = plain.server(&uri).send(request(), &departure).await.unwrap();
                assert!(departure.has_left());
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        serving.join().unwrap();
        // Nobody listens any more.
        let departure = Departure::default();
        assert!(matches!(server.send(request(), &departure).await, Err(Error::Connect(_))));
        assert!(!departure.has_left());
    }

    #[tokio::test]
    async fn what_waits_for_a_connection_has_not_left_and_what_waits_for_an_answer_has() {
        // The system accepts one connection, of which nobody takes any notice, and leaves the next one waiting.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let uri: Uri = format!("http://{}/embeddings", listener.local_addr().unwrap()).parse().unwrap();
        let plain = plain();
        let server = plain.server(&uri);
        let mut departures = Vec::new();
        for _ in 0..4 {
            let departure = Departure::default();
            let sending = server.send(request(), &departure);
            assert!(tokio::time::timeout(Duration::from_millis(200), sending).await.is_err(), "nobody answers");
            departures.push(departure.has_left());
        }
        assert_eq!((departures.first(), departures.last()), (Some(&true), Some(&false)), "{departures:?}");
    }

    #[tokio::test]
    async fn what_comes_back_from_a_connection_that_had_ended_has_not_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri: Uri = format!("http://{}/embeddings", listener.local_addr().unwrap()).parse().unwrap();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while !lines.next().unwrap().unwrap().is_empty() {}
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            ended.recv().unwrap();
        });
        let plain = plain();
        let server = plain.server(&uri);
        let response = server.send(request(), &Departure::default()).await.unwrap();
        response.into_body().collect().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(lock(&server.stock).idle.len(), 1);
        // It ends while this thread stands still: the runtime hears of it, and the connection's own task not yet.
        end.send(()).unwrap();
        serving.join().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        tokio::task::yield_now().await;
        let departure = Departure::default();
        assert!(matches!(server.send(request(), &departure).await, Err(Error::Connect(_))));
        assert!(!departure.has_left());
    }

    #[test]
    fn servers_that_nobody_holds_are_forgotten() {
        let plain = plain();
        let held = plain.server(&"http://a/x".parse().unwrap());
        drop(plain.server(&"http://b/x".parse().unwrap()));
        assert!(Arc::ptr_eq(&held, &plain.server(&"http://a/y".parse().unwrap())));
        assert_eq!(lock(&plain.servers).len(), 1);
    }
}
