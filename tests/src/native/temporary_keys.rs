//! AWS keys for a role: given out with a session token, good as long as that is.

use std::time::SystemTime;

use super::{AccessKey, Issuer, Request, fields::Read, issuer::Token, sigv4::one};

/// Keys that were given out. A handle: clones share them.
#[derive(Debug, Clone)]
pub struct TemporaryKeys(pub Issuer);

/// Keys as those who give them out say them.
pub(crate) struct Said {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) session: String,
    pub(crate) ends: SystemTime,
}

impl TemporaryKeys {
    /// New keys; none: questions are refused.
    pub(crate) fn give(&self) -> Option<Said> {
        let Self(issuer) = self;
        issuer.give().map(|Token { text, ends }| Said { id: id(&text), secret: secret(&text), session: text, ends })
    }

    /// All that was given out and nobody may see.
    pub fn secrets(&self) -> Vec<String> {
        let Self(issuer) = self;
        issuer.issued().into_iter().flat_map(|session| [id(&session), secret(&session), session]).collect()
    }

    /// Checks that a request is signed with keys that are good.
    pub(super) fn check(&self, request: &Request<'_>, region: &str, service: &str) -> Read<()> {
        let Self(issuer) = self;
        let session = one(request, "x-amz-security-token");
        let (id, secret) = (id(&session), secret(&session));
        AccessKey { id: &id, secret: &secret, session: Some(&session), region, service }.check(request)?;
        issuer.judge(&session)
    }
}

fn id(session: &str) -> String {
    format!("ASIA{}", session.to_uppercase().replace(|other: char| !other.is_ascii_alphanumeric(), ""))
}

fn secret(session: &str) -> String {
    format!("secret/of+{session}")
}
