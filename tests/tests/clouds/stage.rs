//! The clouds, a pair among them, and a caller.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};
use vectoll_tests::{
    caller::{Answer, Caller},
    clouds::{Clouds, namespace::Inside},
    manifest::{api_key, file, key_value, resource, secret, team},
    native::vector,
    pair::{Pair, metrics::Metrics, scrape},
    provider::Item,
};

use super::identities::{
    AGENT, AGENT_TOKEN, AWS, AZURE, GOOGLE, Identities, Identity, OPENAI, POD, TOKENS, identities,
};

/// The names of `/etc/hosts`, and where they lead: one of the machine's own, all others to loopback.
pub const HOSTS: [(&str, &str); 19] = [
    ("169.254.169.254", "metadata.google.internal"),
    ("127.0.0.1", "oauth2.googleapis.com"),
    ("127.0.0.1", "sts.googleapis.com"),
    ("127.0.0.1", "iamcredentials.googleapis.com"),
    ("127.0.0.1", "europe-west4-aiplatform.googleapis.com"),
    ("127.0.0.1", "us-central1-aiplatform.googleapis.com"),
    ("127.0.0.1", "asia-northeast1-aiplatform.googleapis.com"),
    ("127.0.0.1", "sts.eu-central-1.amazonaws.com"),
    ("127.0.0.1", "bedrock-runtime.eu-central-1.amazonaws.com"),
    ("127.0.0.1", "bedrock-runtime.us-west-2.amazonaws.com"),
    ("127.0.0.1", "bedrock-runtime.us-east-1.amazonaws.com"),
    ("127.0.0.1", "bedrock-runtime.us-east-2.amazonaws.com"),
    ("127.0.0.1", "runtime.sagemaker.eu-west-1.amazonaws.com"),
    ("127.0.0.1", "login.microsoftonline.com"),
    ("127.0.0.1", "my-resource.openai.azure.com"),
    ("127.0.0.1", "iam.cloud.ibm.com"),
    ("127.0.0.1", "us-south.ml.cloud.ibm.com"),
    ("127.0.0.1", "auth.openai.com"),
    ("127.0.0.1", "api.openai.com"),
];

/// What all calls send.
pub const TEXT: &str = "The quick brown fox";
/// What it costs, by `cl100k_base`.
pub const TEXT_TOKENS: u64 = 4;

pub struct Stage {
    pub pair: Pair,
    pub caller: Caller,
    pub clouds: Clouds,
    pub them: Identities,
    /// All that was said to the caller.
    pub told: String,
}

impl Stage {
    /// The clouds, after `before`, and a pair with a route for each identity and these documents besides.
    pub async fn start(
        inside: &Inside,
        more: Vec<Value>,
        before: impl FnOnce(&Identities, &Clouds),
    ) -> anyhow::Result<Self> {
        let mut them = identities()?;
        let clouds = Clouds::start(std::mem::take(&mut them.providers), std::mem::take(&mut them.issuers)).await?;
        before(&them, &clouds);
        inside.token(TOKENS, "aws", AWS)?;
        inside.token(TOKENS, "azure", AZURE)?;
        inside.token(TOKENS, "google", GOOGLE)?;
        inside.token(TOKENS, "openai", OPENAI)?;
        let agent_token = inside.token(AGENT_TOKEN, "eks-pod-identity-token", AGENT)?;
        let bundle = inside.token("/var/run/trusted", "ca.pem", clouds.bundle())?;

        let mut setup = inside.setup.clone();
        // As the operator's injection, EKS and, for the certificate, the chart's `sidecar.env` say it.
        for (name, value) in [
            ("VECTOLL_IDENTITY_DIR", TOKENS),
            ("VECTOLL_POD_NAME", POD),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &agent_token.display().to_string()),
            ("SSL_CERT_FILE", &bundle.display().to_string()),
        ] {
            setup.environment.push((name.to_owned(), value.to_owned()));
        }
        let mut all = vec![team("search", json!({}))];
        all.extend(api_key("alice", "search", json!({"budget": {"limit": "1000", "period": "Total"}})));
        for Identity { id, model, settings, secret: entries, .. } in &them.all {
            all.push(route(id, model, settings));
            if !entries.is_null() {
                all.push(secret("default", id, entries.clone()));
            }
        }
        all.extend(more);
        let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
        let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
        Ok(Self { pair, caller, clouds, them, told: String::new() })
    }

    /// A call, whose answer is remembered.
    pub async fn call(&mut self, id: &str) -> anyhow::Result<Answer> {
        let answer = self.caller.embed(id, json!(TEXT)).await?;
        self.remember(&answer)?;
        Ok(answer)
    }

    pub fn remember(&mut self, answer: &Answer) -> anyhow::Result<()> {
        // Vectors tell nothing, and there are many of them.
        let error = answer.json.get("error").cloned().unwrap_or_default();
        writeln!(self.told, "{:?} {error}", answer.headers)?;
        Ok(())
    }

    /// The metrics once nothing is under way any more.
    pub async fn at_rest(&self) -> anyhow::Result<Metrics> {
        self.pair.at_rest().await
    }

    /// At the end: nothing was wrong, and nothing secret was told, by anyone to anyone.
    pub async fn nothing_wrong_and_nothing_told(self) -> anyhow::Result<()> {
        assert_eq!(self.clouds.violations(), Vec::<String>::new());
        let admin = self.pair.admin_url();
        let metrics = scrape(admin.trim_start_matches("http://").parse()?, "/metrics").await?.1;
        // The access log is written behind the calls' backs.
        let logged = async || Ok(self.pair.sidecar_log().contains(r#""log":"access""#).then_some(()));
        self.pair.wait_for("the access log", Duration::from_secs(30), logged).await?;
        let told = format!("{}{metrics}{}{}", self.told, self.pair.sidecar_log(), self.pair.operator_log());
        assert!(told.contains("vectoll_key_tokens_total"));
        for secret in self.them.secrets() {
            assert!(!told.contains(&secret), "{secret} was told");
        }
        // Not a part of one either, as of the form that an issuer repeats.
        assert!(!told.contains("kept-by-nobody"), "a part of a credential was told");
        assert!(!told.contains("PRIVATE KEY") && !told.contains("eyJhbGciOi"), "a key or a statement was told");
        Ok(())
    }
}

/// A route whose one backend has these settings.
pub fn route(name: &str, model: &str, settings: &Value) -> Value {
    let mut backend = json!({
        "name": "only", "model": model, "price": {"inputPerMillionTokens": "0.02"},
        "tokens": {"encoding": "cl100k_base"},
    });
    if let (Some(backend), Value::Object(settings)) = (backend.as_object_mut(), settings.clone()) {
        backend.extend(settings);
    }
    // Each failure is to be seen as it is, not as a backend that is left alone.
    resource("ModelRoute", name, json!({"models": [name], "backends": [backend], "cooldown": {"failures": 0}}))
}

/// Checks that an answer has the text's vector, to the bit.
#[track_caller]
pub fn is_right(answer: &Answer, identity: &Identity) {
    let Identity { id, length, .. } = identity;
    assert_eq!(answer.status, 200, "{id}: {}", answer.message());
    let found: Vec<u32> = answer.vector().into_iter().map(|number| (number as f32).to_bits()).collect();
    let wanted: Vec<u32> = vector(&Item::Text(TEXT.to_owned()), *length).into_iter().map(f32::to_bits).collect();
    assert!(found == wanted, "{id}: the vector is another one");
    assert_eq!(answer.tokens(), TEXT_TOKENS, "{id}");
}
