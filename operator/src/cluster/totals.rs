//! The families of all that was ever counted in the store, rendered at each scrape from its integers.

use std::sync::Arc;

use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, LabelPair, Metric, MetricFamily, MetricType},
};
use vectoll_config::{
    ObjectName, Uid,
    store::{ModelAt, Series},
};

use super::{cluster_state::ClusterState, watch::StateHandle};
use crate::{
    ledger::{Breakdown, Totals},
    resolve::Claims,
};

/// The collector.
pub(super) struct TotalFamilies(StateHandle);

impl TotalFamilies {
    /// Families over what is observed.
    pub(super) fn new(shared: StateHandle) -> Self {
        Self(shared)
    }
}

impl Collector for TotalFamilies {
    fn desc(&self) -> Vec<&Desc> {
        // Described by what it collects.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (mut all, breakdowns) = {
            let cluster = self.0.cluster();
            (families(&cluster), breakdowns(&cluster))
        };
        // There may be many of them: nobody waits for the state meanwhile.
        all.extend(parts(&breakdowns));
        all
    }
}

/// Names and values.
type Labels = Vec<(&'static str, String)>;

/// Keys and Teams, of resources that are there: the series of others end.
fn families(cluster: &ClusterState) -> Vec<MetricFamily> {
    let totals = |team: &Uid, series: &Series| cluster.books.teams.get(team)?.totals.get(series).copied();
    let claims = Claims::of(|| cluster.teams.iter().map(|(_, seen)| &*seen.value.object));
    let account_of = |team| claims.account(team);
    let key_claims = Claims::of(|| cluster.api_keys.iter().map(|(_, seen)| &*seen.value.object));
    let team_of = |name: &ObjectName| cluster.teams.get(name).map(|seen| account_of(&seen.value.object));
    let keys = cluster.api_keys.iter().filter_map(|(name, seen)| {
        let key = &seen.value.object;
        let namespace = key.spec.team_ref.namespace.as_deref().unwrap_or(name.namespace());
        let team = ObjectName::new(namespace, &key.spec.team_ref.name);
        let totals = totals(team_of(&team)?, &Series::Key(key_claims.account(key).clone()))?;
        Some((vec![("team", team.to_string()), ("key", name.to_string())], totals))
    });
    let of_teams = |series: Series| -> Vec<(Labels, Totals)> {
        let team = |(name, uid): (&ObjectName, &Uid)| Some((vec![("team", name.to_string())], totals(uid, &series)?));
        cluster.teams.iter().map(|(name, seen)| (name, account_of(&seen.value.object))).filter_map(team).collect()
    };
    let mut all = Vec::new();
    add(&mut all, "key", "each key", keys.collect());
    add(&mut all, "team", "each team", of_teams(Series::Team));
    let unsettled = "calls of each team that a provider may have charged, included in the other families";
    add(&mut all, "unsettled", unsettled, of_teams(Series::Unsettled));
    let foreign = "calls of each team by routes that are none of the team's, included in the other families and in no budget of the team";
    add(&mut all, "foreign_route", foreign, of_teams(Series::ForeignRoutes));
    all
}

/// Teams that are there, and their parts.
fn breakdowns(cluster: &ClusterState) -> Vec<(String, Arc<Breakdown>)> {
    let claims = Claims::of(|| cluster.teams.iter().map(|(_, seen)| &*seen.value.object));
    let all = cluster.teams.iter().filter_map(|(name, seen)| {
        let breakdown = cluster.books.breakdowns.get(claims.account(&seen.value.object))?;
        Some((name.to_string(), breakdown.clone()))
    });
    all.collect()
}

/// Users and models.
fn parts(breakdowns: &[(String, Arc<Breakdown>)]) -> Vec<MetricFamily> {
    let (mut users, mut models) = (Vec::new(), Vec::new());
    for (team, breakdown) in breakdowns {
        let team = ("team", team.clone());
        for (user, totals) in &breakdown.users {
            users.push((vec![team.clone(), ("user", user.clone())], *totals));
        }
        for (ModelAt { provider, backend, model }, totals) in &breakdown.models {
            let at = [("model", model), ("provider", provider), ("backend", backend)];
            let at = at.map(|(name, value)| (name, value.clone()));
            models.push(([team.clone()].into_iter().chain(at).collect(), *totals));
        }
    }
    let mut all = Vec::new();
    add(&mut all, "user", "each end user of each team", users);
    add(&mut all, "model", "each model of each team, at each backend", models);
    all
}

/// Three families over the same series.
#[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats; exact up to 2⁵³")]
fn add(all: &mut Vec<MetricFamily>, word: &str, of: &str, series: Vec<(Labels, Totals)>) {
    if series.is_empty() {
        return;
    }
    let (mut requests, mut tokens, mut money) = (Vec::new(), Vec::new(), Vec::new());
    for (labels, Totals { requests: calls, tokens: counted, spent }) in series {
        requests.push(counter(&labels, calls as f64));
        tokens.push(counter(&labels, counted as f64));
        money.push(counter(&labels, spent.as_usd_for_display()));
    }
    for (what, help, samples) in [
        ("requests", "Calls sent to a backend", requests),
        ("tokens", "Input tokens charged", tokens),
        ("spend_usd", "Money charged in US dollars", money),
    ] {
        let mut family = MetricFamily::default();
        family.set_name(format!("vectoll_cluster_{word}_{what}_total"));
        family.set_help(format!("{help} in the whole cluster, from the store: {of}."));
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(samples);
        all.push(family);
    }
}

fn counter(labels: &Labels, value: f64) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.clone());
        pair
    });
    let mut metric = Metric::from_label(pairs.collect());
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use serde_json::json;
    use vectoll_config::PicoUsd;
    use vectoll_crds::{ApiKey, Team};

    use super::*;
    use crate::{
        cluster::{cluster_state, raw::Raw},
        ledger::TeamLedger,
    };

    fn text(cluster: &ClusterState) -> String {
        let mut all = families(cluster);
        all.extend(parts(&breakdowns(cluster)));
        prometheus::TextEncoder::new().encode_to_string(&all).unwrap()
    }

    #[test]
    fn totals_are_told_by_name_for_as_long_as_the_resource_is_there() {
        let mut cluster = ClusterState::default();
        let team: Raw<Team> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "Team",
            "metadata": {"name": "team", "namespace": "apps", "uid": "T"}, "spec": {}}))
        .unwrap();
        let key: Raw<ApiKey> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey",
            "metadata": {"name": "alice", "namespace": "web", "uid": "K"},
            "spec": {"teamRef": {"name": "team", "namespace": "apps"}}}))
        .unwrap();
        let (team_name, key_name) = (ObjectName::new("apps", "team"), ObjectName::new("web", "alice"));
        cluster.teams.put(team_name.clone(), 1, cluster_state::tracked(team, None).unwrap());
        cluster.api_keys.put(key_name.clone(), 1, cluster_state::tracked(key, None).unwrap());
        assert_eq!(text(&cluster), "", "nothing was heard");
        let totals = |requests, pico| Totals { requests, tokens: 10, spent: PicoUsd::new(pico) };
        let books = TeamLedger {
            totals: BTreeMap::from([
                (Series::Team, totals(3, 1_500_000_000_001)),
                (Series::Key(Uid::new("K")), totals(2, 180_000)),
                (Series::Key(Uid::new("gone")), totals(1, 1)),
                (Series::Unsettled, totals(1, 2)),
            ]),
            money: BTreeMap::new(),
            month: None,
        };
        cluster.books.teams.insert(Uid::new("T"), Arc::new(books));
        let at = ["openai", "apps/route/one", "a \"model\""].map(str::to_owned);
        let [provider, backend, model] = at;
        let breakdown = Breakdown {
            users: BTreeMap::from([("ada".to_owned(), totals(2, 7)), ("_other".to_owned(), totals(1, 8))]),
            models: BTreeMap::from([(ModelAt { provider, backend, model }, totals(3, 15))]),
        };
        cluster.books.breakdowns.insert(Uid::new("T"), Arc::new(breakdown));
        let found = text(&cluster);
        for line in [
            "vectoll_cluster_key_requests_total{team=\"apps/team\",key=\"web/alice\"} 2",
            "vectoll_cluster_key_spend_usd_total{team=\"apps/team\",key=\"web/alice\"} 0.00000018",
            "vectoll_cluster_team_spend_usd_total{team=\"apps/team\"} 1.500000000001",
            "vectoll_cluster_unsettled_requests_total{team=\"apps/team\"} 1",
            "vectoll_cluster_user_requests_total{team=\"apps/team\",user=\"ada\"} 2",
            "vectoll_cluster_user_spend_usd_total{team=\"apps/team\",user=\"_other\"} 0.000000000008",
            "vectoll_cluster_model_tokens_total{team=\"apps/team\",model=\"a \\\"model\\\"\",provider=\"openai\",\
             backend=\"apps/route/one\"} 10",
        ] {
            assert!(found.lines().any(|found| found == line), "{line}\n{found}");
        }
        assert_eq!(found.matches("vectoll_cluster_key_requests_total{").count(), 1);
        cluster.api_keys.take(&key_name, u64::MAX);
        assert!(!text(&cluster).contains("vectoll_cluster_key"));
        cluster.teams.take(&team_name, u64::MAX);
        assert_eq!(text(&cluster), "");
    }
}
