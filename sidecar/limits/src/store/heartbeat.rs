//! What a sidecar says of itself: that it is there, and which config it serves by.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::{JoinError, JoinSet};
use vectoll_config::store::{Function, HEARTBEAT_PERIOD, live_key};

use super::{
    connect::{CallError, Connection, StoreAccess},
    protocol::Identity,
};

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heartbeat {
    pub(super) namespace: Arc<str>,
    pub(super) generation: u64,
}

/// Whether it is to be sent.
pub(super) enum Due {
    Now(Heartbeat),
    /// Look again then.
    Later(Duration),
}

/// Saying it every few seconds, and after each change.
#[derive(Debug, Default)]
pub(super) struct HeartbeatTask {
    under_way: JoinSet<Result<Heartbeat, CallError>>,
    /// What was sent last, and when.
    last: Option<(Heartbeat, Instant)>,
}

impl HeartbeatTask {
    /// Whether this is due. A config that is new rings, and so does the end of what is under way.
    pub(super) fn due(&self, heartbeat: Heartbeat) -> Due {
        if heartbeat.generation == 0 || !self.under_way.is_empty() {
            return Due::Later(HEARTBEAT_PERIOD);
        }
        match &self.last {
            Some((sent, at)) if *sent == heartbeat => match HEARTBEAT_PERIOD.saturating_sub(at.elapsed()) {
                Duration::ZERO => Due::Now(heartbeat),
                pause => Due::Later(pause),
            },
            Some(_) | None => Due::Now(heartbeat),
        }
    }

    /// Begins to send it.
    pub(super) fn send(
        &mut self,
        (connection, place): (Connection, Arc<StoreAccess>),
        identity: Identity,
        heartbeat: Heartbeat,
        pod: Arc<str>,
    ) {
        self.under_way.spawn(acknowledge((connection, place), identity, heartbeat, pod));
    }

    /// What became of it; none: nothing is under way.
    pub(super) async fn next(&mut self) -> Option<Result<Result<Heartbeat, CallError>, JoinError>> {
        self.under_way.join_next().await
    }

    /// It was sent just now, or could not be: either way it is left alone for a while.
    pub(super) fn sent(&mut self, heartbeat: Heartbeat) {
        self.last = Some((heartbeat, Instant::now()));
    }
}

async fn acknowledge(
    (mut connection, place): (Connection, Arc<StoreAccess>),
    identity: Identity,
    heartbeat: Heartbeat,
    pod: Arc<str>,
) -> Result<Heartbeat, CallError> {
    let words = [identity.sidecar.to_string(), heartbeat.generation.to_string(), pod.to_string()];
    let key = live_key(place.scope.as_deref(), &heartbeat.namespace);
    connection.call(Function::Acknowledge, &key, &words).await?;
    Ok(heartbeat)
}
