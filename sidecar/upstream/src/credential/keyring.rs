//! The credentials in use. A reload of the config makes all backends anew, but not their credentials: one that did not
//! change keeps its token, and nobody waits for another one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::Credential;

/// What a credential is made of, by its SHA-256: its settings and the content of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of all that goes into a credential, in an order that is always the same, the kind of credential included.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With its length: else a part could begin where another one ends.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// The credentials that backends hold. A handle: clones share them.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Arc<Mutex<HashMap<Fingerprint, Arc<Credential>>>>);

impl Keyring {
    /// The credential of a fingerprint: the one that is in use, else a new one.
    pub fn get<E>(
        &self,
        fingerprint: Fingerprint,
        make: impl FnOnce() -> Result<Credential, E>,
    ) -> Result<Arc<Credential>, E> {
        // Making one cannot leave the map half changed.
        let mut credentials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that no backend holds any more go, and their secrets with them.
        credentials.retain(|_, credential| Arc::strong_count(credential) > 1);
        if let Some(credential) = credentials.get(&fingerprint) {
            return Ok(Arc::clone(credential));
        }
        let credential = Arc::new(make()?);
        credentials.insert(fingerprint, Arc::clone(&credential));
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Form;

    fn print(parts: &[&str]) -> Fingerprint {
        Fingerprint::of(parts.iter().map(|part| part.as_bytes()))
    }

    #[test]
    fn a_credential_stays_while_someone_holds_it() {
        let keyring = Keyring::default();
        let make = |content: &'static [u8]| move || Credential::header(&Form::Bearer, content);
        let first = keyring.get(print(&["a"]), make(b"s3cret")).unwrap();
        let again =
            keyring.get(print(&["a"]), || unreachable!("it is there")).unwrap_or_else(|error: ()| panic!("{error:?}"));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &keyring.get(print(&["b"]), make(b"other")).unwrap()));
        assert!(keyring.get(print(&["c"]), make(b"")).is_err());
        assert!(!format!("{keyring:?}").contains("s3cret"));
        drop((first, again));
        let mut anew = false;
        let _ = keyring.get(print(&["a"]), || {
            anew = true;
            make(b"s3cret")()
        });
        assert!(anew, "nobody held it");
        assert_eq!(keyring.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_eq!(print(&["ab", "c"]), print(&["ab", "c"]));
        assert_ne!(print(&["ab", "c"]), print(&["a", "bc"]));
        assert_ne!(print(&["ab", ""]), print(&["ab"]));
    }
}
