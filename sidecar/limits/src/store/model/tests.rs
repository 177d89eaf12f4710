//! What the simulation does not reach.

#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::store::protocol::{Charge, LeaseKind, LeaseRequest, PeriodName, StoreAnswer};

fn server() -> Server {
    Server { run: "one".into(), uptime: 100, clock: 1_900_000_000_000 }
}

fn money(pico: u64) -> Money {
    let period = PeriodName { name: "Total/UTC/0".into(), end: None };
    Money { account: "t".into(), period, amount: PicoUsd::new(pico) }
}

fn charge(pico: u64) -> Charge {
    let Money { account, period, amount } = money(pico);
    Charge { account, periods: vec![period], amount }
}

#[test]
fn a_sidecar_that_was_started_anew_holds_what_it_names_and_no_more() {
    let mut model = Model::default();
    let identity = |epoch| Identity { sidecar: "a".into(), epoch };
    let first = Exchange { number: 1, holds: vec![money(70)], ..Exchange::default() };
    model.exchange(&server(), &identity(1), &first);
    assert_eq!(model.money("t", "Total/UTC/0").1, PicoUsd::new(70));
    let anew = Exchange { number: 1, ..Exchange::default() };
    model.exchange(&server(), &identity(2), &anew);
    assert_eq!(model.money("t", "Total/UTC/0").1, PicoUsd::ZERO);
}

#[test]
fn spend_is_taken_once_and_only_after_what_came_before_it() {
    let mut model = Model::default();
    let identity = Identity { sidecar: "a".into(), epoch: 1 };
    let mut number = 0;
    let mut tell = |from, to| {
        number += 1;
        let spend = Spend { from, to, charges: vec![charge(5)], entries: Vec::new() };
        model.exchange(&server(), &identity, &Exchange { number, after: number - 1, spend, ..Exchange::default() });
        model.money("t", "Total/UTC/0").0.pico()
    };
    assert_eq!([tell(0, 4), tell(0, 4), tell(7, 9), tell(4, 9), tell(4, 9)], [5, 5, 5, 10, 10]);
}

#[test]
fn one_period_too_many_waits_for_tomorrow_and_what_was_spent_counts_all_the_same() {
    let mut model = Model::with_most_new_balances(1);
    let identity = Identity { sidecar: "a".into(), epoch: 1 };
    let request = |account: &str| {
        let period = PeriodName { name: "Total/UTC/0".into(), end: None };
        let (least, most, limit) = (PicoUsd::new(5), PicoUsd::new(5), PicoUsd::new(100));
        vec![LeaseRequest { account: account.into(), of: LeaseKind::Money { period, least, most, limit } }]
    };
    let spend = Spend { from: 0, to: 1, charges: vec![charge(7)], entries: Vec::new() };
    let groups = vec![request("t"), request("tu:ada")];
    let exchange = Exchange { number: 1, spend, groups: groups.clone(), ..Exchange::default() };
    let reply = model.exchange(&server(), &identity, &exchange);
    let wait = Some(DAY - server().clock % DAY);
    assert!(
        matches!(reply.answers.as_slice(), [StoreAnswer::Granted(_), StoreAnswer::Denied { place: 0, taken: 0, wait: of }] if *of == wait)
    );
    assert_eq!(model.money("t", "Total/UTC/0").0, PicoUsd::new(7));
    let tomorrow = Server { clock: server().clock + DAY, ..server() };
    let again = Exchange { number: 2, after: 1, groups, ..Exchange::default() };
    let reply = model.exchange(&tomorrow, &identity, &again);
    assert!(reply.answers.iter().all(|answer| matches!(answer, StoreAnswer::Granted(_))), "{reply:?}");
}

#[test]
fn a_refusal_is_noted_until_there_is_room_for_the_call() {
    let mut model = Model::default();
    let mut number = 0;
    let mut request = |model: &mut Model, sidecar: &str, held, least| {
        number += 1;
        let period = PeriodName { name: "Total/UTC/0".into(), end: None };
        let pico = PicoUsd::new;
        let of = LeaseKind::Money { period, least: pico(least), most: pico(least), limit: pico(100) };
        let groups = vec![vec![LeaseRequest { account: "t".into(), of }]];
        let exchange = Exchange { number, holds: vec![money(held)], groups, ..Exchange::default() };
        model.exchange(&server(), &Identity { sidecar: sidecar.into(), epoch: 1 }, &exchange);
        model.refusal("t", "Total/UTC/0").map(|refusal| (refusal.limit.pico(), refusal.amount.pico()))
    };
    assert_eq!(request(&mut model, "a", 90, 20), Some((100, 20)));
    assert_eq!(request(&mut model, "b", 0, 5), Some((100, 20)), "a smaller one says nothing about it");
    assert_eq!(request(&mut model, "b", 0, 101), Some((100, 20)), "what never fits says nothing of what is left");
    assert_eq!(request(&mut model, "a", 60, 5), None, "the others held it only for a while");
}

fn period(name: &str, end: Option<u64>) -> PeriodName {
    PeriodName { name: name.into(), end }
}

#[test]
fn a_call_of_two_budgets_counts_once_in_each() {
    let (mut model, identity) = (Model::default(), Identity { sidecar: "a".into(), epoch: 1 });
    let now = server().clock;
    let day = period("Daily/UTC/1900000000", Some(now + DAY));
    let month = period("Monthly/UTC/1899000000", Some(now + 20 * DAY));
    let spend = |from, periods: &[&PeriodName], pico| {
        let periods = periods.iter().map(|period| (*period).clone()).collect();
        let charges = vec![Charge { account: "t".into(), periods, amount: PicoUsd::new(pico) }];
        Spend { from, to: from + 1, charges, entries: Vec::new() }
    };
    let mut tell = |number, spend| {
        let exchange = Exchange { number, after: number - 1, spend, ..Exchange::default() };
        model.exchange(&server(), &identity, &exchange);
        [&day, &month].map(|period| model.money("t", &period.name).0.pico())
    };
    assert_eq!(tell(1, spend(0, &[&day, &month], 5)), [5, 5], "neither takes over what the other one begins with");
    assert_eq!(tell(2, spend(1, &[&day], 3)), [8, 8], "admitted before the month's was set: kept up");
    assert_eq!(tell(3, spend(2, &[&day, &month], 2)), [10, 10]);
}

#[test]
fn money_that_is_told_late_counts_in_the_period_in_which_it_was_admitted() {
    let (mut model, identity) = (Model::default(), Identity { sidecar: "a".into(), epoch: 1 });
    let now = server().clock;
    let month = period("Monthly/UTC/1899000000", Some(now + 20 * DAY));
    let (last, this) = (period("Hourly/UTC/1899996000", Some(now - 1)), period("Hourly/UTC/1899999600", Some(now + 1)));
    let anew = period("Monthly/UTC/1899999700", month.end);
    let all = [last.clone(), this.clone(), month.clone(), anew.clone()];
    let mut number = 0;
    let mut tell = |periods: &[&PeriodName], pico| {
        let periods = periods.iter().map(|period| (*period).clone()).collect();
        let charges = vec![Charge { account: "t".into(), periods, amount: PicoUsd::new(pico) }];
        let spend = Spend { from: number, to: number + 1, charges, entries: Vec::new() };
        number += 1;
        let exchange = Exchange { number, after: number - 1, spend, ..Exchange::default() };
        model.exchange(&server(), &identity, &exchange);
        all.each_ref().map(|period| model.money("t", &period.name).0.pico())
    };
    assert_eq!(tell(&[&this, &month], 5), [0, 5, 5, 0]);
    assert_eq!(tell(&[&last, &month], 3), [3, 5, 8, 0], "of the hour before");
    // The month is reset: what is admitted from then on is kept up in all of it, lest the reset be taken back.
    assert_eq!(tell(&[&this, &anew], 2), [3, 7, 10, 2]);
    assert_eq!(tell(&[&this, &month], 1), [3, 8, 11, 2], "admitted before the reset");
}

#[test]
fn budgets_that_begin_together_hold_the_same_money_once() {
    let (mut model, identity) = (Model::default(), Identity { sidecar: "a".into(), epoch: 1 });
    let now = server().clock;
    let lease = |name: &str, end| {
        let pico = PicoUsd::new;
        let of =
            LeaseKind::Money { period: period(name, Some(end)), least: pico(60), most: pico(60), limit: pico(100) };
        LeaseRequest { account: "t".into(), of }
    };
    let group = vec![lease("Daily/UTC/1900000000", now + DAY), lease("Monthly/UTC/1899000000", now + 20 * DAY)];
    let exchange = Exchange { number: 1, groups: vec![group], ..Exchange::default() };
    let reply = model.exchange(&server(), &identity, &exchange);
    assert!(matches!(reply.answers.as_slice(), [StoreAnswer::Granted(_)]));
    let more = LeaseKind::Money {
        period: period("Monthly/UTC/1899000000", Some(now + 20 * DAY)),
        least: PicoUsd::new(40),
        most: PicoUsd::new(40),
        limit: PicoUsd::new(100),
    };
    let groups = vec![vec![LeaseRequest { account: "t".into(), of: more }]];
    let reply = model.exchange(&server(), &identity, &Exchange { number: 2, after: 1, groups, ..Exchange::default() });
    assert!(
        matches!(reply.answers.as_slice(), [StoreAnswer::Granted(_)]),
        "60 of 100 are held, and not twice: {reply:?}"
    );
}
