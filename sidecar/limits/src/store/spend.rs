//! From settlements in the journal to what the store is told of them.

use std::{collections::BTreeMap, sync::Arc};

use vectoll_config::{
    PicoUsd,
    store::{ModelAt, Series},
};

use super::protocol::{Entry, Money, Spend};
use crate::counters::{Account, account_name, period_of};
use vectoll_ledger::{
    books::Certainty,
    journal::{Intent, Settled},
    used::OTHER,
};

/// Settlements of one Team that come after `from`, as one batch: sums by budget and by field of the ledger.
pub(super) fn spend_of(from: u64, settled: &[Arc<Settled>]) -> Spend {
    let mut charges: BTreeMap<(Arc<str>, Arc<str>), Money> = BTreeMap::new();
    let mut entries: BTreeMap<(Arc<str>, Arc<str>), Entry> = BTreeMap::new();
    let mut to = from;
    for settled in settled {
        let Settled { number, intent, settlement } = &**settled;
        to = *number;
        for charge in &intent.charges {
            let (account, period) = (account_name(&Account::from(&charge.account)), period_of(charge));
            let at = (account.clone(), period.name.clone());
            let sum = charges.entry(at).or_insert(Money { account, period, amount: PicoUsd::ZERO });
            sum.amount = sum.amount.plus(settlement.money);
        }
        let month: Arc<str> = intent.admitted_at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m").to_string().into();
        for series in series(intent, settlement.certainty) {
            let field: Arc<str> = series.to_string().into();
            let entry = entries.entry((month.clone(), field.clone())).or_insert(Entry {
                month: month.clone(),
                field,
                requests: 0,
                tokens: 0,
                money: PicoUsd::ZERO,
            });
            entry.requests += 1;
            entry.tokens = entry.tokens.saturating_add(settlement.tokens);
            entry.money = entry.money.plus(settlement.money);
        }
    }
    Spend { from, to, charges: charges.into_values().collect(), entries: entries.into_values().collect() }
}

/// What a call counts in.
fn series(intent: &Intent, certainty: Certainty) -> Vec<Series> {
    let Intent { key, user, model, provider, backend, foreign_route, .. } = intent;
    // Where the provider refused, the model may be any word: with a wildcard route callers make it up.
    let model = if certainty == Certainty::Refused { OTHER } else { model };
    let model = ModelAt { provider: provider.to_string(), backend: backend.to_string(), model: model.to_owned() };
    let mut series =
        vec![Series::Team, Series::Key(key.uid.clone()), Series::User(user.to_string()), Series::Model(model)];
    if *foreign_route {
        series.push(Series::ForeignRoutes);
    }
    match certainty {
        Certainty::Known | Certainty::Refused => {}
        Certainty::Estimated => series.push(Series::Estimated),
        Certainty::Unsettled => series.push(Series::Unsettled),
    }
    series
}
