//! Vectors that are kept for the next call with the same text, and texts that are being embedded at this moment.
//!
//! A key is a hash of all that a vector depends on, and of the Team: no Team sees what another one has asked for, not even by
//! the time that an answer takes. Of several calls that want the same text at once, the first asks for it and pays; the others
//! wait for it, and get it for nothing. If it fails, one of them asks next; who has waited long enough asks on its own.
//!
//! A sidecar's routes have a bound each, which whoever writes them sets. In a gateway those are many, who are not to fill its memory: all
//! vectors are kept in one place, within one bound, and each namespace finds its own there only.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use moka::{Expiry, sync};
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

impl Key {
    /// The same within a part of what is kept for all.
    fn within(self, part: [u8; 32]) -> Self {
        let mut bytes = self.0;
        for (byte, of_part) in bytes.iter_mut().zip(part) {
            *byte ^= of_part;
        }
        Self(bytes)
    }
}

/// What is kept for all namespaces: each vector with how long it is good.
type Common = sync::Cache<Key, (Vector, Duration)>;

/// Where vectors are kept.
#[derive(Debug)]
enum VectorStorage {
    /// In a place of the route's own.
    Own(sync::Cache<Key, Vector>),
    /// Among all, under keys that no other part has: `part` is a hash of whose it is.
    Common { all: Common, part: [u8; 32], ttl: Duration },
}

impl VectorStorage {
    fn get(&self, key: Key) -> Option<Vector> {
        match self {
            Self::Own(vectors) => vectors.get(&key),
            Self::Common { all, part, ttl: _ } => all.get(&key.within(*part)).map(|(vector, _)| vector),
        }
    }

    fn insert(&self, key: Key, vector: Vector) {
        match self {
            Self::Own(vectors) => vectors.insert(key, vector),
            Self::Common { all, part, ttl } => all.insert(key.within(*part), (vector, *ttl)),
        }
    }
}

/// Each vector is good as long as its route says.
struct ByEntry;

impl Expiry<Key, (Vector, Duration)> for ByEntry {
    fn expire_after_create(&self, _: &Key, (_, ttl): &(Vector, Duration), _: Instant) -> Option<Duration> {
        Some(*ttl)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        (_, ttl): &(Vector, Duration),
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(*ttl)
    }
}

fn weight(vector: &Vector) -> u32 {
    u32::try_from(vector.len() * size_of::<f32>() + OVERHEAD).unwrap_or(u32::MAX)
}

/// The vectors of one route.
#[derive(Debug)]
pub struct Cache {
    storage: VectorStorage,
    in_flight: Mutex<HashMap<Key, watch::Receiver<Option<Vector>>>>,
}

/// What the cache has of a text.
#[derive(Debug)]
pub enum Lookup {
    /// Its vector.
    Hit(Vector),
    /// Nothing: it is this call's to ask for it.
    Lead(Lead),
    /// Another call asks for it.
    Follow(Follow),
}

impl Cache {
    fn new(settings: v1::Cache) -> Self {
        let v1::Cache { ttl_seconds, max_bytes } = settings;
        let vectors = sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &Key, vector: &Vector| weight(vector))
            .time_to_live(Duration::from_secs(ttl_seconds.into()))
            .build();
        Self { storage: VectorStorage::Own(vectors), in_flight: Mutex::default() }
    }

    /// One that keeps its vectors among all.
    fn among(all: &Common, namespace: &str, (route, space, settings): (&str, u64, v1::Cache)) -> Self {
        let v1::Cache { ttl_seconds, max_bytes: _ } = settings;
        let mut hash = Sha256::new();
        for part in [namespace.as_bytes(), route.as_bytes(), &space.to_be_bytes(), &ttl_seconds.to_be_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let ttl = Duration::from_secs(ttl_seconds.into());
        let storage = VectorStorage::Common { all: all.clone(), part: hash.finalize().into(), ttl };
        Self { storage, in_flight: Mutex::default() }
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<Vector>>>> {
        // Nothing that could panic is done under it.
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a text up.
    pub fn lookup(self: &Arc<Self>, key: Key) -> Lookup {
        if let Some(vector) = self.storage.get(key) {
            return Lookup::Hit(vector);
        }
        let mut in_flight = self.in_flight();
        if let Some(other) = in_flight.get(&key) {
            return Lookup::Follow(Follow(other.clone()));
        }
        // It may have come in between.
        if let Some(vector) = self.storage.get(key) {
            return Lookup::Hit(vector);
        }
        let (to, from) = watch::channel(None);
        in_flight.insert(key, from);
        Lookup::Lead(Lead { cache: self.clone(), key, to })
    }

    /// A text that is asked for though another call may ask for it as well, or has its vector.
    pub fn alone(self: &Arc<Self>, key: Key) -> CacheFill {
        CacheFill::Alone(self.clone(), key)
    }
}

/// The place of a text that a call asks for: the vector fills it.
#[derive(Debug)]
pub enum CacheFill {
    /// Others wait for it.
    Lead(Lead),
    /// Nobody does.
    Alone(Arc<Cache>, Key),
}

impl CacheFill {
    /// Keeps the vector, in place of the one that is kept, and hands it over.
    pub fn fill(self, vector: &Vector) {
        match self {
            Self::Lead(lead) => lead.fill(vector),
            Self::Alone(cache, key) => cache.storage.insert(key, vector.clone()),
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
    fn fill(self, vector: &Vector) {
        self.cache.storage.insert(self.key, vector.clone());
        self.to.send_replace(Some(vector.clone()));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.cache.in_flight().remove(&self.key);
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
pub struct Caches {
    by_route: Arc<Mutex<HashMap<CacheOf, Weak<Cache>>>>,
    /// Where all of them keep their vectors, and for which namespace; none: each has a place of its own.
    common: Option<(Common, Arc<str>)>,
}

/// A route's cache: another one where anything changes that vectors depend on.
type CacheOf = (Arc<str>, u64, v1::Cache);

impl Caches {
    /// Those of many namespaces, which keep at most so many bytes together, whatever their routes say.
    pub fn within(max_bytes: u64) -> Self {
        let common = sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &Key, (vector, _): &(Vector, Duration)| weight(vector))
            .expire_after(ByEntry)
            .build();
        Self { by_route: Arc::default(), common: Some((common, "".into())) }
    }

    /// One namespace's: it finds no other one's vectors, though a route and a Team may be the same.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Self {
        let common = self.common.as_ref().map(|(common, _)| (common.clone(), namespace.into()));
        Self { by_route: Arc::default(), common }
    }

    /// The cache of a route. `space` is a hash of what its vectors depend on.
    pub fn of(&self, route: &str, space: u64, settings: v1::Cache) -> Arc<Cache> {
        let mut by_route = self.by_route.lock().unwrap_or_else(PoisonError::into_inner);
        by_route.retain(|_, cache| cache.strong_count() > 0);
        let of = (Arc::from(route), space, settings);
        if let Some(cache) = by_route.get(&of).and_then(Weak::upgrade) {
            return cache;
        }
        let cache = Arc::new(match &self.common {
            Some((all, namespace)) => Cache::among(all, namespace, (route, space, settings)),
            None => Cache::new(settings),
        });
        by_route.insert(of, Arc::downgrade(&cache));
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
        match cache.lookup(key) {
            Lookup::Lead(lead) => lead,
            other @ (Lookup::Hit(_) | Lookup::Follow(_)) => unreachable!("{other:?}"),
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
        let Lookup::Follow(waiting) = cache.lookup(key("a")) else { unreachable!("it is in flight") };
        let waiting = tokio::spawn(waiting.vector());
        let vector: Vector = vec![1.0, 2.0].into();
        first.fill(&vector);
        assert_eq!(waiting.await.unwrap(), Some(vector.clone()));
        assert!(matches!(cache.lookup(key("a")), Lookup::Hit(kept) if kept == vector));
        assert!(cache.in_flight().is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_one_that_fails_is_told() {
        let cache = Arc::new(Cache::new(SETTINGS));
        let first = lead(&cache, key("a"));
        let Lookup::Follow(waiting) = cache.lookup(key("a")) else { unreachable!("it is in flight") };
        drop(first);
        assert_eq!(waiting.vector().await, None);
        drop(lead(&cache, key("a")));
    }

    #[test]
    fn bytes_are_bounded() {
        let cache = Arc::new(Cache::new(SETTINGS));
        for at in 0..2_000 {
            lead(&cache, key(&at.to_string())).fill(&vec![0.5; 1536].into());
        }
        let VectorStorage::Own(vectors) = &cache.storage else { unreachable!("it has a place of its own") };
        vectors.run_pending_tasks();
        assert!(vectors.weighted_size() <= SETTINGS.max_bytes, "{}", vectors.weighted_size());
        assert!(vectors.entry_count() > 100);
    }

    #[test]
    fn namespaces_keep_theirs_within_one_bound_and_find_no_others() {
        let caches = Caches::within(1 << 20);
        let of = |namespace: &str| caches.of_namespace(namespace).of("models/a", 1, SETTINGS);
        let (shop, crm) = (of("shop"), of("crm"));
        lead(&shop, key("a")).fill(&vec![1.0].into());
        assert!(matches!(shop.lookup(key("a")), Lookup::Hit(_)));
        assert!(matches!(of("shop").lookup(key("a")), Lookup::Hit(_)), "as after a reload");
        drop(lead(&crm, key("a")));
        let other = caches.of_namespace("shop").of("models/a", 2, SETTINGS);
        drop(lead(&other, key("a")));
        for at in 0..2_000 {
            lead(if at % 2 == 0 { &shop } else { &crm }, key(&at.to_string())).fill(&vec![0.5; 1536].into());
        }
        let VectorStorage::Common { all, .. } = &shop.storage else { unreachable!("it is a gateway's") };
        all.run_pending_tasks();
        assert!(all.weighted_size() <= 1 << 20 && all.entry_count() > 100, "{}", all.weighted_size());
    }

    #[test]
    fn each_entry_is_good_as_long_as_its_route_says() {
        let caches = Caches::within(1 << 20).of_namespace("shop");
        let short = caches.of("shop/a", 1, v1::Cache { ttl_seconds: 1, max_bytes: 1 << 20 });
        let long = caches.of("shop/b", 1, SETTINGS);
        lead(&short, key("a")).fill(&vec![1.0].into());
        lead(&long, key("a")).fill(&vec![1.0].into());
        std::thread::sleep(Duration::from_millis(1_100));
        assert!(matches!(long.lookup(key("a")), Lookup::Hit(_)));
        drop(lead(&short, key("a")));
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
