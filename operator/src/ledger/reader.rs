//! Reads the store while its replica leads: acknowledgements every two seconds, spend every five.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use redis::{Pipeline, RedisError};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use vectoll_config::{Uid, store::live_key};

use super::{
    acknowledgements::Acknowledgements,
    answers::{self, LiveSidecar, TeamLedger},
    event::{LedgerEvent, OnLedgerEvent},
    history::History,
    query::{LedgerQuery, QuerySpec, TeamQuery},
    scanner,
};
use crate::store::{Access, Connection};

/// How often acknowledgements are read.
const ACKNOWLEDGEMENT_READ_PERIOD: Duration = Duration::from_secs(2);
/// How often spend is.
pub const SPEND_READ_PERIOD: Duration = Duration::from_secs(5);
/// The longest that one reading may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions that wait for their answers at the same time.
const MAX_CONCURRENT_QUERIES: usize = 16;
/// Commands in one pipeline.
const COMMANDS_PER_PIPELINE: usize = 256;
/// Pauses after failures: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(15);
/// Silence that lasts so long is told.
const REPORTED_AFTER: Duration = Duration::from_secs(30);

/// The store does not say what it is asked for.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("failed to log in")]
    LogIn(#[source] RedisError),
    #[error("failed to read what sidecars acknowledge")]
    Acknowledgements(#[source] RedisError),
    #[error("failed to read what was spent")]
    Spend(#[source] RedisError),
    #[error("no answer in {READ_TIMEOUT:?}")]
    Slow,
}

/// The reader. It ends when it is dropped.
pub struct Reader {
    request: watch::Sender<QuerySpec>,
    tasks: [JoinHandle<()>; 2],
}

impl Reader {
    /// Starts; nothing is read before [`Reader::ask`] says what.
    pub fn start(report: OnLedgerEvent) -> Self {
        let (request, requests) = watch::channel(None);
        let scanning = tokio::spawn(scanner::run(requests.clone(), report.clone()));
        let reading = Reading { requests, report, connection: None, spend_due: Instant::now(), silent_since: None };
        Self { request, tasks: [tokio::spawn(reading.run()), scanning] }
    }

    /// Reads this from now on.
    pub fn ask(&self, access: Access, query: LedgerQuery) {
        let request = Some((access, query));
        self.request.send_if_modified(|present| {
            let is_new = *present != request;
            *present = request;
            is_new
        });
    }

    /// What was spent month by month, for as long as this reads.
    pub fn history(&self) -> History {
        History::new(self.request.subscribe())
    }

    /// Leaves it to others.
    pub fn pause(&self) {
        self.request.send_if_modified(|present| present.take().is_some());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Reading {
    requests: watch::Receiver<QuerySpec>,
    report: OnLedgerEvent,
    /// With whose login it was made.
    connection: Option<(Access, Connection)>,
    spend_due: Instant,
    /// Since when, how often, and the last error.
    silent_since: Option<(Instant, u32, String)>,
}

impl Reading {
    async fn run(mut self) {
        loop {
            let request = self.requests.borrow_and_update().clone();
            let Some((access, query)) = request else {
                self.connection = None;
                self.silent_since = None;
                self.spend_due = Instant::now();
                (self.report)(LedgerEvent::Rests);
                if self.requests.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let read = timeout(READ_TIMEOUT, self.read(&access, &query)).await;
            let pause = match read.unwrap_or(Err(ReadError::Slow)) {
                Ok(()) => {
                    if self.silent_since.take().is_some() {
                        tracing::info!(store = %access.url, "the store is read again");
                    }
                    ACKNOWLEDGEMENT_READ_PERIOD
                }
                Err(error) => self.failed(&access, error),
            };
            // Other questions wait for their turn: each new key is one.
            let resigned = async { self.requests.wait_for(Option::is_none).await.is_ok() };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = resigned => {}
            }
        }
    }

    async fn read(&mut self, access: &Access, query: &LedgerQuery) -> Result<(), ReadError> {
        let connection = match self.connection.take().filter(|(of, _)| of == access) {
            Some((_, connection)) => connection,
            None => Connection::open(access).await.map_err(ReadError::LogIn)?,
        };
        let at = Timestamp::now();
        let live = acknowledgements(&connection, query).await.map_err(ReadError::Acknowledgements)?;
        (self.report)(LedgerEvent::Live { at, live });
        if self.spend_due <= Instant::now() {
            let teams = spend(&connection, query, at).await.map_err(ReadError::Spend)?;
            (self.report)(LedgerEvent::Spend(teams));
            self.spend_due = Instant::now() + SPEND_READ_PERIOD;
        }
        self.connection = Some((access.clone(), connection));
        Ok(())
    }

    fn failed(&mut self, access: &Access, error: ReadError) -> Duration {
        let error = format!("{:#}", anyhow::Error::from(error));
        let (since, failures, known) = self.silent_since.take().unwrap_or_else(|| (Instant::now(), 0, String::new()));
        if known != error {
            tracing::warn!(store = %access.url, error, "the store cannot be read; it is tried again");
        }
        self.silent_since = Some((since, failures + 1, error));
        if since.elapsed() >= REPORTED_AFTER {
            (self.report)(LedgerEvent::Nothing(Acknowledgements::Silent));
        }
        (FIRST_PAUSE * 2u32.saturating_pow(failures.min(8))).min(LAST_PAUSE)
    }
}

async fn acknowledgements(
    connection: &Connection,
    query: &LedgerQuery,
) -> Result<BTreeMap<String, Vec<LiveSidecar>>, RedisError> {
    let ask = async |namespace: &String| {
        let mut pipeline = Pipeline::new();
        // The clock that sidecars go by is that of the server which holds their hash.
        pipeline.cmd("TIME").cmd("HGETALL").arg(live_key(Some(&query.scope), namespace));
        let ((seconds, micros), fields): ((u64, u64), HashMap<String, String>) = connection.ask(&pipeline).await?;
        let now_ms = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        Ok((namespace.clone(), answers::live(&fields, now_ms)))
    };
    stream::iter(&query.namespaces).map(ask).buffer_unordered(MAX_CONCURRENT_QUERIES).try_collect().await
}

async fn spend(
    connection: &Connection,
    query: &LedgerQuery,
    now: Timestamp,
) -> Result<BTreeMap<Uid, TeamLedger>, RedisError> {
    let ask = async |(team, of): (&Uid, &TeamQuery)| {
        let mut books = TeamLedger::default();
        for batch in answers::fields(team, of, now).chunks(COMMANDS_PER_PIPELINE) {
            let mut pipeline = Pipeline::new();
            for fields in batch {
                pipeline.cmd("HMGET").arg(&fields.key).arg(&fields.names);
            }
            let values: Vec<Vec<Option<String>>> = connection.ask(&pipeline).await?;
            for (fields, values) in batch.iter().zip(&values) {
                books.take(fields, values);
            }
        }
        Ok((team.clone(), books))
    };
    stream::iter(&query.teams).map(ask).buffer_unordered(MAX_CONCURRENT_QUERIES).try_collect().await
}
