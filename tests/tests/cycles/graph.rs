//! Cycles: strongly connected components of more than one file.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
};

use crate::tree::{Tree, Why};

/// Files that lead to each other.
#[derive(Debug)]
pub struct Cycle {
    /// How many there are.
    pub files: usize,
    /// The shortest way round: each file, why it leads to the next; the last leads to the first.
    pub shortest: Vec<(usize, Why)>,
}

type Arrows = [BTreeMap<usize, Why>];

/// All cycles of a crate.
pub fn cycles(tree: &Tree) -> Vec<Cycle> {
    let arrows = tree.arrows();
    let reached: Vec<BTreeSet<usize>> = (0..arrows.len()).map(|from| reached(&arrows, from)).collect();
    let mut seen = BTreeSet::new();
    let mut cycles = Vec::new();
    for file in 0..arrows.len() {
        if !reached[file].contains(&file) || seen.contains(&file) {
            continue;
        }
        let circle: Vec<usize> =
            reached[file].iter().copied().filter(|other| reached[*other].contains(&file)).collect();
        let ways = circle.iter().filter_map(|from| way_round(&arrows, *from));
        let shortest = ways.min_by_key(Vec::len).unwrap_or_default();
        cycles.push(Cycle { files: circle.len(), shortest });
        seen.extend(circle);
    }
    cycles
}

/// All that a file leads to, over others as well; itself only if there is a way back.
fn reached(arrows: &Arrows, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        open.extend(arrows[file].keys().filter(|to| reached.insert(**to)));
    }
    reached
}

/// The shortest way from a file back to itself.
fn way_round(arrows: &Arrows, from: usize) -> Option<Vec<(usize, Why)>> {
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    let mut open = VecDeque::from([from]);
    while let Some(file) = open.pop_front() {
        for to in arrows[file].keys() {
            if *to == from {
                let mut files = vec![file];
                while let Some(file) = before.get(&files[files.len() - 1]) {
                    files.push(*file);
                }
                files.reverse();
                let next = files.iter().skip(1).chain([&from]);
                return Some(files.iter().zip(next).map(|(file, next)| (*file, arrows[*file][next].clone())).collect());
            }
            if !before.contains_key(to) {
                before.insert(*to, file);
                open.push_back(*to);
            }
        }
    }
    None
}

impl Cycle {
    /// For people: each file of the shortest way with the line that leads on.
    pub fn describe(&self, tree: &Tree, root: &Path) -> String {
        let steps = self.shortest.iter().map(|(file, why)| {
            let path = tree.files[*file].strip_prefix(root).unwrap_or(&tree.files[*file]);
            format!("\n    {}:{} leads on by {}", path.display(), why.line, why.path)
        });
        format!("a cycle of {} files{}", self.files, steps.collect::<String>())
    }
}
