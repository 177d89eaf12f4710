//! One exchange, and why it may have no answer.

use redis::RedisError;
use tokio::task::JoinError;
use vectoll_config::{
    Uid,
    store::{Function, team_prefix},
};

use super::{
    connect::{CONNECT_TIMEOUT, CallError, Connection},
    protocol::{Exchange, Identity, Reply},
    script::{Unreadable, decode, encode},
    threads::NotDone,
};

/// Why an exchange has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("failed to ask the store: {0}")]
    Redis(#[from] RedisError),
    #[error("failed to ask the store: {}", CallError::LacksFunctions)]
    LacksFunctions,
    #[error("failed to read the store's answer: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("the store did not answer within {CONNECT_TIMEOUT:?}")]
    TooSlow,
    #[error("an exchange was broken off: {0}")]
    Broken(#[from] JoinError),
    #[error("an exchange was broken off: {0}")]
    Unbuilt(#[from] NotDone),
}

impl ExchangeError {
    /// Whether this user may not touch the Team's keys.
    pub(super) fn is_forbidden(&self) -> bool {
        match self {
            Self::Redis(error) => error.code() == Some("NOPERM"),
            Self::LacksFunctions | Self::Unreadable(_) | Self::TooSlow | Self::Broken(_) | Self::Unbuilt(_) => false,
        }
    }

    /// Whether another exchange would fail as well.
    pub(super) fn is_the_connections(&self) -> bool {
        match self {
            Self::Redis(error) => is_the_connections(error),
            Self::LacksFunctions | Self::TooSlow | Self::Broken(_) | Self::Unbuilt(_) => true,
            Self::Unreadable(_) => false,
        }
    }

    /// Whether another connection would do better.
    pub(super) fn wants_another_connection(&self) -> bool {
        match self {
            Self::LacksFunctions => false,
            Self::Redis(_) | Self::TooSlow | Self::Broken(_) | Self::Unbuilt(_) | Self::Unreadable(_) => true,
        }
    }
}

impl From<CallError> for ExchangeError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Redis(error) => Self::Redis(error),
            CallError::LacksFunctions => Self::LacksFunctions,
        }
    }
}

/// Whether it is not an answer of the server's to one command: then there is no telling what the next one would get. A server
/// that is no master any more, or still loading, is as good as away.
pub(super) fn is_the_connections(error: &RedisError) -> bool {
    let one_teams = [Some("NOPERM"), Some("WRONGTYPE"), Some("ERR"), Some("OOM")];
    !one_teams.contains(&error.code())
}

/// Tells and asks, for one Team.
pub(super) async fn ask(
    connection: &mut Connection,
    (identity, caller): (&Identity, &str),
    team: &Uid,
    exchange: &Exchange,
) -> Result<Reply, ExchangeError> {
    let (prefix, words) = (team_prefix(team), encode(identity, caller, exchange));
    let answer = connection.call(Function::Exchange, &prefix, &words);
    let answer = tokio::time::timeout(CONNECT_TIMEOUT, answer).await.map_err(|_| ExchangeError::TooSlow)??;
    Ok(decode(&answer)?)
}
