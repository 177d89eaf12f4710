//! Names and numbers as sidecars write them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use vectoll_config::{
    ZoneName,
    v1::{Budget, Period},
};

use super::*;

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn budget(period: Period, zone: &str) -> Budget {
    Budget::new("1.00".parse().unwrap(), period, ZoneName::try_from(zone.to_owned()).unwrap())
}

fn texts(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| (!value.is_empty()).then(|| (*value).to_owned())).collect()
}

#[test]
fn a_sidecar_lives_for_ten_seconds_after_its_last_word() {
    let fields: HashMap<String, String> =
        [("a", "7 20000 app-1"), ("b", "6 10000 app-2"), ("c", "5 9999 app-3"), ("d", "9 20000"), ("e", "gibberish")]
            .into_iter()
            .map(|(sidecar, text)| (sidecar.to_owned(), text.to_owned()))
            .collect();
    let found = live(&fields, 20_000);
    let found: Vec<(u64, &str)> = found.iter().map(|live| (live.generation, &*live.pod)).collect();
    assert_eq!(found, [(6, "app-2"), (7, "app-1"), (9, "")]);
}

#[test]
fn a_word_from_the_future_and_a_name_that_no_pod_has_are_nobodys() {
    let long = format!("7 20000 {}", "x".repeat(254));
    let fields = [("a", "7 18446744073709551615 app-1"), ("b", "7 25001 app-2"), ("c", "7 25000 app-3"), ("d", &*long)];
    let fields = fields.into_iter().map(|(sidecar, text)| (sidecar.to_owned(), text.to_owned())).collect();
    let found: Vec<String> = live(&fields, 20_000).into_iter().map(|live| live.pod).collect();
    assert_eq!(found, ["app-3"]);
    let many = (0..MAX_LIVE + 5).map(|n| (n.to_string(), "7 20000 app".to_owned())).collect();
    assert_eq!(live(&many, 20_000).len(), MAX_LIVE);
}

#[test]
fn fields_are_those_that_sidecars_write() {
    let keys = [
        ("with", vec![budget(Period::Daily, "Europe/Berlin"), budget(Period::YearlyFrom { month: 4, day: 6 }, "UTC")]),
        ("without", vec![]),
    ];
    let keys = keys.into_iter().map(|(key, budgets)| (Uid::new(key), budgets)).collect();
    let of = TeamQuery { budgets: vec![budget(Period::Total, "UTC")], keys, in_tree: false };
    let asked = fields(&Uid::new("T"), &of, at("2026-11-30T23:30:00Z"));
    let asked: Vec<(&str, Vec<&str>)> =
        asked.iter().map(|fields| (&*fields.key, fields.names.iter().map(String::as_str).collect())).collect();
    let totals = "unsettled:r unsettled:t unsettled:p foreign:r foreign:t foreign:p t:r t:t t:p k:with:r k:with:t k:with:p k:without:r k:without:t k:without:p";
    assert_eq!(
        asked,
        [
            ("vectoll:{T}:total", totals.split(' ').collect()),
            // In Berlin it is December.
            ("vectoll:{T}:month:2026-11", vec!["k:without:p"]),
            ("vectoll:{T}:m:t:Total/UTC/0", vec!["s", "r", "x"]),
            ("vectoll:{T}:m:k:with:Daily/Europe/Berlin/1796079600", vec!["s", "r", "x"]),
            ("vectoll:{T}:m:k:with:Yearly-04-06/UTC/1775433600", vec!["s", "r", "x"]),
        ]
    );
}

#[test]
fn what_was_never_written_is_nothing_and_what_is_no_number_is_unknown() {
    let of = TeamQuery { budgets: vec![budget(Period::Monthly, "UTC")], ..TeamQuery::default() };
    let asked = fields(&Uid::new("T"), &of, at("2026-12-31T12:00:00Z"));
    let mut books = TeamLedger::default();
    books.take(&asked[0], &texts(&["", "", "", "", "", "", "3", "40", "x"]));
    books.take(&asked[1], &texts(&["1500000000000", "", "25000000000000"]));
    assert_eq!(books.totals.get(&Series::Unsettled), Some(&Totals::default()));
    assert_eq!(books.totals.get(&Series::Team), None);
    let money = &books.money[&Account::Team][0];
    assert_eq!((money.spent.spent.to_string(), money.spent.held), ("1.50".to_owned(), PicoUsd::ZERO));
    assert_eq!(money.spent.refused_at, Some("25".parse().unwrap()));
    assert_eq!(money.ends, Some(at("2027-01-01T00:00:00Z")));
    books.take(&asked[1], &texts(&["1500000000000", "", ""]));
    assert_eq!(books.money[&Account::Team][0].spent.refused_at, None);
    books.take(&asked[0], &texts(&["1", "2", "3", "1", "2", "3", "3", "40", "500"]));
    let totals = books.totals[&Series::Team];
    assert_eq!((totals.requests, totals.tokens, totals.spent), (3, 40, PicoUsd::new(500)));
    assert_eq!(books.totals[&Series::Unsettled].tokens, 2);
}

#[test]
fn a_team_of_many_keys_is_asked_of_in_parts_and_nothing_is_left_out() {
    let keys = (0..1_000).map(|n| (Uid::new(&n.to_string()), Vec::new())).collect();
    let asked = fields(&Uid::new("T"), &TeamQuery { keys, ..TeamQuery::default() }, at("2026-12-31T12:00:00Z"));
    assert!(asked.iter().all(|fields| fields.names.len() <= 3 * SERIES));
    let mut books = TeamLedger::default();
    for fields in &asked {
        books.take(fields, &vec![Some("1".to_owned()); fields.names.len()]);
    }
    assert_eq!((books.totals.len(), books.money.len()), (1_003, 1_001));
}

#[test]
fn what_others_spend_by_routes_of_their_own_is_none_of_the_owners_spend() {
    let of = TeamQuery { keys: BTreeMap::from([(Uid::new("k"), Vec::new())]), ..TeamQuery::default() };
    let asked = fields(&Uid::new("T"), &of, at("2026-12-31T12:00:00Z"));
    let month = &asked[1];
    assert_eq!(month.names, ["t:p", "foreign:p", "k:k:p"]);
    let spent = |values: &[&str]| {
        let mut books = TeamLedger::default();
        books.take(month, &texts(values));
        let of = |account| books.money.get(&account).map(|money| money[0].spent.spent.pico());
        (of(Account::Team), of(Account::Key(Uid::new("k"))))
    };
    assert_eq!(spent(&["1000", "900", "950"]), (Some(100), Some(950)));
    assert_eq!(spent(&["1000", "", "950"]), (Some(1_000), Some(950)));
    assert_eq!(spent(&["1000", "1001", "950"]), (Some(0), Some(950)));
    assert_eq!(spent(&["1000", "x", "950"]), (None, Some(950)));
}
