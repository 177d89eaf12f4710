//! Requests and answers as the providers' references show them, and answers as nobody would wish for.
//!
//! One provider a file. What all dialects must hold to is written once, here and in [`any_answer`].

mod any_answer;
mod azure_open_ai;
mod bedrock;
mod cohere;
mod compatible;
mod databricks;
mod errors;
mod extensions;
mod gemini;
mod hugging_face;
mod jina;
mod mistral;
mod nvidia;
mod ollama;
mod open_ai;
mod sage_maker;
mod vertex_ai;
mod voyage;
mod watsonx;

use std::{borrow::Cow, sync::LazyLock};

use http::HeaderMap;
use serde_json::Value;

use super::{
    AnswerDefect, Dialect, ParsedAnswer, Part, PassthroughFields, Unsupported, Unusable, Wire, extension::Extensions,
};
use vectoll_api::request::InputType;

/// What every test embeds, as far as it is needed.
const TEXTS: [Cow<'static, str>; 3] =
    [Cow::Borrowed("The food was delicious."), Cow::Borrowed("Ünïcode \"quoted\"\n"), Cow::Borrowed("three")];

/// Nothing beyond OpenAI's.
static PLAIN: LazyLock<Extensions> = LazyLock::new(Extensions::default);

/// Some documents, with the model's own dimensions.
fn documents(model: &str, number: usize) -> Part<'_> {
    Part {
        model,
        texts: &TEXTS[..number],
        dimensions: None,
        input_type: InputType::Document,
        passthrough: PassthroughFields::default(),
        extensions: &PLAIN,
    }
}

/// The same as queries, cut to a number of dimensions.
fn queries(model: &str, number: usize, dimensions: u64) -> Part<'_> {
    Part { dimensions: Some(dimensions), input_type: InputType::Query, ..documents(model, number) }
}

/// What is sent: path and body. There are no headers yet that a dialect sets.
#[track_caller]
fn sent(dialect: &dyn Dialect, part: &Part<'_>) -> (String, Value) {
    let Wire { path, headers, body } = dialect.request(part).unwrap();
    assert_eq!(headers, []);
    (path, serde_json::from_slice(&body).unwrap())
}

/// What is refused, in words.
#[track_caller]
fn refused(dialect: &dyn Dialect, part: &Part<'_>) -> String {
    let Unsupported { param, message } = dialect.request(part).unwrap_err();
    assert_eq!(param, "dimensions");
    message
}

fn read(dialect: &dyn Dialect, part: &Part<'_>, body: &str) -> Result<ParsedAnswer, Unusable> {
    dialect.answer(part, &HeaderMap::new(), body.as_bytes())
}

/// Checks that an answer is what was told.
#[track_caller]
fn tells(dialect: &dyn Dialect, part: &Part<'_>, body: &str, vectors: &[&[f32]], tokens: Option<u64>) {
    let vectors = vectors.iter().map(|vector| vector.to_vec()).collect();
    assert_eq!(read(dialect, part, body), Ok(ParsedAnswer { vectors, tokens }));
}

/// What is wrong with an answer.
#[track_caller]
fn defect(dialect: &dyn Dialect, part: &Part<'_>, body: &str) -> AnswerDefect {
    read(dialect, part, body).unwrap_err().defect
}

/// Checks what is not right with an answer, whose vectors are given as they stand in it, and that it costs what it says all the
/// same. `most` is how many texts a request can hold, if it is one only.
#[track_caller]
fn refuses_what_is_no_answer(dialect: &dyn Dialect, model: &str, most: usize, answer: &dyn Fn(&[&str]) -> String) {
    let number = most.min(2);
    let part = documents(model, number);
    let good = vec!["[0.5,-1]"; number];
    let said = read(dialect, &part, &answer(&good)).unwrap().tokens;
    let unusable = |defect, tokens| Err(Unusable { defect, tokens });
    for none in [
        "null",
        "[]",
        "{}",
        "\"NaN\"",
        "\"nonsense!\"",
        "7",
        "true",
        "[null]",
        "[\"NaN\"]",
        "[\"0.5\"]",
        "[1e39]",
        "[-1e400]",
        "[[0.5]]",
        "[true]",
        "[0.5,{}]",
    ] {
        let mut vectors = good.clone();
        vectors[number - 1] = none;
        let body = answer(&vectors);
        assert_eq!(read(dialect, &part, &body), unusable(AnswerDefect::Vector, said), "{body}");
    }
    if most > 1 {
        // Who says the tokens of each text says nothing of one that is missing.
        let said = said.filter(|_| dialect.name() != "gcp.vertex_ai");
        for number in [0, 1, 3] {
            let body = answer(&vec!["[0.5,-1]"; number]);
            assert_eq!(read(dialect, &part, &body), unusable(AnswerDefect::Number, said), "{body}");
        }
    }
    let whole = answer(&good);
    for body in ["", "null", "7", "\"\"", "{}", "{\"error\":{}}", "[]]", "\u{feff}", &whole[..whole.len() - 1]] {
        assert_eq!(read(dialect, &part, body), unusable(AnswerDefect::Shape, None), "{body}");
    }
    // Halfway between two floats, and a little less: by way of 64 bits it would be rounded to the other one.
    let mut vectors = good.clone();
    vectors[0] = "[1.00000017881393432617187499,0]";
    assert_eq!(read(dialect, &part, &answer(&vectors)).unwrap().vectors[0], [f32::from_bits(0x3f80_0001), 0.0]);
    let shorter = Part { dimensions: Some(1), ..part };
    assert_eq!(read(dialect, &shorter, &whole), unusable(AnswerDefect::Length, said));
    if most > 1 {
        let mut vectors = good;
        vectors[1] = "[0.5]";
        assert_eq!(read(dialect, &part, &answer(&vectors)), unusable(AnswerDefect::Length, said));
    }
}

/// Checks that counts are believed, unless they are none.
#[track_caller]
fn counts(dialect: &dyn Dialect, part: &Part<'_>, answer: &dyn Fn(&str) -> String) {
    for (said, tokens) in [
        ("8", Some(8)),
        ("8.0", Some(8)),
        ("4294967295", Some(4_294_967_295)),
        ("4294967296", None),
        ("1e30", None),
        ("0", None),
        ("-1", None),
        ("null", None),
        ("\"8\"", None),
        ("{}", None),
    ] {
        let body = answer(said);
        assert_eq!(read(dialect, part, &body).map(|told| told.tokens), Ok(tokens), "{body}");
    }
}
