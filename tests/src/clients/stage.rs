//! The pair and the provider that the clients' tests look at.

use anyhow::Context;

use super::here;
use crate::pair::Pair;
use crate::provider::{Account, Options, Provider};

const PROVIDER_KEY: &str = "sk-provider-0123456789";
/// Not of Vectoll's own form: a key that somebody brought along.
const KEY: &str = "sk-litellm-clients-0123456789";
const LIMITED_KEY: &str = "sk-litellm-limited-0123456789";
const SERIAL_KEY: &str = "sk-litellm-serial-0123456789";

/// A pair whose route for `text-embedding-3-small` leads to a provider of the tests.
#[derive(Debug)]
pub struct Stage {
    // First: the pair ends before its provider.
    pair: Pair,
    provider: Provider,
}

impl Stage {
    /// Starts both.
    pub async fn start() -> anyhow::Result<Self> {
        let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
        let pair = Pair::start(&[("clients.yaml", Self::manifests(&provider.url()))])
            .await
            .context("failed to start the pair")?;
        Ok(Self { pair, provider })
    }

    /// The pair.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The provider's books.
    pub fn account(&self) -> Account {
        self.provider.account()
    }

    /// What the clients' tests are told.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            // As the documented examples say it: by name, and without /v1.
            ("VECTOLL_BASE_URL", format!("http://localhost:{}", self.pair.proxy_address().port())),
            ("VECTOLL_ADMIN_URL", self.pair.admin_url()),
            ("VECTOLL_KEY", KEY.to_owned()),
            ("VECTOLL_LIMITED_KEY", LIMITED_KEY.to_owned()),
            ("VECTOLL_SERIAL_KEY", SERIAL_KEY.to_owned()),
            ("VECTOLL_PROVIDER_URL", self.provider.origin().to_owned()),
            ("VECTOLL_DOCUMENTED_API", here("fixtures/embeddings-api.txt").display().to_string()),
        ]
    }

    /// A team, a key, one with one request a minute, one with one call at a time, and two routes, for a provider at this base URL.
    pub fn manifests(provider: &str) -> String {
        format!(
            r#"apiVersion: vectoll.dev/v1alpha1
kind: Team
metadata: {{name: search, namespace: default}}
spec:
  displayName: Search
  tags: [nightly, eval]
---
apiVersion: vectoll.dev/v1alpha1
kind: ApiKey
metadata: {{name: alice, namespace: default}}
spec:
  teamRef: {{name: search}}
  user: alice
  secretRef: {{name: alice}}
---
apiVersion: v1
kind: Secret
metadata: {{name: alice, namespace: default}}
stringData: {{key: {KEY}}}
---
apiVersion: vectoll.dev/v1alpha1
kind: ApiKey
metadata: {{name: limited, namespace: default}}
spec:
  teamRef: {{name: search}}
  user: alice
  secretRef: {{name: limited}}
  limits: {{requestsPerMinute: 1}}
---
apiVersion: v1
kind: Secret
metadata: {{name: limited, namespace: default}}
stringData: {{key: {LIMITED_KEY}}}
---
apiVersion: vectoll.dev/v1alpha1
kind: ApiKey
metadata: {{name: serial, namespace: default}}
spec:
  teamRef: {{name: search}}
  user: alice
  secretRef: {{name: serial}}
  limits: {{parallelRequests: 1}}
---
apiVersion: v1
kind: Secret
metadata: {{name: serial, namespace: default}}
stringData: {{key: {SERIAL_KEY}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: provider, namespace: default}}
stringData: {{api-key: {PROVIDER_KEY}}}
---
apiVersion: vectoll.dev/v1alpha1
kind: ModelRoute
metadata: {{name: openai, namespace: default}}
spec:
  models: [text-embedding-3-small]
  backends:
  - name: openai
    model: text-embedding-3-small
    openAI:
      baseURL: {provider}
      apiKeySecretRef: {{name: provider, key: api-key}}
    price: {{inputPerMillionTokens: "0.02"}}
---
apiVersion: vectoll.dev/v1alpha1
kind: ModelRoute
metadata: {{name: slow, namespace: default}}
spec:
  models: [fault-slow-1500]
  backends:
  - name: slow
    openAI:
      baseURL: {provider}
      apiKeySecretRef: {{name: provider, key: api-key}}
    price: {{inputPerMillionTokens: "0.02"}}
"#
        )
    }
}
