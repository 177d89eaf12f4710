#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    convert::Infallible,
    io::{BufRead, Write},
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use http_body_util::BodyExt;
use hyper::{server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::provider::egress_policy::EgressPolicy;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const STRAY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray";

fn pool() -> HttpPool {
    crate::credential::issuer::fake::clients().providers
}

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from_static(b"{}")));
    *request.uri_mut() = "/embeddings".parse().unwrap();
    request
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// What a server does with a request that it has read.
#[derive(Clone, Copy)]
enum Does {
    Writes(&'static [u8]),
    Waits(u64),
    /// Closes the connection, and takes the next one.
    Closes,
}

use Does::{Closes, Waits, Writes};

/// A server that does as it is told with one request after the other, whatever connection it comes on: how many connections and
/// requests it saw.
async fn server(script: Vec<Vec<Does>>) -> (Arc<Server>, HttpPool, Arc<[AtomicUsize; 2]>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = pool();
    let server = pool.server(&format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap(), None);
    let seen: Arc<[AtomicUsize; 2]> = Arc::default();
    let counts = seen.clone();
    tokio::spawn(async move {
        let mut script = script.into_iter();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counts[0].fetch_add(1, Ordering::Relaxed);
            'connection: while read_request(&mut stream).await {
                counts[1].fetch_add(1, Ordering::Relaxed);
                for does in script.next().unwrap_or_default() {
                    match does {
                        Writes(bytes) => stream.write_all(bytes).await.unwrap(),
                        Waits(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                        Closes => break 'connection,
                    }
                }
            }
        }
    });
    (server, pool, seen)
}

/// Reads a head and the two bytes behind it; false at the end.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n{}") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => read.push(byte[0]),
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

fn counts(seen: &[AtomicUsize; 2]) -> (usize, usize) {
    (seen[0].load(Ordering::Relaxed), seen[1].load(Ordering::Relaxed))
}

async fn get(server: &Arc<Server>) -> Result<String, Error> {
    let departure = SentFlag::default();
    let answer = server.send(request(), &departure).await;
    assert!(departure.has_left());
    Ok(text(answer?).await)
}

#[tokio::test]
async fn a_connection_is_used_again_until_it_is_closed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri: Uri = format!("http://{}/embeddings", listener.local_addr().unwrap()).parse().unwrap();
    // Each connection answers twice and is then closed.
    let serving = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
            for _ in 0..2 {
                while !lines.next().unwrap().unwrap().is_empty() {}
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            }
        }
    });
    let pool = pool();
    let server = pool.server(&uri, None);
    for _ in 0..2 {
        for _ in 0..2 {
            let departure = SentFlag::default();
            let response = pool.server(&uri, None).send(request(), &departure).await.unwrap();
            assert!(departure.has_left());
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    serving.join().unwrap();
    // Nobody listens any more.
    let departure = SentFlag::default();
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
    let pool = pool();
    let server = pool.server(&uri, None);
    let mut departures = Vec::new();
    for _ in 0..4 {
        let departure = SentFlag::default();
        let sending = server.send(request(), &departure);
        assert!(tokio::time::timeout(Duration::from_millis(200), sending).await.is_err(), "nobody answers");
        departures.push(departure.has_left());
    }
    assert_eq!((departures.first(), departures.last()), (Some(&true), Some(&false)), "{departures:?}");
}

#[tokio::test]
async fn what_comes_back_from_a_connection_that_had_ended_has_not_left() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri: Uri = format!("http://{}/embeddings", listener.local_addr().unwrap()).parse().unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
        while !lines.next().unwrap().unwrap().is_empty() {}
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        ended.recv().unwrap();
    });
    let pool = pool();
    let server = pool.server(&uri, None);
    let response = server.send(request(), &SentFlag::default()).await.unwrap();
    response.into_body().collect().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(lock(&server.stock).idle.len(), 1);
    // It ends while this thread stands still: the runtime hears of it, and the connection's own task not yet.
    end.send(()).unwrap();
    serving.join().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    tokio::task::yield_now().await;
    let departure = SentFlag::default();
    assert!(matches!(server.send(request(), &departure).await, Err(Error::Connect(_))));
    assert!(!departure.has_left());
}

#[test]
fn servers_that_nobody_holds_are_forgotten() {
    let pool = pool();
    let held = pool.server(&"http://a/x".parse().unwrap(), None);
    drop(pool.server(&"http://b/x".parse().unwrap(), None));
    assert!(Arc::ptr_eq(&held, &pool.server(&"http://a/y".parse().unwrap(), None)));
    assert_eq!(lock(&pool.servers).len(), 1);
    assert!(!Arc::ptr_eq(&held, &pool.server(&"https://a/y".parse().unwrap(), None)), "with TLS it is another one");
    // What was trusted by one CA is not for who trusts another, or the well-known ones; a rotated CA is another one.
    let ca = |name: &str| {
        let certificate = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.pem();
        Trust::only(certificate.as_bytes()).unwrap()
    };
    let (one, other) = (ca("one"), ca("other"));
    let of = |trust: Option<&Trust>| pool.server(&"https://a/y".parse().unwrap(), trust);
    let by_one = of(Some(&one));
    assert!(Arc::ptr_eq(&by_one, &of(Some(&one))));
    assert!(!Arc::ptr_eq(&by_one, &of(Some(&other))) && !Arc::ptr_eq(&by_one, &of(None)));
    for (pem, words) in [
        ("", "no certificate"),
        ("x", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----", "no certificate of a CA"),
    ] {
        let error = Trust::only(pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{pem}: {error}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_as_it_is_used_again_is_made_up_for_by_a_new_one() {
    let (server, _pool, seen) = server(vec![vec![Writes(OK)], vec![Closes], vec![Writes(OK)]]).await;
    assert_eq!(get(&server).await.unwrap(), "ok");
    assert_eq!(get(&server).await.unwrap(), "ok");
    assert_eq!(counts(&seen), (2, 3));
}

#[tokio::test]
async fn it_is_made_up_for_once_and_a_new_connection_that_ends_is_not() {
    let (server, _pool, seen) = server(vec![vec![Writes(OK)], vec![Closes], vec![Closes], vec![Closes]]).await;
    assert_eq!(get(&server).await.unwrap(), "ok");
    assert!(matches!(get(&server).await, Err(Error::Broke(_))));
    assert_eq!(counts(&seen), (2, 3));
    assert!(matches!(get(&server).await, Err(Error::Broke(_))));
    assert_eq!(counts(&seen), (3, 4));
}

#[tokio::test]
async fn a_server_that_has_begun_to_answer_or_took_its_time_has_had_the_request() {
    let begun = vec![Writes(b"HTTP/1.1 2"), Closes];
    for second in [begun, vec![Waits(1200), Closes]] {
        let (server, _pool, seen) = server(vec![vec![Writes(OK)], second, vec![Writes(OK)]]).await;
        assert_eq!(get(&server).await.unwrap(), "ok");
        assert!(matches!(get(&server).await, Err(Error::Broke(_))));
        assert_eq!(counts(&seen), (1, 2));
    }
}

#[tokio::test]
async fn what_a_server_sends_besides_an_answer_is_never_taken_for_one() {
    let together: &'static [u8] = [OK, STRAY].concat().leak();
    for first in [vec![Writes(together)], vec![Writes(OK), Waits(20), Writes(STRAY)]] {
        let (server, _pool, seen) = server(vec![first, vec![Writes(OK)], vec![Writes(OK)]]).await;
        assert_eq!(get(&server).await.unwrap(), "ok");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(get(&server).await.unwrap(), "ok");
        assert_eq!(counts(&seen), (2, 2), "the connection is not used again");
    }
}

#[tokio::test]
async fn what_came_while_nobody_looked_is_seen_before_a_connection_is_used_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = pool();
    let server = pool.server(&format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap(), None);
    let (go, gone) = std::sync::mpsc::channel::<bool>();
    let serving = std::thread::spawn(move || {
        use std::io::Read;
        let mut requests = 0;
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
            requests += 1;
            stream.write_all(OK).unwrap();
            match gone.recv() {
                Ok(true) => stream.write_all(STRAY).unwrap(),
                Ok(false) => {}
                Err(_) => break,
            }
            if gone.recv().is_ok_and(|more| more) {
                // It stays open, and whatever comes on it is noted.
                stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                requests += usize::from(stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0));
            }
        }
        requests
    });
    for (stray, open) in [(true, true), (false, false)] {
        assert_eq!(get(&server).await.unwrap(), "ok");
        tokio::time::sleep(Duration::from_millis(20)).await;
        go.send(stray).unwrap();
        // This thread stands still: the connection's own task learns nothing.
        std::thread::sleep(Duration::from_millis(50));
        go.send(open).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(server.take().is_none(), "stray {stray}, open {open}");
    }
    assert_eq!(get(&server).await.unwrap(), "ok");
    drop(go);
    assert_eq!(tokio::task::spawn_blocking(move || serving.join().unwrap()).await.unwrap(), 3);
}

#[tokio::test]
async fn a_servers_own_timeout_is_heeded() {
    let short: &[u8] = b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=2\r\ncontent-length: 2\r\n\r\nok";
    let (server, _pool, seen) = server(vec![vec![Writes(short)], vec![Writes(short)], vec![Writes(short)]]).await;
    assert_eq!(get(&server).await.unwrap(), "ok");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(get(&server).await.unwrap(), "ok");
    assert_eq!(counts(&seen).0, 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(server.take().is_none(), "its server closes it in a second");
}

/// A server with TLS. Requests to `/hang` are never answered, and from one to `/stall` on nothing at all is read.
async fn tls_server(alpn: &[&[u8]]) -> (HttpPool, SocketAddr, Arc<AtomicUsize>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, acceptor) = (connections.clone(), TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
                let stalled = Arc::new(tokio::sync::Notify::new());
                let stall = stalled.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let stall = stall.clone();
                    async move {
                        match (request.uri().path(), number) {
                            ("/hang", _) => std::future::pending().await,
                            ("/stall", 0) => {
                                stall.notify_one();
                                std::future::pending().await
                            }
                            _ => Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(number.to_string())))),
                        }
                    }
                });
                let io = TokioIo::new(stream);
                let mut serving = std::pin::pin!(async {
                    if is_http2 {
                        conn::http2::Builder::new(TokioExecutor::new())
                            .max_concurrent_streams(u32::try_from(connection::STREAMS).unwrap())
                            .serve_connection(io, service)
                            .await
                    } else {
                        conn::http1::Builder::new().serve_connection(io, service).await
                    }
                });
                tokio::select! {
                    biased;
                    // The connection stays open: only its reference goes.
                    () = stalled.notified() => std::future::pending().await,
                    _ = &mut serving => {}
                }
            });
        }
    });
    (
        HttpPool::new(
            Resolver::new(EgressPolicy::Providers),
            Trust { tls: Arc::new(client), cas: None },
            Arc::new(Semaphore::new(10)),
        ),
        address,
        connections,
    )
}

fn to(path: &'static str) -> Request<Full<Bytes>> {
    let mut request = request();
    *request.uri_mut() = path.parse().unwrap();
    request
}

#[tokio::test]
async fn with_tls_calls_at_the_same_time_share_one_connection_over_http_2_and_have_one_each_over_http_1() {
    for (alpn, expected) in [(&[b"h2".as_slice(), b"http/1.1"][..], 1), (&[b"http/1.1"], 4), (&[], 4)] {
        let (pool, address, connections) = tls_server(alpn).await;
        let server = pool.server(&format!("https://{address}/").parse().unwrap(), None);
        for _ in 0..2 {
            let all = (0..4).map(|_| async {
                let answer = server.send(to("/x"), &SentFlag::default()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                text(answer).await
            });
            futures_util::future::join_all(all).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!((expected.min(2)..=expected).contains(&connections.load(Ordering::Relaxed)), "{alpn:?}");
    }
}

#[tokio::test]
async fn an_http_2_connection_whose_peer_is_dead_is_found_by_ping_and_another_one_is_made() {
    let (pool, address, connections) = tls_server(&[b"h2"]).await;
    let server = pool.server(&format!("https://{address}/").parse().unwrap(), None);
    assert_eq!(text(server.send(to("/x"), &SentFlag::default()).await.unwrap()).await, "0");
    let departure = SentFlag::default();
    let asked = server.send(to("/stall"), &departure);
    let answer = tokio::time::timeout(2 * (PING_INTERVAL + PING_TIMEOUT), asked).await;
    assert_eq!(text(answer.unwrap().unwrap()).await, "1");
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_http_2_connection_that_left_a_call_unanswered_gets_no_other_one() {
    let (pool, address, connections) = tls_server(&[b"h2"]).await;
    let server = pool.server(&format!("https://{address}/").parse().unwrap(), None);
    assert_eq!(text(server.send(to("/x"), &SentFlag::default()).await.unwrap()).await, "0");
    let hanging = server.clone();
    let other = tokio::spawn(async move { hanging.send(to("/hang"), &SentFlag::default()).await.is_ok() });
    let departure = SentFlag::default();
    let asked = server.send(to("/hang"), &departure);
    assert!(tokio::time::timeout(Duration::from_millis(200), asked).await.is_err());
    assert!(departure.has_left());
    assert_eq!(text(server.send(to("/x"), &SentFlag::default()).await.unwrap()).await, "1");
    assert_eq!(connections.load(Ordering::Relaxed), 2);
    assert!(!other.is_finished(), "what is under way there goes on");
}

#[tokio::test]
async fn callers_that_leave_take_no_shared_connection_from_others() {
    let (pool, address, connections) = tls_server(&[b"h2"]).await;
    let server = pool.server(&format!("https://{address}/").parse().unwrap(), None);
    let leaves = async |path, after| {
        let departure = SentFlag::default();
        let asked = server.send_once(to(path), &departure);
        assert!(tokio::time::timeout(after, asked).await.is_err());
        departure.has_left()
    };
    for _ in 0..3 {
        assert!(leaves("/hang", Duration::from_millis(100)).await);
        assert_eq!(text(server.send_once(to("/x"), &SentFlag::default()).await.unwrap()).await, "0");
    }
    let long = Repeats::Never.patience() + Duration::from_millis(100);
    // Others are answered meanwhile: it is this call that takes long.
    let answered = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        text(server.send_once(to("/x"), &SentFlag::default()).await.unwrap()).await
    };
    assert_eq!(tokio::join!(leaves("/hang", long), answered), (true, "0".to_owned()));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    // Nobody is, for so long.
    assert!(leaves("/hang", long).await);
    assert_eq!(text(server.send_once(to("/x"), &SentFlag::default()).await.unwrap()).await, "1");
}

#[tokio::test]
async fn a_call_that_waits_for_a_place_on_a_connection_has_not_left() {
    let (pool, address, _) = tls_server(&[b"h2"]).await;
    let server = &pool.server(&format!("https://{address}/").parse().unwrap(), None);
    assert_eq!(text(server.send_once(to("/x"), &SentFlag::default()).await.unwrap()).await, "0");
    // As many as the server takes at a time, and more, which leave before there is a place.
    let all = (0..connection::STREAMS + 10).map(|number| async move {
        let departure = SentFlag::default();
        let asked = server.send_once(to("/hang"), &departure);
        let time = Duration::from_millis(if number < connection::STREAMS { 1000 } else { 500 });
        assert!(tokio::time::timeout(time, asked).await.is_err());
        departure.has_left()
    });
    let left = futures_util::future::join_all(all).await.into_iter().filter(|left| *left).count();
    assert_eq!(left, connection::STREAMS);
}
