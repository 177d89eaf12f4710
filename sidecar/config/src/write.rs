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

use crate::v1::Config;

/// Writes version 1.
pub fn write_v1(config: &Config) -> Result<String, Error> {
    let mut bytes = Vec::new();
    config.serialize(&mut Serializer::with_formatter(&mut bytes, Lines::default()))?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// The bytes that a Team, a key or a route takes in what [`write_v1`] writes, beside others of its list.
pub fn entry_size<T: Serialize>(entry: &T) -> Result<usize, Error> {
    Ok(serde_json::to_vec(entry)?.len() + SEPARATOR.len())
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

impl Lines {
    fn begin_value<W: ?Sized + io::Write>(&self, writer: &mut W, is_first: bool) -> io::Result<()> {
        match (self.depth <= ENTRY, is_first) {
            (true, true) => writer.write_all(b"\n"),
            (true, false) => writer.write_all(SEPARATOR),
            (false, true) => Ok(()),
            (false, false) => writer.write_all(b","),
        }
    }
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.begin_value(writer, first)
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
        if self.depth < ENTRY {
            self.begin_value(writer, first)
        } else if first {
            Ok(())
        } else {
            writer.write_all(b",")
        }
    }
}
