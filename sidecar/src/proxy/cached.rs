//! A call to a route that keeps vectors: what is there is taken, what others ask for is waited for, and only the rest is sent.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::{BodyExt, Limited};
use vectoll_config::PicoUsd;

use super::{
    Proxy, Sent, Trace,
    deliver::{deliver, undelivered},
    respond,
};
use crate::{
    accounting::{Settled, admit},
    answer::{Answer, Body, Relay, Room},
    cache::{Cache, Follow, Found, Lead, Of, Vector},
    call::Call,
    ledger::Certainty,
    policy::{Backend, Route},
    provider::dialect::{Told, read_open_ai},
    refusal::Refusal,
};

/// How many of a call's inputs were not asked of the provider for it.
const HITS: HeaderName = HeaderName::from_static("x-vectoll-cache-hits");
/// The longest that a call waits for others' vectors before it asks on its own.
const PATIENCE: Duration = Duration::from_mins(1);

/// Up to so many vectors are read in the request's own thread.
const FEW: usize = 4;

/// The largest answer that is read: 2,048 vectors of 3,072 numbers as digits.
const MOST: usize = 96 * 1024 * 1024;

/// What was spent on a call, over all that was sent for it.
#[derive(Default)]
struct Spent {
    tokens: u64,
    headers: HeaderMap,
    settled: Option<Settled>,
}

/// A call's texts, each once, and what there is of them.
struct Inputs<'a> {
    /// For each input, which text it is.
    order: Vec<usize>,
    unique: Vec<&'a str>,
    vectors: Vec<Option<Vector>>,
    /// Those that are this call's to ask for.
    leads: Vec<(usize, Lead)>,
    /// Those that other calls ask for.
    follows: Vec<(usize, Follow)>,
}

impl<'a> Inputs<'a> {
    fn look(texts: &'a [String], of: Of<'_>, cache: &Arc<Cache>) -> Self {
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(texts.len());
        let mut unique: Vec<&str> = Vec::with_capacity(texts.len());
        let mut place_of = |text: &'a String| {
            *places.entry(text).or_insert_with(|| {
                unique.push(text);
                unique.len() - 1
            })
        };
        let order = texts.iter().map(&mut place_of).collect();
        let vectors = vec![None; unique.len()];
        let mut inputs = Self { order, vectors, unique, leads: Vec::new(), follows: Vec::new() };
        let all: Vec<usize> = (0..inputs.unique.len()).collect();
        inputs.look_for(&all, of, cache);
        inputs
    }

    /// Looks for texts: all of them at first, and then for those that another call did not get.
    fn look_for(&mut self, places: &[usize], of: Of<'_>, cache: &Arc<Cache>) {
        for &place in places {
            match cache.look(of.key(self.unique.get(place).copied().unwrap_or_default())) {
                Found::Held(vector) => put(&mut self.vectors, place, vector),
                Found::Lead(lead) => self.leads.push((place, lead)),
                Found::Follow(follow) => self.follows.push((place, follow)),
            }
        }
    }

    fn texts(&self, places: impl Iterator<Item = usize>) -> Vec<&'a str> {
        places.filter_map(|place| self.unique.get(place).copied()).collect()
    }

    /// The vectors in the order of the inputs; none, if one is missing.
    fn all(&self) -> Option<Vec<Vector>> {
        self.order.iter().map(|place| self.vectors.get(*place)?.clone()).collect()
    }
}

/// Serves a call whose inputs are texts.
pub(super) async fn serve(
    proxy: &Proxy,
    (route, cache, backend): (&Arc<Route>, &Arc<Cache>, &Arc<Backend>),
    call: Call,
    texts: Vec<String>,
    headers: HeaderMap,
    trace: &mut Trace,
) -> Result<Response<Body>, Refusal> {
    let patience = route.manner.timeout.unwrap_or(PATIENCE);
    let serving = find(proxy, (route, cache, backend), &call, &texts, &headers, trace);
    // Without a bound of its own a call takes as long as its attempts take.
    let found = match route.manner.timeout {
        None => serving.await?,
        Some(timeout) => {
            let late = |_| Refusal::upstream_timeout(format!("The call took longer than {} s", timeout.as_secs()));
            tokio::time::timeout(timeout, serving).await.map_err(late)??
        }
    };
    let Vectors { all, spent, settled, hits } = found;
    let deadline = Instant::now() + patience;
    let answer = deliver(all, spent.tokens, &call, settled, &proxy.tasks, deadline).await;
    let answer = answer.map_err(|_| undelivered())?;
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
    call: &Call,
    texts: &[String],
    headers: &HeaderMap,
    trace: &mut Trace,
) -> Result<Vectors, Refusal> {
    let team = call.caller.key().team.uid.clone();
    let input_type = call.input_type.unwrap_or(route.manner.input_type);
    let of = Of { team: &team, model: &call.model, dimensions: call.dimensions, input_type };
    let mut inputs = Inputs::look(texts, of, cache);
    let mut spent = Spent::default();
    let mut asked = 0;
    // What others ask for and fail to get, one of those who waited asks for next.
    loop {
        let leads = std::mem::take(&mut inputs.leads);
        if !leads.is_empty() {
            asked += leads.len();
            let wanted = inputs.texts(leads.iter().map(|(place, _)| *place));
            let told = ask(proxy, route, call, &wanted, headers, trace, &mut spent).await?;
            for ((place, lead), vector) in leads.into_iter().zip(told) {
                lead.found(&vector);
                put(&mut inputs.vectors, place, vector);
            }
        }
        if inputs.follows.is_empty() {
            break;
        }
        let lost = wait(&mut inputs, trace).await;
        inputs.look_for(&lost, of, cache);
    }
    let broken = || Refusal::bad_gateway("The answer could not be put together".to_owned());
    let mut vectors = inputs.all().ok_or_else(broken)?;
    // A provider that has changed its model since: what is kept is of no use to this call.
    if vectors.iter().any(|vector| Some(vector.len()) != vectors.first().map(|first| first.len())) {
        asked = inputs.unique.len();
        let told = ask(proxy, route, call, &inputs.unique, headers, trace, &mut spent).await?;
        inputs.vectors = told.into_iter().map(Some).collect();
        vectors = inputs.all().ok_or_else(broken)?;
    }
    let settled = match spent.settled {
        Some(settled) => settled,
        None => free(proxy, (route, backend), call, trace).await?,
    };
    let hits = inputs.order.len().saturating_sub(asked);
    proxy.metrics.cache.inputs(&route.manner.name, hits as u64, asked as u64);
    Ok(Vectors { all: vectors, spent, settled, hits })
}

/// Waits for the vectors that other calls ask for, over all of them no longer than one call may take. Returns the places of
/// those that did not come.
async fn wait(inputs: &mut Inputs<'_>, trace: &mut Trace) -> Vec<usize> {
    let mut lost = Vec::new();
    let started = Instant::now();
    let end = tokio::time::Instant::from_std(started + PATIENCE);
    for (place, follow) in std::mem::take(&mut inputs.follows) {
        match tokio::time::timeout_at(end, follow.vector()).await {
            Ok(Some(vector)) => put(&mut inputs.vectors, place, vector),
            Ok(None) | Err(_) => lost.push(place),
        }
    }
    trace.waited += started.elapsed();
    lost
}

fn put(vectors: &mut [Option<Vector>], place: usize, vector: Vector) {
    if let Some(slot) = vectors.get_mut(place) {
        *slot = Some(vector);
    }
}

/// Sends a call for some of the texts, as if it were one of its own, and reads its vectors.
async fn ask(
    proxy: &Proxy,
    route: &Arc<Route>,
    call: &Call,
    texts: &[&str],
    headers: &HeaderMap,
    trace: &mut Trace,
    spent: &mut Spent,
) -> Result<Vec<Vector>, Refusal> {
    let permit = admit(&proxy.accounting, call.of_texts(texts)?, route.clone()).await?;
    let part = permit.call().clone();
    trace.call = Some(part.clone());
    let Sent { answer, headers } = proxy.carry_out(permit, headers.clone(), trace).await?;
    let broken = |what: &dyn std::fmt::Display| Refusal::bad_gateway(format!("The provider's answer {what}"));
    let started = Instant::now();
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
    trace.waited += started.elapsed();
    let body = body.map_err(|error| broken(&error))?;
    let Told { vectors, tokens } = read(proxy, texts.len(), body).await.map_err(|error| broken(&error))?;
    let outcome = part.outcome.get();
    let before = spent.settled.and_then(|settled| settled.cost);
    let cost = [before, outcome.and_then(|outcome| outcome.cost)].into_iter().flatten().reduce(PicoUsd::plus);
    let key = call.caller.key();
    spent.tokens += tokens.or(outcome.map(|outcome| outcome.tokens)).unwrap_or_default();
    spent.headers = headers;
    spent.settled = Some(Settled {
        cost,
        key_spend: proxy.accounting.ledger.key_spend(&key.team.name, &key.name),
        standing: outcome.map(|outcome| outcome.standing).unwrap_or_default(),
    });
    Ok(vectors.into_iter().map(Into::into).collect())
}

/// All of a large answer.
async fn collect(relay: Relay) -> Result<Bytes, String> {
    let whole = Limited::new(relay, MOST).collect().await;
    whole.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
}

/// Reads an answer in OpenAI's shape.
async fn read(proxy: &Proxy, items: usize, body: Bytes) -> Result<Told, String> {
    let work = move || read_open_ai(items, &body).map_err(|wrong| wrong.to_string());
    if items < FEW {
        return work();
    }
    proxy.tasks.compute(work).await.map_err(|error| error.to_string())?
}

/// A call for which nothing was sent: one request, and nothing else.
async fn free(
    proxy: &Proxy,
    (route, backend): (&Arc<Route>, &Arc<Backend>),
    call: &Call,
    trace: &mut Trace,
) -> Result<Settled, Refusal> {
    let permit = admit(&proxy.accounting, call.of_texts(&[])?, route.clone()).await?;
    trace.call = Some(permit.call().clone());
    call.entry.backend(&backend.label);
    trace.journey.backend = Some(backend.clone());
    Ok(permit.sent(backend.clone(), None)?.settle(0, Certainty::Known))
}
