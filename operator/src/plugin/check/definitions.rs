//! Whether the `CustomResourceDefinitions` are there, and those of this version. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use super::finding::Finding;

/// How to bring them up to date.
const HINT: &str =
    "helm upgrade brings them along (crds.install), or: vectoll-operator crds | kubectl apply --server-side -f -";

pub(super) fn judge(found: &[CustomResourceDefinition]) -> Vec<Finding> {
    vectoll_crds::definitions().iter().map(|expected| of(expected, found)).collect()
}

fn of(expected: &CustomResourceDefinition, found: &[CustomResourceDefinition]) -> Finding {
    let name = expected.metadata.name.as_deref().unwrap_or_default();
    let Some(present) = found.iter().find(|crd| crd.metadata.name.as_deref() == Some(name)) else {
        return Finding::bad(format!("{name} is not installed"), HINT);
    };
    let conditions = present.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_established =
        conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True");
    if !is_established {
        return Finding::bad(
            format!("{name} is not established"),
            format!("its conditions say why: kubectl describe crd {name}"),
        );
    }
    let version = |crd: &CustomResourceDefinition| {
        let version = crd.spec.versions.iter().find(|version| version.name == vectoll_crds::VERSION)?;
        serde_json::to_value(&version.schema).ok()
    };
    let (Some(ours), Some(theirs)) = (version(expected), version(present)) else {
        return Finding::bad(format!("{name} has no version {}", vectoll_crds::VERSION), HINT);
    };
    match difference(&ours, &theirs, "") {
        None => Finding::good(format!("{name} is that of version {}", env!("CARGO_PKG_VERSION"))),
        Some(path) => Finding::notable(
            format!(
                "{name} is of another version than this program ({}): they differ at {path}",
                env!("CARGO_PKG_VERSION")
            ),
            HINT,
        ),
    }
}

/// The first place at which two schemas differ, as a path of fields. Words for people do not count.
fn difference(ours: &Value, theirs: &Value, path: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
            names.filter(|name| *name != "description" || path.ends_with("properties")).find_map(|name| {
                let path = format!("{path}.{name}");
                match (ours.get(name), theirs.get(name)) {
                    (Some(ours), Some(theirs)) => difference(ours, theirs, &path),
                    (Some(_), None) | (None, Some(_)) => Some(short(&path)),
                    (None, None) => None,
                }
            })
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            ours.iter().zip(theirs).find_map(|(ours, theirs)| difference(ours, theirs, path))
        }
        (ours, theirs) => (ours != theirs).then(|| short(path)),
    }
}

/// A path as a manifest has it.
fn short(path: &str) -> String {
    let names =
        path.split('.').filter(|name| !name.is_empty() && !matches!(*name, "openAPIV3Schema" | "properties" | "items"));
    names.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use serde_json::json;

    use super::*;

    /// As an API server has it after a while.
    fn established(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
        let mut value = serde_json::to_value(&crd).unwrap();
        value["status"] = json!({"conditions": [{"type": "Established", "status": "True"}], "acceptedNames": {"kind": "", "plural": ""},
                                 "storedVersions": []});
        crd = serde_json::from_value(value).unwrap();
        crd
    }

    #[test]
    fn what_is_missing_or_other_is_named() {
        let all: Vec<_> = vectoll_crds::definitions().into_iter().map(established).collect();
        let marks = |found: &[CustomResourceDefinition]| {
            judge(found).into_iter().map(|finding| (finding.mark, finding.message)).collect::<Vec<_>>()
        };
        assert!(marks(&all).iter().all(|(mark, _)| *mark == super::super::finding::Mark::Good), "{:?}", marks(&all));
        let some = marks(&all[1..]);
        assert_eq!(some[0].1, "apikeys.vectoll.dev is not installed");
        let mut value = serde_json::to_value(&all[2]).unwrap();
        let spec = &mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        spec.as_object_mut().unwrap().remove("maxUsers").unwrap();
        let older: CustomResourceDefinition = serde_json::from_value(value).unwrap();
        let other = marks(&[all[0].clone(), all[1].clone(), older]);
        assert!(other[2].1.ends_with("they differ at spec.maxUsers"), "{}", other[2].1);
        // Made by hand and not served yet.
        let pending = marks(&vectoll_crds::definitions());
        assert!(pending[0].1.ends_with("is not established"));
    }
}
