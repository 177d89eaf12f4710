//! Calls that are large on purpose, beside small ones: who sends them, and who answers them.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use super::{
    connection::Connection,
    endpoint::Endpoint,
    manifests::{KEY, LARGE_MODEL},
    payload::{Format, Payload},
    responder::Responder,
};
use crate::pair::log::Log;

/// A body of nearly 16 MiB, the most that a sidecar takes; its answer is small for it.
pub const BODY: Payload = Payload::new(2048, 256, Format::Base64).with_texts_of(8_100);
/// An answer of 137 MB of numbers, for a caller who asks for base64.
pub const ANSWER: Payload = Payload::new(2048, 3072, Format::Base64).answered_in(Format::Float);
/// After a call that failed.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Calls that were answered, and others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Whole answers.
    pub answered: usize,
    /// Refusals and broken answers.
    pub failed: usize,
}

impl Served {
    /// By what [`send`] wrote.
    pub fn by(log: &Log) -> Self {
        let text = log.text();
        let count = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
        Self { answered: count("answered"), failed: count("failed") }
    }
}

/// Answers both, until the process is killed.
pub fn answer(listen: SocketAddr) -> anyhow::Result<()> {
    let _responder = Responder::start(Some(listen), None, &[BODY, ANSWER])?;
    loop {
        thread::sleep(Duration::from_hours(1));
    }
}

/// Sends one after the other, until the process is killed, and writes a line for each.
#[expect(clippy::print_stdout, reason = "whoever started it counts the lines")]
pub fn send(to: SocketAddr, payload: Payload) -> anyhow::Result<()> {
    let endpoint = Endpoint::new(to, KEY).with_model(LARGE_MODEL);
    let request = endpoint.request(payload, None);
    let mut connection = Connection::open(to, None)?;
    loop {
        let begun = Instant::now();
        match connection.call(&request, None) {
            Ok(_) => println!("answered in {:?}", begun.elapsed()),
            Err(error) => {
                println!("failed: {error:#}");
                thread::sleep(RETRY_DELAY);
                // What is left of a broken answer is on the old one.
                connection = Connection::open(to, None)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_body_is_the_largest_that_is_taken() {
        let bytes = BODY.request().len();
        assert!((15 << 20..16 << 20).contains(&bytes), "{bytes}");
    }
}
