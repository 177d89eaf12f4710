//! Reading one resource: what a newer version has added is passed over, as an API server would; what cannot be read is this resource's
//! fault, named by its field, and nobody else's.

use std::sync::{Arc, LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use vectoll_crds::{ApiKey, ApiKeySpec, DateTime, ModelRoute, ModelRouteSpec, Team, TeamSpec};

use super::{raw::Raw, tracked::Tracked};
use crate::observed_state::UnreadableResource;

/// A kind of ours.
pub(crate) trait Readable: Resource<DynamicType = ()> + 'static {
    type Spec: DeserializeOwned + Clone;
    type Status: DeserializeOwned;

    /// What stands for a spec that was never read: it does nothing.
    fn unread(raw: &Value) -> Value;

    /// What of a spec that cannot be read is honoured all the same: it only ever takes away.
    fn revoke(spec: &mut Self::Spec, raw: &Value);
}

impl Readable for ApiKey {
    type Spec = ApiKeySpec;
    type Status = vectoll_crds::ApiKeyStatus;

    fn unread(_: &Value) -> Value {
        json!({"teamRef": {"name": ""}})
    }

    fn revoke(spec: &mut ApiKeySpec, raw: &Value) {
        spec.suspended |= raw.get("suspended") == Some(&Value::Bool(true));
        let ends = raw.get("expiresAt").and_then(Value::as_str).and_then(|at| at.parse::<DateTime>().ok());
        spec.expires_at = [ends, spec.expires_at].into_iter().flatten().min();
    }
}

impl Readable for Team {
    type Spec = TeamSpec;
    type Status = vectoll_crds::TeamStatus;

    fn unread(_: &Value) -> Value {
        json!({})
    }

    fn revoke(spec: &mut TeamSpec, raw: &Value) {
        spec.suspended |= raw.get("suspended") == Some(&Value::Bool(true));
    }
}

impl Readable for ModelRoute {
    type Spec = ModelRouteSpec;
    type Status = vectoll_crds::ModelRouteStatus;

    /// It keeps its names, or its callers' inputs would go to whatever route comes next.
    fn unread(raw: &Value) -> Value {
        let models: Vec<&Value> =
            raw.get("models").and_then(Value::as_array).into_iter().flatten().filter(|m| m.is_string()).collect();
        json!({"models": models, "backends": []})
    }

    fn revoke(_: &mut ModelRouteSpec, _: &Value) {}
}

/// The schemas of the specs that this version knows, by kind.
static SCHEMAS: LazyLock<Vec<(String, JSONSchemaProps)>> = LazyLock::new(|| {
    let spec = |crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let version = crd.spec.versions.into_iter().next()?;
        let mut fields = version.schema?.open_api_v3_schema?.properties?;
        Some((crd.spec.names.kind, fields.remove("spec")?))
    };
    vectoll_crds::definitions().into_iter().filter_map(spec).collect()
});

/// What was read of a resource.
pub(super) struct Reading<K: Readable> {
    /// Its spec as it is to be gone by.
    pub(super) spec: K::Spec,
    pub(super) status: Option<K::Status>,
    /// Why that is not the one that stands there.
    pub(super) unreadable: Option<UnreadableResource>,
}

/// A resource's spec and status, and what is wrong with it. `before` is what was known of it.
pub(super) fn read<K: Readable>(raw: &mut Raw<K>, before: Option<&Tracked<K::Spec, K::Status>>) -> Option<Reading<K>> {
    let status = raw.body.remove("status").and_then(status);
    let given = raw.body.remove("spec").unwrap_or_else(|| Value::Object(Map::new()));
    let mut pruned = Vec::new();
    let mut known = given.clone();
    if let Some((_, schema)) = SCHEMAS.iter().find(|(kind, _)| *kind == K::kind(&())) {
        prune(&mut known, schema, "spec", &mut pruned);
    }
    let error = match serde_path_to_error::deserialize(known) {
        Ok(spec) => {
            // Only what is also wrong for another reason needs to be told what was passed over.
            return Some(Reading { spec, status, unreadable: None });
        }
        Err(error) => error,
    };
    let path = error.path().to_string();
    let at = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
    let newer = if pruned.is_empty() {
        String::new()
    } else {
        format!(" (this operator does not know {}: is it older than the CustomResourceDefinitions?)", pruned.join(", "))
    };
    let in_force = if before.is_some_and(Tracked::was_read) {
        "the last spec that could be read stays in force"
    } else {
        "nothing of it is in force"
    };
    let message = format!("{at}: {}{newer}: correct it; until then {in_force}", plain(&error.into_inner().to_string()));
    let last = before.filter(|before| before.was_read());
    let mut spec = match last {
        Some(last) => last.object.spec.clone(),
        None => super::raw::read(K::unread(&given))?,
    };
    K::revoke(&mut spec, &given);
    let unreadable = UnreadableResource { message: Arc::from(message), has_last: last.is_some() };
    Some(Reading { spec, status, unreadable: Some(unreadable) })
}

/// A status is the operator's own word, but others may have written conditions into it that cannot be read.
fn status<T: DeserializeOwned>(mut status: Value) -> Option<T> {
    super::raw::read(status.clone()).or_else(|| {
        status.as_object_mut()?.remove("conditions");
        super::raw::read(status)
    })
}

/// The parser's words without a value: somebody may have put a credential where none belongs.
fn plain(message: &str) -> String {
    match (message.find("string \""), message.rfind("\", expected")) {
        (Some(from), Some(to)) if from < to => {
            format!("{}a string{}", message.get(..from).unwrap_or_default(), message.get(to + 1..).unwrap_or_default())
        }
        (Some(_) | None, Some(_) | None) => message.to_owned(),
    }
}

/// Takes out what the schema does not know, at every depth, as an API server does.
fn prune(value: &mut Value, schema: &JSONSchemaProps, path: &str, pruned: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(properties) = &schema.properties {
                fields.retain(|name, value| {
                    let at = format!("{path}.{name}");
                    if let Some(schema) = properties.get(name) {
                        prune(value, schema, &at, pruned);
                        true
                    } else {
                        pruned.push(at);
                        false
                    }
                });
            } else if let Some(JSONSchemaPropsOrBool::Schema(schema)) = &schema.additional_properties {
                for (name, value) in fields {
                    prune(value, schema, &format!("{path}.{name}"), pruned);
                }
            }
        }
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (i, item) in items.iter_mut().enumerate() {
                    prune(item, schema, &format!("{path}[{i}]"), pruned);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::cluster::cluster_state;

    fn api_key(spec: &Value) -> Raw<ApiKey> {
        serde_json::from_value(json!({"metadata": {"name": "alice", "namespace": "apps", "uid": "u"}, "spec": spec}))
            .unwrap()
    }

    fn track(
        spec: &Value,
        before: Option<&Tracked<ApiKeySpec, vectoll_crds::ApiKeyStatus>>,
    ) -> Tracked<ApiKeySpec, vectoll_crds::ApiKeyStatus> {
        cluster_state::tracked(api_key(spec), before).unwrap()
    }

    #[test]
    fn what_a_newer_version_has_added_is_passed_over() {
        let spec = json!({"teamRef": {"name": "team", "newer": 1}, "limits": {"requestsPerMinute": 5, "perFortnight": 7}, "newer": {"a": []},
            "modelLimits": [{"model": "m", "limits": {}, "newer": true}]});
        let tracked = track(&spec, None);
        assert!(tracked.was_read() && tracked.unreadable.is_none());
        assert_eq!(tracked.object.spec.limits.requests_per_minute, Some(5));
        assert_eq!(tracked.object.spec.model_limits.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_names_its_field_and_the_last_good_spec_goes_on() {
        let good = track(&json!({"teamRef": {"name": "team"}, "expiresAt": "9999-12-31T23:59:59Z"}), None);
        let bad = json!({"teamRef": {"name": "team"}, "limits": {"requestsPerMinute": "sk-secret"}, "newer": 1});
        let tracked = track(&bad, Some(&good));
        assert_eq!(tracked.object.spec, good.object.spec);
        let unreadable = tracked.unreadable.clone().unwrap();
        assert!(unreadable.has_last && tracked.was_read());
        assert!(unreadable.message.starts_with("spec.limits.requestsPerMinute: "), "{}", unreadable.message);
        assert!(
            unreadable.message.contains("does not know spec.newer") && !unreadable.message.contains("secret"),
            "{}",
            unreadable.message
        );
        // The next one that cannot be read does not make it forgotten; one that can heals it.
        assert_eq!(track(&bad, Some(&tracked)).object.spec, good.object.spec);
        assert!(track(&json!({"teamRef": {"name": "team"}}), Some(&tracked)).unreadable.is_none());
        let never = track(&bad, None);
        assert!(!never.unreadable.clone().unwrap().has_last && !never.was_read());
        assert!(!track(&bad, Some(&never)).was_read(), "nothing was ever read of it");
    }

    #[test]
    fn a_condition_that_cannot_be_read_hides_nothing_else_of_the_status() {
        let mut raw = api_key(&json!({"teamRef": {"name": "team"}}));
        let condition = json!({"type": "Mine", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "9999-12-31T23:59:59Z"});
        raw.body.insert("status".to_owned(), json!({"keyHint": "abcd", "conditions": [condition]}));
        let status = cluster_state::tracked(raw, None).unwrap().status.unwrap();
        assert_eq!((status.key_hint.as_deref(), status.conditions.len()), (Some("abcd"), 0));
    }

    #[test]
    fn what_takes_away_counts_although_the_rest_cannot_be_read() {
        let good = track(&json!({"teamRef": {"name": "team"}, "expiresAt": "2030-01-01T00:00:00Z"}), None);
        let bad = json!({"teamRef": 7, "suspended": true, "expiresAt": "2029-01-01T00:00:00Z"});
        let spec = track(&bad, Some(&good)).object.spec.clone();
        assert!(spec.suspended);
        assert_eq!(spec.expires_at.unwrap().0.to_string(), "2029-01-01T00:00:00Z");
        let later = json!({"teamRef": 7, "suspended": false, "expiresAt": "2031-01-01T00:00:00Z"});
        assert_eq!(track(&later, Some(&good)).object.spec, good.object.spec);
    }

    #[test]
    fn a_route_that_was_never_read_keeps_its_names() {
        let raw: Raw<ModelRoute> = serde_json::from_value(json!({"metadata": {"name": "r", "namespace": "apps"},
            "spec": {"models": ["m", 7], "backends": {"one": 1}}}))
        .unwrap();
        let tracked = cluster_state::tracked(raw, None).unwrap();
        assert_eq!(tracked.object.spec.models, ["m"]);
        assert!(tracked.object.spec.backends.is_empty() && tracked.unreadable.is_some());
    }
}
