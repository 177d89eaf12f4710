//! What a sidecar and the store tell each other about one Team.

use std::sync::Arc;

use vectoll_config::{PicoUsd, v1::Limits};

/// Slots that any minute, hour or day can touch: an amount in slot `s` counts until the end of slot `s + 60`.
pub const SPAN: u64 = 61;

/// Amounts of requests and tokens stay below this: the store's language holds whole numbers up to 2⁵³ exactly.
pub const MAX_INTEGER: u64 = 1 << 53;

/// An account of the Team, in the store's words: `t`; `k:UID`; `tu:USER`; `ku:UID:USER`; `tm:MODEL`; `km:UID:MODEL`; `tt:TAG`;
/// `d:` and one of these: its calls that are no queries.
pub type AccountName = Arc<str>;

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// Requests.
    Requests,
    /// Tokens.
    Tokens,
}

/// Over which stretch of time a rate is limited, wherever it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Per {
    /// Any 60 seconds.
    Minute,
    /// Any 60 minutes.
    Hour,
    /// Any 24 hours.
    Day,
}

/// A rate that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    /// What it counts.
    pub of: Counted,
    /// In which time.
    pub per: Per,
}

/// A change to what counts in a slot of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Whose window.
    pub account: AccountName,
    /// Of which rate.
    pub rate: Rate,
    /// The slot, by the store's time: see [`Rate::slot`].
    pub slot: u64,
    /// What is added; negative: taken out.
    pub amount: i64,
}

/// A period of a budget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeriodName {
    /// Its kind, zone and first moment, for example `Monthly/Europe/Berlin/1793487600`.
    pub name: Arc<str>,
    /// The first moment after it, in milliseconds since 1970; none: it never ends.
    pub end: Option<u64>,
}

/// Money of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    /// Whose budget.
    pub account: AccountName,
    /// Which period.
    pub period: PeriodName,
    /// How much.
    pub amount: PicoUsd,
}

/// Money that was spent, in all budgets of an account that it counts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Whose budgets.
    pub account: AccountName,
    /// Which periods of them: each once.
    pub periods: Vec<PeriodName>,
    /// How much.
    pub amount: PicoUsd,
}

/// Parallel requests of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub account: AccountName,
    /// How many this sidecar holds, in use or not.
    pub count: u64,
}

/// An entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The calendar month in UTC, `2026-11`.
    pub month: Arc<str>,
    /// What is counted: a [`Series`](vectoll_config::store::Series) as text.
    pub field: Arc<str>,
    /// Calls.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
    /// Money.
    pub money: PicoUsd,
}

/// Spend that was settled, by the numbers of the settlements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// The last number that the store is known to have.
    pub from: u64,
    /// The last number in here.
    pub to: u64,
    /// What budgets are charged.
    pub charges: Vec<Charge>,
    /// What the ledger is told.
    pub entries: Vec<Entry>,
}

/// What is asked for, within a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Whose.
    pub account: AccountName,
    /// Of what.
    pub of: LeaseKind,
}

/// Amounts: the least that helps, the most that is of use, and the limit that it is held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseKind {
    /// Requests or tokens of a window.
    Rate {
        /// Which.
        rate: Rate,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
        /// The limit.
        limit: u64,
    },
    /// Parallel requests.
    Parallel {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
        /// The limit.
        limit: u64,
    },
    /// Money of a budget.
    Money {
        /// The period.
        period: PeriodName,
        /// The least.
        least: PicoUsd,
        /// The most.
        most: PicoUsd,
        /// The limit.
        limit: PicoUsd,
    },
}

/// One exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Its number within the epoch, from 1. One that is not above all before is not taken: its sender has gone on without it.
    pub number: u64,
    /// The last exchange of this epoch that the sidecar knows to be taken. If the store has lost it, it takes nothing before it
    /// is told again.
    pub after: u64,
    /// Whether it only asks what was the last exchange: after one whose answer was lost. Claims and holds count all the same.
    pub asks_only: bool,
    /// How long a lease lasts, in milliseconds.
    pub life: u64,
    /// How long nothing is granted after the store was started anew, in milliseconds.
    pub pause: u64,
    /// How many users the ledger tells apart; those beyond share `u:_other`.
    pub most_users: u64,
    /// Changes to windows.
    pub corrections: Vec<Correction>,
    /// Parallel requests that are held, for renewal; 0 gives back.
    pub claims: Vec<Claim>,
    /// Spend.
    pub spend: Spend,
    /// All money that is held, after the spend.
    pub holds: Vec<Money>,
    /// Lease requests, each group to be met as a whole.
    pub groups: Vec<Vec<LeaseRequest>>,
}

/// Who a sidecar is to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// A name that lives as long as its state folder.
    pub sidecar: Arc<str>,
    /// Grows with each start.
    pub epoch: u64,
}

/// What the store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its time, in milliseconds since 1970; never less than it was for this Team.
    pub now: u64,
    /// Which start of which server this is.
    pub run: Arc<str>,
    /// How long it goes on granting nothing, in milliseconds; 0: it grants.
    pub pause: u64,
    /// The last exchange before this one that it has taken of this sidecar and that did more than ask: epoch and number.
    pub before: Option<(u64, u64)>,
    /// The last number of spend that it has of this sidecar.
    pub spent_to: u64,
    /// Sidecars that were heard of lately for this Team.
    pub sidecars: u64,
    /// For each group of requests; none at all if the exchange was not taken.
    pub answers: Vec<StoreAnswer>,
}

/// What becomes of a group of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// All of them are met.
    Granted(Vec<Grant>),
    /// None is, because of this one.
    Denied {
        /// Its place in the group.
        place: usize,
        /// What is taken there: requests, tokens, calls, or pico-USD.
        taken: u64,
        /// When there may be room, in milliseconds; none: the request is over the limit, or the budget has no next period.
        /// 0 where it depends on others.
        wait: Option<u64>,
    },
    /// Nothing is granted at present.
    Paused,
}

/// A request that is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How much.
    pub amount: u64,
    /// What is taken in all, this included.
    pub taken: u64,
    /// When everything that was there before has left the window, in milliseconds.
    pub reset: u64,
}

impl Per {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// How long a slot is, in seconds: a sixtieth of the time, so that a limit holds in any such time, and what leaves it does so
    /// a sixtieth late at most.
    pub const fn slot_seconds(self) -> u64 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
            Self::Day => 1440,
        }
    }
}

impl Rate {
    /// Both rates of a minute.
    pub const PER_MINUTE: [Self; 2] = [Self::requests(Per::Minute), Self::tokens(Per::Minute)];
    /// Those of longer times, which few limits have.
    pub const LONG: [Self; 4] =
        [Self::requests(Per::Hour), Self::tokens(Per::Hour), Self::requests(Per::Day), Self::tokens(Per::Day)];

    /// Its place among the six.
    pub(crate) const fn index(self) -> u8 {
        let of = match self.of {
            Counted::Requests => 0,
            Counted::Tokens => 1,
        };
        match self.per {
            Per::Minute => of,
            Per::Hour => 2 + of,
            Per::Day => 4 + of,
        }
    }

    /// Requests in such a time.
    pub const fn requests(per: Per) -> Self {
        Self { of: Counted::Requests, per }
    }

    /// Tokens in such a time.
    pub const fn tokens(per: Per) -> Self {
        Self { of: Counted::Tokens, per }
    }

    /// The slot that a moment falls in, in milliseconds since 1970.
    pub const fn slot(self, ms: u64) -> u64 {
        ms / (1000 * self.per.slot_seconds())
    }

    /// When a slot has left the window, in milliseconds since 1970.
    pub const fn leaves(self, slot: u64) -> u64 {
        slot.saturating_add(SPAN).saturating_mul(1000 * self.per.slot_seconds())
    }

    /// What the limit on it is, if there is one.
    pub fn limit(self, limits: &Limits) -> Option<u64> {
        match (self.of, self.per) {
            (Counted::Requests, Per::Minute) => limits.requests_per_minute,
            (Counted::Requests, Per::Hour) => limits.requests_per_hour,
            (Counted::Requests, Per::Day) => limits.requests_per_day,
            (Counted::Tokens, Per::Minute) => limits.tokens_per_minute,
            (Counted::Tokens, Per::Hour) => limits.tokens_per_hour,
            (Counted::Tokens, Per::Day) => limits.tokens_per_day,
        }
        .map(|limit| limit.min(MAX_INTEGER))
    }

    /// The word in the store.
    pub const fn word(self) -> &'static str {
        match (self.of, self.per) {
            (Counted::Requests, Per::Minute) => "r",
            (Counted::Requests, Per::Hour) => "rh",
            (Counted::Requests, Per::Day) => "rd",
            (Counted::Tokens, Per::Minute) => "t",
            (Counted::Tokens, Per::Hour) => "th",
            (Counted::Tokens, Per::Day) => "td",
        }
    }
}
