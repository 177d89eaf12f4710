//! The way out: through a proxy, and to servers whose certificates a private CA has signed.

#![allow(clippy::float_cmp, clippy::indexing_slicing, reason = "a test")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, secret, team},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

const MODEL: &str = "text-embedding-3-small";
/// A name that nobody looks up but the proxy.
const HOST: &str = "embeddings.invalid";

/// What a proxy was asked: the first line, and `Proxy-Authorization`.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

fn asked(asked: &Asked) -> Vec<(String, String)> {
    asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A proxy that leads to one server, whatever it is asked for, or refuses everything.
async fn proxy(to: Option<SocketAddr>) -> anyhow::Result<(SocketAddr, Asked)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, asked) = (listener.local_addr()?, Asked::default());
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(lead(stream, to, seen.clone()));
        }
    });
    Ok((address, asked))
}

async fn lead(mut stream: TcpStream, to: Option<SocketAddr>, seen: Asked) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next().unwrap_or_default().to_owned();
    let authorization = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.to_owned())
    });
    let tunnels = line.starts_with("CONNECT ");
    seen.lock().unwrap_or_else(PoisonError::into_inner).push((line, authorization.unwrap_or_default()));
    let Some(to) = to else {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await?;
        return Ok(());
    };
    let mut server = TcpStream::connect(to).await?;
    if tunnels {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        server.write_all(&head).await?;
    }
    copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

/// A provider with a certificate for a name that no well-known CA has signed: the certificate, too.
async fn private(name: &str) -> anyhow::Result<(Provider, SocketAddr, String)> {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec![name.to_owned()])?;
    let options = Options { tls: Some((cert.pem(), signing_key.serialize_pem())), ..Options::new(PROVIDER_KEY) };
    let provider = Provider::start(options).await?;
    let address = address(&provider)?;
    Ok((provider, address, cert.pem()))
}

fn address(provider: &Provider) -> anyhow::Result<SocketAddr> {
    let url = provider.url();
    Ok(url.split('/').nth(2).context("no address")?.parse()?)
}

fn with_ca(mut route: Vec<Value>, name: &str) -> Vec<Value> {
    if let Some(backend) = route.first_mut().and_then(|route| route.pointer_mut("/spec/backends/0")) {
        backend["caSecretRef"] = json!({"name": name});
    }
    route
}

fn ca(pem: &str) -> Value {
    secret("default", "ca", json!({"ca.crt": pem}))
}

async fn pair(environment: &[(&str, &str)], routes: Vec<Value>) -> anyhow::Result<(Pair, Caller)> {
    let mut all = vec![team("search", json!({}))];
    all.extend(routes);
    all.extend(api_key("alice", "search", json!({})));
    let mut setup = Setup::built()?;
    setup.environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, caller))
}

#[tokio::test]
async fn a_private_ca_is_trusted_for_its_backend_alone_and_a_rotated_one_at_once() -> anyhow::Result<()> {
    let (provider, address, pem) = private("127.0.0.1").await?;
    let (_, _, other) = private("127.0.0.1").await?;
    let url = format!("https://{address}/v1");
    let mut routes = with_ca(route("with", &[MODEL], &url), "ca");
    // The same server, under another name and without the CA.
    routes.extend(route("without", &["text-embedding-3-large"], &url).into_iter().take(1));
    let (pair, caller) = pair(&[], routes).await?;
    pair.write_manifest("ca.yaml", &file([ca(&pem)]))?;
    pair.wait_for("the CA to arrive", Duration::from_secs(10), async || {
        let answer = caller.embed(MODEL, json!("The quick brown fox")).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    let without = caller.embed("text-embedding-3-large", json!("The quick brown fox")).await?;
    assert_eq!((without.status, without.code()), (503, "no_backend_available"), "{:?}", without.json);
    let message = without.message();
    assert!(
        message.contains("not trusted")
            && message.contains("name the CA that has signed it in the backend's caSecretRef"),
        "{message}"
    );
    assert_eq!(caller.embed(MODEL, json!("a")).await?.status, 200);
    assert_eq!(provider.account().requests, 2);
    assert_eq!(provider.connections(), 2, "one that was trusted, which is used again, and one that was not");

    pair.write_manifest("ca.yaml", &file([ca(&other)]))?;
    pair.wait_for("another CA to arrive", Duration::from_secs(10), async || {
        let answer = caller.embed(MODEL, json!("a")).await?;
        Ok((answer.status == 503 && answer.message().contains("caSecretRef have not signed it")).then_some(()))
    })
    .await?;
    pair.write_manifest("ca.yaml", &file([ca(&format!("{other}{pem}"))]))?;
    pair.wait_for("both CAs to arrive", Duration::from_secs(10), async || {
        Ok((caller.embed(MODEL, json!("a")).await?.status == 200).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_provider_behind_https_is_reached_by_a_tunnel_and_no_credential_is_told() -> anyhow::Result<()> {
    let (provider, address, pem) = private(HOST).await?;
    let (proxy, seen) = proxy(Some(address)).await?;
    let mut routes = with_ca(route("openai", &[MODEL], &format!("https://{HOST}:8443/v1")), "ca");
    routes.push(ca(&pem));
    let url = format!("http://user:pa%73s@{proxy}");
    let (pair, caller) = pair(&[("HTTPS_PROXY", &url)], routes).await?;
    for _ in 0..3 {
        let answer = caller.embed(MODEL, json!("The quick brown fox")).await?;
        assert_eq!((answer.status, answer.tokens()), (200, 4), "{:?}", answer.json);
    }
    let connect = (format!("CONNECT {HOST}:8443 HTTP/1.1"), "Basic dXNlcjpwYXNz".to_owned());
    assert_eq!(asked(&seen), [connect], "one tunnel is enough");
    assert_eq!(provider.account().requests, 3);
    let log = pair.sidecar_log();
    assert!(!log.contains("dXNlcjpwYXNz") && !log.contains("user:pa"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_provider_without_tls_is_asked_for_by_its_whole_url() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let (proxy, seen) = proxy(Some(address(&provider)?)).await?;
    let routes = route("openai", &[MODEL], &format!("http://{HOST}/v1"));
    let (_pair, caller) = pair(&[("HTTP_PROXY", &format!("http://user:pass@{proxy}"))], routes).await?;
    let answer = caller.embed(MODEL, json!("The quick brown fox")).await?;
    assert_eq!((answer.status, answer.tokens()), (200, 4), "{:?}", answer.json);
    let post = (format!("POST http://{HOST}/v1/embeddings HTTP/1.1"), "Basic dXNlcjpwYXNz".to_owned());
    assert_eq!(asked(&seen), [post]);
    Ok(())
}

#[tokio::test]
async fn what_the_proxy_refuses_is_told_and_what_needs_none_does_not_come_to_it() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let (proxy, seen) = proxy(None).await?;
    let mut routes = route("near", &["text-embedding-3-large"], &provider.url());
    routes.extend(route("refused", &[MODEL], &format!("https://{HOST}/v1")).into_iter().take(1));
    routes.extend(route("excepted", &["text-embedding-ada-002"], "https://a.direct.invalid/v1").into_iter().take(1));
    let url = format!("http://{proxy}");
    let environment = [("HTTPS_PROXY", &*url), ("HTTP_PROXY", &*url), ("NO_PROXY", "direct.invalid")];
    let (pair, caller) = pair(&environment, routes).await?;
    let near = caller.embed("text-embedding-3-large", json!("a")).await?;
    assert_eq!(near.status, 200, "loopback needs no proxy: {:?}", near.json);
    let excepted = caller.embed("text-embedding-ada-002", json!("a")).await?;
    assert_eq!(excepted.status, 503);
    assert!(!excepted.message().contains("proxy"), "{}", excepted.message());
    assert_eq!(asked(&seen), []);
    let refused = caller.embed(MODEL, json!("a")).await?;
    assert_eq!((refused.status, refused.code()), (503, "no_backend_available"), "{:?}", refused.json);
    let words = format!("the proxy {proxy} does not connect to {HOST}:443: it answers 403 Forbidden");
    assert!(refused.message().contains(&words), "{}", refused.message());
    assert!(asked(&seen).iter().all(|(line, _)| *line == format!("CONNECT {HOST}:443 HTTP/1.1")));
    assert_eq!(pair.metrics().await?.sum("vectoll_key_requests_total", &[]), 1.0, "what was refused was not sent");
    Ok(())
}
