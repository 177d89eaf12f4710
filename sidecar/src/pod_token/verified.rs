//! Tokens that were found to be right, so that a pod's next call costs no signature. They go with the keys that they were found right by.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use vectoll_config::KeyHash;

/// So many: a pod has one for ten minutes. Where there are more, those that are used are verified anew.
const MAX_TOKENS: usize = 4096;

/// By the tokens' hashes: none is kept as it is.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<KeyHash, VerifiedToken>>);

#[derive(Debug)]
struct VerifiedToken {
    namespace: Arc<str>,
    /// From here on it is not good any more.
    end: Timestamp,
}

impl Verified {
    fn all(&self) -> MutexGuard<'_, HashMap<KeyHash, VerifiedToken>> {
        // Nothing that could panic is done under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespace of one that is still good.
    pub(super) fn get(&self, token: &str, now: Timestamp) -> Option<Arc<str>> {
        let hash = KeyHash::of(token.as_bytes());
        self.all().get(&hash).filter(|verified| now < verified.end).map(|verified| verified.namespace.clone())
    }

    /// Keeps one until it is not good any more.
    pub(super) fn add(&self, token: &str, namespace: Arc<str>, end: Timestamp, now: Timestamp) {
        let hash = KeyHash::of(token.as_bytes());
        let mut all = self.all();
        if all.len() >= MAX_TOKENS {
            all.retain(|_, verified| now < verified.end);
        }
        if all.len() >= MAX_TOKENS {
            all.clear();
        }
        all.insert(hash, VerifiedToken { namespace, end });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_forgets_what_is_over() {
        let verified = Verified::default();
        let at = |seconds: i64| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds);
        verified.add("a", "shop".into(), at(100), at(0));
        assert_eq!(verified.get("a", at(99)).as_deref(), Some("shop"));
        assert_eq!((verified.get("a", at(100)), verified.get("b", at(0))), (None, None));
        for token in 0..2 * MAX_TOKENS {
            verified.add(&token.to_string(), "crm".into(), at(200), at(150));
            assert!(verified.all().len() <= MAX_TOKENS);
        }
        assert_eq!(verified.get("a", at(0)), None);
        assert_eq!(verified.get(&(2 * MAX_TOKENS - 1).to_string(), at(150)).as_deref(), Some("crm"));
    }
}
