//! What the sidecars of a namespace are told of the store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use vectoll_config::{store, v1};

use super::{
    access::{Access, Password},
    password::{Master, Rotation, Valid},
};

/// The file in the config folder with the password.
const PASSWORD_FILE: &str = "store.password";
/// The file in the config folder with the CA.
const CA_FILE: &str = "store.ca";

/// As whom sidecars log in.
#[derive(Clone, Debug)]
pub enum Logins {
    /// As the command line says: whoever runs the sidecar is the only one.
    Given(Access),
    /// Each namespace as a user of its own.
    PerNamespace {
        /// The store, with the administrator's login, of which sidecars are told nothing.
        access: Access,
        /// What tells this operator's users from others'.
        scope: String,
        /// What passwords are derived from.
        master: Master,
        /// When they are renewed.
        rotation: Rotation,
    },
}

/// The store in a namespace's config. Its `Debug` shows no password.
#[derive(Clone, PartialEq)]
pub struct NamespaceStore {
    /// The section of the contract.
    pub section: v1::Store,
    /// The files that it names: only for where sidecars run.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for NamespaceStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<&String> = self.files.keys().collect();
        f.debug_struct("NamespaceStore").field("section", &self.section).field("files", &files).finish()
    }
}

impl Logins {
    /// What goes into a namespace's config.
    pub fn of(&self, namespace: &str, now: Timestamp) -> NamespaceStore {
        match self {
            Self::Given(access) => section(access, None, access.username.clone(), access.password.as_ref()),
            Self::PerNamespace { access, scope, master, rotation } => {
                let Valid { current, previous: _, upcoming: _ } = rotation.valid(master, namespace, now);
                section(access, Some(scope), Some(store::user_name(scope, namespace)), Some(&current))
            }
        }
    }
}

fn section(
    access: &Access,
    scope: Option<&String>,
    username: Option<String>,
    password: Option<&Password>,
) -> NamespaceStore {
    let Access { url, username: _, password: _, ca, on_failure } = access;
    let mut files = BTreeMap::new();
    let mut file = |name: &str, content: Option<&[u8]>| {
        files.insert(name.to_owned(), content?.to_vec());
        Some(name.to_owned())
    };
    let password_file = file(PASSWORD_FILE, password.map(|password| password.reveal().as_bytes()));
    let ca_file = file(CA_FILE, ca.as_deref());
    NamespaceStore {
        section: v1::Store {
            url: url.clone(),
            scope: scope.cloned(),
            username,
            password_file,
            ca_file,
            on_failure: *on_failure,
        },
        files,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jiff::SignedDuration;

    use super::*;

    fn access() -> Access {
        Access {
            url: "rediss://valkey.example:6380".parse().unwrap(),
            username: Some("admin".to_owned()),
            password: Some(Password::new("hunter2")),
            ca: Some(b"PEM".to_vec()),
            on_failure: v1::OnStoreFailure::Closed,
        }
    }

    #[test]
    fn in_a_folder_the_login_is_passed_on_as_it_was_given() {
        let NamespaceStore { section, files } = Logins::Given(access()).of("apps", Timestamp::UNIX_EPOCH);
        assert_eq!(
            (section.username.as_deref(), section.password_file.as_deref()),
            (Some("admin"), Some("store.password"))
        );
        assert_eq!(section.scope, None);
        assert_eq!((section.ca_file.as_deref(), section.on_failure), (Some("store.ca"), v1::OnStoreFailure::Closed));
        let expected = [("store.ca", b"PEM".to_vec()), ("store.password", b"hunter2".to_vec())];
        assert_eq!(files, expected.map(|(name, content)| (name.to_owned(), content)).into());
    }

    #[test]
    fn a_namespace_gets_a_user_of_its_own_and_nothing_of_the_administrators() {
        let logins = Logins::PerNamespace {
            access: access(),
            scope: "one".to_owned(),
            master: Master::random(getrandom::fill).unwrap(),
            rotation: Rotation::every(SignedDuration::from_hours(1)),
        };
        let apps = logins.of("apps", Timestamp::UNIX_EPOCH);
        assert_eq!(apps.section.username.as_deref(), Some("vectoll-ns-one:apps"));
        assert_eq!(apps.section.scope.as_deref(), Some("one"));
        assert_ne!(apps.files, logins.of("shop", Timestamp::UNIX_EPOCH).files);
        assert!(!apps.files.values().any(|content| content == b"hunter2"));
        assert!(!format!("{apps:?}{:?}", access()).contains("hunter2"));
    }
}
