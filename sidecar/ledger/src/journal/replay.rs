//! What a journal's records come to, from a checkpoint on. Pure: the files are read elsewhere.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

use super::record::{Kind, Open, Record, Refine, Settled};

/// What a checkpoint says of the journal: everything up to a record, and what was open then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Covered {
    /// The last record that the checkpoint's books contain.
    pub number: u64,
    /// The intents that had no end at that record, by number.
    pub open: BTreeMap<u64, Open>,
}

/// Follows records in the order in which they were written.
#[derive(Debug)]
pub(super) struct Replay {
    covered: u64,
    last: u64,
    open: BTreeMap<u64, Open>,
    ended: Numbers,
    orphans: u64,
}

/// A set of records' numbers, which are dense: a bit each. A full journal has millions.
#[derive(Debug, Default)]
struct Numbers(HashMap<u64, Box<[u64; BLOCK_WORDS]>>);

/// 4,096 numbers.
const BLOCK_WORDS: usize = 64;

impl Numbers {
    /// Its block, and in it its word and its bit.
    fn place(number: u64) -> (u64, usize, u64) {
        let in_block = number % (BLOCK_WORDS as u64 * 64);
        (number / (BLOCK_WORDS as u64 * 64), usize::try_from(in_block / 64).unwrap_or_default(), 1 << (in_block % 64))
    }

    fn insert(&mut self, number: u64) {
        let (block, word, bit) = Self::place(number);
        if let Some(word) = self.0.entry(block).or_insert_with(|| Box::new([0; BLOCK_WORDS])).get_mut(word) {
            *word |= bit;
        }
    }

    fn contains(&self, number: u64) -> bool {
        let (block, word, bit) = Self::place(number);
        self.0.get(&block).and_then(|block| block.get(word)).is_some_and(|word| word & bit != 0)
    }
}

/// Where a journal stands after its last record.
#[derive(Debug)]
pub(super) struct ReplayResult {
    /// The largest number that was ever seen.
    pub(super) last: u64,
    /// Intents without an end.
    pub(super) open: BTreeMap<u64, Open>,
    /// Settlements of calls whose intent was lost to damage: nobody knows whom they belong to.
    pub(super) orphans: u64,
}

impl Replay {
    pub(super) fn new(covered: Covered) -> Self {
        let Covered { number, open } = covered;
        Self { covered: number, last: number, open, ended: Numbers::default(), orphans: 0 }
    }

    /// Takes the next record. A settlement that the checkpoint does not contain comes back, to be booked.
    ///
    /// What the checkpoint covers is not looked at, so that damage there does no harm. A number that was seen before is the
    /// copy of a record, which changes nothing.
    pub(super) fn take(&mut self, Record(number, kind): Record) -> Option<Settled> {
        let is_new = number > self.last;
        let is_after = number > self.covered;
        self.last = self.last.max(number);
        match kind {
            Kind::Carried(open) => {
                // It comes with its own number, which is smaller than those around it.
                if is_after && !self.ended.contains(number) {
                    self.reopen(number, open);
                }
                None
            }
            Kind::Intent(intent) if is_new => {
                self.open.insert(number, Open::new(intent));
                None
            }
            Kind::Refine(refine) if is_new => {
                if let Some(open) = self.open.get_mut(&refine.intent) {
                    open.refine(refine);
                }
                None
            }
            Kind::Settlement(settlement) if is_new => {
                self.ended.insert(settlement.intent);
                let Some(Open { intent, tokens: _, money: _ }) = self.open.remove(&settlement.intent) else {
                    self.orphans += 1;
                    return None;
                };
                Some(Settled { number, intent, settlement })
            }
            Kind::Void(void) if is_new => {
                self.ended.insert(void.intent);
                self.open.remove(&void.intent);
                None
            }
            Kind::Intent(_) | Kind::Refine(_) | Kind::Settlement(_) | Kind::Void(_) => None,
        }
    }

    /// A copy may have been made before its bound was last lowered, or be all that is left of the intent.
    fn reopen(&mut self, number: u64, copy: Open) {
        let Open { intent: _, tokens, money } = copy;
        match self.open.entry(number) {
            Entry::Occupied(mut known) => known.get_mut().refine(Refine { intent: number, tokens, money }),
            Entry::Vacant(unknown) => {
                unknown.insert(copy);
            }
        }
    }

    pub(super) fn end(self) -> ReplayResult {
        let Self { covered: _, last, open, ended: _, orphans } = self;
        ReplayResult { last, open, orphans }
    }
}

/// The settlements in one segment, with their calls: an intent stands in the segment of its settlement, or was carried there.
pub(super) fn settled_in(records: impl IntoIterator<Item = Record>) -> Vec<Arc<Settled>> {
    let mut intents = HashMap::new();
    let mut settled = Vec::new();
    for Record(number, kind) in records {
        match kind {
            Kind::Intent(intent) | Kind::Carried(Open { intent, tokens: _, money: _ }) => {
                intents.insert(number, intent);
            }
            Kind::Settlement(settlement) => {
                if let Some(intent) = intents.remove(&settlement.intent) {
                    settled.push(Arc::new(Settled { number, intent, settlement }));
                }
            }
            Kind::Void(void) => {
                intents.remove(&void.intent);
            }
            Kind::Refine(_) => {}
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::Numbers;

    proptest! {
        #[test]
        fn numbers_are_those_that_were_put_in(numbers in prop::collection::vec(prop_oneof![0_u64..9_000, any::<u64>()], 0..200)) {
            let mut set = Numbers::default();
            for &number in &numbers {
                set.insert(number);
            }
            let expected: HashSet<u64> = numbers.iter().copied().collect();
            for near in numbers.iter().flat_map(|&number| [number.wrapping_sub(1), number, number.wrapping_add(1)]) {
                prop_assert_eq!(set.contains(near), expected.contains(&near));
            }
        }
    }
}
