//! Keeps the users of a store, on all of its servers.
//!
//! A server that was restarted may know no users, and sidecars that cannot log in hold less than their limits: so it is looked
//! every two seconds whether the processes are still the same, and every half a minute whether the users are.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{
    access::Access,
    deferred_revocations::DeferredRevocations,
    servers::{self, Memory, Persistence, Server, ServerError},
    users::{User, UsersByName, is_open, plan},
};

/// How often all users are looked at.
const CHECK_PERIOD: Duration = Duration::from_secs(30);
/// How often the servers are.
const GLANCE: Duration = Duration::from_secs(2);
/// The longest that putting everything in order may take. Whoever waits for it goes on without it then.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses after failures: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Called with each new state.
pub type OnStoreState = Box<dyn Fn(&StoreState) + Send + Sync>;

/// Called with how full the store is, whenever that was asked: the fullest of its servers.
pub type Gauge = Box<dyn Fn(Memory) + Send + Sync>;

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum StoreState {
    /// Nothing was tried yet, or another replica leads.
    #[default]
    Unknown,
    /// All servers have these users, and some that linger.
    Good {
        /// Those that were wanted.
        users: Arc<UsersByName>,
        /// How many there are with those that linger.
        count: usize,
        /// Since when a server has no memory left: it takes nothing more.
        full: Option<Instant>,
        /// Whether all of them keep what they are told.
        persistence: Persistence,
    },
    /// A server does not do what it is asked for.
    Trouble {
        /// Since when.
        since: Instant,
        /// A script runs there that cannot be ended.
        busy: bool,
    },
}

impl StoreState {
    /// Whether a namespace's user can be expected to be as wanted before long, and is not yet.
    pub fn is_about_to_have(&self, namespace: &str, wanted: Option<&User>) -> bool {
        match self {
            Self::Unknown => true,
            Self::Good { users, count: _, full: _, persistence: _ } => users.get(namespace) != wanted,
            Self::Trouble { since: _, busy: _ } => false,
        }
    }
}

/// What is to be kept.
#[derive(Clone, PartialEq)]
struct DesiredUsers {
    access: Access,
    scope: String,
    users: Arc<UsersByName>,
}

/// Keeps a store's users. It ends when it is dropped.
pub struct AclReconciler {
    request: watch::Sender<Option<DesiredUsers>>,
    state: Arc<Mutex<StoreState>>,
    task: JoinHandle<()>,
}

impl AclReconciler {
    /// Starts; nothing is done before [`AclReconciler::keep`] says what.
    pub fn start(report: OnStoreState, gauge: Gauge) -> Self {
        let (request, requests) = watch::channel(None);
        let state = Arc::new(Mutex::new(StoreState::Unknown));
        let keeping = AclTask {
            requests,
            state: state.clone(),
            report,
            gauge,
            full: None,
            persistence: None,
            servers: Vec::new(),
            lingering: DeferredRevocations::default(),
            trouble: None,
            warned: false,
        };
        Self { request, state, task: tokio::spawn(keeping.run()) }
    }

    /// Keeps these users from now on.
    pub fn keep(&self, access: Access, scope: &str, users: Arc<UsersByName>) {
        let request = Some(DesiredUsers { access, scope: scope.to_owned(), users });
        self.request.send_if_modified(|present| {
            let is_new = *present != request;
            *present = request;
            is_new
        });
    }

    /// Leaves the users to others.
    pub fn pause(&self) {
        self.request.send_if_modified(|present| present.take().is_some());
    }

    /// How things stand.
    pub fn state(&self) -> StoreState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for AclReconciler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why the users could not be kept.
struct Failure {
    busy: bool,
    words: String,
}

struct AclTask {
    requests: watch::Receiver<Option<DesiredUsers>>,
    state: Arc<Mutex<StoreState>>,
    report: OnStoreState,
    gauge: Gauge,
    /// Since when it is full.
    full: Option<Instant>,
    /// Whether all servers keep what they are told, once that was asked.
    persistence: Option<Persistence>,
    servers: Vec<Server>,
    lingering: DeferredRevocations,
    /// Since when, how often, and the last error.
    trouble: Option<(Instant, u32, String)>,
    /// Whether it was said that anyone may log in.
    warned: bool,
}

impl AclTask {
    async fn run(mut self) {
        loop {
            let request = self.requests.borrow_and_update().clone();
            let Some(request) = request else {
                self.servers.clear();
                self.lingering = DeferredRevocations::default();
                self.trouble = None;
                self.set_state(&StoreState::Unknown);
                if self.requests.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let pause = match self.sync_users(&request).await {
                Ok(count) => {
                    if self.trouble.take().is_some() {
                        tracing::info!(store = %request.access.url, "the store's users are in order again");
                    }
                    self.check_connections(&request, count).await;
                    continue;
                }
                Err(error) => self.failed(&request, error),
            };
            self.servers.clear();
            // New requests wait as well: whoever asks for them goes on without the store.
            let resigned = async { self.requests.wait_for(Option::is_none).await.is_ok() };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = resigned => {}
            }
        }
    }

    /// All of it, once. How many users there are.
    async fn sync_users(&mut self, request: &DesiredUsers) -> Result<usize, Failure> {
        let work = async {
            let DesiredUsers { access, scope, users } = request;
            self.servers = servers::connect(access).await?;
            let mut lists = Vec::new();
            for server in &mut self.servers {
                lists.push(server.list().await?);
                if server.load().await? {
                    tracing::info!(store = %access.url, "the store was given the functions that sidecars call");
                }
            }
            self.ask_for_persistence().await?;
            let now = Instant::now();
            if self.trouble.is_some() {
                self.lingering.begin_anew(now);
            }
            let all: Vec<&[String]> = lists.iter().map(Vec::as_slice).collect();
            let all = self.lingering.with(scope, users, &all, now);
            let mut failed = None;
            for (server, list) in self.servers.iter_mut().zip(&lists) {
                let steps = plan(scope, &all, list);
                if steps.is_empty() {
                    continue;
                }
                match server.apply(&steps).await {
                    Ok(()) => {
                        tracing::info!(store = %access.url, changes = steps.len(), "the store's users were written");
                    }
                    // The others get theirs all the same.
                    Err(error) => failed = Some(error),
                }
            }
            if lists.iter().any(|list| is_open(list)) && !self.warned {
                self.warned = true;
                tracing::warn!(store = %access.url, "the store's default user has no password: anyone who reaches it can do anything");
            }
            failed.map_or(Ok(all.len()), Err)
        };
        match timeout(CHECK_TIMEOUT, work).await {
            Ok(done) => done.map_err(|error: ServerError| Failure {
                busy: error.is_busy(),
                words: format!("{:#}", anyhow::Error::from(error)),
            }),
            Err(_) => Err(Failure { busy: false, words: format!("no answer in {CHECK_TIMEOUT:?}") }),
        }
    }

    /// Asks whether the servers keep what they are told: the worst of them counts.
    async fn ask_for_persistence(&mut self) -> Result<(), ServerError> {
        let mut worst = Persistence::Kept;
        for server in &mut self.servers {
            worst = worst.max(server.persistence().await?);
        }
        if self.persistence.replace(worst) == Some(worst) {
            return Ok(());
        }
        match worst {
            Persistence::Kept => {}
            Persistence::Unknown => tracing::warn!(
                "whether the store keeps its data over a restart is unknown: this login may not ask for it. Without an append-only file or a \
                 replica budgets can be overspent while it restarts"
            ),
            Persistence::Volatile => tracing::warn!(
                "the store writes no append-only file and has no replica: when it restarts all counts are lost until the sidecars have told them \
                 again, and budgets can be overspent. Set `appendonly yes`"
            ),
        }
        Ok(())
    }

    /// Waits for a reason to look at all of it again.
    async fn check_connections(&mut self, request: &DesiredUsers, count: usize) {
        let until = Instant::now() + CHECK_PERIOD;
        while Instant::now() < until {
            if !self.weigh().await {
                tokio::time::sleep(FIRST_PAUSE).await;
                return;
            }
            let (users, persistence) = (request.users.clone(), self.persistence.unwrap_or_default());
            self.set_state(&StoreState::Good { users, count, full: self.full, persistence });
            tokio::select! {
                changed = self.requests.changed() => {
                    // Whoever could ask is gone: the task is about to be aborted.
                    if changed.is_err() { std::future::pending::<()>().await }
                    return;
                }
                () = tokio::time::sleep(GLANCE) => {}
            }
            for server in &mut self.servers {
                if !server.answers().await {
                    return;
                }
            }
        }
    }

    /// Asks how full the servers are. False: one does not answer.
    async fn weigh(&mut self) -> bool {
        let mut fullest = None::<Memory>;
        for server in &mut self.servers {
            let Ok(memory) = server.memory().await else { return false };
            let Some(memory) = memory else { continue };
            let is_fuller = |than: Memory| {
                u128::from(memory.used) * u128::from(than.max) > u128::from(than.used) * u128::from(memory.max)
            };
            if fullest.is_none_or(is_fuller) {
                fullest = Some(memory);
            }
        }
        let Some(memory) = fullest else { return true };
        (self.gauge)(memory);
        match (memory.is_full(), self.full) {
            (true, None) => {
                tracing::error!(
                    used_bytes = memory.used,
                    max_bytes = memory.max,
                    "the store is full: it counts nothing more. Give it more memory, or find out who fills it: the table of sizes is in charts/vectoll/docs/sizing.md"
                );
                self.full = Some(Instant::now());
            }
            (false, Some(_)) => {
                tracing::info!("the store has room again");
                self.full = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        true
    }

    fn failed(&mut self, request: &DesiredUsers, failure: Failure) -> Duration {
        let Failure { busy, words: error } = failure;
        let (since, failures, known) = self.trouble.take().unwrap_or_else(|| (Instant::now(), 0, String::new()));
        if known != error {
            // Once for each: the metric says how long it lasts.
            tracing::warn!(store = %request.access.url, error, "the store's users cannot be kept; it is tried again");
        }
        self.trouble = Some((since, failures + 1, error));
        self.set_state(&StoreState::Trouble { since, busy });
        (FIRST_PAUSE * 2u32.saturating_pow(failures.min(8))).min(LAST_PAUSE)
    }

    fn set_state(&self, state: &StoreState) {
        let mut present = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *present == *state {
            return;
        }
        *present = state.clone();
        drop(present);
        (self.report)(state);
    }
}
