//! What a credential's Secret holds, in the form in which a sidecar is given it.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::Deserialize;
use serde_json::json;
use vectoll_config::{KeyHash, ObjectName};

use crate::{
    observed_state::{ObservedState, Unresolved},
    validate::{Content, Credential},
};

/// The entries of an access key, named as AWS's own tools name their variables.
const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// The content of the credential's file. What is not usable would only be found out by the calls that fail.
pub(crate) fn content_of(
    credential: &Credential,
    namespace: &str,
    observed: &ObservedState,
) -> Result<Vec<u8>, Unresolved> {
    let Credential { path, secret, content } = credential;
    let secret = ObjectName::new(namespace, secret);
    if let Err(unreadable) = observed.readable(&secret, path) {
        return observed.delivered.files.get(&credential_file(namespace, credential)).cloned().ok_or(unreadable);
    }
    let line = |entry: &str| {
        let value = observed.entry(&secret, entry, path)?;
        let text = std::str::from_utf8(value).ok().filter(|text| is_header_value(text));
        text.ok_or_else(|| unusable(path, entry, &secret, "is not one line of printable ASCII"))
    };
    match content {
        Content::Key { entry } => line(entry).map(|key| key.as_bytes().to_vec()),
        Content::GoogleJson { entry } => {
            let value = observed.entry(&secret, entry, path)?;
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
            let has_token = observed.secrets.get(&secret).is_some_and(|secret| secret.entry(SESSION_TOKEN).is_some());
            if has_token && let Some(keys) = keys.as_object_mut() {
                keys.insert("sessionToken".to_owned(), line(SESSION_TOKEN)?.into());
            }
            Ok(keys.to_string().into_bytes())
        }
        Content::Certificates { entry } => {
            let value = observed.entry(&secret, entry, path)?;
            match certificates_fault(value) {
                None => Ok(value.to_vec()),
                Some(what) => {
                    Err(("InvalidCACertificateRef", format!("{path}: the entry \"{entry}\" of {secret} {what}")))
                }
            }
        }
    }
}

/// The file of a credential. Names of Secrets and of their entries may hold dots and be long: a hash tells all of them
/// apart within what the key of a Secret may be.
pub(crate) fn credential_file(namespace: &str, credential: &Credential) -> String {
    let Credential { path: _, secret, content } = credential;
    let entry = match content {
        Content::Key { entry } | Content::GoogleJson { entry } | Content::Certificates { entry } => entry,
        // No entry can have this name.
        Content::AwsAccessKey => "an access key of AWS",
    };
    let hash = KeyHash::of(format!("{namespace}/{secret}/{entry}").as_bytes()).to_string();
    format!("credential.{}", hash.get(..32).unwrap_or(&hash))
}

/// The largest bundle of CAs, in bytes. All well-known ones together take some 200 KB, of the 1 MiB that a config may have.
const MAX_CERTIFICATES: usize = 32 * 1024;

/// What is wrong with certificates of CAs. Of these no connection could be made, or they would give something away.
fn certificates_fault(value: &[u8]) -> Option<String> {
    if value.len() > MAX_CERTIFICATES {
        return Some(format!(
            "is larger than {MAX_CERTIFICATES} bytes: leave in only the CAs that sign this provider's certificate"
        ));
    }
    if String::from_utf8_lossy(value).contains("PRIVATE KEY") {
        return Some("holds a private key, which sidecars must not have: leave in the certificates only".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(value) {
        let Ok(certificate) = certificate else { return Some("is not PEM".to_owned()) };
        if let Err(error) = roots.add(certificate) {
            return Some(format!("holds what is no certificate of a CA: {error}"));
        }
    }
    roots.is_empty().then(|| "has no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned())
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
    use crate::observed_state::SecretContent;

    fn delivered(content: Content, entries: &serde_json::Value) -> Result<String, Unresolved> {
        let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": entries})).unwrap();
        let mut observed = ObservedState::default();
        observed.secrets.insert(ObjectName::new("ns", "s"), SecretContent::of(secret).into());
        let credential = Credential { path: "spec.x".to_owned(), secret: "s".to_owned(), content };
        content_of(&credential, "ns", &observed).map(|bytes| String::from_utf8(bytes).unwrap())
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
        let ca = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let (pem, key) = (ca.cert.pem(), ca.signing_key.serialize_pem());
        let certificates = || Content::Certificates { entry: "ca.crt".to_owned() };
        assert_eq!(
            delivered(certificates(), &json!({"ca.crt": format!("{pem}{pem}")})).unwrap().matches("BEGIN").count(),
            2
        );
        for (content, words) in [
            ("hush".to_owned(), "no certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----".to_owned(), "no certificate of a CA"),
            (format!("{pem}{key}"), "private key"),
            (pem.repeat(80), "larger than 32768 bytes"),
        ] {
            let (reason, message) = delivered(certificates(), &json!({"ca.crt": content})).unwrap_err();
            assert_eq!(reason, "InvalidCACertificateRef");
            assert!(message.contains(words) && !message.contains("hush"), "{message}");
        }
        assert_eq!(delivered(certificates(), &json!({})).unwrap_err().0, "SecretKeyMissing");
        assert_eq!(delivered(google(), &json!({"key": "{\"type\":\"service_account\"}"})).unwrap().len(), 26);
    }

    #[test]
    fn what_was_delivered_of_a_secret_that_cannot_be_read_serves_on() {
        let credential = |entry: &str| Credential {
            path: "spec.x".to_owned(),
            secret: "s".to_owned(),
            content: Content::Key { entry: entry.to_owned() },
        };
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"key": "older"}})).unwrap();
        let name = ObjectName::new("ns", "s");
        let mut observed = ObservedState::default();
        observed.secrets.insert(name.clone(), SecretContent::of(secret).into());
        observed.unreadable.insert(name, "no answer".into());
        let read = |observed: &ObservedState, entry: &str| content_of(&credential(entry), "ns", observed);
        assert_eq!(read(&observed, "key").unwrap_err().0, "SecretUnreadable", "an older state is not what is in force");
        observed.delivered.files.insert(credential_file("ns", &credential("key")), b"delivered".to_vec());
        assert_eq!(read(&observed, "key").unwrap(), b"delivered");
        assert_eq!(read(&observed, "other").unwrap_err().0, "SecretUnreadable", "another entry was never delivered");
    }
}
