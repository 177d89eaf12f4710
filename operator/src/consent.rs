//! Whether the owner of a resource lets another namespace use it.

use std::collections::BTreeMap;

use vectoll_crds::{AllowedNamespaces, From, LabelOperator, NamespaceSelector};

use crate::observed_state::ObservedState;

/// The label that every namespace has, with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Whether a resource in `owner` may be used from `user`.
pub(crate) fn consents(allowed: &AllowedNamespaces, owner: &str, user: &str, observed: &ObservedState) -> bool {
    allows(allowed, owner, user, observed.namespaces.get(user))
}

/// The same, where the user's labels are at hand.
pub(crate) fn allows(
    allowed: &AllowedNamespaces,
    owner: &str,
    user: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    owner == user
        || match allowed.from {
            From::Same => false,
            From::All => true,
            From::Selector => {
                let mut labels = labels.cloned().unwrap_or_default();
                labels.insert(NAME_LABEL.to_owned(), user.to_owned());
                // A selector that is not there, or names nothing, selects nothing.
                allowed.selector.as_ref().is_some_and(|selector| selects(selector, &labels))
            }
        }
}

fn selects(selector: &NamespaceSelector, labels: &BTreeMap<String, String>) -> bool {
    let NamespaceSelector { match_labels, match_expressions } = selector;
    let equal = match_labels.iter().all(|(name, value)| labels.get(name) == Some(value));
    let expressions = match_expressions.iter().all(|requirement| {
        let value = labels.get(&requirement.key);
        let listed = value.is_some_and(|value| requirement.values.contains(value));
        match requirement.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    });
    let says_something = !match_labels.is_empty() || !match_expressions.is_empty();
    says_something && equal && expressions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn consent_is_by_namespace_labels() {
        let mut observed = ObservedState::default();
        observed.namespaces.insert("apps".to_owned(), BTreeMap::from([("tier".to_owned(), "gold".to_owned())]));
        let allowed = |yaml: &str| -> AllowedNamespaces { serde_yaml::from_str(yaml).unwrap() };
        for (yaml, from_apps, from_other) in [
            ("{}", false, false),
            ("{from: Same}", false, false),
            ("{from: All}", true, true),
            ("{from: Selector}", false, false),
            ("{from: Selector, selector: {}}", false, false),
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
        ] {
            let allowed = allowed(yaml);
            assert_eq!(consents(&allowed, "owner", "apps", &observed), from_apps, "{yaml} from apps");
            assert_eq!(consents(&allowed, "owner", "other", &observed), from_other, "{yaml} from other");
            assert!(consents(&allowed, "owner", "owner", &observed), "{yaml} from its own namespace");
        }
    }
}
