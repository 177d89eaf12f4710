//! What there is, as the operator tells the sweep.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use vectoll_operator::store::{
    Access, Suspects, Swept,
    sweep::{Census, CountedTeam, DAY_MS},
};

use crate::stage::SCOPE;

/// Teams and keys in the namespace `apps`, counted a moment ago.
pub(super) fn census(teams: &[&str], keys: &[&str]) -> Census {
    Census {
        scope: SCOPE.to_owned(),
        counted_ms: u64::try_from(Timestamp::now().as_millisecond()).unwrap(),
        teams: in_namespaces(&teams.iter().map(|team| (*team, "apps")).collect::<Vec<_>>()),
        keys: keys.iter().map(|key| ((*key).to_owned(), "apps".to_owned())).collect(),
        routes: BTreeMap::new(),
        namespaces: ["apps".to_owned()].into(),
        unheard: BTreeSet::new(),
        allocations: Arc::default(),
        retention_ms: 400 * DAY_MS,
        is_urgent: false,
    }
}

pub(super) fn in_namespaces(teams: &[(&str, &str)]) -> BTreeMap<String, CountedTeam> {
    let team = |namespace: &str| CountedTeam { namespace: namespace.to_owned(), most_users: 100_000 };
    teams.iter().map(|(uid, namespace)| ((*uid).to_owned(), team(namespace))).collect()
}

/// One sweep, of whoever has swept nothing before.
pub(super) async fn sweep(access: &Access, census: &Census, now: Timestamp) -> redis::RedisResult<Swept> {
    vectoll_operator::store::sweep(access, census, &mut Suspects::default(), now).await
}
