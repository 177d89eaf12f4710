//! A call to a route that keeps vectors: what is there is taken, what others ask for is waited for, and only the rest is sent.

mod fetch;
mod inputs;
mod spent;
mod work;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use self::{
    fetch::fetch,
    inputs::Inputs,
    spent::Spent,
    work::{MAX_MEMORY_WAIT, room, run},
};
use super::{Proxy, deliver::deliver, progress::CallProgress, respond, sent::Sent};
use crate::{
    accounting::{Settled, admit},
    answer::Body,
    cache::{Cache, Vector},
    call::Call,
    memory::MemoryPermit,
    policy::{Backend, Route},
    refusal::Refusal,
};
use vectoll_ledger::books::Certainty;

/// How many of a call's inputs were not asked of the provider for it.
const HITS: HeaderName = HeaderName::from_static("x-vectoll-cache-hits");
/// How long an answer may take from the call that fetched it to those that wait for it.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves a call whose inputs are texts.
pub(super) async fn serve(
    proxy: &Proxy,
    (route, cache, backend): (&Arc<Route>, &Arc<Cache>, &Arc<Backend>),
    call: Call,
    headers: HeaderMap,
    trace: &mut CallProgress,
) -> Result<Response<Body>, Refusal> {
    let memory_wait = route.manner.timeout.unwrap_or(MAX_MEMORY_WAIT);
    let call = Arc::new(call);
    let serving = find(proxy, (route, cache, backend), &call, &headers, trace);
    // Without a bound of its own a call takes as long as its attempts take.
    let found = match route.manner.timeout {
        None => serving.await?,
        Some(timeout) => {
            let late =
                |_| Refusal::upstream_timeout(format!("The call took longer than {} s", timeout.as_secs())).charged();
            tokio::time::timeout(timeout, serving).await.map_err(late)??
        }
    };
    let Vectors { all, spent, settled, hits } = found;
    let deadline = Instant::now() + memory_wait;
    let answer = deliver(all, spent.tokens, &call, settled, (&proxy.tasks, proxy.compute()), deadline).await;
    let no_room = || if spent.tokens > 0 { Refusal::no_room_for_answer() } else { Refusal::no_room() };
    let answer = answer.map_err(|_| no_room())?;
    let mut from_provider = spent.headers;
    from_provider.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut response = respond::respond(Sent { answer, headers: from_provider }, trace);
    response.headers_mut().insert(HITS, HeaderValue::from(hits));
    Ok(response)
}

/// The vectors of a call, and what they cost.
struct Vectors {
    all: Vec<Vector>,
    spent: Spent,
    settled: Settled,
    /// Inputs that no provider was asked for.
    hits: usize,
}

async fn find(
    proxy: &Proxy,
    (route, cache, backend): (&Arc<Route>, &Arc<Cache>, &Arc<Backend>),
    call: &Arc<Call>,
    headers: &HeaderMap,
    trace: &mut CallProgress,
) -> Result<Vectors, Refusal> {
    let mut of_texts = MemoryPermit::default();
    // As texts, and the table of them.
    room(&call.claim, &mut of_texts, call.request.body.len()).await?;
    let look = {
        let (call, route, cache) = (call.clone(), route.clone(), cache.clone());
        move || Inputs::lookup(&call, &route, &cache)
    };
    let mut inputs = run(proxy.compute(), call, look).await??;
    let texts = inputs.texts.clone();
    let mut spent = Spent::default();
    let mut misses = 0;
    // What others ask for and fail to get, one of those who waited asks for next. Nobody waits for one failure after the other: only
    // as long as one call's attempts may take.
    let longest = longest_call(route);
    let mut end = None;
    loop {
        let missing = std::mem::take(&mut inputs.missing);
        if !missing.is_empty() {
            misses += missing.len();
            for (place, vector) in fetch(proxy, (route, call), (&texts, missing), headers, trace, &mut spent).await? {
                inputs.put(place, vector);
            }
        }
        if inputs.follows.is_empty() {
            break;
        }
        call.claim.follow();
        let end = *end.get_or_insert_with(|| tokio::time::Instant::now() + longest);
        let lost = wait(&mut inputs, end, trace).await;
        inputs.look_for(lost, cache);
        if tokio::time::Instant::now() >= end {
            inputs.follow_nobody(cache);
        }
    }
    let broken = || Refusal::bad_gateway("The answer could not be put together".to_owned());
    let mut vectors = inputs.all().ok_or_else(broken)?;
    // A provider that has changed its model since: what is kept is of no use to this call, nor to another one.
    if vectors.iter().any(|vector| Some(vector.len()) != vectors.first().map(|first| first.len())) {
        misses = texts.len();
        let missing = inputs.anew(cache);
        for (place, vector) in fetch(proxy, (route, call), (&texts, missing), headers, trace, &mut spent).await? {
            inputs.put(place, vector);
        }
        vectors = inputs.all().ok_or_else(broken)?;
    }
    let settled = match spent.settled {
        Some(settled) => settled,
        None => free(proxy, (route, backend), call, trace).await?,
    };
    let hits = inputs.number().saturating_sub(misses);
    proxy.metrics.cache.inputs(&route.manner.name, hits as u64, misses as u64);
    Ok(Vectors { all: vectors, spent, settled, hits })
}

/// How long a call waits for others' vectors: as long as their attempts may take, and a moment for the last answer to arrive.
fn longest_call(route: &Route) -> Duration {
    let retry = route.manner.retry;
    let backends = u32::try_from(route.reachable().count()).unwrap_or(u32::MAX);
    let attempts = retry.attempts.saturating_add(1);
    let attempts = if retry.same_backend { attempts } else { attempts.min(backends) };
    let slowest = route.reachable().map(|backend| backend.timeout).max().unwrap_or(MAX_MEMORY_WAIT);
    slowest.saturating_mul(attempts).saturating_add(HANDOVER_TIMEOUT)
}

/// Waits for the vectors that other calls ask for, until `end` at the latest. Returns the places of those that did not come.
async fn wait(inputs: &mut Inputs, end: tokio::time::Instant, trace: &mut CallProgress) -> Vec<usize> {
    let mut lost = Vec::new();
    let started = Instant::now();
    for (place, follow) in std::mem::take(&mut inputs.follows) {
        match tokio::time::timeout_at(end, follow.vector()).await {
            Ok(Some(vector)) => inputs.put(place, vector),
            Ok(None) | Err(_) => lost.push(place),
        }
    }
    trace.waited += started.elapsed();
    lost
}

/// A call for which nothing was sent: one request, and nothing else.
async fn free(
    proxy: &Proxy,
    (route, backend): (&Arc<Route>, &Arc<Backend>),
    call: &Arc<Call>,
    trace: &mut CallProgress,
) -> Result<Settled, Refusal> {
    let of_none = {
        let call = call.clone();
        move || call.of_texts(&[], MemoryPermit::default())
    };
    let of_none = run(proxy.compute(), call, of_none).await??;
    let permit = admit(&proxy.accounting, of_none, route.clone()).await?;
    trace.call = Some(permit.call().clone());
    call.entry.backend(&backend.label);
    trace.journey.backend = Some(backend.clone());
    Ok(permit.sent(backend.clone(), 1, None)?.settle(0, Certainty::Known))
}
