//! Whether the owner of a resource lets another namespace use it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use vectoll_crds::{AllowedNamespaces, From};

use crate::world::World;

/// The label that every namespace has, with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Whether a resource in `owner` may be used from `user`.
pub(crate) fn consents(allowed: &AllowedNamespaces, owner: &str, user: &str, world: &World) -> bool {
    owner == user
        || match allowed.from {
            From::Same => false,
            From::All => true,
            From::Selector => {
                let mut labels = world.namespaces.get(user).cloned().unwrap_or_default();
                labels.insert(NAME_LABEL.to_owned(), user.to_owned());
                // A selector that is not there selects nothing; an empty one everything, as in all of Kubernetes.
                allowed.selector.as_ref().is_some_and(|selector| selects(selector, &labels))
            }
        }
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(name, value)| labels.get(name) == Some(value));
    let expressions = selector.match_expressions.iter().flatten().all(|requirement| {
        let value = labels.get(&requirement.key);
        let listed = value.is_some_and(|value| requirement.values.iter().flatten().any(|listed| listed == value));
        match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            // An operator of the future cannot be judged: no consent.
            _ => false,
        }
    });
    equal && expressions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn consent_is_by_namespace_labels() {
        let mut world = World::default();
        world.namespaces.insert("apps".to_owned(), BTreeMap::from([("tier".to_owned(), "gold".to_owned())]));
        let allowed = |yaml: &str| -> AllowedNamespaces { serde_yaml::from_str(yaml).unwrap() };
        for (yaml, from_apps, from_other) in [
            ("{}", false, false),
            ("{from: Same}", false, false),
            ("{from: All}", true, true),
            ("{from: Selector}", false, false),
            ("{from: Selector, selector: {}}", true, true),
            ("{from: Selector, selector: {matchLabels: {tier: gold}}}", true, false),
            ("{from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: other}}}", false, true),
            (
                "{from: Selector, selector: {matchExpressions: [{key: tier, operator: In, values: [gold]}]}}",
                true,
                false,
            ),
            (
                "{from: Selector, selector: {matchExpressions: [{key: tier, operator: NotIn, values: [gold]}]}}",
                false,
                true,
            ),
            ("{from: Selector, selector: {matchExpressions: [{key: tier, operator: Exists}]}}", true, false),
            ("{from: Selector, selector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}}", false, true),
            ("{from: Selector, selector: {matchExpressions: [{key: tier, operator: Like}]}}", false, false),
        ] {
            let allowed = allowed(yaml);
            assert_eq!(consents(&allowed, "owner", "apps", &world), from_apps, "{yaml} from apps");
            assert_eq!(consents(&allowed, "owner", "other", &world), from_other, "{yaml} from other");
            assert!(consents(&allowed, "owner", "owner", &world), "{yaml} from its own namespace");
        }
    }
}
