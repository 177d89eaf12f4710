//! Names that lead to where clouds hand out a machine's credentials: no provider is called there, and no issuer that a route names.

use serde_json::json;
use vectoll_tests::{
    clouds::namespace,
    manifest::secret,
    native::{Server, ollama::Ollama},
};

use super::{
    identities::TOKENS,
    stage::{HOSTS, Stage, TEXT, is_right, route},
};

#[test]
fn nobody_is_led_to_a_metadata_address() -> anyhow::Result<()> {
    let leading = [
        ("169.254.169.254", "imds.example"),
        ("::ffff:169.254.169.254", "mapped.example"),
        ("fd00:ec2::254", "aws.example"),
        ("0.0.0.0", "unspecified.example"),
        ("169.254.169.254", "both.example"),
        ("127.0.0.1", "both.example"),
        ("169.254.169.254", "elsewhere.googleapis.com"),
    ];
    let hosts: Vec<_> = HOSTS.into_iter().chain(leading).collect();
    namespace::inside("guard::nobody_is_led_to_a_metadata_address", &hosts, async |inside| {
        let ollama = Server::start(Box::new(Ollama)).await?;
        let port = ollama.origin().rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap_or_default();
        let open_ai = |url: &str| json!({"openAI": {"baseURL": url}});
        let entra = |authority: &str| {
            json!({"azureOpenAI": {"endpoint": "https://my-resource.openai.azure.com", "entra": {
                "tenantID": "contoso.example", "clientID": "app", "authority": authority,
            }}})
        };
        let role = json!({"bedrock": {"region": "eu-central-1", "webIdentity": {
            "roleARN": "arn:aws:iam::123456789012:role/embeddings", "stsURL": "https://imds.example",
        }}});
        // What a credential's file names is no more trusted than what a route does.
        let federation = json!({
            "type": "external_account", "audience": "//iam.googleapis.com/elsewhere",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://elsewhere.googleapis.com/v1/token", "credential_source": {"file": format!("{TOKENS}/google")},
        });
        let file = json!({"vertexAI": {
            "project": "project-1", "location": "us-central1",
            "serviceAccountSecretRef": {"name": "elsewhere", "key": "key"},
        }});
        let mut more = vec![secret("default", "elsewhere", json!({"key": federation.to_string()}))];
        let routes = [
            ("file", file),
            ("plain", open_ai("http://imds.example/v1")),
            ("tls", open_ai("https://imds.example/v1")),
            ("mapped", open_ai("http://mapped.example/v1")),
            ("aws", open_ai("https://aws.example/v1")),
            ("unspecified", open_ai("https://unspecified.example/v1")),
            ("authority-plain", entra("http://imds.example")),
            ("authority-tls", entra("https://imds.example")),
            (
                "both",
                json!({"ollama": {"baseURL": format!("http://both.example:{port}")}, "model": "nomic-embed-text"}),
            ),
            ("sts", json!({"model": "amazon.titan-embed-text-v2:0", "bedrock": role["bedrock"]})),
        ];
        more.extend(routes.iter().map(|(name, settings)| route(name, "a-model", settings)));
        let mut stage = Stage::start(&inside, more, |_, _| {}).await?;
        let link_local = "imds.example resolves to a link-local address: not called";
        for (id, connection, expected) in [
            ("plain", true, link_local),
            ("tls", true, link_local),
            ("mapped", true, "mapped.example resolves to a link-local address: not called"),
            ("aws", true, "aws.example resolves to the address of a cloud's metadata service: not called"),
            ("unspecified", true, "unspecified.example resolves to the unspecified address: not called"),
            ("authority-plain", false, link_local),
            ("authority-tls", false, link_local),
            ("sts", false, link_local),
            ("file", false, "elsewhere.googleapis.com resolves to a link-local address: not called"),
        ] {
            let answer = stage.call(id).await?;
            assert_eq!((answer.status, answer.code()), (503, "no_backend_available"), "{id}: {}", answer.message());
            assert!(answer.message().contains(expected), "{id}: {}", answer.message());
            assert_eq!(answer.message().contains("No connection to backend"), connection, "{id}: {}", answer.message());
            assert_eq!(answer.header("x-litellm-response-cost"), None, "{id}: it never left");
        }
        let metrics = stage.at_rest().await?;
        assert_eq!(metrics.sum("vectoll_key_requests_total", &[]), 0.0);
        assert_eq!(metrics.sum("vectoll_key_spend_usd_total", &[]), 0.0);

        // Of a name's addresses those that may be called still are.
        let answer = stage.caller.embed("both", json!(TEXT)).await?;
        assert_eq!(answer.status, 200, "{}", answer.message());
        assert_eq!(ollama.take().violations, Vec::<String>::new());
        // And the same address is where the node's own identity comes from.
        let node = stage.them.all.iter().position(|identity| identity.id == "vertex-node").unwrap();
        let answer = stage.call("vertex-node").await?;
        is_right(&answer, &stage.them.all[node]);
        assert_eq!(stage.clouds.asked("metadata.google.internal"), 1);
        // The clouds tell of any other connection to it.
        stage.nothing_wrong_and_nothing_told().await
    })
}
