//! What the journal's records say. Their form in a segment is [`super::payload`]'s; serde's, JSON with known fields only, is that of old
//! segments and of open intents in the checkpoint.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vectoll_config::{PicoUsd, Uid};

use crate::{
    books::{Booking, Certainty},
    charge::BudgetPeriod,
    used::Used,
};

/// A record: its number, and what it says. In JSON `[7, {"void": {…}}]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record(pub u64, pub Kind);

/// What a record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Kind {
    /// A call is about to be sent.
    Intent(Arc<Intent>),
    /// An intent of an earlier segment that is still open, with its own number.
    Carried(Open),
    /// An intent holds less than was thought.
    Refine(Refine),
    /// A call has its end.
    Settlement(Settlement),
    /// A call was not sent after all, and everything was given back.
    Void(Void),
}

/// A call that a provider may charge for, and what it is booked at if nobody ever learns whether it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Intent {
    /// The team.
    pub team: Named,
    /// The key.
    pub key: Named,
    /// The end user.
    pub user: Arc<str>,
    /// The model's public name.
    pub model: Arc<str>,
    /// The kind of provider.
    pub provider: Cow<'static, str>,
    /// The backend, `namespace/route/backend`.
    pub backend: Arc<str>,
    /// In how many requests it is sent: more than one where it is split.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub requests: u64,
    /// The call's tags that its team counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Arc<str>>,
    /// Whether its route is none of the team's: nobody who owns the team has set its price.
    #[serde(default, skip_serializing_if = "is_false")]
    pub foreign_route: bool,
    /// When it was admitted: its budgets' periods are those of this moment.
    pub admitted_at: Timestamp,
    /// The most tokens.
    pub tokens: u64,
    /// The most money, in pico-USD.
    #[serde(with = "pico")]
    pub money: PicoUsd,
    /// Whether the price is known.
    pub priced: bool,
    /// The budgets that the money counts in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Arc<BudgetPeriod>>,
}

/// A resource: its account, and its name for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// What its account is kept under.
    pub uid: Uid,
    /// `namespace/name`.
    pub name: Arc<str>,
}

/// An intent that has no end yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Open {
    /// The intent.
    pub intent: Arc<Intent>,
    /// The most tokens, as they were last refined.
    pub tokens: u64,
    /// The most money, likewise, in pico-USD.
    #[serde(with = "pico")]
    pub money: PicoUsd,
}

/// A lower bound than the intent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refine {
    /// The intent's number.
    pub intent: u64,
    /// The most tokens.
    pub tokens: u64,
    /// The most money, in pico-USD.
    #[serde(with = "pico")]
    pub money: PicoUsd,
}

/// What a call turned out to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settlement {
    /// The intent's number.
    pub intent: u64,
    /// Tokens.
    pub tokens: u64,
    /// Money, in pico-USD.
    #[serde(with = "pico")]
    pub money: PicoUsd,
    /// How sure that is.
    pub certainty: Certainty,
    /// Tokens beyond what had been reserved.
    pub overrun: u64,
}

/// A call that never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Void {
    /// The intent's number.
    pub intent: u64,
}

/// A settlement with the call that it settles: everything that a ledger wants to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The settlement's number: it never comes twice.
    pub number: u64,
    /// The call.
    pub intent: Arc<Intent>,
    /// What it cost.
    pub settlement: Settlement,
}

impl Intent {
    /// Whom the call is booked to.
    pub fn booking(&self) -> Booking<'_> {
        Booking {
            key: &self.key.name,
            team: &self.team.name,
            user: &self.user,
            model: &self.model,
            provider: &self.provider,
            backend: &self.backend,
            tags: &self.tags,
            foreign_route: self.foreign_route,
        }
    }

    /// Whoever a store is told of it for: its team, and all others in whose budgets its money counts (the teams above, a backend).
    /// Each once, its team first.
    pub fn owners(&self) -> impl Iterator<Item = &Uid> {
        let others = self.charges.iter().enumerate().filter_map(|(at, charge)| {
            let owner = charge.account.owner()?;
            let mut before = self.charges.iter().take(at).filter_map(|charge| charge.account.owner());
            (*owner != self.team.uid && before.all(|other| other != owner)).then_some(owner)
        });
        std::iter::once(&self.team.uid).chain(others)
    }

    /// Whether this is one of them.
    pub fn is_of(&self, owner: &Uid) -> bool {
        self.team.uid == *owner || self.charges.iter().any(|charge| charge.account.owner() == Some(owner))
    }

    /// The periods of budgets that its money counts in and that are kept under one of them.
    pub fn charges_of<'a>(&'a self, owner: &'a Uid) -> impl Iterator<Item = &'a Arc<BudgetPeriod>> {
        self.charges.iter().filter(move |charge| *charge.account.owner().unwrap_or(&self.team.uid) == *owner)
    }
}

impl Open {
    /// An intent as it was made.
    pub fn new(intent: Arc<Intent>) -> Self {
        Self { tokens: intent.tokens, money: intent.money, intent }
    }

    /// Lowers the bound; it never rises.
    pub fn refine(&mut self, refine: Refine) {
        self.tokens = self.tokens.min(refine.tokens);
        self.money = self.money.min(refine.money);
    }

    /// The settlement of a call whose end nobody knows.
    pub fn unsettled(&self, number: u64) -> Settlement {
        let Self { intent: _, tokens, money } = *self;
        Settlement { intent: number, tokens, money, certainty: Certainty::Unsettled, overrun: 0 }
    }
}

impl Settlement {
    /// What was used.
    pub fn used(&self) -> Used {
        Used { tokens: self.tokens, money: self.money }
    }
}

fn one() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(value: &u64) -> bool {
    *value == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A settled call on its own: its intent with the number that it had, and its settlement.
pub(super) fn records_of(settled: &Arc<Settled>) -> [Record; 2] {
    let begun = Record(settled.settlement.intent, Kind::Carried(Open::new(settled.intent.clone())));
    [begun, Record(settled.number, Kind::Settlement(settled.settlement))]
}

/// Money as an integer of pico-USD.
mod pico {
    use serde::{Deserialize, Deserializer, Serializer};
    use vectoll_config::PicoUsd;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(money: &PicoUsd, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(money.pico())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PicoUsd, D::Error> {
        u64::deserialize(from).map(PicoUsd::new)
    }
}

#[cfg(test)]
mod tests {
    use crate::journal::{Intent, tests::intent};

    #[test]
    fn in_how_many_requests_a_call_is_sent_is_there_where_it_is_not_one() {
        let one = serde_json::to_string(&intent("a", 1)).unwrap();
        assert!(!one.contains("requests"), "{one}");
        assert_eq!(serde_json::from_str::<Intent>(&one).unwrap().requests, 1);
        let five = serde_json::to_string(&Intent { requests: 5, ..intent("a", 1) }).unwrap();
        assert_eq!(serde_json::from_str::<Intent>(&five).unwrap().requests, 5);
    }
}
