//! How much of a provider's limits one sidecar uses, so that calls go elsewhere before the provider refuses them.

use std::time::Duration;

use vectoll_config::v1::Limits;

use crate::counters::{Window, slot_of};

/// A provider's limits have no room for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// When they may have; none: nobody knows, or never.
    pub wait: Option<Duration>,
}

/// What a call takes of a provider's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests: more than one where it is split.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
}

/// What one backend was asked for lately.
#[derive(Debug, Default)]
pub(super) struct Gate {
    requests: Window,
    tokens: Window,
    under_way: u64,
}

impl Gate {
    pub(super) fn room(&mut self, limits: &Limits, load: Load, now: Duration) -> Result<(), Full> {
        let Limits { requests_per_minute, tokens_per_minute, parallel_requests } = *limits;
        let Load { requests, tokens } = load;
        self.advance(now);
        let mut full: Option<Full> = None;
        let mut worse = |wait: Option<Duration>| {
            full = Some(Full { wait: full.map_or(wait, |full| Some(full.wait?.max(wait?))) });
        };
        for (window, limit, amount) in
            [(&self.requests, requests_per_minute, requests), (&self.tokens, tokens_per_minute, tokens)]
        {
            if let Some(limit) = limit
                && window.sum().saturating_add(amount) > limit
            {
                worse(window.wait(now, limit, amount));
            }
        }
        if parallel_requests.is_some_and(|most| self.under_way >= most) {
            worse(Some(Duration::from_secs(1)));
        }
        full.map_or(Ok(()), Err)
    }

    /// Counts a call. The slot is where its tokens are.
    pub(super) fn take(&mut self, load: Load, now: Duration) -> u64 {
        self.advance(now);
        let slot = slot_of(now);
        self.requests.add(slot, load.requests);
        self.tokens.add(slot, load.tokens);
        self.under_way += 1;
        slot
    }

    pub(super) fn give_back(&mut self, slot: u64, tokens: u64) {
        self.tokens.take_back(slot, tokens);
    }

    /// The call that was counted did not leave.
    pub(super) fn unasked(&mut self, slot: u64, requests: u64) {
        self.requests.take_back(slot, requests);
    }

    pub(super) fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    fn advance(&mut self, now: Duration) {
        self.requests.advance(slot_of(now));
        self.tokens.advance(slot_of(now));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const LIMITS: Limits =
        Limits { requests_per_minute: Some(3), tokens_per_minute: Some(100), parallel_requests: Some(2) };

    fn load(tokens: u64) -> Load {
        Load { requests: 1, tokens }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_limit_keeps_calls_out_for_its_time() {
        let mut gate = Gate::default();
        assert_eq!(gate.room(&LIMITS, load(101), at(0)), Err(Full { wait: None }), "it never fits");
        let slot = gate.take(load(90), at(0));
        assert_eq!(gate.room(&LIMITS, load(11), at(0)), Err(Full { wait: Some(at(61)) }));
        gate.give_back(slot, 80);
        assert_eq!(gate.room(&LIMITS, load(11), at(0)), Ok(()));
        gate.take(load(1), at(1));
        assert_eq!(gate.room(&LIMITS, load(1), at(1)), Err(Full { wait: Some(at(1)) }), "two at once");
        gate.end();
        gate.take(load(1), at(2));
        gate.end();
        gate.end();
        assert_eq!(gate.room(&LIMITS, load(1), at(2)), Err(Full { wait: Some(at(59)) }), "three a minute");
        assert_eq!(gate.room(&LIMITS, load(1), at(61)), Ok(()));
        let split = Load { requests: 4, tokens: 1 };
        assert_eq!(gate.room(&LIMITS, split, at(61)), Err(Full { wait: None }), "each of its requests counts");
    }
}
