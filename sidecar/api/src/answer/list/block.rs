//! The next numbers of a list, as many as end within sixty-four bytes, looked at side by side.
//!
//! A word has a bit for each byte, the lowest for the first, and for each kind of byte there is one word that says where they are. Then
//! one addition passes all runs of digits at once: where the bit of a run's beginning is added to the bits of the digits, the carry
//! comes out behind its end. So a number is followed part by part, and all of them beside each other.
//!
//! Source of the technique: Langdale and Lemire, "Parsing Gigabytes of JSON per Second", The VLDB Journal 28 (2019).

use wide::u8x16;

/// The bytes that are looked at together.
const LENGTH: usize = 64;

/// Numbers that are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// How many there are.
    pub(super) numbers: usize,
    /// How many bytes they take, with what stands behind the last of them.
    pub(super) length: usize,
    /// Whether that is the list's end, and not a comma.
    pub(super) is_last: bool,
}

/// The next numbers, all of them surely finite, where the next one begins, or space before it. None: one of them is not plainly right,
/// or too long.
#[inline]
pub(super) fn step(list: &[u8]) -> Option<Step> {
    // Zeros are no part of a number.
    let mut padded = [0; LENGTH];
    let bytes = if let Some(bytes) = list.first_chunk() {
        bytes
    } else {
        padded.get_mut(..list.len())?.copy_from_slice(list);
        &padded
    };
    Block::of(bytes).step()
}

struct Block {
    bytes: [u8x16; LENGTH / 16],
    digits: u64,
    minuses: u64,
    points: u64,
    spaces: u64,
    commas: u64,
}

impl Block {
    #[inline]
    fn of(bytes: &[u8; LENGTH]) -> Self {
        let (lanes, _) = bytes.as_chunks::<16>();
        let mut lanes = lanes.iter().map(|lane| u8x16::new(*lane));
        let bytes = std::array::from_fn(|_| lanes.next().unwrap_or_default());
        let is = |byte| where_it_is(&bytes, byte);
        let digits = bits(&bytes, |lane| {
            let value = lane - u8x16::splat(b'0');
            value.min(u8x16::splat(9)).simd_eq(value)
        });
        // Of white space these are all that is usual.
        let spaces = bits(&bytes, |lane| lane.simd_eq(u8x16::splat(b' ')) | lane.simd_eq(u8x16::splat(b'\n')));
        Self { digits, minuses: is(b'-'), points: is(b'.'), spaces, commas: is(b','), bytes }
    }

    #[inline]
    fn step(&self) -> Option<Step> {
        let Self { bytes, digits, minuses, points, spaces, commas } = *self;
        let is_ordinary = digits | minuses | points | spaces | commas == u64::MAX;
        let (exponents, brackets) = if is_ordinary {
            (0, 0)
        } else {
            (bits(&bytes, |lane| (lane | u8x16::splat(0x20)).simd_eq(u8x16::splat(b'e'))), where_it_is(&bytes, b']'))
        };
        // Up to the first bracket, or else to the last comma.
        let end = if brackets == 0 { highest(commas) } else { lowest(brackets) };
        let taken = end | end.wrapping_sub(1);
        let ends = (commas & taken) | end;
        let begins = ((commas << 1) | 1) & taken;

        // From where each number begins to the end that it reaches, part by part. There is nothing else between them.
        let first = behind(begins, spaces);
        let sign = first & minuses;
        let integer = (first ^ sign) | (sign << 1);
        let after_integer = behind(integer, digits);
        let point = after_integer & points;
        let fraction = point << 1;
        let after_fraction = behind(fraction, digits);
        let exponent = ((after_integer ^ point) | after_fraction) & exponents;
        // Any other exponent than a negative one might be too large.
        let exponent_sign = exponent << 1;
        let exponent_digits = exponent << 2;
        let after_exponent = behind(exponent_digits, digits);
        let after_number = (((after_integer ^ point) | after_fraction) ^ exponent) | after_exponent;
        let reached = behind(after_number, spaces);

        let wrong = ((integer | fraction | exponent_digits) & !digits) | (exponent_sign & !minuses) | (reached ^ ends);
        let longer = integer & (digits >> 1);
        let is_wrong = wrong != 0
            || end == 0
            || (longer != 0
                && (longer & where_it_is(&bytes, b'0') != 0 || is_long(digits & !(integer.wrapping_add(digits)))));
        (!is_wrong).then(|| Step {
            numbers: ends.count_ones() as usize,
            length: end.trailing_zeros() as usize + 1,
            is_last: brackets != 0,
        })
    }
}

/// The bits behind the runs that begin at these bits, or these bits themselves where no run does.
#[inline]
fn behind(begins: u64, runs: u64) -> u64 {
    begins.wrapping_add(runs) & !runs
}

/// Whether one of these runs has sixteen bits or more: an integer of so many digits is left to who counts them.
fn is_long(runs: u64) -> bool {
    [1, 2, 4, 8].into_iter().fold(runs, |runs, by| runs & (runs >> by)) != 0
}

#[inline]
fn lowest(bits: u64) -> u64 {
    bits & bits.wrapping_neg()
}

#[inline]
fn highest(bits: u64) -> u64 {
    bits.checked_ilog2().map_or(0, |at| 1 << at)
}

#[inline]
fn where_it_is(bytes: &[u8x16; LENGTH / 16], byte: u8) -> u64 {
    bits(bytes, |lane| lane.simd_eq(u8x16::splat(byte)))
}

/// A bit for each byte of which this is all ones.
#[inline]
fn bits(bytes: &[u8x16; LENGTH / 16], is: impl Fn(u8x16) -> u8x16) -> u64 {
    bytes.iter().rev().fold(0, |word, lane| (word << 16) | u64::from(is(*lane).to_bitmask()))
}
