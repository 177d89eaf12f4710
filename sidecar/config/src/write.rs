//! Writing the contract: as JSON, which is YAML as well, and which a sidecar reads ten times as fast.
//!
//! Each field of the config, and each Team, key and route, has a line of its own: what differs between two configs is seen, and an
//! error that names a line names an entry.

use std::io;

use serde::Serialize;
use serde_json::{
    Error,
    ser::{Formatter, Serializer},
};

use crate::v1::{Config, Gateway};

/// Writes version 1.
pub fn write_v1(config: &Config) -> Result<String, Error> {
    let mut bytes = Vec::new();
    config.serialize(&mut Serializer::with_formatter(&mut bytes, Lines::default()))?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// Writes what is passed on to a gateway, in the same form.
pub fn write_gateway_v1(gateway: &Gateway) -> Result<String, Error> {
    let mut bytes = Vec::new();
    gateway.serialize(&mut Serializer::with_formatter(&mut bytes, Lines::default()))?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// The bytes that a Team, a key or a route takes in what [`write_v1`] writes, beside others of its list.
pub fn entry_size<T: Serialize>(entry: &T) -> Result<usize, Error> {
    let mut bytes = Vec::new();
    entry.serialize(&mut Serializer::with_formatter(&mut bytes, Lines { depth: ENTRY }))?;
    Ok(bytes.len() + SEPARATOR.len())
}

/// What stands between two entries.
const SEPARATOR: &[u8] = b",\n";

/// Lines down to the entries of the config's lists, and none within them.
#[derive(Default)]
struct Lines {
    depth: usize,
}

/// Of an entry in one of the config's lists.
const ENTRY: usize = 2;

/// Writes what stands before a value or a field, which may have a line of its own.
fn separate<W: ?Sized + io::Write>(writer: &mut W, is_first: bool, has_line: bool) -> io::Result<()> {
    writer.write_all(match (has_line, is_first) {
        (true, true) => b"\n",
        (true, false) => SEPARATOR,
        (false, true) => b"",
        (false, false) => b",",
    })
}

/// What JSON has as it is, and a reader of YAML refuses or takes for a line's end: DEL and the C1 controls, line and paragraph
/// separators, the byte order mark, and two that are no characters.
fn is_escaped_for_yaml(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

impl Formatter for Lines {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| is_escaped_for_yaml(*character)) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(character))?;
            rest = from.get(character.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        separate(writer, first, self.depth <= ENTRY)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        // The fields of an object at that depth, such as the store's, are no entries.
        separate(writer, first, self.depth < ENTRY)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{read_v1, v1::Key};

    #[test]
    fn a_config_is_yaml_as_well_whatever_characters_it_has() {
        let mut config = read_v1(include_str!("../tests/whole.v1.yaml")).unwrap();
        let odd: String =
            ('\u{7f}'..='\u{a0}').chain("a\u{2028}\u{2029}b\u{feff}\u{fffe}\u{ffff}\u{1f600}\"\\".chars()).collect();
        let before = write_v1(&config).unwrap().len();
        let mut key: Key = config.keys.first().unwrap().clone();
        key.metadata = [(odd.clone(), odd)].into();
        let size = entry_size(&key).unwrap();
        config.keys.push(key);
        let written = write_v1(&config).unwrap();
        assert_eq!(serde_yaml::from_str::<Config>(&written).unwrap(), config);
        assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), config);
        assert_eq!(written.len() - before, size, "as long as it is said to be");
    }
}
