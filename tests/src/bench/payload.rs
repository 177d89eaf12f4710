//! What is sent, and what is answered to it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

use crate::provider::{Call, Encoding};

/// What every text of an input begins with, before the payload's name: the responder finds it whoever rewrote the JSON around it.
pub const MARK: &str = "payload-";

/// A shape of request, and of the answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Payload {
    /// Inputs.
    pub inputs: usize,
    /// Numbers in each vector.
    pub dimensions: usize,
    /// How the caller asks for the vectors.
    pub format: Format,
    /// How the provider writes them, whatever it was asked for.
    pub answered: Format,
    /// Bytes that each text is filled up to, if it is shorter.
    pub text_bytes: usize,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Little-endian 32-bit floats in base64: what the official clients ask for.
    Base64,
    /// Numbers.
    Float,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Float => "float",
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Self::Base64 => Encoding::Base64,
            Self::Float => Encoding::Float,
        }
    }
}

impl Payload {
    /// One input, answered in base64: what the official clients send.
    pub const ONE_BASE64: Self = Self::new(1, 1536, Format::Base64);
    /// One input, answered as numbers.
    pub const ONE_FLOAT: Self = Self::new(1, 1536, Format::Float);
    /// A hundred inputs, answered in base64.
    pub const BATCH_BASE64: Self = Self::new(100, 1536, Format::Base64);
    /// A hundred inputs, answered as numbers: 3.3 MB.
    pub const BATCH_FLOAT: Self = Self::new(100, 1536, Format::Float);
    /// The four that every comparison has.
    pub const COMMON: [Self; 4] = [Self::ONE_BASE64, Self::ONE_FLOAT, Self::BATCH_BASE64, Self::BATCH_FLOAT];

    /// A payload whose provider does as it is asked.
    pub const fn new(inputs: usize, dimensions: usize, format: Format) -> Self {
        Self { inputs, dimensions, format, answered: format, text_bytes: 0 }
    }

    /// The same from a provider that writes vectors in one way only.
    #[must_use]
    pub const fn answered_in(self, answered: Format) -> Self {
        Self { answered, ..self }
    }

    /// The same with longer texts.
    #[must_use]
    pub const fn with_texts_of(self, text_bytes: usize) -> Self {
        Self { text_bytes, ..self }
    }

    /// Every number of inputs, with either length of vectors, in both encodings.
    pub fn shapes() -> Vec<Self> {
        let mut all = Vec::new();
        for inputs in [1, 100, 2048] {
            for dimensions in [1536, 3072] {
                all.extend([Format::Base64, Format::Float].map(|format| Self::new(inputs, dimensions, format)));
            }
        }
        all
    }

    /// Its name in files.
    pub fn name(self) -> String {
        let Self { inputs, dimensions, format, answered, text_bytes } = self;
        let from = if format == answered { String::new() } else { format!("-from-{}", answered.name()) };
        let texts = if text_bytes == 0 { String::new() } else { format!("-of-{text_bytes}-bytes") };
        format!("{inputs}-{dimensions}-{}{from}{texts}", format.name())
    }

    /// As a table says it.
    pub fn title(self) -> String {
        let Self { inputs, dimensions, format, answered, text_bytes } = self;
        let inputs = match inputs {
            1 => "1 input".to_owned(),
            2048 => "2,048 inputs".to_owned(),
            inputs => format!("{inputs} inputs"),
        };
        let dimensions = if dimensions == 1536 { String::new() } else { format!(", {dimensions} dimensions") };
        let from = if format == answered { String::new() } else { format!(" from {}", answered.name()) };
        let texts = if text_bytes == 0 { String::new() } else { format!(", texts of {text_bytes} bytes") };
        format!("{inputs}{dimensions}, {}{from}{texts}", format.name())
    }

    /// The model that makes vectors of this length.
    pub fn model(self) -> &'static str {
        if self.dimensions == 3072 { "text-embedding-3-large" } else { "text-embedding-3-small" }
    }

    /// The body of the request, for the model of this name. That of a common batch is below 16 KiB: nginx would write a larger one to a
    /// file first if it were not told to keep it.
    pub fn request_for(self, model: &str) -> Vec<u8> {
        let name = self.name();
        let text = |number: usize| {
            let text = format!("{MARK}{name} {number}: how do I move a running database to another zone?");
            let filler = self.text_bytes.saturating_sub(text.len());
            text + &" and then to one more".repeat(filler.div_ceil(21)).chars().take(filler).collect::<String>()
        };
        let input = match self.inputs {
            1 => Value::from(text(0)),
            inputs => (0..inputs).map(text).collect(),
        };
        json!({"model": model, "input": input, "encoding_format": self.format.name()}).to_string().into_bytes()
    }

    /// The body of the request.
    pub fn request(self) -> Vec<u8> {
        self.request_for(self.model())
    }

    /// The body of the answer, byte for byte as the provider of the tests would write it.
    pub fn answer(self) -> anyhow::Result<Vec<u8>> {
        let call = Call::parse(&self.request()).context("the payload is no valid call")?;
        Ok(Call { dimensions: self.dimensions, encoding: self.answered.encoding(), ..call }.answer())
    }

    /// The bytes of that, which is written once for it: it may be a hundred megabytes.
    pub fn answer_length(self) -> anyhow::Result<u64> {
        static KNOWN: Mutex<BTreeMap<Payload, u64>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(length) = known.get(&self) {
            return Ok(*length);
        }
        let length = self.answer()?.len() as u64;
        known.insert(self, length);
        Ok(length)
    }
}

impl From<Payload> for String {
    fn from(payload: Payload) -> Self {
        payload.name()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn answers_have_the_sizes_of_real_ones() {
        for (payload, sizes) in [
            (Payload::ONE_BASE64, 8_400..8_430),
            (Payload::ONE_FLOAT, 32_000..34_500),
            (Payload::BATCH_BASE64, 820_000..845_000),
            (Payload::BATCH_FLOAT, 3_200_000..3_450_000),
            (Payload::new(1, 3072, Format::Base64), 16_550..16_650),
            (Payload::ONE_BASE64.answered_in(Format::Float), 32_000..34_500),
        ] {
            assert!(payload.request().len() < 16 << 10);
            let size = payload.answer().unwrap().len();
            assert!(sizes.contains(&size), "{payload:?}: {size}");
        }
    }

    #[test]
    fn texts_are_as_long_as_they_are_to_be() {
        let request = Payload::new(3, 1536, Format::Float).with_texts_of(1_000).request();
        assert!((3_000..3_200).contains(&request.len()), "{}", request.len());
    }

    #[test]
    fn names_tell_all_shapes_apart() {
        let mut all = Payload::shapes();
        all.push(Payload::ONE_FLOAT.answered_in(Format::Base64));
        all.push(Payload::ONE_FLOAT.with_texts_of(8_000));
        let names: BTreeSet<String> = all.iter().map(|payload| payload.name()).collect();
        assert_eq!((names.len(), all.len()), (14, 14));
        assert!(names.contains("2048-3072-base64") && names.contains("1-1536-float-from-base64"));
    }
}
