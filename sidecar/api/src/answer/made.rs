//! An answer in OpenAI's shape, made of vectors.
//!
//! Source: OpenAI's API reference, "Create embeddings" and "The embedding object". A number is written with as many digits as it
//! takes to read the same 32-bit float again.

use bytes::{Bytes, BytesMut};

use super::{binary, list};
use crate::request::EncodingFormat;

/// About how large a piece is.
const PIECE: usize = 64 * 1024;

/// The pieces of an answer.
pub fn made<V: AsRef<[f32]>>(vectors: Vec<V>, format: EncodingFormat, model: &str, tokens: u64) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut piece = Vec::with_capacity(PIECE / 8);
    piece.extend_from_slice(br#"{"object":"list","data":["#);
    for (index, vector) in vectors.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        piece.extend_from_slice(format!(r#"{comma}{{"object":"embedding","index":{index},"embedding":"#).as_bytes());
        let numbers = binary::of(vector.as_ref());
        match format {
            EncodingFormat::Float => list::write(&numbers, &mut piece),
            EncodingFormat::Base64 => binary::write(&numbers, &mut piece),
        }
        piece.push(b'}');
        if piece.len() > PIECE {
            pieces.push(Bytes::from(std::mem::take(&mut piece)));
        }
    }
    let model = serde_json::Value::from(model);
    let end = format!(r#"],"model":{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#);
    piece.extend_from_slice(end.as_bytes());
    pieces.push(Bytes::from(piece));
    pieces
}

/// Pieces as one.
pub fn join(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.pop() {
        None => Bytes::new(),
        Some(only) if pieces.is_empty() => only,
        Some(last) => {
            let length = pieces.iter().map(Bytes::len).sum::<usize>() + last.len();
            let mut whole = BytesMut::with_capacity(length);
            for piece in &pieces {
                whole.extend_from_slice(piece);
            }
            whole.extend_from_slice(&last);
            whole.freeze()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;

    fn read(vectors: &[Vec<f32>], format: EncodingFormat) -> serde_json::Value {
        serde_json::from_slice(&join(made(vectors.to_vec(), format, "a \"model\"", 7))).unwrap()
    }

    #[test]
    fn both_encodings_hold_the_same_numbers() {
        let vectors: Vec<Vec<f32>> = (0u8..100)
            .map(|at| {
                (0u16..300)
                    .map(|n| (f32::from(n) + 0.1) / (f32::from(at) - 50.3))
                    .chain([0.0, -0.0, f32::MIN_POSITIVE, f32::MAX])
                    .collect()
            })
            .collect();
        let (numbers, base64) = (read(&vectors, EncodingFormat::Float), read(&vectors, EncodingFormat::Base64));
        for answer in [&numbers, &base64] {
            assert_eq!(
                (answer["model"].as_str(), answer["usage"]["prompt_tokens"].as_u64()),
                (Some("a \"model\""), Some(7))
            );
            assert_eq!(answer["data"].as_array().unwrap().len(), 100);
        }
        for (at, vector) in vectors.iter().enumerate() {
            assert_eq!(numbers["data"][at]["index"], at);
            let floats: Vec<f32> = serde_json::from_value(numbers["data"][at]["embedding"].clone()).unwrap();
            let bytes = BASE64_STANDARD.decode(base64["data"][at]["embedding"].as_str().unwrap()).unwrap();
            let decoded: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
            assert_eq!((&floats, &decoded), (vector, vector));
        }
    }
}
