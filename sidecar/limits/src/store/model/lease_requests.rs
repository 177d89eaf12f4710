//! What is wished for, and whether it can be had.

use std::sync::Arc;

use vectoll_config::PicoUsd;

use super::{CLAIM_LIFE, DAY, Model, balance::Refusal};
use crate::store::protocol::{AccountName, Grant, Identity, LeaseKind, LeaseRequest, SPAN, StoreAnswer};

/// A request that can be met: what is granted, and what was taken before.
struct Grantable {
    granted: u64,
    taken: u64,
    reset: u64,
}

impl Model {
    pub(super) fn answer(
        &mut self,
        identity: &Identity,
        group: &[LeaseRequest],
        now: u64,
        life: u64,
        sidecars: u64,
    ) -> StoreAnswer {
        if self.hold > now {
            return StoreAnswer::Paused;
        }
        let mut rooms = Vec::with_capacity(group.len());
        // Balances that the requests before and this one begin.
        let mut new = 0;
        for (place, request) in group.iter().enumerate() {
            if let LeaseKind::Money { period, .. } = &request.of {
                new += u64::from(!self.balance(&request.account, period).begun);
                if self.is_one_too_many(&request.account, period, new) {
                    let taken = self.taken(&request.account, period, now).pico();
                    return StoreAnswer::Denied { place, taken, wait: wait_for_tomorrow(&request.of, now) };
                }
            }
            match self.room(request, now, sidecars) {
                Ok(room) => rooms.push(room),
                Err((taken, wait)) => {
                    self.note_refusal(request, now);
                    return StoreAnswer::Denied { place, taken, wait };
                }
            }
        }
        let mut beside = Vec::new();
        let grants = group.iter().zip(&rooms);
        StoreAnswer::Granted(
            grants.map(|(request, room)| self.grant(identity, request, room, &mut beside, (now, life))).collect(),
        )
    }

    /// What may be had, or what is taken and how long to wait.
    fn room(&mut self, request: &LeaseRequest, now: u64, sidecars: u64) -> Result<Grantable, (u64, Option<u64>)> {
        // What is had on top: nothing where that is too little to be worth it, and would only be kept from others.
        let share = |rest: u64, least: u64, most: u64| {
            let extra = (rest / (2 * sidecars)).min(most.saturating_sub(least));
            let crumb = match least {
                0 => extra < most,
                least => u128::from(extra) < u128::from(least) * 4 && least + extra < most,
            };
            if crumb { 0 } else { extra }
        };
        match &request.of {
            LeaseKind::Rate { rate, least, most, limit } => {
                let window = self.windows.entry((request.account.clone(), *rate)).or_default();
                window.retain(|slot, amount| slot + SPAN > rate.slot(now) && *amount > 0);
                let taken: u64 = window.values().sum();
                let leaves = |slot: u64| rate.leaves(slot) - now;
                if taken + least > *limit {
                    let mut rest = taken;
                    let wait = window.iter().find_map(|(slot, amount)| {
                        rest -= amount;
                        (rest + least <= *limit).then(|| leaves(*slot))
                    });
                    return Err((taken, wait));
                }
                let granted = least + share(limit - taken - least, *least, *most);
                Ok(Grantable { granted, taken, reset: window.keys().next_back().map_or(0, |slot| leaves(*slot)) })
            }
            LeaseKind::Parallel { least, most, limit } => {
                let held = self.claims.entry(request.account.clone()).or_default();
                held.retain(|_, (_, ends)| *ends > now);
                let taken: u64 = held.values().map(|(count, _)| count).sum();
                if taken + least > *limit {
                    return Err((taken, (least <= limit).then_some(0)));
                }
                let granted = least + share(limit - taken - least, *least, *most);
                Ok(Grantable { granted, taken, reset: 0 })
            }
            LeaseKind::Money { period, least, most, limit } => {
                let taken = self.taken(&request.account, period, now);
                if period.end.is_some_and(|end| end <= now) {
                    return Err((taken.pico(), Some(0)));
                }
                if taken.plus(*least) > *limit {
                    let wait = period.end.filter(|_| least <= limit).map(|end| end - now);
                    return Err((taken.pico(), wait));
                }
                let rest = limit.minus(taken).minus(*least);
                let granted = least.pico() + share(rest.pico(), least.pico(), most.pico());
                Ok(Grantable { granted, taken: taken.pico(), reset: 0 })
            }
        }
    }

    /// A call that would fit into a whole budget finds none: that is told of. What nobody waits for is not, nor what never fits.
    fn note_refusal(&mut self, request: &LeaseRequest, now: u64) {
        if let LeaseKind::Money { period, least, most: _, limit } = &request.of
            && period.end.is_none_or(|end| end > now)
            && *least > PicoUsd::ZERO
            && least <= limit
        {
            self.balance(&request.account, period).refused = Some(Refusal { limit: *limit, amount: *least });
        }
    }

    /// `beside`: the periods that the group has begun so far.
    fn grant(
        &mut self,
        identity: &Identity,
        request: &LeaseRequest,
        room: &Grantable,
        beside: &mut Vec<(AccountName, Arc<str>)>,
        (now, life): (u64, u64),
    ) -> Grant {
        let Grantable { granted, taken, reset } = *room;
        match &request.of {
            LeaseKind::Rate { rate, .. } => {
                let window = self.windows.entry((request.account.clone(), *rate)).or_default();
                *window.entry(rate.slot(now + life)).or_default() += granted;
            }
            LeaseKind::Parallel { .. } => {
                let held = self.claims.entry(request.account.clone()).or_default();
                let claim = held.entry(identity.sidecar.clone()).or_default();
                *claim = (claim.0 + granted, now + CLAIM_LIFE);
            }
            LeaseKind::Money { period, limit, .. } => {
                if granted > 0 && !self.balance(&request.account, period).begun {
                    self.begin(&request.account, period, beside, now);
                    beside.push((request.account.clone(), period.name.clone()));
                }
                let balance = self.balance(&request.account, period);
                let held = balance.held.entry(identity.sidecar.clone()).or_insert(PicoUsd::ZERO);
                *held = held.plus(PicoUsd::new(granted));
                // What was refused would have room beside this: others only held it for a while.
                let after = PicoUsd::new(taken).plus(PicoUsd::new(granted));
                balance.refused = balance.refused.filter(|refused| after.plus(refused.amount) > *limit);
            }
        }
        Grant { amount: granted, taken: taken + granted, reset }
    }
}

/// How long a request for money of one period too many waits: for the next day, or the next period, or for ever, where it is too much.
fn wait_for_tomorrow(of: &LeaseKind, now: u64) -> Option<u64> {
    match of {
        LeaseKind::Money { period, least: _, most: _, limit: _ } if period.end.is_some_and(|end| end <= now) => Some(0),
        LeaseKind::Money { period: _, least, most: _, limit } if least > limit => None,
        LeaseKind::Money { .. } | LeaseKind::Rate { .. } | LeaseKind::Parallel { .. } => Some(DAY - now % DAY),
    }
}
