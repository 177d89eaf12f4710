//! Many namespaces for a gateway: what the operator has written for one, under other names. Names, UIDs and keys' values differ; all else
//! is the same, so that none has to be made by hand, or takes the operator's time.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

/// The namespace of the manifests that the operator is given.
pub const FIRST: &str = "bench-0000";

/// What the operator has written for [`FIRST`], and the values of its keys.
#[derive(Debug)]
pub struct Namespaces {
    files: BTreeMap<String, String>,
    values: Vec<String>,
    uids: Vec<String>,
}

impl Namespaces {
    /// Of the folder of the first one. `values` are its keys', and the config has the hash of each.
    pub fn like(folder: &Path, values: Vec<String>) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a file's name is not UTF-8")?;
            if !name.starts_with('.') {
                files.insert(name, fs::read_to_string(entry.path()).context("failed to read a file of the config")?);
            }
        }
        let config = files.get("config.v1.yaml").context("the operator has written no config")?;
        let uids: Vec<String> =
            config.split("\"uid\":\"").skip(1).filter_map(|rest| Some(rest.split('"').next()?.to_owned())).collect();
        ensure!(uids.len() > values.len(), "the config has {} UIDs for {} keys and a Team", uids.len(), values.len());
        for value in &values {
            ensure!(config.contains(&hash(value)), "the config has no key of the value {value}");
        }
        Ok(Self { files, values, uids })
    }

    /// The name of one of them.
    pub fn name(number: usize) -> String {
        format!("bench-{number:04}")
    }

    /// A key's value in one of them.
    pub fn key(&self, number: usize, key: usize) -> String {
        let value = self.values.get(key % self.values.len().max(1)).map(String::as_str).unwrap_or_default();
        format!("{value}-of-{number:04}")
    }

    /// How many keys each has.
    pub fn keys(&self) -> usize {
        self.values.len()
    }

    /// The bundle of one of them, as an entry of a Secret. `edit` is done to its config.
    pub fn bundle(&self, number: usize, edit: impl Fn(String) -> String) -> Vec<u8> {
        let name = Self::name(number);
        let mut replaced: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in self.values.iter().enumerate() {
            replaced.insert(hash(value), hash(&self.key(number, key)));
        }
        for uid in &self.uids {
            // Still a UUID, and of no other object: the rest of it is random.
            replaced.insert(uid.clone(), format!("{number:08x}{}", uid.get(8..).unwrap_or_default()));
        }
        let mut bundle = b"vectoll bundle v1\n".to_vec();
        for (file, content) in &self.files {
            let content = content.replace(FIRST, &name);
            let content = if file == "config.v1.yaml" { edit(strings_replaced(&content, &replaced)) } else { content };
            bundle.extend_from_slice(format!("{} {}\n", file.replace(FIRST, &name), content.len()).as_bytes());
            bundle.extend_from_slice(content.as_bytes());
            bundle.push(b'\n');
        }
        bundle
    }
}

/// Strings of JSON in place of others: one pass, however many there are.
fn strings_replaced(text: &str, by: &BTreeMap<String, String>) -> String {
    let parts: Vec<&str> = text.split('"').map(|part| by.get(part).map_or(part, String::as_str)).collect();
    parts.join("\"")
}

fn hash(value: &str) -> String {
    hex::encode(Sha256::digest(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UIDS: [&str; 2] = ["11111111-2222-3333-4444-666666666666", "11111111-2222-3333-4444-555555555555"];

    #[test]
    fn namespaces_differ_in_names_uids_and_values_alone() {
        let folder = tempfile::tempdir().unwrap();
        let config = serde_json::json!({
            "version": "v1", "generation": 1, "namespace": FIRST, "complete": true, "routes": [],
            "teams": [{"name": format!("{FIRST}/team"), "uid": UIDS[0], "routeNamespaces": [], "maxUsers": 1}],
            "keys": [{
                "name": format!("{FIRST}/alice"),
                "uid": UIDS[1],
                "team": format!("{FIRST}/team"),
                "credentials": [{"sha256": hash("one")}],
            }],
        })
        .to_string();
        fs::write(folder.path().join("config.v1.yaml"), config).unwrap();
        fs::write(folder.path().join("credential.provider"), "secret").unwrap();
        let namespaces = Namespaces::like(folder.path(), vec!["one".to_owned()]).unwrap();
        let bundle = namespaces.bundle(7, |config| config);
        let files = vectoll_config::read_bundle(&bundle).unwrap();
        assert_eq!(files["credential.provider"], b"secret");
        let config = String::from_utf8(files["config.v1.yaml"].clone()).unwrap();
        vectoll_config::read_v1(&config).unwrap();
        assert!(config.contains("bench-0007/alice") && !config.contains(FIRST), "{config}");
        assert!(config.contains("00000007-2222-3333-4444-555555555555"), "{config}");
        assert!(config.contains(&hash(&namespaces.key(7, 0))) && !config.contains(&hash("one")), "{config}");
    }

    #[test]
    fn a_config_without_the_keys_is_no_beginning() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.v1.yaml"), "{\"uid\":\"a\",\"uid\":\"b\"}").unwrap();
        assert!(Namespaces::like(folder.path(), vec!["one".to_owned()]).is_err());
    }
}
