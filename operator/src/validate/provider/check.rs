//! What all providers are checked for, each fault at its field.

use std::fmt;

use url::Url;
use vectoll_crds::{Holds, Provider};

use super::{
    super::{FieldErrors, NOT_A_NAME, NOT_AN_ENTRY, is_entry, is_subdomain},
    Called, Credential,
};

/// The check of one provider.
pub(super) struct Check<'a> {
    /// Where the provider stands: `spec.backends[0].openAI`.
    path: String,
    provider: Provider<'a>,
    errors: &'a mut FieldErrors,
    /// What will be called.
    pub(super) called: Vec<Called>,
}

impl<'a> Check<'a> {
    pub(super) fn new(backend: &str, provider: Provider<'a>, errors: &'a mut FieldErrors) -> Self {
        Self { path: format!("{backend}.{}", provider.field()), provider, errors, called: Vec::new() }
    }

    /// A fault in the provider as a whole.
    pub(super) fn error(&mut self, reason: impl fmt::Display) {
        self.errors.add(&self.path, reason);
    }

    /// A fault in one of its fields.
    pub(super) fn fault_at(&mut self, field: &str, reason: impl fmt::Display) {
        self.errors.add(format!("{}.{field}", self.path), reason);
    }

    /// A fault in a field of the backend.
    pub(super) fn fault_beside(&mut self, field: &str, reason: impl fmt::Display) {
        let backend = self.path.rsplit_once('.').map_or("", |(backend, _)| backend);
        self.errors.add(format!("{backend}.{field}"), reason);
    }

    /// A field that is to look in some way. Its text is quoted only where it cannot be a credential put there by mistake.
    pub(super) fn must(&mut self, field: &str, holds: bool, reason: impl fmt::Display) {
        if !holds {
            self.fault_at(field, reason);
        }
    }

    /// A URL that the sidecar calls, as the contract has it: without `/` at its end.
    pub(super) fn url(&mut self, field: &str, text: &str, example: &str) -> Option<String> {
        let Some(url) = api_root(text) else {
            let reason = format_args!(
                "is not the root of an API: write for example {example}, without credentials, query or fragment"
            );
            self.fault_at(field, reason);
            return None;
        };
        let root = text.trim_end_matches('/');
        if let Some(right) = root.strip_suffix("/embeddings") {
            self.fault_at(field, format_args!("/embeddings is added to it: write {right}"));
            return None;
        }
        self.called.push(Called { path: format!("{}.{field}", self.path), url });
        Some(root.to_owned())
    }

    /// The root of an API whose paths begin with `own`: people often write that, too.
    pub(super) fn root(&mut self, field: &str, text: &str, example: &str, own: &str) -> Option<String> {
        let root = self.url(field, text, example)?;
        if root.ends_with(own) {
            self.fault_at(field, format_args!("{own} is part of the API's own paths: leave it out, as in {example}"));
            return None;
        }
        Some(root)
    }

    /// The references to Secrets. All of them are checked; the first is returned, for there is at most one where the rest is right.
    pub(super) fn credential(&mut self) -> Option<Credential> {
        let mut valid = None;
        for credential in self.provider.credentials() {
            let field = credential.field;
            // Not repeated: whoever mistakes the reference for the credential would find it in the log.
            self.must(&format!("{field}.name"), is_subdomain(credential.secret), NOT_A_NAME);
            match credential.holds {
                Holds::Key(entry) | Holds::GoogleJson(entry) => {
                    self.must(&format!("{field}.key"), is_entry(entry), NOT_AN_ENTRY);
                }
                Holds::AwsAccessKey => {}
            }
            valid = valid.or(Some(Credential::at(format!("{}.{field}", self.path), &credential)));
        }
        valid
    }
}

/// The URL, if the sidecar can call it: judged by the parsers that it uses.
fn api_root(text: &str) -> Option<Url> {
    // A credential in it would end up in logs: it is refused, and not repeated in the refusal.
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\".contains(&byte));
    let url = Url::parse(&format!("{}/embeddings", text.trim_end_matches('/'))).ok()?;
    // Plain HTTP goes over another client, which reads what the first parser made of it.
    let is_uri = url.as_str().parse::<http::Uri>().is_ok();
    let callable = matches!(url.scheme(), "http" | "https") && url.has_host() && url.port() != Some(0);
    (plain && is_uri && callable).then_some(url)
}
