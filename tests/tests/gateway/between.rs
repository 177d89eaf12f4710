//! What is between a sidecar and its gateway: memory, headers, connections that age, and servers that stand before the gateway.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use vectoll_tests::{caller::Caller, manifest::key_value};

use crate::{
    passed_on::{MODEL, sidecar, sidecar_to},
    stage::{Certificate, Stage, setup_with, status},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_for_which_there_is_no_room_costs_nothing() -> anyhow::Result<()> {
    let stage = Stage::start_with(1_000).await?;
    let gateway = (stage.pair.proxy_address(), &stage.certificate);
    let arguments = ["--max-held-bytes", "1048576"];
    let sidecar = sidecar_to(gateway, &stage.shop, &arguments, &json!({"timeoutSeconds": 2})).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let many: Vec<String> = (0..300).map(|n| format!("text {n}")).collect();
    let body = json!({"model": MODEL, "input": many, "encoding_format": "float"});
    // Large answers, which nobody reads: what they take stays taken.
    let call = async || {
        let request = http.post(format!("{}/v1/embeddings", sidecar.base_url())).bearer_auth(key_value("alice"));
        anyhow::Ok(request.json(&body).send().await?)
    };
    let answers = futures_util::future::try_join_all((0..4).map(|_| call())).await?;
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status() == 200);
    assert!(!served.is_empty() && !refused.is_empty(), "{} were served", served.len());
    assert_eq!(stage.shop.account().requests, served.len() as u64, "who is refused is not charged");
    for answer in refused {
        assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after").is_some()), (503, true));
        let text = answer.text().await?;
        assert!(text.contains("no_room"), "{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_headers_than_a_gateway_takes_are_the_callers_fault() -> anyhow::Result<()> {
    let stage = Stage::start_with(1_000).await?;
    let sidecar = sidecar(&stage, &stage.certificate, &[]).await?;
    let caller = Caller::new(&sidecar.base_url(), &key_value("alice"))?;
    let body = json!({"model": MODEL, "input": "a"});
    for (length, expected) in [(30_000, 200), (40_000, 400)] {
        let long = "a".repeat(length);
        let answer = caller.post("/v1/embeddings", &body, &[("x-litellm-note", &long)]).await?;
        assert_eq!(answer.status, expected, "{}", answer.message());
        if expected == 400 {
            assert!(answer.message().contains("32768 bytes of path and headers"), "{}", answer.message());
        }
    }
    assert_eq!(stage.shop.account().requests, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_age_and_no_call_is_lost_by_it() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let stage =
        Stage::start_as(setup_with(&certificate, &["--max-connection-age-seconds", "1"])?, certificate, 100_000)
            .await?;
    // Over HTTP/1.1 an answer says so.
    let http1 = stage.certificate.client(&stage.pair)?.http1_only().build()?;
    let closes = async || {
        let answer = http1.get(format!("{}/v1/models", stage.url())).bearer_auth(key_value("bob")).send().await?;
        let closes = answer.headers().get("connection").is_some_and(|value| value == "close");
        answer.bytes().await?;
        anyhow::Ok(closes)
    };
    assert!(!closes().await?);
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert!(closes().await?);
    assert!(!closes().await?, "on another connection");
    // Over HTTP/2 calls that are under way are answered, and the others go by another connection.
    let sidecar = sidecar(&stage, &stage.certificate, &[]).await?;
    let caller = Caller::new(&sidecar.base_url(), &key_value("alice"))?;
    let began = tokio::time::Instant::now();
    let calls = async || {
        let mut calls = 0;
        while began.elapsed() < Duration::from_secs(5) {
            assert_eq!(status(&caller).await?, 200);
            calls += 1;
        }
        anyhow::Ok(calls)
    };
    let slow = async {
        let answer = caller.embed("fault-slow-3000", json!("a")).await?;
        assert_eq!(answer.status, 200, "{}", answer.message());
        anyhow::Ok(())
    };
    let (one, two, ()) = tokio::try_join!(calls(), calls(), slow)?;
    assert_eq!(stage.shop.account().requests, one + two + 1, "each was sent once");
    Ok(())
}

/// A server with TLS that answers every request as it is told.
struct Between {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
}

impl Between {
    async fn start(certificate: &Certificate) -> anyhow::Result<Self> {
        let chain = vec![CertificateDer::from_pem_file(certificate.file("tls.crt"))?];
        let key = PrivateKeyDer::from_pem_file(certificate.file("tls.key"))?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await?, TlsAcceptor::from(Arc::new(config)));
        let (address, answer) = (listener.local_addr()?, Arc::new(Mutex::new(String::new())));
        let told = answer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, told) = (acceptor.clone(), told.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut read = Vec::new();
                    let mut piece = [0; 4096];
                    while !read.ends_with(b"\"}") {
                        match stream.read(&mut piece).await {
                            Ok(length) if length > 0 => read.extend_from_slice(&piece[..length]),
                            _ => return,
                        }
                    }
                    let answer = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Ok(Self { address, answer })
    }

    fn answers(&self, status: &str, headers: &[&str]) {
        let headers: String = headers.iter().flat_map(|line| [*line, "\r\n"]).collect();
        let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: 2\r\nconnection: close\r\n\r\n{{}}");
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_before_the_gateway_says_nothing_to_applications() -> anyhow::Result<()> {
    let certificate = Certificate::new()?;
    let between = Between::start(&certificate).await?;
    let provider = crate::stage::provider("shop").await?;
    let sidecar = sidecar_to((between.address, &certificate), &provider, &[], &json!({})).await?;
    let caller = Caller::new(&sidecar.base_url(), &key_value("alice"))?;
    let id = "x-litellm-call-id: 00112233-4455-4677-8899-aabbccddeeff";
    let theirs =
        ["set-cookie: a=b", "strict-transport-security: max-age=1", "access-control-allow-origin: *", "alt-svc: h3"];
    between.answers(
        "200 OK",
        &[&[id, "content-type: application/json", "x-ratelimit-limit-requests: 7"][..], &theirs[..]].concat(),
    );
    let answer = caller.embed(MODEL, json!("a")).await?;
    assert_eq!((answer.status, answer.header("x-ratelimit-limit-requests")), (200, Some("7")));
    for line in theirs {
        let name = line.split(':').next().context("no name")?;
        assert_eq!(answer.header(name), None, "{name}");
    }
    for (status, headers, words) in [
        ("302 Found", &["location: https://login.example"][..], "something else answered 302"),
        ("308 Permanent Redirect", &[id, "location: https://login.example"], "something else answered 308"),
        ("200 OK", &["content-type: text/html"], "something else answered 200"),
        ("431 Request Header Fields Too Large", &[], "something else answered 431"),
        ("502 Bad Gateway", &["content-type: text/html"], "may have been carried out and charged"),
        ("504 Gateway Timeout", &[], "may have been carried out and charged"),
    ] {
        between.answers(status, headers);
        let answer = caller.embed(MODEL, json!("a")).await?;
        assert_eq!((answer.status, answer.code()), (502, "upstream_error"), "{status}");
        assert!(answer.message().contains(words), "{status}: {}", answer.message());
        assert_eq!((answer.header("x-should-retry"), answer.header("location")), (Some("false"), None), "{status}");
    }
    Ok(())
}
