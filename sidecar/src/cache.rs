//! Vectors that are kept for the next call with the same text, and texts that are being embedded at this moment.
//!
//! A key is a hash of all that a vector depends on, and of the Team: no Team sees what another one has asked for, not even by
//! the time that an answer takes. Of several calls that want the same text at once, the first asks for it and pays; the others
//! wait for it, and get it for nothing. If it fails, one of them asks next; who has waited long enough asks on its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use moka::sync;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use vectoll_config::{Uid, v1};

use vectoll_api::request::InputType;

/// What an entry takes beside its numbers, about: the key, the entry of the table, its place in the queues.
const OVERHEAD: usize = 256;

/// A vector.
pub type Vector = Arc<[f32]>;

/// What a vector is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// All that a vector depends on, beside its text.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// Whose it is.
    pub team: &'a Uid,
    /// The model's public name.
    pub model: &'a str,
    /// How many numbers it has; none: the model's own number.
    pub dimensions: Option<u64>,
    /// What the text is.
    pub input_type: InputType,
    /// The body's own word for that: some providers are sent it as it is, and hear nothing else.
    pub provider_input_type: Option<&'a str>,
    /// What the call says beyond OpenAI's fields, written in one way.
    pub extensions: &'a str,
}

impl Of<'_> {
    /// The key of a text.
    pub fn key(&self, text: &str) -> Key {
        let Self { team, model, dimensions, input_type, provider_input_type, extensions } = self;
        let input_type: &[u8] = match input_type {
            InputType::Query => b"query",
            InputType::Document => b"document",
        };
        let dimensions = dimensions.unwrap_or(0).to_be_bytes();
        let (has_input_type, provider_input_type) =
            ([u8::from(provider_input_type.is_some())], provider_input_type.map_or(&b""[..], str::as_bytes));
        let mut hash = Sha256::new();
        let (team, model, extensions) = (team.as_str().as_bytes(), model.as_bytes(), extensions.as_bytes());
        for part in
            [team, model, &dimensions, input_type, &has_input_type, provider_input_type, extensions, text.as_bytes()]
        {
            // With its length: else a part could begin where another one ends.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Key(hash.finalize().into())
    }
}

/// The vectors of one route.
#[derive(Debug)]
pub struct Cache {
    held: sync::Cache<Key, Vector>,
    under_way: Mutex<HashMap<Key, watch::Receiver<Option<Vector>>>>,
}

/// What there is of a text.
#[derive(Debug)]
pub enum Found {
    /// Its vector.
    Held(Vector),
    /// Nothing: it is this call's to ask for it.
    Lead(Lead),
    /// Another call asks for it.
    Follow(Follow),
}

impl Cache {
    fn new(settings: v1::Cache) -> Self {
        let v1::Cache { ttl_seconds, max_bytes } = settings;
        let weight =
            |_: &Key, vector: &Vector| u32::try_from(vector.len() * size_of::<f32>() + OVERHEAD).unwrap_or(u32::MAX);
        let held = sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(weight)
            .time_to_live(Duration::from_secs(ttl_seconds.into()))
            .build();
        Self { held, under_way: Mutex::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<Vector>>>> {
        // Nothing that could panic is done under it.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a text.
    pub fn look(self: &Arc<Self>, key: Key) -> Found {
        if let Some(vector) = self.held.get(&key) {
            return Found::Held(vector);
        }
        let mut under_way = self.under_way();
        if let Some(other) = under_way.get(&key) {
            return Found::Follow(Follow(other.clone()));
        }
        // It may have come in between.
        if let Some(vector) = self.held.get(&key) {
            return Found::Held(vector);
        }
        let (to, from) = watch::channel(None);
        under_way.insert(key, from);
        Found::Lead(Lead { cache: self.clone(), key, to })
    }

    /// A text that is asked for though another call may ask for it as well, or has its vector.
    pub fn alone(self: &Arc<Self>, key: Key) -> Wanted {
        Wanted::Alone(self.clone(), key)
    }
}

/// A text that a call asks for.
#[derive(Debug)]
pub enum Wanted {
    /// Others wait for it.
    Lead(Lead),
    /// Nobody does.
    Alone(Arc<Cache>, Key),
}

impl Wanted {
    /// Keeps the vector, in place of the one that is kept, and hands it over.
    pub fn found(self, vector: &Vector) {
        match self {
            Self::Lead(lead) => lead.found(vector),
            Self::Alone(cache, key) => cache.held.insert(key, vector.clone()),
        }
    }
}

/// The task to ask for a text. Dropped without its vector, those who wait for it ask on their own.
#[derive(Debug)]
pub struct Lead {
    cache: Arc<Cache>,
    key: Key,
    to: watch::Sender<Option<Vector>>,
}

impl Lead {
    /// Hands the vector over, and keeps it.
    fn found(self, vector: &Vector) {
        self.cache.held.insert(self.key, vector.clone());
        self.to.send_replace(Some(vector.clone()));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.cache.under_way().remove(&self.key);
    }
}

/// Waiting for another call's vector.
#[derive(Debug)]
pub struct Follow(watch::Receiver<Option<Vector>>);

impl Follow {
    /// The vector; none: the other call has failed.
    pub async fn vector(mut self) -> Option<Vector> {
        let _ = self.0.wait_for(Option::is_some).await;
        // Its sender is gone: it was sent before, or never.
        self.0.borrow().clone()
    }
}

/// The caches of all routes. A handle: clones share them. A reload does not empty them.
#[derive(Clone, Debug, Default)]
pub struct Caches(Arc<Mutex<HashMap<CacheOf, Weak<Cache>>>>);

/// A route's cache: another one where anything changes that vectors depend on.
type CacheOf = (Arc<str>, u64, v1::Cache);

impl Caches {
    /// The cache of a route. `space` is a hash of what its vectors depend on.
    pub fn of(&self, route: &str, space: u64, settings: v1::Cache) -> Arc<Cache> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, cache| cache.strong_count() > 0);
        let of = (Arc::from(route), space, settings);
        if let Some(cache) = known.get(&of).and_then(Weak::upgrade) {
            return cache;
        }
        let cache = Arc::new(Cache::new(settings));
        known.insert(of, Arc::downgrade(&cache));
        cache
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SETTINGS: v1::Cache = v1::Cache { ttl_seconds: 60, max_bytes: 1 << 20 };

    fn of(team: &Uid) -> Of<'_> {
        Of {
            team,
            model: "m",
            dimensions: None,
            input_type: InputType::Document,
            provider_input_type: None,
            extensions: "",
        }
    }

    fn key(text: &str) -> Key {
        of(&Uid::new("t")).key(text)
    }

    fn lead(cache: &Arc<Cache>, key: Key) -> Lead {
        match cache.look(key) {
            Found::Lead(lead) => lead,
            other @ (Found::Held(_) | Found::Follow(_)) => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_all_that_a_vector_depends_on() {
        let (one, other) = (Uid::new("t"), Uid::new("u"));
        let of = of(&one);
        let same = of.key("text");
        assert_eq!(same, of.key("text"));
        for different in [
            of.key("text "),
            Of { team: &other, ..of }.key("text"),
            Of { model: "n", ..of }.key("text"),
            Of { dimensions: Some(8), ..of }.key("text"),
            Of { input_type: InputType::Query, ..of }.key("text"),
            Of { extensions: "{\"task\":\"a\"}", ..of }.key("text"),
        ] {
            assert_ne!(same, different);
        }
    }

    #[tokio::test]
    async fn one_asks_and_the_others_wait() {
        let cache = Arc::new(Cache::new(SETTINGS));
        let first = lead(&cache, key("a"));
        let Found::Follow(waiting) = cache.look(key("a")) else { unreachable!("it is under way") };
        let waiting = tokio::spawn(waiting.vector());
        let vector: Vector = vec![1.0, 2.0].into();
        first.found(&vector);
        assert_eq!(waiting.await.unwrap(), Some(vector.clone()));
        assert!(matches!(cache.look(key("a")), Found::Held(held) if held == vector));
        assert!(cache.under_way().is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_one_that_fails_is_told() {
        let cache = Arc::new(Cache::new(SETTINGS));
        let first = lead(&cache, key("a"));
        let Found::Follow(waiting) = cache.look(key("a")) else { unreachable!("it is under way") };
        drop(first);
        assert_eq!(waiting.vector().await, None);
        drop(lead(&cache, key("a")));
    }

    #[test]
    fn bytes_are_bounded() {
        let cache = Arc::new(Cache::new(SETTINGS));
        for at in 0..2_000 {
            lead(&cache, key(&at.to_string())).found(&vec![0.5; 1536].into());
        }
        cache.held.run_pending_tasks();
        assert!(cache.held.weighted_size() <= SETTINGS.max_bytes, "{}", cache.held.weighted_size());
        assert!(cache.held.entry_count() > 100);
    }

    #[test]
    fn a_reload_empties_nothing_that_did_not_change() {
        let caches = Caches::default();
        let cache = caches.of("shop/a", 1, SETTINGS);
        assert!(Arc::ptr_eq(&cache, &caches.of("shop/a", 1, SETTINGS)));
        for other in [caches.of("shop/b", 1, SETTINGS), caches.of("shop/a", 2, SETTINGS)] {
            assert!(!Arc::ptr_eq(&cache, &other));
        }
    }
}
