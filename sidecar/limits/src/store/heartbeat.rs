//! What a sidecar says of itself: that it is there, and which config it serves by.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::{JoinError, JoinSet};
use vectoll_config::store::{Function, HEARTBEAT_PERIOD, live_key};

use super::{
    connect::{CallError, Connection, Place},
    protocol::Identity,
};

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heartbeat {
    pub(super) namespace: Arc<str>,
    pub(super) generation: u64,
}

/// Whether it is to be said.
pub(super) enum Due {
    Now(Heartbeat),
    /// Look again then.
    Later(Duration),
}

/// Saying it every few seconds, and after each change.
#[derive(Debug, Default)]
pub(super) struct HeartbeatTask {
    under_way: JoinSet<Result<Heartbeat, CallError>>,
    /// What was said last, and when.
    last: Option<(Heartbeat, Instant)>,
}

impl HeartbeatTask {
    /// Whether this is due. A config that is new rings, and so does the end of what is under way.
    pub(super) fn due(&self, word: Heartbeat) -> Due {
        if word.generation == 0 || !self.under_way.is_empty() {
            return Due::Later(HEARTBEAT_PERIOD);
        }
        match &self.last {
            Some((said, at)) if *said == word => match HEARTBEAT_PERIOD.saturating_sub(at.elapsed()) {
                Duration::ZERO => Due::Now(word),
                pause => Due::Later(pause),
            },
            Some(_) | None => Due::Now(word),
        }
    }

    /// Begins to say it.
    pub(super) fn say(
        &mut self,
        (connection, place): (Connection, Arc<Place>),
        identity: Identity,
        word: Heartbeat,
        pod: Arc<str>,
    ) {
        self.under_way.spawn(acknowledge((connection, place), identity, word, pod));
    }

    /// What became of it; none: nothing is under way.
    pub(super) async fn next(&mut self) -> Option<Result<Result<Heartbeat, CallError>, JoinError>> {
        self.under_way.join_next().await
    }

    /// It was said just now, or could not be: either way it is left alone for a while.
    pub(super) fn said(&mut self, word: Heartbeat) {
        self.last = Some((word, Instant::now()));
    }
}

async fn acknowledge(
    (mut connection, place): (Connection, Arc<Place>),
    identity: Identity,
    word: Heartbeat,
    pod: Arc<str>,
) -> Result<Heartbeat, CallError> {
    let words = [identity.sidecar.to_string(), word.generation.to_string(), pod.to_string()];
    let key = live_key(place.scope.as_deref(), &word.namespace);
    connection.call(Function::Acknowledge, &key, &words).await?;
    Ok(word)
}
