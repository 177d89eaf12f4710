//! How records stand in a segment, and how they are found again where a segment is damaged.
//!
//! A frame is a head of 12 bytes and a payload: the magic `FF 56 4A 01`; the payload's length and a CRC-32 (IEEE 802.3) over
//! length and payload, both 32 bits, little-endian; the payload, a [`Record`] as JSON. JSON is UTF-8, which has no byte FF: the
//! magic never stands within a payload.

use std::ops::Range;

use super::record::Record;

const MAGIC: [u8; 4] = [0xFF, b'V', b'J', 1];
const HEAD: usize = 12;
/// The longest payload. Names and tags of a call take a few kilobytes at most.
const MAX_RECORD_BYTES: usize = 1 << 20;
/// The largest number of a record: up to here a 64-bit float is exact, which is what scripts in a store reckon with.
pub(super) const LARGEST_NUMBER: u64 = 1 << 53;

/// A record that no frame holds.
#[derive(Debug, thiserror::Error)]
#[error("failed to write a record of the journal: {0}")]
pub struct NotARecord(String);

/// Writes a record in place of what the buffer held.
pub(super) fn encode(record: &Record, into: &mut Vec<u8>) -> Result<(), NotARecord> {
    into.clear();
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&[0; HEAD - MAGIC.len()]);
    serde_json::to_writer(&mut *into, record).map_err(|error| NotARecord(error.to_string()))?;
    let length = into.len() - HEAD;
    let too_long = || NotARecord(format!("it has {length} bytes, more than {MAX_RECORD_BYTES}"));
    let length = u32::try_from(length).ok().filter(|_| length <= MAX_RECORD_BYTES).ok_or_else(too_long)?.to_le_bytes();
    let crc = checksum(length, into.get(HEAD..).unwrap_or_default()).to_le_bytes();
    for (place, byte) in into.iter_mut().skip(MAGIC.len()).zip(length.into_iter().chain(crc)) {
        *place = byte;
    }
    Ok(())
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// What a segment's bytes hold.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Every record that is whole, in the order of the bytes.
    pub(super) records: Vec<Record>,
    /// Stretches that are no records, though records were there.
    pub(super) damaged: Vec<Range<usize>>,
    /// Where a record begins that was never finished: the last one of a process that was killed.
    pub(super) torn: Option<usize>,
}

/// Reads a segment.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    while at < bytes.len() {
        if let Some((record, end)) = frame(bytes, at) {
            scan.records.push(record);
            at = end;
        } else if let Some(next) = next_frame(bytes, at + 1) {
            scan.damaged.push(at..next);
            at = next;
        } else {
            if is_unfinished(bytes.get(at..).unwrap_or_default()) {
                scan.torn = Some(at);
            } else {
                scan.damaged.push(at..bytes.len());
            }
            break;
        }
    }
    scan
}

/// The frame at a place and where it ends, if there is a right one.
fn frame(bytes: &[u8], at: usize) -> Option<(Record, usize)> {
    let rest = bytes.get(at..)?.strip_prefix(&MAGIC)?;
    let (&length, rest) = rest.split_first_chunk::<4>()?;
    let (&crc, rest) = rest.split_first_chunk::<4>()?;
    let long = usize::try_from(u32::from_le_bytes(length)).ok().filter(|&long| long <= MAX_RECORD_BYTES)?;
    let payload = rest.get(..long)?;
    if checksum(length, payload) != u32::from_le_bytes(crc) {
        return None;
    }
    let record: Record = serde_json::from_slice(payload).ok()?;
    (1..=LARGEST_NUMBER).contains(&record.0).then_some((record, at + HEAD + long))
}

/// Where the next right frame begins.
fn next_frame(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memchr::memmem::find_iter(rest, &MAGIC).map(|at| from + at).find(|&at| frame(bytes, at).is_some())
}

/// Whether bytes are the beginning of a frame that goes on beyond them, or room that was never written to.
fn is_unfinished(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(&MAGIC) else {
        return MAGIC.starts_with(bytes) || bytes.iter().all(|&byte| byte == 0);
    };
    let Some((&length, rest)) = rest.split_first_chunk::<4>() else { return true };
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    length <= MAX_RECORD_BYTES && rest.len() < length + 4
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::record::{Kind, Void};

    fn void(number: u64) -> Record {
        Record(number, Kind::Void(Void { intent: number * 7 }))
    }

    fn frames(numbers: &[u64]) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut bytes, mut ranges, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
        for &number in numbers {
            encode(&void(number), &mut buffer).unwrap();
            ranges.push(bytes.len()..bytes.len() + buffer.len());
            bytes.extend_from_slice(&buffer);
        }
        (bytes, ranges)
    }

    /// Where each record of a segment stands.
    pub(in crate::journal) fn places(bytes: &[u8]) -> Vec<(Record, Range<usize>)> {
        let (mut places, mut at) = (Vec::new(), 0);
        while let Some((record, end)) = frame(bytes, at) {
            places.push((record, at..end));
            at = end;
        }
        places
    }

    #[test]
    fn a_frame_is_the_one_that_is_documented() {
        let (bytes, _) = frames(&[3]);
        let payload = br#"[3,{"void":{"intent":21}}]"#;
        assert_eq!(bytes[..4], [0xFF, 0x56, 0x4A, 0x01]);
        assert_eq!(bytes[4..8], u32::try_from(payload.len()).unwrap().to_le_bytes());
        assert_eq!(bytes[8..12], crc32fast::hash(&[&bytes[4..8], payload].concat()).to_le_bytes());
        assert_eq!(bytes[12..], *payload);
    }

    #[test]
    fn a_segment_cut_at_any_byte_has_its_whole_records_and_is_torn_at_the_last() {
        let (bytes, ranges) = frames(&[1, 2, 300, 4_000_000_000]);
        for cut in 0..=bytes.len() {
            let scan = scan(&bytes[..cut]);
            let whole = ranges.iter().filter(|range| range.end <= cut).count();
            assert_eq!(scan.records.len(), whole, "cut at {cut}");
            assert!(scan.damaged.is_empty(), "cut at {cut}");
            let begun = ranges.iter().map(|range| range.start).find(|&start| start < cut && scan.torn == Some(start));
            assert_eq!(scan.torn.is_some(), begun.is_some());
            assert_eq!(scan.torn.is_none(), cut == 0 || ranges.iter().any(|range| range.end == cut), "cut at {cut}");
        }
    }

    #[test]
    fn room_that_was_never_written_to_is_no_damage() {
        let (mut bytes, ranges) = frames(&[1, 2]);
        bytes.resize(bytes.len() + 4096, 0);
        let scan = scan(&bytes);
        assert_eq!((scan.records.len(), scan.damaged.len(), scan.torn), (2, 0, Some(ranges[1].end)));
    }

    #[test]
    fn unknown_fields_and_numbers_beyond_reason_are_no_records() {
        let frame_of = |payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
            [&MAGIC, &length[..], &checksum(length, payload).to_le_bytes(), payload].concat()
        };
        let read = |payload: &str| scan(&frame_of(payload.as_bytes())).records.len();
        assert_eq!(read(r#"[3,{"void":{"intent":21}}]"#), 1);
        for payload in [
            r#"[3,{"void":{"intent":21,"more":1}}]"#,
            r#"[3,{"other":{"intent":21}}]"#,
            r#"[3,{"void":{"intent":21}},4]"#,
            r#"[0,{"void":{"intent":21}}]"#,
            r#"[9007199254740993,{"void":{"intent":21}}]"#,
        ] {
            assert_eq!(read(payload), 0, "{payload}");
        }
    }

    proptest! {
        /// A flipped bit costs the record that it stands in and no other.
        #[test]
        fn one_bit_costs_one_record(count in 1_u64..30, place: prop::sample::Index, bit in 0_u8..8) {
            let numbers: Vec<u64> = (1..=count).collect();
            let (mut bytes, ranges) = frames(&numbers);
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let scan = scan(&bytes);
            let hit = ranges.iter().position(|range| range.contains(&place)).unwrap();
            let left: Vec<Record> = numbers.iter().enumerate().filter(|(at, _)| *at != hit).map(|(_, &n)| void(n)).collect();
            prop_assert_eq!(scan.records, left);
            let told = scan.damaged == [ranges[hit].clone()] || scan.torn == Some(ranges[hit].start);
            prop_assert!(told, "{:?} {:?}", scan.damaged, scan.torn);
        }

        /// Whatever the bytes are, reading them ends, and what is taken for damage or whole is all of them.
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(prop_oneof![Just(0xFF), Just(b'V'), Just(b'J'), Just(1), any::<u8>()], 0..400)) {
            let scan = scan(&bytes);
            let damaged: usize = scan.damaged.iter().map(Range::len).sum();
            let torn = scan.torn.map_or(0, |at| bytes.len() - at);
            prop_assert!(scan.records.is_empty());
            prop_assert_eq!(damaged + torn, bytes.len());
        }
    }
}
