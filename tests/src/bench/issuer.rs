//! A cluster, as far as it issues tokens for pods: signed by RSA with 2,048 bits, as most clusters do.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

/// What the operator writes it to, beside the namespaces of a gateway.
pub const ISSUER_FILE: &str = "_issuer";
const URL: &str = "https://kubernetes.default.svc.cluster.local";
/// The longest that a gateway takes.
const LIFE_SECONDS: u64 = 3_600;

/// It signs by a key of its own.
#[derive(Debug)]
pub struct Issuer(RsaKeyPair);

impl Issuer {
    /// With a new key, which the program openssl makes.
    pub fn generate() -> anyhow::Result<Self> {
        let made = Command::new("openssl")
            .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
            .stderr(Stdio::null())
            .output()
            .context("failed to start openssl, which makes the key of the cluster that tokens are of")?;
        ensure!(made.status.success(), "openssl made no key: {}", made.status);
        let key = PrivatePkcs8KeyDer::from_pem_slice(&made.stdout).context("failed to read openssl's key")?;
        let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok().context("openssl's key cannot be used")?;
        Ok(Self(pair))
    }

    /// What the operator of a cluster learns of it and writes for the gateway.
    pub fn file(&self) -> String {
        let public: PublicKeyComponents<Vec<u8>> = PublicKeyComponents::from(self.0.public());
        let key = json!({"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "n": encoded(public.n), "e": encoded(public.e)});
        json!({"issuer": URL, "jwks": {"keys": [key]}}).to_string()
    }

    /// Writes the token of a pod of the namespace where its sidecar looks for it.
    pub fn write_token(&self, namespace: &str, folder: &Path) -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is wrong")?.as_secs();
        let token = self.sign(&json!({
            "iss": URL, "aud": ["vectoll-gateway"], "iat": now, "nbf": now, "exp": now + LIFE_SECONDS,
            "sub": format!("system:serviceaccount:{namespace}:app"),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": "app", "uid": "u"},
                "pod": {"name": "app-0", "uid": "v"},
            },
        }))?;
        std::fs::write(folder.join("gateway"), token).context("failed to write the pod's token")
    }

    fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let header = json!({"alg": "RS256", "kid": "one"});
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let mut signature = vec![0; self.0.public().modulus_len()];
        let failed = "the token could not be signed";
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok().context(failed)?;
        Ok(format!("{signed}.{}", encoded(signature)))
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
