//! What is said of Teams above Teams, and of what is owed to the providers of backends.

use vectoll_config::{
    PicoUsd, ZoneName,
    store::backend_account,
    v1::{Budget, Period},
};
use vectoll_crds::ModelRoute;

use super::*;
use crate::ledger::{Account, Acknowledgements, Money, Spent, TeamLedger};

fn setting() -> Setting {
    Setting {
        counting: Counting::Apart,
        allowed_hosts: Arc::default(),
        pricing: Arc::default(),
        delivery: Arc::default(),
        gateway: false,
    }
}

fn put_team(planner: &mut Planner, of: &str, team: &str, spec: &serde_json::Value) {
    let object: Raw<Team> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "Team",
        "metadata": {"name": team, "namespace": of, "uid": format!("uid-{team}"), "generation": 1}, "spec": spec}))
    .unwrap();
    planner.cluster.teams.put(ObjectName::new(of, team), 9, cluster_state::tracked(object, None).unwrap());
    let facts = planner.cluster.facts(of);
    planner.cluster.index.put(of, facts);
}

fn heard(spent: &str, budget: Option<Budget>) -> Money {
    let spent = Spent { spent: spent.parse().unwrap(), held: PicoUsd::ZERO, refused_at: None };
    Money { budget, ends: "2026-02-01T00:00:00Z".parse().ok(), spent }
}

/// What is to be written of a resource.
fn status(planner: &mut Planner, kind: Kind, of: &str) -> serde_json::Value {
    let actions = planner.actions();
    let patch = actions.into_iter().find_map(|action| match action {
        Action::Report { status, of: found, .. } if found == ResourceRef { kind, name: name(of) } => Some(status.patch),
        _ => None,
    });
    patch.unwrap_or_default()
}

fn condition(status: &serde_json::Value, kind: &str) -> String {
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|found| found["type"] == kind).unwrap();
    format!(
        "{} {}: {}",
        found["status"].as_str().unwrap(),
        found["reason"].as_str().unwrap(),
        found["message"].as_str().unwrap()
    )
}

#[test]
fn a_team_above_tells_of_the_spend_of_all_below_wherever_they_are() {
    let mut planner = Planner::new(observed(&[]));
    planner.cluster.books.acknowledgements = Acknowledgements::Heard { at: now(), live: BTreeMap::new() };
    put_team(&mut planner, "apps", "org", &json!({"allowedNamespaces": {"from": "All"}}));
    put_team(&mut planner, "shop", "retail", &json!({"parentRef": {"name": "org", "namespace": "apps"}}));
    put_team(&mut planner, "shop", "ads", &json!({"parentRef": {"name": "retail"}}));
    put_team(&mut planner, "shop", "others", &json!({}));
    let ledger = |own: &str, month: Option<&str>| {
        let money = BTreeMap::from([(Account::Team, vec![heard(own, None)])]);
        Arc::new(TeamLedger { money, month: month.map(|month| month.parse().unwrap()), ..TeamLedger::default() })
    };
    for (team, own, month) in
        [("org", "1", None), ("retail", "2", Some("2")), ("ads", "0.5", Some("0.5")), ("others", "9", Some("9"))]
    {
        planner.cluster.books.teams.insert(Uid::new(&format!("uid-{team}")), ledger(own, month));
    }
    planner.cluster = planner.cluster.part("apps");
    let found = status(&mut planner, Kind::Team, "org");
    assert_eq!(found["spend"]["amount"], "3.50");
}

#[test]
fn a_team_that_is_not_allowed_says_nothing_of_the_one_it_names() {
    let mut planner = Planner::new(observed(&[]));
    planner.cluster.books.acknowledgements = Acknowledgements::Heard { at: now(), live: BTreeMap::new() };
    let selector = json!({"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}});
    put_team(&mut planner, "apps", "org", &json!({"allowedNamespaces": selector, "limits": {"requestsPerMinute": 1}}));
    put_team(&mut planner, "shop", "retail", &json!({"parentRef": {"name": "org", "namespace": "apps"}}));
    put_team(&mut planner, "elsewhere", "stranger", &json!({"parentRef": {"name": "org", "namespace": "apps"}}));
    put_team(&mut planner, "elsewhere", "below", &json!({"parentRef": {"name": "stranger"}}));
    for (team, month) in [("org", "1"), ("retail", "2"), ("stranger", "9"), ("below", "9")] {
        let money = BTreeMap::from([(Account::Team, vec![heard(month, None)])]);
        let ledger = TeamLedger { money, month: month.parse().ok(), ..TeamLedger::default() };
        planner.cluster.books.teams.insert(Uid::new(&format!("uid-{team}")), Arc::new(ledger));
    }
    for (of, team) in [("elsewhere", "stranger"), ("elsewhere", "retail"), ("shop", "retail")] {
        let at = if team == "retail" { "shop" } else { of };
        let spec = json!({"teamRef": {"name": team, "namespace": at}});
        let key: Raw<ApiKey> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey",
            "metadata": {"name": format!("key-{team}"), "namespace": of, "uid": format!("k-{of}-{team}")}, "spec": spec}))
        .unwrap();
        let name = ObjectName::new(of, &format!("key-{team}"));
        planner.cluster.api_keys.put(name, 1, cluster_state::tracked(key, None).unwrap());
        let facts = planner.cluster.facts(of);
        planner.cluster.index.put(of, facts);
    }
    let seen = planner.cluster.observed("apps", &BTreeSet::new(), &BTreeSet::new(), &setting());
    assert_eq!(seen.users_below, [(name("org"), ["shop".to_owned()].into())].into());
    planner.cluster = planner.cluster.part("apps");
    let found = status(&mut planner, Kind::Team, "org");
    assert_eq!(found["spend"]["amount"], "3.00");
}

#[test]
fn a_parent_in_another_namespace_is_looked_at_by_the_whole_line() {
    let mut planner = Planner::new(observed(&["alice"]));
    put_team(&mut planner, "apps", "team", &json!({"parentRef": {"name": "retail", "namespace": "shop"}}));
    put_team(&mut planner, "shop", "retail", &json!({"parentRef": {"name": "org", "namespace": "platform"}}));
    let reads = planner.cluster.facts("apps").reads;
    assert_eq!(reads, ["platform", "shop"].map(str::to_owned).into(), "also where the topmost one is not there yet");
}

#[test]
fn a_label_of_a_namespace_counts_at_once_for_all_who_depend_on_it_whichever_of_them_is_reconciled_first() {
    let mut planner = Planner::new(observed(&["alice"]));
    put_team(&mut planner, "apps", "team", &json!({"parentRef": {"name": "retail", "namespace": "shop"}}));
    put_team(&mut planner, "shop", "retail", &json!({"parentRef": {"name": "org", "namespace": "platform"}}));
    for (version, tier) in [(1, "gold"), (2, "none")] {
        let labels = BTreeMap::from([("tier".to_owned(), tier.to_owned())]);
        let state = cluster_state::NamespaceState { labels: labels.clone(), ends: false };
        // Nobody has reconciled it since.
        planner.cluster.namespaces.put(ObjectName::new("", "shop"), version, state);
        let reads = planner.cluster.facts("apps").reads;
        let below = planner.cluster.observed("apps", &reads, &BTreeSet::new(), &setting());
        assert_eq!(below.namespaces.get("shop"), Some(&labels), "for those below");
        let above = planner.cluster.observed("platform", &BTreeSet::new(), &["shop".to_owned()].into(), &setting());
        assert_eq!(above.namespaces.get("shop"), Some(&labels), "for those above");
    }
}

#[test]
fn what_is_owed_to_a_provider_stands_in_the_routes_status() {
    let mut planner = Planner::new(observed(&[]));
    planner.cluster.books.acknowledgements = Acknowledgements::Heard { at: now(), live: BTreeMap::new() };
    let backend = |name: &str, limit: &str| {
        json!({"name": name, "space": "one", "model": "m", "openAI": {"baseURL": "http://example.com/v1"},
            "budgets": [{"limit": limit, "period": "Monthly"}]})
    };
    let spec = json!({"models": ["m"], "backends": [backend("a", "10"), backend("b", "20")]});
    let route: Raw<ModelRoute> =
        serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ModelRoute",
        "metadata": {"name": "owed", "namespace": "apps", "uid": "r", "generation": 1}, "spec": spec}))
        .unwrap();
    planner.cluster.routes.put(name("owed"), 1, cluster_state::tracked(route, None).unwrap());
    let hear = |planner: &mut Planner, backend: &str, limit: &str, spent: &str| {
        let zone = ZoneName::try_from("UTC".to_owned()).unwrap();
        let budget = Budget::new(limit.parse().unwrap(), Period::Monthly, zone);
        let money = BTreeMap::from([(Account::Team, vec![heard(spent, Some(budget))])]);
        let account = backend_account(Some("one"), &format!("apps/owed/{backend}"));
        planner.cluster.books.teams.insert(account, Arc::new(TeamLedger { money, ..TeamLedger::default() }));
    };
    hear(&mut planner, "a", "10", "4");
    hear(&mut planner, "b", "20", "1");
    let found = status(&mut planner, Kind::ModelRoute, "owed");
    assert_eq!(
        (&found["backends"][0]["name"], &found["backends"][0]["spend"]["amount"]),
        (&json!("a"), &json!("4.00"))
    );
    assert_eq!(found["backends"][1]["spend"]["remaining"], "19.00");
    assert!(
        condition(&found, "BudgetExceeded").starts_with("False WithinBudget: backend a: 4.00 of 10.00 USD are spent")
    );
    hear(&mut planner, "a", "10", "10");
    let found = status(&mut planner, Kind::ModelRoute, "owed");
    assert_eq!(
        condition(&found, "BudgetExceeded"),
        "True LimitReached: backend a: 10.00 of 10.00 USD are spent: calls go to other backends, or are refused where there is none, \
         until 2026-02-01T00:00:00Z"
    );
}
