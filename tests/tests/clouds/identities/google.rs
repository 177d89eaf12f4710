//! Vertex AI: by a service account's key, by the node's metadata server, by a token of the cluster's.

use std::process::Command;

use anyhow::{Context, anyhow, ensure};
use ring::signature::{KeyPair, RsaKeyPair};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use vectoll_tests::{
    clouds::{
        Desk,
        google::{Exchange, IamCredentials, MetadataServer, TokenServer},
    },
    native::{
        Issuer,
        vertex_ai::{self, VertexAi},
    },
};

use super::identity::{Fetched, GOOGLE, Identities, Identity, TOKENS, reference};

const ACCOUNT: &str = "embed@project-1.iam.gserviceaccount.com";
const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";

pub fn add(them: &mut Identities) -> anyhow::Result<()> {
    let (key, public) = account_key()?;
    let (by_key, by_node, by_cluster) =
        (Issuer::named("by-key-"), Issuer::named("by-node-"), Issuer::named("by-cluster-"));
    let key_file = json!({
        "type": "service_account", "project_id": "project-1", "private_key_id": "key-1", "private_key": key,
        "client_email": ACCOUNT, "client_id": "1", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com",
    });
    let federation = json!({
        "universe_domain": "googleapis.com", "type": "external_account", "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": format!("{TOKENS}/google"), "format": {"type": "text"}},
        "service_account_impersonation_url": format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
        ),
        "service_account_impersonation": {"token_lifetime_seconds": 2800},
    });
    them.issuers.extend([
        Box::new(TokenServer { email: ACCOUNT, key_id: "key-1", public, tokens: by_key.clone() }) as Box<dyn Desk>,
        Box::new(MetadataServer { tokens: by_node.clone() }),
        Box::new(Exchange { audience: AUDIENCE, subject: GOOGLE, tokens: them.federated.clone() }),
        Box::new(IamCredentials {
            email: ACCOUNT,
            seconds: 2800,
            callers: them.federated.clone(),
            tokens: by_cluster.clone(),
        }),
    ]);
    for (id, host, location, account, secret, fetched) in [
        (
            "vertex-key",
            "europe-west4-aiplatform.googleapis.com",
            "europe-west4",
            json!({"serviceAccountSecretRef": reference("vertex-key")}),
            json!({"key": key_file.to_string()}),
            Fetched {
                what: "a token for the service account embed@project-1.iam.gserviceaccount.com",
                issuer: "oauth2.googleapis.com",
                refusal: "401: unauthorized_client: you sent",
                tokens: by_key,
            },
        ),
        (
            "vertex-node",
            "us-central1-aiplatform.googleapis.com",
            "us-central1",
            json!({"metadataServer": {}}),
            Value::Null,
            Fetched {
                what: "a token of Google's metadata server",
                issuer: "metadata.google.internal",
                refusal: "403: the pod's service account has no identity",
                tokens: by_node,
            },
        ),
        (
            "vertex-cluster",
            "asia-northeast1-aiplatform.googleapis.com",
            "asia-northeast1",
            json!({"serviceAccountSecretRef": reference("vertex-cluster")}),
            json!({"key": federation.to_string()}),
            Fetched {
                what: "a token of Google's for //iam.googleapis.com/projects/1/",
                issuer: "iamcredentials.googleapis.com",
                refusal: "403: PERMISSION_DENIED: you sent",
                tokens: by_cluster,
            },
        ),
    ] {
        let caller = vertex_ai::Caller::Issued(fetched.tokens.clone());
        them.providers.push((host, Box::new(VertexAi { caller, project: "project-1", location })));
        let mut vertex = json!({"project": "project-1", "location": location});
        if let (Some(vertex), Value::Object(account)) = (vertex.as_object_mut(), account) {
            vertex.extend(account);
        }
        let settings = json!({"vertexAI": vertex});
        let fetched = Some(fetched);
        them.all.push(Identity { id, host, model: "text-embedding-005", settings, secret, length: 768, fetched });
    }
    Ok(())
}

/// A new key for the service account: in PEM, and its public half.
fn account_key() -> anyhow::Result<(String, Vec<u8>)> {
    let output = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .context("missing: openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    let pem = String::from_utf8(output.stdout).context("openssl wrote no text")?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).context("openssl wrote no key")?;
    let key = RsaKeyPair::from_pkcs8(key.secret_der()).map_err(|error| anyhow!("openssl wrote no RSA key: {error}"))?;
    Ok((pem, key.public_key().as_ref().to_vec()))
}
