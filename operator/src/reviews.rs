//! Questions to the API server about others: who sends a token (`TokenReview`), and whether they may do something
//! (`SubjectAccessReview`).

use http::{HeaderMap, header};
use k8s_openapi::{
    ClusterResourceScope,
    api::{
        authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
        authorization::v1::{NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    },
};
use kube::{Api, Client, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};

/// Longer than any token of a `ServiceAccount`.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// What somebody wants to do, for an access review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessRequest<'a> {
    /// To get a path that is no resource's.
    GetPath(&'a str),
    /// To list resources of ours.
    List {
        /// Their plural.
        resource: &'a str,
        /// The namespace; none: in all of them.
        namespace: Option<&'a str>,
    },
}

/// Asks the API server. A handle; nothing is remembered here.
#[derive(Clone)]
pub(crate) struct Reviews(Client);

impl Reviews {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Who sends a token; none: nobody that the API server knows.
    pub(crate) async fn identify(&self, token: &str) -> kube::Result<Option<UserInfo>> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: None },
            ..TokenReview::default()
        };
        let status = self.create(&review).await?.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }

    /// Whether somebody may do something.
    pub(crate) async fn allows(&self, user: &UserInfo, request: AccessRequest<'_>) -> kube::Result<bool> {
        let UserInfo { extra, groups, uid, username } = user.clone();
        let (non_resource_attributes, resource_attributes) = attributes(request);
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: username,
                groups,
                uid,
                extra,
                non_resource_attributes,
                resource_attributes,
            },
            ..SubjectAccessReview::default()
        };
        Ok(self.create(&review).await?.status.is_some_and(|status| status.allowed))
    }

    async fn create<K>(&self, object: &K) -> kube::Result<K>
    where
        K: Resource<Scope = ClusterResourceScope> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        Api::<K>::all(self.0.clone()).create(&PostParams::default(), object).await
    }
}

fn attributes(request: AccessRequest<'_>) -> (Option<NonResourceAttributes>, Option<ResourceAttributes>) {
    match request {
        AccessRequest::GetPath(path) => {
            (Some(NonResourceAttributes { path: Some(path.to_owned()), verb: Some("get".to_owned()) }), None)
        }
        AccessRequest::List { resource, namespace } => {
            let attributes = ResourceAttributes {
                group: Some(vectoll_crds::GROUP.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some("list".to_owned()),
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            };
            (None, Some(attributes))
        }
    }
}

/// The token of an `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN_BYTES).then_some(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_a_bearer_token_is_one() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc"), Some("abc".to_owned()));
        assert_eq!(of("bearer  abc "), Some("abc".to_owned()));
        for other in ["Basic abc", "Bearer", "Bearer ", "abc", &format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1))] {
            assert_eq!(of(other), None, "{other:.20}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn one_asks_for_one_kind_in_one_namespace_or_in_all() {
        let (none, attributes_of_one) = attributes(AccessRequest::List { resource: "teams", namespace: Some("apps") });
        let of_one = attributes_of_one.unwrap();
        assert_eq!(none, None);
        assert_eq!((of_one.group.as_deref(), of_one.resource.as_deref()), (Some("vectoll.dev"), Some("teams")));
        assert_eq!((of_one.verb.as_deref(), of_one.namespace.as_deref()), (Some("list"), Some("apps")));
        let (_, of_all) = attributes(AccessRequest::List { resource: "teams", namespace: None });
        assert_eq!(of_all.unwrap().namespace, None);
    }
}
