//! Spend that the store has not acknowledged.

use std::collections::VecDeque;

use vectoll_config::PicoUsd;

/// Spend of one budget's period, by the numbers of the settlements. Summing up costs what was settled or acknowledged
/// since, not all that is kept.
#[derive(Debug, Default)]
pub(super) struct UnacknowledgedSpend {
    /// In the order of the numbers.
    settled: VecDeque<(u64, PicoUsd)>,
    /// All of it. Wider than money: it neither stops at the largest amount nor has to be added up again.
    sum: u128,
}

impl UnacknowledgedSpend {
    pub(super) fn add(&mut self, number: u64, spent: PicoUsd) {
        if spent == PicoUsd::ZERO {
            return;
        }
        self.sum += u128::from(spent.pico());
        // Calls end beside each other: some come a little after those with larger numbers.
        let place = match self.settled.back() {
            Some((last, _)) if *last > number => self.settled.partition_point(|(it, _)| *it <= number),
            Some(_) | None => self.settled.len(),
        };
        self.settled.insert(place, (number, spent));
    }

    /// The store has all settlements up to this one.
    pub(super) fn acknowledge(&mut self, upto: u64) {
        while let Some((_, spent)) = self.settled.pop_front_if(|(number, _)| *number <= upto) {
            self.sum -= u128::from(spent.pico());
        }
    }

    /// What is left once the store has all settlements up to this one.
    pub(super) fn beyond(&self, upto: u64) -> PicoUsd {
        let acknowledged = self.settled.iter().take_while(|(number, _)| *number <= upto);
        let acknowledged: u128 = acknowledged.map(|(_, spent)| u128::from(spent.pico())).sum();
        PicoUsd::new(u64::try_from(self.sum - acknowledged).unwrap_or(u64::MAX))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.settled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Add(u64, u64),
        Acknowledge(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Some amounts are as large as there are.
        let spent = prop_oneof![9 => 0..1_000u64, 1 => Just(u64::MAX)];
        prop_oneof![3 => (0..60u64, spent).prop_map(|(number, spent)| Step::Add(number, spent)), 1 => (0..60u64).prop_map(Step::Acknowledge)]
    }

    proptest! {
        #[test]
        fn running_sums_are_those_of_adding_up(steps in prop::collection::vec(step(), 1..60), upto in 0..60u64) {
            let (mut spend, mut all) = (UnacknowledgedSpend::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Add(number, spent) => {
                        spend.add(number, PicoUsd::new(spent));
                        all.push((number, spent));
                    }
                    Step::Acknowledge(upto) => {
                        spend.acknowledge(upto);
                        all.retain(|(number, _)| *number > upto);
                    }
                }
                let left = all.iter().filter(|(number, _)| *number > upto);
                let left = left.fold(PicoUsd::ZERO, |sum, (_, spent)| sum.plus(PicoUsd::new(*spent)));
                prop_assert_eq!(spend.beyond(upto), left);
                prop_assert_eq!(spend.is_empty(), all.iter().all(|(_, spent)| *spent == 0));
            }
        }
    }
}
