//! The counts that a call is held to.

use std::borrow::Cow;

use vectoll_config::{
    Uid,
    v1::{Budget, InputType},
};

use crate::{
    call::Call,
    policy::{Route, Team},
};
use vectoll_limits::counters::{Account, Counters, Scope};

/// The scopes of most calls: no more than one of each kind, and those of a Team or two above.
const USUAL: usize = 10;

/// All scopes of a call: its key, its models within the key, its user with the key, the same of the team, its tags, the namespace
/// that the team lets in, and the teams above it with their models and tags. By a route that is none of a team's nobody can spend
/// that team's money.
pub(super) fn scopes<'a>(call: &'a Call, route: &Route, counters: &Counters) -> Vec<Scope<'a>> {
    let key = call.caller.key();
    let team = &key.team;
    let is_foreign = team.is_foreign(route);
    let of_team = |budgets: &'a [Budget]| if is_foreign { &[] } else { budgets };
    let user_counts = !key.user_limits.is_none() || !team.user_limits.is_none() || !team.user_budgets.is_empty();
    // The name that counts are kept under may be `_other`; asked for only where users count at all.
    let user = if user_counts { counters.user(&team.uid, &call.user, team.max_users) } else { call.user.clone() };

    let mut scopes = Vec::with_capacity(USUAL);
    let account = Account::Key(key.uid.clone());
    scopes.push(Scope::new(account, key.limits, &key.budgets));
    for entry in key.model_limits.iter().filter(|entry| entry.model.covers(&call.model)) {
        let account = Account::KeyModel(key.uid.clone(), entry.model.clone());
        scopes.push(Scope::new(account, entry.limits, &entry.budgets));
    }
    if !key.user_limits.is_none() {
        let account = Account::KeyUser(key.uid.clone(), user.clone());
        scopes.push(Scope::new(account, key.user_limits, &[]));
    }
    add_team(&mut scopes, team, call, route);
    if let Some(guest) = &team.guest
        && (!guest.limits.is_none() || !guest.budgets.is_empty())
    {
        let account = Account::TeamNamespace(team.uid.clone(), guest.namespace.clone());
        scopes.push(Scope::new(account, guest.limits, of_team(&guest.budgets)));
    }
    if !team.user_limits.is_none() || !team.user_budgets.is_empty() {
        let account = Account::TeamUser(team.uid.clone(), user);
        scopes.push(Scope::new(account, team.user_limits, of_team(&team.user_budgets)));
    }
    for above in team.lineage().skip(1) {
        add_team(&mut scopes, above, call, route);
    }
    let is_query = call.request.input_type.unwrap_or(route.manner.input_type) == InputType::Query;
    if !is_query && scopes.iter().any(|scope| scope.limits.reserved_for_queries_percent.is_some()) {
        scopes.extend(of_documents(&scopes));
    }
    scopes
}

/// What a Team holds all calls to that are made with keys of its own, or of Teams below it.
fn add_team<'a>(scopes: &mut Vec<Scope<'a>>, team: &'a Team, call: &Call, route: &Route) {
    let is_foreign = team.is_foreign(route);
    let counted = |budgets: &'a [Budget]| if is_foreign { &[] } else { budgets };
    scopes.push(Scope::new(Account::Team(team.uid.clone()), team.limits, counted(&team.budgets)));
    for entry in team.model_limits.iter().filter(|entry| entry.model.covers(&call.model)) {
        let account = Account::TeamModel(team.uid.clone(), entry.model.clone());
        scopes.push(Scope::new(account, entry.limits, counted(&entry.budgets)));
    }
    for entry in team.tag_limits.iter().filter(|entry| call.tags.contains(&entry.tag)) {
        let account = Account::TeamTag(team.uid.clone(), entry.tag.clone());
        scopes.push(Scope::new(account, entry.limits, counted(&entry.budgets)));
    }
}

/// What calls that are no queries are held to as well, where a part of a limit is left to those. It counts what they take, so that
/// it is never all.
fn of_documents<'a>(scopes: &[Scope<'a>]) -> Vec<Scope<'a>> {
    let beside = |scope: &Scope<'a>| {
        let limits = scope.limits.for_documents()?;
        Some(Scope::new(Account::Documents(Box::new(scope.account.clone())), limits, &[]))
    };
    scopes.iter().filter_map(beside).collect()
}

/// What people call a scope of a call: the word in messages and metrics, and whose it is.
pub(super) fn name<'a>(call: &'a Call, account: &'a Account) -> (&'static str, Cow<'a, str>) {
    let key = call.caller.key();
    match account {
        Account::Key(_) => ("key", Cow::Borrowed(&*key.name)),
        Account::Team(uid) => ("team", Cow::Borrowed(team_name(call, uid))),
        Account::TeamNamespace(_, namespace) => {
            ("namespace", Cow::Owned(format!("{namespace} of team {}", key.team.name)))
        }
        Account::KeyUser(_, user) | Account::TeamUser(_, user) => ("user", Cow::Borrowed(&**user)),
        Account::KeyModel(_, model) => ("model", Cow::Owned(format!("{model} of key {}", key.name))),
        Account::TeamModel(uid, model) => ("model", Cow::Owned(format!("{model} of team {}", team_name(call, uid)))),
        Account::TeamTag(uid, tag) => ("tag", Cow::Owned(format!("{tag} of team {}", team_name(call, uid)))),
        Account::Backend(uid) => ("backend", Cow::Borrowed(uid.as_str())),
        Account::Documents(of) => {
            let (word, name) = name(call, of);
            (word, Cow::Owned(format!("{name}, of which a part is left to queries")))
        }
    }
}

/// The name of a call's team, or of one above it.
fn team_name<'a>(call: &'a Call, uid: &Uid) -> &'a str {
    let team = &call.caller.key().team;
    team.lineage().find(|team| team.uid == *uid).map_or(&*team.name, |team| &*team.name)
}
