//! Which Secret has which namespaces, and what is to be changed of it. Pure.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use anyhow::Context;
use sha2::{Digest, Sha256};
use vectoll_config::{check_files_v1, check_v1, read_bundle, v1, write_bundle, write_v1};

use super::{Bundle, Share};
use crate::cluster::{
    fit::CEILING,
    revoked::{Extent, without_ended},
};

/// The entries of one Secret: a namespace's bundle each.
pub(super) type Entries = BTreeMap<String, Vec<u8>>;

/// The changes of one Secret; none: the entry goes.
pub(super) type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// What is to be changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// By the Secret's number.
    pub(super) changes: BTreeMap<usize, Changes>,
    /// Namespaces that do not fit: they are as they were, but for what has ended or was set anew, or not there; or, as the largest of their
    /// Secret, without what is too much.
    pub(super) left_out: BTreeSet<String>,
}

/// The number of a namespace's Secret, of so many. A namespace keeps its own as long as their number stays.
pub(super) fn shard_of(namespace: &str, shards: usize) -> usize {
    let hash: [u8; 32] = Sha256::digest(namespace.as_bytes()).into();
    let number = hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    usize::try_from(number % u64::try_from(shards.max(1)).unwrap_or(1)).unwrap_or_default()
}

/// What is to be changed of the Secrets that there are. Of a namespace that nobody has looked at yet everything stays, unless `is_gone`
/// says that there is none of this name.
pub(super) fn plan<E: Borrow<Entries>>(
    present: &[E],
    shares: &BTreeMap<String, Share>,
    is_gone: impl Fn(&str) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    // Each with whether what there is goes before it.
    let mut wanted: Vec<BTreeMap<&str, (&Bundle, bool)>> = present.iter().map(|_| BTreeMap::new()).collect();
    for (namespace, share) in shares {
        let (bundle, is_kept) = match share {
            Share::Nothing => continue,
            Share::Config(bundle) => (bundle, false),
            Share::Kept(bundle) => (bundle, true),
        };
        if let Some(of_shard) = wanted.get_mut(shard_of(namespace, present.len())) {
            of_shard.insert(namespace, (bundle, is_kept));
        }
    }
    for (number, (entries, wanted)) in present.iter().map(Borrow::borrow).zip(wanted).enumerate() {
        let mut changes = Changes::new();
        for namespace in entries.keys() {
            let goes = match shares.get(namespace) {
                // What is no namespace's has a Secret of its own.
                _ if namespace.starts_with('_') => true,
                Some(Share::Nothing) => true,
                Some(Share::Config(_) | Share::Kept(_)) => shard_of(namespace, present.len()) != number,
                None => is_gone(namespace),
            };
            if goes {
                changes.insert(namespace.clone(), None);
            }
        }
        let size = |namespace: &str, content: &[u8]| namespace.len() + content.len();
        let stays = entries.iter().filter(|(namespace, _)| !changes.contains_key(*namespace));
        let mut taken: usize = stays.map(|(namespace, content)| size(namespace, content)).sum();
        // What shrinks makes room; then those that are there already go before those that are new.
        let mut wanting: Vec<(i64, &str, &Bundle)> = Vec::new();
        for (namespace, (bundle, is_kept)) in wanted {
            let before = entries.get(namespace);
            match before {
                Some(before) if is_kept => {
                    let room = CEILING.saturating_sub(taken - before.len());
                    taken = taken - before.len() + end(namespace, before, bundle, room, &mut changes);
                    continue;
                }
                None if bundle.content.is_empty() => continue,
                Some(_) | None => {}
            }
            if before.is_some_and(|before| *before == bundle.content) {
                if bundle.is_cut {
                    plan.left_out.insert(namespace.to_owned());
                }
            } else {
                let grows = bundle.content.len().cast_signed() as i64 - before.map_or(0, Vec::len).cast_signed() as i64;
                let order = if before.is_none() { i64::MAX } else { grows };
                wanting.push((order, namespace, bundle));
            }
        }
        wanting.sort_unstable_by_key(|(order, namespace, _)| (*order, *namespace));
        for (_, namespace, bundle) in wanting {
            let before = entries.get(namespace).map(|content| size(namespace, content)).unwrap_or_default();
            let after = size(namespace, &bundle.content);
            if taken - before + after <= CEILING {
                if bundle.is_cut {
                    plan.left_out.insert(namespace.to_owned());
                }
                taken = taken - before + after;
                changes.insert(namespace.to_owned(), Some(bundle.content.clone()));
                continue;
            }
            plan.left_out.insert(namespace.to_owned());
            // Nothing keeps a key alive that has ended, nor limits and budgets that were lowered.
            if let Some(before) = entries.get(namespace) {
                let room = CEILING.saturating_sub(taken - before.len());
                taken = taken - before.len() + end(namespace, before, bundle, room, &mut changes);
            }
        }
        if !changes.is_empty() {
            plan.changes.insert(number, changes);
        }
    }
    plan
}

/// Takes out of an entry what has ended, and takes over what is set anew, as far as it fits into `room` bytes. Returns the bytes that are
/// left of it. One that cannot be read goes.
fn end(namespace: &str, before: &[u8], wanted: &Bundle, room: usize, changes: &mut Changes) -> usize {
    // Settings and the store before what has ended alone, which takes no room that was not there.
    let kinds = [(Extent::Settings, true), (Extent::Ended, true), (Extent::Ended, false)];
    let made = kinds.into_iter().find_map(|(extent, renews_store)| {
        let after = ended(before, wanted, extent, renews_store).ok()?;
        let is_last = !renews_store;
        (is_last || after.as_ref().is_none_or(|after| after.len() <= room)).then_some(after)
    });
    let after = match made {
        Some(None) => return before.len(),
        Some(after) => after,
        None => None,
    };
    let left = after.as_ref().map_or(0, Vec::len);
    changes.insert(namespace.to_owned(), after);
    left
}

/// An entry without what has ended, and with what else is taken over; none: it is as it should be.
fn ended(content: &[u8], wanted: &Bundle, extent: Extent, renews_store: bool) -> anyhow::Result<Option<Vec<u8>>> {
    let before = read_bundle(content).context("the entry is no bundle")?;
    let (remains, has_ended) = without_ended(&before, &wanted.config, &BTreeSet::new(), extent)?;
    let (mut config, mut files) = (remains.config, remains.credentials);
    let is_same = |(name, content): (&String, &Vec<u8>)| before.get(name) == Some(content);
    let has_other_store = config.store != wanted.config.store || !wanted.store_files.iter().all(is_same);
    if renews_store && has_other_store {
        // A password, a CA or an address of before would be no good to the whole gateway.
        let of_store = |store: &v1::Store| [store.password_file.clone(), store.ca_file.clone()];
        for file in config.store.iter().flat_map(of_store).flatten() {
            files.remove(&file);
        }
        config.store.clone_from(&wanted.config.store);
        files.extend(wanted.store_files.clone());
    } else if !has_ended {
        return Ok(None);
    }
    if renews_store {
        check_v1(&config)?;
        check_files_v1(&config, |name| files.get(name).map(Vec::as_slice))?;
    }
    files.insert(v1::FILE.to_owned(), write_v1(&config)?.into_bytes());
    Ok(Some(write_bundle(&files)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use std::sync::Arc;

    use vectoll_config::{KeyHash, read_v1};

    use super::*;

    /// A namespace with these keys, and a file of so many bytes.
    fn bundle(namespace: &str, keys: &[&str], bytes: usize) -> Arc<Bundle> {
        bundle_with(namespace, keys, bytes, 10, None)
    }

    /// The same, with a limit of its Team, and what is to be said of the store and its password.
    fn bundle_with(
        namespace: &str,
        keys: &[&str],
        bytes: usize,
        max_users: u64,
        store: Option<(&str, &str)>,
    ) -> Arc<Bundle> {
        let key = |key: &&str| {
            let hash = KeyHash::of(key.as_bytes());
            format!(
                "- {{name: {namespace}/{key}, uid: {key}, team: {namespace}/t, credentials: [{{sha256: {hash}}}]}}\n"
            )
        };
        let keys = keys.iter().map(key).collect::<Vec<_>>().concat();
        let keys = if keys.is_empty() { " []\n".to_owned() } else { format!("\n{keys}") };
        let section = store.map_or(String::new(), |(url, _)| {
            format!("store: {{url: '{url}', scope: s, username: _gateway, passwordFile: store.password}}\n")
        });
        let store_files: BTreeMap<String, Vec<u8>> = store
            .map(|(_, password)| ("store.password".to_owned(), password.as_bytes().to_vec()))
            .into_iter()
            .collect();
        let yaml = format!(
            "version: v1\ngeneration: 1\nnamespace: {namespace}\nteams:\n- {{name: {namespace}/t, uid: t, routeNamespaces: [{namespace}], \
             maxUsers: {max_users}}}\nkeys:{keys}routes: []\n{section}complete: true\n"
        );
        let config = read_v1(&yaml).unwrap();
        let mut files: BTreeMap<String, Vec<u8>> =
            [(v1::FILE.to_owned(), yaml.into_bytes()), ("credential".to_owned(), vec![b'x'; bytes])].into();
        files.extend(store_files.clone());
        Arc::new(Bundle { content: write_bundle(&files), config, store_files, is_cut: false })
    }

    fn config(namespace: &str, keys: &[&str], bytes: usize) -> (String, Share) {
        (namespace.to_owned(), Share::Config(bundle(namespace, keys, bytes)))
    }

    fn apply(present: &mut [Entries], plan: &Plan) {
        for (shard, changes) in &plan.changes {
            for (namespace, content) in changes {
                match content {
                    Some(content) => drop(present[*shard].insert(namespace.clone(), content.clone())),
                    None => drop(present[*shard].remove(namespace)),
                }
            }
        }
    }

    fn settle(present: &mut [Entries], shares: &BTreeMap<String, Share>) {
        let changes = plan(present, shares, |_| false);
        apply(present, &changes);
    }

    #[test]
    fn namespaces_are_spread_evenly_and_stay_where_they_are() {
        let mut counts = [0; 64];
        for n in 0..6_400 {
            counts[shard_of(&format!("team-{n}"), 64)] += 1;
        }
        assert!(counts.iter().all(|count| (60..150).contains(count)), "{counts:?}");
        assert_eq!(shard_of("shop", 64), shard_of("shop", 64));
        assert_eq!(shard_of("shop", 0), 0);
    }

    #[test]
    fn only_what_changed_is_written_and_what_nobody_has_looked_at_stays() {
        let mut present = vec![Entries::new(); 4];
        let mut shares: BTreeMap<String, Share> = [config("a", &["one"], 10), config("b", &["two"], 10)].into();
        let first = plan(&present, &shares, |_| false);
        assert_eq!(first.changes.values().map(BTreeMap::len).sum::<usize>(), 2);
        apply(&mut present, &first);
        assert_eq!(plan(&present, &shares, |_| false), Plan::default());
        shares.extend([config("a", &["one", "three"], 10)]);
        let second = plan(&present, &shares, |_| false);
        assert_eq!(second.changes.keys().collect::<Vec<_>>(), [&shard_of("a", 4)]);
        apply(&mut present, &second);
        // As after a start.
        assert_eq!(plan(&present, &BTreeMap::new(), |_| false), Plan::default());
        let gone = plan(&present, &BTreeMap::new(), |namespace| namespace == "b");
        assert_eq!(gone.changes, [(shard_of("b", 4), [("b".to_owned(), None)].into())].into());
        shares.extend([("a".to_owned(), Share::Nothing)]);
        let nothing = plan(&present, &shares, |_| true);
        assert_eq!(nothing.changes, [(shard_of("a", 4), [("a".to_owned(), None)].into())].into());
    }

    #[test]
    fn what_cannot_be_made_whole_leaves_what_there_is_but_for_what_has_ended() {
        let mut present = vec![Entries::new()];
        let mut shares: BTreeMap<String, Share> = [config("a", &["one", "two"], 10)].into();
        settle(&mut present, &shares);
        let kept = |keys: &[&str]| [("a".to_owned(), Share::Kept(bundle("a", keys, 0)))];
        shares.extend(kept(&["one", "two", "three"]));
        assert_eq!(plan(&present, &shares, |_| false), Plan::default(), "its credential is not taken away");
        shares.extend(kept(&["two"]));
        settle(&mut present, &shares);
        let files = read_bundle(&present[0]["a"]).unwrap();
        let config = read_v1(std::str::from_utf8(&files[v1::FILE]).unwrap()).unwrap();
        assert_eq!((config.keys.len(), files["credential"].len()), (1, 10));
        // Where there is nothing yet it is better than nothing.
        let config = bundle("b", &["one"], 0).config.clone();
        let empty = Arc::new(Bundle { config, store_files: BTreeMap::new(), is_cut: false, content: Vec::new() });
        shares = [("a".to_owned(), Share::Kept(bundle("a", &["two"], 0))), ("b".to_owned(), Share::Kept(empty))].into();
        let first = plan(&[Entries::new()], &shares, |_| false);
        assert_eq!(first.changes[&0].keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn with_another_number_of_secrets_each_entry_moves_to_its_own() {
        let shares: BTreeMap<String, Share> = (0..20).map(|n| config(&format!("team-{n}"), &["one"], 10)).collect();
        let mut present = vec![Entries::new(); 3];
        settle(&mut present, &shares);
        present.extend(vec![Entries::new(); 5]);
        settle(&mut present, &shares);
        for (number, entries) in present.iter().enumerate() {
            assert!(entries.keys().all(|namespace| shard_of(namespace, 8) == number));
        }
        assert_eq!(present.iter().map(BTreeMap::len).sum::<usize>(), 20);
    }

    #[test]
    fn what_does_not_fit_keeps_what_it_had_without_what_has_ended_and_affects_no_other() {
        let mut present = vec![Entries::new()];
        let half = CEILING / 2;
        let mut shares: BTreeMap<String, Share> =
            [config("a", &["one", "two"], half), config("b", &["three"], half - 2_000)].into();
        settle(&mut present, &shares);
        assert_eq!(present[0].len(), 2);
        // A new one finds no room; one that is there is larger than there is room for, and has lost a key; another one changes.
        shares.extend([
            config("a", &["two"], half + 10_000),
            config("b", &["four"], half - 3_000),
            config("c", &["five"], 100_000),
        ]);
        let full = plan(&present, &shares, |_| false);
        assert_eq!(full.left_out, ["a".to_owned(), "c".to_owned()].into());
        apply(&mut present, &full);
        let keys = |namespace: &str| {
            let files = read_bundle(&present[0][namespace]).unwrap();
            let config = read_v1(std::str::from_utf8(&files[v1::FILE]).unwrap()).unwrap();
            config.keys.iter().map(|key| key.name.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((keys("a"), keys("b")), (vec!["two".to_owned()], vec!["four".to_owned()]));
        assert!(!present[0].contains_key("c"));
        let size: usize = present[0].iter().map(|(name, content)| name.len() + content.len()).sum();
        assert!(size <= CEILING, "{size}");
        // Room that somebody leaves is taken.
        shares.extend([config("b", &["four"], 0)]);
        let after = plan(&present, &shares, |_| false);
        assert!(after.left_out.is_empty(), "{:?}", after.left_out);
    }

    /// What is in a namespace's entry.
    fn entry(entries: &Entries, namespace: &str) -> (v1::Config, BTreeMap<String, Vec<u8>>) {
        let files = read_bundle(&entries[namespace]).unwrap();
        (read_v1(std::str::from_utf8(&files[v1::FILE]).unwrap()).unwrap(), files)
    }

    #[test]
    fn what_does_not_fit_takes_over_lowered_limits_all_the_same() {
        let mut present = vec![Entries::new()];
        let mut shares: BTreeMap<String, Share> =
            [config("a", &["one", "two"], CEILING / 2), config("b", &["three"], CEILING / 2 - 2_000)].into();
        settle(&mut present, &shares);
        let larger = bundle_with("a", &["one", "two", "new"], CEILING / 2 + 10_000, 5, None);
        shares.insert("a".to_owned(), Share::Config(larger));
        let full = plan(&present, &shares, |_| false);
        assert_eq!(full.left_out, ["a".to_owned()].into());
        apply(&mut present, &full);
        let (config, _) = entry(&present[0], "a");
        assert_eq!(
            (config.teams[0].max_users, config.keys.len()),
            (bundle_with("a", &[], 0, 5, None).config.teams[0].max_users, 2)
        );
        assert!(plan(&present, &shares, |_| false).changes.is_empty(), "once");
    }

    #[test]
    fn what_cannot_be_renewed_whole_has_the_store_of_today() {
        let old = Some(("rediss://old.example:6380", "before"));
        let new = Some(("rediss://new.example:6380", "today"));
        let mut present = vec![Entries::new()];
        let half = CEILING / 2;
        let mut shares: BTreeMap<String, Share> = [
            ("a".to_owned(), Share::Config(bundle_with("a", &["one"], half, 10, old))),
            ("b".to_owned(), Share::Config(bundle_with("b", &["two"], 1_000, 10, old))),
            config("c", &["three"], half - 4_000),
        ]
        .into();
        settle(&mut present, &shares);
        // One does not fit any more, one cannot be made whole.
        shares.extend([
            ("a".to_owned(), Share::Config(bundle_with("a", &["one"], half + 10_000, 10, new))),
            ("b".to_owned(), Share::Kept(bundle_with("b", &["two"], 0, 10, new))),
        ]);
        settle(&mut present, &shares);
        for namespace in ["a", "b"] {
            let (config, files) = entry(&present[0], namespace);
            let wanted = bundle_with(namespace, &[], 0, 10, new);
            assert_eq!(config.store, wanted.config.store);
            assert_eq!((&*files["store.password"], files["credential"].len() > 900), (&b"today"[..], true));
        }
        assert!(plan(&present, &shares, |_| false).changes.is_empty(), "once");
        // And none where there is none any more.
        shares.insert("b".to_owned(), Share::Kept(bundle("b", &["two"], 0)));
        settle(&mut present, &shares);
        let (config, files) = entry(&present[0], "b");
        assert!(config.store.is_none() && !files.contains_key("store.password"));
    }

    #[test]
    fn what_is_no_namespaces_takes_no_room_of_theirs() {
        let issuer = ("_issuer".to_owned(), vec![b'k'; 1_000]);
        let shop = bundle("shop", &["alice"], CEILING - 1_200);
        let shares: BTreeMap<String, Share> = [("shop".to_owned(), Share::Config(shop))].into();
        let plan = plan(&[Entries::from([issuer])], &shares, |_| false);
        assert!(plan.left_out.is_empty() && plan.changes[&0]["shop"].is_some(), "{:?}", plan.left_out);
        assert_eq!(plan.changes[&0].get("_issuer"), Some(&None));
    }
}
