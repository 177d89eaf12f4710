//! The modules of a crate, and the arrows between its files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use proc_macro2::TokenStream;

use crate::module::{self, Import, Module};

/// How often a name may be passed on before it is defined: names are not passed on in a ring.
const MAX_REEXPORTS: usize = 16;

/// The files of a crate.
pub struct Tree {
    pub files: Vec<PathBuf>,
    /// By path, each with the number of its file.
    modules: BTreeMap<Vec<String>, (usize, Module)>,
}

/// Why one file leads to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    pub line: usize,
    pub path: String,
}

/// Where a path leads.
enum Found {
    /// To something in this file.
    Item(usize),
    /// To a module as such.
    Module,
    /// Out of the crate, or nowhere.
    Elsewhere,
}

impl Tree {
    /// Reads a crate from its root file.
    pub fn new(root: &Path, source: &dyn Fn(&Path) -> Option<String>) -> anyhow::Result<Self> {
        let mut tree = Self { files: Vec::new(), modules: BTreeMap::new() };
        let folder = root.parent().context("no folder")?;
        tree.add(root, folder, Vec::new(), source)?;
        Ok(tree)
    }

    /// Adds a file, whose modules stand in `folder`.
    fn add(
        &mut self,
        file: &Path,
        folder: &Path,
        path: Vec<String>,
        source: &dyn Fn(&Path) -> Option<String>,
    ) -> anyhow::Result<()> {
        let text = source(file).with_context(|| format!("no file {}", file.display()))?;
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let number = self.files.len();
        self.files.push(file.to_owned());
        let depth = path.len();
        for module in module::read(path, tokens) {
            let folder: PathBuf = module.path[depth..].iter().fold(folder.to_owned(), |folder, name| folder.join(name));
            for name in &module.declared {
                let path = module.path.iter().cloned().chain([name.clone()]).collect();
                let file = folder.join(format!("{name}.rs"));
                self.add(&file, &folder.join(name), path, source)?;
            }
            self.modules.insert(module.path.clone(), (number, module));
        }
        Ok(())
    }

    /// Which file leads to which, and why: the first line of its `use`, or of a path.
    pub fn arrows(&self) -> Vec<BTreeMap<usize, Why>> {
        let mut arrows = vec![BTreeMap::new(); self.files.len()];
        for (file, module) in self.modules.values() {
            let imports = module.imports.iter().filter(|import| !import.reexported && import.name != "*");
            let globs = module.imports.iter().filter(|import| !import.reexported && import.name == "*");
            let uses = imports.map(|import| (self.imported(module, import, 0), &import.path, import.line));
            let all = globs.map(|import| (self.all_of(module, import), &import.path, import.line));
            let mentions = module.mentions.iter();
            let mentions = mentions.map(|mention| (self.find(module, &mention.path, 0), &mention.path, mention.line));
            for (found, path, line) in uses.chain(all).chain(mentions) {
                if let Found::Item(to) = found
                    && to != *file
                {
                    arrows[*file].entry(to).or_insert_with(|| Why { line, path: path.join("::") });
                }
            }
        }
        arrows
    }

    /// All of a module is all of its file; all of an enum is where that is.
    fn all_of(&self, module: &Module, import: &Import) -> Found {
        match self.absolute(module, &import.path).and_then(|path| self.modules.get(&path)) {
            Some((file, _)) => Found::Item(*file),
            None => self.imported(module, import, 0),
        }
    }

    fn imported(&self, module: &Module, import: &Import, depth: usize) -> Found {
        // A name that is brought in cannot lead over itself.
        match self.absolute(module, &import.path) {
            Some(path) => self.walk(&[], &path, depth + 1),
            None => match import.path.split_first() {
                Some((first, _)) if *first != import.name => self.find(module, &import.path, depth + 1),
                _ => Found::Elsewhere,
            },
        }
    }

    /// A path from the crate's root, if that can be told by its beginning.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut head = module.path.clone();
        match first.as_str() {
            "crate" => head.clear(),
            "self" => {}
            "super" => {
                head.pop();
                let mut rest = rest;
                while let Some((word, tail)) = rest.split_first()
                    && word == "super"
                {
                    head.pop();
                    rest = tail;
                }
                head.extend(rest.iter().cloned());
                return Some(head);
            }
            name => {
                head.push(name.to_owned());
                if !self.modules.contains_key(&head) {
                    return None;
                }
            }
        }
        head.extend(rest.iter().cloned());
        Some(head)
    }

    /// Where a path leads that stands in a module.
    fn find(&self, module: &Module, path: &[String], depth: usize) -> Found {
        let Some((first, rest)) = path.split_first() else { return Found::Elsewhere };
        let is_of_place = |word: &String| ["crate", "self", "super"].contains(&word.as_str());
        // As in `pub(super)`.
        if path.iter().all(is_of_place) {
            return Found::Module;
        }
        if is_of_place(first) {
            return self.absolute(module, path).map_or(Found::Elsewhere, |path| self.walk(&[], &path, depth));
        }
        if depth > MAX_REEXPORTS {
            return Found::Elsewhere;
        }
        let named = module.imports.iter().find(|import| import.name == *first);
        match named {
            Some(import) => self.passed_on(module, import, rest, depth),
            None => self.walk(&module.path, path, depth),
        }
    }

    /// Where a path leads that goes on from an import.
    fn passed_on(&self, module: &Module, import: &Import, rest: &[String], depth: usize) -> Found {
        match self.absolute(module, &import.path) {
            Some(mut path) => {
                path.extend(rest.iter().cloned());
                self.walk(&[], &path, depth + 1)
            }
            None if import.path.first() == Some(&import.name) => Found::Elsewhere,
            None => {
                let path: Vec<String> = import.path.iter().chain(rest).cloned().collect();
                self.find(module, &path, depth + 1)
            }
        }
    }

    /// Follows a path down from a module, and on through what is passed on there.
    fn walk(&self, from: &[String], path: &[String], depth: usize) -> Found {
        if depth > MAX_REEXPORTS {
            return Found::Elsewhere;
        }
        let mut at = from.to_vec();
        for (number, name) in path.iter().enumerate() {
            let Some((file, module)) = self.modules.get(&at) else { return Found::Elsewhere };
            let rest = &path[number + 1..];
            let child: Vec<String> = at.iter().cloned().chain([name.clone()]).collect();
            let import = module.imports.iter().find(|import| import.name == *name && !import.local);
            // A module and a function may have one name: what comes after it tells.
            if self.modules.contains_key(&child) && (!rest.is_empty() || import.is_none()) {
                at = child;
                continue;
            }
            if module.defined.contains(name) {
                return Found::Item(*file);
            }
            if let Some(import) = import {
                return self.passed_on(module, import, rest, depth);
            }
            let globs = module.imports.iter().filter(|import| import.name == "*");
            for path in globs.filter_map(|import| self.absolute(module, &import.path)) {
                if self.names_of(&path, depth + 1).contains(name) {
                    let path: Vec<String> = path.iter().chain([name]).chain(rest).cloned().collect();
                    return self.walk(&[], &path, depth + 1);
                }
            }
            // The first name of a path may be of the language or of another crate; after a module it is the module's.
            return if number == 0 { Found::Elsewhere } else { Found::Item(*file) };
        }
        Found::Module
    }

    /// What a module offers to those who take all of it.
    fn names_of(&self, path: &[String], depth: usize) -> BTreeSet<String> {
        let Some((_, module)) = self.modules.get(path).filter(|_| depth <= MAX_REEXPORTS) else {
            return BTreeSet::new();
        };
        let (globs, names): (Vec<_>, Vec<_>) = module.imports.iter().partition(|import| import.name == "*");
        let more = globs.iter().filter_map(|import| self.absolute(module, &import.path));
        let more = more.flat_map(|path| self.names_of(&path, depth + 1));
        let own = module.defined.iter().cloned().chain(names.iter().map(|import| import.name.clone()));
        own.chain(more).collect()
    }
}
