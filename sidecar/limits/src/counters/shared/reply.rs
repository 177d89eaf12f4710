//! What becomes of the store's answers, and of exchanges that have none.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use vectoll_config::PicoUsd;

use super::{
    exchange::{MARGIN, millis},
    link::{Group, InFlightExchange, Logged, OldLog, PendingRequest},
    pool::{Lease, Refused, StoreSnapshot},
    rates::{retry_at, signed},
    session::Session,
    waiter::{Short, Shortage, Waiter},
};
use crate::{
    counters::{Denial, Exhausted, Retry},
    store::protocol::{Correction, Grant, Identity, Per, Reply, SPAN, StoreAnswer},
};
use vectoll_clock::Now;

/// How long a refusal is believed without asking again: others may give something back.
const BELIEVED: Duration = Duration::from_millis(200);
/// How long a call waits for a store that was just started anew.
const STORE_START_TIMEOUT: Duration = Duration::from_secs(5);

impl Session {
    /// The store's answer to the exchange under way.
    pub(crate) fn reply(&mut self, identity: &Identity, reply: &Reply, now: Now) {
        let Some(flight) = self.link.flight.take() else { return };
        let before = reply.before.filter(|(epoch, _)| *epoch == identity.epoch).map_or(0, |(_, number)| number);
        let forgot = before < self.link.applied;
        if !forgot && reply.answers.len() != flight.groups.len() {
            // Not taken: the store knows a later exchange of ours. Another process has our name.
            self.link.flight = Some(flight);
            return self.lost(now);
        }
        let InFlightExchange { number, asks_only, sent, corrections, spend_to, more, groups, claims, holds } = flight;
        let is_first = !self.link.knows_time();
        self.link.answered(sent, reply.now);
        if is_first {
            self.count_recalled(now);
        }
        if self.link.run.as_ref() != Some(&reply.run) {
            self.doubt_claims();
            self.link.run = Some(reply.run.clone());
        }
        let taken = asks_only || !forgot;
        if taken {
            self.acknowledged(&claims, &holds);
        }
        if !taken || reply.spent_to != spend_to {
            self.doubt_claims();
        }
        self.link.knows_spend = true;
        self.compare(before, asks_only, Logged { number, sent, corrections });
        self.link.spent_to = reply.spent_to;
        // Not if it was not taken: whatever keeps it from being taken is not in a hurry.
        self.link.more_spend = more && reply.spent_to == spend_to;
        let grants = reply.pause == 0;
        self.holdings.for_dirty(|_, holding| {
            for balance in &mut holding.balances {
                balance.acknowledge(reply.spent_to);
                balance.shared &= !grants;
            }
        });
        self.link.away = false;
        if grants {
            self.link.sidecars = Some(reply.sidecars);
            self.link.paused_until = None;
        } else {
            self.link.paused_until = Some(sent + Duration::from_millis(reply.pause) + MARGIN);
        }
        if taken {
            for (group, answer) in groups.into_iter().zip(&reply.answers) {
                self.answer(group, answer, sent, reply.now, now);
            }
        } else {
            self.waiters.extend(groups.into_iter().filter_map(|group| group.waiter));
        }
        self.age_log(reply.now, now.elapsed);
        // Those who came meanwhile may fit into what was granted to others.
        for waiter in std::mem::take(&mut self.waiters) {
            if let Some(waiter) = self.try_again(waiter, now) {
                self.wait_on(waiter, now);
            }
        }
    }

    /// The exchange under way has failed: nobody knows whether the store has taken it.
    pub(crate) fn lost(&mut self, now: Now) {
        self.link.away = true;
        self.doubt_claims();
        if let Some(InFlightExchange { number, asks_only, sent, corrections, groups, .. }) = self.link.flight.take() {
            if !asks_only {
                self.link.doubt = Some(Logged { number, sent, corrections });
            }
            let waiters: Vec<Waiter> = groups.into_iter().filter_map(|group| group.waiter).collect();
            for waiter in waiters {
                self.end_wait(waiter, now);
            }
        }
        for waiter in std::mem::take(&mut self.waiters) {
            self.end_wait(waiter, now);
        }
    }

    /// Was an exchange lost on the way, or by the store itself? `before`: the last that it has.
    fn compare(&mut self, before: u64, asks_only: bool, logged: Logged) {
        let forgot = before < self.link.applied;
        if forgot {
            let (kept, lost): (VecDeque<Logged>, VecDeque<Logged>) =
                std::mem::take(&mut self.link.log).into_iter().partition(|logged| logged.number <= before);
            tracing::warn!(exchanges = lost.len(), "the store has lost the last exchanges: they are sent again");
            for logged in &lost {
                self.pend(&logged.corrections);
            }
            if before < self.link.old.number {
                let OldLog { number: _, changes } = std::mem::take(&mut self.link.old);
                for ((account, rate, slot), amount) in changes {
                    self.correct(&account, rate, slot, amount);
                }
            }
            self.link.log = kept;
            self.link.applied = before;
        }
        if let Some(doubt) = self.link.doubt.take() {
            if before >= doubt.number {
                self.link.applied = doubt.number;
                self.link.log.push_back(doubt);
            } else {
                self.pend(&doubt.corrections);
            }
        }
        if forgot && !asks_only {
            self.pend(&logged.corrections);
        } else if !asks_only {
            self.link.applied = logged.number;
            self.link.log.push_back(logged);
        }
    }

    /// Forgets what has left every window. Of exchanges that are over for a minute, what is left is summed up.
    fn age_log(&mut self, store_ms: u64, now: Duration) {
        let oldest = (store_ms / 1000).saturating_sub(SPAN + 2);
        let is_young = |logged: &Logged| {
            logged.corrections.iter().any(|correction| match correction.rate.per {
                Per::Minute => correction.slot >= oldest,
                Per::Hour | Per::Day => now.saturating_sub(logged.sent) < Duration::from_mins(1),
            })
        };
        let mut log = std::mem::take(&mut self.link.log);
        while let Some(logged) = log.pop_front_if(|logged| !is_young(logged)) {
            self.link.old.add(logged, store_ms);
        }
        self.link.old.advance(store_ms);
        self.link.log = log;
    }

    fn pend(&mut self, corrections: &[Correction]) {
        for Correction { account, rate, slot, amount } in corrections {
            self.correct(account, *rate, *slot, *amount);
        }
    }

    fn acknowledged(&mut self, claims: &[(usize, u64)], holds: &[(usize, Arc<str>, PicoUsd)]) {
        self.link.is_known = true;
        for (at, count) in claims {
            if let Some(holding) = self.holdings.get_mut(*at) {
                holding.slots.in_store = Some(*count);
            }
        }
        for (at, period, amount) in holds {
            if let Some(balance) = self.balance_named(*at, period) {
                balance.in_store = Some(*amount);
            }
        }
    }

    fn balance_named(&mut self, at: usize, period: &Arc<str>) -> Option<&mut super::budget_balance::BudgetBalance> {
        self.holdings.get_mut(at)?.balances.iter_mut().find(|balance| balance.period.name == *period)
    }

    /// What the store knows of claims and holds is uncertain: it is told all of them again. Of those at rest too: it may have lost
    /// that they were given back.
    fn doubt_claims(&mut self) {
        // While the store is away that is found again and again, and nothing is told meanwhile.
        if !std::mem::replace(&mut self.link.is_known, false) {
            return;
        }
        self.holdings.for_all(|holding| {
            let is_claimed = holding.slots.in_store != Some(0) || holding.slots.held > 0;
            if is_claimed {
                holding.slots.in_store = None;
            }
            for balance in &mut holding.balances {
                balance.in_store = None;
            }
            is_claimed || !holding.balances.is_empty()
        });
    }

    fn answer(&mut self, group: Group, answer: &StoreAnswer, sent: Duration, store_ms: u64, now: Now) {
        let Group { waiter, requests } = group;
        match answer {
            StoreAnswer::Granted(grants) => {
                for (asked, grant) in requests.iter().zip(grants) {
                    self.granted(asked, *grant, sent, store_ms, now);
                }
                if let Some(waiter) = waiter
                    && let Some(waiter) = self.try_again(waiter, now)
                {
                    self.wait_on(waiter, now);
                }
            }
            StoreAnswer::Denied { place, taken, wait } => {
                let Some(asked) = requests.get(*place) else { return };
                let denial = self.denied(asked, *taken, *wait, now);
                if let Some(waiter) = waiter {
                    self.count_waiting(&waiter.shortages, false);
                    if let Some(denial) = denial {
                        self.notify(waiter, Err(denial));
                        return;
                    }
                    // The period is over by the store's clock: once more, in the next one.
                    self.count_waiting(&waiter.shortages, true);
                    if let Some(waiter) = self.try_again(waiter, now) {
                        self.wait_on(waiter, now);
                    }
                }
            }
            StoreAnswer::Paused => {
                if let Some(waiter) = waiter {
                    self.wait_on(waiter, now);
                }
            }
        }
    }

    /// A call goes on waiting; not for ever.
    fn wait_on(&mut self, waiter: Waiter, now: Now) {
        if self.link.serves_shares(now.elapsed) || now.elapsed.saturating_sub(waiter.since) >= STORE_START_TIMEOUT {
            self.end_wait(waiter, now);
        } else {
            self.waiters.push_back(waiter);
        }
    }

    fn granted(&mut self, asked: &PendingRequest, grant: Grant, sent: Duration, store_ms: u64, now: Now) {
        let Grant { amount, taken, reset } = grant;
        self.link.is_known = true;
        let life = self.terms.life;
        self.chunks += 1;
        let id = self.chunks;
        let Some(holding) = self.holdings.get_mut(asked.shortage.holding) else { return };
        let name = holding.name.clone();
        match asked.shortage.of {
            Short::Rate(rate) => {
                let limit = asked.shortage.limit;
                let end_slot = rate.slot(store_ms + millis(life));
                let pool = holding.pool(rate);
                pool.snapshot = Some(StoreSnapshot { taken, reset_at: sent + Duration::from_millis(reset) + life });
                pool.refused = None;
                if amount == 0 {
                    return;
                }
                pool.put(Lease { id, slot: end_slot, dead_at: (sent + life).saturating_sub(MARGIN), left: amount });
                if let Some(logged) = self.link.log.back_mut() {
                    logged.corrections.push(Correction {
                        account: name.clone(),
                        rate,
                        slot: end_slot,
                        amount: signed(amount),
                    });
                }
                if holding.pool(rate).limit != Some(limit) {
                    // The limit was changed meanwhile: a lease under the old one is not taken up.
                    for (slot, left) in holding.pool(rate).end(Duration::MAX, true) {
                        self.correct(&name, rate, slot, -signed(left));
                    }
                }
            }
            Short::Parallel => holding.slots.granted(amount, asked.shortage.limit),
            Short::Money(at) => {
                if let Some(balance) = holding.balances.get_mut(at) {
                    balance.free = balance.free.plus(PicoUsd::new(amount));
                    balance.in_store = balance.in_store.map(|amount_there| amount_there.plus(PicoUsd::new(amount)));
                    balance.taken = Some(PicoUsd::new(taken));
                    balance.taken_at = now.elapsed;
                }
            }
        }
    }

    /// What a refusal of the store means for the call; none: ask again, the period has changed.
    fn denied(&mut self, asked: &PendingRequest, taken: u64, wait: Option<u64>, now: Now) -> Option<Denial> {
        let PendingRequest { shortage, least, available } = *asked;
        let Shortage { scope, of, budget, limit, .. } = shortage;
        let store_ms = self.link.store_ms(now);
        let room_at = |wait: Option<u64>| wait.map(|wait| now.elapsed + Duration::from_millis(wait));
        let holding = self.holdings.get_mut(shortage.holding)?;
        // This sidecar's own leases are part of what is taken, and to be had.
        let used = taken.saturating_sub(available);
        Some(match of {
            Short::Rate(rate) => {
                let pool = holding.pool(rate);
                let until = now.elapsed + BELIEVED.min(Duration::from_millis(wait.unwrap_or(u64::MAX)));
                let room_at = room_at(wait);
                pool.refused = Some(Refused { amount: least, limit, taken: used, until, room_at });
                pool.snapshot = Some(StoreSnapshot { taken, reset_at: room_at.unwrap_or(now.elapsed) });
                Denial { scope, exhausted: Exhausted::Rate(rate), limit, used, retry: retry_at(room_at, now.elapsed) }
            }
            Short::Parallel => {
                holding.slots.refused_until = now.elapsed + Duration::from_millis(20);
                Denial { scope, exhausted: Exhausted::Parallel, limit, used, retry: Retry::WhenFree }
            }
            Short::Money(_) if wait == Some(0) => return None,
            Short::Money(at) => {
                let mut wait = wait;
                if let Some(balance) = holding.balances.get_mut(at) {
                    wait = balance.wait(wait, store_ms);
                    balance.taken = Some(PicoUsd::new(taken));
                    balance.taken_at = now.elapsed;
                    let until = now.elapsed + BELIEVED.min(Duration::from_millis(wait.unwrap_or(u64::MAX)));
                    balance.refused = Some((PicoUsd::new(least), PicoUsd::new(limit), until, room_at(wait)));
                }
                let retry = wait.map_or(Retry::Never, |wait| Retry::After(Duration::from_millis(wait)));
                Denial { scope, exhausted: Exhausted::Budget(budget), limit, used, retry }
            }
        })
    }
}
