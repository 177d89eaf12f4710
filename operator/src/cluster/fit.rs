//! What fits into a namespace's config Secret. Pure.
//!
//! New keys have nine tenths of it; the rest is for what those that are there may yet need. If even that is not enough, values in
//! their grace period go first, those first that end first, and then what stands behind routes: never a key that works for one that
//! is new, nor for a route. What ends a key can always be written.

mod routes;
mod size;

use std::collections::BTreeSet;

use vectoll_config::{ObjectName, entry_size, v1, write_v1};

pub(super) use self::size::{Credentials, size_of_files};
use crate::observed_state::Kind;

/// What a Secret may hold, in bytes.
pub(super) const CEILING: usize = 1024 * 1024;
/// From here on a namespace takes no further keys.
pub(super) const ROOM: usize = CEILING / 10 * 9;

/// What else there is leaves no place for any key or route.
#[derive(Debug, thiserror::Error)]
#[error(
    "the config of this namespace does not fit into a Secret, which holds {CEILING} bytes: {0} bytes are Teams and names of models that \
     its keys see. Shorten those, or spread the keys over several namespaces"
)]
pub(super) struct TooLarge(pub(super) usize);

/// What had to stay out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Surplus {
    /// Keys, as a whole.
    pub(super) keys: BTreeSet<ObjectName>,
    /// Routes, of which only the names are there.
    pub(super) routes: BTreeSet<ObjectName>,
    /// Keys whose values of before were ended early.
    pub(super) shortened: BTreeSet<ObjectName>,
}

/// Takes out of a config, and of the files beside it, what does not fit into a Secret. `is_in` says which keys the sidecars have already, `age` which
/// of two keys, or of two routes, goes first. An error is [`TooLarge`] where neither keys nor routes are what is too much.
pub(super) fn fit<A: Ord>(
    config: &mut v1::Config,
    files: &mut Credentials,
    is_in: impl Fn(&ObjectName) -> bool,
    age: impl Fn(Kind, &ObjectName) -> A,
) -> anyhow::Result<Surplus> {
    fit_to(CEILING, config, files, is_in, age)
}

/// The same for so many bytes, of which new keys have nine tenths.
pub(super) fn fit_to<A: Ord>(
    ceiling: usize,
    config: &mut v1::Config,
    files: &mut Credentials,
    is_in: impl Fn(&ObjectName) -> bool,
    age: impl Fn(Kind, &ObjectName) -> A,
) -> anyhow::Result<Surplus> {
    let for_new = ceiling / 10 * 9;
    let mut surplus = Surplus::default();
    let mut sizes = config.keys.iter().map(entry_size).collect::<Result<Vec<usize>, _>>()?;
    let in_force: Vec<bool> = config.keys.iter().map(|key| is_in(&key.name)).collect();
    let stubs = v1::Config { keys: Vec::new(), routes: routes::bare(&config.routes), ..config.clone() };
    let base = write_v1(&stubs)?.len() + routes::files_of_others(config, files);
    if base > ceiling {
        return Err(TooLarge(base).into());
    }
    let room = (ceiling - base).saturating_sub(live_size(config, &in_force)?);
    surplus.routes = routes::shed(config, files, room, |name| age(Kind::ModelRoute, name))?;
    let keyless = v1::Config { keys: Vec::new(), ..config.clone() };
    let fixed = write_v1(&keyless)?.len() + size_of_files(files);
    let mut taken =
        fixed + sizes.iter().zip(&in_force).filter(|(_, is_in)| **is_in).map(|(size, _)| size).sum::<usize>();
    if taken > ceiling {
        taken -= shorten(config, &in_force, &mut sizes, taken - ceiling, &mut surplus)?;
    }
    let mut order: Vec<usize> = (0..config.keys.len()).collect();
    order.sort_by_key(|&at| config.keys.get(at).map(|key| age(Kind::ApiKey, &key.name)));
    let name = |at: usize| config.keys.get(at).map(|key| key.name.clone());
    let is_member = |at: usize| in_force.get(at).copied().unwrap_or_default();
    let size = |at: usize| sizes.get(at).copied().unwrap_or_default();
    // Nothing else is left to give way: the youngest of those that are there.
    for &at in order.iter().rev().filter(|&&at| is_member(at)) {
        if taken <= ceiling {
            break;
        }
        taken -= size(at);
        surplus.keys.extend(name(at));
    }
    // No gap: a small new key does not overtake a larger one that is older.
    let mut is_full = false;
    for &at in order.iter().filter(|&&at| !is_member(at)) {
        is_full |= taken + size(at) > for_new;
        if is_full {
            surplus.keys.extend(name(at));
        } else {
            taken += size(at);
        }
    }
    config.keys.retain(|key| !surplus.keys.contains(&key.name));
    Ok(surplus)
}

/// The bytes of the keys that are there, with the one value of each that does not end: what routes have to leave to them.
fn live_size(config: &v1::Config, in_force: &[bool]) -> Result<usize, serde_json::Error> {
    let live = config.keys.iter().zip(in_force).filter(|(_, is_in)| **is_in);
    live.map(|(key, _)| {
        let credentials = key.credentials.iter().filter(|one| one.expires_at.is_none()).copied().collect();
        entry_size(&v1::Key { credentials, ..key.clone() })
    })
    .sum()
}

/// Ends values of before, those first that end first, until so many bytes are free. Returns how many are.
fn shorten(
    config: &mut v1::Config,
    in_force: &[bool],
    sizes: &mut [usize],
    wanted: usize,
    surplus: &mut Surplus,
) -> Result<usize, serde_json::Error> {
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
        let shorter = entry_size(key)?;
        free += size.saturating_sub(shorter);
        *size = shorter;
        surplus.shortened.insert(key.name.clone());
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use std::collections::BTreeMap;

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

    fn age(_: Kind, name: &ObjectName) -> usize {
        number(name)
    }

    #[test]
    fn the_size_of_a_key_is_what_it_adds_to_the_file() {
        let (one, two) = (config(vec![key(1, 0)]), config(vec![key(1, 0), key(2, 3)]));
        let added = write_v1(&two).unwrap().len() - write_v1(&one).unwrap().len();
        assert_eq!(entry_size(&key(2, 3)).unwrap(), added);
    }

    #[test]
    fn new_keys_stay_out_and_those_that_are_there_stay() {
        // Older ones have lower numbers; those above 5,000 are there already.
        let mut all = config((0..8_000).map(|n| key(n, 0)).collect());
        let surplus = fit(&mut all, &mut BTreeMap::new(), |name| number(name) > 5_000, age).unwrap();
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
        let surplus = fit(&mut all, &mut BTreeMap::new(), |_| true, age).unwrap();
        assert!(surplus.keys.is_empty(), "{} live keys were refused", surplus.keys.len());
        let size = write_v1(&all).unwrap().len();
        assert!(size <= CEILING && size > CEILING - 1_000, "{size}");
        assert!(all.keys.iter().all(|key| key.credentials[0].expires_at.is_none()), "the values of today");
        let ended = |key: &v1::Key, part: usize| {
            !key.credentials.iter().any(|one| one.sha256 == self::key(number(&key.name), 2).credentials[part].sha256)
        };
        assert!(ended(&all.keys[0], 1) && !ended(&all.keys[3_999], 2), "what ends first goes first");
    }

    /// A route of one backend whose credential is a file of so many bytes; the older one has the lower number.
    fn route(n: usize, namespace: &str, bytes: usize) -> (v1::Route, (String, Vec<u8>)) {
        let file = format!("credential.{n}");
        let yaml = format!(
            "{{name: {namespace}/route-{n:05}, models: [model-{n}, other-{n}], backends: [{{name: b, weight: 1, timeoutSeconds: 1, tokens: \
             {{factor: {{maxPerByte: 1, maxPerInput: 0}}}}, provider: {{native: {{baseURL: 'https://api.cohere.com', api: {{cohere: {{}}}}, \
             auth: {{bearer: {{file: {file}}}}}}}}}}}]}}"
        );
        (serde_yaml::from_str(&yaml).unwrap(), (file, vec![b'x'; bytes]))
    }

    fn with_routes(keys: Vec<v1::Key>, routes: Vec<(v1::Route, (String, Vec<u8>))>) -> (v1::Config, Credentials) {
        let (routes, files): (Vec<_>, Credentials) = routes.into_iter().unzip();
        (v1::Config { routes, ..config(keys) }, files)
    }

    fn total(config: &v1::Config, files: &Credentials) -> usize {
        write_v1(config).unwrap().len() + size_of_files(files)
    }

    fn routes_first(kind: Kind, name: &ObjectName) -> (bool, usize) {
        match kind {
            Kind::ModelRoute => {
                (name.namespace() != "apps", name.name().strip_prefix("route-").unwrap().parse().unwrap())
            }
            Kind::ApiKey | Kind::Team => (false, number(name)),
        }
    }

    #[test]
    fn routes_that_do_not_fit_keep_their_names_only_and_every_key_stays() {
        let routes = vec![
            route(1, "others", 600_000),
            route(2, "apps", 100_000),
            route(3, "apps", 600_000),
            route(4, "apps", 500_000),
            route(5, "apps", 50_000),
        ];
        let (mut all, mut files) = with_routes((0..1_000).map(|n| key(n, 0)).collect(), routes);
        files.insert("store.password".to_owned(), vec![b'p'; 64]);
        let surplus = fit(&mut all, &mut files, |_| true, routes_first).unwrap();
        let out: Vec<String> = surplus.routes.iter().map(ToString::to_string).collect();
        // One's own go before those of others, older ones before younger, and what is too large keeps nothing else out.
        assert_eq!(out, ["apps/route-00004", "others/route-00001"]);
        assert!(surplus.keys.is_empty() && surplus.shortened.is_empty() && all.keys.len() == 1_000);
        assert!(total(&all, &files) <= CEILING);
        let left =
            |n: usize| all.routes.iter().find(|route| route.models[0].to_string() == format!("model-{n}")).unwrap();
        assert!(left(4).backends.is_empty() && left(4).models.len() == 2, "its callers' inputs went elsewhere");
        assert!(!left(3).backends.is_empty() && !left(5).backends.is_empty());
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["credential.2", "credential.3", "credential.5", "store.password"]);
        all.generation = 1;
        vectoll_config::check_v1(&all).unwrap();
        vectoll_config::check_files_v1(&all, |name| files.get(name).map(Vec::as_slice)).unwrap();
        // What is fitted stays as it is.
        assert_eq!(fit(&mut all, &mut files, |_| true, routes_first).unwrap(), Surplus::default());
    }

    #[test]
    fn a_route_gives_way_to_keys_that_work_and_not_to_new_ones() {
        let keys = || (0..3_000).map(|n| key(n, 0)).collect::<Vec<_>>();
        let (mut all, mut files) = with_routes(keys(), vec![route(1, "apps", 700_000)]);
        let surplus = fit(&mut all, &mut files, |_| true, routes_first).unwrap();
        assert!(surplus.keys.is_empty() && surplus.routes.len() == 1 && files.is_empty(), "{}", surplus.keys.len());
        let (mut all, mut files) = with_routes(keys(), vec![route(1, "apps", 700_000)]);
        let surplus = fit(&mut all, &mut files, |name| number(name) < 100, routes_first).unwrap();
        assert!(surplus.routes.is_empty() && !surplus.keys.is_empty());
        assert!(all.keys.len() > 100 && total(&all, &files) <= ROOM, "{}", all.keys.len());
    }

    #[test]
    fn a_credential_of_several_routes_is_counted_once() {
        let shared = |n: usize| {
            let (mut route, (_, content)) = route(n, "apps", 700_000);
            let yaml = serde_yaml::to_string(&route).unwrap().replace(&format!("credential.{n}"), "credential.1");
            route = serde_yaml::from_str(&yaml).unwrap();
            (route, ("credential.1".to_owned(), content))
        };
        let (mut all, mut files) =
            with_routes(Vec::new(), vec![shared(1), shared(2), shared(3), route(4, "apps", 500_000)]);
        let surplus = fit(&mut all, &mut files, |_| true, routes_first).unwrap();
        assert_eq!(surplus.routes.iter().map(ObjectName::name).collect::<Vec<_>>(), ["route-00004"]);
        assert_eq!(files.len(), 1);
    }
}
