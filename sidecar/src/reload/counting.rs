//! Where is counted: alone, or together by a store.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch::Sender;

use crate::proxy::Proxy;
use vectoll_ledger::journal::Retention;
use vectoll_limits::store::StoreAccess;

/// How long spend is kept in the journal after the store has it: a store that fails over may lose what it had.
pub const KEPT_FOR_STORE: Duration = Duration::from_mins(15);

/// Who speaks to the store is told here where it is.
pub type StoreSender = Sender<Option<Arc<StoreAccess>>>;

/// Counts alone or together, before the first call goes by a new config.
pub(super) fn count_by(proxy: &Proxy, present: &StoreSender, store: Option<Arc<StoreAccess>>) {
    let accounting = &proxy.accounting;
    accounting.counters.use_store(store.is_some());
    accounting.journal.retain(match store {
        Some(_) => Retention::Acknowledged { keep: KEPT_FOR_STORE },
        None => Retention::Checkpoint,
    });
    present.send_if_modified(|present| {
        let changes = *present != store;
        *present = store;
        changes
    });
}
