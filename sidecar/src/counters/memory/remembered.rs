//! Money of budgets over a restart.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use vectoll_config::{
    PicoUsd, ZoneName, stretch,
    v1::{Budget, Period},
};

use super::{Memory, Table, count::Purse};
use crate::counters::{Account, Charge, OTHER, Payer};

/// A budget's money as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Remembered {
    charge: Arc<Charge>,
    booked: PicoUsd,
}

/// The same as it is written; `taken` is in pico-USD.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    account: Payer,
    period: Period,
    zone: ZoneName,
    start: Timestamp,
    taken: u64,
}

impl From<Written> for Remembered {
    fn from(Written { account, period, zone, start, taken }: Written) -> Self {
        Self { charge: Arc::new(Charge { account, period, zone, start }), booked: PicoUsd::new(taken) }
    }
}

impl From<Remembered> for Written {
    fn from(Remembered { charge, booked }: Remembered) -> Self {
        let Charge { account, period, zone, start } = Arc::unwrap_or_clone(charge);
        Self { account, period, zone, start, taken: booked.pico() }
    }
}

impl Memory {
    /// The settled money of all budgets, for keeping. Of reservations the journal knows.
    pub fn remember(&self) -> Vec<Remembered> {
        let table = self.table();
        let purses = table.counts.iter().flat_map(|(_, count)| &count.purses);
        // Little is done under the lock: no call waits for long.
        purses.map(|purse| Remembered { charge: purse.charge.clone(), booked: purse.booked }).collect()
    }

    /// Takes up what a former process of this sidecar remembered. Periods that are over are dropped when next used.
    pub fn recall(&self, remembered: Vec<Remembered>) {
        let mut table = self.table();
        for Remembered { charge, booked } in remembered {
            let budget = Budget { limit: PicoUsd::ZERO, period: charge.period, time_zone: charge.zone.clone() };
            let end = stretch(&budget, charge.start).end;
            let id = table.account_of(&charge.account);
            if let Some(count) = table.counts.get_mut(id) {
                count.purses.push(Purse { charge, end, taken: booked, booked, since: 0 });
            }
        }
    }

    /// Books money that a former process of this sidecar settled after the last time that it remembered: `charges` are
    /// the budgets that it was reserved in, `admitted` is when.
    pub fn replay(&self, charges: &[Arc<Charge>], admitted: Timestamp, money: PicoUsd) {
        let mut table = self.table();
        let mut accounts = HashSet::new();
        for charge in charges {
            let Charge { account, period, zone, start: _ } = &**charge;
            let id = table.account_of(account);
            accounts.insert(id);
            if let Some(count) = table.counts.get_mut(id) {
                let budget = Budget { limit: PicoUsd::ZERO, period: *period, time_zone: zone.clone() };
                count.open(&Account::from(account), &budget, admitted, 0);
            }
        }
        // Once an account, in all that it keeps up: a budget that was edited while the call ran is among them.
        for id in accounts {
            let purses = table.counts.get_mut(id).into_iter().flat_map(|count| &mut count.purses);
            let named = |purse: &Purse| charges.iter().any(|charge| **charge == *purse.charge);
            for purse in purses.filter(|purse| named(purse) || purse.covers(admitted)) {
                purse.taken = purse.taken.plus(money);
                purse.booked = purse.booked.plus(money);
            }
        }
    }
}

impl Table {
    fn account_of(&mut self, payer: &Payer) -> usize {
        // Those that share one name take nobody's place.
        if let Payer::TeamUser(team, user) = payer
            && **user != *OTHER
        {
            self.users.insert(team.clone(), user.clone());
        }
        self.id(&Account::from(payer))
    }
}
