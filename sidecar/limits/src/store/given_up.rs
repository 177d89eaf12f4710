//! Spend that no store will take any more: of a Team that is gone, and with it the right to its keys.
//!
//! A user of the store keeps its right to a Team's keys for a while after the config has lost the Team (the operator's linger, ten
//! minutes), so that what was called before can be booked. Whoever was away for all of that time is refused for ever after, and the
//! journal would keep the Team's spend until it is full. So it is kept for a day, or until more than half of the journal is
//! spend that the store has not taken; then it is written down as one line of the log, counted, and let go.

use std::time::Duration;

use vectoll_config::{PicoUsd, Uid};

use super::{driver::Driver, metrics::StoreMetrics};
use vectoll_ledger::journal::Journal;

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
    if served.generation() == 0 || served.has_team(team) || served.is_limited(team) {
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

/// Gives up what a Team's journal has beyond what the store has taken. Reads files: for a thread that may wait.
fn give_up(journal: &Journal, team: &Uid, metrics: &StoreMetrics) {
    let Some((known, last)) = journal.untold(team) else { return };
    let (mut after, mut settlements, mut tokens, mut money) = (known, 0, 0_u64, PicoUsd::ZERO);
    let mut name = None;
    loop {
        let settled = journal.settled_after(team, after, READ_BATCH);
        let Some(newest) = settled.last() else { break };
        after = newest.number;
        name = Some(newest.intent.team.name.clone());
        for each in &settled {
            settlements += 1;
            tokens = tokens.saturating_add(each.settlement.tokens);
            money = money.plus(each.settlement.money);
        }
    }
    journal.acknowledged(team, last);
    metrics.gave_up(settlements);
    // After a start it is not known what the store has: it may have a part of this.
    tracing::error!(
        %team,
        name = name.as_deref(),
        settlements,
        tokens,
        usd = %money,
        "spend of a Team that is gone is given up: the store takes it no more, and no ledger of it has this"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_or_a_journal_that_is_half_full_is_the_end() {
        assert!(!is_due(Duration::from_secs(24 * 3600 - 1), false));
        assert!(is_due(Duration::from_hours(24), false));
        assert!(is_due(Duration::ZERO, true));
    }
}
