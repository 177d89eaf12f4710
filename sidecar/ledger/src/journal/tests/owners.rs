//! Calls whose money counts in budgets of several owners: every one of their stores is told, and nothing is let go before.

use std::sync::Arc;

use super::*;
use crate::charge::BudgetAccount;

fn charge(account: BudgetAccount) -> Arc<BudgetPeriod> {
    let (period, zone) = (vectoll_config::v1::Period::Total, "UTC".to_owned().try_into().unwrap());
    Arc::new(BudgetPeriod { account, period, zone, start: jiff::Timestamp::UNIX_EPOCH })
}

/// A call of Team `t` that counts in a budget of its key's, of its own, of the Team above it, and of a backend.
fn shared(tokens: u64) -> Intent {
    let of = |uid: &str| Uid::new(uid);
    let all = [
        BudgetAccount::Key(of("k")),
        BudgetAccount::Team(of("t")),
        BudgetAccount::Team(of("org")),
        BudgetAccount::TeamTag(of("org"), "nightly".into()),
        BudgetAccount::Backend(of("backend:one:models/route/a")),
    ];
    Intent { charges: all.map(charge).to_vec(), ..intent("t", tokens) }
}

fn settled_call(journal: &Journal, intent: Intent) -> u64 {
    let opened = journal.intend(intent).unwrap();
    let mut number = 0;
    journal.settle(opened, used(3), Certainty::Known, 0, |settled| number = settled.number);
    number
}

#[test]
fn each_owner_is_named_once_and_has_its_own_part() {
    let intent = shared(5);
    let owners: Vec<&str> = intent.owners().map(Uid::as_str).collect();
    assert_eq!(owners, ["t", "org", "backend:one:models/route/a"]);
    for (owner, charges) in [("t", 2), ("org", 2), ("backend:one:models/route/a", 1), ("other", 0)] {
        let owner = Uid::new(owner);
        assert_eq!((intent.charges_of(&owner).count(), intent.is_of(&owner)), (charges, charges > 0), "{owner}");
    }
}

#[test]
fn every_owners_store_is_told_and_a_segment_stays_until_all_have_it() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    let (t, org) = (Uid::new("t"), Uid::new("org"));
    let own = call(&journal, "t", 2);
    let both = settled_call(&journal, shared(5));
    let told = |journal: &Journal, owner: &Uid| -> Vec<u64> {
        journal.settled_after(owner, 0, usize::MAX).iter().map(|each| each.number).collect()
    };
    assert_eq!((told(&journal, &t), told(&journal, &org)), (vec![own, both], vec![both]));
    // From segments, after a restart.
    drop(journal);
    let (journal, _) = open(&folder, STORE);
    assert_eq!((told(&journal, &t), told(&journal, &org)), (vec![own, both], vec![both]));
    let mut waiting = journal.teams();
    waiting.sort();
    assert_eq!(waiting, [Uid::new("backend:one:models/route/a"), org.clone(), t.clone()]);
    let mut found = Vec::new();
    journal.each_settled(&waiting, |settled| found.push(settled.number));
    assert_eq!(found, [own, both], "each once");
    for _ in 0..40 {
        call(&journal, "t", 2);
    }
    let last = journal.last();
    journal.covered(last);
    journal.acknowledged(&t, last);
    let before = segments(&folder);
    let later = Duration::from_hours(1);
    journal.sweep(Duration::ZERO);
    journal.sweep(later);
    assert!(segments(&folder) < before && !told(&journal, &org).is_empty(), "what the Team above does not have stays");
    journal.acknowledged(&org, both);
    journal.acknowledged(&Uid::new("backend:one:models/route/a"), both);
    journal.sweep(later);
    journal.sweep(later * 2);
    assert_eq!(told(&journal, &org), Vec::<u64>::new());
}
