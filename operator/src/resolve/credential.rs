//! What a credential's Secret holds, in the form in which a sidecar is given it.

use serde::Deserialize;
use serde_json::json;
use vectoll_config::ObjectName;

use crate::{
    validate::{Content, Credential},
    world::{Unresolved, World},
};

/// The entries of an access key, named as AWS's own tools name their variables.
const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// The content of the credential's file. What is not usable would only be found out by the calls that fail.
pub(crate) fn content_of(credential: &Credential, namespace: &str, world: &World) -> Result<Vec<u8>, Unresolved> {
    let Credential { path, secret, content } = credential;
    let secret = ObjectName::new(namespace, secret);
    let line = |entry: &str| {
        let value = world.entry(&secret, entry, path)?;
        let text = std::str::from_utf8(value).ok().filter(|text| is_header_value(text));
        text.ok_or_else(|| unusable(path, entry, &secret, "is not one line of printable ASCII"))
    };
    match content {
        Content::Key { entry } => line(entry).map(|key| key.as_bytes().to_vec()),
        Content::GoogleJson { entry } => {
            let value = world.entry(&secret, entry, path)?;
            if is_google_credential(value) {
                Ok(value.to_vec())
            } else {
                Err(unusable(
                    path,
                    entry,
                    &secret,
                    "is not the JSON of a service account's key (\"type\": \"service_account\") nor of a workload identity \
                     federation (\"external_account\")",
                ))
            }
        }
        Content::AwsAccessKey => {
            let mut keys = json!({"accessKeyId": line(ACCESS_KEY_ID)?, "secretAccessKey": line(SECRET_ACCESS_KEY)?});
            let has_token = world.secrets.get(&secret).is_some_and(|secret| secret.entry(SESSION_TOKEN).is_some());
            if has_token && let Some(keys) = keys.as_object_mut() {
                keys.insert("sessionToken".to_owned(), line(SESSION_TOKEN)?.into());
            }
            Ok(keys.to_string().into_bytes())
        }
    }
}

/// Names what is wrong, never the value.
fn unusable(path: &str, entry: &str, secret: &ObjectName, what: &str) -> Unresolved {
    ("CredentialUnusable", format!("{path}: the entry \"{entry}\" of {secret} {what}"))
}

/// Whether a credential can be sent in a header. One that cannot would make the sidecar refuse the whole config.
fn is_header_value(value: &str) -> bool {
    value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

fn is_google_credential(value: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct File {
        #[serde(rename = "type")]
        kind: String,
    }
    serde_json::from_slice::<File>(value)
        .is_ok_and(|file| matches!(file.kind.as_str(), "service_account" | "external_account"))
}
