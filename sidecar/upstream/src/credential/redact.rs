//! Taking credentials out of what a provider or an issuer says: some repeat what they were called with, whole or in part.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const REDACTED: &str = "[redacted]";
/// What keys (`sk-…`), JSON Web Tokens (`{"` in base64), Google's access tokens and AWS's key IDs begin with, and how many
/// letters, digits, `-` and `_` more it takes to look like one.
const LOOKS: [(&str, usize); 5] = [("sk-", 0), ("eyJ", 8), ("ya29.", 8), ("AKIA", 12), ("ASIA", 12)];
/// Part of a key that its owner is shown by, as in `ab***yz`.
const MASK: &str = "***";

/// The message without these secrets, and without words that look like one. Words stay as they were, and so does the
/// space between them.
pub fn redact<'a>(message: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut secrets: Vec<&str> = secrets.into_iter().map(str::trim).filter(|secret| !secret.is_empty()).collect();
    // One that holds another goes first: else its rest would stay.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut text = message.to_owned();
    for secret in secrets {
        text = text.replace(secret, REDACTED);
        // As it stands in a URL or a form.
        let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        if encoded != secret {
            text = text.replace(&encoded, REDACTED);
        }
    }
    text.split_inclusive(char::is_whitespace).map(word).collect()
}

/// A word with the space behind it.
fn word(word: &str) -> String {
    let text = word.trim_end_matches(char::is_whitespace);
    let space = word.get(text.len()..).unwrap_or_default();
    let masked = text.contains(MASK).then_some(0);
    let Some(at) = LOOKS.iter().filter_map(|&(look, more)| begin(text, look, more)).chain(masked).min() else {
        return word.to_owned();
    };
    format!("{}{REDACTED}{space}", text.get(..at).unwrap_or_default())
}

/// Where in a word something begins that is not the inside of another word: `task-x` holds no key.
fn begin(text: &str, look: &str, more: usize) -> Option<usize> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.match_indices(look).map(|(at, _)| at).find(|&at| {
        let (before, behind) = (text.get(..at), text.get(at + look.len()..));
        let begins = !before.unwrap_or_default().ends_with(|before: char| before.is_alphanumeric());
        begins && behind.unwrap_or_default().bytes().take_while(is_part).count() >= more
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_what_looks_like_one_are_taken_out() {
        for (message, clean) in [
            ("nothing to hide\n", "nothing to hide\n"),
            ("Invalid key top/secret, sorry", "Invalid key [redacted], sorry"),
            ("?key=top%2Fsecret&x", "?key=[redacted]&x"),
            ("Incorrect API key provided: sk-ab***yz. See", "Incorrect API key provided: [redacted] See"),
            ("key:sk-abc\tnext", "key:[redacted]\tnext"),
            ("got ab***yz\nfor", "got [redacted]\nfor"),
            ("model task-embedding is unknown", "model task-embedding is unknown"),
            ("bad jwt \"eyJhbGciOiJSUzI1NiJ9.x.y\"", "bad jwt \"[redacted]"),
            ("é ya29.a0AfH6SMBx é", "é [redacted] é"),
            ("(ASIAQ3EGTESTTEST1234)", "([redacted]"),
            ("ASIA is far", "ASIA is far"),
            ("longer top/secret-tail", "longer [redacted]"),
        ] {
            assert_eq!(redact(message, ["top/secret", "top/secret-tail", ""]), clean);
        }
    }
}
