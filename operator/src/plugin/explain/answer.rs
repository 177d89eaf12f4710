//! The answer, from what is known. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;
use vectoll_config::{ModelPattern, ObjectName, v1};
use vectoll_crds::{Provider, Spend};

use super::{
    gather::{KeyContext, Reported},
    last::LastRefusal,
    rows::{BudgetRow, LimitRow, Rows},
};
use crate::{
    desired_state::{Credentials, desired_state},
    observed_state::{Kind, ResourceRef},
    plugin::condition_summary::condition,
    resolve::{model_of, price_of},
    validate::model_route,
};

/// Whether a key may call a model, and what decides it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) key: ObjectName,
    pub(super) model: String,
    pub(super) may: bool,
    /// What stands in the way: calls are refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) obstacles: Vec<Remark>,
    /// What is worth knowing beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) remarks: Vec<Remark>,
    /// The Team, and those above it.
    pub(super) teams: Vec<ObjectName>,
    /// Where routes are looked for, in this order.
    pub(super) searched: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<RouteFound>,
    pub(super) limits: Vec<LimitRow>,
    pub(super) budgets: Vec<BudgetRow>,
    /// Why the last call of the key was refused, whatever its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_refusal: Option<LastRefusal>,
}

/// Something to know: whose, a reason, and words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Remark {
    pub(super) of: String,
    pub(super) reason: String,
    pub(super) message: String,
}

/// The route that takes the call.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RouteFound {
    pub(super) name: ObjectName,
    /// The one of its names that fits.
    pub(super) pattern: ModelPattern,
    pub(super) backends: Vec<BackendFound>,
}

/// A backend of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackendFound {
    pub(super) name: String,
    pub(super) provider: &'static str,
    /// The model's name there; none: as called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    pub(super) priority: u32,
    pub(super) weight: u32,
    /// US dollars for a million tokens; none: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) price_per_million_tokens: Option<String>,
    /// Where the price comes from.
    pub(super) price_from: &'static str,
}

pub(super) fn answer(known: &KeyContext, key: &ObjectName, model: &str, now: Timestamp) -> Answer {
    let desired = desired_state(&known.observed, now);
    let config = desired.config(&known.observed, key.namespace(), Credentials::Withhold, None);
    let config = config.config;
    let mut answer = Answer {
        key: key.clone(),
        model: model.to_owned(),
        may: false,
        obstacles: Vec::new(),
        remarks: Vec::new(),
        teams: Vec::new(),
        searched: Vec::new(),
        route: None,
        limits: Vec::new(),
        budgets: Vec::new(),
        last_refusal: None,
    };
    answer.remarks.extend(known.unseen.iter().map(|message| remark("what you may read", "Unseen", message)));
    if let Some(found) = config.keys.iter().find(|found| found.name == *key) {
        answer.of_key(known, found, &config, now);
    } else {
        let of = ResourceRef { kind: Kind::ApiKey, name: key.clone() };
        let stopping = desired.conditions.get(&of).into_iter().flatten().filter(|condition| condition.stops());
        answer.obstacles.extend(stopping.map(|of| remark(&format!("key {key}"), of.reason, &of.message)));
    }
    answer.told(known);
    answer.may = answer.obstacles.is_empty();
    answer
}

fn remark(of: &str, reason: &str, message: &str) -> Remark {
    Remark { of: of.to_owned(), reason: reason.to_owned(), message: message.to_owned() }
}

/// The Team of a key and those above it.
fn lineage<'a>(key: &v1::Key, config: &'a v1::Config) -> Vec<&'a v1::Team> {
    let mut found: Vec<&v1::Team> = Vec::new();
    let mut next = Some(&key.team);
    while let Some(team) = next.and_then(|name| config.teams.iter().find(|team| team.name == *name)) {
        if found.len() >= v1::MAX_TREE_DEPTH {
            break;
        }
        found.push(team);
        next = team.parent.as_ref();
    }
    found
}

impl Answer {
    fn of_key(&mut self, known: &KeyContext, key: &v1::Key, config: &v1::Config, now: Timestamp) {
        let teams = lineage(key, config);
        self.teams = teams.iter().map(|team| team.name.clone()).collect();
        self.searched = teams.first().map(|team| team.route_namespaces.clone()).unwrap_or_default();
        self.refused(key, &teams, now);
        let Some((route, pattern)) = route_of(&self.model, &self.searched, config) else {
            let message = format!(
                "no ModelRoute that the key can see in {} serves it: kubectl get modelroutes -A shows the names that there are",
                self.searched.join(", ")
            );
            self.obstacles.push(remark(&format!("model {}", self.model), "ModelNotFound", &message));
            return;
        };
        let found = self.route(known, route, pattern);
        let is_foreign = |team: &v1::Team| team.foreign_routes && route.name.namespace() == key.name.namespace();
        let rows = held(known, key, &teams, &self.model, is_foreign, now);
        let callable = found.backends.iter().filter(|backend| backend.weight > 0);
        let unpriced: Vec<&str> = callable
            .filter(|backend| backend.price_per_million_tokens.is_none())
            .map(|backend| &*backend.name)
            .collect();
        if !unpriced.is_empty() {
            let message = format!("it is not known what {} charges: set the backend's price", unpriced.join(", "));
            let of = format!("route {}", route.name);
            if rows.budgets.iter().any(|budget| !budget.audit) {
                self.obstacles.push(remark(
                    &of,
                    "PriceUnknown",
                    &format!("{message}. A call under a budget is refused"),
                ));
            } else {
                self.remarks.push(remark(&of, "PriceUnknown", &format!("{message}. Its calls count as unpriced")));
            }
        }
        self.route = Some(found);
        (self.limits, self.budgets) = (rows.limits, rows.budgets);
    }

    /// Why calls are refused, whatever the route.
    fn refused(&mut self, key: &v1::Key, teams: &[&v1::Team], now: Timestamp) {
        let of_key = format!("key {}", key.name);
        if key.suspended {
            self.obstacles.push(remark(&of_key, "Suspended", "the key is suspended: kubectl vectoll resume ends that"));
        }
        if let Some(end) = key.expires_at.filter(|end| *end <= now) {
            self.obstacles.push(remark(&of_key, "Expired", &format!("the key expired at {end}")));
        }
        for team in teams.iter().filter(|team| team.suspended) {
            self.obstacles.push(remark(&format!("team {}", team.name), "Suspended", "the Team is suspended"));
        }
        let lists = [(of_key, &key.models)]
            .into_iter()
            .chain(teams.iter().map(|team| (format!("team {}", team.name), &team.models)));
        for (of, models) in lists {
            let Some(models) = models else { continue };
            if !models.iter().any(|listed| listed.covers(&self.model)) {
                let names: Vec<String> = models.iter().map(ToString::to_string).collect();
                let message = format!("{} is not among its models (spec.models): {}", self.model, names.join(", "));
                self.obstacles.push(remark(&of, "ModelNotAllowed", &message));
            }
        }
    }

    /// The route with its backends, and why it cannot serve.
    fn route(&mut self, known: &KeyContext, route: &v1::Route, pattern: &ModelPattern) -> RouteFound {
        let mut found = RouteFound { name: route.name.clone(), pattern: pattern.clone(), backends: Vec::new() };
        let Some(object) = known.observed.routes.get(&route.name) else { return found };
        let of = format!("route {}", route.name);
        match model_route(object) {
            Err(errors) => {
                let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                self.obstacles.push(remark(&of, "Invalid", &message));
            }
            Ok(valid) => {
                let words = object.spec.backends.iter().map(|backend| backend.providers().next().map_or("", word));
                for (backend, provider) in valid.backends.iter().zip(words) {
                    // What sidecars have been told is what they charge.
                    let delivered = known.delivered(&route.name, pattern, &backend.name);
                    let price = match delivered {
                        Some(delivered) => delivered.price_per_million_tokens,
                        None => price_of(backend, pattern, &known.observed.pricing),
                    };
                    found.backends.push(BackendFound {
                        name: backend.name.clone(),
                        provider,
                        model: model_of(backend, pattern).map(str::to_owned),
                        priority: backend.priority,
                        weight: backend.weight,
                        price_per_million_tokens: price.map(|price| price.to_string()),
                        price_from: match (price, backend.price, provider) {
                            (None, _, _) => "unknown",
                            (Some(_), Some(_), _) => "spec",
                            (Some(_), None, "builtin") => "nothing is charged",
                            (Some(_), None, _) if delivered.is_some() => "in force",
                            (Some(_), None, _) => "list",
                        },
                    });
                }
            }
        }
        if !found.backends.is_empty() && found.backends.iter().all(|backend| backend.weight == 0) {
            self.obstacles.push(remark(&of, "NoBackend", "every backend has the weight 0: no call is sent to any"));
        }
        found
    }

    /// What the operator says in statuses.
    fn told(&mut self, known: &KeyContext) {
        let key = format!("key {}", self.key);
        self.conditions(&key, known.key.conditions(), known.key.is_behind());
        for name in self.teams.clone() {
            if let Some(team) = known.teams.get(&name) {
                self.conditions(&format!("team {name}"), team.conditions(), team.is_behind());
            }
        }
        let route = self.route.as_ref().map(|route| route.name.clone());
        if let Some((name, route)) = route.and_then(|name| Some((name.clone(), known.routes.get(&name)?))) {
            self.conditions(&format!("route {name}"), route.conditions(), route.is_behind());
        }
    }

    fn conditions(&mut self, of: &str, conditions: &[Condition], is_behind: bool) {
        if conditions.is_empty() {
            let message = "the operator has not reported on it: kubectl vectoll check says whether one runs";
            self.remarks.push(remark(of, "NotReconciled", message));
        } else if is_behind {
            let message = "the operator has not reported on the present spec yet";
            self.remarks.push(remark(of, "Pending", message));
        }
        let is_team = of.starts_with("team ");
        for (kind, status, stops) in [
            ("Accepted", "False", true),
            // Where a Team looks for routes is no obstacle for a route that is found.
            ("ResolvedRefs", "False", !is_team),
            ("BudgetExceeded", "True", true),
            ("Programmed", "False", false),
            ("Conflicted", "True", false),
            ("LimitsExact", "False", false),
            ("BudgetWarning", "True", false),
            ("PricesCurrent", "False", false),
        ] {
            let Some(found) = condition(conditions, kind).filter(|found| found.status == status) else { continue };
            let told = remark(of, &found.reason, &found.message);
            // The same may have been found out here, and a condition may say what another one says.
            let is_known = |known: &Remark| known.of == told.of && known.reason == told.reason;
            if !self.obstacles.iter().chain(&self.remarks).any(is_known) {
                let list = if stops { &mut self.obstacles } else { &mut self.remarks };
                list.push(told);
            }
        }
    }
}

/// The route that a sidecar picks: of the first namespace that has any, the one with the most specific name.
fn route_of<'a>(model: &str, searched: &[String], config: &'a v1::Config) -> Option<(&'a v1::Route, &'a ModelPattern)> {
    searched.iter().find_map(|namespace| {
        let routes = config.routes.iter().filter(|route| route.name.namespace() == namespace);
        let names = routes.flat_map(|route| route.models.iter().map(move |pattern| (route, pattern)));
        names.filter(|(_, pattern)| pattern.covers(model)).min_by(|(_, a), (_, b)| a.cmp(b))
    })
}

/// The limits and budgets of a call: as `scopes` of the sidecar puts them together.
fn held(
    known: &KeyContext,
    key: &v1::Key,
    teams: &[&v1::Team],
    model: &str,
    is_foreign: impl Fn(&v1::Team) -> bool,
    now: Timestamp,
) -> Rows {
    let mut rows = Rows::default();
    let of_key = format!("key {}", key.name);
    let spend = known.key.status.as_ref().and_then(|status| status.spend.as_ref());
    rows.max_tokens(&of_key, key.max_tokens_per_call);
    rows.limits(&of_key, &key.limits);
    rows.budgets(&of_key, key.budget.iter().chain(&key.budgets), spend, now);
    for of in key.model_limits.iter().filter(|of| of.model.covers(model)) {
        let scope = format!("{} of key {}", of.model, key.name);
        rows.limits(&scope, &of.limits);
        rows.budgets(&scope, &of.budgets, None, now);
    }
    rows.limits(&format!("each user of key {}", key.name), &key.user_limits);
    for (at, team) in teams.iter().enumerate() {
        let is_foreign = is_foreign(team);
        let counted = |_: &&v1::Budget| !is_foreign;
        let scope = format!("team {}", team.name);
        rows.max_tokens(&scope, team.max_tokens_per_call);
        rows.limits(&scope, &team.limits);
        let spend = spend_of(known, &team.name);
        rows.budgets(&scope, team.budget.iter().chain(&team.budgets).filter(counted), spend, now);
        for of in team.model_limits.iter().filter(|of| of.model.covers(model)) {
            let scope = format!("{} of team {}", of.model, team.name);
            rows.limits(&scope, &of.limits);
            rows.budgets(&scope, of.budgets.iter().filter(counted), None, now);
        }
        for of in &team.tag_limits {
            let scope = format!("calls of team {} tagged {}", team.name, of.tag);
            rows.limits(&scope, &of.limits);
            rows.budgets(&scope, of.budgets.iter().filter(counted), None, now);
        }
        // What follows is held by the key's own Team only.
        if at > 0 {
            continue;
        }
        let scope = format!("namespace {} in team {}", key.name.namespace(), team.name);
        rows.limits(&scope, &team.namespace_limits);
        let budgets = team.namespace_budget.iter().chain(&team.namespace_budgets);
        rows.budgets(&scope, budgets.filter(counted), None, now);
        let scope = format!("each user of team {}", team.name);
        rows.limits(&scope, &team.user_limits);
        rows.budgets(&scope, team.user_budget.iter().chain(&team.user_budgets).filter(counted), None, now);
    }
    rows
}

fn spend_of<'a>(known: &'a KeyContext, team: &ObjectName) -> Option<&'a Spend> {
    known.teams.get(team)?.status.as_ref()?.spend.as_ref()
}

/// What a status has of conditions.
pub(super) trait Conditions {
    fn all(&self) -> (&[Condition], Option<i64>);
}

macro_rules! conditions {
    ($($status:ty),*) => {$(
        impl Conditions for $status {
            fn all(&self) -> (&[Condition], Option<i64>) {
                (&self.conditions, self.observed_generation)
            }
        }
    )*};
}
conditions!(vectoll_crds::ApiKeyStatus, vectoll_crds::TeamStatus, vectoll_crds::ModelRouteStatus);

impl<S: Conditions> Reported<S> {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.all().0).unwrap_or_default()
    }

    /// Whether the status speaks of an earlier spec.
    fn is_behind(&self) -> bool {
        let observed = self.status.as_ref().and_then(|status| status.all().1);
        observed.is_some() && observed < self.generation
    }
}

/// A provider as the spec names it.
fn word(provider: Provider<'_>) -> &'static str {
    match provider {
        Provider::OpenAi(_) => "openAI",
        Provider::Builtin(_) => "builtin",
        Provider::AzureOpenAi(_) => "azureOpenAI",
        Provider::Bedrock(_) => "bedrock",
        Provider::Cohere(_) => "cohere",
        Provider::Databricks(_) => "databricks",
        Provider::Gemini(_) => "gemini",
        Provider::HuggingFace(_) => "huggingFace",
        Provider::Jina(_) => "jina",
        Provider::Mistral(_) => "mistral",
        Provider::Nvidia(_) => "nvidia",
        Provider::Ollama(_) => "ollama",
        Provider::SageMaker(_) => "sageMaker",
        Provider::VertexAi(_) => "vertexAI",
        Provider::Voyage(_) => "voyage",
        Provider::Watsonx(_) => "watsonx",
    }
}

#[cfg(test)]
mod tests;
