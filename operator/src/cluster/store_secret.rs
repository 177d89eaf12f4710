//! The Secret with what the store's passwords are derived from. It is made once and never written again: not even the
//! operator may change it (see the chart's admission policies).

use anyhow::{Context, ensure};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::PostParams};

use super::names;
use crate::store::{Master, Password};

/// Its type.
const TYPE: &str = "vectoll.dev/store-master";
/// The entry that the namespaces' passwords are derived from.
const MASTER: &str = "master";
/// The entry with the administrator's password.
const PASSWORD: &str = "password";
/// The same as a line of the server's configuration, which can include a file and needs no shell for it.
const CONFIGURATION: &str = "store.conf";

/// What it holds.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) master: Master,
    /// For a store that takes its administrator's password from there.
    pub(super) password: Password,
}

/// Reads it, or makes it if there is none.
pub(super) async fn read_or_make(api: &Api<Secret>, name: &str) -> anyhow::Result<Content> {
    if let Some(secret) = api.get_opt(name).await.with_context(|| format!("failed to read the Secret {name}"))? {
        return read(&secret).with_context(|| format!("failed to use the Secret {name}"));
    }
    let (content, secret) = make(name)?;
    let parameters = PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
    api.create(&parameters, &secret).await.with_context(|| format!("failed to make the Secret {name}"))?;
    tracing::info!(secret = name, "the secret of the store's passwords was made");
    Ok(content)
}

/// Reads it, where it is for another replica to make it.
pub(super) async fn read_existing(api: &Api<Secret>, name: &str) -> anyhow::Result<Content> {
    let secret = api.get(name).await.with_context(|| format!("failed to read the Secret {name}"))?;
    read(&secret).with_context(|| format!("failed to use the Secret {name}"))
}

fn make(name: &str) -> anyhow::Result<(Content, Secret)> {
    let random =
        || Master::random(getrandom::fill).map_err(|error| anyhow::anyhow!("no randomness to be had: {error}"));
    let content = Content { master: random()?, password: Password::new(random()?.write()) };
    let configuration = format!("requirepass {}\n", content.password.reveal());
    let entries = [
        (MASTER, content.master.write()),
        (PASSWORD, content.password.reveal().to_owned()),
        (CONFIGURATION, configuration),
    ];
    let secret = Secret {
        metadata: names::managed(name),
        type_: Some(TYPE.to_owned()),
        immutable: Some(true),
        data: Some(entries.into_iter().map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes()))).collect()),
        ..Secret::default()
    };
    Ok((content, secret))
}

fn read(secret: &Secret) -> anyhow::Result<Content> {
    ensure!(secret.type_.as_deref() == Some(TYPE), "its type is not {TYPE}: it is somebody else's");
    let entry = |name: &str| {
        let data = secret.data.as_ref().and_then(|data| data.get(name));
        data.map(|value| value.0.as_slice())
            .with_context(|| format!("it has no entry {name:?}: delete it and it is generated again"))
    };
    let master = Master::read(entry(MASTER)?).with_context(|| format!("failed to read the entry {MASTER:?}"))?;
    let password =
        std::str::from_utf8(entry(PASSWORD)?).with_context(|| format!("failed to read the entry {PASSWORD:?}"))?;
    Ok(Content { master, password: Password::new(password) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_was_made_is_read_again() {
        let (made, secret) = make("master").unwrap();
        let found = read(&secret).unwrap();
        assert!(found.master == made.master && found.password == made.password);
        assert_ne!(made.master.write(), made.password.reveal(), "nothing of the one can be learnt from the other");
        let line = String::from_utf8(secret.data.unwrap().remove(CONFIGURATION).unwrap().0).unwrap();
        assert_eq!(line, format!("requirepass {}\n", made.password.reveal()));
    }

    #[test]
    fn a_secret_of_someone_else_is_not_used() {
        let secret = Secret { type_: Some("Opaque".to_owned()), ..make("master").unwrap().1 };
        assert!(format!("{:#}", read(&secret).err().unwrap()).contains("somebody else's"));
    }
}
