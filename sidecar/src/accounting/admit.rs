//! Admission: a call gets its room in every scope, or a refusal that says which limit, whose, and when to come back.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use vectoll_config::{
    PicoUsd,
    v1::{Budget, Limits, Period},
};

use super::{
    Accounting, Permit,
    reservation::Reservation,
    scopes::{name, scopes},
    trial::{Trial, WouldReject},
    wait_queue::{CallWait, NoWait},
};
use crate::{
    call::Call,
    policy::{Backend, Route},
    quota_headers::whole_seconds,
    refusal::Refusal,
};
use vectoll_limits::{
    counters::{Denial, Exhausted, Quota, QuotaReservation, RateLimitStatus, ReserveRequest, Reserved, Retry, Scope},
    store::protocol::{Counted, Per, Rate},
};

/// Text from which on its tokens are counted on a thread of its own. So much takes some three milliseconds: no other call is to wait longer.
const MUCH_TEXT: u64 = 32 * 1024;

/// What a call is weighed with.
#[derive(Clone, Copy)]
struct Weight {
    tokens: u64,
    /// None: the price is unknown.
    money: Option<PicoUsd>,
    basis: WeightBasis,
}

/// What is known of a weight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WeightBasis {
    /// It is not less.
    AtLeast,
    /// It is that.
    Exact,
    /// It is not more.
    AtMost,
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
    let (quota, limits, admitted) = take(accounting, &call, &route).await?;
    let reservation =
        Reservation { accounting: accounting.clone(), call: call.clone(), limits, admitted, quota: Some(quota) };
    Ok(Permit { call, route, reservation })
}

/// Takes the call's room. What only limits on trial stand against goes on without them; where its key lets it, it waits.
async fn take(accounting: &Accounting, call: &Arc<Call>, route: &Arc<Route>) -> Result<Admitted, Refusal> {
    let mut trial = Trial::default();
    let mut wait = CallWait::new(&accounting.wait_queues, call);
    loop {
        let mut held_to = scopes(call, route, &accounting.counters);
        if let Some(scope) = wait.others_are_first(&held_to) {
            let queued = || waits_in_vain(call, scope);
            wait.join(&scope.account).await.map_err(|NoWait| queued())?;
            // Its user may count under another name by now.
            held_to = scopes(call, route, &accounting.counters);
        }
        trial.mark(&mut held_to);
        let (denied, weight) = match attempt(accounting, call, route, &held_to).await? {
            Ok(admitted) => {
                note(accounting, call, trial);
                return Ok(admitted);
            }
            Err(denied) => denied,
        };
        let goes_on = matches!(&denied, Denied::Scope(_, denial) if trial.waive(&held_to, denial));
        let at =
            if let Denied::Scope(scope, denial) = &denied { Some((scope.account.clone(), denial.retry)) } else { None };
        let refusal = denied.refusal(call, weight);
        if goes_on {
            trial.found.push(WouldReject { scope: refusal.scope, reason: refusal.reason });
            continue;
        }
        let Some((account, retry)) = at else { return Err(refusal) };
        if wait.wait_for(&account, retry).await.is_err() {
            return Err(refusal);
        }
    }
}

/// A call for which there is no time behind those that wait already, or that may not wait.
fn waits_in_vain(call: &Call, scope: &Scope<'_>) -> Refusal {
    let (word, name) = name(call, &scope.account);
    let message = format!("Rate limit exceeded for {word} {name}: other calls wait for room there; try again in 1 s");
    Refusal::rate_limited(word, "queue", message, Some(Duration::from_secs(1)))
}

/// What would have refused the call is told, if anything would.
fn note(accounting: &Accounting, call: &Call, Trial { found, .. }: Trial) {
    if !found.is_empty() {
        call.entry.would_reject(found.iter().map(|found| (found.scope, found.reason)));
        let counted = found.clone();
        if call.outcome.note_trial(found) {
            accounting.trials.count(&counted);
        }
    }
}

/// Reserves by the bound, and where that is too much, by the exact count.
async fn attempt<'a>(
    accounting: &Accounting,
    call: &Arc<Call>,
    route: &Arc<Route>,
    scopes: &'a [Scope<'a>],
) -> Result<Result<Admitted, (Denied<'a>, Weight)>, Refusal> {
    let most = weight(route, WeightBasis::AtMost, |backend| backend.most_tokens(call));
    let denied = match reserve(accounting, call, scopes, most).await {
        Ok(admitted) => return Ok(Ok(admitted)),
        Err(denied) => denied,
    };
    let fewest = weight(route, WeightBasis::AtLeast, |backend| backend.fewest_tokens(call));
    Ok(Err(match denied.appeal(most, fewest) {
        Recount::None => (denied, most),
        Recount::Never => (denied, fewest),
        Recount::Count => match exact(accounting, call, route).await? {
            Some(exact) => match reserve(accounting, call, scopes, exact).await {
                Ok(admitted) => return Ok(Ok(admitted)),
                Err(denied) => (denied, exact),
            },
            None => (denied, most),
        },
    }))
}

fn weight(route: &Route, basis: WeightBasis, count: impl Fn(&Backend) -> u64) -> Weight {
    let tokens = route.reachable().map(|backend| count(backend)).max().unwrap_or(0);
    Weight { tokens, money: route.dearest(&count), basis }
}

/// The weight by the models' own tokenizers, and by the bound of those whose tokenizer nobody knows; none where that is all of them.
async fn exact(accounting: &Accounting, call: &Arc<Call>, route: &Arc<Route>) -> Result<Option<Weight>, Refusal> {
    let count = {
        let (call, route) = (call.clone(), route.clone());
        move || {
            let counted = |backend: &Arc<Backend>| (backend.label.clone(), backend.count_tokens(&call));
            let counts: Vec<(Arc<str>, Option<u64>)> = route.reachable().map(counted).collect();
            if counts.iter().all(|(_, count)| count.is_none()) {
                return None;
            }
            let is_exact = counts.iter().all(|(_, count)| count.is_some());
            let basis = if is_exact { WeightBasis::Exact } else { WeightBasis::AtMost };
            Some(weight(&route, basis, |backend| {
                let counted = counts.iter().find(|(label, _)| *label == backend.label);
                counted.and_then(|(_, count)| *count).unwrap_or_else(|| backend.most_tokens(&call))
            }))
        }
    };
    for backend in route.reachable() {
        backend.load_tokenizer(call, &accounting.compute).await;
    }
    let bytes = route.reachable().map(|backend| backend.sent(call).bytes).max().unwrap_or(0);
    off_the_loop(accounting, bytes, count).await
}

/// The exact tokens of a call at one backend, where its tokenizer is at hand.
pub async fn exact_at(accounting: &Accounting, call: &Arc<Call>, backend: &Arc<Backend>) -> Option<u64> {
    let count = {
        let (call, backend) = (call.clone(), backend.clone());
        move || backend.count_tokens(&call)
    };
    backend.load_tokenizer(call, &accounting.compute).await;
    off_the_loop(accounting, backend.sent(call).bytes, count).await.ok().flatten()
}

/// Counts here, or on a thread of its own where it is on much text.
async fn off_the_loop<T: Send + 'static>(
    accounting: &Accounting,
    bytes: u64,
    count: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    accounting.compute.run_above(MUCH_TEXT, bytes, count).await.map_err(|error| Refusal::uncounted(&error))
}

/// Why there is no room for a call.
enum Denied<'a> {
    /// Whatever it weighs.
    Outright(Refusal),
    /// A scope has no room for so much.
    Scope(&'a Scope<'a>, Denial),
}

/// What can be said against a denial by a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recount {
    /// Nothing: it is right, and so is its wait.
    None,
    /// The least that the call can be is more than the whole limit.
    Never,
    /// Counted exactly, the call may fit, now or later.
    Count,
}

impl Denied<'_> {
    /// Counting costs much: it is done where the call could fit now, or where the bound alone is more than the limit, which says
    /// nothing of the call.
    fn appeal(&self, most: Weight, fewest: Weight) -> Recount {
        let Self::Scope(scope, Denial { exhausted, limit, used, .. }) = self else { return Recount::None };
        let (limit, used) = (*limit, *used);
        let money = |weight: Weight| weight.money.unwrap_or(PicoUsd::ZERO).pico();
        let (most, fewest, may_fit_now) = match exhausted {
            Exhausted::Rate(Rate { of: Counted::Tokens, .. }) => (most.tokens, fewest.tokens, true),
            // Where all is spent for good, no count helps; where all is spent until the next period, nothing fits now.
            Exhausted::Budget(at) if used >= limit && is_total(scope.budgets.get(*at)) => return Recount::None,
            Exhausted::Budget(_) => (money(most), money(fewest), used < limit),
            Exhausted::Rate(Rate { of: Counted::Requests, .. }) | Exhausted::Parallel | Exhausted::Store => {
                return Recount::None;
            }
        };
        if fewest > limit {
            Recount::Never
        } else if most > limit || (may_fit_now && used.saturating_add(fewest) <= limit) {
            Recount::Count
        } else {
            Recount::None
        }
    }

    fn refusal(self, call: &Call, weight: Weight) -> Refusal {
        match self {
            Self::Outright(refusal) => refusal,
            Self::Scope(scope, denial) => explain(call, scope, &denial, weight),
        }
    }
}

/// Whether a budget has one period only.
fn is_total(budget: Option<&Budget>) -> bool {
    budget.is_some_and(|budget| budget.period == Period::Total)
}

/// What is held, the limits of the scopes that hold it, and the moment that decides on the budgets' periods.
type Admitted = (QuotaReservation, Vec<Limits>, Timestamp);

async fn reserve<'a>(
    accounting: &Accounting,
    call: &Call,
    scopes: &'a [Scope<'a>],
    weight: Weight,
) -> Result<Admitted, Denied<'a>> {
    let now = accounting.now();
    if weight.money.is_none() && scopes.iter().flat_map(|scope| scope.budgets).any(|budget| !budget.audit) {
        return Err(Denied::Outright(Refusal::unpriced(&call.model)));
    }
    let money = weight.money.unwrap_or(PicoUsd::ZERO);
    let team = &call.caller.key().team;
    let (tokens, on_store_failure) = (weight.tokens, team.on_store_failure);
    let ask = ReserveRequest { team: &team.uid, scopes, requests: 1, tokens, money, on_store_failure };
    let outcome = match accounting.counters.reserve(&ask, now) {
        Reserved::Now(outcome) => outcome,
        Reserved::Later(pending) => pending.outcome().await,
    };
    match outcome {
        Ok(quota) => Ok((quota, scopes.iter().map(|scope| scope.limits).collect(), now.wall)),
        Err(denial) => {
            let message = || "The call could not be counted".to_owned();
            let none = || Denied::Outright(Refusal::unavailable("counting_failed", message()));
            Err(scopes.get(denial.scope).map_or_else(none, |scope| Denied::Scope(scope, denial)))
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
    let per = if let Exhausted::Rate(rate) = denial.exhausted { rate.per } else { Per::Minute };
    let quota = Quota { limit, remaining: limit.saturating_sub(used), reset: wait.unwrap_or_default(), per };
    let refusal = match denial.exhausted {
        Exhausted::Rate(rate @ Rate { of: Counted::Requests, per }) => {
            let message = format!("{head}: {limit} requests per {}, {used} used; {advice}", per.name());
            Refusal::rate_limited(word, reason(rate), message, wait)
        }
        Exhausted::Parallel => {
            let message = format!("{head}: {limit} requests at the same time, {used} under way; {advice}");
            Refusal::rate_limited(word, "parallel", message, wait)
        }
        Exhausted::Rate(Rate { of: Counted::Tokens, per }) if wait.is_none() => {
            let message = format!(
                "{head}: {limit} tokens per {}, and this call alone {}: {}",
                per.name(),
                needs(weight, weight.tokens),
                never(weight),
            );
            Refusal::rate_limited(word, "tokens_never", message, None)
        }
        Exhausted::Rate(rate @ Rate { of: Counted::Tokens, per }) => {
            let message = format!(
                "{head}: {limit} tokens per {}, {used} used or reserved, this call {}; {advice}",
                per.name(),
                needs(weight, weight.tokens)
            );
            Refusal::rate_limited(word, reason(rate), message, wait)
        }
        Exhausted::Store => {
            let message = format!("The store of limits and budgets cannot be reached: {advice}");
            Refusal { retry_after: wait, ..Refusal::store_unavailable(message) }
        }
        Exhausted::Budget(at) => {
            let money = weight.money.unwrap_or(PicoUsd::ZERO);
            let advice = if wait.is_none() && money.pico() > limit { never(weight) } else { &advice };
            let period = scope.budgets.get(at).map(|budget| budget.period.to_string()).unwrap_or_default();
            let message = format!(
                "Budget exceeded for {word} {name}: {} USD ({period}), {} spent or reserved, this call {}; {advice}",
                PicoUsd::new(limit),
                PicoUsd::new(used),
                costs(weight, money),
            );
            Refusal::budget_exceeded(word, message, wait)
        }
    };
    let (requests, tokens) = match denial.exhausted {
        Exhausted::Rate(Rate { of: Counted::Requests, .. }) => (Some(quota), None),
        Exhausted::Rate(Rate { of: Counted::Tokens, .. }) => (None, Some(quota)),
        Exhausted::Parallel | Exhausted::Budget(_) | Exhausted::Store => (None, None),
    };
    Refusal { rate_limits: RateLimitStatus { requests, tokens }, ..refusal }
}

/// The limit, as metrics and the access log name it.
fn reason(rate: Rate) -> &'static str {
    match (rate.of, rate.per) {
        (Counted::Requests, Per::Minute) => "requests",
        (Counted::Requests, Per::Hour) => "requests_per_hour",
        (Counted::Requests, Per::Day) => "requests_per_day",
        (Counted::Tokens, Per::Minute) => "tokens",
        (Counted::Tokens, Per::Hour) => "tokens_per_hour",
        (Counted::Tokens, Per::Day) => "tokens_per_day",
    }
}

/// How much a call needs, as far as it is known.
fn needs(weight: Weight, tokens: u64) -> String {
    match weight.basis {
        WeightBasis::AtLeast => format!("needs at least {tokens}"),
        WeightBasis::Exact => format!("needs {tokens}"),
        WeightBasis::AtMost => format!("needs up to {tokens}"),
    }
}

/// What it costs, likewise.
fn costs(weight: Weight, money: PicoUsd) -> String {
    match weight.basis {
        WeightBasis::AtLeast => format!("costs at least {money}"),
        WeightBasis::Exact => format!("costs {money}"),
        WeightBasis::AtMost => format!("may cost up to {money}"),
    }
}

/// What to do about a call that is more by itself than a whole limit; or may be: it is not admitted on the chance that it is less.
fn never(weight: Weight) -> &'static str {
    match weight.basis {
        WeightBasis::AtLeast | WeightBasis::Exact => "it can never fit; send fewer or shorter inputs at a time",
        WeightBasis::AtMost => {
            "that is a bound by its bytes, because nobody here knows this model's tokenizer, and waiting does not lower it; send \
             fewer or shorter inputs at a time, or have the route's owner describe the tokenizer in `tokens` of the ModelRoute's backend"
        }
    }
}

#[cfg(test)]
mod tests {
    use vectoll_config::Uid;

    use super::*;
    use vectoll_limits::counters::Account;

    #[test]
    fn a_call_is_counted_where_the_bound_proves_nothing_and_nowhere_else() {
        use Exhausted::{Parallel, Store};
        let tokens = Exhausted::Rate(Rate::tokens(Per::Day));
        let requests = Exhausted::Rate(Rate::requests(Per::Minute));
        let budget = Exhausted::Budget(0);
        for (exhausted, limit, used, fewest, most, appeal) in [
            // As it was reported: more than the limit by its bytes, and less by its tokens.
            (tokens, 10_000, 9_700, 373, 47_690, Recount::Count),
            (tokens, 10_000, 0, 373, 47_690, Recount::Count),
            // It may fit now.
            (tokens, 10_000, 9_990, 1, 44, Recount::Count),
            // It cannot, and later it will, by its bound: the wait is right as it is.
            (tokens, 10_000, 10_000, 1, 44, Recount::None),
            (tokens, 10_000, 9_990, 11, 44, Recount::None),
            // Nothing is to be counted where the least is too much.
            (tokens, 10, 0, 16, 2048, Recount::Never),
            (budget, 200, 194, 8, 954, Recount::Count),
            (budget, 200, 200, 8, 954, Recount::Count),
            (budget, 200, 150, 50, 90, Recount::Count),
            (budget, 200, 200, 0, 90, Recount::None),
            (budget, 200, 0, 201, 954, Recount::Never),
            (requests, 1, 1, 1, 44, Recount::None),
            (Parallel, 1, 1, 1, 44, Recount::None),
            (Store, 1, 1, 1, 44, Recount::None),
        ] {
            let account = Account::Key(Uid::new("k"));
            let scope = Scope::new(account, Limits::default(), &[]);
            let denial = Denial { scope: 0, exhausted, limit, used, retry: Retry::Never };
            let weight = |tokens, basis| Weight { tokens, money: Some(PicoUsd::new(tokens)), basis };
            let found = Denied::Scope(&scope, denial)
                .appeal(weight(most, WeightBasis::AtMost), weight(fewest, WeightBasis::AtLeast));
            assert_eq!(found, appeal, "{exhausted:?} {limit} {used} {fewest} {most}");
        }
    }
}
