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

/// The encoding that clients of OpenAI's cut the text for a model of this name with. A provider's name may stand before it.
pub fn encoding_of(model: &str) -> Option<Encoding> {
    match model.rsplit('/').next().unwrap_or(model) {
        "text-embedding-3-small" | "text-embedding-3-large" | "text-embedding-ada-002" => Some(Encoding::cl100k_base),
        _ => None,
    }
}

/// The text that tokens are of. None: they are none of the encoding's, or cut a character in two.
pub fn text_of(tokens: &[u32], encoding: Encoding) -> Option<String> {
    let tokenizer = match encoding {
        Encoding::cl100k_base => bpe_openai::cl100k_base(),
    };
    let all = tokenizer.bpe.num_tokens();
    let known = tokens.iter().all(|token| usize::try_from(*token).is_ok_and(|token| token < all));
    if known { tokenizer.decode(tokens) } else { None }
}

fn with(tokenizer: &bpe_openai::Tokenizer, texts: &[std::borrow::Cow<'_, str>]) -> u64 {
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
        let whole = bpe_openai::cl100k_base().encode("日本語のテキスト🦀");
        let cut = (1..whole.len()).filter(|end| text_of(&whole[..*end], Encoding::cl100k_base).is_none()).count();
        assert!(cut > 0, "some tokens end within a character");
    }

    #[test]
    fn openais_models_are_known_with_and_without_a_provider() {
        assert_eq!(encoding_of("openai/text-embedding-3-small"), Some(Encoding::cl100k_base));
        assert_eq!(encoding_of("builtin"), None);
    }
}
