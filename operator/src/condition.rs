//! Conditions: what is known of a resource, in the ecosystem's words.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;

use crate::observed_state::Counting;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody knows yet.
    Unknown,
}

/// Types of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// The spec makes sense, and nothing older claims what it claims.
    Accepted,
    /// What it refers to is there and may be used.
    ResolvedRefs,
    /// Another resource has what it claims, at least in part.
    Conflicted,
    /// What every backend charges is known.
    Priced,
    /// The list prices that it uses were checked lately.
    PricesCurrent,
    /// Every name of its list of models is that of a route that can be reached.
    ModelsMatched,
    /// Some key can reach it.
    Reachable,
    /// The limits and budgets hold for all calls together.
    LimitsExact,
    /// Calls are refused because its budget is spent, or too little is left of it.
    BudgetExceeded,
    /// As much of its budget is spent as it is to warn of.
    BudgetWarning,
    /// Calls are refused because its owner wants it so.
    Suspended,
    /// Calls are refused because its time is over.
    Expired,
    /// The sidecars serve by it.
    Programmed,
    /// What was asked for is done, as far as is known. A key that is refused because its owner wants it so is as it should be.
    Ready,
}

/// One condition, with a reason for programs and a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which.
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: Status,
    /// Why, in CamelCase.
    pub reason: &'static str,
    /// What it means and what to do.
    pub message: Cow<'static, str>,
}

impl Status {
    /// As the API has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl ConditionType {
    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::Accepted,
        Self::ResolvedRefs,
        Self::Conflicted,
        Self::Priced,
        Self::PricesCurrent,
        Self::ModelsMatched,
        Self::Reachable,
        Self::LimitsExact,
        Self::BudgetExceeded,
        Self::BudgetWarning,
        Self::Suspended,
        Self::Expired,
        Self::Programmed,
        Self::Ready,
    ];

    /// As the API has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Conflicted => "Conflicted",
            Self::Priced => "Priced",
            Self::PricesCurrent => "PricesCurrent",
            Self::ModelsMatched => "ModelsMatched",
            Self::Reachable => "Reachable",
            Self::LimitsExact => "LimitsExact",
            Self::BudgetExceeded => "BudgetExceeded",
            Self::BudgetWarning => "BudgetWarning",
            Self::Suspended => "Suspended",
            Self::Expired => "Expired",
            Self::Programmed => "Programmed",
            Self::Ready => "Ready",
        }
    }
}

impl ConditionType {
    /// Whether its message tells of amounts that go on changing while it stays as it is.
    pub(crate) fn has_amounts(self) -> bool {
        matches!(self, Self::BudgetExceeded | Self::BudgetWarning)
    }
}

impl Condition {
    pub(crate) fn holds(kind: ConditionType, reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, status: Status::True, reason, message: message.into() }
    }

    pub(crate) fn fails(kind: ConditionType, reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, status: Status::False, reason, message: message.into() }
    }
}

impl Condition {
    /// Whether the resource cannot work because of it: its spec or a reference of it is wrong.
    pub(crate) fn stops(&self) -> bool {
        self.status == Status::False && matches!(self.kind, ConditionType::Accepted | ConditionType::ResolvedRefs)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} {}", self.kind.name(), self.status.name(), self.reason)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// Whether limits hold to the letter, with so many sidecars.
pub(crate) fn exactness(counting: Counting, sidecars: usize) -> Condition {
    match counting {
        Counting::Together => Condition::holds(ConditionType::LimitsExact, "SharedStore", ""),
        Counting::Unreachable => {
            let message = "the operator cannot reach the store, its log says why: sidecars that cannot either hold their \
                           last shares or refuse limited calls, as onStoreFailure says";
            Condition::fails(ConditionType::LimitsExact, "StoreUnreachable", message)
        }
        Counting::Full => {
            let message = "the store is full and counts nothing more: sidecars hold their last shares or refuse limited calls, as \
                           onStoreFailure says, until it has more memory";
            Condition::fails(ConditionType::LimitsExact, "StoreFull", message)
        }
        Counting::Busy => {
            let message = "a script keeps the store busy and cannot be ended: sidecars hold their last shares or refuse limited \
                           calls, as onStoreFailure says, until the store is started anew";
            Condition::fails(ConditionType::LimitsExact, "StoreBusy", message)
        }
        Counting::Volatile => {
            let message = "the store writes no append-only file and has no replica: when it restarts, what sidecars that stand still or \
                           are gone had spent is unknown to it, and budgets can be overspent. Set `appendonly yes`";
            Condition::fails(ConditionType::LimitsExact, "StoreNotPersistent", message)
        }
        Counting::Apart if sidecars > 1 => {
            let message = "several sidecars run, and each holds the full limit and budget for itself: together they may \
                           admit as many times as much";
            Condition::fails(ConditionType::LimitsExact, "PerSidecar", message)
        }
        Counting::Apart => Condition::holds(ConditionType::LimitsExact, "OneSidecar", ""),
    }
}

/// That calls are refused because the owner wants it so. Where they are not there is no such condition.
pub(crate) fn suspended(message: &'static str) -> Condition {
    Condition::holds(ConditionType::Suspended, "Suspended", message)
}

/// Whether the time of a key that has an end is over.
pub(crate) fn expiry(end: Timestamp, now: Timestamp) -> Condition {
    if end <= now {
        let message = format!("the key expired at {end}: calls are refused");
        Condition::holds(ConditionType::Expired, "Expired", message)
    } else {
        Condition::fails(ConditionType::Expired, "NotExpired", format!("the key expires at {end}"))
    }
}

/// Completes a resource's conditions. Delivery cannot be confirmed before sidecars acknowledge what they serve by, so
/// `Programmed` says that it is unknown, and `Ready` rests on the others.
pub(crate) fn complete(mut conditions: Vec<Condition>) -> Vec<Condition> {
    let failed = conditions
        .iter()
        .find(|condition| condition.stops())
        .map(|condition| (condition.reason, condition.message.clone()));
    let last = match failed {
        None => Condition::holds(ConditionType::Ready, "Ready", ""),
        Some((reason, message)) => Condition::fails(ConditionType::Ready, reason, message),
    };
    conditions.push(Condition {
        kind: ConditionType::Programmed,
        status: Status::Unknown,
        reason: "DeliveryUnconfirmed",
        message: "sidecars acknowledge configs in a store, and none is set up".into(),
    });
    conditions.push(last);
    conditions
}
