//! The plan on small observed worlds.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::unnecessary_wraps,
    clippy::panic,
    reason = "tests"
)]

use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use vectoll_config::Uid;
use vectoll_crds::{ApiKey, Team};

use super::*;
use std::collections::BTreeSet;

use crate::{
    cluster::{
        cluster_state::{self, Config, Sidecar},
        raw::Raw,
        snapshot::Setting,
        tracked,
    },
    desired_state::{ConditionType, Status, desired_state},
    key_secret::ValueCreation,
    observed_state::{Counting, ResourceRef},
    store,
};

mod budgets;
mod ended;
mod programmed;
mod tree;

const NOW: &str = "2026-01-10T00:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("apps", name)
}

/// A Team, and keys of it without values, in one namespace.
fn observed(keys: &[&str]) -> ClusterState {
    let mut cluster = ClusterState::default();
    let team: Raw<Team> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "Team",
        "metadata": {"name": "team", "namespace": "apps", "uid": "t"}, "spec": {}}))
    .unwrap();
    cluster.teams.put(name("team"), 1, cluster_state::tracked(team, None).unwrap());
    for key in keys {
        let object: Raw<ApiKey> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey",
            "metadata": {"name": key, "namespace": "apps", "uid": key, "generation": 1}, "spec": {"teamRef": {"name": "team"}}}))
        .unwrap();
        cluster.api_keys.put(name(key), 1, cluster_state::tracked(object, None).unwrap());
    }
    cluster
}

/// The Secret that the operator made for a key.
fn give_value(cluster: &mut ClusterState, key: &str) {
    let creation = ValueCreation {
        api_key: name(key),
        uid: Uid::new(key),
        secret: name(key),
        cause: Cause::New,
        previous: Vec::new(),
        request: None,
    };
    let mut secret: Secret = creation.secret(&format!("sk-vt-a-value-of-its-own-{key}"), now());
    secret.metadata.owner_references = Some(vec![creation.owner_reference()]);
    cluster.key_secrets.put(name(key), 2, cluster_state::key_secret(Raw::of(&secret).unwrap(), None).unwrap());
}

fn sidecar(cluster: &mut ClusterState, pod: &str, touched: Option<u64>, contract: &str) {
    let sidecar = Sidecar {
        uid: Uid::new(pod),
        created: None,
        touched,
        contract: contract.to_owned(),
        image: None,
        lives: true,
        runs: true,
        up: true,
    };
    cluster.pods.put(name(pod), 1, sidecar);
}

/// The Secret that these files were written to.
fn in_force(files: &ConfigFiles) -> Config {
    Config {
        uid: Uid::new("config"),
        generation: files.generation,
        hash: files.hash,
        written_at: Some(now()),
        frozen: false,
    }
}

struct Planner {
    cluster: ClusterState,
    prepared: Option<Arc<ConfigFiles>>,
    there: Option<Arc<BTreeMap<String, Vec<u8>>>>,
    readers: Deliveries,
    troubles: PersistentFailures,
    store: Option<Delivery>,
    bulk: usize,
    now: Timestamp,
}

impl Planner {
    fn new(cluster: ClusterState) -> Self {
        Self {
            cluster,
            prepared: None,
            there: None,
            readers: Deliveries::new(),
            troubles: PersistentFailures::new(),
            store: None,
            bulk: MAX_PER_RECONCILE,
            now: now(),
        }
    }

    fn plan(&mut self) -> Plan {
        let setting = Setting {
            counting: Counting::Apart,
            allowed_hosts: Arc::default(),
            pricing: Arc::default(),
            delivery: Arc::default(),
            gateway: false,
        };
        let facts = self.cluster.facts("apps");
        self.cluster.index.put("apps", facts);
        let observed = self.cluster.observed("apps", &BTreeSet::new(), &BTreeSet::new(), &setting);
        let desired = desired_state(&observed, self.now);
        let plan = plan(Basis {
            namespace: "apps",
            cluster: &self.cluster,
            observed: &observed,
            desired: &desired,
            store: self.store.as_ref(),
            prepared: self.prepared.clone(),
            there: self.there.clone(),
            readers: self.readers.clone(),
            troubles: &self.troubles,
            bulk: self.bulk,
            now: self.now,
        });
        self.prepared = plan.prepared.clone();
        plan
    }

    /// The actions, in order.
    fn actions(&mut self) -> Vec<Action> {
        let plan = self.plan();
        plan.first.into_iter().chain(plan.rest).collect()
    }

    /// Words of the actions, in order.
    fn words(&mut self) -> Vec<&'static str> {
        self.actions().iter().map(Action::word).collect()
    }

    /// Carries out the config that is planned.
    fn write_config(&mut self) -> u64 {
        let written = self.actions().iter().find_map(|action| match action {
            Action::WriteConfig { files, .. } => Some(files.clone()),
            _ => None,
        });
        let files = written.unwrap();
        let config = in_force(&files);
        let version = self.cluster.configs.get(&config_name("apps")).map_or(1, |seen| seen.version + 1);
        self.cluster.configs.put(config_name("apps"), version, config);
        files.generation
    }

    /// Status and reason of a key's condition as it is to be told.
    fn told(&mut self, key: &str, condition: &str) -> Option<(String, String)> {
        self.told_of(Kind::ApiKey, key, condition)
    }

    fn told_of(&mut self, kind: Kind, of_name: &str, condition: &str) -> Option<(String, String)> {
        self.actions().into_iter().find_map(|action| match action {
            Action::Report { of, status, .. } if of.name == name(of_name) && of.kind == kind => {
                let found = status.conditions.into_iter().find(|found| found.type_ == condition)?;
                Some((found.status, found.reason))
            }
            _ => None,
        })
    }
}

fn pair(status: Status, reason: &str) -> Option<(String, String)> {
    Some((status.name().to_owned(), reason.to_owned()))
}

#[test]
fn a_config_goes_before_the_mass_of_new_keys() {
    let keys: Vec<String> = (0..MAX_PER_RECONCILE + 5).map(|n| format!("new-{n:04}")).collect();
    let mut names: Vec<&str> = keys.iter().map(String::as_str).collect();
    names.push("old");
    let mut cluster = observed(&names);
    give_value(&mut cluster, "old");
    let mut planner = Planner::new(cluster);
    let plan = planner.plan();
    let actions: Vec<&Action> = plan.first.iter().chain(&plan.rest).collect();
    let words: Vec<&str> = actions.into_iter().map(Action::word).collect();
    assert_eq!(words[0], "write_config");
    assert_eq!(words.iter().filter(|word| **word == "make_key").count(), MAX_PER_RECONCILE);
    assert_eq!(plan.later, 5, "the others come next");
    assert_eq!(words[1..5], ["make_key", "report_status", "make_key", "report_status"], "they take turns");
    assert_eq!(plan.ready[&Kind::ApiKey], [1, MAX_PER_RECONCILE + 5]);
}

#[test]
fn what_is_in_force_is_not_written_again_and_an_edit_is() {
    let mut cluster = observed(&["alice"]);
    give_value(&mut cluster, "alice");
    let mut planner = Planner::new(cluster);
    let clock = u64::try_from(now().as_millisecond()).unwrap();
    assert_eq!(planner.write_config(), clock, "the generation is the operator's own");
    assert!(!planner.words().contains(&"write_config"));
    // After a start nothing is known of what was made.
    planner.prepared = None;
    assert!(!planner.words().contains(&"write_config"));
    give_value(&mut planner.cluster, "bob");
    let mut with_bob = observed(&["alice", "bob"]);
    std::mem::swap(&mut planner.cluster.api_keys, &mut with_bob.api_keys);
    assert_eq!(planner.write_config(), clock + 1, "also in the same moment");
    assert!(!planner.words().contains(&"write_config"));
    // One that somebody has changed.
    let seen = planner.cluster.configs.get(&config_name("apps")).unwrap().clone();
    let changed = Config { hash: vectoll_config::KeyHash::of(b"other"), ..seen.value };
    planner.cluster.configs.put(config_name("apps"), seen.version + 1, changed);
    assert_eq!(planner.write_config(), clock + 2);
    // A lost one is written again as it was.
    planner.cluster.configs.take(&config_name("apps"), u64::MAX);
    assert_eq!(planner.write_config(), clock + 2);
}

/// What whoever may write pods, Secrets, or what sidecars say of themselves, can say of generations.
#[test]
fn numbers_that_others_write_keep_no_key_alive() {
    for lie in [u64::MAX, u64::MAX - 1, u64::MAX - 2, i64::MAX as u64] {
        let mut cluster = observed(&["alice", "bob"]);
        give_value(&mut cluster, "alice");
        give_value(&mut cluster, "bob");
        let mut planner = Planner::new(cluster);
        let first = planner.write_config();
        sidecar(&mut planner.cluster, "liar", Some(lie), "v1");
        let live = BTreeMap::from([(
            "apps".to_owned(),
            vec![crate::ledger::LiveSidecar { generation: lie, pod: String::new() }],
        )]);
        planner.cluster.books.acknowledgements = crate::ledger::Acknowledgements::Heard { at: now(), live };
        let seen = planner.cluster.configs.get(&config_name("apps")).unwrap().clone();
        let noted = Config { generation: lie, ..seen.value };
        planner.cluster.configs.put(config_name("apps"), seen.version + 1, noted);
        // The key that is deleted leaves the config, by a generation that can be.
        planner.cluster.api_keys.take(&name("bob"), u64::MAX);
        let second = planner.write_config();
        assert!(second > first && second < first + 10, "{second} after {first}");
        let files = planner.prepared.clone().unwrap();
        let text = String::from_utf8(files.by_name["config.v1.yaml"].clone()).unwrap();
        assert!(text.contains("apps/alice") && !text.contains("apps/bob"), "{text}");
        assert!(!planner.words().contains(&"write_config"), "and then there is peace");
        assert_eq!(planner.told("alice", "ConfigInvalid"), None);
    }
}

#[test]
fn an_immutable_config_is_replaced() {
    let mut cluster = observed(&["alice"]);
    give_value(&mut cluster, "alice");
    let mut planner = Planner::new(cluster);
    planner.write_config();
    let seen = planner.cluster.configs.get(&config_name("apps")).unwrap().clone();
    planner.cluster.configs.put(config_name("apps"), seen.version + 1, Config { frozen: true, ..seen.value });
    let replaced = planner.actions().into_iter().find_map(|action| match action {
        Action::WriteConfig { replaces, .. } => replaces,
        _ => None,
    });
    assert_eq!(replaced, Some(Replaced { version: seen.version + 1, frozen: true }));
}

#[test]
fn keys_that_work_stay_where_new_ones_do_not_fit_in() {
    let keys: Vec<String> = (0..4_000).map(|n| format!("key-{n:04}-{}", "x".repeat(100))).collect();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut cluster = observed(&names[500..]);
    for key in &keys {
        give_value(&mut cluster, key);
    }
    let mut planner = Planner::new(cluster);
    planner.write_config();
    let of = |planner: &Planner| planner.prepared.clone().unwrap().left_out.clone();
    let before = of(&planner);
    assert!(!before.is_empty() && before.len() < 3_400, "{}", before.len());
    // Keys that go first by their names come: they are new, and those that work are not.
    planner.cluster.api_keys = observed(&names).api_keys;
    planner.actions();
    let of_key = |key: &&str| ResourceRef { kind: Kind::ApiKey, name: name(key) };
    let mut expected: BTreeSet<ResourceRef> = names[..500].iter().map(of_key).collect();
    expected.extend(before);
    assert_eq!(of(&planner), expected);
    // Nor after a start, when nobody remembers which those were.
    let files = planner.prepared.take().unwrap();
    planner.there = Some(Arc::new(files.by_name.clone()));
    planner.cluster.configs.put(config_name("apps"), 9, in_force(&files));
    planner.actions();
    assert_eq!(of(&planner), expected);
}

#[test]
fn pods_are_touched_until_they_know_and_those_that_wait_longest_first() {
    let mut cluster = observed(&["alice"]);
    give_value(&mut cluster, "alice");
    for (pod, touched) in [("a", Some(2)), ("b", Some(1)), ("c", None), ("done", Some(9))] {
        sidecar(&mut cluster, pod, touched, "v1");
    }
    let mut planner = Planner::new(cluster);
    let generation = planner.write_config();
    let seen = planner.cluster.pods.get(&name("done")).unwrap().value.clone();
    planner.cluster.pods.put(name("done"), 2, Sidecar { touched: Some(generation), ..seen });
    let touched: Vec<String> = planner
        .actions()
        .iter()
        .filter_map(|action| match action {
            Action::Touch { pod, generation: of, .. } if *of == generation => Some(pod.name().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(touched, ["c", "b", "a"]);
}

#[test]
fn a_foreign_secret_of_the_configs_name_is_told_and_left() {
    let mut cluster = observed(&["alice"]);
    give_value(&mut cluster, "alice");
    cluster.other_secrets.put(config_name("apps"), 1, ());
    let mut planner = Planner::new(cluster);
    assert!(!planner.words().contains(&"write_config"));
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::False, "ConfigBlocked"));
    assert_eq!(planner.told("alice", "Ready"), pair(Status::False, "ConfigBlocked"));
    assert_eq!(planner.plan().ready[&Kind::ApiKey], [0, 1]);
}

#[test]
fn a_sidecar_of_a_contract_that_is_not_known_is_told() {
    let mut cluster = observed(&["alice"]);
    give_value(&mut cluster, "alice");
    sidecar(&mut cluster, "app", None, "v9");
    let mut planner = Planner::new(cluster);
    assert!(planner.words().contains(&"write_config"), "the others are served all the same");
    assert_eq!(planner.told("alice", "Ready"), pair(Status::False, "ContractUnknown"));
}

#[test]
fn what_fails_again_and_again_is_told() {
    let mut cluster = observed(&["alice", "bob"]);
    give_value(&mut cluster, "alice");
    let mut planner = Planner::new(cluster);
    assert_eq!(planner.told("bob", "Ready"), None, "a new key is told of when it has its value");
    planner.troubles.insert(Target::Secret(name("bob")), "quota exceeded".to_owned());
    assert_eq!(planner.told("bob", "ResolvedRefs"), pair(Status::False, "WriteFailed"));
    assert_eq!(planner.told("bob", "Ready"), pair(Status::False, "WriteFailed"));
    assert_eq!(planner.told("alice", "Ready"), pair(Status::True, "Ready"));
    planner.troubles.insert(Target::Config("apps".to_owned()), "quota exceeded".to_owned());
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::False, "WriteFailed"));
    assert!(planner.words().contains(&"write_config"), "and tried again");
}

#[test]
fn nothing_is_made_in_a_namespace_that_ends() {
    let mut cluster = observed(&["alice"]);
    let state = cluster_state::NamespaceState { labels: BTreeMap::new(), ends: true };
    cluster.namespaces.put(ObjectName::new("", "apps"), 1, state);
    let words = Planner::new(cluster).words();
    assert!(!words.contains(&"make_key") && !words.contains(&"write_config"), "{words:?}");
}

#[test]
fn an_unused_config_goes() {
    let mut cluster = observed(&["alice"]);
    give_value(&mut cluster, "alice");
    let mut planner = Planner::new(cluster);
    planner.write_config();
    planner.cluster.api_keys.take(&name("alice"), u64::MAX);
    assert!(planner.words().contains(&"remove_config"));
    sidecar(&mut planner.cluster, "app", None, "v1");
    assert!(!planner.words().contains(&"remove_config"), "a pod mounts it");
}

#[test]
fn the_condition_that_stands_in_the_way_first_is_the_reason() {
    let mut cluster = observed(&["alice"]);
    cluster.teams.take(&name("team"), u64::MAX);
    cluster.other_secrets.put(config_name("apps"), 1, ());
    let mut planner = Planner::new(cluster);
    assert_eq!(planner.told("alice", ConditionType::Ready.name()), pair(Status::False, "TeamNotFound"));
    assert_eq!(planner.told("alice", ConditionType::Programmed.name()), pair(Status::False, "ConfigBlocked"));
}

/// A store whose passwords are renewed every hour.
fn delivery(held: &[&str], now: Timestamp) -> Delivery {
    Delivery::new(logins("one"), held.iter().map(|namespace| (*namespace).to_owned()).collect(), now)
}

fn delivery_of_scope(scope: &str) -> Delivery {
    Delivery::new(logins(scope), BTreeSet::new(), now())
}

fn logins(scope: &str) -> store::Logins {
    let access = store::Access {
        url: "redis://valkey".parse().unwrap(),
        username: None,
        password: None,
        ca: None,
        on_failure: vectoll_config::v1::OnStoreFailure::Local,
    };
    store::Logins::PerNamespace {
        access,
        scope: scope.to_owned(),
        master: store::Master::read("07".repeat(32).as_bytes()).unwrap(),
        rotation: store::Rotation::every(jiff::SignedDuration::from_hours(1)),
    }
}

/// The files of the config that is planned.
fn planned(planner: &mut Planner) -> Option<BTreeMap<String, Vec<u8>>> {
    planner.actions().into_iter().find_map(|action| match action {
        Action::WriteConfig { files, .. } => Some(files.by_name.clone()),
        _ => None,
    })
}

#[test]
fn a_store_is_told_of_everywhere_and_its_password_only_where_sidecars_run() {
    let mut cluster = observed(&["alice"]);
    give_value(&mut cluster, "alice");
    let mut planner = Planner::new(cluster);
    planner.store = Some(delivery(&[], now()));
    let files = planned(&mut planner).unwrap();
    let text = String::from_utf8(files["config.v1.yaml"].clone()).unwrap();
    assert!(text.contains(r#""username":"vectoll-ns-one:apps""#), "{text}");
    assert_eq!(files.len(), 1, "nobody there has a use for the password");
    sidecar(&mut planner.cluster, "app", None, "v1");
    assert_eq!(planned(&mut planner).unwrap()["store.password"].len(), 64);
}

#[test]
fn a_password_is_handed_out_only_when_it_works() {
    let mut cluster = observed(&["alice"]);
    give_value(&mut cluster, "alice");
    sidecar(&mut cluster, "app", None, "v1");
    let mut planner = Planner::new(cluster);
    planner.store = Some(delivery(&["apps"], now()));
    assert_eq!(planned(&mut planner), None);
    planner.store = Some(delivery(&["another"], now()));
    let first = planned(&mut planner).unwrap()["store.password"].clone();
    planner.write_config();
    assert_eq!(planned(&mut planner), None);
    // An hour later it is another one, and again not before it works.
    let later = now() + jiff::SignedDuration::from_hours(1);
    planner.store = Some(delivery(&["apps"], later));
    assert_eq!(planned(&mut planner), None);
    planner.store = Some(delivery(&[], later));
    assert_ne!(planned(&mut planner).unwrap()["store.password"], first);
}

#[test]
fn the_secrets_of_all_providers_are_read_and_no_others() {
    let mut cluster = observed(&[]);
    let route: Raw<vectoll_crds::ModelRoute> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1",
        "kind": "ModelRoute", "metadata": {"name": "route", "namespace": "apps"}, "spec": {"models": ["m"], "backends": [
            {"name": "a", "openAI": {"apiKeySecretRef": {"name": "openai"}}},
            {"name": "b", "bedrock": {"region": "us-east-1", "accessKeySecretRef": {"name": "aws"}}},
            {"name": "c", "azureOpenAI": {"endpoint": "https://x.openai.azure.com",
                "entra": {"tenantID": "t", "clientID": "c", "clientSecretRef": {"name": "entra"}}}},
            {"name": "d", "vertexAI": {"project": "p", "location": "global", "serviceAccountSecretRef": {"name": "google"}}},
        ]}}))
    .unwrap();
    cluster.routes.put(name("route"), 1, cluster_state::tracked(route, None).unwrap());
    for secret in ["openai", "aws", "entra", "google", "of-somebody-else"] {
        cluster.other_secrets.put(name(secret), 1, ());
    }
    assert_eq!(cluster.unread("apps", |_| true), ["aws", "entra", "google", "openai"].map(name));
}
