//! What providers answer that is no plain success: whose fault it is, what it costs, and what the caller gets. Each row is an
//! answer that was seen; who reported it stands beside it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use vectoll_tests::provider::{Options, Provider};

use super::world::{GOOD, backend, count, route, said, start};
use vectoll_tests::manifest::{self, PROVIDER_KEY, key_value, on_top};

/// A provider that answers with these very bytes, one request a connection.
pub(crate) struct Scripted {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Value>>>,
    serving: JoinHandle<()>,
}

impl Scripted {
    pub(crate) async fn start(answer: fn(&Value) -> Vec<u8>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, seen) = (listener.local_addr()?, Arc::default());
        let all: Arc<Mutex<Vec<Value>>> = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let all = all.clone();
                tokio::spawn(async move { exchange(stream, answer, &all).await });
            }
        });
        Ok(Self { address, seen, serving })
    }

    fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The bodies that came since the last time.
    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn exchange(
    mut stream: TcpStream,
    answer: fn(&Value) -> Vec<u8>,
    seen: &Mutex<Vec<Value>>,
) -> anyhow::Result<()> {
    let mut request = Vec::new();
    let body = loop {
        stream.read_buf(&mut request).await?;
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if request.len() >= end + 4 + length {
            break serde_json::from_slice::<Value>(&request[end + 4..end + 4 + length])?;
        }
    };
    let answer = answer(&body);
    seen.lock().unwrap().push(body);
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    Ok(())
}

pub(crate) fn http(status: u16, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub(crate) const JSON: &str = "content-type: application/json";

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A right answer to one input, of four tokens.
fn right() -> Vec<u8> {
    json!({
        "object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    })
    .to_string()
    .into_bytes()
}

/// What is answered to a model of this name.
fn answer(call: &Value) -> Vec<u8> {
    let google = |status: u16, message: &str, detail: Value| {
        let error = json!({"error": {"code": status, "message": message, "status": "X", "details": [detail]}});
        http(status, &[JSON], error.to_string().as_bytes())
    };
    let right = right();
    match call["model"].as_str().unwrap_or_default() {
        "tei-424" => http(424, &[JSON], br#"{"error":"CUDA out of memory","error_type":"backend"}"#),
        "aws-throttled" => http(
            400,
            &[JSON, "x-amzn-errortype: ThrottlingException:http://internal.amazon.com/"],
            br#"{"message":"Too many tokens, please wait"}"#,
        ),
        "aws-away" => http(400, &[JSON], br#"{"__type":"ServiceUnavailableException","message":"try later"}"#),
        "aws-expired" => http(400, &[JSON], br#"{"__type":"ExpiredTokenException","message":"the token is expired"}"#),
        "google-key" => {
            let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"});
            google(400, "API key expired. Please renew the API key.", info)
        }
        "google-wait" => {
            let info = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45.8s"});
            google(429, "You exceeded your current quota", info)
        }
        "error-429" => http(200, &[JSON], br#"{"error":{"message":"slow down, please","code":429}}"#),
        "error" => http(200, &[JSON], br#"{"error":{"message":"the model fell over"}}"#),
        "403" => http(403, &[JSON], br#"{"error":{"message":"no access to that"}}"#),
        "400" => http(400, &[JSON], br#"{"error":{"message":"that is too long"}}"#),
        "zipped-400" => {
            http(400, &[JSON, "content-encoding: gzip"], &gzip(br#"{"error":{"message":"that is too long"}}"#))
        }
        "zipped" => http(200, &[JSON, "content-encoding: gzip"], &gzip(&right)),
        "identity" => http(200, &[JSON, "content-encoding: identity"], &right),
        "text" => http(200, &["content-type: text/plain; charset=utf-8"], &right),
        "octets" => http(200, &["content-type: application/octet-stream"], &right),
        "nested-usage" => {
            let usage = br#""usage":{"prompt_tokens":9.0,"details":{"usage":{"prompt_tokens":1}}},"padding":""#;
            let text =
                String::from_utf8_lossy(&right).replace(r#""usage":{"prompt_tokens":4,"total_tokens":4}"#, "USAGE");
            let text = text.replace("USAGE", &format!("{}{}\"", String::from_utf8_lossy(usage), "x".repeat(5000)));
            http(200, &[JSON], text.as_bytes())
        }
        status => http(status.parse().unwrap_or(500), &[JSON], br#"{"error":{"message":"as asked"}}"#),
    }
}

/// The model at the first backend; the attempt's label; whether it may have been charged; and what the caller gets where there is no
/// other backend: the status, and words of the message.
const ANSWERS: [(&str, &str, bool, u16, &str); 17] = [
    ("tei-424", "failed", true, 502, "CUDA out of memory"),
    ("aws-throttled", "limited", false, 429, "Too many tokens"),
    ("aws-away", "failed", true, 502, "try later"),
    ("aws-expired", "denied", false, 502, "the owner of the route must renew it"),
    ("google-key", "denied", false, 502, "the owner of the route must renew it"),
    ("google-wait", "limited", false, 429, "exceeded your current quota"),
    ("error-429", "limited", false, 429, "slow down, please"),
    ("error", "failed", true, 502, "the model fell over"),
    ("401", "denied", false, 502, "the owner of the route must renew it"),
    ("403", "denied", false, 502, "no access to that"),
    ("405", "failed", false, 502, "as asked"),
    ("415", "failed", false, 502, "as asked"),
    ("408", "failed", true, 504, "as asked"),
    ("500", "failed", true, 502, "as asked"),
    ("503", "failed", true, 502, "as asked"),
    ("304", "failed", true, 502, "redirect"),
    ("999", "failed", true, 502, "as asked"),
];

pub(crate) fn scripted(name: &str, provider: &Scripted, model: &str, more: Value) -> Value {
    manifest::backend(name, model, &provider.url(), on_top(json!({"timeoutSeconds": 5}), more))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_the_backends_fault_sends_the_call_to_the_next() -> anyhow::Result<()> {
    let first = Scripted::start(answer).await?;
    let second = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let off = json!({"cooldown": {"failures": 0}});
    let mut routes = Vec::new();
    for (model, ..) in ANSWERS {
        let spare = backend("second", &second, GOOD, json!({"priority": 1}));
        routes.push(route(model, vec![scripted("first", &first, model, json!({})), spare], off.clone()));
        routes.push(route(&format!("only-{model}"), vec![scripted("first", &first, model, json!({}))], off.clone()));
    }
    let (pair, caller) = start(routes).await?;
    // Four tokens.
    let input = json!("one two three four");
    let mut unsettled = 0;
    for (model, result, charged, status, words) in ANSWERS {
        let answer = caller.embed(model, input.clone()).await?;
        assert_eq!(
            said(&answer),
            (200, &*format!("default/{model}/second"), "1", "1"),
            "{model}: {}",
            answer.message()
        );
        let only = caller.embed(&format!("only-{model}"), input.clone()).await?;
        let label = format!("default/only-{model}/first");
        assert_eq!(said(&only), (status, &*label, "0", "0"), "{model}: {}", only.message());
        assert!(only.message().contains(words) && only.message().contains(&label), "{model}: {}", only.message());
        if model == "google-wait" {
            assert_eq!(only.header("retry-after"), Some("46"));
        }
        let metrics = pair.at_rest().await?;
        let attempts = [("backend", &*format!("default/{model}/first")), ("result", result)];
        assert_eq!(count(&metrics, "vectoll_backend_attempts_total", &attempts), 1, "{model}");
        // Two of them went to the first.
        unsettled += if charged { 8 } else { 0 };
        assert_eq!(count(&metrics, "vectoll_unsettled_tokens_total", &[]), unsettled, "{model}");
    }
    let metrics = pair.at_rest().await?;
    let charged = second.account().charged_tokens;
    for family in ["key", "team", "user", "model"] {
        assert_eq!(count(&metrics, &format!("vectoll_{family}_tokens_total"), &[]), charged + unsettled, "{family}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wait_in_an_answers_body_is_the_cooldown_and_the_callers() -> anyhow::Result<()> {
    let first = Scripted::start(answer).await?;
    let second = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let backends = vec![
        scripted("first", &first, "google-wait", json!({})),
        backend("second", &second, GOOD, json!({"priority": 1})),
    ];
    let (pair, caller) = start(vec![route("wait", backends, json!({}))]).await?;
    for _ in 0..3 {
        assert_eq!(caller.embed("wait", json!("a")).await?.status, 200);
    }
    assert_eq!(first.take().len(), 1, "it is left alone");
    let reason = [("backend", "default/wait/first"), ("reason", "limited")];
    assert_eq!(count(&pair.metrics().await?, "vectoll_backend_cooldowns_total", &reason), 1);
    Ok(())
}

#[tokio::test]
async fn a_callers_own_fault_is_passed_on_and_booked_where_its_cost_is_not_known() -> anyhow::Result<()> {
    let first = Scripted::start(answer).await?;
    let second = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let models = ["400", "zipped-400"];
    let routes = models.map(|model| {
        let spare = backend("second", &second, GOOD, json!({"priority": 1}));
        route(model, vec![scripted("first", &first, model, json!({})), spare], json!({}))
    });
    let (pair, caller) = start(routes.into()).await?;
    for model in models {
        let answer = caller.embed(model, json!("one two three four")).await?;
        assert_eq!(said(&answer), (400, &*format!("default/{model}/first"), "0", "0"));
        assert!(answer.message().contains("that is too long"), "{}", answer.message());
        // Azure OpenAI charges for too long an input; OpenAI does not say.
        assert_eq!(answer.header("x-litellm-response-cost"), Some("0.00000008"));
    }
    assert_eq!(count(&pair.at_rest().await?, "vectoll_unsettled_tokens_total", &[]), 8);
    assert_eq!(second.account().requests, 0);
    Ok(())
}

#[tokio::test]
async fn json_decides_and_not_what_it_is_called_or_packed_in() -> anyhow::Result<()> {
    let first = Scripted::start(answer).await?;
    let models = ["text", "octets", "identity", "zipped", "nested-usage"];
    let routes = models.map(|model| route(model, vec![scripted("only", &first, model, json!({}))], json!({})));
    let (pair, caller) = start(routes.into()).await?;
    for model in models {
        for format in ["float", "base64"] {
            let body = json!({"model": model, "input": "one two three four", "encoding_format": format});
            let answer = caller.post("/v1/embeddings", &body, &[]).await?;
            assert_eq!(answer.status, 200, "{model}: {}", answer.message());
            let vector = if format == "float" { json!([0.5, -0.25]) } else { json!("AAAAPwAAgL4=") };
            assert_eq!(answer.json["data"][0]["embedding"], vector, "{model}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{model}");
            let cost = if model == "nested-usage" { "0.00000018" } else { "0.00000008" };
            assert_eq!(answer.header("x-litellm-response-cost"), Some(cost), "{model}");
        }
    }
    let metrics = pair.at_rest().await?;
    assert_eq!(count(&metrics, "vectoll_key_tokens_total", &[]), 4 * 8 + 2 * 9);
    for family in ["vectoll_unsettled_tokens_total", "vectoll_estimated_tokens_total"] {
        assert_eq!(count(&metrics, family, &[]), 0, "{family}");
    }
    Ok(())
}

/// Answers a call with most of a large answer, and with the rest after more than the ten seconds that were once all it had.
async fn with_a_pause(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        stream.read_buf(&mut request).await?;
    }
    let body = json!({
        "object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": vec![0.5; 300_000]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    });
    let answer = http(200, &[JSON], body.to_string().as_bytes());
    let (first, rest) = answer.split_at(answer.len() / 2);
    stream.write_all(first).await?;
    // A little at a time, by which it is noticed that nobody takes it any more.
    let (little, rest) = rest.split_at(rest.len() / 2);
    for piece in little.chunks(little.len() / 10 + 1) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stream.write_all(piece).await?;
    }
    tokio::time::sleep(Duration::from_secs(11)).await;
    stream.write_all(rest).await?;
    Ok(())
}

#[tokio::test]
async fn an_answer_whose_caller_has_left_is_read_for_as_long_as_the_backend_has() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(with_a_pause(stream));
        }
    });
    let backend = json!({
        "name": "only", "openAI": {"baseURL": url}, "price": {"inputPerMillionTokens": "0.02"}, "timeoutSeconds": 30,
        "tokens": {"encoding": "cl100k_base"},
    });
    let (pair, _caller) = start(vec![route("pausing", vec![backend], json!({}))]).await?;
    let mut stream = TcpStream::connect(pair.base_url().trim_start_matches("http://")).await?;
    let body = r#"{"model":"pausing","input":"one two three four"}"#;
    let head = format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        key_value("alice"),
        body.len(),
    );
    stream.write_all(head.as_bytes()).await?;
    let mut seen = Vec::new();
    while seen.len() < 10_000 {
        anyhow::ensure!(stream.read_buf(&mut seen).await? > 0, "it ended: {}", String::from_utf8_lossy(&seen));
    }
    assert!(seen.starts_with(b"HTTP/1.1 200"), "it streams");
    drop(stream);
    let metrics = pair.at_rest().await?;
    serving.abort();
    assert_eq!(count(&metrics, "vectoll_key_tokens_total", &[]), 4);
    assert_eq!(count(&metrics, "vectoll_unsettled_tokens_total", &[]), 0, "its usage was learnt");
    Ok(())
}

/// vLLM before 0.6.2 (vllm-project/vllm#6174), and servers that refuse fields which they do not know.
fn without_base64(call: &Value) -> Vec<u8> {
    match (call["model"].as_str(), call.get("encoding_format")) {
        (Some("strict"), Some(_)) => http(
            422,
            &[JSON],
            br#"{"detail":[{"type":"extra_forbidden","loc":["body","encoding_format"],"msg":"Extra inputs are not permitted"}]}"#,
        ),
        (_, Some(format)) if format == "base64" => http(
            400,
            &[JSON],
            br#"{"object":"error","message":"base64 encoding is not currently supported","type":"BadRequestError","code":400}"#,
        ),
        _ => http(200, &[JSON], &right()),
    }
}

#[tokio::test]
async fn a_backend_that_refuses_base64_is_asked_for_numbers_from_then_on() -> anyhow::Result<()> {
    let first = Scripted::start(without_base64).await?;
    let routes =
        ["vllm", "strict"].map(|model| route(model, vec![scripted("only", &first, model, json!({}))], json!({})));
    let (pair, caller) = start(routes.into()).await?;
    for model in ["vllm", "strict"] {
        for requests in [2, 1, 1] {
            let body = json!({"model": model, "encoding_format": "base64", "input": "one two three four", "user": "u"});
            let answer = caller.post("/v1/embeddings", &body, &[]).await?;
            assert_eq!(
                (answer.status, answer.header("x-litellm-attempted-retries")),
                (200, Some("0")),
                "{}",
                answer.message()
            );
            assert_eq!(answer.json["data"][0]["embedding"], "AAAAPwAAgL4=");
            assert_eq!(answer.header("x-litellm-response-cost"), Some("0.00000008"));
            let seen = first.take();
            assert_eq!(seen.len(), requests, "{model}");
            let asked = json!({"model": model, "input": "one two three four", "user": "u"});
            assert_eq!(seen.last(), Some(&asked));
        }
        // What it knows stays as it is.
        let answer = caller.embed(model, json!("a")).await?;
        assert_eq!(answer.json["data"][0]["embedding"], json!([0.5, -0.25]));
        first.take();
    }
    let metrics = pair.at_rest().await?;
    assert_eq!(count(&metrics, "vectoll_unsettled_tokens_total", &[]), 0);
    assert_eq!(count(&metrics, "vectoll_key_tokens_total", &[]), 8 * 4);
    Ok(())
}

#[tokio::test]
async fn all_calls_that_meet_the_first_refusal_of_base64_are_served() -> anyhow::Result<()> {
    let first = Scripted::start(without_base64).await?;
    let one = route("vllm", vec![scripted("only", &first, "vllm", json!({}))], json!({}));
    let (_pair, caller) = start(vec![one]).await?;
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move {
                let body = json!({"model": "vllm", "encoding_format": "base64", "input": "one"});
                caller.post("/v1/embeddings", &body, &[]).await
            })
        })
        .collect();
    for call in calls {
        let answer = call.await??;
        assert_eq!(answer.status, 200, "{}", answer.message());
    }
    Ok(())
}

/// Models are refused by their names; the backend itself fails when it is asked for `known`.
fn by_name(call: &Value) -> Vec<u8> {
    match call["model"].as_str().unwrap_or_default() {
        "any-known" => http(500, &[JSON], br#"{"error":{"message":"down"}}"#),
        name if name.ends_with("403") => http(403, &[JSON], br#"{"error":{"message":"no access to that model"}}"#),
        _ => http(404, &[JSON], br#"{"error":{"message":"no such model"}}"#),
    }
}

#[tokio::test]
async fn names_that_callers_make_up_cost_nobody_else_anything() -> anyhow::Result<()> {
    let (first, other) = (Scripted::start(by_name).await?, Scripted::start(by_name).await?);
    let second = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let wildcard = |name: &str, provider: &Scripted| {
        let mut backend = scripted(name, provider, "", json!({}));
        backend.as_object_mut().unwrap().remove("model");
        backend
    };
    let mut spare = backend("third", &second, GOOD, json!({"priority": 2}));
    spare.as_object_mut().unwrap().remove("model");
    let backends = vec![wildcard("first", &first), wildcard("second", &other), spare];
    let names = |more: Value| {
        let manner = json!({"models": ["any-*"], "cooldown": {"failures": 1, "seconds": 60}});
        route("names", backends.clone(), on_top(manner, more))
    };
    // Ten retries to begin with, and next to none for each call.
    let few = names(json!({"retry": {"attempts": 1, "budgetPercent": 1}}));
    let (pair, caller) = start(vec![few]).await?;
    for call in 0..30 {
        let model = format!("any-{call}-{}", if call % 2 == 0 { 403 } else { 404 });
        let answer = caller.embed(&model, json!("a")).await?;
        assert_eq!(answer.status, if call % 2 == 0 { 403 } else { 404 }, "{}", answer.message());
        assert_eq!(answer.header("x-litellm-attempted-retries"), Some("1"), "another one may have it");
        assert_eq!(answer.header("x-litellm-response-cost"), Some("0.00"));
    }
    let metrics = pair.at_rest().await?;
    assert_eq!(count(&metrics, "vectoll_backend_cooldowns_total", &[]), 0);
    assert_eq!(count(&metrics, "vectoll_key_tokens_total", &[]), 0);
    // Who calls a model that there is gets all of the retries.
    let answer = caller.embed("any-known", json!("a")).await?;
    assert_eq!(answer.header("x-litellm-attempted-retries"), Some("1"), "{}", answer.message());
    Ok(())
}
