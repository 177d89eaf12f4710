//! The input tokens that an answer reports.
//!
//! Source: OpenAI's API reference, "Create embeddings" (`usage.prompt_tokens`, `usage.total_tokens`). Some servers report the total
//! only, or write whole numbers as `8.0`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::request::whole;

#[derive(Deserialize)]
struct Usage<'a> {
    #[serde(borrow, default)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    total_tokens: Option<&'a RawValue>,
}

/// The tokens in the value of `usage`. An embedding has no output: the total is the input's.
pub(super) fn tokens(value: &[u8]) -> Option<u64> {
    let Usage { prompt_tokens, total_tokens } = serde_json::from_slice(value).ok()?;
    credible(prompt_tokens).or_else(|| credible(total_tokens))
}

/// No input is empty, so none is free; and more than this nobody sends. Such a number says nothing.
fn credible(count: Option<&RawValue>) -> Option<u64> {
    whole(count?.get()).filter(|tokens| (1..=u64::from(u32::MAX)).contains(tokens))
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn a_count_is_read_however_it_is_written() {
        for (value, expected) in [
            (r#"{"prompt_tokens":8,"total_tokens":9}"#, Some(8)),
            (r#"{"prompt_tokens":8.0}"#, Some(8)),
            (r#"{"prompt_tokens":9e0}"#, Some(9)),
            (r#"{"total_tokens":9}"#, Some(9)),
            (r#"{"prompt_tokens":0,"total_tokens":9}"#, Some(9)),
            (r#"{"prompt_tokens":null,"total_tokens":9}"#, Some(9)),
            (r#"{"prompt_tokens":"8","total_tokens":9}"#, Some(9)),
            (r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":1}}"#, Some(9)),
            (r#"{"prompt_tokens":0,"total_tokens":0}"#, None),
            (r#"{"prompt_tokens":18446744073709551615}"#, None),
            (r#"{"prompt_tokens":-1}"#, None),
            (r#"{"prompt_tokens":8.5}"#, None),
            ("{}", None),
            ("null", None),
            (r#"{"prompt_tok"#, None),
        ] {
            assert_eq!(tokens(value.as_bytes()), expected, "{value}");
        }
    }
}
