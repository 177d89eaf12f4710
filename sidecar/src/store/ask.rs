//! One exchange, and why it may have no answer.

use redis::RedisError;
use tokio::task::JoinError;
use vectoll_config::{
    Uid,
    store::{Function, team_prefix},
};

use super::{
    connect::{Connection, PATIENCE},
    protocol::{Exchange, Identity, Reply},
    script::{Unreadable, decode, encode},
};

/// Why an exchange has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("failed to ask the store: {0}")]
    Redis(#[from] RedisError),
    #[error("failed to read the store's answer: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("the store did not answer within {PATIENCE:?}")]
    TooSlow,
    #[error("an exchange was broken off: {0}")]
    Broken(#[from] JoinError),
}

impl ExchangeError {
    /// Whether this user may not touch the Team's keys.
    pub(super) fn is_forbidden(&self) -> bool {
        match self {
            Self::Redis(error) => error.code() == Some("NOPERM"),
            Self::Unreadable(_) | Self::TooSlow | Self::Broken(_) => false,
        }
    }

    /// Whether another exchange would fail as well.
    pub(super) fn is_the_connections(&self) -> bool {
        match self {
            Self::Redis(error) => is_the_connections(error),
            Self::TooSlow | Self::Broken(_) => true,
            Self::Unreadable(_) => false,
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
    identity: &Identity,
    team: &Uid,
    exchange: &Exchange,
) -> Result<Reply, ExchangeError> {
    let (prefix, words) = (team_prefix(team), encode(identity, exchange));
    let answer = connection.call(Function::Exchange, &prefix, &words);
    let answer = tokio::time::timeout(PATIENCE, answer).await.map_err(|_| ExchangeError::TooSlow)??;
    Ok(decode(&answer)?)
}
