//! Whether sidecars reach the providers, by what they have counted: no provider is asked anything for it.
//!
//! The counters are read from the sidecars themselves, through the API server's proxy to pods.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use http::Request as HttpRequest;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use super::finding::Finding;
use crate::plugin::failure::{Failure, Request};

/// Where a sidecar tells its metrics.
const PORT: u16 = 4001;
/// The most sidecars that are asked, and how many at the same time.
const MAX_ASKED: usize = 100;
const MAX_CONCURRENT: usize = 8;
/// Pods that are named one by one.
const NAMED: usize = 5;
/// The families that tell.
const ATTEMPTS: &str = "vectoll_backend_attempts_total";
const COOLDOWN: &str = "vectoll_backend_cooldown";

/// What sidecars have counted of a backend, `namespace/route/backend`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Attempts, by how they ended.
    attempts: BTreeMap<String, u64>,
    /// Pods whose sidecar leaves it alone for now.
    cooling: Vec<String>,
    /// Pods in which no attempt was answered, and some found no connection.
    cut_off: Vec<String>,
}

/// Asks the sidecars of these pods.
pub(super) async fn egress(client: &Client, pods: &[Pod]) -> Result<Vec<Finding>, Failure> {
    let running = |pod: &&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    let all: Vec<&Pod> = pods.iter().filter(running).collect();
    let each = all.iter().take(MAX_ASKED).map(|pod| async move { (name(pod), metrics(client, pod).await) });
    let mut asking = stream::iter(each).buffer_unordered(MAX_CONCURRENT);
    let (mut told, mut silent) = (BTreeMap::new(), Vec::new());
    while let Some((pod, answer)) = asking.next().await {
        match answer {
            Ok(text) => drop(told.insert(pod, text)),
            Err(failure @ (Failure::Forbidden(_) | Failure::Unauthorized)) => return Err(failure),
            Err(_) => silent.push(pod),
        }
    }
    silent.sort();
    Ok(judge(&told, &silent, all.len()))
}

fn name(pod: &Pod) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", of(&pod.metadata.namespace), of(&pod.metadata.name))
}

async fn metrics(client: &Client, pod: &Pod) -> Result<String, Failure> {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let (namespace, name) = (of(&pod.metadata.namespace), of(&pod.metadata.name));
    let request = Request::get("pods/proxy", Some(&namespace), &name);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{PORT}/proxy/metrics");
    // Names of pods and namespaces need no escape.
    let get = HttpRequest::get(path).body(Vec::new());
    let get = get.map_err(|error| Failure::Other(request.clone(), kube::Error::HttpError(error)))?;
    client.request_text(get).await.map_err(|error| Failure::of(error, request))
}

/// What the metrics of pods say. `running`: how many pods there are.
fn judge(told: &BTreeMap<String, String>, silent: &[String], running: usize) -> Vec<Finding> {
    if running == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let backends = counted(told);
    let (mut served, mut unused) = (0, 0);
    for (backend, of) in &backends {
        let count = |result: &str| of.attempts.get(result).copied().unwrap_or_default();
        let hint = "how each way fails: sidecar/docs/routing.md; the access log has its calls (kubectl vectoll why)";
        if !of.cut_off.is_empty() {
            let line = format!(
                "{backend}: no connection came about, and no call was answered, in {} of {} sidecars: {}",
                of.cut_off.len(),
                told.len(),
                named(&of.cut_off)
            );
            found.push(Finding::bad(
                line,
                "look at NetworkPolicies, the proxy for egress, DNS, and the backend's baseURL",
            ));
        } else if count("served") == 0 && count("denied") > 0 {
            let line = format!(
                "{backend}: its provider refuses the credential ({} calls), and has served none",
                count("denied")
            );
            found.push(Finding::bad(line, "renew what is in the Secret that the route names"));
        } else if !of.cooling.is_empty() {
            let line = format!(
                "{backend}: {} sidecars leave it alone after failures: {}",
                of.cooling.len(),
                named(&of.cooling)
            );
            found.push(Finding::notable(line, hint));
        } else if of.attempts.values().sum::<u64>() == 0 {
            unused += 1;
        } else {
            served += 1;
        }
    }
    if !told.is_empty() {
        let unknown = if unused > 0 {
            format!("; {unused} were sent no call yet: of these nothing is known")
        } else {
            String::new()
        };
        let line = format!("{served} backends answer the calls of {} sidecars{unknown}", told.len());
        found.insert(0, Finding::good(line));
    }
    if !silent.is_empty() {
        let line = format!("{} sidecars do not tell the API server their metrics: {}", silent.len(), named(silent));
        found.push(Finding::notable(
            line,
            "a NetworkPolicy may keep it from port 4001; whoever scrapes them sees vectoll_backend_attempts_total",
        ));
    }
    if running > MAX_ASKED {
        found.push(Finding::notable(
            format!("{MAX_ASKED} of {running} sidecars were asked"),
            "-n looks at one namespace",
        ));
    }
    found
}

fn named(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// By backend.
fn counted(told: &BTreeMap<String, String>) -> BTreeMap<String, Counted> {
    let mut all: BTreeMap<String, Counted> = BTreeMap::new();
    for (pod, text) in told {
        let mut here: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for line in text.lines() {
            if let Some((labels, value)) = sample(line, ATTEMPTS) {
                let (Some(backend), Some(result)) = (label(labels, "backend"), label(labels, "result")) else {
                    continue;
                };
                *all.entry(backend.to_owned()).or_default().attempts.entry(result.to_owned()).or_default() += value;
                let (lost, answered) = here.entry(backend).or_default();
                if result == "no_connection" { *lost += value } else { *answered += value }
            } else if let Some((labels, value)) = sample(line, COOLDOWN)
                && let Some(backend) = label(labels, "backend")
            {
                let counted = all.entry(backend.to_owned()).or_default();
                if value > 0 {
                    counted.cooling.push(pod.clone());
                }
            }
        }
        for (backend, (lost, answered)) in here {
            if lost > 0 && answered == 0 {
                all.entry(backend.to_owned()).or_default().cut_off.push(pod.clone());
            }
        }
    }
    all
}

/// The labels and the value of a family's sample, which is a whole number.
fn sample<'a>(line: &'a str, family: &str) -> Option<(&'a str, u64)> {
    let (labels, value) = line.strip_prefix(family)?.strip_prefix('{')?.rsplit_once('}')?;
    Some((labels, value.trim().parse().ok()?))
}

/// The value of a label. Those of backends and results need no escape.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels
        .split("\",")
        .find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""))
        .map(|value| value.trim_end_matches('"'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::plugin::check::finding::Mark;

    /// A pod, and what its sidecar has counted: backend, result or `cooling`, and how often.
    type OfPod<'a> = (&'a str, &'a [(&'a str, &'a str, u64)]);

    fn told(pods: &[OfPod<'_>]) -> BTreeMap<String, String> {
        let text = |samples: &[(&str, &str, u64)]| {
            let line = |(backend, result, value): &(&str, &str, u64)| match *result {
                "cooling" => format!("{COOLDOWN}{{backend=\"{backend}\"}} {value}\n"),
                result => format!("{ATTEMPTS}{{backend=\"{backend}\",result=\"{result}\"}} {value}\n"),
            };
            let others = "# HELP vectoll_backend_attempts_total Calls\nvectoll_retries_total{backend=\"a/b/c\"} 5\nvectoll_x 1.5\n";
            samples.iter().map(line).collect::<String>() + others
        };
        pods.iter().map(|(pod, samples)| ((*pod).to_owned(), text(samples))).collect()
    }

    fn found(pods: &[OfPod<'_>]) -> Vec<(Mark, String)> {
        let told = told(pods);
        judge(&told, &[], told.len()).into_iter().map(|finding| (finding.mark, finding.message)).collect()
    }

    #[test]
    fn a_backend_that_nobody_reaches_from_a_pod_is_named_with_the_pod() {
        let found = found(&[
            ("web/a", &[("web/r/one", "served", 7), ("web/r/one", "no_connection", 2)]),
            ("web/b", &[("web/r/one", "no_connection", 3), ("web/r/two", "cooling", 0)]),
        ]);
        assert_eq!(
            found[0],
            (
                Mark::Good,
                "0 backends answer the calls of 2 sidecars; 1 were sent no call yet: of these nothing is known"
                    .to_owned()
            )
        );
        assert_eq!(found[1].0, Mark::Bad);
        assert!(found[1].1.ends_with("in 1 of 2 sidecars: web/b"), "{}", found[1].1);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_refused_credential_and_a_cooldown_are_told_apart_from_what_works() {
        let found = found(&[(
            "web/a",
            &[
                ("w/r/good", "served", 7),
                ("w/r/denied", "denied", 2),
                ("w/r/cool", "served", 1),
                ("w/r/cool", "cooling", 1),
            ],
        )]);
        let marks: Vec<Mark> = found.iter().map(|(mark, _)| *mark).collect();
        assert_eq!(marks, [Mark::Good, Mark::Notable, Mark::Bad]);
        assert!(found[0].1.starts_with("1 backends answer"), "{}", found[0].1);
        assert!(found[1].1.contains("w/r/cool") && found[2].1.contains("w/r/denied"));
    }

    #[test]
    fn who_cannot_be_asked_is_said_and_without_pods_there_is_nothing_to_say() {
        assert!(judge(&BTreeMap::new(), &[], 0).is_empty());
        let silent: Vec<String> = (0..7).map(|n| format!("web/{n}")).collect();
        let found = judge(&BTreeMap::new(), &silent, 7);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].mark == Mark::Notable && found[0].message.ends_with("web/4 and 2 more"),
            "{}",
            found[0].message
        );
    }
}
