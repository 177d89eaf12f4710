//! Admission: a call gets its room in every scope, or a refusal that says which limit, whose, and when to come back.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use vectoll_config::{PicoUsd, v1::Limits};

use super::{
    Accounting, Permit,
    reservation::Reservation,
    scopes::{name, scopes},
};
use crate::{
    call::Call,
    counters::{Ask, Denial, Exhausted, Held, Quota, Reserved, Retry, Scope, Standing},
    policy::Route,
    refusal::{Refusal, whole_seconds},
    tokens,
};

/// Text from which on counting its tokens is worth a thread of its own.
const MUCH_TEXT: u64 = 32 * 1024;

/// What a call is weighed with.
#[derive(Clone, Copy)]
struct Weight {
    tokens: u64,
    /// None: the price is unknown.
    money: Option<PicoUsd>,
}

/// Reserves the call's room. First with a bound that needs no tokenizer; where that is too much, with the exact count.
pub async fn admit(accounting: &Arc<Accounting>, mut call: Call, route: Arc<Route>) -> Result<Permit, Refusal> {
    if let Some(metadata) = &call.metadata {
        call.tags = metadata.tags_in([&call.caller.key().team.tags, &route.manner.tags]);
    }
    readmit(accounting, Arc::new(call), route).await
}

/// Reserves room for another attempt at a call that may have been charged already: as much as for a call of its own.
pub async fn readmit(accounting: &Arc<Accounting>, call: Arc<Call>, route: Arc<Route>) -> Result<Permit, Refusal> {
    let bound = weight(&route, |backend| tokens::bound(&call.shape, &backend.tokens));
    let (held, limits, admitted) = match reserve(accounting, &call, &route, bound).await {
        Ok(reserved) => reserved,
        Err(denied) if denied.may_fit(weight(&route, |backend| tokens::least(&call.shape, &backend.tokens)).tokens) => {
            let exact = exact(accounting, &call, &route).await?;
            match exact.filter(|exact| exact.tokens < bound.tokens) {
                Some(exact) => reserve(accounting, &call, &route, exact).await.map_err(|denied| denied.refusal)?,
                None => return Err(denied.refusal),
            }
        }
        Err(denied) => return Err(denied.refusal),
    };
    let reservation =
        Reservation { accounting: accounting.clone(), call: call.clone(), limits, admitted, held: Some(held) };
    Ok(Permit { call, route, reservation })
}

fn weight(route: &Route, count: impl Fn(&crate::policy::Backend) -> u64) -> Weight {
    Weight { tokens: route.reachable().map(|backend| count(backend)).max().unwrap_or(0), money: route.dearest(&count) }
}

/// The weight by the models' own tokenizers; none where one is unknown.
async fn exact(accounting: &Accounting, call: &Arc<Call>, route: &Arc<Route>) -> Result<Option<Weight>, Refusal> {
    let count = {
        let (call, route) = (call.clone(), route.clone());
        move || -> Result<Option<Weight>, Refusal> {
            let input = call.input()?;
            let mut counts = Vec::new();
            for backend in route.reachable() {
                match tokens::count(&input, &backend.tokens) {
                    Some(count) => counts.push((backend.label.clone(), count)),
                    None => return Ok(None),
                }
            }
            Ok(Some(weight(&route, |backend| {
                counts.iter().find(|(label, _)| *label == backend.label).map_or(0, |(_, count)| *count)
            })))
        }
    };
    if call.shape.bytes < MUCH_TEXT {
        return count();
    }
    let failed = || Refusal::unavailable("counting_failed", "The call's tokens could not be counted".to_owned());
    let turn = accounting.counting.acquire().await.map_err(|_| failed())?;
    let counted = tokio::task::spawn_blocking(count).await.map_err(|_| failed());
    drop(turn);
    counted?
}

struct Denied {
    denial: Option<Denial>,
    refusal: Refusal,
}

impl Denied {
    /// Whether the exact count could fit at all: it is at least so many tokens.
    fn may_fit(&self, least: u64) -> bool {
        self.denial.is_some_and(|denial| match denial.exhausted {
            Exhausted::Tokens => denial.used.saturating_add(least) <= denial.limit,
            Exhausted::Budget => denial.used < denial.limit,
            Exhausted::Requests | Exhausted::Parallel | Exhausted::Store => false,
        })
    }
}

/// What is held, the limits of the scopes that hold it, and the moment that decides on the budgets' periods.
type Admitted = (Held, Vec<Limits>, Timestamp);

async fn reserve(accounting: &Accounting, call: &Call, route: &Route, weight: Weight) -> Result<Admitted, Denied> {
    let now = accounting.now();
    let scopes = scopes(call, route, &accounting.counters);
    if weight.money.is_none() && scopes.iter().any(|scope| scope.budget.is_some()) {
        return Err(Denied { denial: None, refusal: Refusal::unpriced(&call.model) });
    }
    let money = weight.money.unwrap_or(PicoUsd::ZERO);
    let team = &call.caller.key().team;
    let (tokens, on_store_failure) = (weight.tokens, team.on_store_failure);
    let ask = Ask { team: &team.uid, scopes: &scopes, requests: 1, tokens, money, on_store_failure };
    let outcome = match accounting.counters.reserve(&ask, now) {
        Reserved::Now(outcome) => outcome,
        Reserved::Later(pending) => pending.outcome().await,
    };
    match outcome {
        Ok(held) => Ok((held, scopes.iter().map(|scope| scope.limits).collect(), now.wall)),
        Err(denial) => {
            let refusal = match scopes.get(denial.scope) {
                Some(scope) => explain(call, scope, &denial, weight),
                None => Refusal::unavailable("counting_failed", "The call could not be counted".to_owned()),
            };
            Err(Denied { denial: Some(denial), refusal })
        }
    }
}

fn explain(call: &Call, scope: &Scope<'_>, denial: &Denial, weight: Weight) -> Refusal {
    let (word, name) = name(call, &scope.account);
    let Denial { limit, used, .. } = *denial;
    let wait = match denial.retry {
        Retry::WhenFree => Some(Duration::from_secs(1)),
        Retry::After(wait) => Some(wait.max(Duration::from_millis(1))),
        Retry::Never => None,
    };
    let advice = match wait {
        Some(wait) => format!("try again in {} s", whole_seconds(wait)),
        None => "waiting does not help".to_owned(),
    };
    let head = format!("Rate limit exceeded for {word} {name}");
    let quota = Quota { limit, remaining: limit.saturating_sub(used), reset: wait.unwrap_or_default() };
    let refusal = match denial.exhausted {
        Exhausted::Requests => {
            let message = format!("{head}: {limit} requests per minute, {used} used; {advice}");
            Refusal::rate_limited(word, "requests", message, wait)
        }
        Exhausted::Parallel => {
            let message = format!("{head}: {limit} requests at the same time, {used} under way; {advice}");
            Refusal::rate_limited(word, "parallel", message, wait)
        }
        Exhausted::Tokens if wait.is_none() => {
            let message = format!(
                "{head}: {limit} tokens per minute, and this call alone needs up to {}: it can never fit; send fewer \
                 or shorter inputs at a time",
                weight.tokens
            );
            Refusal::rate_limited(word, "tokens_never", message, None)
        }
        Exhausted::Tokens => {
            let message = format!(
                "{head}: {limit} tokens per minute, {used} used or reserved, this call needs up to {}; {advice}",
                weight.tokens
            );
            Refusal::rate_limited(word, "tokens", message, wait)
        }
        Exhausted::Store => {
            let message = format!("The store of limits and budgets cannot be reached: {advice}");
            Refusal { retry_after: wait, ..Refusal::store_unavailable(message) }
        }
        Exhausted::Budget => {
            let period = scope.budget.map(|budget| format!("{:?}", budget.period)).unwrap_or_default();
            let message = format!(
                "Budget exceeded for {word} {name}: {} USD ({period}), {} spent or reserved, this call may cost up to \
                 {}; {advice}",
                PicoUsd::new(limit),
                PicoUsd::new(used),
                weight.money.unwrap_or(PicoUsd::ZERO),
            );
            Refusal::budget_exceeded(word, message, wait)
        }
    };
    let (requests, tokens) = match denial.exhausted {
        Exhausted::Requests => (Some(quota), None),
        Exhausted::Tokens => (None, Some(quota)),
        Exhausted::Parallel | Exhausted::Budget | Exhausted::Store => (None, None),
    };
    Refusal { standing: Standing { requests, tokens }, ..refusal }
}
