//! How many tokens an input is: a bound that needs no tokenizer, and the exact count where a tokenizer is known.

use std::sync::OnceLock;

use prometheus::IntCounter;
use vectoll_config::v1::{Encoding, Factor, TokenBound};

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

fn tokenizer(encoding: Encoding) -> &'static bpe_openai::Tokenizer {
    match encoding {
        Encoding::cl100k_base => bpe_openai::cl100k_base(),
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

    #[test]
    fn openais_models_are_known_with_and_without_a_provider() {
        assert_eq!(encoding_of("openai/text-embedding-3-small"), Some(Encoding::cl100k_base));
        assert_eq!(encoding_of("builtin"), None);
    }
}
