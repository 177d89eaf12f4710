//! The built-in model: a static table of token vectors inside this program (see `sidecar/model/README.md`).
//!
//! A provider with no account, no network and no GPU, whose vectors mean something. Not a replacement for a real model.

use std::sync::{Arc, OnceLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use model2vec_rs::model::StaticModel;
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::call::EncodingFormat;

static WEIGHTS: &[u8] = include_bytes!("../../model/model.safetensors");
static TOKENIZER: &[u8] = include_bytes!("../../model/tokenizer.json");
static CONFIG: &[u8] = include_bytes!("../../model/config.json");

/// The numbers in a vector, unless the call asks for fewer.
pub const DIMENSIONS: usize = 256;

/// The loaded model.
#[derive(Debug)]
pub struct Model {
    vectors: StaticModel,
    tokenizer: Tokenizer,
}

impl Model {
    /// The model, loaded at the first use: who has no built-in route does not pay for it.
    pub fn get() -> Result<&'static Arc<Self>, &'static String> {
        static MODEL: OnceLock<Result<Arc<Model>, String>> = OnceLock::new();
        MODEL.get_or_init(|| Self::load().map(Arc::new)).as_ref()
    }

    fn load() -> Result<Self, String> {
        let vectors = StaticModel::from_bytes(TOKENIZER, WEIGHTS, CONFIG, Some(true))
            .map_err(|error| format!("failed to load the built-in model: {error}"))?;
        let mut tokenizer = Tokenizer::from_bytes(TOKENIZER)
            .map_err(|error| format!("failed to load the built-in model's tokenizer: {error}"))?;
        // The file truncates and pads for training; a count must see all of a text and nothing else.
        tokenizer.with_truncation(None).map_err(|error| format!("failed to set up the tokenizer: {error}"))?;
        tokenizer.with_padding(None);
        Ok(Self { vectors, tokenizer })
    }

    /// The tokens of some texts, without special ones: this model has none.
    pub fn count(&self, texts: &[impl AsRef<str>]) -> u64 {
        texts
            .iter()
            .map(|text| {
                self.tokenizer.encode_fast(text.as_ref(), false).map_or(text.as_ref().len(), |encoding| encoding.len())
            })
            .sum::<usize>() as u64
    }

    /// One answer in OpenAI's shape. `dimensions` is at most [`DIMENSIONS`]: the vectors are ordered by principal
    /// component, so that their beginnings, made unit vectors again, are vectors of their own.
    pub fn answer(
        &self,
        texts: &[String],
        dimensions: usize,
        format: EncodingFormat,
        model: &str,
        tokens: u64,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let data = texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let vector = self.vector(text, dimensions);
                let embedding = match format {
                    EncodingFormat::Float => Embedding::Float(vector),
                    EncodingFormat::Base64 => {
                        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                        Embedding::Base64(BASE64_STANDARD.encode(bytes))
                    }
                };
                Item { object: "embedding", index, embedding }
            })
            .collect();
        let usage = Usage { prompt_tokens: tokens, total_tokens: tokens };
        serde_json::to_vec(&Answer { object: "list", data, model, usage })
    }

    fn vector(&self, text: &str, dimensions: usize) -> Vec<f32> {
        let whole = self.vectors.encode_with_args(&[text.to_owned()], None, 1).pop().unwrap_or_default();
        let mut cut: Vec<f32> = whole.into_iter().take(dimensions).collect();
        let norm = cut.iter().map(|number| number * number).sum::<f32>().sqrt();
        if norm > 0.0 {
            for number in &mut cut {
                *number /= norm;
            }
        }
        cut
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Item>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Embedding,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Embedding {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_mean_something_at_every_length() {
        let model = Model::get().unwrap();
        for dimensions in [32, 128, DIMENSIONS] {
            let of = |text: &str| model.vector(text, dimensions);
            let (cat, kitten, tax) =
                (of("a cat sat on the mat"), of("the kitten lay on a rug"), of("income tax return"));
            assert_eq!(cat.len(), dimensions);
            assert!((cosine(&cat, &cat) - 1.0).abs() < 1e-5, "unit length");
            assert!(cosine(&cat, &kitten) > cosine(&cat, &tax) + 0.1, "{dimensions} dimensions");
        }
    }

    #[test]
    fn no_text_has_more_tokens_than_bytes() {
        let model = Model::get().unwrap();
        for text in ["a", "...", "가나다", "ﷺ", "日本語", "\u{1F469}\u{200D}\u{1F4BB}", "ǅ", "e\u{301}", "½"]
        {
            assert!(model.count(&[text]) <= text.len() as u64, "{text}");
        }
    }

    #[test]
    fn both_encodings_hold_the_same_numbers() {
        let model = Model::get().unwrap();
        let read = |format| -> serde_json::Value {
            serde_json::from_slice(&model.answer(&["x y".to_owned()], 8, format, "m", 2).unwrap()).unwrap()
        };
        let floats: Vec<f32> =
            serde_json::from_value(read(EncodingFormat::Float)["data"][0]["embedding"].clone()).unwrap();
        let base64 = read(EncodingFormat::Base64)["data"][0]["embedding"].as_str().unwrap().to_owned();
        let bytes = BASE64_STANDARD.decode(base64).unwrap();
        let decoded: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(floats, decoded);
    }
}
