//! Tokens by which pods' sidecars call a gateway: who issued one, for whom, and for which namespace. Verified without asking anybody.
//!
//! Source: RFC 7515 (JWS, compact serialization), RFC 7517 and RFC 7518 (keys and algorithms), RFC 7519 (claims), and Kubernetes' claims
//! (`kubernetes.io` in `pkg/serviceaccount/claims.go`). The cluster signs with RSA or ECDSA keys.

mod verified;

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderName;
use jiff::{SignedDuration, Timestamp};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::{Deserialize, de::DeserializeOwned};
use vectoll_config::GATEWAY_AUDIENCE;

use self::verified::Verified;

/// Where a sidecar sends its pod's token,
pub static TOKEN: HeaderName = HeaderName::from_static("x-vectoll-pod-token");
/// and the ApiKey that the pod calls as, `namespace/name`.
pub static API_KEY: HeaderName = HeaderName::from_static("x-vectoll-pod-key");

/// How far the clocks of cluster and gateway may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(10);
/// The longest life of a token. The kubelet asks for one of ten minutes; whoever may make tokens could else have one that outlives the
/// pod, the account and the namespace.
const MAX_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// The longest token, in bytes. A cluster's have about a thousand.
const MAX_LENGTH: usize = 8 * 1024;
/// For so long after it was issued a token may be signed by a key that the cluster has and the gateway does not know yet: the operator asks
/// for the keys every 30 s, the gateway's kubelet brings them within a minute, and a kubelet renews a token of ten minutes sooner than this.
const KEYS_COME: SignedDuration = SignedDuration::from_mins(15);

/// Who issues tokens, and by which keys they are known.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    keys: Vec<Key>,
    /// Tokens that were found to be right by these keys.
    verified: Verified,
}

/// Whether a gateway takes tokens of pods.
#[derive(Clone, Debug, Default)]
pub enum PodTokens {
    /// No: it serves no cluster.
    #[default]
    Refused,
    /// It will, and has not heard yet who issues them.
    Awaited,
    /// Those of this issuer.
    Of(Arc<Issuer>),
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    key: PublicKey,
}

#[derive(Debug)]
enum PublicKey {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
}

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// Not what it must be.
    #[error("it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// None that is known.
    #[error("it has no key of a kind that is known (RSA, P-256, P-384)")]
    NoKey,
}

/// What is wrong with a token. Words that go behind "the pod's token".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has not the form.
    #[error("is none that a cluster issues for a pod")]
    Malformed,
    /// Somebody else's.
    #[error("is not signed by a key of this cluster's")]
    Forged,
    /// It is signed by a key that the cluster may have made since its keys were read.
    #[error("is signed by a key that this gateway does not know yet: it is told of new ones within minutes")]
    UnknownKey,
    /// Of another cluster.
    #[error("is issued by {0:?}, which is not this gateway's cluster")]
    Issuer(String),
    /// For somebody else.
    #[error("is for another audience than {GATEWAY_AUDIENCE}")]
    Audience,
    /// Its time is over.
    #[error("has expired at {0}")]
    Expired(Timestamp),
    /// Its time has not begun.
    #[error("is not valid before {0}")]
    Early(Timestamp),
    /// Its time is longer than a kubelet asks for.
    #[error("is good for more than an hour: the sidecar's own is for ten minutes")]
    Long,
    /// It is of an account alone.
    #[error("is not bound to a pod: only a sidecar's own is taken")]
    Podless,
}

impl TokenError {
    /// The label `reason` of refused calls.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "pod_token_malformed",
            Self::Forged => "pod_token_forged",
            Self::UnknownKey => "pod_token_key",
            Self::Issuer(_) => "pod_token_issuer",
            Self::Audience => "pod_token_audience",
            Self::Expired(_) => "pod_token_expired",
            Self::Early(_) => "pod_token_early",
            Self::Long => "pod_token_long",
            Self::Podless => "pod_token_podless",
        }
    }
}

#[derive(Deserialize)]
struct File {
    issuer: String,
    jwks: Jwks,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audiences,
    iat: i64,
    exp: i64,
    #[serde(default)]
    nbf: i64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: ServiceAccount,
    pod: Option<Bound>,
}

#[derive(Deserialize)]
struct Bound {
    name: String,
}

#[derive(Deserialize)]
struct ServiceAccount {
    name: String,
}

impl Issuer {
    /// Reads what the operator has written ([`vectoll_config::ISSUER_FILE`]). Keys of kinds that are not known are left out.
    pub fn read(file: &[u8]) -> Result<Self, IssuerError> {
        let File { issuer, jwks } = serde_json::from_slice(file)?;
        let key = |jwk: Jwk| Some(Key { id: jwk.kid.clone(), key: public_key(&jwk)? });
        let keys: Vec<Key> = jwks.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err(IssuerError::NoKey);
        }
        Ok(Self { url: issuer, keys, verified: Verified::default() })
    }

    /// The namespace of a token that was found to be right before, and is still good.
    pub fn known(&self, token: &str, now: Timestamp) -> Option<Arc<str>> {
        self.verified.get(token, now)
    }

    /// The namespace of the pod that a token speaks for. What it says is looked at first, for that costs little, and its signature last.
    pub fn namespace_of(&self, token: &str, now: Timestamp) -> Result<Arc<str>, TokenError> {
        if token.len() > MAX_LENGTH {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decoded(header)?;
        let claims: Claims = decoded(claims)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        let Claimed { namespace, issued, end } = self.claimed(claims, now)?;
        // A key is found by its ID, or else has none.
        let is_meant = |key: &&Key| key.id.as_ref().is_none_or(|id| Some(id) == header.kid.as_ref());
        let mut keys = self.keys.iter().filter(is_meant).peekable();
        if keys.peek().is_none() && header.kid.is_some() && issued >= now.saturating_sub(KEYS_COME).unwrap_or(now) {
            return Err(TokenError::UnknownKey);
        }
        if !keys.any(|key| key.key.has_signed(&header.alg, signed.as_bytes(), &signature)) {
            return Err(TokenError::Forged);
        }
        let namespace: Arc<str> = namespace.into();
        self.verified.add(token, namespace.clone(), end.saturating_add(SKEW).unwrap_or(end), now);
        Ok(namespace)
    }

    /// Whether what a token says of itself would be right.
    fn claimed(&self, claims: Claims, now: Timestamp) -> Result<Claimed, TokenError> {
        let Claims { iss, aud, iat, exp, nbf, kubernetes: Kubernetes { namespace, serviceaccount, pod } } = claims;
        if iss != self.url {
            return Err(TokenError::Issuer(short(&iss)));
        }
        let is_ours = match &aud {
            Audiences::One(one) => one == GATEWAY_AUDIENCE,
            Audiences::Several(all) => all.iter().any(|one| one == GATEWAY_AUDIENCE),
        };
        if !is_ours {
            return Err(TokenError::Audience);
        }
        let moment = |seconds| Timestamp::from_second(seconds).map_err(|_| TokenError::Malformed);
        let (issued, end, begin) = (moment(iat)?, moment(exp)?, moment(nbf)?);
        if end.saturating_add(SKEW).unwrap_or(end) <= now {
            return Err(TokenError::Expired(end));
        }
        if begin > now.saturating_add(SKEW).unwrap_or(now) {
            return Err(TokenError::Early(begin));
        }
        if end.duration_since(issued) > MAX_LIFE {
            return Err(TokenError::Long);
        }
        if namespace.is_empty() || serviceaccount.name.is_empty() {
            return Err(TokenError::Malformed);
        }
        if pod.is_none_or(|pod| pod.name.is_empty()) {
            return Err(TokenError::Podless);
        }
        Ok(Claimed { namespace, issued, end })
    }
}

/// What a token says of itself that may be right.
struct Claimed {
    namespace: String,
    issued: Timestamp,
    end: Timestamp,
}

impl PublicKey {
    fn has_signed(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa { n, e }, "RS256") => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            (Self::P256(point), "ES256") => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Self::P384(point), "ES384") => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            (Self::Rsa { .. } | Self::P256(_) | Self::P384(_), _) => false,
        }
    }
}

fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    let bytes = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let n = bytes(&jwk.n)?;
            // As numbers: without zeros before them.
            let zeros = n.iter().take_while(|byte| **byte == 0).count();
            Some(PublicKey::Rsa { n: n.get(zeros..)?.to_vec(), e: bytes(&jwk.e)? })
        }
        ("EC", Some("P-256")) => Some(PublicKey::P256(point(&bytes(&jwk.x)?, &bytes(&jwk.y)?))),
        ("EC", Some("P-384")) => Some(PublicKey::P384(point(&bytes(&jwk.x)?, &bytes(&jwk.y)?))),
        _ => None,
    }
}

/// An uncompressed point (SEC 1, section 2.3.3).
fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

/// A stranger's words, in reason.
fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
    };
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
    use serde_json::{Value, json};

    use super::*;

    const URL: &str = "https://kubernetes.default.svc";
    const RSA: &str = include_str!("../upstream/src/credential/google/service_account/testing_key.pem");

    fn encoded(bytes: impl AsRef<[u8]>) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn pair() -> EcdsaKeyPair {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap()
    }

    fn jwk(pair: &EcdsaKeyPair, id: &str) -> Value {
        let point = pair.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])})
    }

    fn signed(pair: &EcdsaKeyPair, id: &str, claims: &Value) -> String {
        let head =
            format!("{}.{}", encoded(json!({"alg": "ES256", "kid": id}).to_string()), encoded(claims.to_string()));
        let signature = pair.sign(&SystemRandom::new(), head.as_bytes()).unwrap();
        format!("{head}.{}", encoded(signature))
    }

    fn claims() -> Value {
        json!({"iss": URL, "aud": [GATEWAY_AUDIENCE], "iat": 1_000, "exp": 2_000, "nbf": 1_000, "sub": "system:serviceaccount:shop:app",
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "app", "uid": "u"}, "pod": {"name": "p", "uid": "v"}}})
    }

    fn with(field: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[field] = value;
        claims
    }

    fn issuer(keys: &[Value]) -> Issuer {
        Issuer::read(json!({"issuer": URL, "jwks": {"keys": keys}}).to_string().as_bytes()).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_token_speaks_for_its_own_namespace_by_any_key_of_the_cluster() {
        let (old, new) = (pair(), pair());
        let issuer = issuer(&[jwk(&old, "old"), jwk(&new, "new"), json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"})]);
        for (key, id) in [(&old, "old"), (&new, "new")] {
            assert_eq!(issuer.namespace_of(&signed(key, id, &claims()), at(1_500)).as_deref(), Ok("shop"));
        }
        let token = signed(&new, "new", &claims());
        assert_eq!(issuer.known(&token, at(1_500)), None);
        assert_eq!(issuer.namespace_of(&token, at(1_500)).as_deref(), Ok("shop"));
        assert_eq!(issuer.known(&token, at(2_009)).as_deref(), Some("shop"), "it is not verified twice");
        assert_eq!((issuer.known(&token, at(2_010)), issuer.known("a.b.c", at(1_500))), (None, None));
        let one = with("aud", json!(GATEWAY_AUDIENCE));
        assert_eq!(issuer.namespace_of(&signed(&new, "new", &one), at(1_500)).as_deref(), Ok("shop"));
    }

    #[test]
    fn each_token_that_is_not_right_is_refused_for_its_own_reason() {
        let (ours, theirs) = (pair(), pair());
        let issuer = issuer(&[jwk(&ours, "a")]);
        let refused = |token: &str, now| issuer.namespace_of(token, at(now)).unwrap_err();
        let token = |claims: &Value| signed(&ours, "a", claims);
        assert_eq!(refused(&token(&claims()), 2_010), TokenError::Expired(at(2_000)));
        assert_eq!(refused(&token(&claims()), 900), TokenError::Early(at(1_000)));
        assert_eq!(
            refused(&token(&with("aud", json!(["https://kubernetes.default.svc"]))), 1_500),
            TokenError::Audience
        );
        let other = with("iss", json!("https://other.example"));
        assert_eq!(refused(&token(&other), 1_500), TokenError::Issuer("https://other.example".to_owned()));
        assert_eq!(
            refused(&signed(&theirs, "b", &other), 1_500),
            TokenError::Issuer("https://other.example".to_owned())
        );
        assert_eq!(refused(&signed(&theirs, "a", &claims()), 1_500), TokenError::Forged);
        // A key that was made since is known soon, and a token that is signed by it is renewed before that is not so.
        assert_eq!(refused(&signed(&theirs, "b", &claims()), 1_500), TokenError::UnknownKey);
        assert_eq!(refused(&signed(&theirs, "b", &claims()), 1_000 + 15 * 60 + 1), TokenError::Forged);
        let unnamed = |claims: &Value| {
            let head = format!("{}.{}", encoded(json!({"alg": "ES256"}).to_string()), encoded(claims.to_string()));
            let signature = ours.sign(&SystemRandom::new(), head.as_bytes()).unwrap();
            format!("{head}.{}", encoded(signature))
        };
        assert_eq!(refused(&unnamed(&claims()), 1_500), TokenError::Forged, "a key that has an ID is named");
        let long = with("sub", json!("s".repeat(8 * 1024)));
        assert_eq!(refused(&token(&long), 1_500), TokenError::Malformed);
        assert_eq!(refused(&token(&with("exp", json!(1_000 + 3_601))), 1_500), TokenError::Long);
        let account = json!({"namespace": "shop", "serviceaccount": {"name": "app", "uid": "u"}});
        assert_eq!(refused(&token(&with("kubernetes.io", account)), 1_500), TokenError::Podless);
        // What was signed is not what is said.
        let real = token(&claims());
        let (_, signature) = real.rsplit_once('.').unwrap();
        let (head, _) = real.split_once('.').unwrap();
        let altered =
            with("kubernetes.io", json!({"namespace": "crm", "serviceaccount": {"name": "app"}, "pod": {"name": "p"}}));
        assert_eq!(refused(&format!("{head}.{}.{signature}", encoded(altered.to_string())), 1_500), TokenError::Forged);
        let unsigned = encoded(json!({"alg": "none"}).to_string());
        assert_eq!(refused(&format!("{unsigned}.{}.", encoded(claims().to_string())), 1_500), TokenError::Forged);
        let no_pod = with("kubernetes.io", Value::Null);
        for malformed in ["", "a.b", "a.b.c", &token(&no_pod), "sk-vt-key"] {
            assert_eq!(refused(malformed, 1_500), TokenError::Malformed, "{malformed}");
        }
    }

    #[test]
    fn an_rsa_key_is_known_by_its_numbers_and_what_is_no_issuer_is_refused() {
        let pem = RSA.replace("TESTING KEY", "PRIVATE KEY");
        let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap() else {
            panic!("PKCS #8")
        };
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        let public: RsaPublicKeyComponents<Vec<u8>> = RsaPublicKeyComponents::from(pair.public());
        let issuer = issuer(&[json!({"kty": "RSA", "kid": "r", "n": encoded(&public.n), "e": encoded(&public.e)})]);
        let head =
            format!("{}.{}", encoded(json!({"alg": "RS256", "kid": "r"}).to_string()), encoded(claims().to_string()));
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), head.as_bytes(), &mut signature).unwrap();
        let token = format!("{head}.{}", encoded(&signature));
        assert_eq!(issuer.namespace_of(&token, at(1_500)).as_deref(), Ok("shop"));
        // The same bytes under the name of another algorithm are nothing.
        let other = token.replacen(
            &encoded(json!({"alg": "RS256", "kid": "r"}).to_string()),
            &encoded(json!({"alg": "HS256", "kid": "r"}).to_string()),
            1,
        );
        assert_eq!(issuer.namespace_of(&other, at(1_500)), Err(TokenError::Forged));
        for wrong in ["", "{}", r#"{"issuer": "a", "jwks": {"keys": []}}"#] {
            assert!(Issuer::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
