//! Hashes of accounts that nobody knows: the account may be younger than the census. Pure.

use std::collections::BTreeMap;

use super::super::sweep::DAY_MS;

/// The most that are remembered: those beyond wait until others are gone.
const MAX_SUSPECTS: usize = 100_000;

/// Hashes, and when each was found first, in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Suspects(BTreeMap<Vec<u8>, u64>);

impl Suspects {
    /// Whether a hash of an unknown account was found before the census was taken: then it is none of an account that was made meanwhile.
    /// One that is found for the first time is noted.
    pub(super) fn is_certain(&mut self, key: &[u8], counted_ms: u64, now_ms: u64) -> bool {
        match self.0.get(key) {
            Some(found_ms) if *found_ms < counted_ms => self.0.remove(key).is_some(),
            None if self.0.len() < MAX_SUSPECTS => self.0.insert(key.to_vec(), now_ms).is_some(),
            Some(_) | None => false,
        }
    }

    /// Those found a day ago are known meanwhile, or gone.
    pub(super) fn forget_before(&mut self, now_ms: u64) {
        self.0.retain(|_, found_ms| found_ms.saturating_add(DAY_MS) > now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_may_be_younger_than_the_census_and_not_than_the_next_one() {
        let mut suspects = Suspects::default();
        assert!(!suspects.is_certain(b"a", 1_000, 1_500));
        assert!(!suspects.is_certain(b"a", 1_000, 2_000), "the same census again");
        assert!(suspects.is_certain(b"a", 3_000, 3_500));
        suspects.is_certain(b"b", 1_000, 1_500);
        suspects.forget_before(1_500 + DAY_MS);
        assert!(!suspects.is_certain(b"b", 3_000, 3_500), "forgotten, and found anew");
    }
}
