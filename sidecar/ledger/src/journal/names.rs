//! Names that a segment says a few times in full and by number from then on.
//!
//! A name is in full where it is used first and where it is used next, so that no single damaged record takes the name of others
//! with it, and once more where it is used at least [`APART`] bytes after the first. Numbers hold within a segment: each can be read
//! on its own.

use std::{
    borrow::Cow,
    hash::Hash,
    sync::{Arc, OnceLock},
};

use ahash::HashMap;
use serde::{Deserialize, Serialize};

use crate::charge::BudgetPeriod;

/// Names with numbers of one segment. Those beyond are in full each time: memory stays bounded.
const MAX_NAMES: u32 = 4_096;
/// How far from the first the third copy is, in bytes.
const APART: u64 = 8 * 1024;
/// How often a name is in full.
const COPIES: u8 = 3;

/// A name in a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Name<'a> {
    /// By its number.
    Known(u32),
    /// In full, and what its number is.
    New(u32, #[serde(borrow)] Cow<'a, str>),
    /// In full.
    Plain(#[serde(borrow)] Cow<'a, str>),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u32,
    copies: u8,
    /// Where the segment ended when it was new.
    first: u64,
}

/// What becomes of an entry if its record is not written after all.
#[derive(Debug)]
enum Undo {
    Text(Arc<str>, Option<Entry>),
    Period(Arc<BudgetPeriod>, Option<Entry>),
}

/// The names of the segment that is written.
#[derive(Debug, Default)]
pub(super) struct Names {
    texts: HashMap<Arc<str>, Entry>,
    periods: HashMap<Arc<BudgetPeriod>, Entry>,
    next: u32,
    /// Numbers below may be in the file.
    floor: u32,
    undo: Vec<Undo>,
}

impl Names {
    /// For a segment whose names are not known: all are written in full.
    pub(super) fn none() -> Self {
        Self { next: MAX_NAMES, floor: MAX_NAMES, ..Self::default() }
    }

    /// The record since the last of these calls is about to be written: its numbers may be in the file, even if that fails.
    pub(super) fn attempt(&mut self) {
        self.floor = self.next;
    }

    /// It is written.
    pub(super) fn keep(&mut self) {
        self.attempt();
        self.undo.clear();
    }

    /// It is not.
    pub(super) fn undo(&mut self) {
        self.next = self.floor;
        for undo in self.undo.drain(..).rev() {
            match undo {
                Undo::Text(text, before) => set(&mut self.texts, text, before),
                Undo::Period(period, before) => set(&mut self.periods, period, before),
            }
        }
    }

    /// A text, in a record that is written at `at`.
    pub(super) fn text<'a>(&mut self, text: &'a Arc<str>, at: u64) -> Name<'a> {
        match self.texts.get(text).copied() {
            Some(entry) if !is_due(entry, at) => Name::Known(entry.number),
            before => match self.enter(before, at) {
                Some(entry) => {
                    self.texts.insert(text.clone(), entry);
                    self.undo.push(Undo::Text(text.clone(), before));
                    Name::New(entry.number, Cow::Borrowed(text))
                }
                None => Name::Plain(Cow::Borrowed(text)),
            },
        }
    }

    /// The period of a budget, likewise: its name is the period as JSON.
    pub(super) fn period(&mut self, period: &Arc<BudgetPeriod>, at: u64) -> serde_json::Result<Name<'static>> {
        Ok(match self.periods.get(period).copied() {
            Some(entry) if !is_due(entry, at) => Name::Known(entry.number),
            before => {
                let text = Cow::Owned(serde_json::to_string(&**period)?);
                match self.enter(before, at) {
                    Some(entry) => {
                        self.periods.insert(period.clone(), entry);
                        self.undo.push(Undo::Period(period.clone(), before));
                        Name::New(entry.number, text)
                    }
                    None => Name::Plain(text),
                }
            }
        })
    }

    /// An entry with another copy; none: there are enough names.
    fn enter(&mut self, before: Option<Entry>, at: u64) -> Option<Entry> {
        if let Some(entry) = before {
            return Some(Entry { copies: entry.copies + 1, ..entry });
        }
        let number = self.next;
        if number >= MAX_NAMES {
            return None;
        }
        self.next += 1;
        Some(Entry { number, copies: 1, first: at })
    }
}

/// Whether a name is to be in full once more.
fn is_due(Entry { number: _, copies, first }: Entry, at: u64) -> bool {
    match copies {
        // Not in the same record: the two would be lost together.
        0 | 1 => at > first,
        copies => copies < COPIES && at >= first + APART,
    }
}

fn set<K: Hash + Eq>(of: &mut HashMap<K, Entry>, key: K, before: Option<Entry>) {
    match before {
        Some(before) => of.insert(key, before),
        None => of.remove(&key),
    };
}

/// The names of a segment that is read.
#[derive(Debug, Default)]
pub(super) struct NamesRead {
    by_number: HashMap<u32, LearnedName>,
}

/// A name, and what it was read as.
#[derive(Debug)]
struct LearnedName {
    text: Arc<str>,
    period: OnceLock<Option<Arc<BudgetPeriod>>>,
    /// Two names have its number: neither is to be believed.
    is_ambiguous: bool,
}

impl LearnedName {
    fn new(text: &str) -> Self {
        Self { text: Arc::from(text), period: OnceLock::new(), is_ambiguous: false }
    }

    fn period(&self) -> Option<Arc<BudgetPeriod>> {
        self.period.get_or_init(|| serde_json::from_str(&self.text).ok().map(Arc::new)).clone()
    }
}

impl NamesRead {
    /// Learns the number of a name.
    pub(super) fn learn(&mut self, name: &Name<'_>) {
        let Name::New(number, text) = name else { return };
        let learned = self.by_number.entry(*number).or_insert_with(|| LearnedName::new(text));
        learned.is_ambiguous |= *learned.text != **text;
    }

    fn get(&self, number: u32) -> Option<&LearnedName> {
        self.by_number.get(&number).filter(|learned| !learned.is_ambiguous)
    }

    /// The text; none: it is in no record that is whole.
    pub(super) fn text(&self, name: &Name<'_>) -> Option<Arc<str>> {
        match name {
            Name::Known(number) => Some(self.get(*number)?.text.clone()),
            Name::New(number, text) => match self.get(*number) {
                Some(learned) => Some(learned.text.clone()),
                None => Some(Arc::from(&**text)),
            },
            Name::Plain(text) => Some(Arc::from(&**text)),
        }
    }

    /// The period of a budget, likewise.
    pub(super) fn period(&self, name: &Name<'_>) -> Option<Arc<BudgetPeriod>> {
        match name {
            Name::Known(number) => self.get(*number)?.period(),
            Name::New(number, text) => {
                self.get(*number).map_or_else(|| LearnedName::new(text).period(), LearnedName::period)
            }
            Name::Plain(text) => LearnedName::new(text).period(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(name: &Name<'_>) -> (u32, bool) {
        match name {
            Name::Known(number) => (*number, false),
            Name::New(number, _) => (*number, true),
            Name::Plain(_) => panic!("{name:?}"),
        }
    }

    #[test]
    fn a_name_is_in_full_twice_and_once_more_further_on() {
        let (mut names, alice, bob): (_, Arc<str>, Arc<str>) = (Names::default(), "alice".into(), "bob".into());
        let mut at = |text: &Arc<str>, at: u64| {
            let found = number(&names.text(text, at));
            names.keep();
            found
        };
        assert_eq!([at(&alice, 10), at(&bob, 60), at(&alice, 100)], [(0, true), (1, true), (0, true)]);
        assert_eq!([at(&alice, 200), at(&alice, 9 + APART)], [(0, false), (0, false)]);
        assert_eq!([at(&alice, 10 + APART), at(&alice, 2 * APART)], [(0, true), (0, false)]);
        assert_eq!(at(&bob, 2 * APART), (1, true));
    }

    #[test]
    fn what_is_not_written_is_not_relied_on() {
        let (mut names, alice): (_, Arc<str>) = (Names::default(), "alice".into());
        assert_eq!(number(&names.text(&alice, 0)), (0, true));
        // As where the journal is full: nothing was tried.
        names.undo();
        assert_eq!(number(&names.text(&alice, 0)), (0, true));
        names.attempt();
        names.undo();
        // Under another number: part of the record may be there.
        assert_eq!(number(&names.text(&alice, 0)), (1, true));
        names.keep();
        assert_eq!(number(&names.text(&alice, 50)), (1, true));
        names.undo();
        assert_eq!(number(&names.text(&alice, 50)), (1, true));
        names.keep();
        assert_eq!(number(&names.text(&alice, 99)), (1, false));
    }

    #[test]
    fn a_record_has_a_name_in_full_once_only() {
        let (mut names, alice): (_, Arc<str>) = (Names::default(), "alice".into());
        assert_eq!([number(&names.text(&alice, 5)), number(&names.text(&alice, 5))], [(0, true), (0, false)]);
        names.keep();
        assert_eq!(number(&names.text(&alice, 90)), (0, true), "its second copy is in another record");
    }

    #[test]
    fn there_are_so_many_names_and_no_more() {
        let mut names = Names::default();
        for n in 0..MAX_NAMES {
            let text: Arc<str> = n.to_string().into();
            assert_eq!(number(&names.text(&text, 0)), (n, true));
        }
        let more: Arc<str> = "more".into();
        for mut names in [names, Names::none()] {
            assert_eq!(names.text(&more, 0), Name::Plain("more".into()));
        }
    }

    #[test]
    fn a_number_of_two_names_is_of_neither() {
        let mut read = NamesRead::default();
        read.learn(&Name::New(7, "alice".into()));
        read.learn(&Name::New(7, "alice".into()));
        assert_eq!(read.text(&Name::Known(7)).as_deref(), Some("alice"));
        assert_eq!(read.text(&Name::Known(8)), None);
        read.learn(&Name::New(7, "bob".into()));
        assert_eq!(read.text(&Name::Known(7)), None);
        assert_eq!(read.text(&Name::New(7, "bob".into())).as_deref(), Some("bob"), "its record says so itself");
    }
}
