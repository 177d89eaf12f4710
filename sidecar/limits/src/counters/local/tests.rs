//! Reservations over several scopes, budgets over their periods, and what is forgotten.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;
use vectoll_config::{
    PicoUsd, Uid, ZoneName,
    v1::{Budget, Limits, OnStoreFailure, Period},
};

use super::{LocalCounters, LocalReservation};
use crate::{
    counters::{Account, Denial, Exhausted, Open, RateLimitStatus, ReserveRequest, Retry, Scope},
    store::protocol::{Per, Rate},
};
use vectoll_clock::Now;
use vectoll_ledger::{balance::Balances, used::Used};

fn at(seconds: u64) -> Now {
    let start: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let elapsed = Duration::from_secs(seconds);
    Now { elapsed, wall: start.checked_add(elapsed).unwrap() }
}

fn budget(pico: u64, period: Period) -> Budget {
    Budget::new(PicoUsd::new(pico), period, ZoneName::try_from("UTC".to_owned()).unwrap())
}

fn scope<'a>(name: &str, tokens: Option<u64>, budget: Option<&'a Budget>) -> Scope<'a> {
    let limits = Limits { tokens_per_minute: tokens, ..Limits::default() };
    Scope::new(Account::Key(Uid::new(name)), limits, budget.map_or(&[], std::slice::from_ref))
}

fn reserve(memory: &LocalCounters, scopes: &[Scope<'_>], amount: u64, now: Now) -> Result<LocalReservation, Denial> {
    let (team, on_store_failure) = (Uid::new("team"), OnStoreFailure::Local);
    let (requests, money) = (1, PicoUsd::new(amount));
    memory.reserve(&ReserveRequest { team: &team, scopes, requests, tokens: amount, money, on_store_failure }, now)
}

#[test]
fn all_scopes_are_reserved_or_none() {
    let memory = LocalCounters::default();
    let wide = scope("wide", Some(100), None);
    let scopes = [wide.clone(), scope("narrow", Some(10), None)];
    let reservation = reserve(&memory, &scopes, 8, at(0)).unwrap();
    let denial = reserve(&memory, &scopes, 8, at(1)).unwrap_err();
    assert_eq!((denial.scope, denial.exhausted, denial.used), (1, Exhausted::Rate(Rate::tokens(Per::Minute)), 8));
    assert_eq!(denial.retry, Retry::After(Duration::from_mins(1)));
    // The wide one was not touched by the call that the narrow one refused.
    assert!(reserve(&memory, std::slice::from_ref(&wide), 92, at(1)).is_ok());
    assert!(reserve(&memory, &[wide], 1, at(1)).is_err());
    memory.settle(reservation, Used { tokens: 8, money: PicoUsd::new(8) }, at(2));
}

#[test]
fn a_call_that_cannot_cost_anything_needs_no_money() {
    let memory = LocalCounters::default();
    let budget = budget(100, Period::Daily);
    let scopes = [scope("k", None, Some(&budget))];
    let reservation = reserve(&memory, &scopes, 100, at(0)).unwrap();
    memory.settle(reservation, Used { tokens: 1, money: PicoUsd::new(130) }, at(1));
    assert_eq!(reserve(&memory, &scopes, 1, at(2)).unwrap_err().exhausted, Exhausted::Budget(0));
    let reservation = reserve(&memory, &scopes, 0, at(2)).unwrap();
    // One that turns out to cost something all the same is booked.
    memory.settle(reservation, Used { tokens: 1, money: PicoUsd::new(5) }, at(3));
    assert_eq!(memory.spending(&scopes[0].account, &budget, at(3)).taken, PicoUsd::new(135));
}

#[test]
fn a_settlement_frees_the_rest_and_a_debt_blocks() {
    let memory = LocalCounters::default();
    let scopes = [scope("k", Some(100), None)];
    let reservation = reserve(&memory, &scopes, 90, at(0)).unwrap();
    memory.settle(reservation, Used { tokens: 10, money: PicoUsd::ZERO }, at(1));
    let reservation = reserve(&memory, &scopes, 90, at(2)).unwrap();
    memory.settle(reservation, Used { tokens: 500, money: PicoUsd::ZERO }, at(3));
    let denial = reserve(&memory, &scopes, 1, at(10)).unwrap_err();
    assert_eq!((denial.used, denial.limit), (510, 100));
    // The overrun counts from the moment it was known, in second 3.
    assert_eq!(denial.retry, Retry::After(Duration::from_secs(64 - 10)));
    assert!(reserve(&memory, &scopes, 100, at(64)).is_ok());
}

#[test]
fn what_is_given_back_was_never_there() {
    let memory = LocalCounters::default();
    let money = budget(10, Period::Total);
    let limits = Limits {
        requests_per_minute: Some(1),
        tokens_per_minute: Some(10),
        parallel_requests: Some(1),
        ..Limits::NONE
    };
    let scopes = [Scope::new(Account::Key(Uid::new("k")), limits, std::slice::from_ref(&money))];
    for second in 0..5 {
        let reservation = reserve(&memory, &scopes, 10, at(second)).unwrap();
        assert_eq!(reserve(&memory, &scopes, 1, at(second)).unwrap_err().retry, Retry::Never, "the money is taken");
        memory.give_back(reservation);
        assert_eq!(memory.open(), Open::default());
    }
}

#[test]
fn a_call_belongs_to_the_period_in_which_it_was_admitted() {
    let memory = LocalCounters::default();
    let money = budget(100, Period::Daily);
    let scopes = [scope("k", None, Some(&money))];
    let before_midnight = at(12 * 3600 - 10);
    let reservation = reserve(&memory, &scopes, 100, before_midnight).unwrap();
    let denial = reserve(&memory, &scopes, 1, before_midnight).unwrap_err();
    assert_eq!(denial.retry, Retry::After(Duration::from_secs(10)));
    let after = at(12 * 3600);
    let next = reserve(&memory, &scopes, 60, after).unwrap();
    // The late settlement of yesterday's call does not touch today's money.
    memory.settle(reservation, Used { tokens: 0, money: PicoUsd::new(100) }, after);
    assert_eq!(memory.spending(&scopes[0].account, &money, after).taken, PicoUsd::new(60));
    memory.settle(next, Used { tokens: 0, money: PicoUsd::new(50) }, after);
    assert_eq!(memory.spending(&scopes[0].account, &money, after).taken, PicoUsd::new(50));
    // A calendar set back opens nothing again.
    let reservation = reserve(&memory, &scopes, 50, before_midnight).unwrap();
    assert!(reserve(&memory, &scopes, 1, before_midnight).is_err());
    memory.give_back(reservation);
}

#[test]
fn an_edited_budget_keeps_what_was_spent_and_flips_without_loss() {
    let memory = LocalCounters::default();
    let (daily, monthly) = (budget(100, Period::Daily), budget(1000, Period::Monthly));
    let account = scope("k", None, None).account;
    let under = |budget| [Scope::new(account.clone(), Limits::default(), std::slice::from_ref(budget))];
    let open = reserve(&memory, &under(&daily), 60, at(0)).unwrap();
    // Edited while a call runs: the longer period begins with what the shorter one knows of.
    let reservation = reserve(&memory, &under(&monthly), 30, at(1)).unwrap();
    assert_eq!(memory.spending(&account, &monthly, at(1)).taken, PicoUsd::new(90));
    memory.settle(open, Used { tokens: 0, money: PicoUsd::new(50) }, at(2));
    memory.settle(reservation, Used { tokens: 0, money: PicoUsd::new(30) }, at(2));
    // A call that still has the old config, and a scrape of either, change nothing.
    let late = reserve(&memory, &under(&daily), 10, at(3)).unwrap();
    memory.settle(late, Used { tokens: 0, money: PicoUsd::new(10) }, at(3));
    for _ in 0..2 {
        assert_eq!(memory.spending(&account, &daily, at(3)).taken, PicoUsd::new(90));
        assert_eq!(memory.spending(&account, &monthly, at(3)).taken, PicoUsd::new(90));
    }
}

#[test]
fn a_settlement_after_its_window_takes_nothing_from_others() {
    let memory = LocalCounters::default();
    let scopes = [scope("k", Some(1000), None)];
    let slow = reserve(&memory, &scopes, 900, at(0)).unwrap();
    let reservation = reserve(&memory, &scopes, 1000, at(65)).unwrap();
    memory.settle(reservation, Used { tokens: 1000, money: PicoUsd::ZERO }, at(66));
    memory.settle(slow, Used { tokens: 100, money: PicoUsd::ZERO }, at(70));
    assert_eq!(reserve(&memory, &scopes, 1, at(71)).unwrap_err().used, 1000);
}

#[test]
fn a_budget_that_is_reset_counts_anew_and_over_a_restart() {
    let memory = LocalCounters::default();
    for period in [Period::Monthly, Period::Total] {
        let money = budget(100, period);
        let scopes = [scope(&period.to_string(), None, Some(&money))];
        let account = &scopes[0].account;
        let settled = reserve(&memory, &scopes, 60, at(0)).unwrap();
        memory.settle(settled, Used { tokens: 0, money: PicoUsd::new(60) }, at(1));
        let under_way = reserve(&memory, &scopes, 40, at(2)).unwrap();
        assert!(reserve(&memory, &scopes, 1, at(9)).is_err());

        let reset = Budget { reset_at: Some(at(10).wall), ..money.clone() };
        let scopes = [scope(&period.to_string(), None, Some(&reset))];
        assert!(reserve(&memory, &scopes, 1, at(9)).is_err(), "not before its time");
        assert_eq!(memory.spending(account, &reset, at(9)).ends, Some(at(10).wall));
        let first = reserve(&memory, &scopes, 70, at(10)).unwrap();
        assert!(reserve(&memory, &scopes, 31, at(10)).is_err());
        memory.settle(under_way, Used { tokens: 0, money: PicoUsd::new(40) }, at(11));
        assert_eq!(
            memory.spending(account, &reset, at(11)).taken,
            PicoUsd::new(70),
            "{period}: it was admitted before"
        );

        // The checkpoint knows nothing of the reset; the journal does.
        let next = LocalCounters::default();
        next.recall(memory.remember().into_iter().filter(|saved| saved.charge.start < at(10).wall).collect());
        next.replay(&first.charges, at(10).wall, PicoUsd::new(70));
        assert_eq!(next.spending(account, &reset, at(12)).taken, PicoUsd::new(70), "{period}");
        memory.settle(first, Used { tokens: 0, money: PicoUsd::new(70) }, at(12));
        let later = LocalCounters::default();
        later.recall(memory.remember());
        assert_eq!(later.spending(account, &reset, at(12)).taken, PicoUsd::new(70), "{period}");
        for counters in [&memory, &later] {
            assert_eq!(
                counters.spending(account, &money, at(13)).taken,
                PicoUsd::new(170),
                "{period}: it was taken back"
            );
        }
    }
}

#[test]
fn settled_money_outlives_a_restart_and_the_journal_adds_the_rest() {
    let memory = LocalCounters::default();
    let money = budget(100, Period::Total);
    let scopes = [scope("k", None, Some(&money))];
    let reservation = reserve(&memory, &scopes, 30, at(0)).unwrap();
    memory.settle(reservation, Used { tokens: 0, money: PicoUsd::new(20) }, at(1));
    let reservation = reserve(&memory, &scopes, 30, at(2)).unwrap();
    let text = serde_json::to_string(&memory.remember()).unwrap();
    let next = LocalCounters::default();
    next.recall(serde_json::from_str(&text).unwrap());
    assert_eq!(next.spending(&scopes[0].account, &money, at(0)).taken, PicoUsd::new(20), "without what is reserved");
    next.replay(&reservation.charges, at(2).wall, PicoUsd::new(30));
    assert_eq!(next.spending(&scopes[0].account, &money, at(0)).taken, PicoUsd::new(50));
    memory.give_back(reservation);
}

#[test]
fn replayed_money_counts_in_its_own_period_and_in_every_budget_that_the_account_keeps_up() {
    let (daily, monthly) = (budget(100, Period::Daily), budget(1000, Period::Monthly));
    let account = scope("k", None, None).account;
    let under = |budget| [Scope::new(account.clone(), Limits::default(), std::slice::from_ref(budget))];
    let memory = LocalCounters::default();
    let before_midnight = at(12 * 3600 - 10);
    let after = at(12 * 3600);
    let first = reserve(&memory, &under(&daily), 60, before_midnight).unwrap();
    let edited = reserve(&memory, &under(&monthly), 30, before_midnight).unwrap();
    assert_eq!((first.charges.len(), edited.charges.len()), (1, 2));
    let next_day = reserve(&memory, &under(&daily), 7, after).unwrap();
    // In another order than they were reserved in, as answers come.
    let next = LocalCounters::default();
    next.replay(&edited.charges, before_midnight.wall, PicoUsd::new(30));
    next.replay(&next_day.charges, after.wall, PicoUsd::new(7));
    next.replay(&first.charges, before_midnight.wall, PicoUsd::new(50));
    assert_eq!(next.spending(&account, &daily, after).taken, PicoUsd::new(7));
    assert_eq!(next.spending(&account, &monthly, after).taken, PicoUsd::new(87));
    for (reservation, money) in [(first, 50), (edited, 30), (next_day, 7)] {
        memory.settle(reservation, Used { tokens: 0, money: PicoUsd::new(money) }, after);
    }
    for budget in [&daily, &monthly] {
        assert_eq!(memory.spending(&account, budget, after), next.spending(&account, budget, after));
    }
    let remembered = |memory: &LocalCounters| {
        let mut all: Vec<String> = memory.remember().iter().map(|each| serde_json::to_string(each).unwrap()).collect();
        all.sort();
        all
    };
    assert_eq!(remembered(&memory), remembered(&next));
}

#[test]
fn users_are_bounded_and_idle_ones_forgotten() {
    let memory = LocalCounters::default();
    let team = Uid::new("t");
    let name = |i: u32| -> Arc<str> { format!("u{i}").into() };
    for i in 0..50 {
        let user = memory.user(&team, &name(i), 10);
        let expected = if i < 10 { name(i) } else { "_other".into() };
        assert_eq!(user, expected);
        let account = Account::TeamUser(team.clone(), user);
        let limits = Limits { requests_per_minute: Some(1000), ..Limits::default() };
        let reservation = reserve(&memory, &[Scope::new(account, limits, &[])], 1, at(0)).unwrap();
        memory.settle(reservation, Used { tokens: 1, money: PicoUsd::ZERO }, at(0));
    }
    assert_eq!(memory.table().counts.len(), 11);
    // After a quiet while there is room for others, and nothing of the old ones is kept.
    let reservation = reserve(&memory, &[scope("k", None, None)], 1, at(130)).unwrap();
    assert_eq!(memory.table().counts.len(), 1);
    assert_eq!(memory.user(&team, &name(77), 10), name(77));
    memory.give_back(reservation);
}

#[test]
fn so_many_run_at_once_and_a_running_one_is_never_forgotten() {
    let memory = LocalCounters::default();
    let limits = Limits { parallel_requests: Some(2), ..Limits::default() };
    let scopes = [Scope::new(Account::Key(Uid::new("k")), limits, &[])];
    let first = reserve(&memory, &scopes, 1, at(0)).unwrap();
    // A second one much later: a sweep in between must leave the count of the first.
    let second = reserve(&memory, &scopes, 1, at(500)).unwrap();
    let denial = reserve(&memory, &scopes, 1, at(1_000)).unwrap_err();
    assert_eq!((denial.exhausted, denial.used, denial.retry), (Exhausted::Parallel, 2, Retry::WhenFree));
    memory.settle(first, Used { tokens: 1, money: PicoUsd::ZERO }, at(1_001));
    let third = reserve(&memory, &scopes, 1, at(1_001)).unwrap();
    memory.give_back(second);
    memory.give_back(third);
    assert_eq!(memory.open(), Open::default());
}

#[test]
fn the_tightest_quota_is_told() {
    let memory = LocalCounters::default();
    let limits = |tokens| Limits { tokens_per_minute: Some(tokens), ..Limits::default() };
    let scopes = [scope("a", Some(100), None), scope("b", Some(50), None)];
    let reservation = reserve(&memory, &scopes, 20, at(5)).unwrap();
    let RateLimitStatus { requests, tokens } = memory.rate_limits(&reservation, &[limits(100), limits(50)], at(10));
    assert_eq!(requests, None);
    let quota = tokens.unwrap();
    assert_eq!((quota.limit, quota.remaining, quota.reset), (50, 30, Duration::from_secs(56)));
    memory.give_back(reservation);
}

#[derive(Clone, Debug)]
enum Step {
    Reserve { scopes: Vec<usize>, amount: u64 },
    Settle { of: usize, used: u64 },
    GiveBack { of: usize },
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        3 => (prop::sample::subsequence(vec![0usize, 1, 2], 1..=3), 1u64..60).prop_map(|(scopes, amount)| Step::Reserve { scopes, amount }),
        2 => (any::<usize>(), 0u64..60).prop_map(|(of, used)| Step::Settle { of, used }),
        1 => any::<usize>().prop_map(|of| Step::GiveBack { of }),
    ];
    prop::collection::vec((0u64..4_000, step), 1..200)
}

proptest! {
    /// Whatever is reserved, settled (at most at its reservation) and given back, in whatever order: no budget is passed,
    /// no reservation is lost, and at the end nothing is open.
    #[test]
    fn the_books_of_reservations_balance(steps in steps()) {
        let memory = LocalCounters::default();
        let budgets = [budget(300, Period::Total), budget(500, Period::Total), budget(800, Period::Total)];
        let all: Vec<Scope<'_>> = (0..3).map(|i| scope(&format!("k{i}"), None, Some(&budgets[i]))).collect();
        let mut open: Vec<(Vec<usize>, u64, LocalReservation)> = Vec::new();
        let mut spent = [0u64; 3];
        let mut now = 0;
        for (pause, step) in steps {
            now += pause;
            let moment = at(now / 1000);
            match step {
                Step::Reserve { scopes, amount } => {
                    let asked: Vec<Scope<'_>> = scopes.iter().map(|&i| all[i].clone()).collect();
                    let fits = scopes.iter().all(|&i| {
                        let reserved: u64 = open.iter().filter(|(s, ..)| s.contains(&i)).map(|(_, a, _)| a).sum();
                        spent[i] + reserved + amount <= budgets[i].limit.pico()
                    });
                    match reserve(&memory, &asked, amount, moment) {
                        Ok(reservation) => {
                            prop_assert!(fits);
                            open.push((scopes, amount, reservation));
                        }
                        Err(_) => prop_assert!(!fits),
                    }
                }
                Step::Settle { of, used } if !open.is_empty() => {
                    let (scopes, amount, reservation) = open.swap_remove(of % open.len());
                    let used = used.min(amount);
                    for &i in &scopes {
                        spent[i] += used;
                    }
                    memory.settle(reservation, Used { tokens: used, money: PicoUsd::new(used) }, moment);
                }
                Step::GiveBack { of } if !open.is_empty() => {
                    let (_, _, reservation) = open.swap_remove(of % open.len());
                    memory.give_back(reservation);
                }
                Step::Settle { .. } | Step::GiveBack { .. } => {}
            }
        }
        for (_, _, reservation) in open {
            memory.give_back(reservation);
        }
        prop_assert_eq!(memory.open(), Open::default());
        for i in 0..3 {
            prop_assert_eq!(memory.spending(&all[i].account, &budgets[i], at(now / 1000)).taken, PicoUsd::new(spent[i]));
        }
    }
}

fn hourly(tokens: Option<u64>, per_hour: u64) -> Limits {
    Limits { tokens_per_minute: tokens, tokens_per_hour: Some(per_hour), ..Limits::default() }
}

#[test]
fn an_hour_holds_beside_a_minute() {
    let memory = LocalCounters::default();
    let scopes = [Scope::new(Account::Key(Uid::new("k")), hourly(Some(60), 100), &[])];
    let first = reserve(&memory, &scopes, 60, at(0)).unwrap();
    memory.settle(first, Used { tokens: 50, money: PicoUsd::ZERO }, at(1));
    let by_minute = reserve(&memory, &scopes, 20, at(30)).unwrap_err();
    assert_eq!(by_minute.exhausted, Exhausted::Rate(Rate::tokens(Per::Minute)));
    let second = reserve(&memory, &scopes, 50, at(61)).unwrap();
    let left = memory.rate_limits(&second, &[scopes[0].limits], at(61)).tokens.unwrap();
    assert_eq!((left.limit, left.remaining), (100, 0), "the hour is the tighter one");
    let by_hour = reserve(&memory, &scopes, 10, at(125)).unwrap_err();
    assert_eq!((by_hour.exhausted, by_hour.used), (Exhausted::Rate(Rate::tokens(Per::Hour)), 100));
    let Retry::After(wait) = by_hour.retry else { panic!("{by_hour:?}") };
    assert!(reserve(&memory, &scopes, 10, at(125 + wait.as_secs() - 1)).is_err());
    assert!(reserve(&memory, &scopes, 10, at(125 + wait.as_secs())).is_ok());
    memory.give_back(second);
}

#[test]
fn a_limit_on_hours_that_is_set_while_a_call_runs_counts_without_it() {
    let memory = LocalCounters::default();
    let account = Account::Key(Uid::new("k"));
    let before = [Scope::new(account.clone(), Limits::default(), &[])];
    let after = [Scope::new(account, hourly(None, 100), &[])];
    let early = reserve(&memory, &before, 70, at(0)).unwrap();
    let counted = reserve(&memory, &after, 90, at(1)).unwrap();
    // What was never counted there is not taken out of it.
    memory.settle(early, Used { tokens: 0, money: PicoUsd::ZERO }, at(2));
    assert!(reserve(&memory, &after, 11, at(3)).is_err());
    memory.settle(counted, Used { tokens: 90, money: PicoUsd::ZERO }, at(4));
    assert!(reserve(&memory, &after, 10, at(5)).is_ok());
}

#[test]
fn a_call_must_fit_into_each_budget_and_the_refusal_names_which() {
    let memory = LocalCounters::default();
    let budgets = [budget(100, Period::Daily), budget(150, Period::Monthly)];
    let scopes = [Scope::new(Account::Key(Uid::new("k")), Limits::default(), &budgets)];
    let spend = |amount, moment| {
        let reservation = reserve(&memory, &scopes, amount, moment)?;
        assert_eq!(reservation.charges.len(), 2);
        memory.settle(reservation, Used { tokens: 0, money: PicoUsd::new(amount) }, moment);
        Ok::<_, Denial>(())
    };
    spend(100, at(0)).unwrap();
    assert_eq!(spend(1, at(1)).unwrap_err().exhausted, Exhausted::Budget(0));
    let tomorrow = at(24 * 3600);
    let denial = spend(51, tomorrow).unwrap_err();
    assert_eq!((denial.exhausted, denial.used), (Exhausted::Budget(1), 100));
    spend(50, tomorrow).unwrap();
    let taken = |budget: &Budget| memory.spending(&scopes[0].account, budget, tomorrow).taken.pico();
    assert_eq!(budgets.each_ref().map(taken), [50, 150], "each counts what was spent once");
}
