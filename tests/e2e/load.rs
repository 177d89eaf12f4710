//! Callers, many at once, and what they were told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::ensure;
use serde_json::json;
use vectoll_tests::caller::{Answer, Caller};

use crate::network::{Network, joined};

/// 9 tokens in cl100k.
pub const NINE_TOKENS: &str = "The quick brown fox jumps over the lazy dog";

/// From where, and to where. Each caller has connections of its own.
#[derive(Clone, Debug)]
pub struct Way {
    pub name: &'static str,
    pub network: Network,
    pub url: String,
    /// The CA to trust and the address of the host in the URL, where it is the gateway's.
    pub gateway: Option<(String, std::net::SocketAddr)>,
}

impl Way {
    /// Someone who comes that way, without a key.
    pub fn caller(&self) -> anyhow::Result<Caller> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(40));
        if let Some((ca, address)) = &self.gateway {
            let host = self.url.trim_start_matches("https://");
            client = client.tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes())?]).resolve(host, *address);
        }
        Ok(Caller::with(client.build()?, &self.url, ""))
    }

    /// One call, waited for.
    pub fn ask(&self, ask: &Ask) -> anyhow::Result<Answer> {
        let (way, ask) = (self.clone(), ask.clone());
        self.network.run(async move || ask.send(&way.caller()?).await)
    }

    /// Any path.
    pub fn get(&self, path: &str, key: &str) -> anyhow::Result<Answer> {
        let (way, path, key) = (self.clone(), path.to_owned(), key.to_owned());
        self.network.run(async move || way.caller()?.with_key(&key).get(&path).await)
    }
}

/// What is asked for, and as whom.
#[derive(Clone, Debug)]
pub struct Ask {
    pub model: &'static str,
    pub headers: Vec<(&'static str, String)>,
}

impl Ask {
    /// With a key.
    pub fn with_key(model: &'static str, key: &str) -> Self {
        Self { model, headers: vec![("authorization", format!("Bearer {key}"))] }
    }

    /// As a sidecar does it, with its pod's token and the name of an ApiKey.
    pub fn with_token(model: &'static str, token: &str, key: &str) -> Self {
        Self { model, headers: vec![("x-vectoll-pod-token", token.to_owned()), ("x-vectoll-pod-key", key.to_owned())] }
    }

    async fn send(&self, caller: &Caller) -> anyhow::Result<Answer> {
        let body = json!({"model": self.model, "input": NINE_TOKENS});
        caller
            .raw(|http, url| {
                let request = http.post(format!("{url}/v1/embeddings")).json(&body);
                self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value))
            })
            .await
    }
}

/// How many answers there were of each kind, by status and code; of each the last message. `no answer`: the connection broke, or none came about.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<(&'static str, String), (u64, String)>);

impl Tally {
    fn add(&mut self, way: &'static str, answer: &anyhow::Result<Answer>) {
        let (kind, message) = match answer {
            Ok(answer) => (format!("{} {}", answer.status, answer.code()), answer.message().to_owned()),
            Err(error) => ("no answer".to_owned(), format!("{error:#}")),
        };
        let entry = self.0.entry((way, kind.trim_end().to_owned())).or_default();
        *entry = (entry.0 + 1, message);
    }

    /// How many of a kind, by any way or by this one.
    pub fn of(&self, way: Option<&str>, kind: &str) -> u64 {
        let is_meant = |of: &str| way.is_none_or(|way| way == of);
        self.0.iter().filter(|((of, is), _)| is_meant(of) && is == kind).map(|(_, (count, _))| count).sum()
    }

    pub fn all(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }

    /// That a way's answers are of these kinds, and of no other.
    pub fn ensure_only(&self, way: &str, kinds: &[&str]) -> anyhow::Result<()> {
        for ((of, kind), (count, message)) in &self.0 {
            ensure!(*of != way || kinds.contains(&&**kind), "{count} callers by {way} got {kind}: {message}");
        }
        Ok(())
    }

    pub fn add_all(&mut self, other: &Self) {
        for (kind, (count, message)) in &other.0 {
            let entry = self.0.entry(kind.clone()).or_default();
            *entry = (entry.0 + count, message.clone());
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = self.0.iter().map(|((way, kind), (count, _))| format!("{count} × {kind} by {way}"));
        formatter.write_str(&kinds.collect::<Vec<String>>().join(", "))
    }
}

/// Calls that go on until they are stopped, or are so many.
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    callers: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// How a load is made.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At once, for each way and each ask.
    pub callers: usize,
    /// Between an answer and the next call of the same caller.
    pub pause: Duration,
    /// Of each ask, by all ways together.
    pub calls: u64,
}

impl Load {
    /// Each of the asks by each of its ways.
    pub fn start(asks: &[(Way, Ask)], pace: Pace) -> anyhow::Result<Self> {
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Tally::default())));
        let mut left: BTreeMap<&str, Arc<AtomicU64>> = BTreeMap::new();
        let mut callers = Vec::new();
        for (way, ask) in asks {
            let left = left.entry(ask.model).or_insert_with(|| Arc::new(AtomicU64::new(pace.calls))).clone();
            let (way, ask, stop, tally) = (way.clone(), ask.clone(), stop.clone(), tally.clone());
            callers.push(way.network.clone().spawn(async move || {
                let all = (0..pace.callers).map(|_| calls(&way, &ask, pace.pause, &stop, &tally, &left));
                futures_util::future::try_join_all(all).await.map(drop)
            })?);
        }
        Ok(Self { stop, tally, callers })
    }

    /// Waits until all calls were made.
    pub fn end(self) -> anyhow::Result<Tally> {
        for caller in self.callers {
            joined(caller)?;
        }
        Ok(std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Lets no further call be made, and waits for those under way.
    pub fn stop(self) -> anyhow::Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.end()
    }

    /// How many calls have ended.
    pub fn so_far(&self) -> u64 {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).all()
    }
}

async fn calls(
    way: &Way,
    ask: &Ask,
    pause: Duration,
    stop: &AtomicBool,
    tally: &Mutex<Tally>,
    left: &AtomicU64,
) -> anyhow::Result<()> {
    let caller = way.caller()?;
    let takes_one = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    while !stop.load(Ordering::Relaxed) && takes_one() {
        let answer = ask.send(&caller).await;
        tally.lock().unwrap_or_else(PoisonError::into_inner).add(way.name, &answer);
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
