//! A call that is more than a provider takes in one request, split into parts that are not.

use std::{borrow::Cow, ops::Range};

use vectoll_config::v1::TokenBound;

use vectoll_api::request::{Input, Shape};
use vectoll_ledger::books::Certainty;
use vectoll_upstream::{provider::dialect::Capabilities, tokens};

/// Texts and the parts that they are sent in.
#[derive(Debug)]
pub(super) struct Split {
    /// All texts of the call; or its token arrays, as JSON.
    pub(super) texts: Vec<Cow<'static, str>>,
    /// Whether they are arrays.
    pub(super) are_arrays: bool,
    /// The tokens of each: exact where that was to be known, else a bound.
    pub(super) tokens: Vec<u64>,
    /// Whether all of those are exact.
    are_exact: bool,
    /// The parts, in order.
    pub(super) parts: Vec<Range<usize>>,
    /// What the provider reads beside each input; empty: nothing.
    beside: String,
}

impl Split {
    /// The tokens of a part whose provider does not say them, and how well they are known: counted, where that can be done.
    pub(super) fn counted(&self, part: &Range<usize>, bound: &TokenBound) -> (u64, Certainty) {
        let sum = || self.tokens.get(part.clone()).unwrap_or_default().iter().sum();
        if self.are_exact {
            return (sum(), Certainty::Known);
        }
        if self.are_arrays {
            return (sum(), Certainty::Estimated);
        }
        let texts = self.texts.get(part.clone()).unwrap_or_default();
        match tokens::count(&Input::Texts(texts.iter().map(|text| Cow::Borrowed(&**text)).collect()), bound) {
            Some(tokens) => (tokens + texts.len() as u64 * beside_exactly(&self.beside, bound), Certainty::Known),
            None => (sum(), Certainty::Estimated),
        }
    }
}

/// Splits a call. Tokens are counted exactly only where a bound on them says that there may be too many, and only until it does not say so
/// any more. `beside` is what goes along with each text.
pub(super) fn split(texts: Vec<String>, beside: &str, capabilities: Capabilities, bound: &TokenBound) -> Split {
    let texts: Vec<Cow<'static, str>> = texts.into_iter().map(Cow::Owned).collect();
    let each = beside_at_most(beside, bound);
    let mut tokens: Vec<u64> = texts.iter().map(|text| at_most(text, bound) + each).collect();
    let most = capabilities.tokens.unwrap_or(u64::MAX);
    let can_count = !matches!(bound, TokenBound::Factor(_));
    let mut sum = tokens.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let mut counted = 0;
    if can_count && sum > most {
        let each = beside_exactly(beside, bound);
        for (text, count) in texts.iter().zip(&mut tokens) {
            if sum <= most {
                break;
            }
            let exact = exactly(text, bound) + each;
            sum = sum.saturating_sub(count.saturating_sub(exact));
            *count = exact;
            counted += 1;
        }
    }
    let parts = parts(&tokens, capabilities.items, most);
    let are_exact = can_count && counted == texts.len();
    Split { texts, are_arrays: false, tokens, are_exact, parts, beside: beside.to_owned() }
}

/// Splits a call of token arrays, for a provider that takes them.
pub(super) fn split_arrays(arrays: &[Vec<u32>], capabilities: Capabilities, bound: &TokenBound) -> Split {
    let tokens = arrays.iter().map(|array| {
        let shape = Shape::of_tokens(array.len() as u64);
        tokens::bound(&shape, bound)
    });
    let tokens: Vec<u64> = tokens.collect();
    // Numbers have nothing that could not be written.
    let texts = arrays.iter().map(|array| Cow::Owned(serde_json::to_string(array).unwrap_or_default())).collect();
    let parts = parts(&tokens, capabilities.items, capabilities.tokens.unwrap_or(u64::MAX));
    let are_exact = !matches!(bound, TokenBound::Factor(_));
    Split { texts, are_arrays: true, tokens, are_exact, parts, beside: String::new() }
}

fn at_most(text: &str, bound: &TokenBound) -> u64 {
    let shape = Shape::of_text(text.len() as u64);
    tokens::bound(&shape, bound)
}

fn exactly(text: &str, bound: &TokenBound) -> u64 {
    tokens::count_text(text, bound).unwrap_or_else(|| at_most(text, bound))
}

/// The most tokens of what goes along with each text: it is no input of its own.
fn beside_at_most(beside: &str, bound: &TokenBound) -> u64 {
    tokens::bound(&Shape { items: 0, ..Shape::of_text(beside.len() as u64) }, bound)
}

fn beside_exactly(beside: &str, bound: &TokenBound) -> u64 {
    tokens::count_text(beside, bound).unwrap_or_else(|| beside_at_most(beside, bound))
}

/// As few parts as there can be in this order. A text that is too much by itself is a part of its own: its provider says so.
pub(super) fn parts(tokens: &[u64], items: usize, most: u64) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut begin, mut sum) = (0, 0u64);
    for (at, &count) in tokens.iter().enumerate() {
        if at > begin && (at - begin >= items || sum.saturating_add(count) > most) {
            parts.push(begin..at);
            (begin, sum) = (at, 0);
        }
        sum = sum.saturating_add(count);
    }
    if begin < tokens.len() {
        parts.push(begin..tokens.len());
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vectoll_config::v1::{Encoding, Factor};

    use super::*;

    #[test]
    fn parts_hold_as_much_as_they_may() {
        assert_eq!(parts(&[1; 5], 2, 100), [0..2, 2..4, 4..5]);
        assert_eq!(parts(&[4, 4, 4, 9, 20, 1], 10, 10), [0..2, 2..3, 3..4, 4..5, 5..6]);
        assert_eq!(parts(&[7, 1], 1, 1), [0..1, 1..2]);
    }

    #[test]
    fn tokens_are_counted_where_that_saves_parts() {
        let texts = || vec!["one two three four".to_owned(); 10];
        let capabilities = Capabilities { items: 100, tokens: Some(45) };
        let exact = split(texts(), "", capabilities, &TokenBound::Encoding(Encoding::cl100k_base));
        assert_eq!((exact.parts.len(), exact.tokens.iter().sum::<u64>()), (1, 40));
        let nearly = split(
            texts(),
            "",
            Capabilities { items: 100, tokens: Some(150) },
            &TokenBound::Encoding(Encoding::cl100k_base),
        );
        assert_eq!((nearly.parts.len(), nearly.tokens.as_slice()), (1, &[4, 4, 4, 18, 18, 18, 18, 18, 18, 18][..]));
        assert_eq!(nearly.counted(&(0..10), &TokenBound::Encoding(Encoding::cl100k_base)), (40, Certainty::Known));
        let unknown =
            split(texts(), "", capabilities, &TokenBound::Factor(Factor { max_per_byte: 1, max_per_input: 0 }));
        assert_eq!(unknown.parts.len(), 5);
    }

    #[test]
    fn what_goes_along_with_each_text_counts_with_each() {
        let texts = || vec!["one two three four".to_owned(); 10];
        let encoding = TokenBound::Encoding(Encoding::cl100k_base);
        let beside = split(texts(), "a title", Capabilities { items: 100, tokens: Some(45) }, &encoding);
        assert_eq!((beside.parts.len(), beside.tokens.as_slice()), (2, &[4 + 2; 10][..]));
        assert_eq!(beside.counted(&(0..7), &encoding), (7 * (4 + 2), Certainty::Known));
        let factor = TokenBound::Factor(Factor { max_per_byte: 1, max_per_input: 3 });
        let bounded = split(texts(), "a title", Capabilities { items: 100, tokens: None }, &factor);
        assert_eq!(bounded.tokens, [18 + 7 + 3; 10], "as the call as a whole is weighed");
    }

    #[test]
    fn arrays_are_written_as_they_are_and_weighed_as_the_call_is() {
        let (arrays, capabilities) = ([vec![1, 22], vec![333], vec![4]], Capabilities { items: 100, tokens: Some(8) });
        let factor = TokenBound::Factor(Factor { max_per_byte: 1, max_per_input: 3 });
        let bounded = split_arrays(&arrays, capabilities, &factor);
        assert_eq!((bounded.tokens.as_slice(), bounded.parts.as_slice()), (&[5, 4, 4][..], &[0..1, 1..3][..]));
        assert_eq!(bounded.counted(&(1..3), &factor), (8, Certainty::Estimated));
        let encoding = TokenBound::Encoding(Encoding::cl100k_base);
        let exact = split_arrays(&arrays, capabilities, &encoding);
        assert_eq!((exact.texts.as_slice(), exact.parts.len()), (&["[1,22]", "[333]", "[4]"].map(Cow::from)[..], 1));
        assert_eq!(exact.counted(&(0..3), &encoding), (4, Certainty::Known));
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_part_and_no_part_is_too_much(
            tokens in prop::collection::vec(0u64..50, 1..200), items in 1usize..20, most in 1u64..100,
        ) {
            let parts = parts(&tokens, items, most);
            let all: Vec<usize> = parts.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..tokens.len()).collect::<Vec<_>>());
            for part in parts {
                prop_assert!(part.len() <= items);
                let sum: u64 = tokens.get(part.clone()).unwrap_or_default().iter().sum();
                prop_assert!(part.len() == 1 || sum <= most);
            }
        }
    }
}
