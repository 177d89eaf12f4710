//! Of all conditions of a resource the one that its owner has to know of. Pure.

use super::{budget::BudgetLine, facts::Stated};

/// How bad it is; the worst first, as it is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It does not work.
    Failed,
    /// Calls are refused: a budget is spent.
    Refusing,
    /// Calls are refused because its owner wants it so, or its time is over.
    Stopped,
    /// It works, and something about it is to be looked at.
    Warning,
    /// Nobody has looked at it yet.
    Unknown,
    /// It is as it should be.
    Ready,
}

impl Level {
    /// All of them, the worst first.
    pub(super) const ALL: [Self; 6] =
        [Self::Failed, Self::Refusing, Self::Stopped, Self::Warning, Self::Unknown, Self::Ready];

    /// By its word.
    pub(super) fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }

    /// As programs and people read it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Refusing => "Refusing",
            Self::Stopped => "Stopped",
            Self::Warning => "Warning",
            Self::Unknown => "Unknown",
            Self::Ready => "Ready",
        }
    }
}

/// What is shown of a resource in one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) level: Level,
    /// The reason of the condition that says so, in CamelCase.
    pub(super) reason: String,
    /// What it means and what to do; often empty.
    pub(super) message: String,
}

/// Conditions that speak of a fault while they are True.
const BAD_IF_TRUE: [(&str, Level); 5] = [
    ("BudgetExceeded", Level::Refusing),
    ("Suspended", Level::Stopped),
    ("Expired", Level::Stopped),
    ("BudgetWarning", Level::Warning),
    ("Conflicted", Level::Warning),
];

/// Those that do while they are False. `Ready` is the sum of the first two.
const BAD_IF_FALSE: [(&str, Level); 9] = [
    ("Accepted", Level::Failed),
    ("ResolvedRefs", Level::Failed),
    ("Ready", Level::Failed),
    ("Programmed", Level::Warning),
    ("LimitsExact", Level::Warning),
    ("Priced", Level::Warning),
    ("PricesCurrent", Level::Warning),
    ("ModelsMatched", Level::Warning),
    ("Reachable", Level::Warning),
];

/// The worst of what is said. Conditions of types that are not ours say nothing here.
pub(super) fn state(conditions: &[Stated]) -> State {
    let level = |condition: &Stated| {
        let table: &[(&str, Level)] = match condition.status.as_str() {
            "True" => &BAD_IF_TRUE,
            "False" => &BAD_IF_FALSE,
            _ => return None,
        };
        table.iter().find(|(kind, _)| *kind == condition.kind).map(|(_, level)| *level)
    };
    let worst =
        conditions.iter().filter_map(|condition| Some((level(condition)?, condition))).min_by_key(|(level, _)| *level);
    if let Some((level, condition)) = worst {
        return State { level, reason: condition.reason.clone(), message: condition.message.clone() };
    }
    let is_ready = conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True");
    let (level, reason) = if is_ready { (Level::Ready, "Ready") } else { (Level::Unknown, "NotReconciled") };
    let message = if is_ready { "" } else { "the operator has not looked at it yet" };
    State { level, reason: reason.to_owned(), message: message.to_owned() }
}

/// The same, with what the store says of its budgets: that is known before it stands in a condition, and in a folder it never does.
pub(super) fn state_with(conditions: &[Stated], budgets: &[BudgetLine]) -> State {
    let state = state(conditions);
    match budgets.iter().find(|line| line.refuses()) {
        Some(BudgetLine { period, limit: Some(limit), .. }) if state.level > Level::Stopped => State {
            level: Level::Refusing,
            reason: "BudgetExceeded".to_owned(),
            message: format!("too little is left of the {period} budget of {limit} USD, so calls are refused"),
        },
        Some(_) | None => state,
    }
}

#[cfg(test)]
mod tests {
    use vectoll_config::PicoUsd;

    use super::*;
    use crate::{condition::ConditionType, page::budget::Live};

    #[test]
    fn a_budget_that_refuses_is_seen_before_a_condition_says_it() {
        let line = |spent: u64, refused_at: Option<u64>, audit: bool| BudgetLine {
            period: "Daily".into(),
            spent: Some(PicoUsd::new(spent)),
            limit: Some(PicoUsd::new(10)),
            resets: None,
            live: Some(Live { held: PicoUsd::new(0), refused_at: refused_at.map(PicoUsd::new), audit }),
            written: None,
        };
        let of = |kind: &str, status: &str, line: BudgetLine| state_with(&[stated(kind, status, "Why")], &[line]).level;
        assert_eq!(of("Ready", "True", line(9, None, false)), Level::Ready);
        assert_eq!(of("Ready", "True", line(9, Some(10), false)), Level::Refusing);
        assert_eq!(of("Ready", "True", line(10, None, false)), Level::Refusing);
        assert_eq!(of("Ready", "True", line(10, Some(10), true)), Level::Ready, "on trial");
        assert_eq!(of("Ready", "True", BudgetLine { live: None, ..line(10, None, false) }), Level::Ready);
        assert_eq!(of("Suspended", "True", line(10, None, false)), Level::Stopped, "its owner wants it so");
        assert_eq!(of("Ready", "False", line(10, None, false)), Level::Failed);
    }

    fn stated(kind: &str, status: &str, reason: &str) -> Stated {
        let message = format!("of {kind}");
        Stated { kind: kind.into(), status: status.into(), reason: reason.into(), message, since: None }
    }

    fn of(conditions: &[(&str, &str, &str)]) -> (Level, String) {
        let conditions: Vec<Stated> =
            conditions.iter().map(|(kind, status, reason)| stated(kind, status, reason)).collect();
        let state = state(&conditions);
        (state.level, state.reason)
    }

    #[test]
    fn the_worst_condition_is_shown_whatever_order_they_stand_in() {
        let ready = ("Ready", "True", "Ready");
        for (others, expected) in [
            (vec![], (Level::Ready, "Ready")),
            (
                vec![("BudgetWarning", "True", "NearLimit"), ("BudgetExceeded", "True", "Spent")],
                (Level::Refusing, "Spent"),
            ),
            (
                vec![("Suspended", "True", "Suspended"), ("LimitsExact", "False", "PerSidecar")],
                (Level::Stopped, "Suspended"),
            ),
            (vec![("Expired", "False", "NotExpired"), ("BudgetExceeded", "False", "Within")], (Level::Ready, "Ready")),
            (vec![("Programmed", "Unknown", "DeliveryUnconfirmed")], (Level::Ready, "Ready")),
            (vec![("Programmed", "False", "Pending")], (Level::Warning, "Pending")),
            (vec![("policy.example/Audited", "False", "No")], (Level::Ready, "Ready")),
        ] {
            let mut all = others.clone();
            all.push(ready);
            assert_eq!(of(&all), (expected.0, expected.1.to_owned()), "{others:?}");
            all.reverse();
            assert_eq!(of(&all).0, expected.0, "{others:?}, the other way round");
        }
        let failed = of(&[
            ("ResolvedRefs", "False", "TeamNotFound"),
            ("Ready", "False", "TeamNotFound"),
            ("BudgetExceeded", "True", "Spent"),
        ]);
        assert_eq!(failed, (Level::Failed, "TeamNotFound".to_owned()));
        assert_eq!(of(&[]), (Level::Unknown, "NotReconciled".to_owned()));
    }

    #[test]
    fn every_type_of_condition_is_judged() {
        for kind in ConditionType::ALL {
            let known = BAD_IF_TRUE.iter().chain(&BAD_IF_FALSE).filter(|(name, _)| *name == kind.name()).count();
            assert_eq!(known, 1, "{}", kind.name());
        }
    }
}
