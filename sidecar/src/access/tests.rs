#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write;

use prometheus::IntCounter;
use serde_json::{Value, json};

use super::*;
use crate::tenancy::Tenancy;

/// What was written, for all to see.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Out {
    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn told(log: AccessLog) -> CallObservers {
    CallObservers { log: Some(Arc::new(log)), telemetry: None, tenancy: Tenancy::One }
}

fn entry(told: &CallObservers) -> Entry {
    Entry::new(told, CallId::random(), &mut Request::new(()))
}

fn flush(told: &CallObservers, timeout: Duration) {
    told.log.as_ref().unwrap().flush(timeout);
}

fn log(sampling: f64) -> (Out, CallObservers) {
    let out = Out::default();
    let writer = Writer::start(out.clone(), IntCounter::new(LOST, "lines").unwrap()).unwrap();
    (out, told(AccessLog::new(writer, sampling)))
}

fn served(log: &CallObservers) {
    entry(log).answered(StatusCode::OK, Duration::from_micros(1500), Duration::ZERO);
}

#[test]
fn a_line_is_written_once_when_the_last_word_is_known() {
    let (out, log) = log(1.0);
    let entry = entry(&log);
    let with_the_call = entry.clone();
    entry.answered(StatusCode::OK, Duration::from_micros(1500), Duration::from_micros(40));
    drop(entry);
    flush(&log, Duration::from_secs(5));
    assert!(out.lines().is_empty(), "the call is not settled yet");
    with_the_call.backend(&"shop/openai/one".into());
    with_the_call.booked(Attempt(None), 8, Some("0.00000016".parse().unwrap()), Certainty::Known);
    drop(with_the_call);
    flush(&log, Duration::from_secs(5));
    let lines = out.lines();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    for (field, value) in [
        ("log", json!("access")),
        ("status", json!(200)),
        ("route", json!("shop/openai")),
        ("backend", json!("one")),
        ("tokens", json!(8)),
        ("cost_usd", json!("0.00000016")),
        ("usage", json!("known")),
        ("duration_ms", json!(1.5)),
        ("overhead_ms", json!(0.04)),
    ] {
        assert_eq!(line.get(field), Some(&value), "{field}");
    }
    assert!(line.get("user").is_none() && line.get("tags").is_none(), "what is not known is left out: {line}");
}

#[test]
fn a_caller_that_left_is_499() {
    let (out, log) = log(0.0);
    drop(entry(&log));
    flush(&log, Duration::from_secs(5));
    assert_eq!(out.lines().first().unwrap().get("status"), Some(&json!(499)));
}

#[test]
fn sampling_takes_a_portion_of_what_was_served_and_all_that_failed() {
    let (out, log) = log(0.25);
    for _ in 0..4_000 {
        served(&log);
    }
    for _ in 0..10 {
        entry(&log).answered(StatusCode::BAD_GATEWAY, Duration::ZERO, Duration::ZERO);
    }
    flush(&log, Duration::from_secs(5));
    let lines = out.lines();
    let of = |status: u16| lines.iter().filter(|line| line.get("status") == Some(&json!(status))).count();
    assert_eq!(of(502), 10);
    // Six standard deviations to each side.
    assert!((1_000 - 165..1_000 + 165).contains(&of(200)), "{}", of(200));
}

#[test]
fn what_nobody_takes_away_is_dropped_and_counted() {
    struct Stuck;
    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            std::thread::sleep(Duration::from_hours(1));
            Ok(0)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lost = IntCounter::new(LOST, "lines").unwrap();
    let writer = Writer::start(Stuck, lost.clone()).unwrap();
    writer.write(b"first\n");
    std::thread::sleep(Duration::from_millis(200));
    let line = vec![b'a'; 1024 * 1024];
    for _ in 0..6 {
        writer.write(&line);
    }
    assert_eq!(lost.get(), 2);
    writer.flush(Duration::from_millis(10));
}

#[test]
fn without_a_log_nothing_is_gathered() {
    let nobody = CallObservers { log: None, telemetry: None, tenancy: Tenancy::One };
    assert!(entry(&nobody).0.is_none());
}

/// A pipe whose reader is gone.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let lost = IntCounter::new(LOST, "lines").unwrap();
    let log = told(AccessLog::new(Writer::start(Broken, lost.clone()).unwrap(), 1.0));
    for _ in 0..3 {
        served(&log);
    }
    flush(&log, Duration::from_secs(5));
    assert_eq!(lost.get(), 3);
}
