//! The answer as `OpenAI` writes it: indented, one number a line.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::call::{Call, Encoding};
use super::vector;

/// An answer that is not written yet.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) call: Arc<Call>,
    /// How many; beyond the number of inputs they begin again.
    pub(super) vectors: usize,
    pub(super) usage: Usage,
}

impl Call {
    /// The whole correct answer.
    pub fn answer(&self) -> Vec<u8> {
        let usage = Usage::Last(self.tokens());
        Answer { call: Arc::new(self.clone()), vectors: self.input.len(), usage }.whole()
    }
}

/// Where and how many tokens are reported.
#[derive(Debug, Clone, Copy)]
pub(super) enum Usage {
    First(u64),
    Last(u64),
    Absent,
}

impl Answer {
    /// The answer in parts, each made when it is asked for: of 2048 vectors as numbers (68 MB) one is in memory at a time.
    pub(super) fn parts(self) -> impl Iterator<Item = Bytes> + Send {
        let before = std::iter::once_with({
            let answer = self.clone();
            move || Bytes::from(answer.head())
        });
        let after = std::iter::once_with({
            let answer = self.clone();
            move || Bytes::from(answer.tail())
        });
        before.chain((0..self.vectors).map(move |index| Bytes::from(self.vector(index)))).chain(after)
    }

    /// The whole answer.
    pub(super) fn whole(self) -> Vec<u8> {
        self.parts().fold(Vec::new(), |mut whole, part| {
            whole.extend_from_slice(&part);
            whole
        })
    }

    fn head(&self) -> String {
        let usage = match self.usage {
            Usage::First(tokens) => format!("{},\n", usage(tokens)),
            Usage::Last(_) | Usage::Absent => String::new(),
        };
        format!("{{\n{usage}  \"object\": \"list\",\n  \"data\": [\n")
    }

    fn tail(&self) -> String {
        let model = Value::from(self.call.model.as_str());
        let usage = match self.usage {
            Usage::Last(tokens) => format!(",\n{}", usage(tokens)),
            Usage::First(_) | Usage::Absent => String::new(),
        };
        format!("  ],\n  \"model\": {model}{usage}\n}}")
    }

    fn vector(&self, index: usize) -> String {
        let mut out =
            format!("    {{\n      \"object\": \"embedding\",\n      \"index\": {index},\n      \"embedding\": ");
        let vector = self
            .call
            .input
            .get(index % self.call.input.len().max(1))
            .map(|item| vector::of(item, self.call.dimensions))
            .unwrap_or_default();
        match self.call.encoding {
            Encoding::Float => write_numbers(&mut out, &vector),
            Encoding::Base64 => write_base64(&mut out, &vector),
        }
        out.push_str(if index + 1 == self.vectors { "\n    }\n" } else { "\n    },\n" });
        out
    }
}

fn usage(tokens: u64) -> String {
    format!("  \"usage\": {{\n    \"prompt_tokens\": {tokens},\n    \"total_tokens\": {tokens}\n  }}")
}

fn write_numbers(out: &mut String, vector: &[f32]) {
    out.reserve(vector.len() * 24);
    for (index, number) in vector.iter().enumerate() {
        out.push_str(if index == 0 { "[\n        " } else { ",\n        " });
        // `Debug` writes the shortest digits that read back as the same float, small ones with an exponent: all valid JSON.
        // Writing to a string cannot fail.
        let _ = write!(out, "{number:?}");
    }
    out.push_str("\n      ]");
}

fn write_base64(out: &mut String, vector: &[f32]) {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str, usage: Usage) -> Value {
        let call = Arc::new(Call::parse(body.as_bytes()).unwrap());
        let vectors = call.input.len();
        serde_json::from_slice(&Answer { call, vectors, usage }.whole()).unwrap()
    }

    #[test]
    fn both_encodings_carry_the_same_vectors() {
        let float = answer(r#"{"model": "m", "input": ["a", "b"]}"#, Usage::Last(2));
        let base64 = answer(r#"{"model": "m", "input": ["a", "b"], "encoding_format": "base64"}"#, Usage::First(2));
        assert_eq!(float["usage"], base64["usage"]);
        for index in 0..2 {
            assert_eq!(float["data"][index]["index"], index);
            #[expect(clippy::cast_possible_truncation, reason = "the number was written from a 32-bit float")]
            let numbers: Vec<u8> = float["data"][index]["embedding"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|number| (number.as_f64().unwrap() as f32).to_le_bytes())
                .collect();
            assert_eq!(STANDARD.encode(numbers), base64["data"][index]["embedding"].as_str().unwrap());
        }
    }

    #[test]
    fn sizes_are_those_of_real_answers() {
        let size = |format: &str| {
            let body = format!(r#"{{"model": "text-embedding-3-small", "input": "a", "encoding_format": "{format}"}}"#);
            let call = Arc::new(Call::parse(body.as_bytes()).unwrap());
            Answer { call, vectors: 1, usage: Usage::Last(8) }.whole().len()
        };
        assert_eq!(size("base64"), 8_413);
        let float = size("float");
        assert!((32_000..34_500).contains(&float), "{float}");
    }

    #[test]
    fn usage_may_be_absent() {
        assert_eq!(answer(r#"{"model": "m", "input": "a"}"#, Usage::Absent).get("usage"), None);
    }
}
