//! What is said of delivery, as sidecars acknowledge it.

use jiff::SignedDuration;

use super::*;
use crate::ledger::{Acknowledgements, LiveSidecar};

/// Keys with values, and a config in force.
fn delivered(keys: &[&str]) -> Planner {
    let mut cluster = observed(keys);
    for key in keys {
        give_value(&mut cluster, key);
    }
    let mut planner = Planner::new(cluster);
    planner.write_config();
    planner
}

/// The generation of the nth config.
fn nth(n: u64) -> u64 {
    if n == 0 { 0 } else { u64::try_from(now().as_millisecond()).unwrap() + n - 1 }
}

/// Sidecars say at this many seconds after now that they serve by a generation.
fn acknowledged(planner: &mut Planner, seconds: i64, sidecars: &[(&str, u64)]) {
    let live = sidecars
        .iter()
        .map(|(pod, generation)| LiveSidecar { generation: nth(*generation), pod: (*pod).to_owned() })
        .collect();
    let at = now() + SignedDuration::from_secs(seconds);
    let live = BTreeMap::from([("apps".to_owned(), live)]);
    planner.cluster.books.acknowledgements = Acknowledgements::Heard { at, live };
}

/// A change of a key that changes its part of the config.
fn edit(planner: &mut Planner, key: &str) {
    let object: Raw<ApiKey> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": key, "namespace": "apps", "uid": key, "generation": 2},
        "spec": {"teamRef": {"name": "team"}, "suspended": false, "models": ["changed"]}}))
    .unwrap();
    planner.cluster.api_keys.put(name(key), 2, cluster_state::tracked(object, None).unwrap());
}

fn unknown(reason: &str) -> Option<(String, String)> {
    pair(Status::Unknown, reason)
}

#[test]
fn without_a_store_nobody_can_tell() {
    let mut planner = delivered(&["alice"]);
    assert_eq!(planner.told("alice", "Programmed"), unknown("DeliveryUnconfirmed"));
    assert_eq!(planner.told("alice", "Ready"), pair(Status::True, "Ready"));
    planner.cluster.books.acknowledgements = Acknowledgements::Silent;
    assert_eq!(planner.told("alice", "Programmed"), unknown("DeliveryUnconfirmed"));
    assert_eq!(planner.told("alice", "Ready"), pair(Status::True, "Ready"));
}

#[test]
fn it_is_programmed_when_all_that_live_say_so() {
    let mut planner = delivered(&["alice"]);
    acknowledged(&mut planner, 1, &[("", 0), ("", 1)]);
    assert_eq!(planner.told("alice", "Programmed"), unknown("Pending"), "it is on its way");
    assert!(planner.plan().due.is_some(), "and looked at again");
    acknowledged(&mut planner, 6, &[("", 0), ("", 1)]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::False, "Pending"));
    assert_eq!(planner.told("alice", "Ready"), pair(Status::False, "Pending"));
    acknowledged(&mut planner, 6, &[("", 1), ("", 7)]);
    assert_eq!(
        planner.told("alice", "Programmed"),
        pair(Status::False, "Pending"),
        "there is no seventh: nobody has it"
    );
    acknowledged(&mut planner, 6, &[("", 1), ("", 1)]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::True, "Programmed"));
    assert_eq!(planner.told("alice", "Ready"), pair(Status::True, "Ready"));
    assert_eq!(planner.plan().due, None);
    acknowledged(&mut planner, 6, &[]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::True, "NoSidecars"));
}

#[test]
fn an_edit_of_one_key_leaves_the_others_alone() {
    let mut planner = delivered(&["alice", "bob"]);
    edit(&mut planner, "alice");
    acknowledged(&mut planner, 1, &[("", 1)]);
    assert_eq!(planner.told("alice", "Programmed"), unknown("Pending"), "not even written yet");
    assert_eq!(planner.write_config(), nth(2));
    acknowledged(&mut planner, 20, &[("", 1), ("", 2)]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::False, "Pending"));
    assert_eq!(planner.told("bob", "Programmed"), pair(Status::True, "Programmed"));
    // The next edit, of the other one, changes nothing for the first: who has the second generation has it as it is.
    edit(&mut planner, "bob");
    assert_eq!(planner.write_config(), nth(3));
    acknowledged(&mut planner, 20, &[("", 2)]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::True, "Programmed"));
    assert_eq!(planner.told("bob", "Programmed"), pair(Status::False, "Pending"));
}

#[test]
fn what_was_written_in_between_by_others_counts_for_all() {
    let mut planner = delivered(&["alice", "bob"]);
    let seen = planner.cluster.configs.get(&config_name("apps")).unwrap().clone();
    let changed = Config { hash: vectoll_config::KeyHash::of(b"other"), generation: nth(5), ..seen.value };
    planner.cluster.configs.put(config_name("apps"), seen.version + 1, changed);
    edit(&mut planner, "alice");
    assert_eq!(planner.write_config(), nth(6));
    acknowledged(&mut planner, 20, &[("", 5)]);
    assert_eq!(planner.told("bob", "Programmed"), pair(Status::False, "Pending"), "nobody knows what the fifth held");
}

#[test]
fn a_key_whose_config_is_held_back_is_not_programmed_by_what_was_before() {
    let mut planner = delivered(&["alice", "bob"]);
    sidecar(&mut planner.cluster, "app", Some(nth(1)), "v1");
    edit(&mut planner, "alice");
    planner.store = Some(delivery(&["apps"], now()));
    acknowledged(&mut planner, 1, &[("", 1)]);
    assert_eq!(planner.told("alice", "Programmed"), unknown("Pending"));
    assert_eq!(planner.told("bob", "Programmed"), pair(Status::True, "Programmed"));
}

#[test]
fn a_pod_counts_while_its_container_runs_and_by_its_latest_word() {
    let mut planner = delivered(&["alice"]);
    acknowledged(&mut planner, 20, &[("gone", 0)]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::True, "NoSidecars"));
    sidecar(&mut planner.cluster, "app", Some(nth(1)), "v1");
    acknowledged(&mut planner, 20, &[("app", 1)]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::True, "Programmed"));
    edit(&mut planner, "alice");
    assert_eq!(planner.write_config(), nth(2));
    acknowledged(&mut planner, 20, &[("app", 1)]);
    let message = planner.actions().into_iter().find_map(|action| match action {
        Action::Report { status, of, .. } if of.kind == Kind::ApiKey => {
            status.conditions.into_iter().find(|found| found.type_ == "Programmed").map(|found| found.message)
        }
        _ => None,
    });
    assert_eq!(message.as_deref(), Some("1 of 1 sidecars do not serve by it yet: app"));
    // It was started anew: what it said before still stands in the store.
    acknowledged(&mut planner, 20, &[("app", 1), ("app", 2)]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::True, "Programmed"));
    let seen = planner.cluster.pods.get(&name("app")).unwrap().value.clone();
    planner.cluster.pods.put(name("app"), 2, Sidecar { up: false, ..seen });
    acknowledged(&mut planner, 20, &[("app", 0)]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::True, "NoSidecars"));
}

#[test]
fn before_the_first_word_what_was_said_of_this_state_holds() {
    let mut planner = delivered(&["alice"]);
    planner.cluster.books.acknowledgements = Acknowledgements::NotYet;
    assert_eq!(planner.told("alice", "Programmed"), unknown("Pending"));
    acknowledged(&mut planner, 20, &[("", 1)]);
    let status = planner.actions().into_iter().find_map(|action| match action {
        Action::Report { status, of, .. } if of.kind == Kind::ApiKey => Some(status.patch),
        _ => None,
    });
    let key = planner.cluster.api_keys.get(&name("alice")).unwrap().clone();
    let value = tracked::Tracked { status: serde_json::from_value(status.unwrap()).unwrap(), ..key.value };
    planner.cluster.api_keys.put(name("alice"), 2, value);
    planner.cluster.books.acknowledgements = Acknowledgements::NotYet;
    assert_eq!(planner.told("alice", "Programmed"), None, "nothing to write: it stays True");
}

#[test]
fn what_stands_in_no_config_is_not_programmed() {
    let mut planner = delivered(&["alice"]);
    planner.cluster.teams.take(&name("team"), u64::MAX);
    acknowledged(&mut planner, 20, &[("", 1)]);
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::False, "TeamNotFound"));
}
