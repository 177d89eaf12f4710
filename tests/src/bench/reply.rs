//! Reads answers of HTTP/1.1 and throws their bodies away, whole.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, bail, ensure};

/// The answers of one connection.
#[derive(Debug)]
pub struct Replies<S> {
    source: BufReader<S>,
    line: String,
    /// The beginning of the body that is read, where it is a refusal's.
    refusal: Option<Vec<u8>>,
}

/// An answer that arrived to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Bytes of its body.
    pub length: u64,
    /// How that begins, of an answer that is not a 200.
    pub refusal: Option<String>,
}

/// What is kept of a refusal.
const MAX_REFUSAL: usize = 500;

enum Framing {
    Length(u64),
    Chunked,
}

impl<S: Read> Replies<S> {
    /// Answers that arrive from `source`.
    pub fn new(source: S) -> Self {
        Self { source: BufReader::with_capacity(256 << 10, source), line: String::new(), refusal: None }
    }

    /// Where they arrive from, to send more requests.
    pub fn stream(&mut self) -> &mut S {
        self.source.get_mut()
    }

    /// Reads one answer to the end of its body, by its content-length or its last chunk.
    pub fn read(&mut self) -> anyhow::Result<Reply> {
        let status = self.next_line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("not a status line: {:?}", self.line))?;
        self.refusal = (status != 200).then(Vec::new);
        let length = match self.framing()? {
            Framing::Length(length) => {
                self.skip(length)?;
                length
            }
            Framing::Chunked => self.skip_chunks()?,
        };
        let refusal = self.refusal.take().map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(Reply { status, length, refusal })
    }

    fn framing(&mut self) -> anyhow::Result<Framing> {
        let mut framing = None;
        loop {
            let line = self.next_line()?;
            if line.is_empty() {
                return framing.context("the answer has neither content-length nor chunks");
            }
            let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line:?}"))?;
            if name.eq_ignore_ascii_case("content-length") {
                framing = Some(Framing::Length(value.trim().parse().context("the content-length is no number")?));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                ensure!(value.trim().eq_ignore_ascii_case("chunked"), "unknown transfer-encoding {value}");
                framing = Some(Framing::Chunked);
            }
        }
    }

    fn skip_chunks(&mut self) -> anyhow::Result<u64> {
        let mut length = 0;
        loop {
            let line = self.next_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).with_context(|| format!("not a chunk's size: {line:?}"))?;
            if size == 0 {
                // Trailers, and the empty line that ends them.
                while !self.next_line()?.is_empty() {}
                return Ok(length);
            }
            self.skip(size)?;
            length += size;
            ensure!(self.next_line()?.is_empty(), "a chunk is longer than its size");
        }
    }

    fn skip(&mut self, mut left: u64) -> anyhow::Result<()> {
        while left > 0 {
            let available = self.source.fill_buf().context("failed to read the body")?.len();
            if available == 0 {
                bail!("the answer ended {left} bytes too early");
            }
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(available);
            if let Some(refusal) = &mut self.refusal {
                let kept = taken.min(MAX_REFUSAL.saturating_sub(refusal.len()));
                refusal.extend_from_slice(self.source.buffer().get(..kept).unwrap_or_default());
            }
            self.source.consume(taken);
            left -= taken as u64;
        }
        Ok(())
    }

    fn next_line(&mut self) -> anyhow::Result<&str> {
        self.line.clear();
        let read = self.source.read_line(&mut self.line).context("failed to read the answer")?;
        ensure!(read > 0, "the connection ended before the answer");
        Ok(self.line.trim_end_matches(['\r', '\n']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_framings_are_read_one_after_the_other() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
                    HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: x\r\n\r\n\
                    HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nwait";
        let mut replies = Replies::new(text.as_bytes());
        assert_eq!(replies.read().unwrap(), Reply { status: 200, length: 5, refusal: None });
        assert_eq!(replies.read().unwrap(), Reply { status: 200, length: 13, refusal: None });
        let refusal = Some("wait".to_owned());
        assert_eq!(replies.read().unwrap(), Reply { status: 429, length: 4, refusal });
        assert!(replies.read().is_err());
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 6",
        ] {
            assert!(Replies::new(text.as_bytes()).read().is_err(), "{text}");
        }
    }
}
