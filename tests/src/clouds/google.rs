//! Google: tokens for a service account's key, of the metadata server, and in exchange for one of the cluster's.
//!
//! Sources: Google Identity, "Using OAuth 2.0 for Server to Server Applications" (HTTP/REST); Google Cloud, "Authenticate workloads
//! to Google Cloud APIs using service accounts"; Security Token Service API reference, `token`; IAM Service Account Credentials API
//! reference, `generateAccessToken`; Google AIP-193 (errors).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::Method;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::desk::{Desk, Paper, asks, echo, fields, form, has, only};
use crate::native::{Issuer, Request, issuer::Token};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The answer of OAuth 2.0: tokens of all three are said so.
fn granted(token: &Token, more: &Value) -> Paper {
    let mut answer = json!({"access_token": token.text, "expires_in": token.seconds(), "token_type": "Bearer"});
    if let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), more.clone()) {
        answer.extend(more);
    }
    Paper::json(200, &answer)
}

/// `oauth2.googleapis.com`.
#[derive(Debug)]
pub struct TokenServer {
    /// The account that may ask.
    pub email: &'static str,
    /// The ID of its key.
    pub key_id: &'static str,
    /// The public half of it: the RSA key of PKCS #1 in DER.
    pub public: Vec<u8>,
    /// Tokens.
    pub tokens: Issuer,
}

impl TokenServer {
    /// Checks a JSON Web Token (RFC 7519, RFC 7523).
    fn check(&self, assertion: &str) -> Result<(), String> {
        let parts: Vec<&str> = assertion.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { return Err("no JWT".to_owned()) };
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|error| error.to_string());
        let read = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|error| error.to_string());
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public)
            .verify(format!("{header}.{claims}").as_bytes(), &decode(signature)?)
            .map_err(|_| "the JWT's signature is not that of the account's key".to_owned())?;
        let (header, mut claims) = (read(header)?, read(claims)?);
        if header != json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id}) {
            return Err(format!("the JWT's header is {header}"));
        }
        let mut time = |name: &str| {
            let claim = claims.as_object_mut().and_then(|claims| claims.remove(name));
            claim.and_then(|claim| claim.as_u64()).ok_or_else(|| format!("{name} is no time"))
        };
        let (issued, ends) = (time("iat")?, time("exp")?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if issued.abs_diff(now) > 5 || ends <= now || ends - issued > 3600 {
            return Err(format!("iat is {issued} and exp is {ends}; it is {now}"));
        }
        let wanted = json!({"iss": self.email, "scope": SCOPE, "aud": "https://oauth2.googleapis.com/token"});
        if claims == wanted { Ok(()) } else { Err(format!("the JWT's claims are {claims}")) }
    }
}

impl Desk for TokenServer {
    fn host(&self) -> &'static str {
        "oauth2.googleapis.com"
    }

    fn answer(&self, request: &Request<'_>) -> Result<Paper, String> {
        asks(request, &Method::POST, "/token")?;
        only(request, &[])?;
        let found = form(request)?;
        let assertion = found.get("assertion").cloned().unwrap_or_default();
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        fields(&found, &[("grant_type", grant), ("assertion", &assertion)])?;
        self.check(&assertion)?;
        Ok(match self.tokens.give() {
            Some(token) => granted(&token, &json!({})),
            None => Paper::json(401, &json!({"error": "unauthorized_client", "error_description": echo(request)})),
        })
    }
}

/// The metadata server, as GKE has it.
#[derive(Debug)]
pub struct MetadataServer {
    /// Tokens.
    pub tokens: Issuer,
}

impl Desk for MetadataServer {
    fn host(&self) -> &'static str {
        "metadata.google.internal"
    }

    fn answer(&self, request: &Request<'_>) -> Result<Paper, String> {
        asks(request, &Method::GET, "/computeMetadata/v1/instance/service-accounts/default/token")?;
        only(request, &["metadata-flavor"])?;
        has(request, "metadata-flavor", "Google")?;
        Ok(match self.tokens.give() {
            Some(token) => granted(&token, &json!({})),
            None => {
                Paper { status: 403, kind: "text/plain", body: "the pod's service account has no identity".to_owned() }
            }
        })
    }
}

/// `sts.googleapis.com`.
#[derive(Debug)]
pub struct Exchange {
    /// The workload identity provider.
    pub audience: &'static str,
    /// The token of the cluster's that it trusts.
    pub subject: &'static str,
    /// Tokens.
    pub tokens: Issuer,
}

impl Desk for Exchange {
    fn host(&self) -> &'static str {
        "sts.googleapis.com"
    }

    fn answer(&self, request: &Request<'_>) -> Result<Paper, String> {
        asks(request, &Method::POST, "/v1/token")?;
        only(request, &[])?;
        fields(
            &form(request)?,
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("audience", self.audience),
                ("scope", SCOPE),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("subject_token", self.subject),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ],
        )?;
        let issued = json!({"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"});
        Ok(match self.tokens.give() {
            Some(token) => granted(&token, &issued),
            None => Paper::json(403, &json!({"error": "access_denied", "error_description": echo(request)})),
        })
    }
}

/// `iamcredentials.googleapis.com`.
#[derive(Debug)]
pub struct IamCredentials {
    /// The account whose tokens it gives out.
    pub email: &'static str,
    /// For how many seconds they are asked for.
    pub seconds: u32,
    /// Who may ask: those with such a token.
    pub callers: Issuer,
    /// Tokens.
    pub tokens: Issuer,
}

impl Desk for IamCredentials {
    fn host(&self) -> &'static str {
        "iamcredentials.googleapis.com"
    }

    fn answer(&self, request: &Request<'_>) -> Result<Paper, String> {
        let path = format!("/v1/projects/-/serviceAccounts/{}:generateAccessToken", self.email);
        asks(request, &Method::POST, &path)?;
        only(request, &["authorization"])?;
        has(request, "content-type", "application/json")?;
        self.callers.check(request).map_err(|refusal| format!("{refusal:?}"))?;
        let found: Value = serde_json::from_slice(request.body).map_err(|error| error.to_string())?;
        if found != json!({"scope": [SCOPE], "lifetime": format!("{}s", self.seconds)}) {
            return Err(format!("the question is {found}"));
        }
        Ok(match self.tokens.give() {
            Some(Token { text, ends }) => {
                Paper::json(200, &json!({"accessToken": text, "expireTime": super::aws::rfc3339(ends)}))
            }
            None => Paper::json(
                403,
                &json!({"error": {"code": 403, "message": echo(request), "status": "PERMISSION_DENIED"}}),
            ),
        })
    }
}
