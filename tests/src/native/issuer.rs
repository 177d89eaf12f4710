//! Tokens that a provider's own issuer gives out, for a time, and takes back.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Refusal, Request};

/// What was issued. A handle: clones share it.
#[derive(Debug, Clone, Default)]
pub struct Issuer(Arc<Mutex<Tokens>>);

#[derive(Debug)]
struct Tokens {
    /// What they begin with.
    name: &'static str,
    issued: Vec<Token>,
    /// Those before are good no more.
    good_from: usize,
    life: Duration,
    closed: bool,
    /// The least time that was left of a token when the next one was given.
    spare: Option<Duration>,
}

/// A token, and until when it is good: a whole second, as AWS tells it.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) ends: SystemTime,
}

impl Token {
    /// The whole seconds that are left.
    pub(crate) fn seconds(&self) -> u64 {
        self.ends.duration_since(SystemTime::now()).unwrap_or_default().as_secs()
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self { name: "", issued: Vec::new(), good_from: 0, life: Duration::from_hours(1), closed: false, spare: None }
    }
}

impl Issuer {
    /// One whose tokens begin with this.
    pub fn named(name: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Tokens { name, ..Tokens::default() })))
    }

    /// How long tokens are good from now on.
    pub fn live(&self, life: Duration) {
        self.tokens().life = life;
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All tokens up to now.
    pub fn issued(&self) -> Vec<String> {
        self.tokens().issued.iter().map(|token| token.text.clone()).collect()
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
        if *request.method != http::Method::POST || !is_form || form != wanted {
            return Err(form);
        }
        self.give().map(|token| token.text).ok_or(form)
    }

    /// The least time that was left of any token when the next one was given.
    pub fn spare(&self) -> Option<Duration> {
        self.tokens().spare
    }

    /// A new token; none: questions are refused.
    pub(crate) fn give(&self) -> Option<Token> {
        let mut tokens = self.tokens();
        if tokens.closed {
            return None;
        }
        if let Some(last) = tokens.issued.last() {
            let left = last.ends.duration_since(SystemTime::now()).unwrap_or_default();
            tokens.spare = Some(tokens.spare.map_or(left, |spare| spare.min(left)));
        }
        let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + tokens.life;
        let text = format!("{}token-{}-kept-by-nobody", tokens.name, tokens.issued.len());
        let token = Token { text, ends: UNIX_EPOCH + Duration::from_secs(ends.as_secs()) };
        tokens.issued.push(token.clone());
        Some(token)
    }

    /// Whether a request has a token that is good.
    pub(crate) fn check(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let found = request.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.judge(found.strip_prefix("Bearer ").unwrap_or_default())
    }

    /// Whether a token is good. Who holds one knows when it ends: to use it later is wrong.
    pub(crate) fn judge(&self, text: &str) -> Result<(), Refusal> {
        let tokens = self.tokens();
        let Some((place, token)) = tokens.issued.iter().enumerate().find(|(_, token)| token.text == text) else {
            return Err(Refusal::Wrong("it is no token that was issued".to_owned()));
        };
        if SystemTime::now() >= token.ends {
            return Err(Refusal::Wrong(format!("token {place} was used after its end")));
        }
        if place >= tokens.good_from { Ok(()) } else { Err(Refusal::Outdated) }
    }
}
