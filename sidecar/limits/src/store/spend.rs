//! From settlements in the journal to what the store is told of them.

use std::{collections::BTreeMap, sync::Arc};

use vectoll_config::{
    PicoUsd, Uid,
    store::{ModelAt, Series},
};

use super::protocol::{AccountName, Charge, Entry, PeriodName, Spend};
use crate::counters::{Account, account_name, period_of};
use vectoll_ledger::{
    books::Certainty,
    charge::BudgetPeriod,
    journal::{Intent, Settled},
    used::OTHER,
};

/// Settlements that come after `from`, as one batch for `owner`: sums by budget, and by field of the ledger where that is the calls' own
/// Team. A Team above, or a backend, is told of the money only.
pub(super) fn spend_of(owner: &Uid, from: u64, settled: &[Arc<Settled>]) -> Spend {
    // Calls whose money counts in the same periods have one charge: each account's budgets together.
    let mut charges: BTreeMap<(AccountName, Vec<PeriodName>), PicoUsd> = BTreeMap::new();
    let mut entries: BTreeMap<(Arc<str>, Arc<str>), Entry> = BTreeMap::new();
    let mut to = from;
    for settled in settled {
        let Settled { number, intent, settlement } = &**settled;
        to = *number;
        for (account, periods) in periods_by_account(intent.charges_of(owner)) {
            let sum = charges.entry((account, periods)).or_insert(PicoUsd::ZERO);
            *sum = sum.plus(settlement.money);
        }
        if intent.team.uid != *owner {
            continue;
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
    let charge = |((account, periods), amount)| Charge { account, periods, amount };
    Spend { from, to, charges: charges.into_iter().map(charge).collect(), entries: entries.into_values().collect() }
}

/// The periods that a call's money counts in, each account's together, in one order whatever the config's is.
pub(crate) fn periods_by_account<'a>(
    charges: impl IntoIterator<Item = &'a Arc<BudgetPeriod>>,
) -> BTreeMap<AccountName, Vec<PeriodName>> {
    let mut all: BTreeMap<AccountName, Vec<PeriodName>> = BTreeMap::new();
    for charge in charges {
        all.entry(account_name(&Account::from(&charge.account))).or_default().push(period_of(charge));
    }
    for periods in all.values_mut() {
        periods.sort_unstable();
        periods.dedup();
    }
    all
}

/// What a call counts in.
fn series(intent: &Intent, certainty: Certainty) -> Vec<Series> {
    let Intent { key, user, model, provider, backend, tags, foreign_route, .. } = intent;
    // Where the provider refused, the model may be any word: with a wildcard route callers make it up.
    let model = if certainty == Certainty::Refused { OTHER } else { model };
    let model = ModelAt { provider: provider.to_string(), backend: backend.to_string(), model: model.to_owned() };
    let mut series =
        vec![Series::Team, Series::Key(key.uid.clone()), Series::User(user.to_string()), Series::Model(model)];
    // Which tags a call has costs nothing where the provider refused it: nobody makes sets up for free.
    if certainty != Certainty::Refused {
        series.extend(Series::of_tags(tags.iter().map(|tag| &**tag)));
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jiff::Timestamp;
    use vectoll_config::{ZoneName, v1::Period};
    use vectoll_ledger::{
        charge::BudgetAccount,
        journal::{Named, Settlement},
    };

    use super::*;

    fn intent() -> Intent {
        let named = |uid: &str| Named { uid: Uid::new(uid), name: uid.into() };
        Intent {
            team: named("t"),
            key: named("k"),
            user: "ada".into(),
            model: "small".into(),
            provider: "openai".into(),
            backend: "models/route/a".into(),
            requests: 1,
            tags: Vec::new(),
            foreign_route: false,
            admitted_at: Timestamp::UNIX_EPOCH,
            tokens: 9,
            money: PicoUsd::new(9),
            priced: true,
            charges: Vec::new(),
        }
    }

    #[test]
    fn tags_are_told_of_calls_that_cost_something() {
        let intent = Intent { tags: vec!["b".into(), "a".into()], ..intent() };
        let told = |certainty| series(&intent, certainty).iter().any(|series| series.to_string() == r#"g:["a","b"]"#);
        assert!([Certainty::Known, Certainty::Estimated, Certainty::Unsettled].into_iter().all(told));
        assert!(!told(Certainty::Refused));
    }

    #[test]
    fn each_owner_is_told_of_its_own_budgets_and_the_calls_team_alone_of_the_call() {
        let charge = |account| {
            let zone = ZoneName::try_from("UTC".to_owned()).unwrap();
            Arc::new(BudgetPeriod { account, period: Period::Total, zone, start: Timestamp::UNIX_EPOCH })
        };
        let (team, org, backend) = (Uid::new("t"), Uid::new("org"), Uid::new("backend:one:models/route/a"));
        let charges = vec![
            charge(BudgetAccount::Key(Uid::new("k"))),
            charge(BudgetAccount::Team(org.clone())),
            charge(BudgetAccount::Backend(backend.clone())),
        ];
        let intent = Intent { charges, ..intent() };
        let settlement =
            Settlement { intent: 1, tokens: 7, money: PicoUsd::new(7), certainty: Certainty::Known, overrun: 0 };
        let settled = [Arc::new(Settled { number: 2, intent: Arc::new(intent), settlement })];
        for (owner, accounts, entries) in [(&team, "k:k", 4), (&org, "t", 0), (&backend, "b", 0)] {
            let spend = spend_of(owner, 0, &settled);
            let told: Vec<(&str, PicoUsd)> =
                spend.charges.iter().map(|charge| (&*charge.account, charge.amount)).collect();
            assert_eq!(
                (told, spend.entries.len(), spend.to),
                (vec![(accounts, PicoUsd::new(7))], entries, 2),
                "{owner}"
            );
        }
    }
}
