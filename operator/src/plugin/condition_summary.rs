//! A summary of a resource's conditions, as the operator has written them: the one that matters most. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It is as it should be.
    Good,
    /// It works, and somebody should know.
    Notable,
    /// It does not work.
    Bad,
}

/// The condition that matters most, in a word and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConditionSummary {
    pub(super) level: Level,
    /// `Ready`, or the reason why not.
    pub(super) word: String,
    pub(super) message: String,
}

/// Conditions that are worth a word where they are not as usual: the type, the status that is, and whether its type is the better word.
const NOTABLE: [(&str, &str, bool); 9] = [
    ("Suspended", "True", true),
    ("Expired", "True", true),
    ("BudgetExceeded", "True", true),
    ("Conflicted", "True", false),
    ("LimitsExact", "False", false),
    ("BudgetWarning", "True", true),
    ("ModelsMatched", "False", false),
    ("Reachable", "False", false),
    ("Priced", "False", false),
];

/// The summary of a resource whose status speaks of the generation `observed`, and which is at `generation`.
pub(super) fn summarize(conditions: &[Condition], observed: Option<i64>, generation: Option<i64>) -> ConditionSummary {
    let Some(ready) = condition(conditions, "Ready") else {
        let message = "the operator has not reported on it: is it running, and does it watch this namespace? (kubectl vectoll check)";
        return ConditionSummary { level: Level::Bad, word: "NotReconciled".to_owned(), message: message.to_owned() };
    };
    if observed.is_some() && observed < generation {
        let message = "the operator has not reported on the present spec yet";
        return ConditionSummary { level: Level::Notable, word: "Pending".to_owned(), message: message.to_owned() };
    }
    if ready.status != "True" {
        return ConditionSummary { level: Level::Bad, word: ready.reason.clone(), message: ready.message.clone() };
    }
    for (kind, status, by_type) in NOTABLE {
        if let Some(found) = condition(conditions, kind).filter(|found| found.status == status) {
            let word = if by_type { kind.to_owned() } else { found.reason.clone() };
            return ConditionSummary { level: Level::Notable, word, message: found.message.clone() };
        }
    }
    ConditionSummary { level: Level::Good, word: "Ready".to_owned(), message: String::new() }
}

/// The condition of a type.
pub(super) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

#[cfg(test)]
pub(super) fn made(all: &[(&str, &str, &str, &str)]) -> Vec<Condition> {
    let made = |(kind, status, reason, message): &(&str, &str, &str, &str)| Condition {
        type_: (*kind).to_owned(),
        status: (*status).to_owned(),
        reason: (*reason).to_owned(),
        message: (*message).to_owned(),
        last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH),
        observed_generation: None,
    };
    all.iter().map(made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_most_comes_first() {
        let of = |all: &[(&str, &str, &str, &str)]| {
            let ConditionSummary { level, word, message: _ } = summarize(&made(all), Some(1), Some(1));
            (level, word)
        };
        let ready = ("Ready", "True", "Ready", "");
        assert_eq!(of(&[]), (Level::Bad, "NotReconciled".to_owned()));
        assert_eq!(of(&[ready]), (Level::Good, "Ready".to_owned()));
        assert_eq!(of(&[("Ready", "False", "TeamNotFound", "")]), (Level::Bad, "TeamNotFound".to_owned()));
        let warned = ("BudgetWarning", "True", "ThresholdReached", "");
        assert_eq!(of(&[ready, warned]), (Level::Notable, "BudgetWarning".to_owned()));
        let suspended = ("Suspended", "True", "Suspended", "");
        assert_eq!(of(&[ready, warned, suspended]), (Level::Notable, "Suspended".to_owned()));
        let apart = ("LimitsExact", "False", "PerSidecar", "");
        assert_eq!(of(&[ready, apart]), (Level::Notable, "PerSidecar".to_owned()));
        assert_eq!(summarize(&made(&[ready]), Some(1), Some(2)).word, "Pending");
    }
}
