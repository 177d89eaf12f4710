//! Pods whose sidecar is another than would be injected today. Pure.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};

use super::finding::Finding;
use crate::inject::{CONTAINER, InjectionSettings};

/// Pods with a sidecar have this label.
pub(super) const SELECTOR: &str = "vectoll.dev/contract";
/// The entry of the `ConfigMap`.
const ENTRY: &str = "injection.yaml";
/// Pods that are named one by one.
const NAMED: usize = 10;

pub(super) fn judge(map: Option<&ConfigMap>, pods: &[Pod]) -> Finding {
    let text = map.and_then(|map| map.data.as_ref()?.get(ENTRY));
    let Some(settings) = text.and_then(|text| InjectionSettings::read(text).ok()) else {
        let hint = "helm upgrade writes it anew; the operator's log says what is wrong with it";
        return Finding::bad("the settings of the injection cannot be read", hint);
    };
    let images = pods.iter().filter_map(|pod| Some((pod, image(pod)?)));
    let others: Vec<(&Pod, &str)> = images.filter(|(_, image)| *image != settings.image).collect();
    if others.is_empty() {
        return Finding::good(format!(
            "{} pods have the sidecar that is injected today ({})",
            pods.len(),
            settings.image
        ));
    }
    let name = |pod: &Pod| {
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}/{}", of(&pod.metadata.namespace), of(&pod.metadata.name))
    };
    let named: Vec<String> = others.iter().take(NAMED).map(|(pod, image)| format!("{} ({image})", name(pod))).collect();
    let more = if others.len() > NAMED { format!(" and {} more", others.len() - NAMED) } else { String::new() };
    let line = format!(
        "{} of {} pods have another sidecar than {}: {}{more}",
        others.len(),
        pods.len(),
        settings.image,
        named.join(", ")
    );
    Finding::notable(line, "they go on as they are; kubectl rollout restart of their workloads brings the present one")
}

/// The image of a pod's sidecar, wherever it stands.
fn image(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.filter(|container| container.name == CONTAINER).find_map(|container| container.image.as_deref())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;
    use crate::plugin::check::finding::Mark;

    #[test]
    fn pods_with_another_image_are_named() {
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {}, "data": {"injection.yaml": "image: vectoll/sidecar:2\n"}}))
                .unwrap();
        let pod = |name: &str, image: &str, place: &str| -> Pod {
            let mut spec = json!({"containers": [{"name": "app", "image": "app:1"}], "initContainers": []});
            let sidecar = json!({"name": "vectoll-sidecar", "image": image});
            spec.get_mut(place).unwrap().as_array_mut().unwrap().push(sidecar);
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "web"}, "spec": spec})).unwrap()
        };
        let (new, old) = (pod("a", "vectoll/sidecar:2", "initContainers"), pod("b", "vectoll/sidecar:1", "containers"));
        assert_eq!(judge(Some(&map), std::slice::from_ref(&new)).mark, Mark::Good);
        let found = judge(Some(&map), &[new, old]);
        assert_eq!(found.mark, Mark::Notable);
        assert_eq!(found.message, "1 of 2 pods have another sidecar than vectoll/sidecar:2: web/b (vectoll/sidecar:1)");
        assert_eq!(judge(None, &[]).mark, Mark::Bad);
    }
}
