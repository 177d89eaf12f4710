//! The lines of a bill. Those of one part sum to the ledger exactly, whatever is in it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use vectoll_config::{
    PicoUsd, Uid,
    store::{ModelAt, Series},
};

use super::{ledger::MonthLedger, names::Names, part::Part};
use crate::{
    allocation::{self, Allocation},
    ledger::Totals,
};

/// What a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Calls of which everything is known.
    Usage,
    /// Calls that a provider may have charged.
    Unsettled,
    /// Tokens for which no money was booked, because no price was known or it is zero.
    Unpriced,
    /// Calls whose provider reported no usage: they are booked at what was counted before.
    Estimated,
    /// Calls by routes that are none of the Team's.
    ForeignRoutes,
    /// What the parts lack of the whole, or have too much: somebody else than a sidecar has written into the ledger.
    Difference,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Unsettled => "unsettled",
            Self::Unpriced => "unpriced",
            Self::Estimated => "estimated",
            Self::ForeignRoutes => "foreign_routes",
            Self::Difference => "difference",
        }
    }
}

/// Calls, tokens and pico-USD, which a difference may have less than none of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) requests: i128,
    pub(crate) tokens: i128,
    pub(crate) pico: i128,
}

impl From<Totals> for Amounts {
    fn from(Totals { requests, tokens, spent }: Totals) -> Self {
        Self { requests: requests.into(), tokens: tokens.into(), pico: spent.pico().into() }
    }
}

impl Amounts {
    pub(crate) fn plus(self, other: Self) -> Self {
        let Self { requests, tokens, pico } = self;
        Self { requests: requests + other.requests, tokens: tokens + other.tokens, pico: pico + other.pico }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        let Self { requests, tokens, pico } = self;
        Self { requests: requests - other.requests, tokens: tokens - other.tokens, pico: pico - other.pico }
    }

    /// US dollars as an exact decimal.
    pub(crate) fn usd(self) -> String {
        let sign = if self.pico < 0 { "-" } else { "" };
        // Every amount of the ledger fits; what many of them sum up to may not.
        if let Ok(pico) = u64::try_from(self.pico.unsigned_abs()) {
            return format!("{sign}{}", PicoUsd::new(pico));
        }
        let (whole, rest) = (self.pico.unsigned_abs() / PICO, self.pico.unsigned_abs() % PICO);
        format!("{sign}{whole}.{rest:012}")
    }
}

/// Pico-USD in a dollar.
const PICO: u128 = 1_000_000_000_000;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) part: Part,
    pub(crate) kind: Kind,
    /// What the Team's account is kept under, and its name if it is there.
    pub(crate) team: Uid,
    pub(crate) team_name: Option<String>,
    pub(crate) key: Option<Uid>,
    pub(crate) key_name: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) model: Option<ModelAt>,
    /// What adds up.
    pub(crate) amounts: Amounts,
    /// What is in other lines of this part already, and cannot be taken out of them.
    pub(crate) included: Amounts,
    /// The cost centre, by cost centre; by key that of all it spent, if it is one.
    pub(crate) cost_center: Option<String>,
    /// The same for the labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// All tags of its calls, by tag; none: they had no tag that is counted.
    pub(crate) tags: BTreeSet<String>,
    /// What the key's owner says of it.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The lines of all Teams by one part, the largest first within each Team.
pub(crate) fn lines(ledgers: &BTreeMap<Uid, MonthLedger>, part: Part, names: &Names) -> Vec<Line> {
    let mut teams: Vec<(&Uid, &MonthLedger)> = ledgers.iter().collect();
    teams.sort_by_key(|(team, _)| (names.team(team).is_none(), names.team(team), *team));
    teams.into_iter().flat_map(|(team, ledger)| of_team(team, ledger, part, names)).collect()
}

fn of_team(team: &Uid, ledger: &MonthLedger, part: Part, names: &Names) -> Vec<Line> {
    let blank = Line {
        part,
        kind: Kind::Usage,
        team: team.clone(),
        team_name: names.team(team).map(ToString::to_string),
        key: None,
        key_name: None,
        user: None,
        model: None,
        amounts: Amounts::default(),
        included: Amounts::default(),
        cost_center: None,
        labels: BTreeMap::new(),
        tags: BTreeSet::new(),
        metadata: BTreeMap::new(),
    };
    let MonthLedger { whole, unsettled, estimated, foreign, keys, users, models, tags, .. } = ledger;
    let unpriced = models.iter().filter(|(model, of)| is_unpriced(model, **of));
    let unpriced = unpriced.fold(Totals::default(), |sum, (_, of)| sum.plus(*of));
    let mut lines: Vec<Line> = match part {
        Part::Team => {
            // Of the Team itself the ledger tells the unsettled apart.
            let settled = Amounts::from(*whole).minus((*unsettled).into());
            let unsettled = Line { kind: Kind::Unsettled, amounts: (*unsettled).into(), ..blank.clone() };
            vec![Line { amounts: settled, ..blank.clone() }, unsettled]
        }
        Part::Key => {
            let line = |(key, of): (&Uid, &Totals)| {
                let known = names.key(key);
                let shares = ledger.shares(key, *of);
                let only = shares.keys().next().filter(|_| shares.len() == 1).cloned().unwrap_or_default();
                Line {
                    cost_center: only.cost_center,
                    labels: only.labels,
                    key: Some(key.clone()),
                    key_name: known.map(|known| known.name.to_string()),
                    metadata: known.map(|known| known.metadata.clone()).unwrap_or_default(),
                    amounts: (*of).into(),
                    ..blank.clone()
                }
            };
            keys.iter().map(line).collect()
        }
        Part::User => {
            let line = |(user, of): (&String, &Totals)| Line {
                user: Some(user.clone()),
                amounts: (*of).into(),
                ..blank.clone()
            };
            users.iter().map(line).collect()
        }
        Part::Model => {
            let line = |(model, of): (&ModelAt, &Totals)| Line {
                kind: if is_unpriced(model, *of) { Kind::Unpriced } else { Kind::Usage },
                model: Some(model.clone()),
                amounts: (*of).into(),
                ..blank.clone()
            };
            models.iter().map(line).collect()
        }
        Part::CostCenter => {
            let line =
                |(cost_center, of): (Option<String>, Totals)| Line { cost_center, amounts: of.into(), ..blank.clone() };
            summed(ledger, |to| to.cost_center.clone()).into_iter().map(line).collect()
        }
        Part::Label => {
            let line =
                |(labels, of): (BTreeMap<String, String>, Totals)| Line { labels, amounts: of.into(), ..blank.clone() };
            summed(ledger, |to| to.labels.clone()).into_iter().map(line).collect()
        }
        Part::Tag => {
            let tagged = tags.values().fold(Totals::default(), |sum, of| sum.plus(*of));
            let line = |(tags, of): (&BTreeSet<String>, &Totals)| Line {
                tags: tags.clone(),
                amounts: (*of).into(),
                ..blank.clone()
            };
            // Sidecars do not say of each call that it has no tag: those are all the rest. What is more than the whole is none of them.
            let untagged = Line { amounts: allocation::minus(*whole, tagged).into(), ..blank.clone() };
            tags.iter().map(line).chain([untagged]).collect()
        }
    };
    lines.sort_by_key(|line| (std::cmp::Reverse(line.amounts.pico), std::cmp::Reverse(line.amounts.requests)));
    let sum = lines.iter().fold(Amounts::default(), |sum, line| sum.plus(line.amounts));
    lines.retain(|line| line.amounts != Amounts::default());
    let difference = Amounts::from(*whole).minus(sum);
    if difference != Amounts::default() {
        lines.push(Line { kind: Kind::Difference, amounts: difference, ..blank.clone() });
    }
    let beside = [
        (Kind::Unsettled, *unsettled, part != Part::Team),
        (Kind::Unpriced, unpriced, part != Part::Model),
        (Kind::Estimated, *estimated, true),
        (Kind::ForeignRoutes, *foreign, true),
    ];
    for (kind, of, is_included) in beside {
        let included = Amounts::from(of);
        if is_included && included != Amounts::default() {
            lines.push(Line { kind, included, ..blank.clone() });
        }
    }
    lines
}

/// What all keys have spent, by something that it is allocated to.
fn summed<K: Ord>(ledger: &MonthLedger, by: impl Fn(&Allocation) -> K) -> BTreeMap<K, Totals> {
    let mut sums = BTreeMap::new();
    for (key, spent) in &ledger.keys {
        for (to, share) in ledger.shares(key, *spent) {
            let sum: &mut Totals = sums.entry(by(&to)).or_default();
            *sum = sum.plus(share);
        }
    }
    sums
}

/// Whether tokens were charged to nobody's account though the provider is not the model inside the sidecar.
fn is_unpriced(model: &ModelAt, of: Totals) -> bool {
    of.tokens > 0 && of.spent == PicoUsd::ZERO && model.provider != "builtin"
}

/// The series that a line comes from, as it is called in the ledger.
pub(crate) fn series(line: &Line) -> String {
    if matches!(line.part, Part::CostCenter | Part::Label) && line.kind == Kind::Usage {
        return "allocations".to_owned();
    }
    let of = line.key.clone().map(Series::Key);
    let of = of.or_else(|| Series::of_tags(line.tags.iter().map(String::as_str)));
    let of = of.or_else(|| line.user.clone().map(Series::User)).or_else(|| line.model.clone().map(Series::Model));
    of.unwrap_or(Series::Team).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    /// A Team with two keys, users and models, some of it unsettled, some without a price.
    pub(in crate::report) fn ledgers() -> BTreeMap<Uid, MonthLedger> {
        let mut fields = Vec::new();
        for (series, requests, tokens, pico) in [
            ("t", 5, 500, 1_500_000_000_007_u64),
            ("unsettled", 1, 100, 7),
            ("estimated", 1, 20, 5),
            ("k:K1", 3, 300, 1_000_000_000_000),
            ("k:gone", 2, 200, 500_000_000_007),
            ("u:ada", 4, 400, 1_500_000_000_000),
            ("u:=HYPERLINK(\"http://x\")", 1, 100, 7),
            ("m:openai|models/openai/one|text-embedding-3-small", 4, 400, 1_500_000_000_007),
            ("m:openai|models/openai/own|bge-m3", 1, 100, 0),
            ("g:[\"=batch\",\"nightly\"]", 1, 100, 7),
            ("g:[\"nightly\"]", 2, 150, 500_000_000_000),
        ] {
            for (letter, value) in [("r", requests), ("t", tokens), ("p", pico)] {
                fields.push((format!("{series}:{letter}"), value.to_string()));
            }
        }
        let mut ledger = MonthLedger::of(fields.iter().map(|(name, value)| (&**name, &**value)));
        // The first key was moved to another cost centre, and has spent a little since the operator looked; of the second nothing is known.
        ledger.allocate([
            ("K1 {\"costCenter\":\"4711\",\"labels\":{\"app\":\"=shop\"}}", "1 100 400000000000 1793500000"),
            ("K1 {\"costCenter\":\"4712\",\"labels\":{\"app\":\"=shop\"}}", "1 100 500000000000 1793600000"),
        ]);
        let one = MonthLedger::of([("t:r", "1"), ("t:t", "2"), ("t:p", "3"), ("junk", "x")]);
        BTreeMap::from([(Uid::new("T1"), ledger), (Uid::new("T2"), one)])
    }

    pub(in crate::report) fn names() -> Names {
        use crate::observed_state::Object;
        use vectoll_config::ObjectName;
        let team = Object::new(ObjectName::new("web", "search"), Uid::new("T1"), vectoll_crds::TeamSpec::default());
        let spec = serde_json::json!({"teamRef": {"name": "search"}, "metadata": {"costCenter": "4711"}});
        let key = Object::new(ObjectName::new("web", "alice"), Uid::new("K1"), serde_json::from_value(spec).unwrap());
        Names::of([&team], [&key])
    }

    #[test]
    fn every_part_sums_to_the_whole_to_the_last_pico() {
        let ledgers = ledgers();
        let whole = ledgers.values().fold(Amounts::default(), |sum, of| sum.plus(of.whole.into()));
        for part in [Part::Team, Part::Key, Part::User, Part::Model, Part::CostCenter, Part::Label, Part::Tag] {
            let lines = lines(&ledgers, part, &names());
            let sum = lines.iter().fold(Amounts::default(), |sum, line| sum.plus(line.amounts));
            assert_eq!(sum, whole, "{part:?}");
            // The second Team has no parts at all: what they lack is a line. Calls without tags lack nothing.
            let lacks = lines.iter().any(|line| line.kind == Kind::Difference && line.amounts.pico == 3);
            assert_eq!(lacks, !matches!(part, Part::Team | Part::Tag));
        }
        assert_eq!(whole.usd(), "1.50000000001");
    }

    #[test]
    fn unsettled_and_unpriced_have_lines_of_their_own() {
        let of = |part, kind| lines(&ledgers(), part, &names()).into_iter().find(|line| line.kind == kind).unwrap();
        assert_eq!(of(Part::Team, Kind::Unsettled).amounts.pico, 7);
        assert_eq!(of(Part::Key, Kind::Unsettled).included.pico, 7);
        assert_eq!(of(Part::Key, Kind::Unsettled).amounts, Amounts::default());
        let unpriced = of(Part::Model, Kind::Unpriced);
        assert_eq!((unpriced.amounts.tokens, unpriced.model.unwrap().model.as_str()), (100, "bge-m3"));
        assert_eq!(of(Part::User, Kind::Unpriced).included.tokens, 100);
        assert_eq!(of(Part::Team, Kind::Estimated).included.pico, 5);
    }

    #[test]
    fn cost_centres_and_labels_are_those_of_when_it_was_spent() {
        let of = |part| -> Vec<(String, i128)> {
            let lines = lines(&ledgers(), part, &names()).into_iter();
            let usage = lines.filter(|line| line.kind == Kind::Usage && line.team == Uid::new("T1"));
            usage
                .map(|line| (line.cost_center.unwrap_or_else(|| format!("{:?}", line.labels)), line.amounts.pico))
                .collect()
        };
        let (moved, none) = ("4712".to_owned(), "{}".to_owned());
        let expected =
            [(moved, 600_000_000_000), (none.clone(), 500_000_000_007), ("4711".to_owned(), 400_000_000_000)];
        assert_eq!(of(Part::CostCenter), expected);
        assert_eq!(of(Part::Label), [("{\"app\": \"=shop\"}".to_owned(), 1_000_000_000_000), (none, 500_000_000_007)]);
        // A key that has spent for two has none of its own.
        let key = lines(&ledgers(), Part::Key, &names()).swap_remove(0);
        assert_eq!((key.cost_center, key.labels.len()), (None, 0));
    }

    #[test]
    fn a_set_of_tags_is_a_line_and_the_rest_is_one_without() {
        let of_team = |ledgers: &BTreeMap<Uid, MonthLedger>, team| -> Vec<(String, Kind, i128, i128)> {
            let lines = lines(ledgers, Part::Tag, &names()).into_iter().filter(|line| line.team == Uid::new(team));
            let own = lines.filter(|line| line.included == Amounts::default());
            own.map(|line| (series(&line), line.kind, line.amounts.requests, line.amounts.pico)).collect()
        };
        let usage = |series: &str, requests, pico| (series.to_owned(), Kind::Usage, requests, pico);
        let expected = [
            usage("t", 2, 1_000_000_000_000),
            usage("g:[\"nightly\"]", 2, 500_000_000_000),
            usage("g:[\"=batch\",\"nightly\"]", 1, 7),
        ];
        assert_eq!(of_team(&ledgers(), "T1"), expected);
        assert_eq!(of_team(&ledgers(), "T2"), [usage("t", 1, 3)]);
        // Somebody else wrote more than there is.
        let more = MonthLedger::of([("t:r", "1"), ("t:p", "3"), ("g:[\"a\"]:r", "1"), ("g:[\"a\"]:p", "5")]);
        let found = of_team(&BTreeMap::from([(Uid::new("T1"), more)]), "T1");
        assert_eq!(found, [usage("g:[\"a\"]", 1, 5), ("t".to_owned(), Kind::Difference, 0, -2)]);
    }

    #[test]
    fn names_are_those_of_what_is_there() {
        let lines = lines(&ledgers(), Part::Key, &names());
        let of = |line: &Line| (line.team_name.clone(), line.key_name.clone(), series(line));
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(of(&lines[0]), (name("web/search"), name("web/alice"), "k:K1".to_owned()));
        assert_eq!(of(&lines[1]), (name("web/search"), None, "k:gone".to_owned()));
        assert_eq!(lines[0].metadata["costCenter"], "4711");
    }

    #[test]
    fn amounts_are_exact_decimals_of_either_sign() {
        let of = |pico| Amounts { requests: 0, tokens: 0, pico }.usd();
        assert_eq!(of(-1), "-0.000000000001");
        assert_eq!(of(i128::from(u64::MAX) + 1), "18446744.073709551616");
    }
}
