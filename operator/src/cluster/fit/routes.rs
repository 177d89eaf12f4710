//! Routes that do not fit in: they keep their names, or their callers' inputs would go to whatever route comes next, and lose what
//! stands behind them.

use std::collections::{BTreeMap, BTreeSet};

use vectoll_config::{ObjectName, entry_size, v1};

use super::size::{Credentials, size_of_file};

/// What a route takes beyond its names.
#[derive(Debug, Default)]
struct Weight {
    bytes: usize,
    /// Its credentials. Several routes may share one.
    files: BTreeSet<String>,
}

/// The routes with their names only, each in one entry.
pub(super) fn bare(routes: &[v1::Route]) -> Vec<v1::Route> {
    let mut by_name: Vec<v1::Route> = Vec::new();
    for route in routes {
        match by_name.last_mut().filter(|last| last.name == route.name) {
            Some(last) => last.models.extend(route.models.iter().cloned()),
            None => by_name.push(v1::Route { backends: Vec::new(), tags: Vec::new(), ..route.clone() }),
        }
    }
    by_name
}

/// Files that no route names: the store's.
pub(super) fn files_of_others(config: &v1::Config, files: &Credentials) -> usize {
    let of_routes: BTreeSet<&str> = config.routes.iter().flat_map(v1::Route::files).collect();
    files.iter().filter(|(name, _)| !of_routes.contains(name.as_str())).map(size_of_file).sum()
}

/// Takes what stands behind routes out until the others take no more than `room` bytes beyond their names. `order` says which go in
/// first. One that is too large does not keep a smaller one out.
pub(super) fn shed<A: Ord>(
    config: &mut v1::Config,
    files: &mut Credentials,
    room: usize,
    order: impl Fn(&ObjectName) -> A,
) -> Result<BTreeSet<ObjectName>, serde_json::Error> {
    let weights = weights(&config.routes)?;
    let mut names: Vec<&ObjectName> = weights.keys().collect();
    names.sort_by_key(|name| order(name));
    let mut taken = 0;
    let mut taken_files: BTreeSet<&str> = BTreeSet::new();
    let mut out = BTreeSet::new();
    for name in names {
        let Some(weight) = weights.get(name) else { continue };
        let new_files = weight.files.iter().filter(|file| !taken_files.contains(file.as_str()));
        let bytes =
            weight.bytes + new_files.filter_map(|file| files.get_key_value(file)).map(size_of_file).sum::<usize>();
        if bytes == 0 || taken + bytes <= room {
            taken += bytes;
            taken_files.extend(weight.files.iter().map(String::as_str));
        } else {
            out.insert(name.clone());
        }
    }
    if !out.is_empty() {
        let gone =
            weights.values().flat_map(|weight| &weight.files).filter(|file| !taken_files.contains(file.as_str()));
        for file in gone {
            files.remove(file);
        }
        let (stubs, whole): (Vec<_>, Vec<_>) =
            std::mem::take(&mut config.routes).into_iter().partition(|route| out.contains(&route.name));
        config.routes = whole;
        config.routes.extend(bare(&stubs));
        config.routes.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(out)
}

fn weights(routes: &[v1::Route]) -> Result<BTreeMap<ObjectName, Weight>, serde_json::Error> {
    let mut weights: BTreeMap<ObjectName, Weight> = BTreeMap::new();
    for route in routes {
        let weight = weights.entry(route.name.clone()).or_default();
        weight.bytes += entry_size(route)?;
        weight.files.extend(route.files().map(str::to_owned));
    }
    for stub in bare(routes) {
        if let Some(weight) = weights.get_mut(&stub.name) {
            weight.bytes = weight.bytes.saturating_sub(entry_size(&stub)?);
        }
    }
    Ok(weights)
}
