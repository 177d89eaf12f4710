//! Tokens that a provider's own issuer gives out, and takes back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Refusal, Request};

/// What was issued. A handle: clones share it.
#[derive(Debug, Clone, Default)]
pub struct Issuer(Arc<Mutex<Tokens>>);

#[derive(Debug, Default)]
struct Tokens {
    issued: Vec<String>,
    /// Those before are good no more.
    good_from: usize,
    closed: bool,
}

impl Issuer {
    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All tokens up to now.
    pub fn issued(&self) -> Vec<String> {
        self.tokens().issued.clone()
    }

    /// The tokens up to now are good no more.
    pub fn revoke(&self) {
        let mut tokens = self.tokens();
        tokens.good_from = tokens.issued.len();
    }

    /// Whether questions are refused, with an echo.
    pub fn close(&self, closed: bool) {
        self.tokens().closed = closed;
    }

    /// A new token for this form; the form itself where it is not the right one.
    pub(super) fn issue(&self, request: &Request<'_>, wanted: &str) -> Result<String, String> {
        let form = String::from_utf8_lossy(request.body).into_owned();
        let is_form = request.headers.get("content-type").is_some_and(|it| it == "application/x-www-form-urlencoded");
        let mut tokens = self.tokens();
        if *request.method != http::Method::POST || !is_form || form != wanted || tokens.closed {
            return Err(form);
        }
        let token = format!("token-{}-kept-by-nobody", tokens.issued.len());
        tokens.issued.push(token.clone());
        Ok(token)
    }

    /// Whether a request has a token that is good.
    pub(super) fn check(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let found = request.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let tokens = self.tokens();
        match tokens.issued.iter().position(|token| found == format!("Bearer {token}")) {
            Some(place) if place >= tokens.good_from => Ok(()),
            Some(_) => Err(Refusal::Outdated),
            None => Err(Refusal::Wrong("authorization is no token that was issued".to_owned())),
        }
    }
}
