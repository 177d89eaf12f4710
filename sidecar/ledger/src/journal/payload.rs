//! What a record is in a segment: [postcard](https://postcard.jamesmunns.com/wire-format) of the types below, with names by number
//! ([`Name`]). Whatever changes here needs another magic in [`super::frame`]: postcard says nothing of the fields that it has.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vectoll_config::{PicoUsd, Uid};

use super::{
    names::{Name, Names, NamesRead},
    record::{Intent, Kind, Named, Open, Record, Refine, Settlement, Void},
};
use crate::books::Certainty;

/// A record that no frame holds.
#[derive(Debug, thiserror::Error)]
#[error("failed to write a record of the journal: {0}")]
pub struct NotARecord(String);

impl NotARecord {
    pub(super) fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    number: u64,
    #[serde(borrow)]
    kind: PayloadKind<'a>,
}

/// In the order of [`Kind`]. `back` is how much smaller the intent's number is.
#[derive(Serialize, Deserialize)]
enum PayloadKind<'a> {
    Intent(#[serde(borrow)] PayloadIntent<'a>),
    Carried { intent: PayloadIntent<'a>, tokens: u64, pico_usd: u64 },
    Refine { back: u64, tokens: u64, pico_usd: u64 },
    Settlement { back: u64, tokens: u64, pico_usd: u64, certainty: PayloadCertainty, overrun: u64 },
    Void { back: u64 },
}

#[derive(Serialize, Deserialize)]
struct PayloadIntent<'a> {
    #[serde(borrow)]
    team: PayloadNamed<'a>,
    key: PayloadNamed<'a>,
    user: Name<'a>,
    model: Name<'a>,
    provider: Name<'a>,
    backend: Name<'a>,
    requests: u64,
    tags: Vec<Name<'a>>,
    foreign_route: bool,
    /// Seconds since 1970, and nanoseconds.
    admitted_at: (i64, i32),
    tokens: u64,
    pico_usd: u64,
    priced: bool,
    charges: Vec<Name<'a>>,
}

#[derive(Serialize, Deserialize)]
struct PayloadNamed<'a> {
    #[serde(borrow)]
    uid: Name<'a>,
    name: Name<'a>,
}

#[derive(Serialize, Deserialize)]
enum PayloadCertainty {
    Known,
    Estimated,
    Unsettled,
    Refused,
}

/// Adds a record's payload. `at` is where the segment ends so far.
pub(super) fn encode(
    Record(number, kind): &Record,
    names: &mut Names,
    at: u64,
    into: &mut Vec<u8>,
) -> Result<(), NotARecord> {
    let number = *number;
    // The intent's number is smaller; wrapping, so that any two numbers survive.
    let back = |intent: u64| number.wrapping_sub(intent);
    let kind = match kind {
        Kind::Intent(intent) => PayloadKind::Intent(intent_of(intent, names, at)?),
        Kind::Carried(Open { intent, tokens, money }) => {
            PayloadKind::Carried { intent: intent_of(intent, names, at)?, tokens: *tokens, pico_usd: money.pico() }
        }
        Kind::Refine(Refine { intent, tokens, money }) => {
            PayloadKind::Refine { back: back(*intent), tokens: *tokens, pico_usd: money.pico() }
        }
        Kind::Settlement(Settlement { intent, tokens, money, certainty, overrun }) => PayloadKind::Settlement {
            back: back(*intent),
            tokens: *tokens,
            pico_usd: money.pico(),
            certainty: match certainty {
                Certainty::Known => PayloadCertainty::Known,
                Certainty::Estimated => PayloadCertainty::Estimated,
                Certainty::Unsettled => PayloadCertainty::Unsettled,
                Certainty::Refused => PayloadCertainty::Refused,
            },
            overrun: *overrun,
        },
        Kind::Void(Void { intent }) => PayloadKind::Void { back: back(*intent) },
    };
    let filled = std::mem::take(into);
    *into = postcard::to_extend(&Payload { number, kind }, filled).map_err(NotARecord::new)?;
    Ok(())
}

fn intent_of<'a>(intent: &'a Intent, names: &mut Names, at: u64) -> Result<PayloadIntent<'a>, NotARecord> {
    let Intent {
        team,
        key,
        user,
        model,
        provider,
        backend,
        requests,
        tags,
        foreign_route,
        admitted_at,
        tokens,
        money,
        priced,
        charges,
    } = intent;
    Ok(PayloadIntent {
        team: named_of(team, names, at),
        key: named_of(key, names, at),
        user: names.text(user, at),
        model: names.text(model, at),
        provider: Name::Plain(Cow::Borrowed(provider)),
        backend: names.text(backend, at),
        requests: *requests,
        tags: tags.iter().map(|tag| names.text(tag, at)).collect(),
        foreign_route: *foreign_route,
        admitted_at: (admitted_at.as_second(), admitted_at.subsec_nanosecond()),
        tokens: *tokens,
        pico_usd: money.pico(),
        priced: *priced,
        charges: charges
            .iter()
            .map(|charge| names.period(charge, at))
            .collect::<Result<_, _>>()
            .map_err(NotARecord::new)?,
    })
}

fn named_of<'a>(Named { uid, name }: &'a Named, names: &mut Names, at: u64) -> PayloadNamed<'a> {
    PayloadNamed { uid: names.text(uid.as_arc(), at), name: names.text(name, at) }
}

/// Learns the names that a payload has in full.
pub(super) fn learn(payload: &[u8], names: &mut NamesRead) {
    let Ok((Payload { number: _, kind }, _)) = postcard::take_from_bytes(payload) else { return };
    let (PayloadKind::Intent(intent) | PayloadKind::Carried { intent, .. }) = kind else { return };
    let PayloadIntent { team, key, user, model, provider, backend, tags, charges, .. } = intent;
    let own = [team.uid, team.name, key.uid, key.name, user, model, provider, backend];
    own.iter().chain(&tags).chain(&charges).for_each(|name| names.learn(name));
}

/// The record of a payload; none: it is not one, or has a name that is in no record that is whole.
pub(super) fn decode(payload: &[u8], names: &NamesRead) -> Option<Record> {
    let (Payload { number, kind }, rest) = postcard::take_from_bytes(payload).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let intent = |back: u64| number.wrapping_sub(back);
    let money = PicoUsd::new;
    let kind = match kind {
        PayloadKind::Intent(intent) => Kind::Intent(intent_from(intent, names)?.into()),
        PayloadKind::Carried { intent, tokens, pico_usd } => {
            Kind::Carried(Open { intent: intent_from(intent, names)?.into(), tokens, money: money(pico_usd) })
        }
        PayloadKind::Refine { back, tokens, pico_usd } => {
            Kind::Refine(Refine { intent: intent(back), tokens, money: money(pico_usd) })
        }
        PayloadKind::Settlement { back, tokens, pico_usd, certainty, overrun } => Kind::Settlement(Settlement {
            intent: intent(back),
            tokens,
            money: money(pico_usd),
            certainty: match certainty {
                PayloadCertainty::Known => Certainty::Known,
                PayloadCertainty::Estimated => Certainty::Estimated,
                PayloadCertainty::Unsettled => Certainty::Unsettled,
                PayloadCertainty::Refused => Certainty::Refused,
            },
            overrun,
        }),
        PayloadKind::Void { back } => Kind::Void(Void { intent: intent(back) }),
    };
    Some(Record(number, kind))
}

fn intent_from(intent: PayloadIntent<'_>, names: &NamesRead) -> Option<Intent> {
    let PayloadIntent {
        team,
        key,
        user,
        model,
        provider,
        backend,
        requests,
        tags,
        foreign_route,
        admitted_at: (second, nanosecond),
        tokens,
        pico_usd,
        priced,
        charges,
    } = intent;
    let resource = |PayloadNamed { uid, name }: PayloadNamed<'_>| {
        Some(Named { uid: Uid::from(names.text(&uid)?), name: names.text(&name)? })
    };
    Some(Intent {
        team: resource(team)?,
        key: resource(key)?,
        user: names.text(&user)?,
        model: names.text(&model)?,
        provider: names.text(&provider)?.to_string().into(),
        backend: names.text(&backend)?,
        requests,
        tags: tags.iter().map(|tag| names.text(tag)).collect::<Option<_>>()?,
        foreign_route,
        admitted_at: Timestamp::new(second, nanosecond).ok()?,
        tokens,
        money: PicoUsd::new(pico_usd),
        priced,
        charges: charges.iter().map(|charge| names.period(charge)).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        charge::{BudgetAccount, BudgetPeriod},
        journal::{
            frame::{SegmentWriter, scan},
            tests::intent,
        },
    };

    fn kinds() -> Vec<Record> {
        let period = BudgetPeriod {
            account: BudgetAccount::Team(Uid::new("t")),
            period: vectoll_config::v1::Period::Monthly,
            zone: "UTC".to_owned().try_into().unwrap(),
            start: "2026-11-01T00:00:00Z".parse().unwrap(),
        };
        let one = Arc::new(Intent {
            requests: 3,
            tags: vec!["alice".into(), "nightly".into()],
            foreign_route: true,
            charges: vec![Arc::new(period)],
            ..intent("t", 300)
        });
        let money = PicoUsd::new(5_000_000);
        vec![
            Record(7, Kind::Intent(one.clone())),
            Record(7, Kind::Carried(Open { intent: one, tokens: 250, money })),
            Record(8, Kind::Refine(Refine { intent: 7, tokens: 200, money })),
            Record(
                9,
                Kind::Settlement(Settlement {
                    intent: 7,
                    tokens: 199,
                    money,
                    certainty: Certainty::Unsettled,
                    overrun: 1,
                }),
            ),
            Record(10, Kind::Void(Void { intent: 7 })),
        ]
    }

    /// What is written here is read by every later sidecar: a change needs another magic.
    #[test]
    fn payloads_are_these_bytes() {
        let (mut segment, mut payloads) = (SegmentWriter::default(), Vec::new());
        for record in kinds() {
            let begin = segment.content().len();
            segment.push(&record).unwrap();
            payloads.push(segment.content()[begin + 12..].escape_ascii().to_string());
        }
        assert_eq!(payloads, GOLDEN);
        assert_eq!(scan(segment.content()).records, kinds());
    }

    const GOLDEN: [&str; 5] = [
        r#"\x07\x00\x01\x00\x01t\x01\x01\tdefault/t\x01\x02$0b6f2f0e-5d8e-4f0c-9d5f-0e4f7e0c1a11\x01\x03\rdefault/alice\x01\x04\x05alice\x01\x05\x16text-embedding-3-small\x02\x06openai\x01\x06\x13default/openai/test\x03\x02\x00\x04\x01\x07\x07nightly\x01\x80\xab\xa1\xb0\r\x00\xac\x02\x80\x9b\xee\x02\x01\x01\x01\x08W{\"account\":{\"team\":\"t\"},\"period\":\"Monthly\",\"zone\":\"UTC\",\"start\":\"2026-11-01T00:00:00Z\"}"#,
        r#"\x07\x01\x01\x00\x01t\x01\x01\tdefault/t\x01\x02$0b6f2f0e-5d8e-4f0c-9d5f-0e4f7e0c1a11\x01\x03\rdefault/alice\x01\x04\x05alice\x01\x05\x16text-embedding-3-small\x02\x06openai\x01\x06\x13default/openai/test\x03\x02\x00\x04\x01\x07\x07nightly\x01\x80\xab\xa1\xb0\r\x00\xac\x02\x80\x9b\xee\x02\x01\x01\x01\x08W{\"account\":{\"team\":\"t\"},\"period\":\"Monthly\",\"zone\":\"UTC\",\"start\":\"2026-11-01T00:00:00Z\"}\xfa\x01\xc0\x96\xb1\x02"#,
        r"\x08\x02\x01\xc8\x01\xc0\x96\xb1\x02",
        r"\t\x03\x02\xc7\x01\xc0\x96\xb1\x02\x02\x01",
        r"\n\x04\x03",
    ];

    #[test]
    fn an_intent_of_the_old_form_is_read() {
        let old = r#"[5,{"intent":{"team":{"uid":"t","name":"default/t"},"key":{"uid":"k","name":"default/k"},"user":"alice",
            "model":"m","provider":"openai","backend":"default/openai/a","admittedAt":"2026-11-23T12:00:00Z","tokens":9,
            "money":180000,"priced":true,"charges":[{"account":{"team":"t"},"period":"Monthly","zone":"UTC",
            "start":"2026-11-01T00:00:00Z"}]}}]"#;
        let Record(number, Kind::Intent(intent)) = serde_json::from_str(old).unwrap() else { panic!("an intent") };
        assert_eq!((number, intent.requests, intent.money), (5, 1, PicoUsd::new(180_000)));
        assert_eq!(intent.charges[0].account, BudgetAccount::Team(Uid::new("t")));
    }

    /// The first copies of names, the second ones, and the third ones far behind: any byte damaged costs its own record.
    #[test]
    fn no_damaged_byte_takes_the_names_of_other_records() {
        let (mut whole, mut ends) = (SegmentWriter::default(), Vec::new());
        let records: Vec<Record> = (1..=200_u64)
            .map(|number| {
                let team = if number % 3 == 0 { "a" } else { "b" };
                Record(number, Kind::Intent(Arc::new(intent(team, number))))
            })
            .collect();
        for record in &records {
            whole.push(record).unwrap();
            ends.push(whole.content().len());
        }
        let mut segment = whole.content().to_vec();
        assert!(segment.len() > 9 * 1024, "{}: the third copies are in it", segment.len());
        let size = |at: usize| ends[at] - at.checked_sub(1).map_or(0, |before| ends[before]);
        let smallest = (0..ends.len()).map(size).min().unwrap();
        let full: Vec<usize> = (0..ends.len()).filter(|&at| size(at) > smallest + 6).collect();
        assert!(full.len() >= 6, "{full:?}");
        for at in full {
            for place in ends[at] - size(at)..ends[at] {
                segment[place] ^= 0x20;
                let left = scan(&segment).records;
                segment[place] ^= 0x20;
                let others = records.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, record)| record);
                assert!(left.iter().eq(others), "byte {place} of record {at}");
            }
        }
    }
}
