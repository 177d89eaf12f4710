//! Sets of models, as lists of names and of prefixes followed by `*` describe them. Pure.

use std::{
    collections::BTreeSet,
    ops::Bound::{Included, Unbounded},
    sync::Arc,
};

use vectoll_config::ModelPattern;

/// A set of models. Two that hold the same are equal: nothing in it is covered by something else in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSet {
    names: BTreeSet<Arc<str>>,
    prefixes: BTreeSet<Arc<str>>,
}

impl ModelSet {
    /// Every model.
    pub(crate) fn all() -> Self {
        Self { names: BTreeSet::new(), prefixes: BTreeSet::from(["".into()]) }
    }

    /// What a list of a spec says; without one, every model. What is no pattern is none: the spec's own conditions say so.
    pub(crate) fn of_list(list: Option<&[String]>) -> Self {
        list.map_or_else(Self::all, |list| list.iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// The models that are in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut both = Self::default();
        both.names.extend(self.names.iter().filter(|name| other.has(name)).cloned());
        both.names.extend(other.names.iter().filter(|name| self.has(name)).cloned());
        both.prefixes.extend(self.prefixes.iter().filter(|prefix| other.covers_all_of(prefix)).cloned());
        both.prefixes.extend(other.prefixes.iter().filter(|prefix| self.covers_all_of(prefix)).cloned());
        both
    }

    /// Whether a pattern describes a model of the set.
    pub(crate) fn overlaps(&self, pattern: &ModelPattern) -> bool {
        match pattern {
            ModelPattern::Exact(name) => self.has(name),
            ModelPattern::Prefix(prefix) => {
                let next = |set: &BTreeSet<Arc<str>>| {
                    let mut from = set.range::<str, _>((Included(&**prefix), Unbounded));
                    from.next().is_some_and(|found| found.starts_with(&**prefix))
                };
                next(&self.names) || next(&self.prefixes) || self.covers_all_of(prefix)
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name) || self.prefixes.iter().any(|prefix| name.starts_with(&**prefix))
    }

    /// Whether every model that begins so is in the set.
    fn covers_all_of(&self, prefix: &str) -> bool {
        self.prefixes.iter().any(|wider| prefix.starts_with(&**wider))
    }

    fn insert(&mut self, pattern: ModelPattern) {
        match pattern {
            ModelPattern::Exact(name) => {
                if !self.has(&name) {
                    self.names.insert(name);
                }
            }
            ModelPattern::Prefix(prefix) => {
                if !self.covers_all_of(&prefix) {
                    self.names.retain(|name| !name.starts_with(&*prefix));
                    self.prefixes.retain(|narrower| !narrower.starts_with(&*prefix));
                    self.prefixes.insert(prefix);
                }
            }
        }
    }
}

impl Extend<ModelPattern> for ModelSet {
    fn extend<T: IntoIterator<Item = ModelPattern>>(&mut self, patterns: T) {
        for pattern in patterns {
            self.insert(pattern);
        }
    }
}

impl FromIterator<ModelPattern> for ModelSet {
    fn from_iter<T: IntoIterator<Item = ModelPattern>>(patterns: T) -> Self {
        let mut set = Self::default();
        set.extend(patterns);
        set
    }
}

impl IntoIterator for ModelSet {
    type Item = ModelPattern;
    type IntoIter = Box<dyn Iterator<Item = ModelPattern>>;
    fn into_iter(self) -> Self::IntoIter {
        let names = self.names.into_iter().map(ModelPattern::Exact);
        Box::new(names.chain(self.prefixes.into_iter().map(ModelPattern::Prefix)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn set(list: &[&str]) -> ModelSet {
        list.iter().map(|text| text.parse::<ModelPattern>().unwrap()).collect()
    }

    #[test]
    fn what_is_covered_is_not_kept() {
        assert_eq!(set(&["a", "ab*", "abc", "abc*"]), set(&["ab*", "a"]));
        assert_eq!(set(&["x", "y*", "*"]), ModelSet::all());
        assert_eq!(ModelSet::of_list(None), ModelSet::all());
        assert_eq!(
            ModelSet::of_list(Some(&["a*b".to_owned()])),
            ModelSet::default(),
            "a spec that is invalid says so itself"
        );
    }

    fn pattern() -> impl Strategy<Value = String> {
        "[ab]{1,3}\\*?|\\*"
    }

    proptest! {
        /// Over all names that are long enough to tell patterns of these lengths apart.
        #[test]
        fn sets_say_what_their_lists_say(
            one in prop::collection::vec(pattern(), 0..4), other in prop::collection::vec(pattern(), 0..4), asked in pattern()
        ) {
            let parsed = |list: &[String]| -> Vec<ModelPattern> { list.iter().map(|text| text.parse().unwrap()).collect() };
            let covers = |list: &[ModelPattern], name: &str| list.iter().any(|pattern| pattern.covers(name));
            let names: Vec<String> = (1..=4u32)
                .flat_map(|length| (0..1u32 << length).map(move |bits| {
                    (0..length).map(|at| if (bits >> at) & 1 == 1 { 'b' } else { 'a' }).collect()
                }))
                .collect();
            let (one, other) = (parsed(&one), parsed(&other));
            let asked: ModelPattern = asked.parse().unwrap();
            let sets = [one.iter().cloned().collect::<ModelSet>(), other.iter().cloned().collect()];
            let both = sets[0].and(&sets[1]);
            for name in &names {
                prop_assert_eq!(sets[0].has(name), covers(&one, name));
                prop_assert_eq!(both.has(name), covers(&one, name) && covers(&other, name));
            }
            prop_assert_eq!(sets[0].overlaps(&asked), names.iter().any(|name| asked.covers(name) && covers(&one, name)));
        }
    }
}
