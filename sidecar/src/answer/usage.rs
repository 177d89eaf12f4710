//! Finding `usage` in an answer without parsing the vectors.
//!
//! Providers write it behind the vectors (OpenAI, vLLM, TEI) or before them (llama.cpp), so it is looked for in the
//! answer's last and first bytes. Inside a JSON string a quote is escaped, so `"usage"` with bare quotes is a key.

use std::sync::LazyLock;

use memchr::memmem::{Finder, FinderRev};
use serde::Deserialize;

static USAGE: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(b"\"usage\""));
static DATA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"data\""));

/// How many bytes of each end are looked at.
pub(super) const EDGE: usize = 2048;

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

/// The input tokens that the answer reports.
pub(super) fn reported(head: &[u8], tail: &[u8]) -> Option<u64> {
    in_edge(tail).or_else(|| in_edge(head))
}

fn in_edge(edge: &[u8]) -> Option<u64> {
    let at = USAGE.rfind(edge)?;
    let rest = edge.get(at + USAGE.needle().len()..)?.trim_ascii_start().strip_prefix(b":")?;
    // Reads one value and leaves alone what follows it.
    let usage = serde_json::Deserializer::from_slice(rest).into_iter::<Usage>().next()?.ok()?;
    // No input is empty, so none is free; and more than this nobody sends. Such a number says nothing.
    usage.prompt_tokens.or(usage.total_tokens).filter(|tokens| (1..=u64::from(u32::MAX)).contains(tokens))
}

/// Whether the ends of an answer are those of a JSON object with vectors in it.
pub(super) fn fault(head: &[u8], tail: &[u8]) -> Option<&'static str> {
    if head.trim_ascii_start().first() != Some(&b'{') {
        Some("it is not a JSON object")
    } else if tail.trim_ascii_end().last() != Some(&b'}') {
        Some("it ends in the middle")
    } else if DATA.find(head).is_none() && DATA.find(tail).is_none() {
        Some("it has no `data`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_found_at_either_end() {
        for (head, tail, tokens) in [
            (r#"{"data":["#, r#"}],"usage":{"prompt_tokens":8,"total_tokens":9}}"#, Some(8)),
            (
                r#"{"data":["#,
                "}],\n  \"usage\": {\n    \"prompt_tokens\": 8,\n    \"total_tokens\": 8\n  }\n}\n",
                Some(8),
            ),
            (r#"{"data":["#, r#"}],"usage":{"total_tokens":9},"model":"x"}"#, Some(9)),
            (r#"{"usage":{"prompt_tokens":8},"data":["#, "}]}", Some(8)),
            (r#"{"data":["#, r#"}],"usage":null}"#, None),
            (r#"{"data":["#, r#"}],"usage":{"prompt_tokens":0,"total_tokens":0}}"#, None),
            (r#"{"data":["#, r#"}],"usage":{"prompt_tokens":18446744073709551615}}"#, None),
            (r#"{"data":["#, r#"}],"model":"\"usage\":{\"prompt_tokens\":1}"}"#, None),
            (r#"{"data":["#, r#"}],"usage":{"prompt_tokens":-1}}"#, None),
            (r#"{"data":["#, r#"}],"usage":{"prompt_tok"#, None),
        ] {
            assert_eq!(reported(head.as_bytes(), tail.as_bytes()), tokens, "{tail}");
        }
    }

    #[test]
    fn what_is_no_answer_is_noticed() {
        let good = br#"{"object":"list","data":[],"usage":{}}"#;
        assert_eq!(fault(good, good), None);
        assert!(fault(b"<html>", b"</html>").is_some());
        assert!(fault(b"{\"data\":[", b"0.1, 0.2").is_some());
        assert!(fault(b"{\"error\":1}", b"{\"error\":1}").is_some());
        assert!(fault(b"", b"").is_some());
    }
}
