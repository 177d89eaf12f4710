//! What a key may know of itself, for `GET /key/info`: the object that LiteLLM's proxy answers with there, as far as it has a meaning
//! here. What is spent is what this sidecar knows of it.
//!
//! Source: BerriAI/litellm `litellm/proxy/management_endpoints/key_management_endpoints.py` (`info_key_fn`: `{"key", "info"}`, the key's
//! SHA-256 where the query names none, and the row without its `token`), `litellm/models/verification_token.py`
//! (`LiteLLM_VerificationToken`: the row's fields), `litellm/proxy/_types.py` (`LiteLLM_VerificationTokenView`: `team_…`), and its
//! documentation of budgets (`budget_duration`: `1d`, `7d`, `1mo`) and of limits by model (`metadata.model_rpm_limit`).

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use axum::response::IntoResponse;
use http::{HeaderMap, Uri};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::{Value, value::RawValue};
use vectoll_clock::Now;
use vectoll_config::{
    KeyHash, ModelPattern, PicoUsd, stretch,
    v1::{Budget, ModelLimits, Period},
};

use super::Proxy;
use crate::{
    authenticate::{Caller, presented},
    call_id::CallId,
    policy::{Key, Policy},
    refusal::Refusal,
};
use vectoll_limits::counters::{Account, Spending};

impl Proxy {
    /// What the calling key may know of itself, for `GET /key/info`.
    pub fn key_info(&self, headers: &HeaderMap, client: Option<IpAddr>, uri: &Uri) -> axum::response::Response {
        let policy = self.policy.load();
        let caller = match self.authenticate(&policy, headers, client) {
            Ok(caller) => caller,
            Err(refusal) => return self.refuse_stranger(refusal),
        };
        match self.own_key_info(&policy, &caller, headers, uri) {
            Ok(response) => response,
            Err(refusal) => self.refuse(refusal, CallId::random()),
        }
    }

    fn own_key_info(
        &self,
        policy: &Policy,
        caller: &Caller,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<axum::response::Response, Refusal> {
        let sent = presented(headers);
        if asked_for(uri.query().unwrap_or_default()).is_some_and(|asked| !is_same(&asked, sent)) {
            return Err(Refusal::another_key());
        }
        let now = self.accounting.now();
        let (of_key, of_team) = self.spending(caller, now);
        let answer = Answer {
            key: sent.map(|sent| KeyHash::of(sent).to_string()),
            info: KeyInfo::of(caller.key(), (sent, policy), now, of_key, of_team),
        };
        // Texts, numbers and lists of them can be written.
        let body = serde_json::to_string(&answer).unwrap_or_default();
        Ok(([(http::header::CONTENT_TYPE, "application/json")], body).into_response())
    }

    /// What is known of what key and team have spent.
    fn spending(&self, caller: &Caller, now: Now) -> (Spent, Spent) {
        let key = caller.key();
        let team = &key.team;
        let (counters, ledger) = (&self.accounting.counters, &self.accounting.ledger);
        let of = |account: &Account, budget: Option<&Budget>| {
            budget.and_then(|budget| counters.spending(&team.uid, account, budget, now))
        };
        let of_key = of(&Account::Key(key.uid.clone()), key.budgets.first());
        let of_team = of(&Account::Team(team.uid.clone()), team.budgets.first());
        (Spent::of(of_key, ledger.key_spend(&team.name, &key.name)), Spent::of(of_team, ledger.team_spend(&team.name)))
    }
}

/// What the query's `key` asks for.
fn asked_for(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("key="))?;
    // What is not UTF-8 is nobody's key: no caller can have sent it in a header that is.
    let asked = percent_decode_str(value).decode_utf8().map_or_else(|_| value.to_owned(), Cow::into_owned);
    (!asked.is_empty()).then_some(asked)
}

/// Whether a key that is asked for, or its SHA-256, is the one that was sent.
fn is_same(asked: &str, sent: Option<&[u8]>) -> bool {
    sent.is_some_and(|sent| asked.as_bytes() == sent || asked.eq_ignore_ascii_case(&KeyHash::of(sent).to_string()))
}

/// What is known to be spent.
#[derive(Clone, Copy)]
struct Spent {
    money: PicoUsd,
    scope: SpendScope,
}

/// Of what it is the sum.
#[derive(Clone, Copy, Serialize)]
enum SpendScope {
    /// Of the budget's present period: spent and reserved, by all sidecars where there is a store.
    BudgetPeriod,
    /// Of this sidecar, since its state began.
    Sidecar,
}

impl Spent {
    fn of(period: Option<Spending>, here: PicoUsd) -> Self {
        match period {
            Some(Spending { taken, ends: _ }) => Self { money: taken, scope: SpendScope::BudgetPeriod },
            None => Self { money: here, scope: SpendScope::Sidecar },
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    /// The SHA-256 of the key that was sent; none: the pod's placeholder was, or nothing.
    key: Option<String>,
    info: KeyInfo<'a>,
}

#[derive(Serialize)]
struct KeyInfo<'a> {
    key_name: Option<String>,
    key_alias: &'a str,
    spend: Usd,
    spend_scope: SpendScope,
    max_budget: Option<Usd>,
    budget_duration: Option<String>,
    budget_reset_at: Option<String>,
    expires: Option<String>,
    models: Names<'a>,
    user_id: Option<&'a str>,
    tpm_limit: Option<u64>,
    rpm_limit: Option<u64>,
    max_parallel_requests: Option<u64>,
    metadata: BTreeMap<&'a str, Value>,
    blocked: bool,
    team_id: &'a str,
    team_alias: &'a str,
    team_spend: Usd,
    team_spend_scope: SpendScope,
    team_max_budget: Option<Usd>,
    team_tpm_limit: Option<u64>,
    team_rpm_limit: Option<u64>,
    team_models: Names<'a>,
    team_blocked: bool,
}

impl<'a> KeyInfo<'a> {
    fn of(key: &'a Key, (sent, policy): (Option<&[u8]>, &Policy), now: Now, of_key: Spent, of_team: Spent) -> Self {
        let team = &key.team;
        // LiteLLM's keys have one: of several it is the first.
        let budget = key.budgets.first();
        // A value that was replaced ends before its key.
        let credential = sent.and_then(|sent| policy.keys.get(&KeyHash::of(sent)));
        let expires = [key.expires_at, credential.and_then(|credential| credential.expires_at)];
        Self {
            key_name: sent.and_then(abbreviated),
            key_alias: &key.name,
            spend: Usd(of_key.money),
            spend_scope: of_key.scope,
            max_budget: budget.map(|budget| Usd(budget.limit_at(now.wall))),
            budget_duration: budget.and_then(duration),
            budget_reset_at: budget.and_then(|budget| stretch(budget, now.wall).end).as_ref().map(Timestamp::to_string),
            expires: expires.into_iter().flatten().min().as_ref().map(Timestamp::to_string),
            models: Names(key.models.as_deref().unwrap_or_default()),
            user_id: key.owner.as_deref(),
            tpm_limit: key.limits.tokens_per_minute,
            rpm_limit: key.limits.requests_per_minute,
            max_parallel_requests: key.limits.parallel_requests,
            metadata: metadata(key),
            blocked: key.suspended,
            team_id: &team.name,
            team_alias: &team.name,
            team_spend: Usd(of_team.money),
            team_spend_scope: of_team.scope,
            team_max_budget: team.budgets.first().map(|budget| Usd(budget.limit_at(now.wall))),
            team_tpm_limit: team.limits.tokens_per_minute,
            team_rpm_limit: team.limits.requests_per_minute,
            team_models: Names(team.models.as_deref().unwrap_or_default()),
            team_blocked: team.lineage().any(|team| team.suspended),
        }
    }
}

/// The key as LiteLLM abbreviates it. None: it is so short that its end says much of it.
fn abbreviated(sent: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(sent).ok().filter(|text| text.len() >= 16)?;
    let end = text.get(text.len() - 4..)?;
    Some(format!("sk-...{end}"))
}

/// A budget's period in LiteLLM's words; none: it has no end.
fn duration(budget: &Budget) -> Option<String> {
    let text = match budget.period {
        Period::Hourly => "1h",
        Period::Daily => "1d",
        Period::Weekly | Period::WeeklyFrom(_) => "7d",
        Period::Monthly | Period::MonthlyFrom(_) => "1mo",
        Period::Quarterly | Period::QuarterlyFrom { .. } => "3mo",
        Period::Yearly | Period::YearlyFrom { .. } => "12mo",
        Period::Days { days, phase: _ } => return Some(format!("{days}d")),
        Period::Total => return None,
    };
    Some(text.to_owned())
}

/// What the key's owner has written on it, and its limits by model, which LiteLLM keeps in the same place.
fn metadata(key: &Key) -> BTreeMap<&str, Value> {
    let mut metadata: BTreeMap<&str, Value> = BTreeMap::new();
    if let Some(own) = &key.metadata {
        metadata.extend(own.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))));
    }
    let of = |limit: fn(&ModelLimits) -> Option<u64>| -> serde_json::Map<String, Value> {
        let limits = key.model_limits.iter().filter_map(|of| Some((of.model.to_string(), limit(of)?.into())));
        limits.collect()
    };
    for (name, limits) in [
        ("model_rpm_limit", of(|of| of.limits.requests_per_minute)),
        ("model_tpm_limit", of(|of| of.limits.tokens_per_minute)),
    ] {
        if !limits.is_empty() {
            metadata.insert(name, Value::Object(limits));
        }
    }
    metadata
}

/// Names of models; empty: all.
struct Names<'a>(&'a [ModelPattern]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ModelPattern::to_string))
    }
}

/// Money as a JSON number with all of its digits: no float holds it.
struct Usd(PicoUsd);

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_ask_for_itself_by_its_value_or_its_hash() {
        let (own, other) = ("sk-test-0123456789abcdef", "sk-test-0123456789abcdee");
        let hash = KeyHash::of(own.as_bytes()).to_string();
        for asked in [own, &hash, &hash.to_uppercase()] {
            assert!(is_same(asked, Some(own.as_bytes())), "{asked}");
        }
        assert!(!is_same(other, Some(own.as_bytes())));
        assert!(!is_same(own, None), "who sends the placeholder has no value to name");
        assert_eq!(asked_for("a=b&key=sk%2D1"), Some("sk-1".to_owned()));
        for nothing in ["", "key=", "keys=a", "a=key="] {
            assert_eq!(asked_for(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_key_is_abbreviated_where_enough_of_it_stays_unsaid() {
        assert_eq!(abbreviated(b"sk-test-0123456789abcdef").as_deref(), Some("sk-...cdef"));
        for none in [&b"sk-short-0123"[..], &[0xff; 20]] {
            assert_eq!(abbreviated(none), None, "{none:?}");
        }
    }

    #[test]
    fn money_is_a_number_with_all_of_its_digits() {
        let text = |pico| serde_json::to_string(&Usd(PicoUsd::new(pico))).unwrap_or_default();
        assert_eq!((text(1), text(25_000_000_000_000)), ("0.000000000001".to_owned(), "25.00".to_owned()));
    }
}
