//! A vector as a list of JSON numbers (RFC 8259): looked at, read, and written.

mod block;

use self::block::Step;
use super::vector::{CheckedVector, skip_space};

/// An integer of so many digits is smaller than the largest 32-bit float.
const MAX_DIGITS: usize = 38;

/// A list of at least one number, all of them surely finite as 32-bit floats. None of them is read for it.
pub(super) fn check(bytes: &[u8]) -> Option<CheckedVector> {
    let (mut rest, mut found) = (bytes.strip_prefix(b"[")?, 0);
    loop {
        let Step { numbers, length, is_last } = block::step(rest).or_else(|| one(rest))?;
        found += numbers;
        rest = rest.get(length..)?;
        if is_last {
            return Some(CheckedVector { numbers: found, end: bytes.len() - rest.len() });
        }
    }
}

/// The next number by itself, where it is surely finite.
fn one(list: &[u8]) -> Option<Step> {
    let (behind, is_surely_finite) = number(skip_space(list))?;
    let (end, behind) = skip_space(behind).split_first()?;
    let is_right = is_surely_finite && matches!(end, b',' | b']');
    is_right.then_some(Step { numbers: 1, length: list.len() - behind.len(), is_last: *end == b']' })
}

/// Appends the numbers of a list to a vector in binary: each the nearest 32-bit float, rounded once. None: it is no list of at least one
/// number, or they are not all finite.
pub(super) fn read(text: &str, binary: &mut Vec<u8>) -> Option<CheckedVector> {
    let bytes = text.as_bytes();
    let (mut rest, mut numbers) = (bytes.strip_prefix(b"[")?, 0);
    loop {
        let begin = skip_space(rest);
        let (behind, _) = number(begin)?;
        // Straight to 32 bits: by way of 64 the last bit might be rounded twice.
        let number: f32 = text.get(text.len() - begin.len()..text.len() - behind.len())?.parse().ok()?;
        if !number.is_finite() {
            return None;
        }
        binary.extend_from_slice(&number.to_le_bytes());
        numbers += 1;
        match skip_space(behind).split_first()? {
            (b',', behind) => rest = behind,
            (b']', behind) => return Some(CheckedVector { numbers, end: bytes.len() - behind.len() }),
            _ => return None,
        }
    }
}

/// Writes a vector in binary, of finite numbers, as a list. Each has as many digits as it takes to read the same 32-bit float again.
pub(super) fn write(binary: &[u8], to: &mut Vec<u8>) {
    let mut digits = zmij::Buffer::new();
    for (at, number) in binary.as_chunks::<4>().0.iter().enumerate() {
        to.push(if at == 0 { b'[' } else { b',' });
        to.extend_from_slice(digits.format_finite(f32::from_le_bytes(*number)).as_bytes());
    }
    to.push(b']');
}

/// What follows the number that a text begins with, and whether that is surely finite.
#[inline]
fn number(text: &[u8]) -> Option<(&[u8], bool)> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let mut is_surely_finite = true;
    let mut rest = match text {
        [b'0', behind @ ..] => behind,
        [b'1'..=b'9', ..] => {
            let (digits, behind) = digits(text);
            is_surely_finite = digits <= MAX_DIGITS;
            behind
        }
        _ => return None,
    };
    if let [b'.', behind @ ..] = rest {
        rest = some_digits(behind)?;
    }
    if let [b'e' | b'E', behind @ ..] = rest {
        // Any other exponent might be too large.
        is_surely_finite &= behind.first() == Some(&b'-');
        rest = some_digits(behind.strip_prefix(b"-").or_else(|| behind.strip_prefix(b"+")).unwrap_or(behind))?;
    }
    Some((rest, is_surely_finite))
}

/// What follows at least one digit.
fn some_digits(text: &[u8]) -> Option<&[u8]> {
    let (digits, behind) = digits(text);
    (digits > 0).then_some(behind)
}

/// How many digits a text begins with, and what follows them.
fn digits(text: &[u8]) -> (usize, &[u8]) {
    const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    const THREES: u64 = 0x3030_3030_3030_3030;
    let mut rest = text;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        // Digits are 30 to 39: their high half is 3, and still is when 6 are added. What a byte beyond F9 carries over reaches only bytes
        // behind it, and it is not a digit itself.
        let word = u64::from_le_bytes(*eight);
        let others = ((word & HIGH) ^ THREES) | ((word.wrapping_add(0x0606_0606_0606_0606) & HIGH) ^ THREES);
        if others != 0 {
            let count = others.trailing_zeros() as usize / 8;
            let behind = rest.get(count..).unwrap_or_default();
            return (text.len() - behind.len(), behind);
        }
        rest = behind;
    }
    while let [b'0'..=b'9', behind @ ..] = rest {
        rest = behind;
    }
    (text.len() - rest.len(), rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// What a reader of JSON takes for a vector, number by number.
    fn by_serde(list: &str) -> Option<Vec<u32>> {
        let raw: Vec<&RawValue> = serde_json::from_str(list).ok()?;
        let numbers: Vec<f32> = raw.into_iter().map(|number| number.get().parse().ok()).collect::<Option<_>>()?;
        let is_right = !numbers.is_empty() && numbers.iter().all(|number| number.is_finite());
        is_right.then(|| numbers.into_iter().map(f32::to_bits).collect())
    }

    /// And this one, where nothing follows it.
    fn by_bytes(list: &str) -> Option<Vec<u32>> {
        let mut binary = Vec::new();
        let found = read(list, &mut binary)?;
        let numbers: Vec<u32> = binary.as_chunks().0.iter().copied().map(u32::from_le_bytes).collect();
        assert_eq!(found.numbers, numbers.len(), "{list}");
        (found.end == list.len()).then_some(numbers)
    }

    /// Numbers of every kind, right and wrong.
    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<u32>().prop_map(|bits| format!("{:?}", f32::from_bits(bits))),
            any::<u64>().prop_map(|bits| format!("{:e}", f64::from_bits(bits))),
            // Half way between two 32-bit floats, or a little more: subnormal ones as well.
            (0..0x7F7F_FFFF_u32, prop::sample::select(vec!["", "0", "1", "0000000000000000000000000000001"])).prop_map(
                |(bits, little)| {
                    let half = f64::midpoint(f32::from_bits(bits).into(), f32::from_bits(bits + 1).into());
                    format!("{half:.180}{little}")
                }
            ),
            "-?[0-9]{1,45}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?",
            prop::sample::select(vec![
                "-0",
                "-0.0",
                "0e9",
                "1E+38",
                "1e39",
                "-1e39",
                "1e-45",
                "1e-999",
                "1e999",
                "3.4028235e38",
                "3.4028236e38",
                "1.4e-45",
                "340282346638528859811704183484516925440",
                "340282356779733661637539395458142568447",
                "340282356779733661637539395458142568448",
                "",
                "-",
                "1.",
                ".5",
                "+1",
                "01",
                "1e",
                "1e-",
                "0x1",
                "1_0",
                "NaN",
                "inf",
                "null",
                "true",
                "\"2\"",
                "[1]",
                "{}",
                "1 2",
                "\u{663}",
            ])
            .prop_map(str::to_owned),
        ]
    }

    #[test]
    fn digits_are_counted_wherever_they_end() {
        for count in 0..40 {
            for behind in ["", "/", ":", ".", "e", "\u{fb}", "é", ",12345678"] {
                let text = format!("{}{behind}", "7".repeat(count));
                assert_eq!(digits(text.as_bytes()), (count, behind.as_bytes()), "{text}");
            }
        }
        let raw: Vec<u8> = (0..=255).collect();
        for byte in raw {
            let bytes = [b'1', byte, b'2', b'3', b'4', b'5', b'6', b'7', b'8'];
            assert_eq!(digits(&bytes).0, if byte.is_ascii_digit() { 9 } else { 1 }, "{byte}");
        }
    }

    /// What a step takes, number by number.
    fn number_by_number(list: &[u8], step: Step) -> Option<Step> {
        let mut walked = Step { numbers: 0, length: 0, is_last: false };
        while walked.length < step.length && !walked.is_last {
            let Step { numbers, length, is_last } = one(list.get(walked.length..)?)?;
            walked = Step { numbers: walked.numbers + numbers, length: walked.length + length, is_last };
        }
        Some(walked)
    }

    #[test]
    fn a_step_takes_what_is_right_number_by_number_whatever_stands_there() {
        const BYTES: &[u8] = b"01-.e, ]";
        let mut taken = 0;
        for case in 0..8_usize.pow(5) {
            let list: Vec<u8> =
                (0..5).filter_map(|at| BYTES.get(case >> (3 * at) & 7).copied()).chain(*b",2]").collect();
            let step = block::step(&list);
            if let Some(step) = step {
                taken += 1;
                assert_eq!(number_by_number(&list, step), Some(step), "{}", String::from_utf8_lossy(&list));
            }
            // And it takes all that is right and can be known for it.
            assert_eq!(
                step.is_none(),
                one(&list).is_none() || check_by_one(&list).is_none(),
                "{}",
                String::from_utf8_lossy(&list)
            );
        }
        assert!(taken > 1_000, "{taken}");
    }

    /// The list without its bracket, number by number.
    fn check_by_one(list: &[u8]) -> Option<usize> {
        let (mut rest, mut count) = (list, 0);
        loop {
            let Step { numbers, length, is_last } = one(rest)?;
            count += numbers;
            rest = rest.get(length..)?;
            if is_last {
                return Some(count);
            }
        }
    }

    #[test]
    fn ordinary_numbers_are_taken_by_the_step_wherever_they_stand() {
        for (number, between) in [("-0.012345678", ","), ("9.3e-05", ",\n        "), ("12.5", " , "), ("0", ",")] {
            for indent in 0..70 {
                let list = format!("{}{}]", " ".repeat(indent), [number; 40].join(between));
                let (mut rest, mut count) = (list.as_bytes(), 0);
                while !rest.is_empty() {
                    let Some(step) = block::step(rest) else { break };
                    count += step.numbers;
                    rest = &rest[step.length..];
                }
                // One that ends too far behind is left to who takes it by itself.
                let first_end = indent + number.len() + between.trim_end().len();
                assert_eq!(count, if first_end <= 64 { 40 } else { 0 }, "{list}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_a_step_takes_is_right_number_by_number(
            all in prop::collection::vec((number(), prop::sample::select(vec!["", "", "", " ", "\n        ", "\t", "\n\n"])), 1..12),
            ordinary in prop::collection::vec((0..10_usize, -1.0_f32..1.0), 0..12),
            end in prop::sample::select(vec!["]", "", "],", "]}", "}", ",", " "]),
        ) {
            let mut all: Vec<String> = all.into_iter().map(|(number, space)| format!("{space}{number}{space}")).collect();
            for (at, number) in ordinary {
                all.insert(at.min(all.len()), number.to_string());
            }
            let list = format!("{}{end}", all.join(","));
            let mut rest = list.as_bytes();
            while let Some(from) = rest.iter().position(|byte| *byte == b',') {
                if let Some(step) = block::step(rest) {
                    prop_assert_eq!(number_by_number(rest, step), Some(step), "{}", String::from_utf8_lossy(rest));
                }
                rest = &rest[from + 1..];
            }
        }

        /// To the bit, and nothing else is taken for a vector.
        #[test]
        fn a_list_is_read_as_a_reader_of_json_reads_it(
            list in prop_oneof![
                prop::collection::vec((number(), prop::sample::select(vec!["", "", " ", "\n        ", "\t", "\r\n"])), 0..5).prop_map(|all| {
                    let all: Vec<String> = all.into_iter().map(|(number, space)| format!("{space}{number}{space}")).collect();
                    format!("[{}]", all.join(","))
                }),
                "\\[[\\[\\]0-9.,eE+\\- nul\"]{0,30}\\]",
            ],
        ) {
            prop_assert_eq!(by_bytes(&list), by_serde(&list), "{}", list);
        }

        /// What is found right without reading it is a vector of so many numbers, for whoever reads each of them.
        #[test]
        fn what_is_found_right_is_right(
            inner in prop_oneof![
                "[\\[\\]0-9.,eE+\\- nul\"]{0,30}|( ?-?[0-9]{1,45}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})? ?,?){1,5}",
                prop::collection::vec(number(), 0..5).prop_map(|all| all.join(",")),
            ],
        ) {
            let list = format!("[{inner}]");
            if let Some(CheckedVector { numbers, end }) = check(list.as_bytes()) {
                let taken = list.get(..end).unwrap();
                prop_assert_eq!(Some(numbers), by_serde(taken).map(|all| all.len()), "{}", taken);
            }
        }

        /// And ordinary vectors are found right, with any numbers.
        #[test]
        fn ordinary_vectors_are_found_right(
            all in prop::collection::vec(any::<f32>().prop_filter("finite", |n| n.is_finite() && n.abs() < 1e12), 1..40),
        ) {
            let list = serde_json::to_string(&all).unwrap();
            prop_assert_eq!(check(list.as_bytes()), Some(CheckedVector { numbers: all.len(), end: list.len() }), "{}", list);
        }

        #[test]
        fn a_list_is_written_as_a_writer_of_json_writes_it(
            all in prop::collection::vec(any::<f32>().prop_filter("finite", |n| n.is_finite()), 1..40),
        ) {
            let mut written = Vec::new();
            write(&crate::answer::binary::of(&all), &mut written);
            let written = String::from_utf8(written).unwrap();
            prop_assert_eq!(&written, &serde_json::to_string(&all).unwrap());
            let bits: Vec<u32> = all.iter().map(|number| number.to_bits()).collect();
            prop_assert_eq!(by_bytes(&written), Some(bits));
        }
    }
}
