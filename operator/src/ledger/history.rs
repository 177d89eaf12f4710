//! What was spent month by month, read of the store when somebody looks at it.

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use redis::{Pipeline, RedisError};
use tokio::{
    sync::{Mutex, Semaphore, watch},
    time::timeout,
};
use vectoll_config::{
    PicoUsd, Uid,
    store::{Quantity, Series, month_key},
};

use super::{answers::Totals, query::QuerySpec};
use crate::store::{Access, Connection};

/// Months that are read: the store keeps them for 400 days at most, so the oldest one is never more than a part.
const MONTHS: usize = 13;
/// How long the store may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Questions at a time: however many look, the store is not asked more.
const MAX_CONCURRENT_QUERIES: usize = 4;

/// A calendar month in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Month {
    /// As in 2026-11.
    pub month: String,
    /// What was counted in it; none: no calls, or they are kept no more.
    pub totals: Option<Totals>,
}

/// Why there are no months.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Another one reads the store, or it was not read yet.
    #[error("the store is not read yet: try again in a moment")]
    NotHere,
    /// Too many ask.
    #[error("too many months are being read: try again")]
    Busy,
    /// The store did not answer.
    #[error("the store could not be read: see the operator's log")]
    Store(#[source] RedisError),
    /// It did not in time.
    #[error("the store did not answer in time")]
    Slow,
}

/// Reads months while its replica leads, with the login of the reader that it is of. A handle.
#[derive(Clone)]
pub struct History {
    requests: watch::Receiver<QuerySpec>,
    connection: Arc<Mutex<Option<(Access, Connection)>>>,
    asking: Arc<Semaphore>,
}

impl History {
    pub(super) fn new(requests: watch::Receiver<QuerySpec>) -> Self {
        Self { requests, connection: Arc::default(), asking: Arc::new(Semaphore::new(MAX_CONCURRENT_QUERIES)) }
    }

    /// The months up to the one of `now`, the oldest first, of one part of a Team's calls.
    pub async fn months(&self, team: &Uid, series: &Series, now: Timestamp) -> Result<Vec<Month>, HistoryError> {
        let _place = self.asking.try_acquire().map_err(|_| HistoryError::Busy)?;
        let access = self.requests.borrow().as_ref().map(|(access, _)| access.clone()).ok_or(HistoryError::NotHere)?;
        let read = timeout(READ_TIMEOUT, self.read(&access, team, series, now)).await;
        let result = match read {
            Ok(Ok(months)) => return Ok(months),
            Ok(Err(error)) => {
                tracing::warn!(store = %access.url, %error, "months in the store cannot be read");
                Err(HistoryError::Store(error))
            }
            Err(_) => Err(HistoryError::Slow),
        };
        // The next one begins with a new connection.
        *self.connection.lock().await = None;
        result
    }

    async fn read(
        &self,
        access: &Access,
        team: &Uid,
        series: &Series,
        now: Timestamp,
    ) -> Result<Vec<Month>, RedisError> {
        let connection = self.connection(access).await?;
        let months = months_until(now);
        let fields: Vec<String> = Quantity::ALL.into_iter().map(|of| series.field(of)).collect();
        // All of a Team's keys share a hash slot.
        let mut pipeline = Pipeline::new();
        for month in &months {
            pipeline.cmd("HMGET").arg(month_key(team, month)).arg(&fields);
        }
        let values: Vec<Vec<Option<String>>> = connection.ask(&pipeline).await?;
        Ok(months.into_iter().zip(&values).map(|(month, values)| Month { month, totals: totals(values) }).collect())
    }

    async fn connection(&self, access: &Access) -> Result<Connection, RedisError> {
        let mut held = self.connection.lock().await;
        if let Some((_, connection)) = held.as_ref().filter(|(of, _)| of == access) {
            return Ok(connection.clone());
        }
        let connection = Connection::open(access).await?;
        *held = Some((access.clone(), connection.clone()));
        Ok(connection)
    }
}

/// The names of the months up to that of a moment, the oldest first.
fn months_until(now: Timestamp) -> Vec<String> {
    let first = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let before = |months: usize| {
        let months = i64::try_from(months).ok()?;
        Some(first.checked_sub(months.months()).ok()?.strftime("%Y-%m").to_string())
    };
    (0..MONTHS).rev().filter_map(before).collect()
}

/// Calls, tokens and money. What was never written counts nothing; of what is no number nothing is known.
fn totals(values: &[Option<String>]) -> Option<Totals> {
    if values.iter().all(Option::is_none) {
        return None;
    }
    let mut values = values.iter().map(|value| value.as_deref().map_or(Some(0), |text| text.parse::<u64>().ok()));
    let mut next = || values.next().flatten();
    let (requests, tokens, pico) = (next()?, next()?, next()?);
    Some(Totals { requests, tokens, spent: PicoUsd::new(pico) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn months_go_back_over_the_turn_of_the_year_by_the_calendar_in_utc() {
        let months = months_until("2026-03-31T23:59:59Z".parse().unwrap());
        assert_eq!((months.len(), months.first().unwrap().as_str()), (MONTHS, "2025-03"));
        assert_eq!(months.last().unwrap(), "2026-03");
        assert!(months.contains(&"2026-02".to_owned()), "a month that has no 31st");
        assert!(months.is_sorted());
    }

    #[test]
    fn what_was_not_counted_is_nothing_and_what_is_no_number_is_unknown() {
        let of = |values: [Option<&str>; 3]| totals(&values.map(|value| value.map(str::to_owned)));
        let all = Totals { requests: 3, tokens: 0, spent: PicoUsd::new(7) };
        assert_eq!(of([Some("3"), None, Some("7")]), Some(all));
        assert_eq!(of([None, None, None]), None);
        assert_eq!(of([Some("3"), Some("x"), Some("7")]), None);
    }

    #[tokio::test]
    async fn a_replica_that_does_not_read_the_store_says_so() {
        let (_requests, receiver) = watch::channel(None);
        let history = History::new(receiver);
        let months = history.months(&Uid::new("T"), &Series::Team, Timestamp::UNIX_EPOCH).await;
        assert!(matches!(months, Err(HistoryError::NotHere)));
    }
}
