//! Watches namespaces for what they say of the sidecars in them, for the webhook alone: no readiness hangs on it, and the webhook
//! waits for no lock of the loop's.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::Context;
use futures_util::{StreamExt, pin_mut, stream::select_all};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

use super::raw::Raw;
use crate::webhook::{FetchAnnotations, NamespaceAnnotations};

/// Fetches one namespace by its name.
pub(super) fn fetch(client: Client) -> FetchAnnotations {
    Arc::new(move |name| {
        let api: Api<Raw<Namespace, ()>> = Api::all(client.clone());
        Box::pin(async move {
            let namespace = api.get(&name).await.with_context(|| format!("failed to read the namespace {name}"))?;
            Ok(namespace.metadata.annotations.unwrap_or_default())
        })
    })
}

/// Keeps `known` up to date, for ever. `only` are the namespaces to watch, each by its name, as the operator's role allows; none: all.
pub(super) async fn follow(client: Client, only: Vec<String>, known: NamespaceAnnotations) {
    let api: Api<Raw<Namespace, ()>> = Api::all(client);
    let all = watcher::Config::default;
    let configs: Vec<(Option<String>, watcher::Config)> = if only.is_empty() {
        vec![(None, all())]
    } else {
        let named = |name: String| (Some(name.clone()), all().fields(&format!("metadata.name={name}")));
        only.into_iter().map(named).collect()
    };
    let streams = configs.into_iter().map(|(only, config)| {
        let events = watcher(api.clone(), config).default_backoff();
        // One list's own: what it does not name any more is gone.
        let mut present = BTreeSet::new();
        let mut listed = BTreeSet::new();
        let known = known.clone();
        Box::pin(events.map(move |event| match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(namespace)) => {
                listed.insert(namespace.name_any());
                known.set(&namespace.name_any(), namespace.metadata.annotations.unwrap_or_default());
            }
            Ok(Event::InitDone) => {
                for gone in present.difference(&listed) {
                    known.forget(gone);
                }
                present.clone_from(&listed);
                if let Some(namespace) = &only {
                    known.listed(namespace);
                }
            }
            Ok(Event::Apply(namespace)) => {
                present.insert(namespace.name_any());
                known.set(&namespace.name_any(), namespace.metadata.annotations.unwrap_or_default());
            }
            Ok(Event::Delete(namespace)) => {
                present.remove(&namespace.name_any());
                known.forget(&namespace.name_any());
            }
            // Tried again, with growing pauses. What was known stays in use.
            Err(error) => {
                tracing::warn!(%error, "watching namespaces for the webhook failed; it is tried again");
            }
        }))
    });
    let all = select_all(streams);
    pin_mut!(all);
    while all.next().await.is_some() {}
}
