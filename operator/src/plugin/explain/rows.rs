//! The limits and budgets that hold a call, in the order in which a sidecar counts them.

use jiff::Timestamp;
use serde::Serialize;
use vectoll_config::{stretch, v1};
use vectoll_crds::Spend;

use crate::plugin::status::spent;

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::plugin) struct LimitRow {
    /// Whose.
    pub(in crate::plugin) scope: String,
    /// As the spec names it.
    pub(in crate::plugin) limit: &'static str,
    pub(in crate::plugin) amount: u64,
    /// What would be refused is served, and told.
    #[serde(skip_serializing_if = "is_false")]
    pub(in crate::plugin) audit: bool,
    /// The part that is left to queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::plugin) reserved_for_queries_percent: Option<u8>,
}

/// A budget, and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::plugin) struct BudgetRow {
    pub(in crate::plugin) scope: String,
    pub(in crate::plugin) period: String,
    pub(in crate::plugin) time_zone: String,
    pub(in crate::plugin) limit: String,
    /// None: no status tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::plugin) spent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::plugin) left: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::plugin) resets_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "is_false")]
    pub(in crate::plugin) audit: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What a call is held to.
#[derive(Clone, Debug, Default)]
pub(in crate::plugin) struct Rows {
    pub(in crate::plugin) limits: Vec<LimitRow>,
    pub(in crate::plugin) budgets: Vec<BudgetRow>,
}

impl Rows {
    pub(in crate::plugin) fn limits(&mut self, scope: &str, limits: &v1::Limits) {
        for (limit, amount) in limits.each() {
            if let Some(amount) = amount {
                self.limits.push(LimitRow {
                    scope: scope.to_owned(),
                    limit,
                    amount,
                    audit: limits.audit,
                    reserved_for_queries_percent: limits.reserved_for_queries_percent,
                });
            }
        }
    }

    pub(in crate::plugin) fn max_tokens(&mut self, scope: &str, most: Option<u64>) {
        if let Some(amount) = most {
            let limit = "maxTokensPerCall";
            let (audit, reserved_for_queries_percent) = (false, None);
            self.limits.push(LimitRow { scope: scope.to_owned(), limit, amount, audit, reserved_for_queries_percent });
        }
    }

    /// Budgets, of which a status may tell the spend.
    pub(in crate::plugin) fn budgets<'a>(
        &mut self,
        scope: &str,
        budgets: impl IntoIterator<Item = &'a v1::Budget>,
        spend: Option<&Spend>,
        now: Timestamp,
    ) {
        let told = spent(spend, None);
        for budget in budgets {
            let period = budget.period.to_string();
            // Where there is one budget only, the status does not name its period.
            let is_it = |told: &&crate::plugin::status::Spent| {
                told.limit.is_some() && told.period.as_ref().is_none_or(|of| *of == period)
            };
            let told = told.iter().find(is_it);
            self.budgets.push(BudgetRow {
                scope: scope.to_owned(),
                time_zone: budget.time_zone.to_string(),
                limit: budget.limit_at(now).to_string(),
                spent: told.map(|told| told.amount.clone()),
                left: told.and_then(|told| told.remaining.clone()),
                resets_at: stretch(budget, now).end,
                audit: budget.audit,
                period,
            });
        }
    }
}
