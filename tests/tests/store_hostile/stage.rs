//! The store, who keeps it, and a login of a namespace that speaks to it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use redis::{Value, aio::MultiplexedConnection, cmd};
use tokio::sync::watch;
use vectoll_config::{
    Uid,
    store::{Function, Library, caller, team_prefix, user_name},
    v1::OnStoreFailure,
};
use vectoll_operator::store::{Access, AclReconciler, Memory, Password, StoreState, User, UsersByName};
use vectoll_tests::store::{PASSWORD, Store};

pub(super) const SCOPE: &str = "vectoll-system.vectoll-operator";
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// Nothing but who speaks, as an exchange says it.
pub(super) const NOTHING: [&str; 16] =
    ["one", "1", "1", "0", "0", "2000", "4000", "5", "0", "0", "0", "0", "0", "0", "0", "0"];

pub(super) fn access(url: &str) -> Access {
    Access {
        url: url.parse().unwrap(),
        username: None,
        password: Some(Password::new(PASSWORD)),
        ca: None,
        on_failure: OnStoreFailure::Local,
    }
}

pub(super) fn wanted() -> Arc<UsersByName> {
    let user = User::of(SCOPE, "apps", &[Uid::new("t1")], [Password::new("one").hash()]);
    Arc::new([("apps".to_owned(), user)].into())
}

/// A keeper, and what it says.
pub(super) struct Kept {
    pub(super) keeper: AclReconciler,
    pub(super) state: watch::Receiver<StoreState>,
    pub(super) memory: watch::Receiver<Memory>,
}

pub(super) fn keep(url: &str) -> Kept {
    let (told, state) = watch::channel(StoreState::Unknown);
    let (weighed, memory) = watch::channel(Memory::default());
    let report = move |state: &StoreState| drop(told.send_replace(state.clone()));
    let keeper = AclReconciler::start(Box::new(report), Box::new(move |memory| _ = weighed.send_replace(memory)));
    keeper.keep(access(url), SCOPE, wanted());
    Kept { keeper, state, memory }
}

impl Kept {
    pub(super) async fn until(&mut self, what: impl Fn(&StoreState) -> bool) -> anyhow::Result<()> {
        let heard = tokio::time::timeout(DEADLINE, self.state.wait_for(|state| what(state))).await;
        heard.map(|heard| heard.map(|_| ())).with_context(|| format!("it stands {:?}", self.keeper.state()))??;
        Ok(())
    }
}

pub(super) fn is_good(state: &StoreState) -> bool {
    matches!(state, StoreState::Good { full: None, .. })
}

pub(super) async fn apps(store: &Store) -> anyhow::Result<MultiplexedConnection> {
    store.log_in(&user_name(SCOPE, "apps"), "one").await
}

/// An exchange of some words, by a sidecar of the namespace `apps`.
pub(super) async fn exchange(connection: &mut MultiplexedConnection, words: &[&str]) -> redis::RedisResult<Value> {
    let function = Library::current().function(Function::Exchange);
    let mut call = cmd("FCALL");
    call.arg(function).arg(1).arg(team_prefix(&Uid::new("t1"))).arg(words).arg(caller(Some(SCOPE), "apps"));
    call.query_async(connection).await
}

/// `NOTHING` with other words from a place on.
pub(super) fn with(place: usize, words: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = NOTHING.map(str::to_owned).to_vec();
    let end = all.len().min(place + 1);
    all.splice(place..end, words.iter().map(|word| (*word).to_owned()));
    all
}
