//! From LiteLLM's teams to Teams.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    amounts,
    fields::Fields,
    manifests::Manifests,
    models::{Allowed, Models},
    names::Names,
    notes::Notes,
};

/// The fields of LiteLLM's limits, and of ours.
pub(super) const LIMITS: [(&str, &str); 4] = [
    ("rpm_limit", "requestsPerMinute"),
    ("tpm_limit", "tokensPerMinute"),
    ("tpd_limit", "tokensPerDay"),
    ("max_parallel_requests", "parallelRequests"),
];

/// What those are called that were imported, and the one for keys without a team.
#[derive(Debug, Default)]
pub(super) struct Teams {
    by_id: BTreeMap<String, String>,
    names: Names,
    of_none: Option<String>,
}

impl Teams {
    /// The Team of a key. One that nobody has described is made with nothing but its name.
    pub(super) fn of(&mut self, id: Option<&str>, manifests: &mut Manifests, notes: &mut Notes) -> String {
        let Some(id) = id else {
            if let Some(name) = &self.of_none {
                return name.clone();
            }
            let name = self.names.like("litellm");
            manifests.add("Team", &name, &json!({"displayName": "Keys that had no team in LiteLLM"}));
            notes.add(&format!("Team {name}"), "is for keys that have no team: each key needs one here");
            self.of_none = Some(name.clone());
            return name;
        };
        if let Some(name) = self.by_id.get(id) {
            return name.clone();
        }
        let name = self.names.like(id);
        manifests.add("Team", &name, &json!({"displayName": id}));
        notes.add(
            &format!("Team {name}"),
            "nothing is known of it but its ID: export the teams too, and import both (--teams)",
        );
        self.by_id.insert(id.to_owned(), name.clone());
        name
    }
}

/// Makes a Team of each row.
pub(super) fn import(rows: Vec<Value>, models: &Models, manifests: &mut Manifests, notes: &mut Notes) -> Teams {
    let mut teams = Teams::default();
    for (number, row) in rows.into_iter().enumerate() {
        let place = format!("teams[{number}]");
        let Some(mut row) = Fields::of(&place, &row) else {
            notes.add(&place, "is no mapping: left out");
            continue;
        };
        let (id, alias) = (row.text("team_id", notes), row.text("team_alias", notes));
        let Some(label) = alias.as_ref().or(id.as_ref()).cloned() else {
            notes.add(&place, "has neither team_id nor team_alias: left out");
            continue;
        };
        let name = teams.names.like(&label);
        if let Some(id) = id {
            teams.by_id.insert(id, name.clone());
        }
        let spec = spec(row, &label, models, notes);
        manifests.add("Team", &name, &spec);
    }
    teams
}

fn spec(mut row: Fields, label: &str, models: &Models, notes: &mut Notes) -> Value {
    let mut spec = Map::from_iter([("displayName".to_owned(), Value::String(label.to_owned()))]);
    common(&mut row, &mut spec, models, notes);
    row.ignore(&[
        "spend",
        "total_spend",
        "budget_reset_at",
        "model_spend",
        "created_at",
        "updated_at",
        "admins",
        "members",
        "members_with_roles",
        "model_id",
        "litellm_model_table",
        "last_refreshed_at",
        "keys",
        "members_count",
        "keys_count",
        "object_permission_id",
        "allow_team_guardrail_config",
    ]);
    row.finish(notes, of_a_team);
    Value::Object(spec)
}

/// What teams and keys have in common.
pub(super) fn common(row: &mut Fields, spec: &mut Map<String, Value>, models: &Models, notes: &mut Notes) {
    let place = row.place("models");
    let names = row.texts("models", notes);
    let mut is_suspended = row.is_on("blocked", notes);
    match models.allowed(names, &place, notes) {
        Allowed::All => {}
        Allowed::These(names) => drop(spec.insert("models".to_owned(), names.into())),
        Allowed::None => {
            notes
                .add(&place, "names no model of embeddings: it is suspended, as a list of no models cannot be written");
            is_suspended = true;
        }
    }
    let limits = amounts::limits(row, &LIMITS, notes);
    if !limits.is_empty() {
        spec.insert("limits".to_owned(), Value::Object(limits));
    }
    let mut budgets = amounts::budgets(row, notes);
    if budgets.len() > 1 {
        spec.insert("budgets".to_owned(), budgets.into());
    } else if let Some(budget) = budgets.pop() {
        spec.insert("budget".to_owned(), budget);
    }
    let mut metadata = row.mapping("metadata", notes);
    let by_model = by_model(row, &mut metadata, models, notes);
    if !by_model.is_empty() {
        spec.insert("modelLimits".to_owned(), by_model.into());
    }
    if is_suspended || row.is_closed() {
        spec.insert("suspended".to_owned(), true.into());
    }
    // Back, without what was read: keys have a use for the rest.
    row.put("metadata", metadata);
}

/// Limits and budgets on models of embeddings.
fn by_model(row: &mut Fields, metadata: &mut Fields, models: &Models, notes: &mut Notes) -> Vec<Value> {
    let place = row.path().to_owned();
    let is_known =
        |name: &str| matches!(models.allowed(vec![name.to_owned()], &place, &mut Notes::default()), Allowed::These(_));
    let mut all: BTreeMap<String, (Map<String, Value>, Vec<Value>)> = BTreeMap::new();
    for (theirs, ours) in [("model_rpm_limit", "requestsPerMinute"), ("model_tpm_limit", "tokensPerMinute")] {
        let mut limits = metadata.mapping(theirs, notes);
        let names: Vec<String> = limits.names().filter(|name| is_known(name)).map(str::to_owned).collect();
        for name in names {
            if let Some(limit) = limits.limit(&name, notes) {
                all.entry(name).or_default().0.insert(ours.to_owned(), limit.into());
            }
        }
        close_with(row, theirs, &limits, notes);
    }
    let mut budgets = row.mapping("model_max_budget", notes);
    for (name, value) in budgets.drain().into_iter().filter(|(name, _)| is_known(name)) {
        // An amount, or a mapping with more.
        let value = if value.is_object() { value } else { json!({"max_budget": value}) };
        let Some(mut entry) = Fields::of(&budgets.place(&name), &value) else { continue };
        let amount = if entry.has("budget_limit") { "budget_limit" } else { "max_budget" };
        let budget = amounts::budget(&mut entry, amount, None, notes);
        let limits = amounts::limits(&mut entry, &LIMITS, notes);
        let found = all.entry(name).or_default();
        found.0.extend(limits);
        found.1.extend(budget);
        close_with(row, "model_max_budget", &entry, notes);
        entry.finish(notes, |_| None);
    }
    all.into_iter()
        .filter(|(_, (limits, budgets))| !(limits.is_empty() && budgets.is_empty()))
        .map(|(model, (limits, budgets))| {
            let mut entry = Map::from_iter([("model".to_owned(), Value::String(model))]);
            entry.extend((!limits.is_empty()).then_some(("limits".to_owned(), Value::Object(limits))));
            entry.extend((!budgets.is_empty()).then_some(("budgets".to_owned(), budgets.into())));
            Value::Object(entry)
        })
        .collect()
}

/// What is closed within a row closes the row.
fn close_with(row: &mut Fields, name: &str, within: &Fields, notes: &mut Notes) {
    if within.is_closed() {
        row.close(name, "one of them cannot be written", notes);
    }
}

fn of_a_team(name: &str) -> Option<&'static str> {
    Some(match name {
        "organization_id" => "organisations are Teams above Teams here: make one, and name it in parentRef",
        "team_member_permissions" => "who may write ApiKeys is said by Kubernetes' RBAC",
        "router_settings" => "set retry, cooldown and balance on the routes",
        "metadata" => "teams have no metadata here: labels and annotations of the manifest can say it",
        "access_group_ids" | "default_team_member_models" => "list the models on Teams and keys",
        _ => return None,
    })
}
