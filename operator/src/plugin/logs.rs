//! The access logs of a cluster's sidecars and gateways, read through the API server with the user's rights.
//!
//! The API server gives what a container has written since it started, as far as the kubelet keeps it: of a log that was rotated the last
//! file only, and of a pod that is gone nothing.

use std::time::Duration;

use futures_util::{AsyncBufReadExt, StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api, Client,
    api::{ListParams, LogParams},
};

use super::{
    access_log::timed,
    connect::Place,
    failure::{Failure, Request},
};
use crate::inject::{CONTAINER, CONTRACT_LABEL};

/// What the chart calls gateways, and the container in them.
const GATEWAYS: &str = "app.kubernetes.io/part-of=vectoll,app.kubernetes.io/component=gateway";
const GATEWAY: &str = "gateway";
/// Logs that are read at the same time.
const MAX_CONCURRENT: usize = 8;
/// The settings of a sidecar's log.
const WHETHER: (&str, &str) = ("--access-log", "VECTOLL_ACCESS_LOG");
const PORTION: (&str, &str) = ("--access-log-sampling", "VECTOLL_ACCESS_LOG_SAMPLING");

/// Which calls have lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    /// All.
    All,
    /// Of those that were served only a portion.
    Portion,
    /// None.
    Nothing,
}

impl Writes {
    /// As a container is told.
    fn of(container: &Container) -> Self {
        if setting(container, WHETHER).as_deref() == Some("off") {
            return Self::Nothing;
        }
        let portion = setting(container, PORTION).and_then(|portion| portion.parse::<f64>().ok());
        if portion.is_some_and(|portion| portion < 1.0) { Self::Portion } else { Self::All }
    }
}

/// A container that writes an access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) namespace: String,
    pub(super) pod: String,
    container: String,
    pub(super) is_gateway: bool,
    pub(super) writes: Writes,
    /// It was started again: what was written before is a log of its own.
    has_earlier: bool,
}

impl Source {
    /// As people find it.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.pod)
    }

    /// The one of a pod; none: it has none that was started.
    fn of(pod: &Pod, name: &str, is_gateway: bool) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let container =
            spec.init_containers.iter().flatten().chain(&spec.containers).find(|found| found.name == name)?;
        let status = pod.status.as_ref();
        let statuses = status.iter().flat_map(|status| {
            let of = |all: &Option<Vec<_>>| all.clone().unwrap_or_default();
            of(&status.init_container_statuses).into_iter().chain(of(&status.container_statuses))
        });
        let restarts = statuses.filter(|of| of.name == name).map(|of| of.restart_count).max();
        Some(Self {
            namespace: pod.metadata.namespace.clone()?,
            pod: pod.metadata.name.clone()?,
            container: name.to_owned(),
            is_gateway,
            writes: Writes::of(container),
            has_earlier: restarts.unwrap_or_default() > 0,
        })
    }
}

/// What a container is told, by a flag or a variable.
fn setting(container: &Container, (flag, variable): (&str, &str)) -> Option<String> {
    let arguments: Vec<&String> = container.command.iter().chain(&container.args).flatten().collect();
    let joined = arguments.iter().find_map(|text| text.strip_prefix(flag)?.strip_prefix('='));
    let apart = || arguments.iter().position(|text| *text == flag).and_then(|at| arguments.get(at + 1));
    let by_flag = joined.map(str::to_owned).or_else(|| apart().map(|text| (*text).clone()));
    by_flag.or_else(|| container.env.iter().flatten().find(|of| of.name == variable)?.value.clone())
}

/// Sidecars of the pods there.
pub(super) async fn sidecars(client: &Client, place: &Place) -> Result<Vec<Source>, Failure> {
    let namespace = match place {
        Place::All => None,
        Place::Namespace(namespace) => Some(&**namespace),
    };
    pods(client, namespace, CONTRACT_LABEL, CONTAINER, false).await
}

/// Gateways, wherever they are or in one namespace.
pub(super) async fn gateways(client: &Client, namespace: Option<&str>) -> Result<Vec<Source>, Failure> {
    pods(client, namespace, GATEWAYS, GATEWAY, true).await
}

async fn pods(
    client: &Client,
    namespace: Option<&str>,
    selector: &str,
    container: &str,
    is_gateway: bool,
) -> Result<Vec<Source>, Failure> {
    let api: Api<Pod> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let found = api.list(&ListParams::default().labels(selector)).await;
    let found = found.map_err(|error| Failure::of(error, Request::list("pods", namespace)))?;
    Ok(found.items.iter().filter_map(|pod| Source::of(pod, container, is_gateway)).collect())
}

/// What was read of logs.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    /// What was looked for, each with where it stands.
    pub(super) found: Vec<(Source, String)>,
    /// The earliest line of all.
    pub(super) earliest: Option<Timestamp>,
    /// Logs that could not be read, and why.
    pub(super) unread: Vec<(String, String)>,
}

/// Which lines are looked for, in what time.
#[derive(Clone, Copy)]
pub(super) struct LogQuery<'a> {
    pub(super) since: Duration,
    /// The most lines of each container, the last ones; none: all.
    pub(super) tail: Option<i64>,
    pub(super) matches: &'a (dyn Fn(&str) -> bool + Sync),
}

/// Reads logs until `is_enough`.
pub(super) async fn read(
    client: &Client,
    sources: &[Source],
    query: LogQuery<'_>,
    is_enough: impl Fn(&[(Source, String)]) -> bool,
) -> Result<Read, Failure> {
    // Whoever logs nothing of calls may still say something of one.
    let containers = sources.iter().flat_map(|source| {
        let earlier = source.has_earlier.then_some((source, true));
        earlier.into_iter().chain([(source, false)])
    });
    let each = containers.map(|(source, previous)| async move { (source, one(client, source, previous, query).await) });
    let mut reading = stream::iter(each).buffer_unordered(MAX_CONCURRENT);
    let mut read = Read::default();
    while let Some((source, found)) = reading.next().await {
        match found {
            Ok((earliest, lines)) => {
                read.earliest = [read.earliest, earliest].into_iter().flatten().min();
                read.found.extend(lines.into_iter().map(|line| (source.clone(), line)));
            }
            Err(failure @ (Failure::Forbidden(_) | Failure::Unauthorized)) => return Err(failure),
            Err(failure) => read.unread.push((source.name(), because(&failure))),
        }
        if is_enough(&read.found) {
            break;
        }
    }
    Ok(read)
}

fn because(failure: &Failure) -> String {
    if let Failure::Other(_, kube::Error::Api(status)) = failure {
        return status.message.clone();
    }
    failure.to_string()
}

/// The lines of one log that are looked for, and the time of its first.
async fn one(
    client: &Client,
    source: &Source,
    previous: bool,
    LogQuery { since, tail, matches }: LogQuery<'_>,
) -> Result<(Option<Timestamp>, Vec<String>), Failure> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &source.namespace);
    let parameters = LogParams {
        container: Some(source.container.clone()),
        since_seconds: Some(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
        tail_lines: tail,
        timestamps: true,
        previous,
        ..LogParams::default()
    };
    let failed = |error| Failure::of(error, Request::logs(&source.namespace, &source.pod));
    let mut lines = match api.log_stream(&source.pod, &parameters).await {
        Ok(log) => log.lines(),
        // Pods come and go; of a container that did not end before, or has not begun, nothing was written.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 400 && previous => {
            return Ok((None, Vec::new()));
        }
        Err(error) => return Err(failed(error)),
    };
    let (mut earliest, mut found) = (None, Vec::new());
    while let Some(line) = lines.next().await {
        // What is no UTF-8 is no line of ours, and what follows on it may be.
        let line = match line {
            Ok(line) => line,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => continue,
            Err(error) => return Err(failed(kube::Error::ReadEvents(error))),
        };
        let (time, text) = timed(&line);
        earliest = earliest.or(time);
        if matches(text) {
            found.push(text.to_owned());
        }
    }
    Ok((earliest, found))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    /// A sidecar's log.
    pub(in crate::plugin) fn source(pod: &str) -> Source {
        Source {
            namespace: "web".to_owned(),
            pod: pod.to_owned(),
            container: CONTAINER.to_owned(),
            is_gateway: false,
            writes: Writes::All,
            has_earlier: false,
        }
    }

    #[test]
    fn a_source_knows_whether_it_writes_and_whether_it_was_started_again() {
        let pod = |container: serde_json::Value, restarts: i32| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "app", "namespace": "web"},
                "spec": {"containers": [{"name": "app"}], "initContainers": [container]},
                "status": {"initContainerStatuses": [{"name": "vectoll-sidecar", "restartCount": restarts, "image": "i", "imageID": "i", "ready": true}]}}))
            .unwrap()
        };
        let of = |settings: serde_json::Value, restarts| {
            let mut container = json!({"name": "vectoll-sidecar"});
            container.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
            let Source { writes, has_earlier, .. } = Source::of(&pod(container, restarts), CONTAINER, false).unwrap();
            (writes, has_earlier)
        };
        assert_eq!(of(json!({}), 0), (Writes::All, false));
        assert_eq!(of(json!({"env": [{"name": "VECTOLL_ACCESS_LOG", "value": "off"}]}), 2), (Writes::Nothing, true));
        assert_eq!(of(json!({"args": ["--access-log=off"]}), 0), (Writes::Nothing, false));
        assert_eq!(
            of(json!({"args": ["--access-log", "on", "--access-log-sampling", "0.1"]}), 0),
            (Writes::Portion, false)
        );
        let sampled = json!({"env": [{"name": "VECTOLL_ACCESS_LOG_SAMPLING", "value": "1"}]});
        assert_eq!(of(sampled, 0), (Writes::All, false));
        assert_eq!(Source::of(&pod(json!({"name": "other"}), 0), CONTAINER, false), None);
    }
}
