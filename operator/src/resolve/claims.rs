//! Accounts that annotations carry on: never two resources on one account.

use std::collections::HashMap;

use vectoll_config::{ObjectName, Uid};

use crate::{
    observed_state::Object,
    validate::{FieldError, account_path},
};

/// Who has the accounts that are claimed.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    /// None: it is the account of a resource that is there, which needs no annotation for it.
    holders: HashMap<&'a Uid, Option<&'a ObjectName>>,
}

impl<'a> Claims<'a> {
    /// Of all resources of a kind, which are gone through once, and once more where there is a claim.
    pub(crate) fn of<S: 'a, I: Iterator<Item = &'a Object<S>>>(objects: impl Fn() -> I) -> Self {
        let mut claiming: Vec<(&Uid, &Object<S>)> = objects()
            .filter_map(|object| Some((object.account.as_ref()?, object)))
            .filter(|(account, object)| **account != object.uid)
            .collect();
        claiming.sort_by_key(|(_, object)| object.seniority());
        let mut holders = HashMap::new();
        for (account, object) in claiming {
            holders.entry(account).or_insert(Some(&object.name));
        }
        if !holders.is_empty() {
            for object in objects() {
                holders.entry(&object.uid).and_modify(|holder| *holder = None);
            }
        }
        Self { holders }
    }

    /// Whether a resource may have the account that it names. Who has it instead is told to nobody: it may be a stranger's.
    pub(crate) fn check<S>(&self, object: &Object<S>) -> Result<(), FieldError> {
        let Some(account) = object.account.as_ref().filter(|account| **account != object.uid) else { return Ok(()) };
        match self.holders.get(account) {
            Some(Some(holder)) if **holder == object.name => Ok(()),
            Some(Some(_) | None) | None => Err(FieldError {
                path: account_path(),
                reason: format!(
                    "the account {account} belongs to another resource: name the UID that this one had before it was restored, or \
                     remove the annotation"
                ),
            }),
        }
    }

    /// What a resource's spend is kept under. One that names another's account shows nothing of it.
    pub(crate) fn account<'o, S>(&self, object: &'o Object<S>) -> &'o Uid {
        object.account.as_ref().filter(|_| self.check(object).is_ok()).unwrap_or(&object.uid)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn object(name: &str, uid: &str, account: Option<&str>, created: &str) -> Object<()> {
        Object {
            name: ObjectName::new("apps", name),
            uid: Uid::new(uid),
            created: Some(created.parse().unwrap()),
            rotate: None,
            account: account.map(Uid::new),
            reset: None,
            spec: (),
        }
    }

    #[test]
    fn an_account_has_one_holder_its_own_resource_before_the_oldest_that_names_it() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let alive = object("alive", "u-1", None, late);
        let thief = object("thief", "u-2", Some("u-1"), early);
        let restored = object("restored", "u-3", Some("gone"), early);
        let second = object("second", "u-4", Some("gone"), late);
        let own = object("own", "u-5", Some("u-5"), late);
        let all = [&second, &thief, &alive, &restored, &own];
        let claims = Claims::of(|| all.into_iter());
        let may: Vec<&str> =
            all.into_iter().filter(|object| claims.check(object).is_ok()).map(|object| object.name.name()).collect();
        assert_eq!(may, ["alive", "restored", "own"]);
        let outcome = claims.check(&thief).unwrap_err().to_string();
        assert!(
            outcome.starts_with("metadata.annotations[vectoll.dev/account]: ") && !outcome.contains("alive"),
            "{outcome}"
        );
    }
}
