//! IBM Cloud's IAM: a token for an API key.
//!
//! Source: IBM Cloud Docs, "Generating an IBM Cloud IAM token by using an API key"; API reference of IAM Identity Services, errors.

use std::time::UNIX_EPOCH;

use http::Method;
use serde_json::json;

use super::desk::{Desk, Paper, asks, echo, fields, form, has, only};
use crate::native::{Issuer, Request};

/// `iam.cloud.ibm.com`.
#[derive(Debug)]
pub struct Iam {
    /// The API key.
    pub key: &'static str,
    /// Tokens.
    pub tokens: Issuer,
}

impl Desk for Iam {
    fn host(&self) -> &'static str {
        "iam.cloud.ibm.com"
    }

    fn answer(&self, request: &Request<'_>) -> Result<Paper, String> {
        asks(request, &Method::POST, "/identity/token")?;
        only(request, &[])?;
        has(request, "accept", "application/json")?;
        fields(&form(request)?, &[("grant_type", "urn:ibm:params:oauth:grant-type:apikey"), ("apikey", self.key)])?;
        Ok(match self.tokens.give() {
            Some(token) => Paper::json(
                200,
                &json!({
                    "access_token": token.text, "refresh_token": "not_supported", "token_type": "Bearer",
                    "expires_in": token.seconds(), "scope": "ibm openid",
                    "expiration": token.ends.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
                }),
            ),
            None => Paper::json(
                401,
                &json!({"errorCode": "BXNIM0415E", "errorMessage": format!("Provided API key could not be found: {}", echo(request))}),
            ),
        })
    }
}
