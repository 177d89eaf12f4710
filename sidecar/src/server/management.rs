//! Paths by which LiteLLM's proxy is managed. A sidecar is not: keys, Teams and routes are resources. Who calls such a path by habit is
//! told which one.
//!
//! Source: BerriAI/litellm `litellm/proxy/management_endpoints/` and its documentation of the management API.

/// How that is done here which a path does in LiteLLM's proxy; none: it is no such path.
pub(super) fn here(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix("/v1").or_else(|| path.strip_prefix("/v2")).unwrap_or(path);
    let (first, rest) = path.strip_prefix('/')?.split_once('/')?;
    if rest.is_empty() {
        return None;
    }
    match first {
        "key" => Some(
            "Make, change and revoke keys with `kubectl apply` and `kubectl delete` of an ApiKey (vectoll.dev/v1alpha1); its value is in the \
             Secret that its status names. GET /key/info tells a key of itself",
        ),
        "team" | "organization" | "project" => Some(
            "Make and change Teams with `kubectl apply` of a Team (vectoll.dev/v1alpha1); `kubectl get teams` shows what they have spent",
        ),
        "user" | "customer" | "end_user" => Some(
            "End users are not made: calls name them. Their limits are `userLimits` and `userBudget` of a Team (vectoll.dev/v1alpha1), \
             changed with `kubectl apply`; an ApiKey's owner is its `user`",
        ),
        "budget" => Some(
            "Set `budget` and `limits` of an ApiKey or a Team (vectoll.dev/v1alpha1) with `kubectl apply`; their status shows what is left",
        ),
        "model" | "model_group" | "access_group" | "credentials" => Some(
            "Make and change models with `kubectl apply` of a ModelRoute (vectoll.dev/v1alpha1), whose credentials are in Secrets; \
             GET /v1/models lists those that a key may use",
        ),
        "tag" => Some(
            "List the tags to count in `tags` of a Team or a ModelRoute (vectoll.dev/v1alpha1), with `kubectl apply`; \
             vectoll_tag_spend_usd_total on /metrics has what they cost",
        ),
        "spend" | "global" => Some(
            "What was spent is in the status of ApiKeys and Teams (`kubectl get apikeys,teams`), on the sidecar's /metrics, and call by \
             call in its access log",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::here;

    #[test]
    fn who_manages_by_habit_is_told_the_resource() {
        for (path, word) in [
            ("/key/generate", "ApiKey"),
            ("/v1/key/delete", "ApiKey"),
            ("/key/abc/regenerate", "ApiKey"),
            ("/team/new", "Team"),
            ("/user/new", "userBudget"),
            ("/customer/info", "userBudget"),
            ("/budget/new", "budget"),
            ("/model/new", "ModelRoute"),
            ("/v2/model/info", "ModelRoute"),
            ("/tag/new", "tags"),
            ("/spend/logs", "access log"),
            ("/global/spend/report", "access log"),
        ] {
            let how = here(path).unwrap_or_default();
            assert!(how.contains(word), "{path}: {how}");
        }
        for path in ["/", "/key", "/key/", "/v1", "/v1/chat/completions", "/models/a", "/keys/a", "/v1/embeddings"] {
            assert_eq!(here(path), None, "{path}");
        }
    }
}
