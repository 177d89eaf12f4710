//! Fetches the vectors of texts that are not in the cache: one piece of work, from the first attempt to the vectors' place in
//! the cache. It is done to its end even if its caller leaves, because others wait for it and it is paid for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt;

use super::{
    spent::Spent,
    work::{failed, room, run},
};
use crate::{
    accounting::{Settled, admit},
    answer::{Answer, DetachOnDrop, Relay},
    cache::{CacheFill, Vector},
    call::Call,
    compute::Compute,
    memory::{Claim, MemoryPermit},
    policy::Route,
    proxy::{Proxy, parts::expected_of, progress::CallProgress, sent::Sent},
    refusal::Refusal,
};
use vectoll_api::answer::join;
use vectoll_upstream::provider::dialect::{ParsedAnswer, read_open_ai};

/// An answer of so many bytes is read in the request's own thread: three vectors of 1,536 numbers, as digits.
const FEW: u64 = 64 * 1024;
/// The largest answer that is read: 2,048 vectors of 3,072 numbers as digits.
const MAX_ANSWER_BYTES: usize = 96 * 1024 * 1024;

/// Texts that are not in the cache and that nobody else asks for, by their places.
type MissingTexts = Vec<(usize, CacheFill)>;
/// Vectors that were fetched, by the places of their texts.
pub(super) type Vectors = Vec<(usize, Vector)>;

/// Sends a call for some of the texts, as if it were one of its own, and reads its vectors.
pub(super) async fn fetch(
    proxy: &Proxy,
    (route, call): (&Arc<Route>, &Arc<Call>),
    (texts, missing): (&Arc<Vec<String>>, MissingTexts),
    headers: &HeaderMap,
    trace: &mut CallProgress,
    spent: &mut Spent,
) -> Result<Vectors, Refusal> {
    // Before anything is sent, so that there being none costs nothing.
    let mut memory = MemoryPermit::default();
    let length = call.request.body.len();
    room(&call.claim, &mut memory, length + expected_of(missing.len())).await?;
    let part = {
        let (whole, texts, of_body) = (call.clone(), texts.clone(), memory.split(length));
        let places: Vec<usize> = missing.iter().map(|(place, _)| *place).collect();
        let part = move || {
            let texts: Vec<&str> = places.iter().filter_map(|place| texts.get(*place)).map(String::as_str).collect();
            whole.of_texts(&texts, of_body)
        };
        run(proxy.compute(), call, part).await??
    };
    let permit = admit(&proxy.accounting, part, route.clone()).await?;
    trace.call = Some(call.clone());
    let before = call.outcome.get().map_or(0, |outcome| outcome.tokens);
    let (left, compute, claim) = (Arc::default(), proxy.compute().clone(), call.claim.of_part());
    let attempts = proxy.attempts(permit, headers.clone(), &left);
    let work = async move {
        let (answered, journey) = attempts.await;
        let mut own = Duration::ZERO;
        let kept = match answered {
            Ok(Sent { answer, headers }) => {
                let kept = keep(answer, missing, (&claim, memory), &compute, &mut own).await;
                kept.map(|kept| (kept, headers)).map_err(Refusal::charged)
            }
            Err(refusal) => Err(refusal),
        };
        (kept, journey, own)
    };
    let started = Instant::now();
    let (kept, journey, own) = DetachOnDrop::new(work, proxy.tasks.clone(), left).await;
    trace.waited += started.elapsed().saturating_sub(own);
    trace.journey = journey;
    let (Kept { vectors, tokens, memory }, headers) = kept?;
    let outcome = call.outcome.get();
    let key = call.caller.key();
    spent.tokens += tokens.or(outcome.map(|outcome| outcome.tokens.saturating_sub(before))).unwrap_or_default();
    spent.headers = headers;
    spent.memory.push(memory);
    spent.settled = Some(Settled {
        // Over all that was sent for the call.
        cost: outcome.and_then(|outcome| outcome.cost),
        key_spend: proxy.accounting.ledger.key_spend(&key.team.name, &key.name),
        rate_limits: outcome.map(|outcome| outcome.rate_limits).unwrap_or_default(),
    });
    Ok(vectors)
}

struct Kept {
    vectors: Vectors,
    /// As the provider says.
    tokens: Option<u64>,
    /// What the vectors take.
    memory: MemoryPermit,
}

/// Reads an answer, and hands its vectors to those who wait for them, and to the cache. `own` is the time that the sidecar
/// itself takes for it.
async fn keep(
    answer: Answer,
    missing: MissingTexts,
    (claim, mut memory): (&Claim, MemoryPermit),
    compute: &Compute,
    own: &mut Duration,
) -> Result<Kept, Refusal> {
    let (pieces, length) = match answer {
        Answer::Whole(bytes, _) => {
            let length = bytes.len();
            (vec![bytes], length)
        }
        Answer::Pieces(relay, _) | Answer::Streaming(relay, _) => collect(relay, claim, &mut memory).await?,
    };
    let started = Instant::now();
    let read = move || {
        let body = join(pieces);
        let ParsedAnswer { vectors, tokens } = read_open_ai(missing.len(), &body).map_err(|wrong| wrong.to_string())?;
        let hand_over = |((place, fill), vector): ((usize, CacheFill), Vec<f32>)| {
            let vector: Vector = vector.into();
            fill.fill(&vector);
            (place, vector)
        };
        memory.shrink(vectors.iter().map(|vector| size_of_val(&**vector)).sum());
        Ok(Kept { vectors: missing.into_iter().zip(vectors).map(hand_over).collect(), tokens, memory })
    };
    let kept: Result<Kept, String> =
        compute.run_above(FEW, length as u64, read).await.map_err(|error| failed(&error))?;
    *own = started.elapsed();
    kept.map_err(|error| broken(&error))
}

fn broken(what: &dyn std::fmt::Display) -> Refusal {
    Refusal::bad_gateway(format!("The provider's answer {what}"))
}

/// All pieces of a large answer and their length, while there is memory for it and for the vectors in it.
async fn collect(mut relay: Relay, claim: &Claim, memory: &mut MemoryPermit) -> Result<(Vec<Bytes>, usize), Refusal> {
    let (mut pieces, mut length) = (Vec::new(), 0);
    // All at once where that is known: who waits while an answer comes may lose the rest of it.
    let announced = relay
        .size_hint()
        .exact()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or_default()
        .min(MAX_ANSWER_BYTES);
    room(claim, memory, announced + announced / 3).await?;
    while let Some(frame) = relay.frame().await {
        let Ok(piece) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        length += piece.len();
        if length > MAX_ANSWER_BYTES {
            return Err(broken(&"is too large"));
        }
        // A number of a dozen digits takes four bytes more when it is read.
        room(claim, memory, length + length / 3).await?;
        pieces.push(piece);
    }
    Ok((pieces, length))
}
