//! A sliding window over the last minute, hour or day, in slots of a sixtieth of it.

use std::{collections::VecDeque, time::Duration};

use crate::store::protocol::{Per, SPAN};

/// Amounts admitted lately, by slots: sixty of them are a minute, an hour or a day.
///
/// What is admitted in slot `s` is weighed together with everything from slot `s - 60` on. Any minute (hour, day) touches at
/// most 61 slots, and the last admission in them was weighed with all the others: so in no minute, wherever it begins, is more
/// admitted than the limit.
#[derive(Debug)]
pub(crate) struct Window {
    per: Per,
    /// Slot and amount, oldest first; no slot twice.
    slots: VecDeque<(u64, u64)>,
    sum: u64,
}

/// The slot of a minute that a moment falls in: its second.
pub(crate) fn second_of(elapsed: Duration) -> u64 {
    elapsed.as_secs()
}

/// That of a minute: most limits are.
impl Default for Window {
    fn default() -> Self {
        Self::of(Per::Minute)
    }
}

impl Window {
    /// One of such a time.
    pub(crate) fn of(per: Per) -> Self {
        Self { per, slots: VecDeque::new(), sum: 0 }
    }

    /// Of which time it is.
    pub(crate) fn per(&self) -> Per {
        self.per
    }

    /// The slot that a second falls in.
    pub(crate) fn slot(&self, second: u64) -> u64 {
        second / self.per.slot_seconds()
    }

    fn left_by(&self, slot: u64) -> Duration {
        Duration::from_secs((slot + SPAN).saturating_mul(self.per.slot_seconds()))
    }

    /// Forgets what is over.
    pub(crate) fn advance(&mut self, slot: u64) {
        while let Some(&(oldest, amount)) = self.slots.front()
            && oldest + SPAN <= slot
        {
            self.sum = self.sum.saturating_sub(amount);
            self.slots.pop_front();
        }
    }

    /// What counts at present.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// Whether nothing counts.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds to a slot, which is not older than any that was added to before.
    pub(crate) fn add(&mut self, slot: u64, amount: u64) {
        if amount == 0 {
            return;
        }
        match self.slots.back_mut() {
            Some((newest, sum)) if *newest == slot => *sum = sum.saturating_add(amount),
            Some(_) | None => self.slots.push_back((slot, amount)),
        }
        self.sum = self.sum.saturating_add(amount);
    }

    /// Adds to any slot: what was counted elsewhere.
    pub(crate) fn insert(&mut self, slot: u64, amount: u64) {
        match self.slots.binary_search_by_key(&slot, |&(slot, _)| slot) {
            Ok(at) => {
                if let Some((_, sum)) = self.slots.get_mut(at) {
                    *sum = sum.saturating_add(amount);
                }
            }
            Err(at) if amount > 0 => self.slots.insert(at, (slot, amount)),
            Err(_) => return,
        }
        self.sum = self.sum.saturating_add(amount);
    }

    /// Takes back what was added in a slot, if it still counts. Returns how much that was.
    pub(crate) fn take_back(&mut self, slot: u64, amount: u64) -> u64 {
        if let Ok(at) = self.slots.binary_search_by_key(&slot, |&(slot, _)| slot)
            && let Some((_, sum)) = self.slots.get_mut(at)
        {
            let taken = amount.min(*sum);
            *sum -= taken;
            self.sum = self.sum.saturating_sub(taken);
            if *sum == 0 {
                self.slots.remove(at);
            }
            return taken;
        }
        0
    }

    /// Slots and amounts, oldest first; nothing counts any more.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.sum = 0;
        self.slots.drain(..)
    }

    /// How long until `amount` fits under `limit`, if nothing else is added. `None`: it never fits.
    pub(crate) fn wait(&self, elapsed: Duration, limit: u64, amount: u64) -> Option<Duration> {
        let room = limit.checked_sub(amount)?;
        let mut sum = self.sum;
        if sum <= room {
            return Some(Duration::ZERO);
        }
        for &(slot, freed) in &self.slots {
            sum = sum.saturating_sub(freed);
            if sum <= room {
                return Some(self.left_by(slot).saturating_sub(elapsed));
            }
        }
        None
    }

    /// How long until nothing counts, if nothing is added.
    pub(crate) fn reset(&self, elapsed: Duration) -> Duration {
        self.slots.back().map_or(Duration::ZERO, |&(slot, _)| self.left_by(slot).saturating_sub(elapsed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_amount_counts_for_sixty_seconds_and_not_beyond_the_sixty_first() {
        let mut window = Window::default();
        window.add(second_of(at(900)), 10);
        window.advance(second_of(at(60_899)));
        assert_eq!(window.sum(), 10);
        window.advance(second_of(at(61_000)));
        assert_eq!(window.sum(), 0);
        assert!(window.is_empty());
    }

    #[test]
    fn the_wait_is_right_to_the_slot() {
        let mut window = Window::default();
        window.add(0, 60);
        window.add(10, 30);
        let now = at(20_250);
        assert_eq!(window.wait(now, 100, 10), Some(Duration::ZERO));
        assert_eq!(window.wait(now, 100, 11), Some(at(61_000 - 20_250)));
        assert_eq!(window.wait(now, 100, 71), Some(at(71_000 - 20_250)));
        assert_eq!(window.wait(now, 100, 101), None);
    }

    #[test]
    fn what_is_taken_back_no_longer_counts() {
        let mut window = Window::default();
        window.add(1, 5);
        window.add(2, 7);
        window.take_back(1, 3);
        assert_eq!(window.sum(), 9);
        window.advance(62);
        assert_eq!(window.sum(), 7);
        window.take_back(1, 2);
        assert_eq!(window.sum(), 7, "what has left the window is no longer there to be taken back");
    }

    #[test]
    fn an_hour_and_a_day_leave_by_their_sixtieths() {
        for (per, slot) in [(Per::Hour, 60), (Per::Day, 1_440)] {
            let mut window = Window::of(per);
            let second = window.slot(slot * 10 + slot - 1);
            window.add(second, 7);
            let now = Duration::from_secs(slot * 11);
            assert_eq!(window.wait(now, 7, 1), Some(Duration::from_secs(slot * 60)));
            window.advance(window.slot(slot * 71 - 1));
            assert_eq!(window.sum(), 7, "{per:?}");
            window.advance(window.slot(slot * 71));
            assert_eq!(window.sum(), 0);
        }
    }

    proptest! {
        /// The promise itself: whatever is asked for and whenever, no 60 seconds hold more than the limit.
        #[test]
        fn no_sixty_seconds_hold_more_than_the_limit(
            steps in prop::collection::vec((0u64..5_000, 1u64..40, any::<prop::sample::Index>(), 0u64..40), 1..300),
            limit in 40u64..100,
        ) {
            let mut window = Window::default();
            // When, and how much of it stayed after the settlement.
            let mut admitted: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (pause, amount, settled, unused) in steps {
                now += pause;
                let slot = second_of(at(now));
                window.advance(slot);
                if !admitted.is_empty() {
                    // A settlement at some time after the admission, often long after it has left the window.
                    let (admitted_at, kept) = settled.get(&admitted).to_owned();
                    let unused = unused.min(kept);
                    window.take_back(second_of(at(admitted_at)), unused);
                    let at = settled.index(admitted.len());
                    if let Some(entry) = admitted.get_mut(at) {
                        entry.1 -= unused;
                    }
                }
                if window.sum() + amount <= limit {
                    window.add(slot, amount);
                    admitted.push((now, amount));
                } else {
                    // And the wait that is told is enough, and not a slot too long.
                    let wait = window.wait(at(now), limit, amount).unwrap();
                    prop_assert!(wait > Duration::ZERO && wait <= Duration::from_secs(61));
                    let mut later = Window { per: Per::Minute, slots: window.slots.clone(), sum: window.sum };
                    later.advance(second_of(at(now) + wait));
                    prop_assert!(later.sum() + amount <= limit);
                    let mut early = Window { per: Per::Minute, slots: window.slots.clone(), sum: window.sum };
                    early.advance(second_of((at(now) + wait).checked_sub(Duration::from_millis(1)).unwrap()));
                    prop_assert!(early.sum() + amount > limit);
                }
            }
            for (i, &(start, _)) in admitted.iter().enumerate() {
                let sum: u64 =
                    admitted[i..].iter().take_while(|(t, _)| *t < start + 60_000).map(|(_, amount)| amount).sum();
                prop_assert!(sum <= limit, "{sum} in the 60 s from {start}");
            }
        }
    }
}
