//! A cluster, as far as it issues tokens for pods.

use anyhow::Context;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

const URL: &str = "https://kubernetes.default.svc.cluster.local";

/// It signs by a key of its own.
pub struct Cluster(EcdsaKeyPair, &'static str);

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// What a token says of a pod in this namespace.
pub fn claims(namespace: &str) -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({"iss": URL, "aud": ["vectoll-gateway"], "exp": now + 600, "iat": now, "nbf": now, "sub": format!("system:serviceaccount:{namespace}:app"),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": "app", "uid": "u"}, "pod": {"name": "app-0", "uid": "v"}}})
}

impl Cluster {
    pub fn new() -> anyhow::Result<Self> {
        Self::with_key("one")
    }

    /// One whose key has this ID.
    pub fn with_key(id: &'static str) -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok().context("no key")?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random);
        Ok(Self(pair.ok().context("the key cannot be read")?, id))
    }

    /// What the operator learns of it.
    pub fn issuer(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let key = json!({"kty": "EC", "crv": "P-256", "kid": self.1, "use": "sig", "alg": "ES256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])});
        json!({"issuer": URL, "jwks": {"keys": [key]}})
    }

    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let header = json!({"alg": "ES256", "kid": self.1});
        let head = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), head.as_bytes()).ok().context("it is not signed")?;
        Ok(format!("{head}.{}", encoded(signature)))
    }
}
