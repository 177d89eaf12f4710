//! `key`: the value of a key, for whoever may read its Secret.

use std::io::Write;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use vectoll_crds::ApiKey;

use super::{
    cli::OfKey,
    connect::connect,
    failure::{Failure, Request},
    objects::get,
};
use crate::{key_secret::value_place, observed_state::SecretContent};

pub(super) async fn run(settings: &OfKey, out: &mut impl Write) -> anyhow::Result<()> {
    let OfKey { name, cluster } = settings;
    let connection = connect(cluster).await?;
    let namespace = &*connection.namespace;
    let key = get::<ApiKey>(&connection.client, namespace, name).await?;
    let spec = &key.object.spec;
    let (secret, entry) = value_place(spec, name).with_context(|| {
        format!("of {name} only the hash is known (spec.keyHash): its value is where it was handed out")
    })?;
    let api: Api<Secret> = Api::namespaced(connection.client.clone(), namespace);
    let found =
        api.get(secret).await.map_err(|error| Failure::of(error, Request::get("secrets", Some(namespace), secret)));
    let found = match found {
        Err(Failure::NotFound(_)) => anyhow::bail!(
            "there is no Secret {namespace}/{secret} yet: kubectl vectoll status -n {namespace} says what {name} waits for"
        ),
        other => SecretContent::of(other?),
    };
    ensure!(
        spec.secret_ref.is_some() || found.owner_uid.as_ref() == Some(&key.object.uid),
        "the Secret {namespace}/{secret} is not of the ApiKey {name}, so what is in it is not printed: see its condition ResolvedRefs"
    );
    let value = found
        .entry(entry)
        .with_context(|| format!("the Secret {namespace}/{secret} has no entry {entry:?} with something in it"))?;
    out.write_all(value)?;
    writeln!(out)?;
    Ok(())
}
