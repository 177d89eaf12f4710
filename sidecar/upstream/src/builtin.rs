//! The built-in model: a static table of token vectors inside this program (see `sidecar/model/README.md`).
//!
//! A provider with no account, no network and no GPU, whose vectors mean something. Not a replacement for a real model.

use std::sync::{Arc, OnceLock};

use model2vec_rs::model::StaticModel;
use tokenizers::Tokenizer;

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

    /// The vector of a text. `dimensions` is at most [`DIMENSIONS`]: the vectors are ordered by principal component, so that their
    /// beginnings, made unit vectors again, are vectors of their own.
    pub fn vector(&self, text: &str, dimensions: usize) -> Vec<f32> {
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
}
