//! A call as the caller sent it: read, checked, and measured. What the provider will parse is not parsed here twice.

mod body;
mod request_limits;
mod token_counts;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use vectoll_config::v1::UserPolicy;

pub use self::{
    request_limits::{MemoryShares, RequestLimits},
    token_counts::{CountKey, TokenCounts},
};
use crate::{
    access::Entry,
    accounting::Outcomes,
    authenticate::Caller,
    call_id::CallId,
    compute::Compute,
    memory::{CALL_OVERHEAD_BYTES, Claim, MemoryPermit, NoRoom, SMALL_CLAIM_BYTES},
    refusal::Refusal,
    server::RequestBody,
    telemetry::EmbeddingOptions,
};
use vectoll_api::request::{EncodingFormat, Fields, Metadata, Request, Shape, is_longer, model_name};

/// How long the call may wait for room in limits, in seconds.
static MAX_WAIT: HeaderName = HeaderName::from_static("x-vectoll-max-wait");
/// The headers that name the end user, the first of which counts: LiteLLM's two, which it reads in this order before anything else, and the
/// one that stands in the place of the header that LiteLLM's `general_settings` may name.
///
/// Source: BerriAI/litellm `litellm/constants.py` (`STANDARD_CUSTOMER_ID_HEADERS`) and `litellm/proxy/auth/auth_utils.py`
/// (`get_end_user_id_from_request_body`).
static USER_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-litellm-customer-id"),
    HeaderName::from_static("x-litellm-end-user-id"),
    HeaderName::from_static("x-litellm-user-id"),
];
/// The user of a call that names none, with a key that has no owner.
const NOBODY: &str = "_none";
/// The longest name of a user, in characters.
const MAX_USER: usize = 256;
/// A longer body is parsed on a thread of its own: others' calls are not to wait for it. So much takes about a tenth of a millisecond, which is
/// little beside the way to another thread and back.
const MUCH_BODY: usize = 128 * 1024;

/// A call that is well-formed and whose caller is known.
#[derive(Debug)]
pub struct Call {
    /// The call's ID.
    pub id: CallId,
    /// Who calls.
    pub caller: Caller,
    /// The model's public name.
    pub model: Arc<str>,
    /// The end user that it is booked to.
    pub user: Arc<str>,
    /// What was sent.
    pub request: Request,
    /// The measure of the text that token arrays are of; none: nobody is sent that, or nobody knows it.
    pub text_of_arrays: Option<Shape>,
    /// What is known of its exact tokens.
    pub token_counts: TokenCounts,
    /// What its caller says of it besides.
    pub metadata: Option<Arc<Metadata>>,
    /// Its tags that its team or its route counts, each once: known with the route.
    pub tags: Vec<Arc<str>>,
    /// What became of its reservations, for the headers of its answer: over all that is sent for it ([`Call::of_texts`]).
    pub outcome: Arc<Outcomes>,
    /// Until when it may wait for room in limits; none: it does not.
    pub waits_until: Option<tokio::time::Instant>,
    /// What the access log says of it. It is written when the call has its end.
    pub entry: Entry,
    /// Whether its answer is put together with others here before its caller gets any of it.
    pub is_collected: bool,
    /// What it takes memory by.
    pub claim: Claim,
    /// What it takes by itself, and what its body takes.
    #[expect(dead_code, reason = "dropping it is what it is for")]
    held: [MemoryPermit; 2],
}

impl Call {
    /// Reads a call. `in_path` is the model's name where the path has it; it counts then, whatever the body says.
    pub async fn read(
        (id, entry): (CallId, Entry),
        caller: Caller,
        headers: &HeaderMap,
        body: RequestBody,
        in_path: Option<String>,
        (request_limits, compute): (&RequestLimits, &Compute),
    ) -> Result<Self, Refusal> {
        // Told to the log as soon as it is known: what is refused from here on has a line as well.
        let in_path: Option<Arc<str>> = in_path.map(Arc::from);
        if let Some(model) = &in_path {
            entry.model(model);
        }
        let said_user = user_in_headers(&caller, headers)?;
        if let Some(user) = &said_user {
            entry.user(user);
        }
        let waits_until = max_wait(headers, caller.key().max_wait)?.map(|wait| tokio::time::Instant::now() + wait);
        let in_headers = Metadata::of_headers(headers)?.map(Arc::new);
        if let Some(metadata) = &in_headers {
            entry.metadata(metadata);
        }
        must_be_json(headers)?;
        let owner = request_limits.shares.owner(caller.key());
        let (claim, mut own) = (request_limits.memory.claim(owner), MemoryPermit::default());
        let end = tokio::time::Instant::now() + request_limits.body_timeout;
        // A small body's with it: callers that hold a part of what they need, and read ahead of it, would keep it from each other.
        let of_body = body::announced(headers)
            .filter(|bytes| bytes.saturating_add(CALL_OVERHEAD_BYTES) <= SMALL_CLAIM_BYTES)
            .unwrap_or_default();
        claim.hold_until(&mut own, CALL_OVERHEAD_BYTES + of_body, end).await.map_err(|NoRoom| Refusal::no_room())?;
        let mut held = own.split(of_body);
        let body = body::read(headers, body, request_limits, (&claim, &mut held)).await?;
        let Parsed { model, request, metadata } = if body.len() <= MUCH_BODY {
            parse(&body, in_path, (headers, in_headers), &entry)?
        } else {
            let (headers, entry) = (headers.clone(), entry.clone());
            // What is held is free when the work is done, also if the caller leaves meanwhile.
            let parsed = compute
                .run(body.len() as u64, move || (parse(&body, in_path, (&headers, in_headers), &entry), own, held));
            let failed = |_| Refusal::unavailable("parsing_failed", "The call could not be read".to_owned());
            let result;
            (result, own, held) = parsed.await.map_err(failed)?;
            result?
        };
        let in_metadata = metadata.as_ref().and_then(|metadata| metadata.user());
        let user = user(&caller, said_user, [request.provider_specific.user.as_deref(), in_metadata])?;
        entry.user(&user);
        entry.options(EmbeddingOptions {
            dimensions: request.dimensions,
            encoding_format: (request.encoding_format == EncodingFormat::Base64).then_some("base64"),
        });
        Ok(Self {
            id,
            caller,
            model,
            user,
            request,
            text_of_arrays: None,
            token_counts: TokenCounts::default(),
            metadata,
            tags: Vec::new(),
            outcome: Arc::default(),
            waits_until,
            entry,
            is_collected: false,
            claim,
            held: [own, held],
        })
    }

    /// The same call for other texts, as a body of its own. Without texts it is a call that is counted and never sent.
    /// `held` is what that takes.
    pub fn of_texts(&self, texts: &[&str], held: MemoryPermit) -> Result<Self, Refusal> {
        Ok(Self {
            id: self.id,
            caller: self.caller.clone(),
            model: self.model.clone(),
            user: self.user.clone(),
            request: self.request.of_texts(texts)?,
            text_of_arrays: None,
            token_counts: TokenCounts::default(),
            metadata: self.metadata.clone(),
            tags: Vec::new(),
            outcome: self.outcome.clone(),
            waits_until: self.waits_until,
            entry: self.entry.clone(),
            is_collected: true,
            claim: self.claim.of_part(),
            held: [MemoryPermit::default(), held],
        })
    }
}

/// What a body says.
struct Parsed {
    model: Arc<str>,
    request: Request,
    /// What headers and body say of the call besides.
    metadata: Option<Arc<Metadata>>,
}

/// The model that a body is for, and what is said of the call besides, which the log learns as soon as it is known; and the request that
/// it is.
fn parse(
    body: &Bytes,
    in_path: Option<Arc<str>>,
    (headers, in_headers): (&HeaderMap, Option<Arc<Metadata>>),
    entry: &Entry,
) -> Result<Parsed, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::malformed(None, "The request's body is not UTF-8: JSON must be"))?;
    let fields = Fields::read(text)?;
    let named: Option<Arc<str>> = fields.model()?.map(Arc::from);
    let model = model_name(in_path, named.clone())?;
    entry.model(&model);
    let metadata = if fields.has_attribution() {
        let metadata = Metadata::of_call(headers, &fields)?.map(Arc::new);
        if let Some(metadata) = &metadata {
            entry.metadata(metadata);
        }
        metadata
    } else {
        in_headers
    };
    let request = Request::read(&fields, named, headers, body.clone())?;
    Ok(Parsed { model, request, metadata })
}

fn must_be_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_identity) {
        return Err(Refusal::compressed());
    }
    // Nor as a framing: `Transfer-Encoding: gzip, chunked`.
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = |coding: &[u8]| {
        let coding = coding.trim_ascii();
        coding.eq_ignore_ascii_case(b"chunked") || coding.eq_ignore_ascii_case(b"identity")
    };
    if !codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).all(is_plain) {
        return Err(Refusal::compressed());
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || essence.rsplit_once('+').is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"));
    if is_json { Ok(()) } else { Err(Refusal::not_json()) }
}

fn user_too_long() -> Refusal {
    Refusal::malformed(Some("user"), format!("`user` is longer than {MAX_USER} characters"))
}

fn owner(caller: &Caller) -> Arc<str> {
    caller.key().owner.clone().unwrap_or_else(|| NOBODY.into())
}

/// The user as far as it is known without the body: the headers', or the owner of a key that calls for nobody else. A header
/// with nothing in it is none.
fn user_in_headers(caller: &Caller, headers: &HeaderMap) -> Result<Option<Arc<str>>, Refusal> {
    match caller.key().user_policy {
        UserPolicy::Owner => return Ok(Some(owner(caller))),
        UserPolicy::Request => {}
    }
    let mut first = None;
    for name in &USER_HEADERS {
        let Some(value) = headers.get(name).filter(|value| !value.as_bytes().trim_ascii().is_empty()) else { continue };
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Refusal::malformed(Some("user"), format!("The header {name} is not UTF-8")))?;
        // Whichever of them counts: all are to be right.
        if is_longer(text, MAX_USER) {
            return Err(user_too_long());
        }
        first = first.or(Some(text));
    }
    Ok(first.map(Into::into))
}

/// How long a call may wait for room in limits: as long as its key says, or less, where it says so itself; none: not at all.
fn max_wait(headers: &HeaderMap, of_key: Option<Duration>) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(&MAX_WAIT) else { return Ok(of_key) };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok());
    let Some(seconds) = seconds else {
        let message = "The header x-vectoll-max-wait must be a whole number of seconds, for example 10".to_owned();
        return Err(Refusal::malformed(None, message));
    };
    let wait = of_key.map(|of_key| of_key.min(Duration::from_secs(seconds.into())));
    Ok(wait.filter(|wait| !wait.is_zero()))
}

/// The user that a call is booked to: the headers', else the first that the body names, else the key's owner.
fn user(caller: &Caller, in_headers: Option<Arc<str>>, in_body: [Option<&str>; 2]) -> Result<Arc<str>, Refusal> {
    // Whichever of them counts: all are to be right.
    if in_body.iter().flatten().any(|name| is_longer(name, MAX_USER)) {
        return Err(user_too_long());
    }
    let in_body = in_body.into_iter().flatten().find(|name| !name.is_empty()).map(Arc::from);
    Ok(in_headers.or(in_body).unwrap_or_else(|| owner(caller)))
}
