//! How many tokens an input is: a bound that needs no tokenizer, and the exact count where a tokenizer is known.

use vectoll_config::v1::{Encoding, Factor, TokenBound};

use crate::{
    call::{Input, Shape},
    provider::builtin,
};

/// The most tokens that an input can become. Exact for token arrays.
///
/// In a byte-level byte-pair encoding every token covers at least one byte, and the built-in model's `WordPiece` makes at
/// most one token of a character: so a text of `n` bytes is at most `n` tokens. Other tokenizers declare their factor.
pub fn bound(input: &Shape, bound: &TokenBound) -> u64 {
    match bound {
        TokenBound::Encoding(_) | TokenBound::Builtin(_) => input.bytes.saturating_add(input.tokens),
        TokenBound::Factor(Factor { max_per_byte, max_per_input }) => input
            .bytes
            .saturating_mul(u64::from(*max_per_byte))
            .saturating_add(input.tokens)
            .saturating_add(input.items.saturating_mul(u64::from(*max_per_input))),
    }
}

/// The longest token of `cl100k_base`, in bytes: 128 spaces.
const LONGEST: u64 = 128;

/// The fewest tokens that an input can become: a reason not to count what cannot fit anyway.
pub fn least(input: &Shape, bound: &TokenBound) -> u64 {
    match bound {
        TokenBound::Encoding(_) => input.items.max(input.bytes / LONGEST).max(input.tokens),
        // White space has no tokens at all here, and nobody knows there.
        TokenBound::Builtin(_) | TokenBound::Factor(_) => input.tokens,
    }
}

/// The exact number of tokens, where the model's tokenizer is at hand.
pub fn count(input: &Input<'_>, bound: &TokenBound) -> Option<u64> {
    let texts = match input {
        Input::Texts(texts) => texts,
        Input::Tokens(shape) => return Some(shape.tokens),
    };
    match bound {
        TokenBound::Encoding(Encoding::cl100k_base) => Some(with(bpe_openai::cl100k_base(), texts)),
        TokenBound::Builtin(_) => builtin::Model::get().ok().map(|model| model.count(texts)),
        TokenBound::Factor(_) => None,
    }
}

fn with(tokenizer: &bpe_openai::Tokenizer, texts: &[std::borrow::Cow<'_, str>]) -> u64 {
    texts.iter().map(|text| tokenizer.count(text.as_ref()) as u64).sum()
}
