//! What is known of a call, and to whom it is told.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use vectoll_config::{PicoUsd, namespace_of};

use super::log::AccessLog;
use crate::{
    call_id::CallId,
    telemetry::{AttemptReport, EmbeddingOptions, Telemetry, TraceContext},
    tenancy::Tenancy,
};
use vectoll_api::request::Metadata;
use vectoll_ledger::books::Certainty;

#[derive(Debug)]
pub(super) struct Record {
    pub(super) log: Option<Arc<AccessLog>>,
    pub(super) traced: Option<Traced>,
    pub(super) tenancy: Tenancy,
    pub(super) id: CallId,
    pub(super) at: Timestamp,
    pub(super) started: Instant,
    pub(super) facts: Mutex<Facts>,
}

/// A call that a collector is told of.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) trace: TraceContext,
    pub(super) path: Box<str>,
    pub(super) http_route: &'static str,
}

/// What becomes known on the way.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) client: Option<IpAddr>,
    pub(super) caller_call_id: Option<CallId>,
    /// One of a flood: it has no line of its own.
    pub(super) is_untold: bool,
    pub(super) key: Option<Arc<str>>,
    pub(super) team: Option<Arc<str>>,
    pub(super) key_metadata: Option<Arc<BTreeMap<String, String>>>,
    pub(super) user: Option<Arc<str>>,
    pub(super) model: Option<Arc<str>>,
    pub(super) backend: Option<Arc<str>>,
    pub(super) metadata: Option<Arc<Metadata>>,
    /// What it came with as a key: the log repeats none of it.
    pub(super) credentials: Vec<HeaderValue>,
    pub(super) status: Option<StatusCode>,
    pub(super) refused: Option<(&'static str, &'static str)>,
    pub(super) would_reject: Vec<(&'static str, &'static str)>,
    pub(super) tokens: Option<u64>,
    pub(super) cost: Option<PicoUsd>,
    pub(super) certainty: Option<Certainty>,
    pub(super) retries: u32,
    pub(super) hedges: u32,
    pub(super) truncated: usize,
    pub(super) answered: Option<Duration>,
    pub(super) overhead: Option<Duration>,
    /// For traces.
    pub(super) attempts: Vec<AttemptReport>,
    pub(super) options: Option<EmbeddingOptions>,
}

impl Facts {
    /// The key's namespace, where there are many.
    pub(super) fn namespace(&self, tenancy: Tenancy) -> Option<&str> {
        self.key.as_deref().filter(|_| tenancy.is_many()).map(namespace_of)
    }

    /// `namespace/route`, and the backend's name.
    pub(super) fn route(&self) -> Option<(&str, &str)> {
        self.backend.as_deref().and_then(|label| label.rsplit_once('/'))
    }
}
