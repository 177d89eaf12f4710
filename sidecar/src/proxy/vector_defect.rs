//! What is wrong with vectors that were put together.

use vectoll_api::answer::VectorError;

/// What is wrong with them: there are to be so many, all of one length, which is the one that was asked for, if any was.
pub(super) fn wrong(vectors: &[Vec<f32>], items: u64, dimensions: Option<u64>) -> Option<VectorError> {
    let first = vectors.first().map_or(0, Vec::len);
    if vectors.len() as u64 != items {
        Some(VectorError::Number)
    } else if vectors.iter().any(|vector| vector.len() != first) {
        Some(VectorError::Lengths)
    } else {
        let asked = dimensions.filter(|asked| *asked != first as u64)?;
        Some(VectorError::Dimensions { asked, found: first })
    }
}
