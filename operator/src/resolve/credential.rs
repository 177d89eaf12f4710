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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;

    use super::*;
    use crate::world::SecretContent;

    fn delivered(content: Content, entries: &serde_json::Value) -> Result<String, Unresolved> {
        let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": entries})).unwrap();
        let mut world = World::default();
        world.secrets.insert(ObjectName::new("ns", "s"), SecretContent::of(secret).into());
        let credential = Credential { path: "spec.x".to_owned(), secret: "s".to_owned(), content };
        content_of(&credential, "ns", &world).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn an_access_key_is_delivered_as_one_json_file() {
        let keys = json!({"AWS_ACCESS_KEY_ID": "AKIA1\n", "AWS_SECRET_ACCESS_KEY": "a/b\"c", "AWS_REGION": "x"});
        let file = delivered(Content::AwsAccessKey, &keys).unwrap();
        let read: serde_json::Value = serde_json::from_str(&file).unwrap();
        assert_eq!(read, json!({"accessKeyId": "AKIA1", "secretAccessKey": "a/b\"c"}));
        let keys = json!({"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"});
        let file = delivered(Content::AwsAccessKey, &keys).unwrap();
        let read: serde_json::Value = serde_json::from_str(&file).unwrap();
        assert_eq!(read, json!({"accessKeyId": "i", "secretAccessKey": "s", "sessionToken": "t"}));
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_shown() {
        let key = || Content::Key { entry: "key".to_owned() };
        let google = || Content::GoogleJson { entry: "key".to_owned() };
        for (content, entries, reason, words) in [
            (key(), json!({}), "SecretKeyMissing", "no entry \"key\""),
            (key(), json!({"key": " \n"}), "SecretKeyMissing", "no entry \"key\""),
            (key(), json!({"key": "hush\nhush"}), "CredentialUnusable", "not one line"),
            (key(), json!({"key": "hüsh"}), "CredentialUnusable", "not one line"),
            (google(), json!({"key": "hush"}), "CredentialUnusable", "service_account"),
            (
                google(),
                json!({"key": "{\"type\": \"authorized_user\", \"x\": \"hush\"}"}),
                "CredentialUnusable",
                "JSON",
            ),
            (Content::AwsAccessKey, json!({"AWS_ACCESS_KEY_ID": "i"}), "SecretKeyMissing", "AWS_SECRET_ACCESS_KEY"),
            (
                Content::AwsAccessKey,
                json!({"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "hu\nsh"}),
                "CredentialUnusable",
                "AWS_SESSION_TOKEN",
            ),
        ] {
            let (found, message) = delivered(content, &entries).unwrap_err();
            assert_eq!(found, reason, "{message}");
            assert!(message.contains(words) && !message.contains("hush"), "{message}");
        }
        assert_eq!(delivered(google(), &json!({"key": "{\"type\":\"service_account\"}"})).unwrap().len(), 26);
    }
}
