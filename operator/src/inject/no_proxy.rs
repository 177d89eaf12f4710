//! Keeps an application's calls to its sidecar away from a proxy.
//!
//! A container whose environment names a proxy sends everything there that `NO_PROXY` does not except: also what it sends to
//! `http://localhost:4000`, with its key and its inputs. So these hosts are put into `NO_PROXY` where injection can write it,
//! and where it cannot, whoever makes the pod is warned.
//!
//! `::1` is not added: the URL that injection sets says `localhost`, and httpx before 0.24.1 fails to start on that entry
//! (<https://github.com/encode/httpx/issues/2674>).

use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};

use super::{edits::Edits, names::CONTAINER};

/// The sidecar's hosts, as applications name them.
const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];
/// Which hosts no proxy is asked for. Clients differ in which of the two they read.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// What names a proxy for plain HTTP.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Adds the sidecar's hosts to the exceptions of every container but the sidecar. What it cannot add is returned, as warnings.
pub(super) fn add(spec: &PodSpec, edits: &mut Edits) -> Vec<String> {
    let mut warnings = Vec::new();
    for (list, containers) in
        [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))]
    {
        for (index, container) in containers.into_iter().flatten().enumerate() {
            if container.name != CONTAINER {
                add_to(list, index, container, edits, &mut warnings);
            }
        }
    }
    warnings
}

fn add_to(list: &str, index: usize, container: &Container, edits: &mut Edits, warnings: &mut Vec<String>) {
    let env = container.env.as_deref().unwrap_or_default();
    let position = index.to_string();
    let path = ["spec", list, &position, "env"];
    let at = |name: &str| format!("spec.{list}[{index}].env[{name}]");
    let mut has_exceptions = false;
    for (place, variable) in env.iter().enumerate() {
        if !EXCEPTIONS.contains(&variable.name.as_str()) {
            continue;
        }
        has_exceptions = true;
        if variable.value_from.is_some() {
            warnings.push(format!(
                "{}: its value comes from elsewhere and cannot be changed here: it must hold localhost,127.0.0.1, or calls to the \
                 sidecar go to the proxy, with their keys and inputs",
                at(&variable.name)
            ));
        } else if let Some(value) = excepted(variable.value.as_deref().unwrap_or_default()) {
            let variable = EnvVar { name: variable.name.clone(), value: Some(value), value_from: None };
            edits.replace(&path, place, &variable);
        }
    }
    let proxy = env.iter().find(|variable| {
        let is_set = variable.value_from.is_some() || variable.value.as_deref().is_some_and(|value| !value.is_empty());
        PROXIES.contains(&variable.name.as_str()) && is_set
    });
    let Some(proxy) = proxy.filter(|_| !has_exceptions) else { return };
    if container.env_from.as_ref().is_some_and(|sources| !sources.is_empty()) {
        // One may be among what they bring, and a variable of `env` would take its place.
        warnings.push(format!(
            "{}: calls to the sidecar go to this proxy, with their keys and inputs, unless envFrom brings a NO_PROXY with \
             localhost,127.0.0.1: set NO_PROXY in env",
            at(&proxy.name)
        ));
        return;
    }
    for name in EXCEPTIONS {
        let variable = EnvVar { name: name.to_owned(), value: Some(HOSTS.join(",")), value_from: None };
        edits.insert(&path, true, "-", &variable);
    }
}

/// These exceptions with the sidecar's hosts. None: they have them.
fn excepted(value: &str) -> Option<String> {
    let mut all: Vec<&str> = value.split([',', ' ']).map(str::trim).filter(|host| !host.is_empty()).collect();
    if all.contains(&"*") {
        return None;
    }
    let missing: Vec<&str> =
        HOSTS.into_iter().filter(|host| !all.iter().any(|one| one.eq_ignore_ascii_case(host))).collect();
    if missing.is_empty() {
        return None;
    }
    all.extend(missing);
    Some(all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_keep_what_they_have() {
        for (value, expected) in [
            ("", Some("localhost,127.0.0.1")),
            ("10.0.0.0/8, .svc", Some("10.0.0.0/8,.svc,localhost,127.0.0.1")),
            ("$(CLUSTER),127.0.0.1", Some("$(CLUSTER),127.0.0.1,localhost")),
            ("LOCALHOST 127.0.0.1", None),
            ("*", None),
            ("notlocalhost,127.0.0.1", Some("notlocalhost,127.0.0.1,localhost")),
        ] {
            assert_eq!(excepted(value).as_deref(), expected, "{value}");
        }
    }
}
