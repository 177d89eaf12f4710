//! A resource's status is written.

use anyhow::Context;
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, api::Patch};
use serde_json::{Value, json};
use vectoll_config::Uid;
use vectoll_crds::{ApiKey, ModelRoute, Team};

use super::{
    Applier,
    request::{is_conflict, is_gone, patched},
};
use crate::{
    cluster::{
        cluster_state::{self, version_of},
        raw::Raw,
        readable::Readable,
        tracked::Tracked,
        watch::CacheSelector,
    },
    observed_state::{Kind, ResourceRef},
};

impl Applier {
    /// Writes a status over the version of the resource that was reconciled. False: the resource is not that any more.
    ///
    /// A merge patch with the version, not a server-side apply: a status is derived from the whole object (its spec, and what stood
    /// in its conditions), so it must not be written over a newer one, which `force` would do in silence; and what earlier releases
    /// wrote by merge patches they would go on owning, so that a condition which does not hold any more could not be taken out.
    pub(super) async fn report(
        &self,
        of: &ResourceRef,
        uid: &Uid,
        version: u64,
        status: Value,
    ) -> anyhow::Result<bool> {
        // With the UID: another object of that name is not this one.
        let metadata = json!({"uid": uid.to_string(), "resourceVersion": version.to_string()});
        let patch = Patch::Merge(json!({"metadata": metadata, "status": status}));
        let written = match of.kind {
            Kind::ApiKey => self.write_status::<ApiKey>(of, uid, &patch, |all| &mut all.api_keys).await,
            Kind::Team => self.write_status::<Team>(of, uid, &patch, |all| &mut all.teams).await,
            Kind::ModelRoute => self.write_status::<ModelRoute>(of, uid, &patch, |all| &mut all.routes).await,
        };
        written.context("failed to write the status")
    }

    async fn write_status<K>(
        &self,
        of: &ResourceRef,
        uid: &Uid,
        patch: &Patch<Value>,
        place: CacheSelector<Tracked<K::Spec, K::Status>>,
    ) -> kube::Result<bool>
    where
        K: Readable<Scope = NamespaceResourceScope>,
        K::Spec: PartialEq,
        K::Status: PartialEq,
    {
        let api: Api<Raw<K>> = Api::namespaced(self.client.clone(), of.name.namespace());
        let written = match api.patch_status(of.name.name(), &patched(), patch).await {
            Ok(written) => written,
            // It has gone, and we have not heard of it yet.
            Err(error) if is_gone(&error) => {
                place(&mut self.shared.cluster()).forget(&of.name, |seen| seen.object.uid == *uid);
                return Ok(false);
            }
            // Somebody was faster. What there is now is read here, because the watch may take its time to bring it.
            Err(error) if is_conflict(&error) => {
                match api.get_opt(of.name.name()).await? {
                    Some(newer) => self.learn(of, newer, place),
                    None => place(&mut self.shared.cluster()).forget(&of.name, |seen| seen.object.uid == *uid),
                }
                // It is still to be written, although nothing may have changed that would have it reconciled.
                self.shared.cluster().dependent.insert(of.name.namespace().to_owned());
                self.shared.notify();
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.learn(of, written, place);
        Ok(true)
    }

    /// Takes note of an object as the API server has it.
    fn learn<K>(&self, of: &ResourceRef, object: Raw<K>, place: CacheSelector<Tracked<K::Spec, K::Status>>)
    where
        K: Readable,
        K::Spec: PartialEq,
        K::Status: PartialEq,
    {
        let version = version_of(&object);
        let mut cluster = self.shared.cluster();
        let mirror = place(&mut cluster);
        let Some(value) = cluster_state::tracked(object, mirror.get(&of.name).map(|seen| &seen.value)) else { return };
        if mirror.get(&of.name).is_some_and(|seen| seen.value.differs_in_status_only(&value)) {
            mirror.put_as_planned(&of.name, version, value);
        } else {
            mirror.put(of.name.clone(), version, value);
        }
    }
}
