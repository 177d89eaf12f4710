//! What each of several calls has of what their provider reported for all of them together.

/// Shares of a whole by weight, which sum to the whole exactly: each gets what its weight is worth, rounded down, and those whose
/// rounding cost them most get one more (the method of largest remainders; of equals the earlier one). Where nothing has a weight,
/// all weigh the same.
///
/// Weights that sum to the whole are the shares.
pub(super) fn shares(whole: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let weight_of = |weight: u64| if sum == 0 { 1 } else { u128::from(weight) };
    let sum = if sum == 0 { weights.len() as u128 } else { sum };
    if sum == 0 {
        return Vec::new();
    }
    let exact: Vec<(u128, u128)> = weights
        .iter()
        .map(|weight| {
            let product = u128::from(whole) * weight_of(*weight);
            (product / sum, product % sum)
        })
        .collect();
    // A share is not more than the whole.
    let mut shares: Vec<u64> = exact.iter().map(|(share, _)| u64::try_from(*share).unwrap_or(whole)).collect();
    let left = whole.saturating_sub(shares.iter().sum());
    let mut by_remainder: Vec<usize> = (0..exact.len()).collect();
    by_remainder.sort_by_key(|at| std::cmp::Reverse(exact.get(*at).map(|(_, remainder)| *remainder)));
    // Fewer than there are calls.
    for at in by_remainder.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        if let Some(share) = shares.get_mut(at) {
            *share += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_count_that_is_right_is_the_share() {
        assert_eq!(shares(9, &[2, 3, 4]), [2, 3, 4]);
    }

    #[test]
    fn what_is_left_goes_to_those_whom_rounding_cost_most() {
        assert_eq!(shares(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(shares(7, &[10, 25, 25]), [1, 3, 3]);
        assert_eq!(shares(1, &[1, 9]), [0, 1]);
        assert_eq!(shares(5, &[0, 0]), [3, 2]);
        assert_eq!(shares(0, &[3, 4]), [0, 0]);
        assert_eq!(shares(u64::MAX, &[u64::MAX, u64::MAX]), [u64::MAX / 2 + 1, u64::MAX / 2]);
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_whole_and_none_is_off_by_one(
            whole in any::<u64>(), weights in prop::collection::vec(0u64..100_000, 1..300),
        ) {
            let shares = shares(whole, &weights);
            prop_assert_eq!(shares.len(), weights.len());
            prop_assert_eq!(shares.iter().map(|share| u128::from(*share)).sum::<u128>(), u128::from(whole));
            let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            for (share, weight) in shares.iter().zip(&weights).filter(|_| sum > 0) {
                let product = u128::from(whole) * u128::from(*weight);
                prop_assert!((u128::from(*share) * sum).abs_diff(product) < sum, "{share} for {weight} of {sum}");
            }
        }
    }
}
