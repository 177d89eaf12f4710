//! `rotate`, `suspend` and `resume`: one field of one object, by a merge patch.

use std::io::Write;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use vectoll_crds::{ApiKey, Team};

use super::{
    cli::{OfKey, Subject},
    connect::{Connection, connect},
    failure::{Failure, Request},
    objects::{get, resource},
};
use crate::{
    cluster::{Raw, Readable},
    key_secret::ROTATE,
};

/// Who has changed a field.
const MANAGER: &str = "kubectl-vectoll";

/// Has a key's value renewed.
pub(super) async fn rotate(settings: &OfKey, out: &mut impl Write) -> anyhow::Result<()> {
    let OfKey { name, cluster } = settings;
    let connection = connect(cluster).await?;
    let namespace = &*connection.namespace;
    let key = get::<ApiKey>(&connection.client, namespace, name).await?;
    let spec = &key.object.spec;
    if let Some(secret) = &spec.secret_ref {
        anyhow::bail!(
            "the value of {name} is yours (spec.secretRef): write another one into the entry {:?} of the Secret {}",
            secret.key,
            secret.name
        );
    }
    anyhow::ensure!(
        spec.key_hash.is_none(),
        "of {name} only the hash is known (spec.keyHash): write that of another value there, or remove keyHash to have one made"
    );
    let request = Timestamp::from_second(Timestamp::now().as_second())?.to_string();
    // A second request within a second would be none.
    let request = if key.object.rotate.as_ref() == Some(&request) { Timestamp::now().to_string() } else { request };
    patch::<ApiKey>(&connection, name, &json!({"metadata": {"annotations": {ROTATE: request}}})).await?;
    let grace = spec.rotation.as_ref().and_then(|rotation| rotation.grace_period.as_deref());
    let grace = grace.unwrap_or("24h, or what its Team says");
    writeln!(
        out,
        "apikey.vectoll.dev/{name}: a new value is being made. The one before stays valid for its grace period ({grace})"
    )?;
    Ok(())
}

/// Has calls refused, or ends that.
pub(super) async fn suspend(settings: &Subject, suspended: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let Subject { name, cluster } = settings;
    let connection = connect(cluster).await?;
    let spec = json!({"spec": {"suspended": suspended}});
    let (kind, was) = match name.split_once('/') {
        None | Some(("key" | "apikey" | "apikeys", _)) => {
            let name = name.rsplit('/').next().unwrap_or(name);
            let was = get::<ApiKey>(&connection.client, &connection.namespace, name).await?.object.spec.suspended;
            if was != suspended {
                patch::<ApiKey>(&connection, name, &spec).await?;
            }
            (format!("apikey.vectoll.dev/{name}"), was)
        }
        Some(("team" | "teams", name)) => {
            let was = get::<Team>(&connection.client, &connection.namespace, name).await?.object.spec.suspended;
            if was != suspended {
                patch::<Team>(&connection, name, &spec).await?;
            }
            (format!("team.vectoll.dev/{name}"), was)
        }
        Some((kind, _)) => {
            anyhow::bail!("{kind} is neither a key nor a team: write the name of an ApiKey, or team/NAME")
        }
    };
    writeln!(out, "{kind} {}", said(was, suspended))?;
    Ok(())
}

fn said(was: bool, suspended: bool) -> &'static str {
    match (was, suspended) {
        (true, true) => "is suspended already",
        (false, true) => "suspended: its calls are refused within seconds",
        (true, false) => "resumed",
        (false, false) => "is not suspended",
    }
}

async fn patch<K>(connection: &Connection, name: &str, change: &Value) -> Result<(), Failure>
where
    K: Readable<Scope = NamespaceResourceScope>,
{
    let api: Api<Raw<K>> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let request = || Request::patch(&resource::<K>(), &connection.namespace, name);
    let patched = api.patch(name, &parameters, &Patch::Merge(change)).await;
    patched.map(|_| ()).map_err(|error| Failure::of(error, request()))
}
