//! What goes to the store, and what becomes of its answers.

use std::{sync::Arc, time::Duration};

use vectoll_config::PicoUsd;

use super::{
    holding::Holding,
    link::{Group, InFlightExchange, PendingRequest},
    session::Session,
    waiter::{Short, Shortage},
};
use crate::store::protocol::{Claim, Correction, Exchange, LeaseKind, LeaseRequest, Money, SPAN, Spend};
use vectoll_clock::Now;

/// The most groups of lease requests in one exchange.
const MAX_GROUPS: usize = 64;
/// Leases end a little earlier here than in the store, for clocks that do not run alike.
pub(super) const MARGIN: Duration = Duration::from_millis(10);

/// Spend for one exchange.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) spend: Spend,
    /// There is more than fits into one.
    pub(crate) more: bool,
}

impl Session {
    /// When the next exchange is due, on this process's clock; none: when there is something to say. `spend`: there is spend
    /// that the store was not told.
    pub(crate) fn due(&self, now: Duration, spend: bool) -> Option<Duration> {
        if self.link.flight.is_some() {
            return None;
        }
        let since = |pause: Duration| self.link.sent_at.map_or(now, |sent| sent + pause);
        let mut due: Option<Duration> = None;
        let mut add = |at: Duration| due = Some(due.map_or(at, |due| due.min(at)));
        if !self.waiters.is_empty() || self.link.doubt.is_some() {
            add(self.link.paused_until.filter(|_| self.link.doubt.is_none()).unwrap_or(now));
        }
        if self.link.soon {
            add(since(self.terms.least_pause));
        }
        if spend && self.link.more_spend {
            // Company enough: a store that catches up is told as fast as it listens.
            add(now);
        } else if spend || !self.pending.is_empty() {
            add(since(self.terms.batch));
        }
        let mut active = self.link.away || !self.link.log.is_empty();
        for (_, holding) in self.holdings.dirty() {
            for (_, pool) in holding.pools() {
                if let Some(end) = pool.next_end() {
                    add(end.max(since(self.terms.batch)));
                }
            }
            active |= holding.slots.held > 0 || holding.balances.iter().any(|balance| !balance.is_idle());
        }
        if active {
            add(since(self.terms.beat));
        } else if self.link.sidecars.is_some() {
            // So that it counts among the sidecars, by whose number shares are made.
            add(since(self.terms.idle_beat));
        }
        if self.leaving && self.has_more_to_say() {
            add(now);
        }
        due
    }

    /// The next exchange. `batch`: what was settled since the last that the store is known to have; `most_users`: how many users
    /// the ledger tells apart.
    pub(crate) fn exchange(&mut self, batch: Batch, most_users: u32, now: Now) -> Exchange {
        if self.leaving {
            self.let_go(now);
        }
        self.end_leases(now);
        self.link.soon = false;
        self.link.spend_waits = false;
        self.link.more_spend = false;
        self.link.number += 1;
        self.link.sent_at = Some(now.elapsed);
        self.link.is_known = true;
        let asks_only = self.link.doubt.is_some();
        // Holds go with spend: what the store takes of the one it must take of the other. So nothing is told that may not be
        // taken, because the store has it already or does not have what is before it.
        let known = self.link.spent_to;
        let Batch { spend, more } = if asks_only || !self.link.knows_spend || batch.spend.from != known {
            Batch { spend: Spend { from: known, to: known, ..Spend::default() }, more: false }
        } else {
            batch
        };
        let (corrections, groups) =
            if asks_only { (Vec::new(), Vec::new()) } else { (self.corrections(now), self.groups(now)) };
        let (claims, claimed) = self.claims(now.elapsed);
        let (holds, held) = self.holds(&spend, now);
        let requests = groups
            .iter()
            .map(|group| group.requests.iter().filter_map(|it| self.lease_request(it, now)).collect())
            .collect();
        self.link.flight = Some(InFlightExchange {
            number: self.link.number,
            asks_only,
            sent: now.elapsed,
            corrections: corrections.clone(),
            spend_to: spend.to,
            more,
            groups,
            claims: claimed,
            holds: held,
        });
        Exchange {
            number: self.link.number,
            after: self.link.applied,
            asks_only,
            life: millis(self.terms.life),
            pause: millis(self.terms.pause),
            most_users: u64::from(most_users),
            corrections,
            claims,
            spend,
            holds,
            groups: requests,
        }
    }

    /// Ends what is over, and lets go of what is not used.
    fn end_leases(&mut self, now: Now) {
        let store_ms = self.link.store_ms(now);
        let life = self.terms.life;
        self.end_chunks(now.elapsed, false);
        self.holdings.for_dirty(|_, holding| {
            holding.slots.let_go(now.elapsed, life);
            for balance in &mut holding.balances {
                if balance.is_over(store_ms) || now.elapsed.saturating_sub(balance.touched) >= life {
                    balance.free = PicoUsd::ZERO;
                }
            }
        });
        self.holdings.rest(now.elapsed);
    }

    fn corrections(&mut self, now: Now) -> Vec<Correction> {
        let store_ms = self.link.second(now) * 1000;
        std::mem::take(&mut self.pending)
            .into_iter()
            // What has left the window meanwhile need not be told.
            .filter(|((_, rate, slot), amount)| *amount != 0 && slot + SPAN > rate.slot(store_ms))
            .map(|((account, rate, slot), amount)| Correction { account, rate, slot, amount })
            .collect()
    }

    fn claims(&mut self, now: Duration) -> (Vec<Claim>, Vec<(usize, u64)>) {
        let (mut claims, mut claimed) = (Vec::new(), Vec::new());
        let valid = self.link.claims_hold(now);
        self.holdings.for_dirty(|at, holding| {
            let slots = &mut holding.slots;
            let count = slots.claim(valid);
            if count > 0 || slots.in_store != Some(0) {
                claims.push(Claim { account: holding.name.clone(), count });
                claimed.push((at, count));
            }
        });
        (claims, claimed)
    }

    #[allow(clippy::type_complexity, reason = "the second half is what a flight remembers")]
    fn holds(&mut self, spend: &Spend, _now: Now) -> (Vec<Money>, Vec<(usize, Arc<str>, PicoUsd)>) {
        let (mut holds, mut held) = (Vec::new(), Vec::new());
        for (at, holding) in self.holdings.dirty() {
            for balance in &holding.balances {
                let amount = balance.held(spend.to);
                if balance.in_store != Some(amount) {
                    holds.push(Money { account: holding.name.clone(), period: balance.period.clone(), amount });
                    held.push((at, balance.period.name.clone(), amount));
                }
            }
        }
        (holds, held)
    }

    /// The lease requests of those who wait, in their turn, and of those who are likely to come.
    fn groups(&mut self, now: Now) -> Vec<Group> {
        let mut groups = Vec::new();
        // What those before have a claim to is not there for those behind.
        let mut spoken_for: Vec<(usize, Short, u64)> = Vec::new();
        while groups.len() < MAX_GROUPS
            && let Some(waiter) = self.waiters.pop_front()
        {
            let requests = waiter
                .shortages
                .iter()
                .map(|shortage| {
                    let all = self.available(shortage, now);
                    let place = spoken_for.iter().position(|(at, of, _)| (*at, *of) == (shortage.holding, shortage.of));
                    let place = place.unwrap_or_else(|| {
                        spoken_for.push((shortage.holding, shortage.of, 0));
                        spoken_for.len() - 1
                    });
                    let mut available = all;
                    if let Some((_, _, spoken)) = spoken_for.get_mut(place) {
                        available = all.saturating_sub(*spoken).min(shortage.need);
                        *spoken += available;
                    }
                    PendingRequest { shortage: *shortage, least: shortage.need - available, available: all }
                })
                .collect();
            groups.push(Group { waiter: Some(waiter), requests });
        }
        let foreseen = if self.leaving { Vec::new() } else { self.foreseen(now) };
        for shortage in foreseen {
            let available = self.available(&shortage, now);
            groups.push(Group { waiter: None, requests: vec![PendingRequest { shortage, least: 0, available }] });
        }
        groups
    }

    fn available(&self, shortage: &Shortage, now: Now) -> u64 {
        let valid = self.link.claims_hold(now.elapsed);
        let Some(holding) = self.holdings.get(shortage.holding) else { return 0 };
        match shortage.of {
            Short::Rate(rate) => holding.present_pool(rate).map_or(0, |pool| pool.available(now.elapsed)),
            Short::Parallel => holding.slots.available(valid),
            Short::Money(at) => holding.balances.get(at).map_or(0, |balance| balance.free.pico()),
        }
    }

    /// Pools that will be empty soon at the present pace, though nobody waits yet, and budgets of which others may have spent.
    fn foreseen(&mut self, now: Now) -> Vec<Shortage> {
        let mut all = Vec::new();
        let (store_ms, beat) = (self.link.store_ms(now), self.terms.beat);
        for (at, holding) in self.holdings.dirty() {
            foresee(at, holding, (now.elapsed, store_ms, beat), &mut all);
        }
        self.holdings.refresh(MAX_GROUPS.saturating_sub(all.len()), |at, holding, counts| {
            if counts {
                foresee(at, holding, (now.elapsed, store_ms, beat), &mut all);
            }
            holding.is_asked_after(now.elapsed)
        });
        all.truncate(MAX_GROUPS);
        all
    }

    fn lease_request(&self, asked: &PendingRequest, now: Now) -> Option<LeaseRequest> {
        let PendingRequest { shortage, least, available } = *asked;
        let holding: &Holding = self.holdings.get(shortage.holding)?;
        let limit = shortage.limit;
        // As much as will be used while the lease lasts, and never less than twice what this call needs: the next one is
        // likely to be like it.
        let ahead = |rate: u64| {
            let use_of_it = rate.saturating_mul(millis(self.terms.life)) / 1000;
            least.max(use_of_it.saturating_sub(available)).max(2 * least)
        };
        let of = match shortage.of {
            Short::Rate(rate) => {
                let pool = holding.present_pool(rate)?;
                LeaseKind::Rate { rate, least, most: ahead(pool.meter.rate(now.elapsed)), limit }
            }
            Short::Parallel => LeaseKind::Parallel { least, most: ahead(holding.slots.used / 2), limit },
            Short::Money(at) => {
                let balance = holding.balances.get(at)?;
                LeaseKind::Money {
                    period: balance.period.clone(),
                    least: PicoUsd::new(least),
                    most: PicoUsd::new(ahead(balance.meter.rate(now.elapsed))),
                    limit: PicoUsd::new(limit),
                }
            }
        };
        Some(LeaseRequest { account: holding.name.clone(), of })
    }
}

/// What will be wanted of one holding.
fn foresee(at: usize, holding: &Holding, (now, store_ms, beat): (Duration, u64, Duration), all: &mut Vec<Shortage>) {
    let mut add = |of, limit| all.push(Shortage { scope: 0, holding: at, of, budget: 0, need: 0, limit });
    for (rate, pool) in holding.pools() {
        if let Some(limit) = pool.limit
            && pool.runs_low(now)
        {
            add(Short::Rate(rate), limit);
        }
    }
    for (place, balance) in holding.balances.iter().enumerate() {
        if let Some(limit) = balance.limit
            && !balance.is_over(store_ms)
            && (balance.runs_low(now) || balance.is_outdated(now, beat))
        {
            add(Short::Money(place), limit.pico());
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        counters::shared::TERMS,
        store::{Model, Server, protocol::Identity},
    };

    #[test]
    fn spend_that_did_not_fit_follows_at_once_if_the_store_takes_it() {
        let (mut session, mut store) = (Session::new(TERMS), Model::default());
        let identity = Identity { sidecar: "a".into(), epoch: 1 };
        let at = |ms| Now { elapsed: Duration::from_millis(ms), wall: Timestamp::UNIX_EPOCH };
        let server = Server { run: "one".into(), uptime: 100, clock: 1_790_000_000_000 };
        let mut tell = |session: &mut Session, ms: u64, from: u64, more: bool, arrives: bool| {
            let spend = Spend { from, to: from + 10, ..Spend::default() };
            let exchange = session.exchange(Batch { spend, more }, 0, at(ms));
            let mut reply = store.exchange(&server, &identity, &exchange);
            if !arrives {
                reply.spent_to = from;
            }
            session.reply(&identity, &reply, at(ms + 1));
            session.due(Duration::from_millis(ms + 2), true)
        };
        let (batch, at) = (TERMS.batch, |ms| Some(Duration::from_millis(ms)));
        // The first one only learns what the store has.
        assert_eq!(tell(&mut session, 1_000, 0, true, true), at(1_000).map(|at| at + batch));
        assert_eq!(tell(&mut session, 2_000, 0, true, true), at(2_002), "at once");
        assert_eq!(tell(&mut session, 3_000, 10, false, true), at(3_000).map(|at| at + batch), "that was all");
        assert_eq!(tell(&mut session, 4_000, 20, true, false), at(4_000).map(|at| at + batch), "it was not taken");
    }
}
