//! What fits into a namespace's config Secret. Pure.
//!
//! New keys have nine tenths of it; the rest is for what those that are there may yet need. If even that is not enough, values in
//! their grace period go first, those first that end first: never a key that works for one that is new.

use std::collections::BTreeSet;

use vectoll_config::{ObjectName, v1, write_v1};

/// What a Secret may hold, in bytes.
const CEILING: usize = 1024 * 1024;
/// From here on a namespace takes no further keys.
pub(super) const ROOM: usize = CEILING / 10 * 9;

/// What had to stay out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Surplus {
    /// Keys, as a whole.
    pub(super) keys: BTreeSet<ObjectName>,
    /// Keys whose values of before were ended early.
    pub(super) shortened: BTreeSet<ObjectName>,
}

/// Takes out of a config what does not fit beside `beside` bytes of other files. `is_in` says which keys the sidecars have already, `age`
/// which of two keys goes first.
pub(super) fn fit<A: Ord>(
    config: &mut v1::Config,
    beside: usize,
    is_in: impl Fn(&ObjectName) -> bool,
    age: impl Fn(&ObjectName) -> A,
) -> Result<Surplus, serde_yaml::Error> {
    let mut surplus = Surplus::default();
    let bare = v1::Config { keys: Vec::new(), ..config.clone() };
    let fixed = write_v1(&bare)?.len() + beside;
    let mut sizes = config.keys.iter().map(size_of).collect::<Result<Vec<usize>, _>>()?;
    let in_force: Vec<bool> = config.keys.iter().map(|key| is_in(&key.name)).collect();
    let mut taken =
        fixed + sizes.iter().zip(&in_force).filter(|(_, is_in)| **is_in).map(|(size, _)| size).sum::<usize>();
    if taken > CEILING {
        taken -= shorten(config, &in_force, &mut sizes, taken - CEILING, &mut surplus)?;
    }
    let mut order: Vec<usize> = (0..config.keys.len()).collect();
    order.sort_by_key(|&at| config.keys.get(at).map(|key| age(&key.name)));
    let name = |at: usize| config.keys.get(at).map(|key| key.name.clone());
    let is_member = |at: usize| in_force.get(at).copied().unwrap_or_default();
    let size = |at: usize| sizes.get(at).copied().unwrap_or_default();
    // Nothing else is left to give way: the youngest of those that are there.
    for &at in order.iter().rev().filter(|&&at| is_member(at)) {
        if taken <= CEILING {
            break;
        }
        taken -= size(at);
        surplus.keys.extend(name(at));
    }
    // No gap: a small new key does not overtake a larger one that is older.
    let mut is_full = false;
    for &at in order.iter().filter(|&&at| !is_member(at)) {
        is_full |= taken + size(at) > ROOM;
        if is_full {
            surplus.keys.extend(name(at));
        } else {
            taken += size(at);
        }
    }
    config.keys.retain(|key| !surplus.keys.contains(&key.name));
    Ok(surplus)
}

/// The bytes that a key takes in the file: an entry of a list is written the same wherever it is.
fn size_of(key: &v1::Key) -> Result<usize, serde_yaml::Error> {
    serde_yaml::to_string(&[key]).map(|text| text.len())
}

/// Ends values of before, those first that end first, until so many bytes are free. Returns how many are.
fn shorten(
    config: &mut v1::Config,
    in_force: &[bool],
    sizes: &mut [usize],
    wanted: usize,
    surplus: &mut Surplus,
) -> Result<usize, serde_yaml::Error> {
    let mut ends: Vec<_> = Vec::new();
    for (at, key) in config.keys.iter().enumerate().filter(|(at, _)| in_force.get(*at) == Some(&true)) {
        ends.extend(key.credentials.iter().filter_map(|one| one.expires_at).map(|end| (end, at)));
    }
    ends.sort_unstable();
    let mut free = 0;
    for (end, at) in ends {
        if free >= wanted {
            break;
        }
        let (Some(key), Some(size)) = (config.keys.get_mut(at), sizes.get_mut(at)) else { continue };
        key.credentials.retain(|one| one.expires_at != Some(end));
        let shorter = size_of(key)?;
        free += size.saturating_sub(shorter);
        *size = shorter;
        surplus.shortened.insert(key.name.clone());
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use jiff::Timestamp;
    use vectoll_config::KeyHash;

    use super::*;

    fn key(n: usize, previous: usize) -> v1::Key {
        let hash = |part: usize| KeyHash::of(format!("{n}/{part}").as_bytes());
        let ends = |part: usize| Timestamp::from_second(i64::try_from(1_000_000 * part + n).unwrap()).unwrap();
        let mut credentials = vec![v1::Credential { sha256: hash(0), expires_at: None }];
        credentials
            .extend((1..=previous).map(|part| v1::Credential { sha256: hash(part), expires_at: Some(ends(part)) }));
        let yaml = format!("{{name: apps/key-{n:05}, uid: '{n:036}', team: apps/team, credentials: []}}");
        v1::Key { credentials, ..serde_yaml::from_str(&yaml).unwrap() }
    }

    fn config(keys: Vec<v1::Key>) -> v1::Config {
        let yaml = "{version: v1, generation: 1, namespace: apps, teams: [{name: apps/team, uid: t, routeNamespaces: [apps], \
                    maxUsers: 1}], keys: [], routes: [], complete: true}";
        v1::Config { keys, ..serde_yaml::from_str(yaml).unwrap() }
    }

    fn number(name: &ObjectName) -> usize {
        name.name().strip_prefix("key-").unwrap().parse().unwrap()
    }

    #[test]
    fn the_size_of_a_key_is_what_it_adds_to_the_file() {
        let (one, two) = (config(vec![key(1, 0)]), config(vec![key(1, 0), key(2, 3)]));
        let added = write_v1(&two).unwrap().len() - write_v1(&one).unwrap().len();
        assert_eq!(size_of(&key(2, 3)).unwrap(), added);
    }

    #[test]
    fn new_keys_stay_out_and_those_that_are_there_stay() {
        // Older ones have lower numbers; those above 5,000 are there already.
        let mut all = config((0..8_000).map(|n| key(n, 0)).collect());
        let surplus = fit(&mut all, 0, |name| number(name) > 5_000, number).unwrap();
        let size = write_v1(&all).unwrap().len();
        assert!(size <= ROOM && size > ROOM - 1_000, "{size}");
        assert!(surplus.shortened.is_empty());
        let kept: Vec<usize> = all.keys.iter().map(|key| number(&key.name)).collect();
        assert!((5_001..8_000).all(|n| kept.contains(&n)), "a key that works was thrown out");
        let new = kept.iter().filter(|&&n| n <= 5_000).count();
        assert_eq!(
            surplus.keys.iter().next().map(number),
            Some(new),
            "the oldest of the new ones are in, without a gap"
        );
    }

    #[test]
    fn a_rotation_of_all_keys_ends_values_of_before_and_no_key() {
        let mut all = config((0..4_000).map(|n| key(n, 2)).collect());
        assert!(write_v1(&all).unwrap().len() > CEILING);
        let surplus = fit(&mut all, 0, |_| true, number).unwrap();
        assert!(surplus.keys.is_empty(), "{} live keys were refused", surplus.keys.len());
        let size = write_v1(&all).unwrap().len();
        assert!(size <= CEILING && size > CEILING - 1_000, "{size}");
        assert!(all.keys.iter().all(|key| key.credentials[0].expires_at.is_none()), "the values of today");
        let ended = |key: &v1::Key, part: usize| {
            !key.credentials.iter().any(|one| one.sha256 == self::key(number(&key.name), 2).credentials[part].sha256)
        };
        assert!(ended(&all.keys[0], 1) && !ended(&all.keys[3_999], 2), "what ends first goes first");
    }
}
