//! The store's rules in memory: what the functions do, without a server, but for their bounds. Of those it has the one that refuses a
//! part of an exchange: how many periods of budgets begin in a day.
//!
//! The simulation of the leases runs against it, and a test with a real server holds the functions against it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use vectoll_config::PicoUsd;

use super::protocol::{
    AccountName, Answer, Claim, Correction, Entry, Exchange, Grant, Identity, Money, PeriodName, Rate, Reply, SPAN,
    Spend, Wish, Wished,
};

/// How long a claim of parallel requests lasts without being renewed, in milliseconds.
const CLAIM_LIFE: u64 = 10_000;
/// How long a sidecar counts that is not heard of, in milliseconds.
const LIVE: u64 = 10_000;
/// A day, in milliseconds.
const DAY: u64 = 86_400_000;
/// Periods of budgets that begin in a day.
const MAX_NEW_PURSES: u64 = 200_000;

/// A server, as far as it matters: its present start, and its clock.
#[derive(Clone, Debug)]
pub struct Server {
    /// Which start of which server.
    pub run: Arc<str>,
    /// How long ago that was, in whole seconds.
    pub uptime: u64,
    /// Its clock, in milliseconds since 1970. It may step.
    pub clock: u64,
}

/// What the store holds of one Team.
#[derive(Clone, Debug, Default)]
pub struct Model {
    seen: u64,
    run: Option<Arc<str>>,
    hold: u64,
    live: HashMap<Arc<str>, u64>,
    live_count: Option<(u64, u64)>,
    marks: HashMap<Arc<str>, Mark>,
    windows: HashMap<(AccountName, Rate), BTreeMap<u64, u64>>,
    claims: HashMap<AccountName, HashMap<Arc<str>, (u64, u64)>>,
    purses: HashMap<(AccountName, Arc<str>), BudgetBalance>,
    /// The periods of each account that began, and their ends.
    periods: HashMap<AccountName, BTreeMap<Arc<str>, Option<u64>>>,
    ledger: BTreeMap<Arc<str>, Totals>,
    users: u64,
    /// How many purses may begin in a day; none: as many as in the functions.
    most_new_purses: Option<u64>,
    /// A day, and the purses that began in it.
    begun: (u64, u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    epoch: u64,
    number: u64,
    applied: u64,
    spent_to: u64,
}

#[derive(Clone, Debug, Default)]
struct BudgetBalance {
    /// Something was spent or held there.
    begun: bool,
    spent: PicoUsd,
    held: HashMap<Arc<str>, PicoUsd>,
    refused: Option<Refusal>,
    /// The period that it took over.
    from: Option<Arc<str>>,
}

/// A call that found no money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The limit that it was refused at.
    pub limit: PicoUsd,
    /// What it needed.
    pub amount: PicoUsd,
}

/// Calls, tokens and pico-USD of a field of the ledger.
pub type Totals = (u64, u64, u64);

impl BudgetBalance {
    fn taken(&self) -> PicoUsd {
        self.held.values().fold(self.spent, |sum, held| sum.plus(*held))
    }
}

/// When a period begins.
fn starts(period: &str) -> u64 {
    period.rsplit_once('/').and_then(|(_, start)| start.parse().ok()).unwrap_or_default()
}

/// The setting of a budget that a period is of: kind and zone.
fn setting(period: &str) -> Option<&str> {
    period.rsplit_once('/').map(|(setting, _)| setting)
}

/// A wish that can be met: what is granted, and what was taken before.
struct Room {
    granted: u64,
    taken: u64,
    reset: u64,
}

impl Model {
    /// One with another bound on the periods of budgets that begin in a day.
    pub fn with_most_new_purses(most: u64) -> Self {
        Self { most_new_purses: Some(most), ..Self::default() }
    }

    /// One exchange.
    pub fn exchange(&mut self, server: &Server, identity: &Identity, exchange: &Exchange) -> Reply {
        let Exchange { number, after, asks_only, life, pause, most_users, corrections, claims, spend, holds, groups } =
            exchange;
        let now = self.seen.max(server.clock);
        self.seen = now;
        if self.begun.0 != now / DAY {
            self.begun = (now / DAY, 0);
        }
        if self.run.as_ref() != Some(&server.run) {
            if self.run.is_some() || server.uptime * 1000 < *pause || (!asks_only && *after > 0) {
                self.hold = now + pause;
            }
            self.run = Some(server.run.clone());
        }
        let sidecars = self.count(&identity.sidecar, now);
        let mark = self.marks.get(&identity.sidecar).copied();
        let mut spent_to = mark.unwrap_or_default().spent_to;
        let reply = |model: &Self, spent_to, answers| Reply {
            now,
            run: server.run.clone(),
            pause: model.hold.saturating_sub(now),
            before: mark.map(|mark| (mark.epoch, mark.applied)),
            spent_to,
            sidecars,
            answers,
        };
        if mark.is_some_and(|mark| (identity.epoch, *number) <= (mark.epoch, mark.number)) {
            return reply(self, spent_to, Vec::new());
        }
        let before = mark.filter(|mark| mark.epoch == identity.epoch).map_or(0, |mark| mark.applied);
        let note = |model: &mut Self, applied, spent_to| {
            let present = Mark { epoch: identity.epoch, number: *number, applied, spent_to };
            model.marks.insert(identity.sidecar.clone(), present);
        };
        if before < *after && !asks_only {
            note(self, before, spent_to);
            return reply(self, spent_to, Vec::new());
        }
        for correction in corrections {
            self.correct(correction, now);
        }
        for Claim { account, count } in claims {
            let held = self.claims.entry(account.clone()).or_default();
            match count {
                0 => drop(held.remove(&identity.sidecar)),
                count => drop(held.insert(identity.sidecar.clone(), (*count, now + CLAIM_LIFE))),
            }
        }
        let Spend { from, to, charges, entries } = spend;
        if to > from && *from == spent_to {
            for Money { account, period, amount } in charges {
                let purse = self.begin(account, period, now);
                purse.spent = purse.spent.plus(*amount);
                for other in self.others(account, &period.name, now) {
                    let may_be = starts(&other) <= starts(&period.name) || period.end.is_none_or(|end| end > now);
                    if let Some(kept_up) = self.purses.get_mut(&(account.clone(), other)).filter(|_| may_be) {
                        kept_up.spent = kept_up.spent.plus(*amount);
                    }
                }
            }
            for Entry { month: _, field, requests, tokens, money } in entries {
                let field = self.user_field(field, *most_users);
                let totals = self.ledger.entry(field).or_default();
                *totals = (totals.0 + requests, totals.1 + tokens, totals.2 + money.pico());
            }
            spent_to = *to;
        }
        if mark.is_some_and(|mark| mark.epoch != identity.epoch) {
            for purse in self.purses.values_mut() {
                purse.held.remove(&identity.sidecar);
            }
        }
        for Money { account, period, amount } in holds {
            // What gives back nothing begins nothing.
            let purse =
                if *amount > PicoUsd::ZERO { self.begin(account, period, now) } else { self.purse(account, period) };
            purse.held.insert(identity.sidecar.clone(), *amount);
        }
        let answers = groups.iter().map(|group| self.answer(identity, group, now, *life, sidecars)).collect();
        note(self, if *asks_only { before } else { *number }, spent_to);
        reply(self, spent_to, answers)
    }

    /// The latest time that there was, in milliseconds since 1970.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What was spent of a budget, and what sidecars hold of it.
    pub fn money(&self, account: &str, period: &str) -> (PicoUsd, PicoUsd) {
        let purse = self.purses.get(&(account.into(), period.into()));
        purse.map_or((PicoUsd::ZERO, PicoUsd::ZERO), |purse| (purse.spent, purse.taken().minus(purse.spent)))
    }

    /// The last call that a budget had no money for, unless there has been room for it since.
    pub fn refusal(&self, account: &str, period: &str) -> Option<Refusal> {
        self.purses.get(&(account.into(), period.into()))?.refused
    }

    /// The totals of a field of the ledger.
    pub fn total(&self, field: &str) -> Totals {
        self.ledger.get(field).copied().unwrap_or_default()
    }

    /// Parallel requests that are claimed of an account at a moment of the store's time.
    pub fn parallel(&self, account: &str, now: u64) -> u64 {
        let held = self.claims.get(account).into_iter().flatten();
        held.filter(|(_, (_, ends))| *ends > now).map(|(_, (count, _))| count).sum()
    }

    /// The field of a user that is new and one too many is that of all of those.
    fn user_field(&mut self, field: &Arc<str>, most: u64) -> Arc<str> {
        if !field.starts_with("u:") || self.ledger.contains_key(field) {
            return field.clone();
        }
        if self.users < most {
            self.users += 1;
            field.clone()
        } else {
            "u:_other".into()
        }
    }

    fn count(&mut self, sidecar: &Arc<str>, now: u64) -> u64 {
        let is_new = self.live.insert(sidecar.clone(), now).is_none();
        match self.live_count {
            Some((count, at)) if now - at < 1000 && !is_new => count,
            Some(_) | None => {
                self.live.retain(|_, heard| now - *heard <= LIVE);
                let count = self.live.len().max(1) as u64;
                self.live_count = Some((count, now));
                count
            }
        }
    }

    fn correct(&mut self, correction: &Correction, now: u64) {
        let Correction { account, rate, slot, amount } = correction;
        if slot + SPAN > now / 1000 && *slot <= now / 1000 + SPAN {
            let window = self.windows.entry((account.clone(), *rate)).or_default();
            let counted = window.entry(*slot).or_default();
            *counted = counted.saturating_add_signed(*amount);
        }
    }

    fn purse(&mut self, account: &AccountName, period: &PeriodName) -> &mut BudgetBalance {
        self.purses.entry((account.clone(), period.name.clone())).or_default()
    }

    /// The same, of which something is known from now on.
    fn begin(&mut self, account: &AccountName, period: &PeriodName, now: u64) -> &mut BudgetBalance {
        if !self.purse(account, period).begun {
            self.begun.1 += 1;
            let inherited = self.inherited(account, &period.name, now);
            self.periods.entry(account.clone()).or_default().insert(period.name.clone(), period.end);
            let purse = self.purse(account, period);
            purse.begun = true;
            if let Some((from, spent, _)) = inherited {
                (purse.spent, purse.from) = (spent, Some(from));
            }
        }
        self.purse(account, period)
    }

    /// The other periods of an account's budgets that are not over: those of another kind or zone.
    fn others(&mut self, account: &AccountName, period: &str, now: u64) -> Vec<Arc<str>> {
        let Some(periods) = self.periods.get_mut(account) else { return Vec::new() };
        periods.retain(|_, end| end.is_none_or(|end| end > now));
        periods.keys().filter(|other| setting(other) != setting(period)).cloned().collect()
    }

    /// What a period that begins takes over: the most that is taken in another one that lies within it; which, what is spent there,
    /// and what is held.
    fn inherited(&mut self, account: &AccountName, period: &str, now: u64) -> Option<(Arc<str>, PicoUsd, PicoUsd)> {
        let within: Vec<Arc<str>> =
            self.others(account, period, now).into_iter().filter(|other| starts(other) >= starts(period)).collect();
        let taken = within.into_iter().filter_map(|other| {
            let purse = self.purses.get(&(account.clone(), other.clone()))?;
            Some((purse.taken(), std::cmp::Reverse(other), purse.spent))
        });
        let (taken, std::cmp::Reverse(from), spent) = taken.max().filter(|(taken, ..)| *taken > PicoUsd::ZERO)?;
        Some((from, spent, taken.minus(spent)))
    }

    /// What is taken of a budget: what is under way in the period that it took over will count here as well.
    fn taken(&mut self, account: &AccountName, period: &PeriodName, now: u64) -> PicoUsd {
        let purse = self.purse(account, period);
        let (taken, begun, from) = (purse.taken(), purse.begun, purse.from.clone());
        if !begun {
            let inherited = self.inherited(account, &period.name, now);
            return inherited.map_or(PicoUsd::ZERO, |(_, spent, held)| spent.plus(held));
        }
        let former = from.and_then(|from| self.purses.get(&(account.clone(), from)));
        former.map_or(taken, |former| taken.plus(former.taken().minus(former.spent)))
    }

    /// Whether a purse is not begun, and too many were begun today to begin so many more.
    fn is_one_too_many(&mut self, account: &AccountName, period: &PeriodName, more: u64) -> bool {
        let most = self.most_new_purses.unwrap_or(MAX_NEW_PURSES);
        !self.purse(account, period).begun && self.begun.1 + more > most
    }

    fn answer(&mut self, identity: &Identity, group: &[Wish], now: u64, life: u64, sidecars: u64) -> Answer {
        if self.hold > now {
            return Answer::Paused;
        }
        let mut rooms = Vec::with_capacity(group.len());
        // Purses that the wishes before and this one begin.
        let mut new = 0;
        for (place, wish) in group.iter().enumerate() {
            if let Wished::Money { period, .. } = &wish.of {
                new += u64::from(!self.purse(&wish.account, period).begun);
                if self.is_one_too_many(&wish.account, period, new) {
                    let taken = self.taken(&wish.account, period, now).pico();
                    return Answer::Denied { place, taken, wait: wait_for_tomorrow(&wish.of, now) };
                }
            }
            match self.room(wish, now, sidecars) {
                Ok(room) => rooms.push(room),
                Err((taken, wait)) => {
                    self.note_refusal(wish, now);
                    return Answer::Denied { place, taken, wait };
                }
            }
        }
        let granted =
            group.iter().zip(&rooms).map(|(wish, room)| self.grant(identity, wish, room, now, life)).collect();
        Answer::Granted(granted)
    }

    /// What may be had, or what is taken and how long to wait.
    fn room(&mut self, wish: &Wish, now: u64, sidecars: u64) -> Result<Room, (u64, Option<u64>)> {
        // What is had on top: nothing where that is too little to be worth it, and would only be kept from others.
        let share = |rest: u64, least: u64, most: u64| {
            let extra = (rest / (2 * sidecars)).min(most.saturating_sub(least));
            let crumb = match least {
                0 => extra < most,
                least => u128::from(extra) < u128::from(least) * 4 && least + extra < most,
            };
            if crumb { 0 } else { extra }
        };
        match &wish.of {
            Wished::Rate { rate, least, most, limit } => {
                let window = self.windows.entry((wish.account.clone(), *rate)).or_default();
                window.retain(|slot, amount| slot + SPAN > now / 1000 && *amount > 0);
                let taken: u64 = window.values().sum();
                let leaves = |slot: u64| (slot + SPAN) * 1000 - now;
                if taken + least > *limit {
                    let mut rest = taken;
                    let wait = window.iter().find_map(|(slot, amount)| {
                        rest -= amount;
                        (rest + least <= *limit).then(|| leaves(*slot))
                    });
                    return Err((taken, wait));
                }
                let granted = least + share(limit - taken - least, *least, *most);
                Ok(Room { granted, taken, reset: window.keys().next_back().map_or(0, |slot| leaves(*slot)) })
            }
            Wished::Parallel { least, most, limit } => {
                let held = self.claims.entry(wish.account.clone()).or_default();
                held.retain(|_, (_, ends)| *ends > now);
                let taken: u64 = held.values().map(|(count, _)| count).sum();
                if taken + least > *limit {
                    return Err((taken, (least <= limit).then_some(0)));
                }
                let granted = least + share(limit - taken - least, *least, *most);
                Ok(Room { granted, taken, reset: 0 })
            }
            Wished::Money { period, least, most, limit } => {
                let taken = self.taken(&wish.account, period, now);
                if period.end.is_some_and(|end| end <= now) {
                    return Err((taken.pico(), Some(0)));
                }
                if taken.plus(*least) > *limit {
                    let wait = period.end.filter(|_| least <= limit).map(|end| end - now);
                    return Err((taken.pico(), wait));
                }
                let rest = limit.minus(taken).minus(*least);
                let granted = least.pico() + share(rest.pico(), least.pico(), most.pico());
                Ok(Room { granted, taken: taken.pico(), reset: 0 })
            }
        }
    }

    /// A call that would fit into a whole budget finds none: that is told of. What nobody waits for is not, nor what never fits.
    fn note_refusal(&mut self, wish: &Wish, now: u64) {
        if let Wished::Money { period, least, most: _, limit } = &wish.of
            && period.end.is_none_or(|end| end > now)
            && *least > PicoUsd::ZERO
            && least <= limit
        {
            self.purse(&wish.account, period).refused = Some(Refusal { limit: *limit, amount: *least });
        }
    }

    fn grant(&mut self, identity: &Identity, wish: &Wish, room: &Room, now: u64, life: u64) -> Grant {
        let Room { granted, taken, reset } = *room;
        match &wish.of {
            Wished::Rate { rate, .. } => {
                let window = self.windows.entry((wish.account.clone(), *rate)).or_default();
                *window.entry((now + life) / 1000).or_default() += granted;
            }
            Wished::Parallel { .. } => {
                let held = self.claims.entry(wish.account.clone()).or_default();
                let claim = held.entry(identity.sidecar.clone()).or_default();
                *claim = (claim.0 + granted, now + CLAIM_LIFE);
            }
            Wished::Money { period, limit, .. } => {
                let purse = if granted > 0 {
                    self.begin(&wish.account, period, now)
                } else {
                    self.purse(&wish.account, period)
                };
                let held = purse.held.entry(identity.sidecar.clone()).or_insert(PicoUsd::ZERO);
                *held = held.plus(PicoUsd::new(granted));
                // What was refused would have room beside this: others only held it for a while.
                let after = PicoUsd::new(taken).plus(PicoUsd::new(granted));
                purse.refused = purse.refused.filter(|refused| after.plus(refused.amount) > *limit);
            }
        }
        Grant { amount: granted, taken: taken + granted, reset }
    }
}

/// How long who wishes for money of one period too many waits: for the next day, or the next period, or for ever, where it is too much.
fn wait_for_tomorrow(of: &Wished, now: u64) -> Option<u64> {
    match of {
        Wished::Money { period, least: _, most: _, limit: _ } if period.end.is_some_and(|end| end <= now) => Some(0),
        Wished::Money { period: _, least, most: _, limit } if least > limit => None,
        Wished::Money { .. } | Wished::Rate { .. } | Wished::Parallel { .. } => Some(DAY - now % DAY),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn server() -> Server {
        Server { run: "one".into(), uptime: 100, clock: 1_900_000_000_000 }
    }

    fn money(pico: u64) -> Money {
        let period = PeriodName { name: "Total/UTC/0".into(), end: None };
        Money { account: "t".into(), period, amount: PicoUsd::new(pico) }
    }

    #[test]
    fn a_sidecar_that_was_started_anew_holds_what_it_names_and_no_more() {
        let mut model = Model::default();
        let identity = |epoch| Identity { sidecar: "a".into(), epoch };
        let first = Exchange { number: 1, holds: vec![money(70)], ..Exchange::default() };
        model.exchange(&server(), &identity(1), &first);
        assert_eq!(model.money("t", "Total/UTC/0").1, PicoUsd::new(70));
        let anew = Exchange { number: 1, ..Exchange::default() };
        model.exchange(&server(), &identity(2), &anew);
        assert_eq!(model.money("t", "Total/UTC/0").1, PicoUsd::ZERO);
    }

    #[test]
    fn spend_is_taken_once_and_only_after_what_came_before_it() {
        let mut model = Model::default();
        let identity = Identity { sidecar: "a".into(), epoch: 1 };
        let mut number = 0;
        let mut tell = |from, to| {
            number += 1;
            let spend = Spend { from, to, charges: vec![money(5)], entries: Vec::new() };
            model.exchange(&server(), &identity, &Exchange { number, after: number - 1, spend, ..Exchange::default() });
            model.money("t", "Total/UTC/0").0.pico()
        };
        assert_eq!([tell(0, 4), tell(0, 4), tell(7, 9), tell(4, 9), tell(4, 9)], [5, 5, 5, 10, 10]);
    }

    #[test]
    fn one_period_too_many_waits_for_tomorrow_and_what_was_spent_counts_all_the_same() {
        let mut model = Model::with_most_new_purses(1);
        let identity = Identity { sidecar: "a".into(), epoch: 1 };
        let wish = |account: &str| {
            let period = PeriodName { name: "Total/UTC/0".into(), end: None };
            let (least, most, limit) = (PicoUsd::new(5), PicoUsd::new(5), PicoUsd::new(100));
            vec![Wish { account: account.into(), of: Wished::Money { period, least, most, limit } }]
        };
        let spend = Spend { from: 0, to: 1, charges: vec![money(7)], entries: Vec::new() };
        let groups = vec![wish("t"), wish("tu:ada")];
        let exchange = Exchange { number: 1, spend, groups: groups.clone(), ..Exchange::default() };
        let reply = model.exchange(&server(), &identity, &exchange);
        let wait = Some(DAY - server().clock % DAY);
        assert!(
            matches!(reply.answers.as_slice(), [Answer::Granted(_), Answer::Denied { place: 0, taken: 0, wait: of }] if *of == wait)
        );
        assert_eq!(model.money("t", "Total/UTC/0").0, PicoUsd::new(7));
        let tomorrow = Server { clock: server().clock + DAY, ..server() };
        let again = Exchange { number: 2, after: 1, groups, ..Exchange::default() };
        let reply = model.exchange(&tomorrow, &identity, &again);
        assert!(reply.answers.iter().all(|answer| matches!(answer, Answer::Granted(_))), "{reply:?}");
    }

    #[test]
    fn a_refusal_is_noted_until_there_is_room_for_the_call() {
        let mut model = Model::default();
        let mut number = 0;
        let mut wish = |model: &mut Model, sidecar: &str, held, least| {
            number += 1;
            let period = PeriodName { name: "Total/UTC/0".into(), end: None };
            let pico = PicoUsd::new;
            let of = Wished::Money { period, least: pico(least), most: pico(least), limit: pico(100) };
            let groups = vec![vec![Wish { account: "t".into(), of }]];
            let exchange = Exchange { number, holds: vec![money(held)], groups, ..Exchange::default() };
            model.exchange(&server(), &Identity { sidecar: sidecar.into(), epoch: 1 }, &exchange);
            model.refusal("t", "Total/UTC/0").map(|refusal| (refusal.limit.pico(), refusal.amount.pico()))
        };
        assert_eq!(wish(&mut model, "a", 90, 20), Some((100, 20)));
        assert_eq!(wish(&mut model, "b", 0, 5), Some((100, 20)), "a smaller one says nothing about it");
        assert_eq!(wish(&mut model, "b", 0, 101), Some((100, 20)), "what never fits says nothing of what is left");
        assert_eq!(wish(&mut model, "a", 60, 5), None, "the others held it only for a while");
    }
}
