//! Money of budgets over a restart.

use std::sync::Arc;

use jiff::Timestamp;
use vectoll_config::{
    PicoUsd, Uid, ZoneName,
    v1::{Budget, Period},
};

use super::{Memory, count::Purse};
use crate::counters::{Account, budget::stretch};

/// A budget's money as it is kept over a restart.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remembered {
    account: RememberedAccount,
    period: Period,
    zone: ZoneName,
    start: Timestamp,
    taken: u64,
}

/// The accounts that have budgets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
enum RememberedAccount {
    Key(Uid),
    Team(Uid),
    TeamUser(Uid, Arc<str>),
}

impl Memory {
    /// The budgets' money, for keeping. What is reserved counts as spent: after a restart nobody can settle it.
    pub fn remember(&self) -> Vec<Remembered> {
        let mut all = Vec::new();
        {
            let table = self.table();
            for (account, &id) in &table.index {
                let account = match account {
                    Account::Key(uid) => RememberedAccount::Key(uid.clone()),
                    Account::Team(uid) => RememberedAccount::Team(uid.clone()),
                    Account::TeamUser(uid, user) => RememberedAccount::TeamUser(uid.clone(), user.clone()),
                    Account::KeyUser(..) | Account::KeyModel(..) | Account::TeamModel(..) => continue,
                };
                for purse in table.counts.get(id).iter().flat_map(|count| &count.purses) {
                    all.push(Remembered {
                        account: account.clone(),
                        period: purse.period,
                        zone: purse.zone.clone(),
                        start: purse.start,
                        taken: purse.taken.pico(),
                    });
                }
            }
        }
        // Not under the lock: no call waits for it.
        all.sort_by(|a, b| a.account.cmp(&b.account).then(a.start.cmp(&b.start)));
        all
    }

    /// Grows whenever there is something new to remember.
    pub fn changes(&self) -> u64 {
        self.table().changes
    }

    /// Takes up what a former process of this sidecar remembered. Periods that are over are dropped when next used.
    pub fn recall(&self, remembered: Vec<Remembered>) {
        let mut table = self.table();
        for entry in remembered {
            let budget = Budget { limit: PicoUsd::ZERO, period: entry.period, time_zone: entry.zone };
            let period = stretch(&budget, entry.start);
            let account = match entry.account {
                RememberedAccount::Key(uid) => Account::Key(uid),
                RememberedAccount::Team(uid) => Account::Team(uid),
                RememberedAccount::TeamUser(uid, user) => {
                    table.users.insert(uid.clone(), user.clone());
                    Account::TeamUser(uid, user)
                }
            };
            let id = table.id(&account);
            if let Some(count) = table.counts.get_mut(id) {
                count.purses.push(Purse {
                    period: entry.period,
                    zone: budget.time_zone,
                    start: period.start,
                    end: period.end,
                    taken: PicoUsd::new(entry.taken),
                    since: 0,
                });
            }
        }
    }
}
