//! The texts of a call, for models that take nothing else.

use std::borrow::Cow;

use vectoll_config::v1::Encoding;

use crate::{
    call::{Call, Input},
    refusal::Refusal,
    tokens,
};

/// The inputs as texts, for a model that knows no others.
///
/// `most` is the largest body in bytes. Texts of token arrays are held to it as well: a token of a few digits may be 128 spaces.
pub(super) fn texts_of(call: &Call, encoding: Option<Encoding>, most: usize) -> Result<Vec<String>, Refusal> {
    match call.input()? {
        Input::Texts(texts) => Ok(texts.into_iter().map(Cow::into_owned).collect()),
        Input::Tokens(_) => {
            let encoding = encoding.or_else(|| tokens::encoding_of(&call.model)).ok_or_else(|| {
                let message = "this model takes text, and nobody knows which encoding these tokens are of: send strings, or \
                               set `tokens.encoding` on the ModelRoute's backend";
                Refusal::input(message)
            })?;
            let arrays = call.token_arrays().unwrap_or_default();
            let none = |at| Refusal::input(format!("input {at} has tokens that are none in {encoding:?}"));
            let mut length = 0;
            for (at, tokens) in arrays.iter().enumerate() {
                length += tokens::length_of(tokens, encoding).ok_or_else(|| none(at))?;
            }
            if length > most {
                return Err(Refusal::much_text(most));
            }
            let text = |(at, tokens): (usize, &Vec<u32>)| tokens::text_of(tokens, encoding).ok_or_else(|| none(at));
            arrays.iter().enumerate().map(text).collect()
        }
    }
}
