//! Microsoft Entra ID: a token for an application that a token of the cluster's stands for.
//!
//! Source: Microsoft identity platform, "OAuth 2.0 client credentials flow", third case: a federated credential.

use http::Method;
use serde_json::json;

use super::desk::{Desk, Paper, asks, echo, fields, form, only};
use crate::native::{Issuer, Request};

/// `login.microsoftonline.com`.
#[derive(Debug)]
pub struct Login {
    /// The tenant.
    pub tenant: &'static str,
    /// The application.
    pub client: &'static str,
    /// The token of the cluster's that it trusts.
    pub assertion: &'static str,
    /// Tokens.
    pub tokens: Issuer,
}

impl Desk for Login {
    fn host(&self) -> &'static str {
        "login.microsoftonline.com"
    }

    fn answer(&self, request: &Request<'_>) -> Result<Paper, String> {
        asks(request, &Method::POST, &format!("/{}/oauth2/v2.0/token", self.tenant))?;
        only(request, &[])?;
        fields(
            &form(request)?,
            &[
                ("grant_type", "client_credentials"),
                ("client_id", self.client),
                ("scope", "https://cognitiveservices.azure.com/.default"),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", self.assertion),
            ],
        )?;
        let Some(token) = self.tokens.give() else {
            let said = format!("AADSTS700213: No matching federated identity record found; {}", echo(request));
            return Ok(Paper::json(401, &json!({"error": "invalid_client", "error_description": said})));
        };
        let life = token.seconds();
        Ok(Paper::json(
            200,
            &json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token.text}),
        ))
    }
}
