//! A pod is touched, so that the kubelet looks at its config anew.

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::Patch};
use serde_json::json;
use vectoll_config::{ObjectName, Uid};

use super::{
    Applier,
    request::{is_gone, patched},
};
use crate::cluster::{
    cluster_state::{self, version_of},
    names,
    raw::Raw,
};

impl Applier {
    pub(super) async fn touch(&self, pod: &ObjectName, uid: &Uid, generation: u64) -> anyhow::Result<()> {
        let api: Api<Raw<Pod>> = Api::namespaced(self.client.clone(), pod.namespace());
        let patch = json!({
            "metadata": {"uid": uid.to_string(), "annotations": {names::POD_GENERATION: generation.to_string()}},
        });
        match api.patch(pod.name(), &patched(), &Patch::Merge(patch)).await {
            Ok(touched) => {
                let version = version_of(&touched);
                // As the answer has it: it may tell of more than the touch, for example that the pod has ended, and what the watch has to
                // say of older versions is not believed any more.
                let after = cluster_state::sidecar(touched, None);
                let mut cluster = self.shared.cluster();
                if let Some(before) = cluster.pods.get(pod).map(|seen| seen.value.clone())
                    && let Some(after) = after
                {
                    if after == (cluster_state::Sidecar { touched: Some(generation), ..before }) {
                        cluster.pods.put_as_planned(pod, version, after);
                    } else {
                        cluster.pods.put(pod.clone(), version, after);
                        drop(cluster);
                        self.shared.notify();
                    }
                }
                Ok(())
            }
            Err(error) if is_gone(&error) => {
                self.shared.cluster().pods.forget(pod, |seen| seen.uid == *uid);
                Ok(())
            }
            Err(error) => Err(error).context("failed to touch the pod"),
        }
    }
}
