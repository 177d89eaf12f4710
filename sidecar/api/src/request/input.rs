//! What is to be embedded: a string, strings, a token array, or token arrays.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::Malformed;

/// The most inputs of one call, as OpenAI has it.
const MAX_ITEMS: u64 = 2048;

/// The measure of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Inputs, hence vectors.
    pub items: u64,
    /// Bytes of text, over all inputs.
    pub bytes: u64,
    /// Tokens of token arrays, over all inputs.
    pub tokens: u64,
    /// The longest of the inputs: in bytes of text, or in tokens of a token array.
    pub longest: u64,
    /// Whether the inputs are token arrays.
    pub is_tokens: bool,
}

impl Shape {
    /// One text of so many bytes.
    pub fn of_text(bytes: u64) -> Self {
        Self { items: 1, bytes, tokens: 0, longest: bytes, is_tokens: false }
    }

    /// One token array of so many tokens.
    pub fn of_tokens(tokens: u64) -> Self {
        Self { items: 1, bytes: 0, tokens, longest: tokens, is_tokens: true }
    }

    /// Measures the JSON of an `input` and refuses what is not one.
    pub fn of(json: &str) -> Result<Self, Malformed> {
        let Measured(shape) = serde_json::from_str(json).map_err(|error| {
            // Only the reason: line and column would be those within the field.
            let message = error.to_string();
            Malformed::input(message.split(" at line ").next().unwrap_or(&message))
        })?;
        if shape.items > MAX_ITEMS {
            return Err(Malformed::input(format!("{} inputs, the most in one call is {MAX_ITEMS}", shape.items)));
        }
        Ok(shape)
    }
}

/// An input's texts, or the word that it has none.
#[derive(Debug)]
pub enum Input<'a> {
    /// Texts.
    Texts(Vec<Cow<'a, str>>),
    /// Token arrays, of this measure.
    Tokens(Shape),
}

impl<'a> Input<'a> {
    /// Reads an input that was measured before.
    pub(super) fn read(json: &'a str, shape: Shape) -> Result<Self, Malformed> {
        if shape.is_tokens {
            return Ok(Self::Tokens(shape));
        }
        let texts = if json.starts_with('"') {
            serde_json::from_str(json).map(|text: String| vec![Cow::Owned(text)])
        } else {
            serde_json::from_str(json)
        };
        texts.map(Self::Texts).map_err(Malformed::input)
    }
}

struct Measured(Shape);

impl<'de> Deserialize<'de> for Measured {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor).map(Measured)
    }
}

const EXPECTED: &str = "a string, an array of strings, an array of tokens, or an array of token arrays";
const EMPTY: &str = "it is empty";
const MIXED: &str = "strings and tokens cannot be mixed";

fn text<E: Error>(text: &str) -> Result<Shape, E> {
    if text.is_empty() {
        return Err(E::custom(EMPTY));
    }
    Ok(Shape::of_text(text.len() as u64))
}

struct WholeVisitor;

impl<'de> Visitor<'de> for WholeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    /// Empty, too: OpenAI embeds an empty string that is the whole input, and refuses one in an array. Its reference says of both that
    /// they "cannot be an empty string".
    ///
    /// Source: openai/openai-python issue 576 (a call of each kind, with what came back) and Azure-Samples/azure-search-openai-demo
    /// issue 1134 ("the single embedding API is fine with that input, but the batch embedding API is not").
    fn visit_str<E: Error>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::of_text(value.len() as u64))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut sum: Option<(Kind, Shape)> = None;
        let mut place = 0u64;
        loop {
            let here = |error: A::Error| A::Error::custom(format_args!("input[{place}]: {error}"));
            let Some(Item(kind, item)) = seq.next_element().map_err(here)? else { break };
            match &mut sum {
                None => sum = Some((kind, item)),
                Some((first, _)) if *first != kind => return Err(here(A::Error::custom(MIXED))),
                Some((_, sum)) => {
                    sum.items += item.items;
                    sum.bytes += item.bytes;
                    sum.tokens += item.tokens;
                    sum.longest = sum.longest.max(item.longest);
                }
            }
            place += 1;
        }
        match sum {
            None => Err(A::Error::custom("it is an empty array")),
            // An array of tokens is one input.
            Some((Kind::Token, shape)) => Ok(Shape { items: 1, longest: shape.tokens, ..shape }),
            Some((Kind::Text | Kind::Tokens, shape)) => Ok(shape),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Token,
    Tokens,
}

struct Item(Kind, Shape);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Item, E> {
        text(value).map(|shape| Item(Kind::Text, shape))
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<Item, E> {
        TokenVisitor.visit_u64(token)?;
        Ok(Item(Kind::Token, Shape::of_tokens(1)))
    }

    fn visit_f64<E: Error>(self, token: f64) -> Result<Item, E> {
        let Token(token) = TokenVisitor.visit_f64(token)?;
        self.visit_u64(token.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item, A::Error> {
        let mut tokens = 0;
        while seq.next_element::<Token>()?.is_some() {
            tokens += 1;
        }
        if tokens == 0 {
            return Err(A::Error::custom(EMPTY));
        }
        Ok(Item(Kind::Tokens, Shape::of_tokens(tokens)))
    }
}

/// A token. JSON knows no whole numbers: `7.0` is one, too.
#[derive(Clone, Copy)]
pub(super) struct Token(pub(super) u32);

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TokenVisitor)
    }
}

struct TokenVisitor;

impl Visitor<'_> for TokenVisitor {
    type Value = Token;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<Token, E> {
        u32::try_from(token).map(Token).map_err(|_| E::custom("a token is out of range"))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and in the range")]
    fn visit_f64<E: Error>(self, token: f64) -> Result<Token, E> {
        if token.fract() != 0.0 {
            return Err(E::custom("a token is not a whole number"));
        }
        if !(0.0..=f64::from(u32::MAX)).contains(&token) {
            return Err(E::custom("a token is out of range"));
        }
        Ok(Token(token as u32))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_form_is_measured() {
        for (json, items, bytes, tokens, longest) in [
            (r#""abc""#, 1, 3, 0, 3),
            ("\"\"", 1, 0, 0, 0),
            (r#""\u00e9""#, 1, 2, 0, 2),
            (r#"["ab","c"]"#, 2, 3, 0, 2),
            (r#"["c","ab"]"#, 2, 3, 0, 2),
            ("[1,2,3]", 1, 0, 3, 3),
            ("[[1,2],[3]]", 2, 0, 3, 2),
            ("[[1.0,2e0],[3]]", 2, 0, 3, 2),
            ("[7.0]", 1, 0, 1, 1),
        ] {
            let shape = Shape::of(json).unwrap();
            let found = (shape.items, shape.bytes, shape.tokens, shape.longest);
            assert_eq!(found, (items, bytes, tokens, longest), "{json}");
        }
    }

    #[test]
    fn what_is_no_input_is_refused_with_the_documented_words() {
        for json in [
            "null",
            "1",
            "true",
            "{}",
            "[]",
            "[\"\"]",
            "[\"a\",1]",
            "[1,\"a\"]",
            "[[1],\"a\"]",
            "[[]]",
            "[null]",
            "[-1]",
            "[1.5]",
            "[[1],2]",
            "[[[1]]]",
            "[4294967296]",
            "[4294967296.0]",
            "[[0.5]]",
        ] {
            let refusal = Shape::of(json).unwrap_err();
            assert!(refusal.message.starts_with("Invalid input format: "), "{json}: {}", refusal.message);
            assert_eq!(refusal.param, Some("input"));
        }
        for (json, begin) in [
            ("[]", "it is an empty array"),
            (r#"["a","","b"]"#, "input[1]: it is empty"),
            (r#"["a",null]"#, "input[1]: invalid type: null"),
            (r#"["a","b",3]"#, "input[2]: strings and tokens cannot be mixed"),
            ("[[1],[2],[]]", "input[2]: it is empty"),
            ("[[1],[2,0.5]]", "input[1]: a token is not a whole number"),
            (r#"["a","\ud800"]"#, "input[1]: "),
        ] {
            let message = Shape::of(json).unwrap_err().message;
            assert!(message.starts_with(&format!("Invalid input format: {begin}")), "{json}: {message}");
            assert!(!message.contains(" at line "), "{json}: {message}");
        }
        let many = format!("[{}]", vec!["\"a\""; 2049].join(","));
        assert!(Shape::of(&many).unwrap_err().message.contains("2049 inputs"));
    }
}
