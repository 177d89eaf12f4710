//! The arguments that the store's functions are called with.

use super::protocol::{
    Charge, Claim, Correction, Entry, Exchange, Grant, Identity, LeaseKind, LeaseRequest, Money, PeriodName, Reply,
    Spend, StoreAnswer,
};

/// The arguments of an exchange, as the head of the function describes them. `caller` is the sidecar's namespace
/// ([`caller`](vectoll_config::store::caller)).
pub fn encode(identity: &Identity, caller: &str, exchange: &Exchange) -> Vec<String> {
    let Exchange { number, after, asks_only, life, pause, most_users, corrections, claims, spend, holds, groups } =
        exchange;
    let mut arguments = Arguments(Vec::with_capacity(32));
    arguments.add(&identity.sidecar);
    arguments.add(&identity.epoch);
    arguments.add(number);
    arguments.add(after);
    arguments.add(&u8::from(*asks_only));
    arguments.add(life);
    arguments.add(pause);
    arguments.add(most_users);
    arguments.list(corrections, |arguments, Correction { account, rate, slot, amount }| {
        arguments.add(account);
        arguments.add(rate.word());
        arguments.add(slot);
        arguments.add(amount);
    });
    arguments.list(claims, |arguments, Claim { account, count }| {
        arguments.add(account);
        arguments.add(count);
    });
    let Spend { from, to, charges, entries } = spend;
    arguments.add(from);
    arguments.add(to);
    arguments.list(charges, |arguments, Charge { account, periods, amount }| {
        arguments.add(account);
        arguments.list(periods, Arguments::period);
        arguments.add(&amount.pico());
    });
    arguments.list(entries, |arguments, Entry { month, field, requests, tokens, money }| {
        arguments.add(month);
        arguments.add(field);
        arguments.add(requests);
        arguments.add(tokens);
        arguments.add(&money.pico());
    });
    arguments.list(holds, Arguments::money);
    arguments.list(groups, |arguments, group| arguments.list(group, Arguments::lease_request));
    arguments.add(caller);
    arguments.0
}

struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, argument: &(impl ToString + ?Sized)) {
        self.0.push(argument.to_string());
    }

    fn list<T>(&mut self, all: &[T], each: impl Fn(&mut Self, &T)) {
        self.add(&all.len());
        for one in all {
            each(self, one);
        }
    }

    fn period(&mut self, period: &PeriodName) {
        self.add(&period.name);
        self.0.push(period.end.map(|end| end.to_string()).unwrap_or_default());
    }

    fn money(&mut self, money: &Money) {
        let Money { account, period, amount } = money;
        self.add(account);
        self.period(period);
        self.add(&amount.pico());
    }

    fn lease_request(&mut self, request: &LeaseRequest) {
        let mut plain = |kind: &str, least: u64, most: u64, limit: u64| {
            self.add(kind);
            self.add(&request.account);
            for argument in [least, most, limit] {
                self.add(&argument);
            }
        };
        match &request.of {
            LeaseKind::Rate { rate, least, most, limit } => plain(rate.word(), *least, *most, *limit),
            LeaseKind::Parallel { least, most, limit } => plain("p", *least, *most, *limit),
            LeaseKind::Money { period, least, most, limit } => {
                plain("m", least.pico(), most.pico(), limit.pico());
                self.period(period);
                return;
            }
        }
        self.add("");
        self.add("");
    }
}

/// A value as the store sends it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
    /// Several.
    List(Vec<Value>),
}

/// An answer that the function cannot have given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's answer has no {0} where one should be: is another program using its keys?")]
pub struct Unreadable(&'static str);

/// Reads the function's answer.
pub fn decode(value: &Value) -> Result<Reply, Unreadable> {
    let all = list(value, "list")?;
    let at = |place: usize, what| all.get(place).ok_or(Unreadable(what));
    let now = number(at(0, "time")?, "time")?;
    let run = text(at(1, "run")?, "run")?.into();
    let pause = number(at(2, "pause")?, "pause")?;
    let before = match (at(3, "epoch")?, at(4, "number")?) {
        (Value::Text(epoch), _) if epoch.is_empty() => None,
        (epoch, before) => Some((number(epoch, "epoch")?, number(before, "number")?)),
    };
    let spent_to = number(at(5, "spend")?, "spend")?;
    let sidecars = number(at(6, "count of sidecars")?, "count of sidecars")?;
    let answers = all.iter().skip(7).map(answer).collect::<Result<_, _>>()?;
    Ok(Reply { now, run, pause, before, spent_to, sidecars, answers })
}

fn answer(value: &Value) -> Result<StoreAnswer, Unreadable> {
    let all = list(value, "answer to a group")?;
    match all.split_first() {
        Some((Value::Number(1), rest)) => {
            let grant = |three: &[Value]| match three {
                [amount, taken, until] => Ok(Grant {
                    amount: number(amount, "amount")?,
                    taken: number(taken, "amount taken")?,
                    reset: number(until, "time of reset")?,
                }),
                _ => Err(Unreadable("whole grant")),
            };
            rest.chunks(3).map(grant).collect::<Result<_, _>>().map(StoreAnswer::Granted)
        }
        Some((Value::Number(0), [place, taken, wait])) => {
            let wait = if *wait == Value::Number(-1) { None } else { Some(number(wait, "time to wait")?) };
            let place = usize::try_from(number(place, "place")?).map_err(|_| Unreadable("place"))?;
            Ok(StoreAnswer::Denied { place, taken: number(taken, "amount taken")?, wait })
        }
        Some((Value::Number(2), [])) => Ok(StoreAnswer::Paused),
        Some(_) | None => Err(Unreadable("answer to a group")),
    }
}

fn list<'a>(value: &'a Value, what: &'static str) -> Result<&'a [Value], Unreadable> {
    match value {
        Value::List(all) => Ok(all),
        Value::Number(_) | Value::Text(_) => Err(Unreadable(what)),
    }
}

fn text<'a>(value: &'a Value, what: &'static str) -> Result<&'a str, Unreadable> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Number(_) | Value::List(_) => Err(Unreadable(what)),
    }
}

fn number(value: &Value, what: &'static str) -> Result<u64, Unreadable> {
    match value {
        Value::Number(number) => u64::try_from(*number).map_err(|_| Unreadable(what)),
        Value::Text(text) => text.parse().map_err(|_| Unreadable(what)),
        Value::List(_) => Err(Unreadable(what)),
    }
}
