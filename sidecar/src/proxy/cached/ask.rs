//! Asking for the texts that nobody has: one piece of work, from the first attempt to the vectors' place in the cache. It is
//! done to its end even if its caller leaves, because others wait for it and it is paid for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Limited};

use super::{Spent, run};
use crate::{
    accounting::{Settled, admit},
    answer::{Answer, Persist, Relay, Room},
    background::Background,
    cache::{Lead, Vector},
    call::Call,
    policy::Route,
    provider::dialect::{Told, read_open_ai},
    proxy::{Proxy, Sent, Trace},
    refusal::Refusal,
};

/// Up to so many vectors are read in the request's own thread.
const FEW: usize = 4;
/// The largest answer that is read: 2,048 vectors of 3,072 numbers as digits.
const MOST: usize = 96 * 1024 * 1024;

/// A body from which on what is done with all of it is done on a thread of its own.
const LONG: usize = 16 * 1024;

/// Texts to ask for, by their places; with the leads that wait for them.
type Wanted = Vec<(usize, Option<Lead>)>;
/// What was asked for.
pub(super) type Vectors = Vec<(usize, Vector)>;

/// Sends a call for some of the texts, as if it were one of its own, and reads its vectors.
pub(super) async fn ask(
    proxy: &Proxy,
    (route, call): (&Arc<Route>, &Arc<Call>),
    (texts, wanted): (&Arc<Vec<String>>, Wanted),
    headers: &HeaderMap,
    trace: &mut Trace,
    spent: &mut Spent,
) -> Result<Vectors, Refusal> {
    let part = {
        let (whole, texts) = (call.clone(), texts.clone());
        let places: Vec<usize> = wanted.iter().map(|(place, _)| *place).collect();
        let part = move || {
            let texts: Vec<&str> = places.iter().filter_map(|place| texts.get(*place)).map(String::as_str).collect();
            whole.of_texts(&texts)
        };
        run(&proxy.tasks, is_long(call), part).await??
    };
    let permit = admit(&proxy.accounting, part, route.clone()).await?;
    trace.call = Some(call.clone());
    let before = call.outcome.get().map_or(0, |outcome| outcome.tokens);
    let (left, tasks) = (Arc::default(), proxy.tasks.clone());
    let attempts = proxy.attempts(permit, headers.clone(), &left);
    let work = async move {
        let (answered, journey) = attempts.await;
        let mut own = Duration::ZERO;
        let kept = match answered {
            Ok(Sent { answer, headers }) => keep(answer, wanted, &tasks, &mut own).await.map(|kept| (kept, headers)),
            Err(refusal) => Err(refusal),
        };
        (kept, journey, own)
    };
    let started = Instant::now();
    let (kept, journey, own) = Persist::new(work, proxy.tasks.clone(), left).await;
    trace.waited += started.elapsed().saturating_sub(own);
    trace.journey = journey;
    let (Kept { vectors, tokens }, headers) = kept?;
    let outcome = call.outcome.get();
    let key = call.caller.key();
    spent.tokens += tokens.or(outcome.map(|outcome| outcome.tokens.saturating_sub(before))).unwrap_or_default();
    spent.headers = headers;
    spent.settled = Some(Settled {
        // Over all that was sent for the call.
        cost: outcome.and_then(|outcome| outcome.cost),
        key_spend: proxy.accounting.ledger.key_spend(&key.team.name, &key.name),
        standing: outcome.map(|outcome| outcome.standing).unwrap_or_default(),
    });
    Ok(vectors)
}

/// Whether what is done with all of a call takes long.
pub(super) fn is_long(call: &Call) -> bool {
    call.body.len() > LONG
}

struct Kept {
    vectors: Vectors,
    /// As the provider says.
    tokens: Option<u64>,
}

/// Reads an answer, and hands its vectors to those who wait for them, and to the cache. `own` is the time that the sidecar
/// itself takes for it.
async fn keep(answer: Answer, wanted: Wanted, tasks: &Background, own: &mut Duration) -> Result<Kept, Refusal> {
    let broken = |what: &dyn std::fmt::Display| Refusal::bad_gateway(format!("The provider's answer {what}"));
    let body = match answer {
        Answer::Whole(bytes, _) => Ok(bytes),
        // It has room of its own until it is taken.
        Answer::Pieces(relay, _) => collect(relay).await,
        Answer::Streaming(relay, _) => {
            let room = Room::wait().await;
            let body = collect(relay).await;
            drop(room);
            body
        }
    };
    let body = body.map_err(|error| broken(&error))?;
    let started = Instant::now();
    let many = wanted.len() >= FEW;
    let read = move || {
        let Told { vectors, tokens } = read_open_ai(wanted.len(), &body).map_err(|wrong| wrong.to_string())?;
        let hand_over = |((place, lead), vector): ((usize, Option<Lead>), Vec<f32>)| {
            let vector: Vector = vector.into();
            if let Some(lead) = lead {
                lead.found(&vector);
            }
            (place, vector)
        };
        Ok(Kept { vectors: wanted.into_iter().zip(vectors).map(hand_over).collect(), tokens })
    };
    let kept: Result<Kept, String> = run(tasks, many, read).await?;
    *own = started.elapsed();
    kept.map_err(|error| broken(&error))
}

/// All of a large answer.
async fn collect(relay: Relay) -> Result<Bytes, String> {
    let whole = Limited::new(relay, MOST).collect().await;
    whole.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
}
