//! The `ClusterRoles` for people: who is bound to one may do what the page on security says of it, and nothing else.

use anyhow::Context;
use serde_json::json;

use crate::cluster::{Cluster, eventually};
use crate::privileges::Question;

const KINDS: [&str; 3] = ["apikeys.vectoll.dev", "teams.vectoll.dev", "modelroutes.vectoll.dev"];

/// Role, and which of the kinds it writes.
const ROLES: [(&str, [bool; 3]); 7] = [
    ("vectoll-view", [false, false, false]),
    ("vectoll-key-edit", [true, false, false]),
    ("vectoll-team-edit", [false, true, false]),
    ("vectoll-route-edit", [false, false, true]),
    ("vectoll-edit", [true, true, true]),
    // The cluster's own, with the chart's defaults: it sees what `view` sees.
    ("view", [false, false, false]),
    ("edit", [false, false, false]),
];

pub fn each_role_does_what_it_says(cluster: &Cluster) -> anyhow::Result<()> {
    for (role, _) in ROLES {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": "search"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("of-{role}")}],
        });
        cluster.apply(&binding.to_string())?;
    }
    for (role, writes) in ROLES {
        let user = format!("of-{role}");
        let (mut questions, mut expected): (Vec<Question<'_>>, Vec<bool>) = (Vec::new(), Vec::new());
        for (kind, writes) in KINDS.into_iter().zip(writes) {
            for (verb, may) in
                [("list", true), ("watch", true), ("create", writes), ("patch", writes), ("delete", writes)]
            {
                questions.push(("search", verb, kind));
                expected.push(may);
            }
            // Where the role is not bound.
            questions.push(("shop", "get", kind));
            expected.push(false);
        }
        // Statuses are the operator's, and of Secrets no role of ours says anything. The cluster's own `edit` may read them anyway.
        questions.push(("search", "patch", "apikeys.vectoll.dev:status"));
        questions.push(("search", "patch", "teams.vectoll.dev:status"));
        expected.extend([false, false]);
        if role != "edit" {
            questions.push(("search", "get", "secrets"));
            expected.push(false);
        }
        // Aggregated roles are filled by a controller.
        let mut wrong = Vec::new();
        let settled = eventually(&format!("the role {role}"), || {
            let found = cluster.may_user(&user, &questions)?;
            let differ = questions.iter().zip(found).zip(&expected).filter(|((_, is), must)| is != *must);
            wrong = differ.map(|((question, _), _)| *question).collect();
            Ok(wrong.is_empty())
        });
        settled.with_context(|| format!("{role} is wrong in {wrong:?}"))?;
    }
    Ok(())
}
