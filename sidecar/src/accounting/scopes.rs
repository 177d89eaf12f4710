//! The counts that a call is held to.

use std::{fmt, sync::Arc};

use crate::{
    call::Call,
    counters::{Account, Counters, Scope},
};

/// A scope and what people call it.
pub(super) struct Named<'a> {
    /// The word in messages and metrics.
    pub(super) word: &'static str,
    /// Whose it is.
    pub(super) name: Whose,
    /// The count.
    pub(super) scope: Scope<'a>,
}

/// Whose scope it is.
pub(super) enum Whose {
    /// A key, team or user.
    One(Arc<str>),
    /// A model (or pattern) of a key or team.
    ModelOf(String, &'static str, Arc<str>),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => f.write_str(name),
            Self::ModelOf(model, word, name) => write!(f, "{model} of {word} {name}"),
        }
    }
}

/// All scopes of a call: its key, its models within the key, its user with the key, and the same of the team.
pub(super) fn scopes<'a>(call: &'a Call, counters: &dyn Counters) -> Vec<Named<'a>> {
    let key = call.caller.key();
    let team = &key.team;
    let one = |word, name: &Arc<str>, scope| Named { word, name: Whose::One(name.clone()), scope };
    let user_counts = !key.user_limits.is_none() || !team.user_limits.is_none() || team.user_budget.is_some();
    // The name that counts are kept under may be `_other`; asked for only where users count at all.
    let user = if user_counts { counters.user(&team.uid, &call.user, team.max_users) } else { call.user.clone() };

    let mut scopes = Vec::with_capacity(6);
    let account = Account::Key(key.uid.clone());
    scopes.push(one("key", &key.name, Scope { account, limits: key.limits, budget: key.budget.as_ref() }));
    for entry in key.model_limits.iter().filter(|entry| entry.model.covers(&call.model)) {
        let account = Account::KeyModel(key.uid.clone(), entry.model.clone());
        let name = Whose::ModelOf(entry.model.to_string(), "key", key.name.clone());
        scopes.push(Named { word: "model", name, scope: Scope { account, limits: entry.limits, budget: None } });
    }
    if !key.user_limits.is_none() {
        let account = Account::KeyUser(key.uid.clone(), user.clone());
        scopes.push(one("user", &user, Scope { account, limits: key.user_limits, budget: None }));
    }
    let account = Account::Team(team.uid.clone());
    scopes.push(one("team", &team.name, Scope { account, limits: team.limits, budget: team.budget.as_ref() }));
    for entry in team.model_limits.iter().filter(|entry| entry.model.covers(&call.model)) {
        let account = Account::TeamModel(team.uid.clone(), entry.model.clone());
        let name = Whose::ModelOf(entry.model.to_string(), "team", team.name.clone());
        scopes.push(Named { word: "model", name, scope: Scope { account, limits: entry.limits, budget: None } });
    }
    if !team.user_limits.is_none() || team.user_budget.is_some() {
        let account = Account::TeamUser(team.uid.clone(), user.clone());
        let budget = team.user_budget.as_ref();
        scopes.push(one("user", &user, Scope { account, limits: team.user_limits, budget }));
    }
    scopes
}
