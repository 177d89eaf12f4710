//! The functions that decide in the store, held against the model of it in Rust: the same exchanges, in the same order, at the same
//! times, have the same answers from a real server.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

use std::{cell::Cell, sync::Arc};

use proptest::{prelude::*, test_runner::TestRunner};
use redis::aio::MultiplexedConnection;
use vectoll_config::{
    PicoUsd, Uid,
    store::{Function, Library, money_key, team_prefix},
};
use vectoll_limits::store::{
    Model, Refusal, Server, Value, decode, encode,
    protocol::{
        Charge, Claim, Correction, Entry, Exchange, Identity, LeaseKind, LeaseRequest, Money, PeriodName, Rate, Reply,
        Spend, StoreAnswer,
    },
};
use vectoll_tests::store::Store;

/// Periods of budgets that a history may begin by lease requests: fewer than it could.
const MOST_NEW_BALANCES: u64 = 4;

/// The library with clock and identity of the server as the last arguments, and a bound that histories reach: nothing else differs.
fn with_clock() -> Library {
    let source = Library::source();
    let clock = "redis.call('TIME')";
    let info = "redis.call('INFO', 'server')";
    assert!(source.contains(clock) && source.contains(info));
    let given = "{math.floor(tonumber(args[#args]) / 1000), (tonumber(args[#args]) % 1000) * 1000}";
    let bound = "MAX_NEW_PURSES = 200000 ";
    assert!(source.contains(bound));
    let source = source.replace(bound, &format!("MAX_NEW_PURSES = {MOST_NEW_BALANCES} "));
    Library::of(&source.replace(clock, given).replace(info, "args[#args - 1]"))
}

fn value(answer: redis::Value) -> Value {
    match answer {
        redis::Value::Int(number) => Value::Number(number),
        redis::Value::BulkString(bytes) => Value::Text(String::from_utf8(bytes).unwrap()),
        redis::Value::Array(all) => Value::List(all.into_iter().map(value).collect()),
        other => unreachable!("{other:?}"),
    }
}

async fn ask(
    connection: &mut MultiplexedConnection,
    library: &Library,
    team: &Uid,
    server: &Server,
    (identity, exchange): (&Identity, &Exchange),
) -> Reply {
    let mut call = redis::cmd("FCALL");
    call.arg(library.function(Function::Exchange))
        .arg(1)
        .arg(team_prefix(team))
        .arg(encode(identity, "ns:apps", exchange));
    let Server { run, uptime, clock } = server;
    call.arg(format!("run_id:{run}\r\nuptime_in_seconds:{uptime}\r\n")).arg(clock);
    let answer: redis::Value = call.query_async(connection).await.unwrap();
    decode(&value(answer)).unwrap()
}

/// A step of a history: who says what, and how long after the step before.
#[derive(Clone, Debug)]
struct Step {
    sidecar: u8,
    pause: i64,
    restarts: bool,
    new_epoch: bool,
    repeats: bool,
    exchange: Exchange,
}

const ACCOUNTS: [&str; 4] = ["t", "k:1", "tu:ada lovelace", "ku:1:\u{1F980}:x"];

fn account() -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(&ACCOUNTS[..]).prop_map(Arc::from)
}

fn rate() -> impl Strategy<Value = Rate> {
    prop::sample::select([Rate::PER_MINUTE.as_slice(), &Rate::LONG].concat())
}

/// Amounts, most of them of everyday size, some of them as large as there can be.
fn pico() -> impl Strategy<Value = PicoUsd> {
    prop_oneof![4 => 0u64..5_000_000_000_000, 1 => 0u64..9_000_000_000_000_000_000].prop_map(PicoUsd::new)
}

const PERIODS: [(&str, Option<u64>); 3] =
    [("Total/UTC/0", None), ("Daily/UTC/1", Some(END)), ("Weekly/UTC/1", Some(END + 7 * 86_400_000))];

fn period() -> impl Strategy<Value = PeriodName> {
    let named = |(name, end): (&str, Option<u64>)| PeriodName { name: name.into(), end };
    prop::sample::select(&PERIODS[..]).prop_map(named)
}

/// Where the clock begins (in 2030: the server forgets what is over by its own clock), and the end of a period that comes within a history.
const BEGIN: u64 = 1_900_000_000_000;
const END: u64 = BEGIN + 40_000;

/// What a call needs, or nothing: what nobody waits for.
fn least() -> impl Strategy<Value = PicoUsd> {
    prop_oneof![4 => pico(), 1 => Just(PicoUsd::ZERO)]
}

fn lease_request() -> impl Strategy<Value = LeaseRequest> {
    let of = prop_oneof![
        (rate(), 0u64..300, 0u64..300, 1u64..2_000).prop_map(|(rate, least, more, limit)| LeaseKind::Rate {
            rate,
            least,
            most: least + more,
            limit
        }),
        (0u64..3, 0u64..5, 1u64..8).prop_map(|(least, more, limit)| LeaseKind::Parallel {
            least,
            most: least + more,
            limit
        }),
        (period(), least(), pico(), pico()).prop_map(|(period, least, more, limit)| LeaseKind::Money {
            period,
            least,
            most: least.plus(more),
            limit
        }),
    ];
    (account(), of).prop_map(|(account, of)| LeaseRequest { account, of })
}

fn money() -> impl Strategy<Value = Money> {
    (account(), period(), pico()).prop_map(|(account, period, amount)| Money { account, period, amount })
}

fn charge() -> impl Strategy<Value = Charge> {
    let periods = prop::sample::subsequence(&PERIODS[..], 1..=PERIODS.len());
    (account(), periods, pico()).prop_map(|(account, periods, amount)| Charge {
        account,
        periods: periods.into_iter().map(|(name, end)| PeriodName { name: name.into(), end }).collect(),
        amount: PicoUsd::new(amount.pico() / 1_000),
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let field = prop::sample::select(vec!["t", "k:1", "u:ada", "u:bob", "u:eve", "m:openai|a/b/c|x"]);
    (field, 1u64..5, 0u64..1_000, pico()).prop_map(|(field, requests, tokens, money)| Entry {
        month: "2026-09".into(),
        field: field.into(),
        requests,
        tokens,
        // Sums of the largest amounts are beyond what a settlement can be.
        money: PicoUsd::new(money.pico() / 1_000),
    })
}

fn step() -> impl Strategy<Value = Step> {
    let correction = (account(), rate(), 0u64..70, -400i64..400).prop_map(|(account, rate, ago, amount)| Correction {
        account,
        rate,
        slot: rate.slot(BEGIN + 100_000) - ago,
        amount,
    });
    let claim = (account(), 0u64..6).prop_map(|(account, count)| Claim { account, count });
    let spend = (0u64..12, 0u64..6, prop::collection::vec(charge(), 0..3), prop::collection::vec(entry(), 0..4))
        .prop_map(|(from, more, charges, entries)| Spend { from, to: from + more, charges, entries });
    let lists = (
        prop::collection::vec(correction, 0..4),
        prop::collection::vec(claim, 0..3),
        spend,
        prop::collection::vec(money(), 0..3),
        prop::collection::vec(prop::collection::vec(lease_request(), 1..4), 0..4),
    );
    let pause = prop_oneof![8 => 0i64..3_000, 1 => -5_000i64..0, 1 => 10_000i64..70_000];
    let flags =
        (prop::bool::weighted(0.05), prop::bool::weighted(0.05), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (0u8..4, pause, flags, lists).prop_map(|(sidecar, pause, flags, lists)| {
        let (restarts, new_epoch, repeats, asks_only) = flags;
        let (corrections, claims, spend, holds, groups) = lists;
        let exchange = Exchange {
            number: 0,
            after: 0,
            asks_only,
            life: 2_000,
            pause: 4_000,
            most_users: 2,
            corrections,
            claims,
            spend,
            holds: holds.into_iter().map(|it| Money { amount: PicoUsd::new(it.amount.pico() / 100), ..it }).collect(),
            groups,
        };
        Step { sidecar, pause, restarts, new_epoch, repeats, exchange }
    })
}

#[test]
fn the_functions_and_the_model_decide_alike() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Store::start()).unwrap();
    let connection = runtime.block_on(store.admin()).unwrap();
    let library = with_clock();
    let load = redis::cmd("FUNCTION").arg("LOAD").arg(library.code()).to_owned();
    let () = runtime.block_on(load.query_async(&mut connection.clone())).unwrap();
    let [histories, granted, denied, paused, refused, too_many] = [const { Cell::new(0) }; 6];
    let count = |of: &Cell<u32>| of.set(of.get() + 1);
    // More by hand: VECTOLL_HISTORIES=5000.
    let cases = std::env::var("VECTOLL_HISTORIES").map_or(300, |cases| cases.parse().unwrap());
    let config =
        ProptestConfig { cases, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..60), |steps| {
            count(&histories);
            let mut connection = connection.clone();
            let team = Uid::new(&format!("team-{}", histories.get()));
            let mut model = Model::with_most_new_balances(MOST_NEW_BALANCES);
            let mut server = Server { run: "a1".into(), uptime: 100, clock: BEGIN };
            let mut numbers = [0u64; 4];
            let mut epochs = [1u64; 4];
            let mut taken = [0u64; 4];
            for (at, step) in steps.into_iter().enumerate() {
                let Step { sidecar, pause, restarts, new_epoch, repeats, mut exchange } = step;
                let who = usize::from(sidecar);
                server.clock = server.clock.saturating_add_signed(pause);
                server.uptime += 1;
                if restarts {
                    server = Server { run: format!("b{at}").into(), uptime: 0, clock: server.clock };
                }
                if new_epoch {
                    epochs[who] += 1;
                    numbers[who] = 0;
                    taken[who] = 0;
                }
                if !repeats {
                    numbers[who] += 1;
                }
                exchange.number = numbers[who].max(1);
                // Mostly the truth; sometimes it knows of one that the store has not.
                exchange.after = if repeats { exchange.number } else { taken[who] };
                let identity = Identity { sidecar: format!("sidecar-{sidecar}").into(), epoch: epochs[who] };
                let by_model = model.exchange(&server, &identity, &exchange);
                let asked = ask(&mut connection, &library, &team, &server, (&identity, &exchange));
                let by_store = runtime.block_on(asked);
                if by_model.answers.len() == exchange.groups.len()
                    && !exchange.asks_only
                    && exchange.after <= taken[who]
                {
                    taken[who] = exchange.number;
                }
                prop_assert_eq!(&by_store, &by_model, "step {}: {:?}", at, exchange);
                for (group, answer) in exchange.groups.iter().zip(&by_store.answers) {
                    // What never ends waits for nothing else.
                    let waits =
                        |place: usize| matches!(&group[place].of, LeaseKind::Money { period, .. } if period.end.is_none());
                    if matches!(answer, StoreAnswer::Denied { place, wait: Some(_), .. } if waits(*place)) {
                        count(&too_many);
                    }
                    match answer {
                        StoreAnswer::Granted(_) => count(&granted),
                        StoreAnswer::Denied { .. } => count(&denied),
                        StoreAnswer::Paused => count(&paused),
                    }
                }
            }
            for field in ["t", "k:1", "u:ada", "u:bob", "u:eve", "u:_other"] {
                let key = format!("{}total", team_prefix(&team));
                let mut totals = redis::cmd("HMGET");
                totals.arg(key);
                for what in ["r", "t", "p"] {
                    totals.arg(format!("{field}:{what}"));
                }
                let totals: Vec<Option<u64>> = runtime.block_on(totals.query_async(&mut connection)).unwrap();
                let (requests, tokens, pico) = model.total(field);
                let totals: Vec<u64> = totals.into_iter().map(Option::unwrap_or_default).collect();
                prop_assert_eq!(totals, vec![requests, tokens, pico], "{}", field);
            }
            for (account, (period, _)) in ACCOUNTS.iter().flat_map(|account| PERIODS.map(|period| (account, period))) {
                let mut balance = redis::cmd("HMGET");
                balance.arg(money_key(&team, account, period)).arg(&["s", "r", "x", "y"]);
                let balance: Vec<Option<u64>> = runtime.block_on(balance.query_async(&mut connection)).unwrap();
                let (spent, held) = model.money(account, period);
                let refusal = model.refusal(account, period);
                let told = |of: fn(Refusal) -> PicoUsd| refusal.map(|refusal| of(refusal).pico());
                let by_model = [Some(spent.pico()), Some(held.pico()), told(|it| it.limit), told(|it| it.amount)];
                let balance = [balance[0].or(Some(0)), balance[1].or(Some(0)), balance[2], balance[3]];
                prop_assert_eq!(balance, by_model, "{} {}", account, period);
                if refusal.is_some() {
                    count(&refused);
                }
            }
            Ok(())
        })
        .unwrap();
    let [histories, granted, denied, paused] = [histories, granted, denied, paused].map(|cell| cell.get());
    println!(
        "{histories} histories alike: {granted} groups granted, {denied} denied, {paused} while nothing was granted"
    );
    assert!(
        granted > 1_000 && denied > 1_000 && paused > 100 && refused.get() > 100 && too_many.get() > 100,
        "the histories hold nothing"
    );
}
