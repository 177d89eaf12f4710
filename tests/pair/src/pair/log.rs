//! What a process wrote, and what can be read from it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// What is kept of a process's lines: no test writes as much, and a benchmark, with a line for each call, writes more.
const MAX_KEPT_BYTES: usize = 256 << 20;

/// The lines of a process, collected while it runs.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// Collects from `source` on a thread of its own, until its end: a full pipe would stop the process.
    pub(super) fn collect(&self, source: impl Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let mut text = log.0.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(&line));
                keep_end(&mut text, MAX_KEPT_BYTES);
                line.clear();
            }
        });
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last lines.
    pub fn end(&self) -> String {
        end(&self.text())
    }
}

/// Drops the older half of what is more than that.
fn keep_end(text: &mut String, max_bytes: usize) {
    if text.len() > max_bytes {
        let half = text.floor_char_boundary(text.len() / 2);
        text.drain(..half);
    }
}

/// The last 30 lines.
pub(super) fn end(text: &str) -> String {
    const LINES: usize = 30;
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n")
}

/// The address of the sidecar's `listener` (`proxy` or `admin`), from the first line that tells it.
pub fn listening(text: &str, listener: &str) -> Option<SocketAddr> {
    text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|line| {
        let fields = line.get("fields")?;
        let is = |field: &str, value: &str| fields.get(field).and_then(Value::as_str) == Some(value);
        (is("message", "listening") && is("listener", listener))
            .then(|| fields.get("address")?.as_str()?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "not JSON\n\
        {\"timestamp\":\"2026-01-01T00:00:00Z\",\"level\":\"INFO\",\"fields\":{\"message\":\"config loaded\",\"listener\":\"proxy\"}}\n\
        {\"level\":\"INFO\",\"fields\":{\"message\":\"listening\",\"listener\":\"admin\",\"address\":\"127.0.0.1:4101\"}}\n\
        {\"level\":\"INFO\",\"fields\":{\"message\":\"listening\",\"listener\":\"proxy\",\"address\":\"127.0.0.1:4100\"}}\n\
        {\"level\":\"INFO\",\"fields\":{\"message\":\"listening\",\"listener\":\"proxy\",\"address\":\"[::1]:4100\"}}\n";

    #[test]
    fn addresses_are_found_by_listener() {
        assert_eq!(listening(TEXT, "proxy"), "127.0.0.1:4100".parse().ok());
        assert_eq!(listening(TEXT, "admin"), "127.0.0.1:4101".parse().ok());
        assert_eq!(listening(TEXT, "other"), None);
    }

    #[test]
    fn of_too_much_the_end_is_kept() {
        let mut text = "ä".repeat(8);
        keep_end(&mut text, 16);
        assert_eq!(text.len(), 16);
        text.push('e');
        keep_end(&mut text, 16);
        assert_eq!(text, "ääääe");
    }

    #[test]
    fn end_is_the_last_thirty_lines() {
        let text: String = (0..100).flat_map(|line| [line.to_string(), "\n".to_owned()]).collect();
        assert!(end(&text).starts_with("70\n") && end(&text).ends_with("\n99"));
        assert_eq!(end("a\nb\n"), "a\nb");
    }
}
