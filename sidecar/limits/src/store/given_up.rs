//! Spend that no store will take any more: of a Team that is gone, and with it the right to its keys.
//!
//! A user of the store keeps its right to a Team's keys for a while after the config has lost the Team (the operator's linger, ten
//! minutes), so that what was called before can be booked. A Team all of whose calls the gateway carries out from now on is lost in the same way. Whoever was away for all of that time is refused for ever after, and the
//! journal would keep the Team's spend until it is full. So it is kept for a day, or until more than half of the journal is
//! spend that the store has not taken; then it is written down as one line of the log, counted, and let go.

use std::{sync::Arc, time::Duration};

use vectoll_config::{PicoUsd, Uid};

use super::{driver::Driver, metrics::StoreMetrics};
use vectoll_ledger::journal::{Journal, Settled};

/// How long spend is kept that the store refuses, of a Team that the config does not have.
const KEPT: Duration = Duration::from_hours(24);
/// Settlements that are read at a time.
const READ_BATCH: usize = 1_000;

/// What becomes of a Team whose keys the store forbids.
pub(super) enum Verdict {
    /// It goes on as it was.
    Kept,
    /// It is gone, and nothing of it was left to be told.
    Forgotten,
    /// It is gone, and what was left to be told is given up from now on.
    GivenUp,
}

/// Judges a Team whose keys the store has forbidden for so long.
pub(super) fn verdict(driver: &Driver, team: &Uid, refused: Duration) -> Verdict {
    let Driver { leased, journal, served, metrics, .. } = driver;
    if served.generation() == 0 || served.counts_team(team) || served.is_limited(team) {
        return Verdict::Kept;
    }
    let untold = journal.untold(team).is_some();
    if (untold && !is_due(refused, journal.is_pressed())) || !leased.forget(team) {
        return Verdict::Kept;
    }
    if !untold {
        return Verdict::Forgotten;
    }
    let (journal, team, metrics) = (journal.clone(), team.clone(), metrics.clone());
    tokio::task::spawn_blocking(move || give_up(&journal, &team, &metrics));
    Verdict::GivenUp
}

/// Whether it is time. `refused`: for how long the store has refused it.
fn is_due(refused: Duration, is_pressed: bool) -> bool {
    refused >= KEPT || is_pressed
}

/// What is given up of an owner's: of a Team that calls were made with, or of one above theirs, or a backend, that has their money in
/// its budgets only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct GivenUp {
    /// The Team's name, where calls were its own.
    name: Option<Arc<str>>,
    /// Its own calls, which no ledger has.
    own: u64,
    tokens: u64,
    money: PicoUsd,
    /// Calls of other Teams, whose ledgers have them: what is lost is their money in its budgets.
    of_others: u64,
    owed: PicoUsd,
}

impl GivenUp {
    fn add(&mut self, owner: &Uid, Settled { number: _, intent, settlement }: &Settled) {
        if intent.team.uid == *owner {
            self.name = Some(intent.team.name.clone());
            self.own += 1;
            self.tokens = self.tokens.saturating_add(settlement.tokens);
            self.money = self.money.plus(settlement.money);
        } else if intent.charges_of(owner).next().is_some() {
            self.of_others += 1;
            self.owed = self.owed.plus(settlement.money);
        }
    }
}

/// Gives up what the journal has of an owner's beyond what the store has taken. Reads files: for a thread that may wait.
fn give_up(journal: &Journal, owner: &Uid, metrics: &StoreMetrics) {
    let Some((known, last)) = journal.untold(owner) else { return };
    let (mut after, mut all) = (known, GivenUp::default());
    loop {
        let settled = journal.settled_after(owner, after, READ_BATCH);
        let Some(newest) = settled.last() else { break };
        after = newest.number;
        for each in &settled {
            all.add(owner, each);
        }
    }
    journal.acknowledged(owner, last);
    let GivenUp { name, own, tokens, money, of_others, owed } = all;
    metrics.gave_up(own + of_others);
    // After a start it is not known what the store has: it may have a part of this.
    if own > 0 {
        tracing::error!(
            team = %owner,
            name = name.as_deref(),
            settlements = own,
            tokens,
            usd = %money,
            "spend of a Team that is gone is given up: the store takes it no more, and no ledger of it has this"
        );
    }
    if of_others > 0 {
        tracing::error!(
            %owner,
            settlements = of_others,
            usd = %owed,
            "what calls of other Teams spent in the budgets of a Team above them, or of a backend, that is gone is given up: the store takes it no \
             more; their own ledgers have it"
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jiff::Timestamp;
    use vectoll_config::{ZoneName, v1::Period};
    use vectoll_ledger::{
        books::Certainty,
        charge::{BudgetAccount, BudgetPeriod},
        journal::{Intent, Named, Settlement},
    };

    use super::*;

    #[test]
    fn what_is_lost_is_the_owners_own_and_of_other_teams_calls_their_money_alone() {
        let charge = |account| {
            let zone = ZoneName::try_from("UTC".to_owned()).unwrap();
            Arc::new(BudgetPeriod { account, period: Period::Total, zone, start: Timestamp::UNIX_EPOCH })
        };
        let (org, backend) = (Uid::new("org"), Uid::new("backend:one:models/route/a"));
        let call = |team: &str, charges| {
            let named = |uid: &str| Named { uid: Uid::new(uid), name: format!("the-{uid}").into() };
            let intent = Intent {
                team: named(team),
                key: named("k"),
                user: "ada".into(),
                model: "small".into(),
                provider: "openai".into(),
                backend: "models/route/a".into(),
                requests: 1,
                tags: Vec::new(),
                foreign_route: false,
                admitted_at: Timestamp::UNIX_EPOCH,
                tokens: 9,
                money: PicoUsd::new(9),
                priced: true,
                charges,
            };
            let settlement =
                Settlement { intent: 1, tokens: 7, money: PicoUsd::new(3), certainty: Certainty::Known, overrun: 0 };
            Settled { number: 2, intent: Arc::new(intent), settlement }
        };
        let below =
            call("t", vec![charge(BudgetAccount::Team(org.clone())), charge(BudgetAccount::Backend(backend.clone()))]);
        let own = call("org", Vec::new());
        let sum = |owner: &Uid| {
            let mut all = GivenUp::default();
            for settled in [&below, &own] {
                all.add(owner, settled);
            }
            all
        };
        let (one, three) = (Some("the-org".into()), PicoUsd::new(3));
        let of_org = GivenUp { name: one, own: 1, tokens: 7, money: three, of_others: 1, owed: three };
        assert_eq!(sum(&org), of_org, "its own call, and the money of the one below it");
        assert_eq!(sum(&backend), GivenUp { of_others: 1, owed: three, ..GivenUp::default() }, "and no Team's name");
        assert_eq!(sum(&Uid::new("other")), GivenUp::default());
    }

    #[test]
    fn a_day_or_a_journal_that_is_half_full_is_the_end() {
        assert!(!is_due(Duration::from_secs(24 * 3600 - 1), false));
        assert!(is_due(Duration::from_hours(24), false));
        assert!(is_due(Duration::ZERO, true));
    }
}
