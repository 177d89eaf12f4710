//! The most tokens of one call, as its key or its Team has it. Unlike a limit it is no matter of what others use: waiting does not help,
//! and nothing is reserved.

use std::sync::Arc;

use crate::{
    call::Call,
    compute::Compute,
    policy::{Backend, Key, Route},
    refusal::Refusal,
};

/// Text from which on counting its tokens is worth a thread of its own.
const MUCH_TEXT: u64 = 16 * 1024;

/// How many tokens one call may have, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PerCall {
    most: u64,
    scope: &'static str,
    name: Arc<str>,
}

impl PerCall {
    /// The tightest of all; none: any number.
    fn of(key: &Key) -> Option<Self> {
        let of_key = key.max_tokens_per_call.map(|most| Self { most, scope: "key", name: key.name.clone() });
        let of_teams = key
            .team
            .lineage()
            .filter_map(|team| Some(Self { most: team.max_tokens_per_call?, scope: "team", name: team.name.clone() }));
        of_key.into_iter().chain(of_teams).min_by_key(|limit| limit.most)
    }

    fn refusal(&self, tokens: u64, basis: Basis) -> Refusal {
        let has = match basis {
            Basis::AtLeast => format!("has at least {tokens}"),
            Basis::Exact => format!("has {tokens}"),
            Basis::AtMost => {
                format!(
                    "may have up to {tokens}: a bound by its bytes, because nobody here knows this model's tokenizer"
                )
            }
        };
        Refusal::tokens_per_call(self.scope, &self.name, self.most, &has)
    }
}

/// What is known of a number of tokens.
#[derive(Clone, Copy)]
enum Basis {
    AtLeast,
    Exact,
    AtMost,
}

/// What a call may exceed, by a bound that needs no tokenizer; none: nothing.
pub(super) fn may_exceed(call: &Call, route: &Route) -> Option<PerCall> {
    let limit = PerCall::of(call.caller.key())?;
    let most = route.reachable().map(|backend| backend.most_tokens(call)).max().unwrap_or(0);
    (most > limit.most).then_some(limit)
}

/// Refuses a call that is larger than its key or its Team allows, by the exact count where the tokenizer is known.
pub(super) async fn check(call: Call, route: &Arc<Route>, limit: PerCall, compute: &Compute) -> Result<Call, Refusal> {
    let least = route.reachable().map(|backend| backend.fewest_tokens(&call)).max().unwrap_or(0);
    if least > limit.most {
        return Err(limit.refusal(least, Basis::AtLeast));
    }
    for backend in route.reachable() {
        backend.load_tokenizer(&call, compute).await;
    }
    let bytes = route.reachable().map(|backend| backend.sent(&call).bytes).max().unwrap_or(0);
    let counting = {
        let route = route.clone();
        move || {
            let mut basis = Basis::Exact;
            let count = |backend: &Arc<Backend>| {
                backend.count_tokens(&call).unwrap_or_else(|| {
                    basis = Basis::AtMost;
                    backend.most_tokens(&call)
                })
            };
            let tokens = route.reachable().map(count).max().unwrap_or(0);
            (call, tokens, basis)
        }
    };
    let (call, tokens, basis) =
        compute.run_above(MUCH_TEXT, bytes, counting).await.map_err(|error| Refusal::uncounted(&error))?;
    if tokens > limit.most { Err(limit.refusal(tokens, basis)) } else { Ok(call) }
}
