//! Every row of the table of errors in `sidecar/docs/errors.md`: status, headers, body and what it cost, held by a snapshot.
//!
//! `VECTOLL_UPDATE=1 cargo test -p vectoll-tests --test errors` writes `fixtures/errors.txt` anew.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, resource, route, team},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

/// Headers that are part of the contract. The others are the server's own.
const HEADERS: [&str; 18] = [
    "allow",
    "content-type",
    "retry-after",
    "www-authenticate",
    "x-litellm-attempted-fallbacks",
    "x-litellm-attempted-retries",
    "x-litellm-call-id",
    "x-litellm-key-spend",
    "x-litellm-model-id",
    "x-litellm-overhead-duration-ms",
    "x-litellm-response-cost",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "x-should-retry",
];

struct Table {
    pair: Pair,
    caller: Caller,
    /// The provider's address changes from run to run.
    port: String,
    text: String,
}

impl Table {
    async fn spend(&self) -> anyhow::Result<f64> {
        let metrics = self.pair.metrics().await?;
        ensure!(metrics.value("vectoll_reservations", &[]) == Some(0.0), "a reservation is left");
        Ok(metrics.sum("vectoll_key_spend_usd_total", &[]))
    }

    /// Notes a row. What is different each time is masked.
    async fn row(
        &mut self,
        name: &str,
        ask: impl AsyncFnOnce(&Caller) -> anyhow::Result<Answer>,
    ) -> anyhow::Result<()> {
        let before = self.spend().await?;
        let answer = ask(&self.caller).await.with_context(|| name.to_owned())?;
        let spent = ((self.spend().await? - before) * 1e12).round();
        writeln!(self.text, "## {name}\n\n{}", answer.status)?;
        for header in HEADERS {
            if let Some(value) = answer.header(header) {
                let value = match header {
                    "x-litellm-call-id" | "x-litellm-overhead-duration-ms" => "…",
                    // A second may pass between two calls.
                    "retry-after" if matches!(value, "58" | "59") => "59",
                    "x-ratelimit-reset-requests" | "x-ratelimit-reset-tokens"
                        if matches!(value, "59s" | "60s" | "61s") =>
                    {
                        "61s"
                    }
                    _ => value,
                };
                writeln!(self.text, "{header}: {value}")?;
            }
        }
        let body = serde_json::to_string_pretty(&answer.json)?;
        let body = body.replace(&self.port, "PORT").replace("try again in 60 s", "try again in 61 s");
        writeln!(self.text, "\n{body}\n\nspent: {spent} pico-USD\n")?;
        Ok(())
    }

    async fn call(&mut self, name: &str, key: &str, body: Value) -> anyhow::Result<()> {
        let key = key_value(key);
        self.row(name, async |caller: &Caller| caller.with_key(&key).post("/v1/embeddings", &body, &[]).await).await
    }
}

fn text(model: &str) -> Value {
    json!({"model": model, "input": "The quick brown fox"})
}

async fn start() -> anyhow::Result<(Table, Provider)> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({})), builtin("builtin", &["builtin"])];
    all.push(resource("Team", "closed", json!({"suspended": true})));
    all.push(resource("Team", "narrow", json!({"models": ["other-*"]})));
    all.push(resource("Team", "small", json!({"limits": {"requestsPerMinute": 1}})));
    all.push(resource("Team", "short", json!({"maxTokensPerCall": 3})));
    all.push(resource("Team", "each", json!({"userLimits": {"requestsPerMinute": 1}})));
    all.push(resource(
        "Team",
        "rare",
        json!({"modelLimits": [{"model": "builtin", "limits": {"requestsPerMinute": 1}}]}),
    ));
    all.extend(route("openai", &["text-embedding-3-small", "fault-*"], &provider.url()));
    let nowhere =
        json!({"name": "one", "openAI": {"baseURL": "http://127.0.0.1:9"}, "price": {"inputPerMillionTokens": "0.02"}});
    all.push(resource("ModelRoute", "nowhere", json!({"models": ["nowhere"], "backends": [nowhere]})));
    let unpriced = json!({"name": "one", "openAI": {"baseURL": "http://127.0.0.1:9"}});
    all.push(resource("ModelRoute", "unpriced", json!({"models": ["unpriced"], "backends": [unpriced]})));
    let unready = json!({"name": "one", "openAI": {"baseURL": "http://127.0.0.1:9", "apiKeySecretRef": {"name": "none", "key": "a"}}});
    all.push(resource("ModelRoute", "unready", json!({"models": ["unready"], "backends": [unready]})));
    let slow = json!({"name": "one", "timeoutSeconds": 1, "model": "fault-hang", "openAI": {"baseURL": provider.url(), "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
        "price": {"inputPerMillionTokens": "0.02"}, "tokens": {"encoding": "cl100k_base"}});
    all.push(resource("ModelRoute", "slow", json!({"models": ["slow"], "backends": [slow]})));
    for (name, team, spec) in [
        ("alice", "search", json!({})),
        ("late", "search", json!({"expiresAt": "2020-01-01T00:00:00Z"})),
        ("asleep", "search", json!({"suspended": true})),
        ("shut", "closed", json!({})),
        ("reader", "search", json!({"models": ["builtin"]})),
        ("member", "narrow", json!({})),
        ("held", "search", json!({"limits": {"requestsPerMinute": 1000, "tokensPerMinute": 10_000}})),
        ("once", "search", json!({"limits": {"requestsPerMinute": 1}})),
        ("few", "search", json!({"limits": {"tokensPerMinute": 10}})),
        ("poor", "search", json!({"budget": {"limit": "0.0000001", "period": "Total"}})),
        ("one-of-small", "small", json!({})),
        ("one-of-each", "each", json!({})),
        ("one-of-rare", "rare", json!({})),
        ("short", "search", json!({"maxTokensPerCall": 3})),
        ("one-of-short", "short", json!({})),
    ] {
        all.extend(api_key(name, team, spec));
    }
    let arguments = ["--max-body-bytes=65536", "--body-timeout-seconds=1"];
    let setup = Setup { sidecar_arguments: arguments.iter().map(|&one| one.to_owned()).collect(), ..Setup::built()? };
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let port = provider.origin().rsplit(':').next().unwrap_or_default().to_owned();
    Ok((Table { pair, caller, port, text: String::new() }, provider))
}

#[tokio::test]
async fn every_row_is_as_it_is_told() -> anyhow::Result<()> {
    let (mut table, _provider) = start().await?;
    requests(&mut table).await?;
    callers(&mut table).await?;
    limits(&mut table).await?;
    providers(&mut table).await?;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/errors.txt");
    if std::env::var_os("VECTOLL_UPDATE").is_some() {
        std::fs::write(&path, &table.text)?;
    }
    let expected = std::fs::read_to_string(&path)?;
    for (expected, found) in expected.split("## ").zip(table.text.split("## ")) {
        assert_eq!(expected, found);
    }
    assert_eq!(expected.len(), table.text.len(), "rows are missing, or new");
    Ok(())
}

/// 400 and its like: what is wrong with a request.
async fn requests(table: &mut Table) -> anyhow::Result<()> {
    for (name, body) in [
        ("400 input missing", json!({"model": "builtin"})),
        ("400 input empty", json!({"model": "builtin", "input": []})),
        ("400 input mixed", json!({"model": "builtin", "input": ["a", 1]})),
        ("400 too many inputs", json!({"model": "builtin", "input": vec!["a"; 2049]})),
        ("400 tokens of an unknown encoding", json!({"model": "builtin", "input": [1, 2]})),
        ("400 model missing", json!({"input": "a"})),
        ("400 model with dots", json!({"model": "../builtin", "input": "a"})),
        ("400 encoding_format", json!({"model": "builtin", "input": "a", "encoding_format": "hex"})),
        ("400 dimensions", json!({"model": "builtin", "input": "a", "dimensions": 512})),
        ("400 user too long", json!({"model": "builtin", "input": "a", "user": "u".repeat(257)})),
        ("400 tags", json!({"model": "builtin", "input": "a", "tags": "nightly"})),
        ("400 metadata", json!({"model": "builtin", "input": "a", "metadata": ["nightly"]})),
        ("400 a field in another case", json!({"model": "builtin", "input": "a", "Model": "b"})),
    ] {
        table.call(name, "alice", body).await?;
    }
    let raw = |body: &'static str, name: &'static str, value: &'static str| {
        async move |caller: &Caller| {
            let build = |http: &reqwest::Client, base: &str| {
                http.post(format!("{base}/v1/embeddings"))
                    .bearer_auth(key_value("alice"))
                    .header(name, value)
                    .body(body)
            };
            caller.raw(build).await
        }
    };
    table.row("400 not JSON", raw("{", "accept", "*/*")).await?;
    table.row("400 a field twice", raw(r#"{"model":"builtin","input":"a","model":"b"}"#, "accept", "*/*")).await?;
    table.row("400 metadata", raw(r#"{"model":"builtin","input":"a"}"#, "x-litellm-metadata", "[1]")).await?;
    table.row("415 not JSON by its type", raw("model=a", "content-type", "text/plain")).await?;
    table.row("415 compressed", raw("", "content-encoding", "gzip")).await?;
    table.row("403 a foreign host", raw("{}", "host", "evil.example")).await?;
    table.row("403 a web page", raw("{}", "origin", "https://evil.example")).await?;
    let long = json!({"model": "builtin", "input": "a".repeat(70_000)});
    table.call("413 too large", "alice", long).await?;
    table.row("404 no such path", async |caller: &Caller| caller.post("/v1/chat", &json!({}), &[]).await).await?;
    for path in ["/key/generate", "/team/new", "/user/new", "/v1/model/new", "/budget/new", "/tag/new", "/spend/logs"] {
        let name = format!("404 LiteLLM's {path}");
        table.row(&name, async |caller: &Caller| caller.post(path, &json!({}), &[]).await).await?;
    }
    let get = async |caller: &Caller| caller.raw(|http, base| http.get(format!("{base}/v1/embeddings"))).await;
    table.row("405 GET", get).await?;
    let address = table.pair.proxy_address();
    let slow = async move |_: &Caller| {
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            let key = key_value("alice");
            write!(
                stream,
                "POST /embeddings HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\ncontent-length: 9\r\n\r\n{{"
            )?;
            let mut answer = Vec::new();
            // Until the body's end: the connection may stay.
            let mut piece = [0; 4096];
            while !answer.ends_with(b"}}") {
                let read = stream.read(&mut piece)?;
                ensure!(read > 0, "cut off: {}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(piece.get(..read).unwrap_or_default());
            }
            answered(&String::from_utf8(answer)?)
        })
        .await?
    };
    table.row("408 a slow body", slow).await
}

/// An answer as text, as the client would have it.
fn answered(text: &str) -> anyhow::Result<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").context("no body")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let mut headers = reqwest::header::HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.insert(reqwest::header::HeaderName::try_from(name)?, value.parse()?);
    }
    Ok(Answer { status, headers, json: serde_json::from_str(body)? })
}

/// 401, 403, 404: who calls, and what for.
async fn callers(table: &mut Table) -> anyhow::Result<()> {
    for (name, key) in [("401 expired", "late"), ("401 suspended", "asleep"), ("401 the team is suspended", "shut")] {
        table.call(name, key, text("builtin")).await?;
    }
    let with = |key: &'static str| async move |caller: &Caller| caller.with_key(key).embed("builtin", json!("a")).await;
    table.row("401 unknown", with("sk-nobodys-own-key")).await?;
    table.row("401 mistyped", with("sk-vt-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")).await?;
    let none = async |caller: &Caller| {
        caller.raw(|http, base| http.post(format!("{base}/v1/embeddings")).json(&text("builtin"))).await
    };
    table.row("401 no key", none).await?;
    table.call("403 a model that the key may not use", "reader", text("text-embedding-3-small")).await?;
    table.call("403 a model that the team may not use", "member", text("builtin")).await?;
    let another = async |caller: &Caller| {
        let ask = |http: &reqwest::Client, base: &str| {
            http.get(format!("{base}/key/info?key=sk-anothers-0123456789")).bearer_auth(key_value("alice"))
        };
        caller.raw(ask).await
    };
    table.row("403 another key's /key/info", another).await?;
    table.call("404 no such model", "alice", text("gpt-7")).await
}

/// 429: limits and budgets. Each key has its room taken first.
async fn limits(table: &mut Table) -> anyhow::Result<()> {
    for key in ["once", "one-of-small", "one-of-each", "one-of-rare"] {
        let served = table.caller.with_key(&key_value(key)).embed("builtin", json!("a")).await?;
        ensure!(served.status == 200, "{:?}", served.json);
    }
    table.call("429 requests of a key", "once", text("builtin")).await?;
    table.call("429 requests of a team", "one-of-small", text("builtin")).await?;
    table.call("429 requests of a user", "one-of-each", text("builtin")).await?;
    table.call("429 requests of a model", "one-of-rare", text("builtin")).await?;
    table.call("429 a call that never fits", "few", json!({"model": "builtin", "input": "word ".repeat(20)})).await?;
    table.call("400 more tokens than a key allows in one call", "short", text("builtin")).await?;
    table.call("400 more tokens than a team allows in one call", "one-of-short", text("builtin")).await?;
    let long = json!({"model": "text-embedding-3-small", "input": ["a", "word ".repeat(8192)]});
    table.call("400 an input that the model does not take", "alice", long).await?;
    table.call("429 budget", "poor", json!({"model": "builtin", "input": "word ".repeat(20)})).await?;
    table.call("400 no known price under a budget", "poor", text("unpriced")).await
}

/// What providers do.
async fn providers(table: &mut Table) -> anyhow::Result<()> {
    for (name, model) in [
        ("429 the provider's own", "fault-429"),
        ("400 the provider's own", "fault-400"),
        ("401 the provider's own, without its credential", "fault-401"),
        ("502 the provider's 500", "fault-500"),
        ("502 not an answer: charged at the reservation, for nobody knows", "fault-garbage"),
        ("502 other vectors than were asked for: charged what the provider charges", "fault-full-dimensions"),
        ("502 a redirect", "fault-redirect"),
        ("503 no connection", "nowhere"),
        ("503 a route that is not ready", "unready"),
        ("504 too slow: charged at the reservation, for nobody knows", "slow"),
    ] {
        let mut body = text(model);
        if model == "fault-full-dimensions" {
            body["dimensions"] = json!(8);
        }
        table.call(name, "alice", body.clone()).await?;
        // The next ones say what is left of the limits, too.
        if matches!(
            model,
            "fault-400" | "fault-500" | "fault-garbage" | "nowhere" | "unready" | "fault-full-dimensions"
        ) {
            table.call(&format!("{name} (of a key with limits)"), "held", body).await?;
        }
    }
    let refused = json!({"model": "builtin", "input": "a", "dimensions": 512});
    table.call("400 refused by the built-in model (of a key with limits)", "held", refused).await
}
