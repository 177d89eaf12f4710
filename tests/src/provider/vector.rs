//! The vectors: a function of the input alone, so that a test can compute what has to arrive.

use super::item::Item;

/// Numbers in a vector that was not asked to be shorter.
pub const FULL_DIMENSIONS: usize = 1536;

/// The unit vector of `item`; a shorter one is the full one cut and normalised again, as `OpenAI` does.
pub fn of(item: &Item, dimensions: usize) -> Vec<f32> {
    let mut state = seed(item);
    let cut: Vec<f64> = (0..dimensions).map(|_| uniform(&mut state)).collect();
    let norm = cut.iter().map(|number| number * number).sum::<f64>().sqrt();
    cut.into_iter().map(|number| to_f32(number / norm)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "vectors are 32-bit floats: rounding is the point")]
fn to_f32(number: f64) -> f32 {
    number as f32
}

/// FNV-1a, 64 bits, over a byte for the kind and the content.
fn seed(item: &Item) -> u64 {
    match item {
        Item::Text(text) => fnv1a(std::iter::once(b't').chain(text.bytes())),
        Item::Tokens(tokens) => fnv1a(std::iter::once(b'n').chain(tokens.iter().flat_map(|token| token.to_le_bytes()))),
    }
}

fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A number in [-1, 1) by `SplitMix64`.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let high = (mixed ^ (mixed >> 31)) >> 32;
    f64::from(u32::try_from(high).unwrap_or(u32::MAX)) / f64::from(1_u32 << 31) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_unit_norm_and_follow_the_input() {
        let item = |text: &str| Item::Text(text.to_owned());
        for dimensions in [1, 2, 512, 1536] {
            let vector = of(&item("hello"), dimensions);
            assert_eq!(vector.len(), dimensions);
            let norm: f64 = vector.iter().map(|number| f64::from(*number).powi(2)).sum();
            assert!((norm - 1.0).abs() < 1e-6, "{dimensions}: {norm}");
        }
        assert_eq!(of(&item("hello"), 8), of(&item("hello"), 8));
        assert_ne!(of(&item("hello"), 8), of(&item("hello "), 8));
        assert_ne!(of(&Item::Tokens(vec![1, 2]), 8), of(&Item::Tokens(vec![2, 1]), 8));
    }

    #[test]
    fn a_shorter_vector_points_the_same_way() {
        let item = Item::Text("hello".to_owned());
        let (full, cut) = (of(&item, 1536), of(&item, 512));
        let scale = f64::from(full[0]) / f64::from(cut[0]);
        for (full, cut) in full.iter().zip(&cut) {
            assert!((f64::from(*full) - f64::from(*cut) * scale).abs() < 1e-6);
        }
    }
}
