//! The stages of a call, by the functions that carry them out.
//!
//! A release build keeps the names of functions that were not made part of their callers. What is counted of a stage is what these cost,
//! with all that they call. A stage that is not seen any more has lost its function: name another one here, and renew the baseline.

use std::collections::{BTreeMap, BTreeSet};

use super::callgrind::Dump;

/// Instructions a call, by stage.
pub type Stages = BTreeMap<&'static str, u64>;

/// A stage, and its functions: those that other stages call.
const FUNCTIONS: [(&str, &[&str]); 8] = [
    ("parse", &["vectoll_sidecar::call::parse"]),
    ("admit", &["vectoll_sidecar::accounting::admit::admit::{{closure}}"]),
    ("journal", &["vectoll_ledger::journal::segment::Tail::encode", "vectoll_ledger::journal::segment::Tail::write"]),
    // Pieces of the answer are taken from the connection, and looked through.
    ("scan", &["vectoll_sidecar::answer::flow::Flow::poll_piece"]),
    // An answer that is held is looked at as a whole.
    ("check", &["vectoll_api::answer::check::checked"]),
    ("transcode", &["vectoll_api::answer::transcode::Transcoder::feed"]),
    ("headers", &["vectoll_sidecar::proxy::respond::respond"]),
    (
        "log",
        &["vectoll_sidecar::access::<impl core::ops::drop::Drop for vectoll_sidecar::access::record::Record>::drop"],
    ),
];

/// Stages of which nothing was seen in any of these calls.
pub fn unseen<'a>(calls: impl IntoIterator<Item = &'a Stages>) -> Vec<&'static str> {
    let seen: BTreeSet<&str> = calls.into_iter().flat_map(Stages::keys).copied().collect();
    FUNCTIONS.map(|(stage, _)| stage).into_iter().filter(|stage| !seen.contains(stage)).collect()
}

/// What was counted of each stage in so many calls; nothing of one that none of its functions was seen of.
pub fn of(dump: &Dump, calls: u64) -> Stages {
    let mut stages = Stages::new();
    for (stage, functions) in FUNCTIONS {
        let of_it = dump.inclusive.iter().filter(|(name, _)| functions.contains(&plain(name)));
        let costs: Vec<u64> = of_it.map(|(_, cost)| *cost).collect();
        if !costs.is_empty() {
            stages.insert(stage, costs.iter().sum::<u64>() / calls.max(1));
        }
    }
    stages
}

/// A function's name without what is the build's own: the compiler's hash.
fn plain(name: &str) -> &str {
    name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16).map_or(name, |(plain, _)| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_the_sum_of_its_functions() {
        let costs = [
            ("vectoll_ledger::journal::segment::Tail::encode", 300),
            ("vectoll_ledger::journal::segment::Tail::write::h0123456789abcdef", 100),
            ("vectoll_ledger::journal::segment::Tail::reopen", 7_000),
            ("vectoll_sidecar::call::parse", 50),
        ];
        let inclusive = costs.map(|(name, cost)| (name.to_owned(), cost)).into();
        let stages = of(&Dump { inclusive, ..Dump::default() }, 10);
        assert_eq!(stages, Stages::from([("journal", 40), ("parse", 5)]));
        assert_eq!(unseen([&stages]).len(), FUNCTIONS.len() - 2);
    }
}
