//! Spreading what many objects do by the clock, so that they do not all do it in the same second. Pure: all replicas agree.

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

/// At least nothing and less than `range`, in whole seconds: always the same for the same name, and evenly spread over names.
pub(crate) fn offset_of(name: &str, range: SignedDuration) -> SignedDuration {
    offset_in(Sha256::digest(name.as_bytes()).as_slice(), range)
}

/// The same from bytes that are a hash already.
pub(crate) fn offset_in(hash: &[u8], range: SignedDuration) -> SignedDuration {
    let number = hash.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    let range = u64::try_from(range.as_secs()).unwrap_or_default().max(1);
    SignedDuration::from_secs(i64::try_from(number % range).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spread_over_the_whole_range_and_stay_where_they_are() {
        let range = SignedDuration::from_secs(60);
        let mut counts = [0_u32; 60];
        for name in 0..6_000 {
            let offset = offset_of(&name.to_string(), range);
            assert_eq!(offset, offset_of(&name.to_string(), range));
            let second = usize::try_from(offset.as_secs()).unwrap_or(usize::MAX);
            *counts.get_mut(second).unwrap_or(&mut 0) += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
        assert_eq!(offset_of("any", SignedDuration::ZERO), SignedDuration::ZERO);
        assert_eq!(offset_of("any", SignedDuration::from_millis(500)), SignedDuration::ZERO);
    }
}
