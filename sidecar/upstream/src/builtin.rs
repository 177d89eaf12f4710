//! The built-in model: a static table of token vectors inside this program (see `sidecar/model/README.md`).
//!
//! A provider with no account, no network and no GPU, whose vectors mean something. Not a replacement for a real model.
//!
//! A text is tokenized once: its tokens are counted as their vectors are summed up. The vectors are those of the model's own library to the
//! bit, which a test compares.
//!
//! Source: MinishLab/model2vec, "Inference" (the mean of the vectors of all tokens that are known, made a unit vector).

use std::sync::OnceLock;

use serde::Deserialize;
use tokenizers::Tokenizer;

static WEIGHTS: &[u8] = include_bytes!("../../model/model.safetensors");
static TOKENIZER: &[u8] = include_bytes!("../../model/tokenizer.json");

/// The numbers in a vector, unless the call asks for fewer.
pub const DIMENSIONS: usize = 256;
/// The token of a word that has a piece which is none. It has no part in a vector.
const UNKNOWN: &str = "[UNK]";
/// A shorter vector than this is not made longer.
const MIN_NORM: f32 = 1e-12;

static MODEL: OnceLock<Result<Model, String>> = OnceLock::new();

/// The loaded model.
#[derive(Debug)]
pub struct Model {
    tokenizer: Tokenizer,
    unknown: Option<u32>,
    /// The vector of each token, in signed bytes. They are read where they are: in the program's file.
    rows: &'static [[u8; DIMENSIONS]],
}

/// Texts that are embedded.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One vector for each text, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// The tokens of all of them.
    pub tokens: u64,
}

/// The head of a file of tensors, as far as it is needed.
///
/// Source: huggingface/safetensors, "Format": the head's length in 64 bits, little-endian; the head as JSON; the data.
#[derive(Deserialize)]
struct Tensors {
    embeddings: Tensor,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: [usize; 2],
    data_offsets: [usize; 2],
}

impl Model {
    /// The model, loaded at the first use: who has no built-in route does not pay for it.
    pub fn get() -> Result<&'static Self, &'static String> {
        MODEL
            .get_or_init(|| Self::load().map_err(|error| format!("failed to load the built-in model: {error}")))
            .as_ref()
    }

    /// Whether it is loaded.
    pub fn is_loaded() -> bool {
        MODEL.get().is_some()
    }

    fn load() -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_bytes(TOKENIZER).map_err(|error| error.to_string())?;
        // The file truncates and pads for training; a count must see all of a text and nothing else.
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        let (length, rest) = WEIGHTS.split_first_chunk::<8>().ok_or("the table is empty")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|error| error.to_string())?;
        let (head, data) = rest.split_at_checked(length).ok_or("the table is cut off")?;
        let Tensors { embeddings } = serde_json::from_slice(head).map_err(|error| error.to_string())?;
        let Tensor { dtype, shape: [rows, columns], data_offsets: [begin, end] } = embeddings;
        let (rows_found, rest) = data.get(begin..end).ok_or("the table is cut off")?.as_chunks::<DIMENSIONS>();
        if dtype != "I8" || columns != DIMENSIONS || rows_found.len() != rows || !rest.is_empty() {
            return Err("the table is another one".to_owned());
        }
        Ok(Self { unknown: tokenizer.token_to_id(UNKNOWN), tokenizer, rows: rows_found })
    }

    /// The tokens of some texts, without special ones: this model has none.
    pub fn count(&self, texts: &[impl AsRef<str>]) -> u64 {
        texts.iter().map(|text| self.tokens(text.as_ref(), <[u32]>::len).unwrap_or(text.as_ref().len())).sum::<usize>()
            as u64
    }

    /// What a text's tokens tell; none: it has none.
    fn tokens<T>(&self, text: &str, tell: impl FnOnce(&[u32]) -> T) -> Option<T> {
        self.tokenizer.encode_fast(text, false).ok().map(|encoding| tell(encoding.get_ids()))
    }

    /// The vectors of some texts, and how many tokens these are. `dimensions` is at most [`DIMENSIONS`]: the vectors are ordered by principal
    /// component, so that their beginnings, made unit vectors again, are vectors of their own.
    pub fn embed(&self, texts: &[impl AsRef<str>], dimensions: usize) -> Embedded {
        let mut tokens = 0;
        let vectors = texts.iter().map(|text| {
            let (vector, of_text) = self.vector(text.as_ref());
            tokens += of_text;
            cut(&vector, dimensions)
        });
        let vectors = vectors.collect();
        Embedded { vectors, tokens }
    }

    /// The vector of a text, and its tokens.
    fn vector(&self, text: &str) -> ([f32; DIMENSIONS], u64) {
        let (mut sum, mut known) = ([0.0_f32; DIMENSIONS], 0_u32);
        let add = |tokens: &[u32]| {
            for token in tokens.iter().filter(|token| Some(**token) != self.unknown) {
                let row = usize::try_from(*token).ok().and_then(|token| self.rows.get(token));
                let Some(row) = row else { continue };
                known += 1;
                for (sum, number) in sum.iter_mut().zip(row) {
                    *sum += f32::from(number.cast_signed());
                }
            }
            tokens.len()
        };
        let tokens = self.tokens(text, add).unwrap_or(text.len()) as u64;
        #[allow(clippy::cast_precision_loss, reason = "as the model's own library has it; exact up to 2²⁴ tokens")]
        let number = known.max(1) as f32;
        let mut squares = 0.0_f32;
        for sum in &mut sum {
            *sum /= number;
            squares += *sum * *sum;
        }
        let norm = squares.sqrt().max(MIN_NORM);
        for sum in &mut sum {
            *sum /= norm;
        }
        (sum, tokens)
    }
}

/// The beginning of a vector, as a unit vector.
fn cut(vector: &[f32; DIMENSIONS], dimensions: usize) -> Vec<f32> {
    let mut cut: Vec<f32> = vector.iter().copied().take(dimensions).collect();
    let norm = cut.iter().map(|number| number * number).sum::<f32>().sqrt();
    if norm > 0.0 {
        for number in &mut cut {
            *number /= norm;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use std::sync::LazyLock;

    use model2vec_rs::model::StaticModel;
    use proptest::prelude::*;

    use super::*;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn vector(text: &str, dimensions: usize) -> Vec<f32> {
        Model::get().unwrap().embed(&[text], dimensions).vectors.remove(0)
    }

    #[test]
    fn vectors_mean_something_at_every_length() {
        for dimensions in [32, 128, DIMENSIONS] {
            let of = |text: &str| vector(text, dimensions);
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
    fn what_is_embedded_is_counted() {
        let (model, texts) =
            (Model::get().unwrap(), ["a cat sat on the mat", "", "日本語 and [UNK] \u{1F469}", "tokenization"]);
        let Embedded { vectors, tokens } = model.embed(&texts, DIMENSIONS);
        assert_eq!(tokens, model.count(&texts));
        for (text, found) in texts.iter().zip(&vectors) {
            assert_eq!(found, &vector(text, DIMENSIONS), "{text}: one text leaves nothing behind for the next");
        }
        assert_eq!(vectors[1], [0.0; DIMENSIONS]);
    }

    /// The model's own library.
    static THEIRS: LazyLock<StaticModel> = LazyLock::new(|| {
        let config = include_bytes!("../../model/config.json");
        StaticModel::from_bytes(TOKENIZER, WEIGHTS, config, Some(true)).unwrap()
    });

    fn same(text: &str) -> bool {
        let theirs = THEIRS.encode_with_args(&[text.to_owned()], None, 1).remove(0);
        let (ours, _) = Model::get().unwrap().vector(text);
        ours.iter().map(|number| number.to_bits()).eq(theirs.iter().map(|number| number.to_bits()))
    }

    /// Prints how many texts a second it embeds, and how many the model's own library; release builds are what counts.
    #[test]
    #[allow(clippy::print_stdout, reason = "the figure is what it is for")]
    fn texts_are_embedded_beside_the_models_own_library() {
        const TEXTS: u32 = 2_000;
        let texts =
            vec!["The quick brown fox jumps over the lazy dog, and tokenization of embeddings follows".to_owned(); 100];
        let model = Model::get().unwrap();
        let of = |embed: &dyn Fn()| {
            embed();
            let begun = std::time::Instant::now();
            (0..TEXTS / 100).for_each(|_| embed());
            f64::from(TEXTS) / begun.elapsed().as_secs_f64()
        };
        let ours = of(&|| drop(std::hint::black_box(model.embed(&texts, DIMENSIONS))));
        let theirs = of(&|| {
            for text in &texts {
                std::hint::black_box(THEIRS.encode_with_args(std::slice::from_ref(text), None, 1));
            }
        });
        println!("texts a second: {ours:.0}; Model2Vec's: {theirs:.0}; ratio {:.2}", ours / theirs);
    }

    #[test]
    fn vectors_are_those_of_the_models_own_library() {
        let long = "all work and no play makes jack a dull boy ".repeat(3_000);
        for text in ["", "a cat sat on the mat", "Ünïcödé [MASK] 日本語 🦀", "x".repeat(200).as_str(), &long] {
            assert!(same(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_vector_is_that_of_the_models_own_library(text in "(\\PC|[a-zA-Z ]){0,60}") {
            prop_assert!(same(&text), "{:?}", text);
        }
    }
}
