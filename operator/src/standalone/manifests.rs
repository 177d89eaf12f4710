//! A folder of manifests that people edit while it is read.
//!
//! Whatever cannot be read leaves what it was before in force: a document with a mistake its last good version, a file
//! that is broken or half-written all that was in it, a folder that is gone everything. Only what reads well and is no
//! longer there is taken away.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use vectoll_config::ObjectName;

use super::manifest::{Document, Id, Resource, read};
use crate::{
    observed_state::{ObservedState, ReachableModels},
    reachable_models::reachable_models,
};

/// The largest file that is read: a resource holds at most about 1 MiB.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Something that could not be read, with file and line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub(super) file: PathBuf,
    pub(super) line: Option<usize>,
    pub(super) reason: String,
}

/// The folder, and what was last good in it.
pub(super) struct Manifests {
    folder: PathBuf,
    namespace: String,
    files: BTreeMap<PathBuf, File>,
    /// The objects in force.
    objects: BTreeMap<Id, KeptResource>,
}

struct KeptResource {
    file: PathBuf,
    resource: Resource,
}

/// A file as it was last read.
struct File {
    content: Vec<u8>,
    good: Vec<(Id, Resource)>,
    /// Named, but wrong: their last good versions stay.
    bad: BTreeSet<Id>,
    /// Something in it could not even be named: nothing that was in it is taken away.
    broken: bool,
    problems: Vec<Problem>,
}

impl Manifests {
    pub(super) fn new(folder: &Path, namespace: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            namespace: namespace.to_owned(),
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
        }
    }

    /// Reads the folder. What is returned is wrong at present; what was good before stays in force.
    pub(super) fn read(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut paths = Vec::new();
        let mut closed = Vec::new();
        walk(&self.folder, &mut paths, &mut closed);
        for (folder, error) in &closed {
            let reason = format!("failed to read the folder ({error}): what was in it stays in force");
            problems.push(Problem { file: folder.clone(), line: None, reason });
        }
        let mut unreadable: BTreeSet<PathBuf> = self
            .files
            .keys()
            .filter(|file| closed.iter().any(|(folder, _)| file.starts_with(folder)))
            .cloned()
            .collect();
        for path in &paths {
            match content(path) {
                Ok(Some(content)) => {
                    if self.files.get(path).is_none_or(|file| file.content != content) {
                        let file = parse(path, content, &self.namespace);
                        self.files.insert(path.clone(), file);
                    }
                }
                // Taken away between listing and reading.
                Ok(None) => {
                    self.files.remove(path);
                }
                Err(error) => {
                    unreadable.insert(path.clone());
                    problems.push(Problem { file: path.clone(), line: None, reason: error.to_string() });
                }
            }
        }
        self.files.retain(|path, _| paths.contains(path) || unreadable.contains(path));
        self.merge(&unreadable, &mut problems);
        problems
    }

    fn merge(&mut self, unreadable: &BTreeSet<PathBuf>, problems: &mut Vec<Problem>) {
        let mut objects: BTreeMap<Id, KeptResource> = BTreeMap::new();
        let mut doubles: HashMap<PathBuf, Vec<Id>> = HashMap::new();
        // An object belongs to the file that it is in force from, as long as that file has it: a copy changes nothing.
        for (id, kept) in &self.objects {
            let good = self.files.get(&kept.file).and_then(|file| file.good.iter().find(|(good, _)| good == id));
            if let Some((_, resource)) = good {
                objects.insert(id.clone(), KeptResource { file: kept.file.clone(), resource: resource.clone() });
            }
        }
        let mut met = BTreeSet::new();
        for (path, file) in &self.files {
            problems.extend(file.problems.iter().cloned());
            for (id, resource) in &file.good {
                let again = !met.insert((path, id));
                if again || objects.get(id).is_some_and(|kept| kept.file != *path) {
                    doubles.entry(path.clone()).or_default().push(id.clone());
                } else {
                    objects.insert(id.clone(), KeptResource { file: path.clone(), resource: resource.clone() });
                }
            }
        }
        for (file, ids) in doubles {
            for Id { kind, name } in ids {
                let reason = format!("{kind} {name} is in another file or document as well: that one is used");
                problems.push(Problem { file: file.clone(), line: None, reason });
            }
        }
        let bad: BTreeSet<&Id> = self.files.values().flat_map(|file| &file.bad).collect();
        for (id, kept) in std::mem::take(&mut self.objects) {
            let stays = bad.contains(&id)
                || unreadable.contains(&kept.file)
                || self.files.get(&kept.file).is_some_and(|file| file.broken);
            if stays {
                objects.entry(id).or_insert(kept);
            }
        }
        self.objects = objects;
    }

    /// The objects in force.
    pub(super) fn observed(&self) -> ObservedState {
        let mut observed = ObservedState { secrets_are_authored: true, ..ObservedState::default() };
        for (Id { name, .. }, KeptResource { resource, .. }) in &self.objects {
            let name = name.clone();
            match resource.clone() {
                Resource::ApiKey(object) => {
                    observed.api_keys.insert(name, object.into());
                }
                Resource::Team(object) => {
                    observed.teams.insert(name, object.into());
                }
                Resource::ModelRoute(object) => {
                    observed.routes.insert(name, object.into());
                }
                Resource::Secret(content) => {
                    observed.secrets.insert(name, content.into());
                }
                Resource::Namespace(labels) => {
                    observed.namespaces.insert(name.name().to_owned(), labels);
                }
            }
        }
        observed.reachable_models = Some(reachable_by_namespace(&observed));
        observed
    }
}

/// What keys may use, by their namespace.
fn reachable_by_namespace(observed: &ObservedState) -> BTreeMap<String, ReachableModels> {
    let namespaces: BTreeSet<&str> = observed.api_keys.keys().map(ObjectName::namespace).collect();
    let of = |namespace: &str| {
        let labels = observed.namespaces.get(namespace).cloned().unwrap_or_default();
        let keys = observed.api_keys.iter().filter(|(name, _)| name.namespace() == namespace);
        let team = |name: &ObjectName| observed.teams.get(name).map(|team| &team.spec);
        reachable_models(namespace, &labels, keys.map(|(_, key)| &key.spec), team)
    };
    namespaces.into_iter().map(|namespace| (namespace.to_owned(), of(namespace))).collect()
}

/// All files of manifests below a folder, in order, and the folders that could not be read. Hidden ones are editors' and
/// version control's own.
fn walk(folder: &Path, paths: &mut Vec<PathBuf>, closed: &mut Vec<(PathBuf, io::Error)>) {
    let mut entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => {
            closed.push((folder.to_owned(), error));
            return;
        }
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            walk(&path, paths, closed);
        } else if is_manifest(&path) && path.is_file() {
            paths.push(path);
        }
    }
}

/// Whether a file's name is that of a manifest.
pub(super) fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json")
}

fn content(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let read = || {
        if fs::metadata(path)?.len() > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("larger than {MAX_FILE_BYTES} bytes")));
        }
        fs::read(path)
    };
    match read() {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("failed to read it: {error}"))),
    }
}

fn parse(path: &Path, content: Vec<u8>, namespace: &str) -> File {
    let mut file =
        File { content: Vec::new(), good: Vec::new(), bad: BTreeSet::new(), broken: false, problems: Vec::new() };
    let problem = |line, reason| Problem { file: path.to_owned(), line, reason };
    match std::str::from_utf8(&content) {
        Err(_) => {
            file.broken = true;
            file.problems.push(problem(None, "not UTF-8".to_owned()));
        }
        Ok(text) => {
            for document in read(text, namespace) {
                match document {
                    Document::Good(id, resource) => file.good.push((id, resource)),
                    Document::Bad(id, fault) => {
                        file.bad.insert(id);
                        file.problems.push(problem(fault.line, fault.reason));
                    }
                    Document::Broken(fault) => {
                        file.broken = true;
                        file.problems.push(problem(fault.line, fault.reason));
                    }
                    Document::Foreign => {}
                }
            }
        }
    }
    file.content = content;
    file
}
