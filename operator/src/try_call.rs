//! `vectoll-operator try`: one call as an application would make it, for `helm test` and for a look from inside a pod.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cli::Try;

/// Between two attempts: a key that was just applied needs a moment to get here.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// Between two calls of a caller that goes on.
const REPEAT_PERIOD: Duration = Duration::from_secs(1);
/// The longest that one attempt may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct EmbeddingsRequest<'a> {
    model: &'a str,
    input: &'a str,
    encoding_format: &'a str,
}

#[derive(Deserialize)]
struct EmbeddingsAnswer {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    embedding: Vec<f32>,
}

/// Asks for a vector until there is one or the time is over, and says what it was.
pub async fn run(settings: &Try, out: &mut impl Write) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .no_proxy()
        .build()
        .context("failed to set up the client")?;
    loop {
        match (patiently(&client, settings).await, settings.repeat) {
            (Ok(dimensions), repeat) => {
                writeln!(out, "{}: a vector of {dimensions} dimensions", settings.model)?;
                if !repeat {
                    return Ok(());
                }
            }
            (Err(error), true) => tracing::warn!(error = format!("{error:#}"), "no vector"),
            (Err(error), false) => return Err(error),
        }
        tokio::time::sleep(REPEAT_PERIOD).await;
    }
}

async fn patiently(client: &reqwest::Client, settings: &Try) -> anyhow::Result<usize> {
    let Try { model, timeout_seconds, repeat: _, base_url, api_key } = settings;
    let url = format!("{}/embeddings", base_url.trim_end_matches('/'));
    let end = Instant::now() + Duration::from_secs(u64::from(*timeout_seconds));
    loop {
        match attempt(client, &url, api_key.as_deref(), model).await {
            Ok(dimensions) => return Ok(dimensions),
            Err(error) if Instant::now() + RETRY_DELAY >= end => {
                return Err(error.context(format!("no vector from {url} within {timeout_seconds} s")));
            }
            Err(error) => tracing::info!(error = format!("{error:#}"), "not yet"),
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

async fn attempt(client: &reqwest::Client, url: &str, key: Option<&str>, model: &str) -> anyhow::Result<usize> {
    let body = EmbeddingsRequest { model, input: "The quick brown fox", encoding_format: "float" };
    let mut request = client.post(url).header("content-type", "application/json").body(serde_json::to_string(&body)?);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("{status}: {text}");
    }
    let answer: EmbeddingsAnswer = serde_json::from_str(&text).context("the answer is no list of embeddings")?;
    let dimensions = answer.data.first().map_or(0, |one| one.embedding.len());
    ensure!(dimensions > 0, "the answer holds no vector");
    Ok(dimensions)
}
