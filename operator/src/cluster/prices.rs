//! The list of prices is read again and again: the kubelet writes a changed `ConfigMap` into its file within a minute or two.

use std::{sync::Arc, time::Duration};

use prometheus::{IntGauge, Registry};
use tokio::sync::watch;

use crate::price::{PriceSource, Pricing};

/// How often the file is looked at.
const POLL_PERIOD: Duration = Duration::from_secs(10);

/// Reads the list for ever, and tells of each that differs.
pub(super) fn follow(
    mut source: PriceSource,
    registry: &Registry,
) -> prometheus::Result<watch::Receiver<Arc<Pricing>>> {
    let stale = IntGauge::new(
        "vectoll_operator_price_list_stale",
        "1 while the list of prices cannot be used as it is, and what was read last counts",
    )?;
    registry.register(Box::new(stale.clone()))?;
    let (tell, told) = watch::channel(source.refresh().clone());
    stale.set(i64::from(source.is_stale()));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(POLL_PERIOD).await;
            let pricing = source.refresh().clone();
            stale.set(i64::from(source.is_stale()));
            tell.send_if_modified(|known| {
                let is_other = **known != *pricing;
                *known = pricing;
                is_other
            });
        }
    });
    Ok(told)
}
