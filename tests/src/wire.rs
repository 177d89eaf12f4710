//! A pair with a route to a provider of the tests and routes on the built-in model, and connections of their own to it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, resource, route, team},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

/// A small call.
pub const CALL: &str = r#"{"model":"builtin","input":"hello"}"#;

/// The pair, its provider, and a client with the key `alice`. Further keys: `reader` (the model `builtin` only) and `few` (10 tokens a
/// minute). `arguments` are the sidecar's.
pub async fn stage(arguments: &[&str]) -> anyhow::Result<(Pair, Provider, Caller)> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![
        team("search", json!({"tags": ["nightly", "eval", "unused"]})),
        builtin("builtin", &["builtin", "org/model:v1", "text-embedding-3-large"]),
        resource(
            "ModelRoute",
            "cut",
            json!({"models": ["cut"], "tags": ["by-route"], "backends": [
                {"name": "builtin", "builtin": {}, "tokens": {"encoding": "cl100k_base"}, "price": {"inputPerMillionTokens": "0.02"}},
            ]}),
        ),
    ];
    all.extend(route("openai", &["text-embedding-3-small", "wild-*", "fault-*"], &provider.url()));
    all.extend(api_key("alice", "search", json!({"metadata": {"cost-centre": "north 4711"}})));
    all.extend(api_key("reader", "search", json!({"models": ["builtin"]})));
    all.extend(api_key("few", "search", json!({"limits": {"tokensPerMinute": 10}})));
    let setup = Setup { sidecar_arguments: arguments.iter().map(|&one| one.to_owned()).collect(), ..Setup::built()? };
    let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, provider, caller))
}

/// Sends bytes on a connection of their own, and reads until the other side closes it.
pub fn exchange(pair: &Pair, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(pair.base_url().trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status of an answer as text.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// A call as HTTP/1.1 text, closing the connection.
pub fn request(headers: &str, body: &str) -> String {
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Connection: close\r\n{headers}\r\n{body}",
        key_value("alice")
    )
}

/// The lines of the access log, as soon as there are so many. One that cannot be read is an error.
pub async fn lines(pair: &Pair, expected: usize) -> anyhow::Result<Vec<Value>> {
    pair.wait_for("the access log", Duration::from_secs(10), async || {
        let log = pair.sidecar_log();
        let lines = log.lines().filter(|line| line.starts_with("{\"log\":\"access\""));
        let lines: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok((lines.len() >= expected).then_some(lines))
    })
    .await
}
