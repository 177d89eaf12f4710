//! What is reserved for a call, until it is settled or given back.

use std::sync::Arc;

use jiff::Timestamp;
use vectoll_config::{PicoUsd, v1::Limits};

use super::Accounting;
use crate::call::Call;
use vectoll_limits::counters::{QuotaReservation, RateLimitStatus};

/// The reservation and the accounts that it is to be returned to.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) accounting: Arc<Accounting>,
    /// The call it was made for, which is told what becomes of it.
    pub(super) call: Arc<Call>,
    pub(super) limits: Vec<Limits>,
    pub(super) admitted: Timestamp,
    /// None once it was settled or given back.
    pub(super) quota: Option<QuotaReservation>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Reservation {
    pub(super) fn give_back(&mut self) {
        if let Some(quota) = self.quota.take() {
            self.report(None, 0, self.left(&quota, 1, quota.reserved().tokens));
            self.accounting.counters.give_back(quota);
        }
    }

    /// What is left of the limits when so much of the reservation is given back.
    pub(super) fn left(&self, quota: &QuotaReservation, requests: u64, tokens: u64) -> RateLimitStatus {
        let mut rate_limits = self.accounting.counters.rate_limits(quota, &self.limits, self.accounting.now());
        for (quota, back) in [(&mut rate_limits.requests, requests), (&mut rate_limits.tokens, tokens)] {
            if let Some(quota) = quota {
                quota.remaining = quota.remaining.saturating_add(back).min(quota.limit);
                if quota.remaining == quota.limit {
                    quota.reset = std::time::Duration::ZERO;
                }
            }
        }
        rate_limits
    }

    pub(super) fn report(&self, cost: Option<PicoUsd>, tokens: u64, rate_limits: RateLimitStatus) {
        self.call.outcome.add(cost, tokens, rate_limits);
    }
}
