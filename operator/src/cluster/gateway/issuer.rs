//! Who issues the tokens of pods, and by which keys they are known: asked of the API server, for the gateway, which asks nobody.

use std::time::Duration;

use anyhow::Context;
use http::Request;
use kube::Client;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::Shares;
use crate::cluster::gather::REQUEST_TIMEOUT;

/// How often it is asked: two small requests. A cluster may sign by new keys as soon as it tells of them.
const REFRESH_PERIOD: Duration = Duration::from_secs(30);
/// After a failure.
const RETRY_DELAY: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

/// Asks for ever. What cannot be asked leaves what was known.
pub(in crate::cluster) async fn follow(client: Client, shares: Shares) {
    let mut is_failing = false;
    loop {
        let asked = timeout(REQUEST_TIMEOUT, ask(&client)).await;
        let asked = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}")));
        let pause = match asked {
            Ok(issuer) => {
                is_failing = false;
                shares.put_issuer(issuer);
                REFRESH_PERIOD
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the API server does not say who issues the tokens of pods: the gateway goes by what it knows"
                    );
                    is_failing = true;
                }
                RETRY_DELAY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn ask(client: &Client) -> anyhow::Result<Vec<u8>> {
    let discovery = get(client, "/.well-known/openid-configuration").await?;
    let Discovery { issuer } = serde_json::from_str(&discovery).context("the issuer's configuration is not valid")?;
    let jwks: serde_json::Value =
        serde_json::from_str(&get(client, "/openid/v1/jwks").await?).context("the issuer's keys are not JSON")?;
    Ok(json!({"issuer": issuer, "jwks": jwks}).to_string().into_bytes())
}

async fn get(client: &Client, path: &str) -> anyhow::Result<String> {
    let request = Request::get(path).body(Vec::new())?;
    client.request_text(request).await.with_context(|| format!("failed to get {path}"))
}
