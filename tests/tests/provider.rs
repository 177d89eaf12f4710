//! The provider of the tests keeps what it promises: a check that cannot fail would make every other test worthless.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use std::error::Error as _;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use reqwest::{Client, Response, StatusCode, Version};
use serde_json::{Value, json};
use vectoll_tests::provider::{Account, Charged, Options, Provider};

const KEY: &str = "sk-provider-0123456789";

async fn provider() -> anyhow::Result<(Provider, Client)> {
    Ok((Provider::start(Options::new(KEY)).await?, client()?))
}

fn client() -> anyhow::Result<Client> {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().timeout(Duration::from_secs(20)).redirect(reqwest::redirect::Policy::none()).build()?)
}

async fn call(provider: &Provider, client: &Client, body: Value) -> reqwest::Result<Response> {
    client.post(format!("{}/embeddings", provider.url())).bearer_auth(KEY).json(&body).send().await
}

/// A call whose model chooses the behaviour.
async fn meet(provider: &Provider, client: &Client, model: &str) -> reqwest::Result<Response> {
    call(provider, client, json!({"model": model, "input": ["hello world", "hello"]})).await
}

fn charged(provider: &Provider) -> (u64, u64) {
    let Account { charged_requests, charged_tokens, .. } = provider.account();
    (charged_requests, charged_tokens)
}

#[tokio::test]
async fn a_correct_call_is_answered_charged_and_recorded() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    let response = call(&provider, &client, json!({"model": "m", "input": "hello world", "task": "query"})).await?;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("x-request-id"));
    assert!(response.headers().contains_key("openai-processing-ms"));
    let length = response.content_length().context("no content-length")?;
    let body = response.bytes().await?;
    assert_eq!(length, body.len() as u64);
    let answer: Value = serde_json::from_slice(&body)?;
    assert_eq!(answer["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
    assert_eq!(answer["data"][0]["embedding"].as_array().map(Vec::len), Some(1536));

    let vectors: Value = client
        .post(format!("{}/vectors", provider.origin()))
        .json(&json!({"model": "m", "input": "hello world"}))
        .send()
        .await?
        .json()
        .await?;
    assert!(vectors["vectors"][0] == answer["data"][0]["embedding"], "other vectors than announced");

    let account = provider.account();
    assert_eq!((account.requests, account.charged_requests, account.charged_tokens), (1, 1, 2));
    assert_eq!(account.by_model.get("m"), Some(&Charged { requests: 1, tokens: 2 }));
    assert!(account.violations.is_empty());
    let over_http: Account = client.get(format!("{}/account", provider.origin())).send().await?.json().await?;
    assert_eq!(over_http, account);

    let requests = provider.requests();
    let [request] = requests.as_slice() else { anyhow::bail!("{} requests", requests.len()) };
    assert_eq!(request.json()?, json!({"model": "m", "input": "hello world", "task": "query"}));
    assert_eq!(request.path, "/v1/embeddings");
    let over_http: Value = client.get(format!("{}/requests", provider.origin())).send().await?.json().await?;
    assert_eq!(over_http[0]["headers"]["authorization"], format!("Bearer {KEY}"));
    assert_eq!(provider.connections(), 1);
    Ok(())
}

#[tokio::test]
async fn a_wrong_credential_is_refused_with_an_echo() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    let url = format!("{}/embeddings", provider.url());
    for authorization in ["Bearer sk-wrong", "bearer sk-provider-0123456789", ""] {
        let request =
            client.post(&url).json(&json!({"model": "m", "input": "x"})).header("authorization", authorization);
        let response = request.send().await?;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{authorization}");
        let answer: Value = response.json().await?;
        let message = answer["error"]["message"].as_str().context("no message")?;
        assert!(message.contains(authorization), "{message}");
        assert_eq!(answer["error"]["code"], "invalid_api_key");
    }
    assert_eq!(provider.account().unauthorized, 3);
    assert_eq!(charged(&provider), (0, 0));
    Ok(())
}

#[tokio::test]
async fn wrong_requests_are_refused_and_recorded_as_violations() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    let url = format!("{}/embeddings", provider.url());
    let post = |url: &str, content_type: &'static str, body: &'static str| {
        client.post(url).bearer_auth(KEY).header("content-type", content_type).body(body).send()
    };
    let good = r#"{"model": "m", "input": "x"}"#;
    assert_eq!(post(&url, "text/plain", good).await?.status(), StatusCode::BAD_REQUEST);
    let null = r#"{"model": "m", "input": "x", "encoding_format": null}"#;
    assert_eq!(post(&url, "application/json", null).await?.status(), StatusCode::BAD_REQUEST);
    let misspelt = r#"{"model": "fault-resett", "input": "x"}"#;
    assert_eq!(post(&url, "application/json", misspelt).await?.status(), StatusCode::BAD_REQUEST);
    let elsewhere = format!("{}/completions", provider.url());
    assert_eq!(post(&elsewhere, "application/json", good).await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(client.get(&url).send().await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(provider.account().violations.len(), 5, "{:?}", provider.account().violations);
    assert_eq!(post(&url, "application/json; charset=utf-8", good).await?.status(), StatusCode::OK);
    assert_eq!(charged(&provider), (1, 1));
    Ok(())
}

#[tokio::test]
async fn refusals_have_their_status_and_are_not_charged() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    for status in [400, 401, 404, 429, 500, 502, 503] {
        let response = meet(&provider, &client, &format!("fault-{status}")).await?;
        assert_eq!(response.status(), status);
        let retry_after = response.headers().get("retry-after").map(|value| value.as_bytes().to_vec());
        assert_eq!(retry_after, (status == 429).then(|| b"7".to_vec()), "{status}");
        let text = response.text().await?;
        assert_eq!(text.contains(KEY), status == 401, "{text}");
    }
    assert_eq!(charged(&provider), (0, 0));
    assert_eq!(provider.account().requests, 7);
    assert!(provider.account().violations.is_empty());
    Ok(())
}

#[tokio::test]
async fn broken_answers_break_where_they_say() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;

    let Err(reset) = meet(&provider, &client, "fault-reset").await else { anyhow::bail!("answered") };
    let mut causes = std::iter::successors(reset.source(), |&cause| cause.source());
    let kind = causes.find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    assert_eq!(kind, Some(std::io::ErrorKind::ConnectionReset), "{reset:?}");

    let (length, arrived) = read_until_cut(meet(&provider, &client, "fault-cut").await?).await?;
    assert!(arrived == length / 2 && arrived > 0, "{arrived} of {length}");
    let (length, arrived) = read_until_cut(meet(&provider, &client, "fault-cut-large").await?).await?;
    assert!(arrived == 600_000 && length > 1 << 20, "{arrived} of {length}");

    let garbage = meet(&provider, &client, "fault-garbage").await?;
    assert_eq!(garbage.status(), StatusCode::OK);
    assert!(garbage.json::<Value>().await.is_err());
    let truncated = meet(&provider, &client, "fault-truncated-json").await?.bytes().await?;
    assert!(!truncated.is_empty() && serde_json::from_slice::<Value>(&truncated).is_err());

    let hang = meet(&provider, &client, "fault-hang");
    assert!(tokio::time::timeout(Duration::from_millis(300), hang).await.is_err());

    assert_eq!(charged(&provider), (0, 0));
    assert_eq!(provider.account().requests, 6);
    Ok(())
}

async fn read_until_cut(mut response: Response) -> anyhow::Result<(usize, usize)> {
    let length = usize::try_from(response.content_length().context("no content-length")?)?;
    let mut arrived = 0;
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => arrived += bytes.len(),
            Ok(None) => anyhow::bail!("the answer ended well"),
            Err(_) => return Ok((length, arrived)),
        }
    }
}

#[tokio::test]
async fn odd_answers_are_charged_as_they_say() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    let answer = async |model| anyhow::Ok(meet(&provider, &client, model).await?.bytes().await?);
    let value = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes);

    assert_eq!(value(&answer("fault-no-usage").await?)?.get("usage"), None);
    let first = answer("fault-usage-first").await?;
    let position = |text: &[u8]| first.windows(text.len()).position(|window| window == text);
    ensure!(position(b"\"usage\"") < position(b"\"data\""), "usage does not come first");
    assert_eq!(value(&first)?["usage"]["prompt_tokens"], 3);
    assert_eq!(value(&answer("fault-overrun").await?)?["usage"]["prompt_tokens"], 30);
    assert_eq!(value(&answer("fault-few").await?)?["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(charged(&provider), (4, 3 + 3 + 30 + 3));
    Ok(())
}

#[tokio::test]
async fn slow_answers_wait_before_or_after_the_headers() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    let begun = Instant::now();
    meet(&provider, &client, "fault-slow-300").await?;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let begun = Instant::now();
    let response = meet(&provider, &client, "fault-slow-body-3000").await?;
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(charged(&provider), (2, 6));
    response.json::<Value>().await?;
    assert!(begun.elapsed() >= Duration::from_secs(3));
    // Whoever leaves during the wait is not charged.
    let left = tokio::time::timeout(Duration::from_millis(50), meet(&provider, &client, "fault-slow-200")).await;
    assert!(left.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(charged(&provider), (2, 6));
    Ok(())
}

#[tokio::test]
async fn a_followed_redirect_is_a_violation() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    let response = meet(&provider, &client, "fault-redirect").await?;
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert!(provider.account().violations.is_empty());
    let follower = Client::new();
    meet(&provider, &follower, "fault-redirect").await?;
    assert_eq!(provider.account().violations.len(), 1);
    Ok(())
}

#[tokio::test]
async fn mix_charges_the_two_that_answer() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    let mut answered = 0;
    for _ in 0..16 {
        let turn = async {
            let response = meet(&provider, &client, "fault-mix").await.ok()?.error_for_status().ok()?;
            response.json::<Value>().await.ok()
        };
        answered += u64::from(tokio::time::timeout(Duration::from_millis(500), turn).await.ok().flatten().is_some());
    }
    assert_eq!(answered, 4);
    assert_eq!(charged(&provider), (4, 12));
    let behaviours = provider.account().behaviours;
    assert_eq!(behaviours.len(), 8);
    assert!(behaviours.values().all(|count| *count == 2), "{behaviours:?}");
    Ok(())
}

#[tokio::test]
async fn the_largest_answer_is_streamed() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    let inputs: Vec<_> = (0..2048).map(|number| format!("text {number}")).collect();
    for (format, sizes) in [("float", 66_000_000..71_000_000), ("base64", 16_900_000..17_500_000)] {
        let body = json!({"model": "m", "input": inputs, "encoding_format": format});
        let mut response = call(&provider, &client, body).await?;
        assert_eq!(response.content_length(), None);
        let (mut size, mut last) = (0, Bytes::new());
        while let Some(bytes) = response.chunk().await? {
            size += bytes.len();
            last = bytes;
        }
        assert!(sizes.contains(&size), "{format}: {size}");
        assert!(last.ends_with(b"  }\n}"));
    }
    Ok(())
}

#[tokio::test]
async fn https_offers_both_versions() -> anyhow::Result<()> {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let options = Options { tls: Some((cert.pem(), signing_key.serialize_pem())), ..Options::new(KEY) };
    let provider = Provider::start(options).await?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusting =
        || Client::builder().tls_certs_only([reqwest::Certificate::from_pem(cert.pem().as_bytes())?]).build();
    let (h2, url) = (trusting()?, format!("https://localhost:{}/v1/embeddings", provider.address().port()));
    for turn in 1..=3 {
        let body = json!({"model": "m", "input": "hello"});
        let response = h2.post(&url).bearer_auth(KEY).json(&body).send().await?;
        assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
        response.bytes().await?;
        assert_eq!(charged(&provider), (turn, turn));
    }
    assert_eq!(provider.connections(), 1);
    let http1 = Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(cert.pem().as_bytes())?])
        .http1_only()
        .build()?;
    let response = http1.post(&url).bearer_auth(KEY).json(&json!({"model": "m", "input": "hello"})).send().await?;
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_11));
    Ok(())
}

#[tokio::test]
async fn a_stopped_provider_is_gone_and_comes_back_at_its_port() -> anyhow::Result<()> {
    let (provider, client) = provider().await?;
    let address = provider.address();
    meet(&provider, &client, "m").await?.bytes().await?;
    provider.stop().await;
    let Err(refused) = client.get(format!("http://{address}/account")).send().await else {
        anyhow::bail!("it answers")
    };
    assert!(refused.is_connect(), "{refused:?}");
    let provider = Provider::start(Options { listen: address, ..Options::new(KEY) }).await?;
    meet(&provider, &client, "m").await?.error_for_status()?;
    Ok(())
}
