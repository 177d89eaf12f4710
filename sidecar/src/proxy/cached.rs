//! A call to a route that keeps vectors: what is there is taken, what others ask for is waited for, and only the rest is sent.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::BodyExt;

use super::{Proxy, Sent, Trace, deliver::deliver, respond};
use crate::{
    accounting::{Settled, admit},
    answer::{Answer, Body},
    cache::{Cache, Follow, Found, Lead, Of, Vector},
    call::Call,
    ledger::Certainty,
    policy::{Backend, Route},
    provider::dialect::{Told, read_open_ai},
    refusal::Refusal,
};

/// How many of a call's inputs were not asked of the provider for it.
const HITS: HeaderName = HeaderName::from_static("x-vectoll-cache-hits");
/// The longest that a call waits for another one's vector before it asks on its own.
const PATIENCE: Duration = Duration::from_mins(1);

/// Up to so many vectors are read in the request's own thread.
const FEW: usize = 4;

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
        let mut inputs =
            Self { order, vectors: vec![None; unique.len()], unique, leads: Vec::new(), follows: Vec::new() };
        for (place, slot) in inputs.vectors.iter_mut().enumerate() {
            match cache.look(of.key(inputs.unique.get(place).copied().unwrap_or_default())) {
                Found::Held(vector) => *slot = Some(vector),
                Found::Lead(lead) => inputs.leads.push((place, lead)),
                Found::Follow(follow) => inputs.follows.push((place, follow)),
            }
        }
        inputs
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
    let team = call.caller.key().team.uid.clone();
    let input_type = call.input_type.unwrap_or(route.manner.input_type);
    let of = Of { team: &team, model: &call.model, dimensions: call.dimensions, input_type };
    let mut inputs = Inputs::look(&texts, of, cache);
    let mut spent = Spent::default();
    let leads = std::mem::take(&mut inputs.leads);
    let mut asked = leads.len();
    if asked > 0 {
        let wanted = inputs.texts(leads.iter().map(|(place, _)| *place));
        let told = ask(proxy, route, &call, &wanted, &headers, trace, &mut spent).await?;
        for ((place, lead), vector) in leads.into_iter().zip(told) {
            lead.found(&vector);
            put(&mut inputs.vectors, place, vector);
        }
    }
    let lost = wait(&mut inputs, trace).await;
    if !lost.is_empty() {
        asked += lost.len();
        let wanted = inputs.texts(lost.iter().copied());
        let told = ask(proxy, route, &call, &wanted, &headers, trace, &mut spent).await?;
        for (place, vector) in lost.into_iter().zip(told) {
            put(&mut inputs.vectors, place, vector);
        }
    }
    let settled = match spent.settled {
        Some(settled) => settled,
        None => free(proxy, (route, backend), &call, trace).await?,
    };
    let hits = inputs.order.len().saturating_sub(asked);
    proxy.metrics.cache.inputs(&route.manner.name, hits as u64, asked as u64);
    let broken = || Refusal::bad_gateway("The answer could not be put together".to_owned());
    let vectors = inputs.all().ok_or_else(broken)?;
    let deadline = Instant::now() + PATIENCE;
    let answer = deliver(vectors, spent.tokens, &call, settled, &proxy.tasks, deadline).await.map_err(|_| broken())?;
    let mut from_provider = spent.headers;
    from_provider.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut response = respond::respond(Sent { answer, headers: from_provider }, trace);
    response.headers_mut().insert(HITS, HeaderValue::from(hits));
    Ok(response)
}

/// Waits for the vectors that other calls ask for. Returns the places of those that never came.
async fn wait(inputs: &mut Inputs<'_>, trace: &mut Trace) -> Vec<usize> {
    let mut lost = Vec::new();
    let started = Instant::now();
    for (place, follow) in std::mem::take(&mut inputs.follows) {
        match tokio::time::timeout(PATIENCE, follow.vector()).await {
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
    let body = match answer {
        Answer::Whole(bytes, _) => bytes,
        Answer::Pieces(relay, _) | Answer::Streaming(relay, _) => {
            let started = Instant::now();
            let body = relay.collect().await.map_err(|error| broken(&error))?.to_bytes();
            trace.waited += started.elapsed();
            body
        }
    };
    let Told { vectors, tokens } = read(proxy, texts.len(), body).await.map_err(|error| broken(&error))?;
    let outcome = part.outcome.get();
    let before = spent.settled.and_then(|settled| settled.cost);
    let cost = match (before, outcome.and_then(|outcome| outcome.cost)) {
        (Some(before), Some(cost)) => Some(before.plus(cost)),
        (one, other) => one.or(other),
    };
    let key = call.caller.key();
    spent.tokens += tokens.unwrap_or_default();
    spent.headers = headers;
    spent.settled = Some(Settled {
        cost,
        key_spend: proxy.accounting.ledger.key_spend(&key.team.name, &key.name),
        standing: outcome.map(|outcome| outcome.standing).unwrap_or_default(),
    });
    Ok(vectors.into_iter().map(Into::into).collect())
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
