//! A token in exchange for one of another issuer's, as of the cluster's (workload identity federation), and, where the file
//! says so, from there to a service account's.
//!
//! Source: RFC 8693, sections 2.1 and 2.2; Google AIP-4117, "External Account Credentials"; Google Cloud IAM Service Account
//! Credentials API, `generateAccessToken`. Checked against `google.auth.identity_pool`, `external_account` and
//! `impersonated_credentials` in Google's auth library for Python. Of the sources of a token only files are read here.

use std::path::{Component, Path, PathBuf};

use http::header;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{DOMAIN, SCOPE};
use crate::{
    credential::{
        FetchError, Form, Refreshing, Secret, Token,
        issuer::{TokenRequest, known, token_in},
        oauth,
        refreshing::Issued,
    },
    provider::http::Clients,
};

/// Google's exchange, for files that name none.
const EXCHANGE: &str = "https://sts.googleapis.com/v1/token";
/// How long a service account's token is to be good, in seconds, unless the file says.
const LIFE: u32 = 3600;

/// URLs of settings, in place of the file's.
#[derive(Clone, Debug, Default)]
pub struct Instead {
    /// Of the exchange.
    pub token_url: Option<Url>,
    /// Of the service account's `generateAccessToken`. Used only where the file has one.
    pub impersonation_url: Option<Url>,
}

/// What is exchanged for what.
#[derive(Clone, Debug)]
pub struct External {
    audience: String,
    subject_token_type: String,
    subject: Subject,
    token_url: Url,
    impersonation: Option<Impersonation>,
}

/// Where the other issuer's token is.
#[derive(Clone, Debug)]
struct Subject {
    file: PathBuf,
    /// Its field, in a file that is JSON.
    field: Option<String>,
}

#[derive(Clone, Debug)]
struct Impersonation {
    url: Url,
    seconds: u32,
}

/// What the file holds, as far as needed.
#[derive(Deserialize)]
struct File {
    audience: String,
    subject_token_type: String,
    token_url: Option<String>,
    credential_source: CredentialSource,
    service_account_impersonation_url: Option<String>,
    #[serde(default)]
    service_account_impersonation: Options,
    workforce_pool_user_project: Option<String>,
}

#[derive(Deserialize)]
struct CredentialSource {
    file: Option<PathBuf>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
    subject_token_field_name: Option<String>,
}

#[derive(Default, Deserialize)]
struct Options {
    token_lifetime_seconds: Option<u32>,
}

impl External {
    /// Reads a file as `gcloud iam workload-identity-pools create-cred-config` makes them. What it names is not trusted: its
    /// URLs have to be Google's, and its token has to lie in this folder.
    pub fn read(content: &[u8], folder: &Path, instead: Instead) -> Result<Self, &'static str> {
        let file: File = serde_json::from_slice(content)
            .map_err(|_| "the credential is not a credential configuration of Google's")?;
        if file.workforce_pool_user_project.is_some() {
            return Err("the credential is for people (a workforce pool), not for workloads");
        }
        let path =
            file.credential_source.file.ok_or("the credential's source is not a file: no other one is supported")?;
        if !path.starts_with(folder) || path.components().any(|part| part == Component::ParentDir) {
            return Err("the credential's source is not in the folder of the sidecar's tokens");
        }
        let field = match file.credential_source.format {
            Some(Format { kind, subject_token_field_name }) if kind == "json" => {
                Some(subject_token_field_name.ok_or("the credential's source does not name the token's field")?)
            }
            Some(Format { kind, .. }) if kind != "text" => return Err("the credential's source has an unknown format"),
            _ => None,
        };
        let Instead { token_url, impersonation_url } = instead;
        let own = || known(file.token_url.as_deref().unwrap_or(EXCHANGE), DOMAIN);
        let token_url =
            token_url.or_else(own).ok_or("the credential's token_url is not an https URL of googleapis.com")?;
        let impersonation = match file.service_account_impersonation_url {
            None => None,
            Some(own) => Some(Impersonation {
                url: impersonation_url.or_else(|| known(&own, DOMAIN)).ok_or(
                    "the credential's service_account_impersonation_url is not an https URL of googleapis.com",
                )?,
                seconds: file.service_account_impersonation.token_lifetime_seconds.unwrap_or(LIFE),
            }),
        };
        let (audience, subject_token_type) = (file.audience, file.subject_token_type);
        Ok(Self { audience, subject_token_type, subject: Subject { file: path, field }, token_url, impersonation })
    }

    /// A token that is kept fresh.
    pub fn token(self, clients: Clients) -> Token {
        let source = Refreshing::new(format!("a token of Google's for {}", self.audience), move || {
            let (this, clients) = (self.clone(), clients.clone());
            async move { this.fetch(&clients).await }
        });
        Token { source, form: Form::Bearer }
    }

    async fn fetch(&self, clients: &Clients) -> Result<Issued<Secret>, FetchError> {
        let subject = self.subject.read().await?;
        let federated = oauth::token(&self.exchange(&subject).ask(clients).await?)?;
        let Some(impersonation) = &self.impersonation else { return Ok(federated) };
        let asked = Timestamp::now();
        account_token(&impersonation.question(&federated.value)?.ask(clients).await?, asked)
    }

    fn exchange(&self, subject: &Secret) -> TokenRequest {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", &self.audience),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", subject.reveal()),
            ("subject_token_type", &self.subject_token_type),
        ];
        TokenRequest::form(&self.token_url, &fields).hiding(subject)
    }
}

impl Impersonation {
    fn question(&self, federated: &Secret) -> Result<TokenRequest, FetchError> {
        let body = json!({"scope": [SCOPE], "lifetime": format!("{}s", self.seconds)});
        let bearer = format!("Bearer {}", federated.reveal());
        TokenRequest::json(&self.url, &body).hiding(federated).with(header::AUTHORIZATION, &bearer)
    }
}

impl Subject {
    async fn read(&self) -> Result<Secret, FetchError> {
        let text = token_in(&self.file).await?;
        let Some(field) = &self.field else { return Ok(text) };
        let json: Option<serde_json::Value> = serde_json::from_str(text.reveal()).ok();
        let token = json.as_ref().and_then(|json| json.get(field)?.as_str()).filter(|token| !token.is_empty());
        let without = || FetchError::File {
            path: self.file.display().to_string(),
            why: format!("it is not JSON with the token in {field}"),
        };
        token.map(Secret::new).ok_or_else(without)
    }
}

/// Reads a service account's token in an answer to a question that was asked at this time.
fn account_token(answer: &[u8], asked: Timestamp) -> Result<Issued<Secret>, FetchError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        access_token: String,
        expire_time: String,
    }
    let Answer { access_token, expire_time } = serde_json::from_slice(answer)
        .map_err(|_| FetchError::Answer("has no access token that says when it expires"))?;
    Issued::until(Secret::new(&access_token), &expire_time, asked)
}

#[cfg(test)]
mod tests;
