//! The resources of the sidecar under test: everything on, nothing ever reached.

use std::net::SocketAddr;

/// The key that the load generator sends.
pub const KEY: &str = "sk-bench-0123456789";

/// Team, key, route and secrets, for a provider at `upstream`.
pub fn manifests(upstream: SocketAddr) -> String {
    format!(
        r#"apiVersion: vectoll.dev/v1alpha1
kind: Team
metadata: {{name: search, namespace: default}}
spec:
  limits: {{requestsPerMinute: 100000000, tokensPerMinute: 1000000000000, parallelRequests: 100000}}
  userLimits: {{requestsPerMinute: 100000000}}
  budget: {{limit: "1000000.00", period: Monthly, timeZone: Europe/Berlin}}
---
apiVersion: vectoll.dev/v1alpha1
kind: ApiKey
metadata: {{name: bench, namespace: default}}
spec:
  teamRef: {{name: search}}
  user: alice
  secretRef: {{name: bench-key}}
  limits: {{requestsPerMinute: 100000000, tokensPerMinute: 1000000000000, parallelRequests: 100000}}
  budget: {{limit: "1000000.00", period: Daily}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bench-key, namespace: default}}
stringData: {{key: {KEY}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: provider, namespace: default}}
stringData: {{api-key: sk-provider-0123456789}}
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
      baseURL: http://{upstream}/v1
      apiKeySecretRef: {{name: provider, key: api-key}}
    price: {{inputPerMillionTokens: "0.02"}}
"#
    )
}
