//! What has ended leaves the config whatever else stands in the way.

use vectoll_config::v1;
use vectoll_crds::ModelRoute;

use super::*;

/// Keys with values that are in force, and a sidecar.
fn in_force_with(keys: &[&str]) -> Planner {
    let mut cluster = observed(keys);
    for key in keys {
        give_value(&mut cluster, key);
    }
    sidecar(&mut cluster, "app", None, "v1");
    let mut planner = Planner::new(cluster);
    planner.store = Some(delivery(&[], now()));
    planner.write_config();
    planner
}

fn put_key(planner: &mut Planner, key: &str, spec: &serde_json::Value) {
    let object: Raw<ApiKey> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": key, "namespace": "apps", "uid": key, "generation": 2}, "spec": spec}))
    .unwrap();
    let version = planner.cluster.api_keys.get(&name(key)).map_or(1, |seen| seen.version + 1);
    planner.cluster.api_keys.put(name(key), version, cluster_state::tracked(object, None).unwrap());
}

fn put_team(planner: &mut Planner, spec: &serde_json::Value) {
    let team: Raw<Team> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "Team",
        "metadata": {"name": "team", "namespace": "apps", "uid": "t"}, "spec": spec}))
    .unwrap();
    let version = planner.cluster.teams.get(&name("team")).map_or(1, |seen| seen.version + 1);
    planner.cluster.teams.put(name("team"), version, cluster_state::tracked(team, None).unwrap());
}

/// A route whose backends take about so many bytes of the config.
fn put_route(planner: &mut Planner, route: &str, bytes: usize) {
    let prefix = format!("/{}", "x".repeat(1_000));
    let backends: Vec<_> = (0..bytes / 1_000)
        .map(|n| json!({"name": format!("b{n}"), "openAI": {"baseURL": format!("https://api.example.com{prefix}")}, "model": "m",
            "price": {"inputPerMillionTokens": "1"}}))
        .collect();
    let object: Raw<ModelRoute> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ModelRoute",
        "metadata": {"name": route, "namespace": "apps", "uid": route}, "spec": {"models": [route], "backends": backends}}))
    .unwrap();
    planner.cluster.routes.put(name(route), 1, cluster_state::tracked(object, None).unwrap());
}

fn config_of(files: &ConfigFiles) -> v1::Config {
    vectoll_config::read_v1(std::str::from_utf8(&files.by_name[v1::FILE]).unwrap()).unwrap()
}

fn keys_of(config: &v1::Config) -> Vec<&str> {
    config.keys.iter().map(|key| key.name.name()).collect()
}

#[test]
fn routes_that_do_not_fit_keep_no_deleted_key_alive_and_say_so() {
    let mut planner = in_force_with(&["alice", "bob"]);
    put_route(&mut planner, "first", 600_000);
    put_route(&mut planner, "second", 600_000);
    planner.cluster.api_keys.take(&name("bob"), u64::MAX);
    planner.write_config();
    let config = config_of(planner.prepared.as_ref().unwrap());
    assert_eq!(keys_of(&config), ["alice"]);
    let backends: Vec<usize> = config.routes.iter().map(|route| route.backends.len()).collect();
    assert_eq!(backends, [600, 0], "which keeps its names");
    assert_eq!(planner.told_of(Kind::ModelRoute, "second", "Programmed"), pair(Status::False, "ConfigFull"));
    assert_eq!(planner.told_of(Kind::ModelRoute, "second", "Ready"), pair(Status::False, "ConfigFull"));
    assert_eq!(planner.told_of(Kind::ModelRoute, "first", "Ready"), pair(Status::True, "Ready"));
    assert_eq!(planner.told("alice", "Ready"), pair(Status::True, "Ready"));
    // After a start it is the same.
    let files = planner.prepared.take().unwrap();
    planner.there = Some(Arc::new(files.by_name.clone()));
    assert!(!planner.words().contains(&"write_config"));
    assert_eq!(planner.prepared.as_ref().unwrap().left_out, files.left_out);
}

#[test]
fn a_route_that_does_not_fit_in_elsewhere_says_where() {
    let mut planner = in_force_with(&["alice"]);
    put_route(&mut planner, "shared", 1_000);
    planner.write_config();
    let full = Delivered { left_out: BTreeSet::from([name("shared")]), ..Delivered::default() };
    planner.readers = BTreeMap::from([("full".to_owned(), Arc::new(full))]);
    assert_eq!(planner.told_of(Kind::ModelRoute, "shared", "Programmed"), pair(Status::False, "ConfigFull"));
    assert_eq!(
        planner.told_of(Kind::ModelRoute, "shared", "Ready"),
        pair(Status::True, "Ready"),
        "it is no fault of its own"
    );
}

#[test]
fn what_does_not_reach_the_gateway_is_told_and_sidecars_serve() {
    let mut planner = in_force_with(&["alice"]);
    planner.cluster.left_out_of_gateway.insert("apps".to_owned());
    assert_eq!(planner.told("alice", "Programmed"), pair(Status::False, "GatewayFull"));
    assert_eq!(planner.told("alice", "Ready"), pair(Status::True, "Ready"));
    planner.cluster.left_out_of_gateway.clear();
    assert_ne!(planner.told("alice", "Programmed"), pair(Status::False, "GatewayFull"));
}

#[test]
fn a_foreign_secret_of_the_configs_name_keeps_no_deleted_key_alive_in_a_gateway() {
    let mut planner = in_force_with(&["alice", "bob"]);
    assert!(planner.plan().sidecar_files().are_whole);
    planner.cluster.configs.take(&config_name("apps"), u64::MAX);
    planner.cluster.other_secrets.put(config_name("apps"), 1, ());
    planner.cluster.api_keys.take(&name("bob"), u64::MAX);
    let plan = planner.plan();
    assert_eq!(keys_of(&config_of(plan.prepared.as_ref().unwrap())), ["alice", "bob"], "which sidecars have read");
    assert!(!plan.sidecar_files().are_whole, "the gateway goes by what should be");
}

/// What stands in the way, and how it comes about.
type Obstacle = (&'static str, fn(&mut Planner));

/// What may stand in the way of a whole config.
fn obstacles() -> [Obstacle; 3] {
    [
        ("a password that does not work yet", |planner| planner.store = Some(delivery(&["apps"], now()))),
        ("Teams that fill it", |planner| {
            let models: Vec<String> = (0..6_000).map(|n| format!("{n:0200}")).collect();
            put_team(planner, &json!({"models": models}));
        }),
        ("a config that no sidecar would take", |planner| planner.store = Some(delivery_of_scope("no:scope"))),
    ]
}

#[test]
fn whatever_stands_in_the_way_of_a_config_what_has_ended_leaves_it() {
    for (what, obstruct) in obstacles() {
        let mut planner = in_force_with(&["deleted", "expired", "kept", "remade", "renewed", "suspended"]);
        let before = config_of(planner.prepared.as_ref().unwrap());
        let team = json!({"name": "team"});
        obstruct(&mut planner);
        assert!(!planner.words().contains(&"write_config"), "{what}: nothing has ended yet");
        planner.cluster.api_keys.take(&name("deleted"), u64::MAX);
        put_key(&mut planner, "suspended", &json!({"teamRef": team, "suspended": true}));
        put_key(&mut planner, "expired", &json!({"teamRef": team, "expiresAt": "2026-01-10T00:00:01Z"}));
        put_key(&mut planner, "new", &json!({"teamRef": team}));
        give_value(&mut planner.cluster, "new");
        // Its Secret holds another value, and the one before has no grace.
        let creation = ValueCreation {
            api_key: name("renewed"),
            uid: Uid::new("renewed"),
            secret: name("renewed"),
            cause: Cause::Requested,
            previous: Vec::new(),
            request: None,
        };
        let mut secret = creation.secret("sk-vt-another-value", now());
        secret.metadata.owner_references = Some(vec![creation.owner_reference()]);
        let content = cluster_state::key_secret(Raw::of(&secret).unwrap(), None).unwrap();
        planner.cluster.key_secrets.put(name("renewed"), 9, content);
        // An operator that has just started knows what is in the Secret, and no more.
        let files = planner.prepared.take().unwrap();
        for forgets in [false, true] {
            planner.prepared = (!forgets).then(|| files.clone());
            planner.there = forgets.then(|| Arc::new(files.by_name.clone()));
            let plan = planner.plan();
            let written = plan.first.iter().find_map(|action| match action {
                Action::WriteConfig { files, .. } => Some(files.clone()),
                _ => None,
            });
            let written = written.unwrap_or_else(|| panic!("{what}: nothing is written"));
            let after = config_of(&written);
            assert!(after.generation > before.generation);
            assert_eq!(keys_of(&after), ["expired", "kept", "remade", "suspended"], "{what}");
            let key = |of: &str| after.keys.iter().find(|key| key.name.name() == of).unwrap();
            assert!(key("suspended").suspended && !key("kept").suspended);
            assert!(key("expired").expires_at.is_some() && key("kept").expires_at.is_none());
            assert_eq!(after.store, before.store, "{what}: the rest stays as it is");
            planner.cluster.configs.set(config_name("apps"), after.generation, in_force(&written));
            assert!(!planner.words().contains(&"write_config"), "{what}: once is enough");
            assert_eq!(planner.prepared.as_ref().unwrap().hash, written.hash);
            planner.cluster.configs.set(config_name("apps"), after.generation, in_force(&files));
        }
    }
}

#[test]
fn a_suspended_team_counts_at_once_although_the_config_waits() {
    let mut planner = in_force_with(&["alice"]);
    planner.store = Some(delivery(&["apps"], now()));
    put_team(&mut planner, &json!({"suspended": true}));
    planner.write_config();
    assert!(config_of(planner.prepared.as_ref().unwrap()).teams[0].suspended);
    planner.store = Some(delivery(&[], now()));
    put_key(&mut planner, "bob", &json!({"teamRef": {"name": "team"}}));
    give_value(&mut planner.cluster, "bob");
    planner.write_config();
    assert_eq!(
        keys_of(&config_of(planner.prepared.as_ref().unwrap())),
        ["alice", "bob"],
        "and then all of it is there"
    );
}

#[test]
fn whoever_makes_its_own_config_unwritable_does_not_keep_the_limits_and_routes_that_it_had() {
    for (what, obstruct) in obstacles() {
        let mut planner = in_force_with(&["alice"]);
        put_route(&mut planner, "stays", 1_000);
        put_route(&mut planner, "goes", 1_000);
        planner.write_config();
        obstruct(&mut planner);
        // Teams that do not fit in cannot be taken over; all else can.
        let fills = what.starts_with("Teams");
        if !fills {
            put_team(&mut planner, &json!({"budget": {"limit": "1", "period": "Daily"}}));
        }
        put_key(&mut planner, "alice", &json!({"teamRef": {"name": "team"}, "limits": {"requestsPerMinute": 1}}));
        planner.cluster.routes.take(&name("goes"), u64::MAX);
        if fills {
            assert!(!planner.words().contains(&"write_config"), "{what}");
            continue;
        }
        planner.write_config();
        let after = config_of(planner.prepared.as_ref().unwrap());
        assert_eq!(after.teams[0].budget.as_ref().unwrap().limit.to_string(), "1.00", "{what}");
        assert_eq!(after.keys[0].limits.requests_per_minute, Some(1), "{what}");
        let routes: Vec<&str> = after.routes.iter().map(|route| route.name.name()).collect();
        assert_eq!(routes, ["stays"], "{what}");
        assert!(!planner.words().contains(&"write_config"), "{what}: once is enough");
    }
}
