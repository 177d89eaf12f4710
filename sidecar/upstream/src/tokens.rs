//! How many tokens an input is: a bound that needs no tokenizer, and the exact count where a tokenizer is known.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use prometheus::IntCounter;
use vectoll_config::v1::{Encoding, Factor, TokenBound, Truncate};

use crate::builtin;
use vectoll_api::request::{Input, Shape};

/// The most tokens that an input can become.
///
/// In a byte-level byte-pair encoding every token covers at least one byte, and the built-in model's `WordPiece` makes at
/// most one token of a character: so a text of `n` bytes is at most `n` tokens. An empty one may be charged as one. Other tokenizers
/// declare their factor.
pub fn bound(input: &Shape, bound: &TokenBound) -> u64 {
    match bound {
        TokenBound::Encoding(_) | TokenBound::Builtin(_) if input.is_tokens => input.tokens,
        TokenBound::Encoding(_) | TokenBound::Builtin(_) => input.bytes.max(input.items),
        TokenBound::Factor(Factor { max_per_byte, max_per_input }) => input
            .bytes
            .saturating_mul(u64::from(*max_per_byte))
            .saturating_add(input.tokens)
            .saturating_add(input.items.saturating_mul(u64::from(*max_per_input))),
    }
}

/// The longest token of `cl100k_base`, in bytes: 128 spaces.
const MAX_TOKEN_BYTES: u64 = 128;

/// The fewest tokens that an input can become: a reason not to count what cannot fit anyway.
pub fn least(input: &Shape, bound: &TokenBound) -> u64 {
    match bound {
        TokenBound::Encoding(_) if input.is_tokens => input.tokens,
        TokenBound::Encoding(_) => input.bytes.div_ceil(MAX_TOKEN_BYTES),
        // White space has no tokens at all here, and nobody knows there.
        TokenBound::Builtin(_) | TokenBound::Factor(_) => input.tokens,
    }
}

/// How much text was tokenized to count it, in bytes; none: nobody looks.
static COUNTED_BYTES: OnceLock<IntCounter> = OnceLock::new();

/// Adds what is counted from now on to this, in bytes of text. The first one stays.
pub fn observe_counted_bytes(counter: IntCounter) {
    // A second one would be of the same process: tests start several servers in one.
    let _ = COUNTED_BYTES.set(counter);
}

/// The exact number of tokens, where the model's tokenizer is at hand. Token arrays are what it makes: elsewhere a provider may count
/// others, and add some of its own.
pub fn count(input: &Input<'_>, bound: &TokenBound) -> Option<u64> {
    match (input, bound) {
        (_, TokenBound::Factor(_)) => None,
        (Input::Tokens(shape), TokenBound::Encoding(_) | TokenBound::Builtin(_)) => Some(shape.tokens),
        (Input::Texts(texts), TokenBound::Encoding(encoding)) => Some(with(tokenizer(*encoding), texts)),
        (Input::Texts(texts), TokenBound::Builtin(_)) => builtin::Model::get().ok().map(|model| model.count(texts)),
    }
}

/// The exact number of tokens of one text, likewise.
pub fn count_text(text: &str, bound: &TokenBound) -> Option<u64> {
    count(&Input::Texts(vec![std::borrow::Cow::Borrowed(text)]), bound)
}

/// Text up to which tokens are counted where that is not necessary.
pub const LITTLE_TEXT: u64 = 32 * 1024;

/// The encoding that clients of OpenAI's cut the text for a model of this name with. A provider's name may stand before it.
pub fn encoding_of(model: &str) -> Option<Encoding> {
    match model.rsplit('/').next().unwrap_or(model) {
        "text-embedding-3-small" | "text-embedding-3-large" | "text-embedding-ada-002" => Some(Encoding::cl100k_base),
        _ => None,
    }
}

/// The most tokens that a model of this name takes of one input. A provider's name may stand before it.
///
/// Source: the OpenAI API reference, "Create embeddings", `input`: "8192 tokens for all embedding models".
pub fn max_input_of(model: &str) -> Option<u64> {
    encoding_of(model).map(|_| 8192)
}

/// The fewest tokens that a text of so many bytes can become.
pub fn least_of_text(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(MAX_TOKEN_BYTES)
}

/// What is left of a text of which no more than `most` tokens are to be left, at least eight; none: all of it. It ends, or begins, where
/// a token does and a character does, too. What is left may become other tokens than it was a part of: it is counted again, and cut
/// again where they are more.
pub fn cut(text: &str, encoding: Encoding, most: u64, part: Truncate) -> Option<&str> {
    if text.len() as u64 <= most {
        return None;
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let tokenizer = tokenizer(encoding);
    let longest = most.saturating_mul(usize::try_from(MAX_TOKEN_BYTES).unwrap_or(usize::MAX));
    // No token is longer: beyond so many bytes nothing can be left, and need not be made tokens of.
    let mut left = match part {
        Truncate::End => text.get(..text.floor_char_boundary(longest)),
        Truncate::Start => text.get(text.ceil_char_boundary(text.len().saturating_sub(longest))..),
    }?;
    loop {
        if let Some(counter) = COUNTED_BYTES.get() {
            counter.inc_by(left.len() as u64);
        }
        let tokens = tokenizer.encode(left);
        if tokens.len() <= most {
            return (left.len() < text.len()).then_some(left);
        }
        let length = |tokens: &[u32]| tokens.iter().map(|token| tokenizer.bpe.token_len(*token)).sum::<usize>();
        left = match part {
            Truncate::End => (1..=most).rev().find_map(|kept| {
                let end = length(tokens.get(..kept)?);
                text_boundary(left, end).then(|| left.get(..end)).flatten()
            }),
            Truncate::Start => (1..=most).rev().find_map(|kept| {
                let start = left.len().checked_sub(length(tokens.get(tokens.len() - kept..)?))?;
                text_boundary(left, start).then(|| left.get(start..)).flatten()
            }),
        }?;
    }
}

/// Whether something stands on both sides of a place, and no character across it.
fn text_boundary(text: &str, at: usize) -> bool {
    at > 0 && at < text.len() && text.is_char_boundary(at)
}

/// How long the text of tokens is, in bytes, without making it: few tokens can be much text. None: there is no such token.
pub fn length_of(tokens: &[u32], encoding: Encoding) -> Option<usize> {
    let bpe = &tokenizer(encoding).bpe;
    let length =
        |token: &u32| usize::try_from(*token).is_ok_and(|at| at < bpe.num_tokens()).then(|| bpe.token_len(*token));
    tokens.iter().map(length).sum()
}

/// How long [`text_of`] is, in bytes, without making it. What is no character takes three bytes there, which may be more than it has.
/// None: there is no such token.
pub fn length_of_text(tokens: &[u32], encoding: Encoding) -> Option<u64> {
    length_of(tokens, encoding)?;
    let bpe = &tokenizer(encoding).bpe;
    let (mut length, mut waiting) = (0, Vec::with_capacity(2 * PIECE));
    for token in tokens {
        waiting.extend_from_slice(bpe.token_bytes(*token));
        if waiting.len() >= PIECE {
            // What it ends with may be the beginning of a character.
            let (all, cut) = measured(&waiting);
            length += all;
            waiting.drain(..waiting.len() - cut);
        }
    }
    let (all, cut) = measured(&waiting);
    Some(length + all + if cut > 0 { REPLACEMENT } else { 0 })
}

/// So many bytes of text are measured at a time.
const PIECE: usize = 4096;
/// The length of U+FFFD.
const REPLACEMENT: u64 = '\u{fffd}'.len_utf8() as u64;

/// The length of bytes as text, up to what is no character at their end; and how many bytes that is.
fn measured(bytes: &[u8]) -> (u64, usize) {
    let mut parts = bytes.utf8_chunks().peekable();
    let mut length = 0;
    while let Some(part) = parts.next() {
        length += part.valid().len() as u64;
        if part.invalid().is_empty() {
            continue;
        }
        if parts.peek().is_none() {
            return (length, part.invalid().len());
        }
        length += REPLACEMENT;
    }
    (length, 0)
}

/// The text that tokens are of. A character that they cut in two becomes U+FFFD, as with OpenAI's tiktoken: clients cut long
/// texts between any two tokens. None: there is no such token.
pub fn text_of(tokens: &[u32], encoding: Encoding) -> Option<String> {
    length_of(tokens, encoding)?;
    let bytes = tokenizer(encoding).bpe.decode_tokens(tokens);
    Some(String::from_utf8(bytes).unwrap_or_else(|cut| String::from_utf8_lossy(cut.as_bytes()).into_owned()))
}

/// Whether the tables of `cl100k_base` are there.
static HAS_CL100K_BASE: AtomicBool = AtomicBool::new(false);

/// Whether counting by this needs nothing that is still to be loaded.
pub fn is_loaded(bound: &TokenBound) -> bool {
    match bound {
        TokenBound::Encoding(Encoding::cl100k_base) => HAS_CL100K_BASE.load(Ordering::Acquire),
        TokenBound::Builtin(_) => builtin::Model::is_loaded(),
        TokenBound::Factor(_) => true,
    }
}

/// Loads what counting by this needs: a few hundred milliseconds of a processor, the first time.
pub fn load(bound: &TokenBound) {
    match bound {
        TokenBound::Encoding(encoding) => {
            tokenizer(*encoding);
        }
        TokenBound::Builtin(_) => {
            // One that cannot be loaded is a config that is refused.
            let _ = builtin::Model::get();
        }
        TokenBound::Factor(_) => {}
    }
}

fn tokenizer(encoding: Encoding) -> &'static bpe_openai::Tokenizer {
    match encoding {
        Encoding::cl100k_base => {
            let tables = bpe_openai::cl100k_base();
            HAS_CL100K_BASE.store(true, Ordering::Release);
            tables
        }
    }
}

fn with(tokenizer: &bpe_openai::Tokenizer, texts: &[std::borrow::Cow<'_, str>]) -> u64 {
    if let Some(counter) = COUNTED_BYTES.get() {
        counter.inc_by(texts.iter().map(|text| text.len() as u64).sum());
    }
    texts.iter().map(|text| tokenizer.count(text.as_ref()) as u64).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_become_the_text_they_are_of() {
        // OpenAI's cookbook, "How to count tokens with tiktoken".
        let text = text_of(&[83, 1609, 5963, 374, 2294, 0], Encoding::cl100k_base);
        assert_eq!(text.as_deref(), Some("tiktoken is great!"));
        for none in [&[4_000_000_000][..], &[100_257], &[1_000_000]] {
            assert_eq!(text_of(none, Encoding::cl100k_base), None, "{none:?}");
        }
    }

    #[test]
    fn a_character_that_is_cut_in_two_is_marked_and_the_others_stay() {
        let text = "日本語のテキスト🦀";
        let whole = bpe_openai::cl100k_base().encode(text);
        let mut cut = 0;
        for end in 1..=whole.len() {
            let tokens = &whole[..end];
            let found = text_of(tokens, Encoding::cl100k_base).unwrap();
            let kept = found.trim_end_matches('\u{fffd}');
            assert!(text.starts_with(kept), "{found}");
            cut += usize::from(found != kept);
            let bytes = length_of(tokens, Encoding::cl100k_base).unwrap();
            assert!(kept.len() <= bytes && bytes <= text.len());
        }
        assert!(cut > 0, "some tokens end within a character");
    }

    #[test]
    fn text_is_measured_as_it_will_be() {
        let tokenizer = bpe_openai::cl100k_base();
        let whole = tokenizer.encode(&"日本語のテキスト🦀 and some more ".repeat(400));
        // Single bytes, most of which are no characters; and what is longer than a piece, cut in many places.
        let bytes: Vec<u32> = (0..256).collect();
        let shuffled: Vec<u32> = (0..20_000_u32).map(|at| at.wrapping_mul(7919) % 100_256).collect();
        for tokens in [&whole[..], &whole[1..], &whole[..whole.len() - 3], &bytes, &shuffled, &[]] {
            let text = text_of(tokens, Encoding::cl100k_base).unwrap();
            assert_eq!(length_of_text(tokens, Encoding::cl100k_base), Some(text.len() as u64));
        }
        assert_eq!(length_of_text(&[100_257], Encoding::cl100k_base), None);
    }

    proptest! {
        #[test]
        fn what_is_left_of_a_text_is_a_part_of_it_that_fits(
            text in prop::collection::vec(prop::sample::select(vec![
                "word", " ", "  ", "\n", "🦀", "日本語", "1234567", "don're", "\r\n\r\n", "...", "\u{301}", "ſ", "    ", "x",
            ]), 1..60),
            most in 8u64..40,
            part in prop::sample::select(vec![Truncate::Start, Truncate::End]),
        ) {
            let text = text.concat();
            let bound = TokenBound::Encoding(Encoding::cl100k_base);
            let count = |text: &str| count_text(text, &bound).unwrap();
            match cut(&text, Encoding::cl100k_base, most, part) {
                None => prop_assert!(count(&text) <= most),
                Some(left) => {
                    prop_assert!(count(&text) > most);
                    prop_assert!(count(left) <= most && !left.is_empty());
                    // No more than what one character takes, or what becomes other tokens at the cut, is lost.
                    prop_assert!(count(left) + 8 >= most, "{} of {most}: {left:?}", count(left));
                    match part {
                        Truncate::End => prop_assert!(text.starts_with(left)),
                        Truncate::Start => prop_assert!(text.ends_with(left)),
                    }
                }
            }
        }
    }

    #[test]
    fn of_a_long_text_only_as_much_is_looked_at_as_can_be_left() {
        let long = " ".repeat(128) + &"word ".repeat(1_000_000);
        let left = cut(&long, Encoding::cl100k_base, 8, Truncate::End).unwrap();
        assert!(long.starts_with(left) && left.len() <= 8 * 128, "{}", left.len());
        let left = cut(&long, Encoding::cl100k_base, 8, Truncate::Start).unwrap();
        assert!(long.ends_with(left) && !left.is_empty(), "{left:?}");
        assert_eq!(cut("eight by", Encoding::cl100k_base, 8, Truncate::End), None);
    }

    #[test]
    fn openais_models_are_known_with_and_without_a_provider() {
        assert_eq!(encoding_of("openai/text-embedding-3-small"), Some(Encoding::cl100k_base));
        assert_eq!(encoding_of("builtin"), None);
    }
}
