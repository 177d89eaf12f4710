//! How records stand in a segment, and how they are found again where a segment is damaged.
//!
//! A frame is a head of 12 bytes and a payload: the magic `FF 56 4A 02`; the payload's length and a CRC-32 (IEEE 802.3) over
//! length and payload, both 32 bits, little-endian; the payload, a [`Record`] in the form of [`payload`]. What looks like a frame within
//! a damaged one is one only if its CRC is right.
//!
//! Until 2026-11 the magic was `FF 56 4A 01`, and the payload the record as JSON. Both are read, in one segment too.

use std::ops::Range;

use super::{
    names::{Names, NamesRead},
    payload::{self, NotARecord},
    record::Record,
};

const MAGIC: [u8; 4] = [0xFF, b'V', b'J', 2];
/// Of frames whose payload is JSON.
const MAGIC_OF_JSON: [u8; 4] = [0xFF, b'V', b'J', 1];
/// What both begin with.
const MAGIC_PREFIX: [u8; 3] = [0xFF, b'V', b'J'];
const HEAD: usize = 12;
/// The longest payload. Names and tags of a call take a few kilobytes at most.
const MAX_RECORD_BYTES: usize = 1 << 20;
/// The largest number of a record: up to here a 64-bit float is exact, which is what scripts in a store reckon with.
pub(super) const LARGEST_NUMBER: u64 = 1 << 53;

/// Writes a record in place of what the buffer held. `at` is where the segment ends so far.
pub(super) fn encode(record: &Record, names: &mut Names, at: u64, into: &mut Vec<u8>) -> Result<(), NotARecord> {
    into.clear();
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&[0; HEAD - MAGIC.len()]);
    payload::encode(record, names, at, into)?;
    let length = into.len() - HEAD;
    let too_long = || NotARecord::new(format_args!("it has {length} bytes, more than {MAX_RECORD_BYTES}"));
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

/// A segment that is made as a whole.
#[derive(Debug, Default)]
pub(super) struct SegmentWriter {
    content: Vec<u8>,
    names: Names,
    frame: Vec<u8>,
}

impl SegmentWriter {
    /// Adds a record.
    pub(super) fn push(&mut self, record: &Record) -> Result<(), NotARecord> {
        encode(record, &mut self.names, self.content.len() as u64, &mut self.frame)?;
        self.content.extend_from_slice(&self.frame);
        self.names.keep();
        Ok(())
    }

    /// The segment's bytes so far.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }
}

/// Reads a segment.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let (frames, mut scan) = frames(bytes);
    let names = names(&frames);
    for frame in &frames {
        match record(frame, &names) {
            Some(record) => scan.records.push(record),
            // Whole, and yet not a record: it has a name that is in no record that is whole, or is of another version.
            None => scan.damaged.push(frame.range.clone()),
        }
    }
    scan.damaged.sort_by_key(|damaged| damaged.start);
    scan
}

/// The frames of a segment, and what is between them and behind them.
fn frames(bytes: &[u8]) -> (Vec<Frame<'_>>, Scan) {
    let (mut frames, mut rest, mut at) = (Vec::new(), Scan::default(), 0);
    while at < bytes.len() {
        if let Some(frame) = frame(bytes, at) {
            at = frame.range.end;
            frames.push(frame);
        } else if let Some(next) = next_frame(bytes, at + 1) {
            rest.damaged.push(at..next);
            at = next;
        } else {
            if is_unfinished(bytes.get(at..).unwrap_or_default()) {
                rest.torn = Some(at);
            } else {
                rest.damaged.push(at..bytes.len());
            }
            break;
        }
    }
    (frames, rest)
}

/// The names that records have in full, wherever: one may be after the record that has it by number.
fn names(frames: &[Frame<'_>]) -> NamesRead {
    let mut names = NamesRead::default();
    for frame in frames.iter().filter(|frame| !frame.is_json) {
        payload::learn(frame.payload, &mut names);
    }
    names
}

/// A payload whose CRC is right, and where its frame is.
struct Frame<'a> {
    is_json: bool,
    payload: &'a [u8],
    range: Range<usize>,
}

/// The frame at a place, if there is one.
fn frame(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let (magic, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    if ![MAGIC, MAGIC_OF_JSON].contains(magic) {
        return None;
    }
    let (&length, rest) = rest.split_first_chunk::<4>()?;
    let (&crc, rest) = rest.split_first_chunk::<4>()?;
    let long = usize::try_from(u32::from_le_bytes(length)).ok().filter(|&long| long <= MAX_RECORD_BYTES)?;
    let payload = rest.get(..long)?;
    let is_right = checksum(length, payload) == u32::from_le_bytes(crc);
    is_right.then(|| Frame { is_json: *magic == MAGIC_OF_JSON, payload, range: at..at + HEAD + long })
}

/// The record that a frame holds, if it is a right one.
fn record(Frame { is_json, payload, range: _ }: &Frame<'_>, names: &NamesRead) -> Option<Record> {
    let record: Record =
        if *is_json { serde_json::from_slice(payload).ok()? } else { payload::decode(payload, names)? };
    (1..=LARGEST_NUMBER).contains(&record.0).then_some(record)
}

/// Where the next frame begins.
fn next_frame(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..).unwrap_or_default();
    memchr::memmem::find_iter(rest, &MAGIC_PREFIX).map(|at| from + at).find(|&at| frame(bytes, at).is_some())
}

/// Whether bytes are the beginning of a frame that goes on beyond them, or room that was never written to.
fn is_unfinished(bytes: &[u8]) -> bool {
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
        return MAGIC_PREFIX.starts_with(bytes) || bytes.iter().all(|&byte| byte == 0);
    };
    if ![MAGIC, MAGIC_OF_JSON].contains(magic) {
        return bytes.iter().all(|&byte| byte == 0);
    }
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
            encode(&void(number), &mut Names::default(), 0, &mut buffer).unwrap();
            ranges.push(bytes.len()..bytes.len() + buffer.len());
            bytes.extend_from_slice(&buffer);
        }
        (bytes, ranges)
    }

    /// Where each record of a segment stands.
    pub(in crate::journal) fn places(bytes: &[u8]) -> Vec<(Record, Range<usize>)> {
        let (frames, _) = super::frames(bytes);
        let names = names(&frames);
        frames.iter().map_while(|frame| Some((record(frame, &names)?, frame.range.clone()))).collect()
    }

    /// A frame of the old form.
    fn json_frame(payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        [&MAGIC_OF_JSON, &length[..], &checksum(length, payload).to_le_bytes(), payload].concat()
    }

    #[test]
    fn a_frame_is_the_one_that_is_documented() {
        let (bytes, _) = frames(&[3]);
        // Number 3, the fifth kind, 3 - 21 in 64 bits.
        let back = [0xEE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        let payload = [&[3, 4][..], &back].concat();
        assert_eq!(bytes[..4], [0xFF, 0x56, 0x4A, 0x02]);
        assert_eq!(bytes[4..8], u32::try_from(payload.len()).unwrap().to_le_bytes());
        assert_eq!(bytes[8..12], crc32fast::hash(&[&bytes[4..8], &payload].concat()).to_le_bytes());
        assert_eq!(bytes[12..], payload);
    }

    #[test]
    fn frames_of_the_old_form_are_read_beside_the_new_ones() {
        let (mut bytes, _) = frames(&[1]);
        bytes.extend(json_frame(br#"[2,{"void":{"intent":14}}]"#));
        bytes.extend(frames(&[3]).0);
        let scan = scan(&bytes);
        assert_eq!(scan.records, [void(1), void(2), void(3)]);
        assert_eq!((scan.damaged, scan.torn), (Vec::new(), None));
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
        let read = |payload: &str| scan(&json_frame(payload.as_bytes())).records.len();
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
        let binary = |payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
            scan(&[&MAGIC, &length[..], &checksum(length, payload).to_le_bytes(), payload].concat()).records.len()
        };
        assert_eq!(binary(&[3, 4, 1]), 1);
        for payload in [&[3, 4, 1, 0][..], &[3, 5, 1], &[3, 4], &[0, 4, 1], &[]] {
            assert_eq!(binary(payload), 0, "{payload:?}");
        }
        let beyond = [&[0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10][..], &[4, 1]].concat();
        assert_eq!(binary(&beyond), 0, "2^53 + 1");
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
        fn any_bytes_are_read(bytes in prop::collection::vec(prop_oneof![Just(0xFF), Just(b'V'), Just(b'J'), Just(1), Just(2), any::<u8>()], 0..400)) {
            let scan = scan(&bytes);
            let damaged: usize = scan.damaged.iter().map(Range::len).sum();
            let torn = scan.torn.map_or(0, |at| bytes.len() - at);
            prop_assert!(scan.records.is_empty());
            prop_assert_eq!(damaged + torn, bytes.len());
        }
    }
}
