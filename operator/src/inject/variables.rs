//! The variables by which OpenAI's clients find the sidecar, in the containers of an application.

use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};
use vectoll_config::POD_KEY;

use super::{edits::Edits, names::CONTAINER};

/// What clients call when nobody tells them otherwise. `localhost`, because the sidecar listens on both loopbacks.
const BASE_URL: &str = "http://localhost:4000/v1";

/// Sets both variables in every container but the sidecar, unless its `env` has them.
///
/// What an `envFrom` brings cannot be seen from here and does not count: the pod's annotation says in so many words
/// whose key its calls are made with, and a variable in `env` goes before one of `envFrom`.
pub(super) fn add(spec: &PodSpec, edits: &mut Edits) {
    for (list, containers) in
        [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))]
    {
        for (i, container) in containers.into_iter().flatten().enumerate() {
            if container.name != CONTAINER {
                add_to(list, i, container, edits);
            }
        }
    }
}

fn add_to(list: &str, index: usize, container: &Container, edits: &mut Edits) {
    let index = index.to_string();
    let mut exists = container.env.is_some();
    // The last one that is put in front ends up first. In front, so that the application's own can refer to them by $(…).
    for (name, value) in [("OPENAI_API_KEY", POD_KEY), ("OPENAI_BASE_URL", BASE_URL)] {
        let set = container.env.iter().flatten().any(|variable| variable.name == name);
        if !set {
            let variable = EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None };
            edits.insert(&["spec", list, &index, "env"], exists, "0", &variable);
            exists = true;
        }
    }
}
