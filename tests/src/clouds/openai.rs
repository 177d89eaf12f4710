//! OpenAI's exchange: a token of a service account's, for one of the cluster's.
//!
//! Source: OpenAI API reference, "Workload identity token exchange". Fields that it does not know are refused.

use http::Method;
use serde_json::{Value, json};

use super::desk::{Desk, Paper, asks, has, only};
use crate::native::{Issuer, Request};

/// `auth.openai.com`.
#[derive(Debug)]
pub struct Exchange {
    /// The workload identity provider.
    pub provider: &'static str,
    /// The service account that it maps to.
    pub account: &'static str,
    /// The token of the cluster's that it trusts.
    pub subject: &'static str,
    /// Tokens.
    pub tokens: Issuer,
}

impl Desk for Exchange {
    fn host(&self) -> &'static str {
        "auth.openai.com"
    }

    fn answer(&self, request: &Request<'_>) -> Result<Paper, String> {
        asks(request, &Method::POST, "/oauth/token")?;
        only(request, &[])?;
        has(request, "content-type", "application/json")?;
        let found: Value = serde_json::from_slice(request.body).map_err(|error| error.to_string())?;
        let wanted = json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": self.subject,
            "identity_provider_id": self.provider,
            "service_account_id": self.account,
        });
        if found != wanted {
            return Err(format!("the body is {found}, not {wanted}"));
        }
        let Some(token) = self.tokens.give() else {
            // It repeats what came.
            let said = format!("No mapping matches; you sent {}", self.subject);
            return Ok(Paper::json(401, &json!({"error": "invalid_grant", "error_description": said})));
        };
        Ok(Paper::json(
            200,
            &json!({
                "access_token": token.text, "token_type": "Bearer", "expires_in": token.seconds(),
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            }),
        ))
    }
}
