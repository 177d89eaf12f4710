//! Resources of ours, read as the operator reads them: one that cannot be read hides no other.

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    api::{ListParams, ObjectList},
};

use super::{
    connect::Place,
    failure::{Failure, Request},
};
use crate::cluster::{Raw, Readable, Tracked, as_tracked};

/// Objects of one answer.
const PAGE: u32 = 500;

/// A resource of a kind, as the operator tracks it.
pub(super) type TrackedResource<K> = Tracked<<K as Readable>::Spec, <K as Readable>::Status>;

/// The resource as roles name it.
pub(super) fn resource<K: Resource<DynamicType = ()>>() -> String {
    let (plural, group) = (K::plural(&()), K::group(&()));
    if group.is_empty() { plural.into_owned() } else { format!("{plural}.{group}") }
}

/// All of a kind, by namespace and name.
pub(super) async fn list<K>(client: &Client, place: &Place) -> Result<Vec<TrackedResource<K>>, Failure>
where
    K: Readable<Scope = NamespaceResourceScope>,
{
    let (api, namespace): (Api<Raw<K>>, Option<&str>) = match place {
        Place::All => (Api::all(client.clone()), None),
        Place::Namespace(namespace) => (Api::namespaced(client.clone(), namespace), Some(namespace)),
    };
    let request = || Request::list(&resource::<K>(), namespace);
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let ObjectList { metadata, items, .. } =
            api.list(&page).await.map_err(|error| Failure::of(error, request()))?;
        found.extend(items.into_iter().filter_map(|raw| as_tracked(raw, None)));
        match metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    found.sort_by(|a, b| a.object.name.cmp(&b.object.name));
    Ok(found)
}

/// One of them; none: it is not there, or about to go.
pub(super) async fn get_opt<K>(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<TrackedResource<K>>, Failure>
where
    K: Readable<Scope = NamespaceResourceScope>,
{
    let api: Api<Raw<K>> = Api::namespaced(client.clone(), namespace);
    let request = || Request::get(&resource::<K>(), Some(namespace), name);
    let found = Failure::or_none(api.get(name).await.map_err(|error| Failure::of(error, request())))?;
    Ok(found.and_then(|raw| as_tracked(raw, None)))
}

/// One of them, which must be there.
pub(super) async fn get<K>(client: &Client, namespace: &str, name: &str) -> Result<TrackedResource<K>, Failure>
where
    K: Readable<Scope = NamespaceResourceScope>,
{
    let found = get_opt::<K>(client, namespace, name).await?;
    found.ok_or_else(|| Failure::NotFound(Request::get(&resource::<K>(), Some(namespace), name)))
}
