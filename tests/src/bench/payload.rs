//! What is sent, and what is answered to it.

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

use crate::provider::Call;

/// A shape of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// One input, answered in base64: what the official clients send.
    OneBase64,
    /// One input, answered as numbers.
    OneFloat,
    /// A hundred inputs, answered in base64.
    BatchBase64,
    /// A hundred inputs, answered as numbers: 3.3 MB.
    BatchFloat,
}

impl Payload {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OneBase64, Self::OneFloat, Self::BatchBase64, Self::BatchFloat];

    /// As a column of the report says it.
    pub fn title(self) -> &'static str {
        match self {
            Self::OneBase64 => "1 input, base64",
            Self::OneFloat => "1 input, float",
            Self::BatchBase64 => "100 inputs, base64",
            Self::BatchFloat => "100 inputs, float",
        }
    }

    /// A text inside the first input by which the responder tells the payloads apart, whoever rewrote the JSON around it.
    pub fn marker(self) -> &'static str {
        match self {
            Self::OneBase64 => "payload-one-base64",
            Self::OneFloat => "payload-one-float",
            Self::BatchBase64 => "payload-batch-base64",
            Self::BatchFloat => "payload-batch-float",
        }
    }

    /// The body of the request. That of a batch is below 16 KiB: nginx would write a larger one to a file first.
    pub fn request(self) -> Vec<u8> {
        let text =
            |number: usize| format!("{} {number}: how do I move a running database to another zone?", self.marker());
        let input = |count: usize| match count {
            1 => Value::from(text(0)),
            count => (0..count).map(text).collect(),
        };
        let (input, format) = match self {
            Self::OneBase64 => (input(1), "base64"),
            Self::OneFloat => (input(1), "float"),
            Self::BatchBase64 => (input(100), "base64"),
            Self::BatchFloat => (input(100), "float"),
        };
        json!({"model": "text-embedding-3-small", "input": input, "encoding_format": format}).to_string().into_bytes()
    }

    /// The body of the answer, byte for byte as the provider of the tests would write it.
    pub fn answer(self) -> anyhow::Result<Vec<u8>> {
        Ok(Call::parse(&self.request()).context("the payload is no valid call")?.answer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_sizes_of_real_ones() {
        for (payload, sizes) in [
            (Payload::OneBase64, 8_400..8_430),
            (Payload::OneFloat, 32_000..34_500),
            (Payload::BatchBase64, 820_000..845_000),
            (Payload::BatchFloat, 3_200_000..3_450_000),
        ] {
            assert!(payload.request().len() < 16 << 10);
            let size = payload.answer().unwrap().len();
            assert!(sizes.contains(&size), "{payload:?}: {size}");
        }
    }
}
