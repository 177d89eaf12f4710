//! Every error that a caller can get: status, OpenAI's error object, and what waiting can do about it.

use std::{sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::{
    call_id::CallId,
    compute::NotDone,
    quota_headers::{self, whole_seconds},
};
use vectoll_api::request::Malformed;
use vectoll_ledger::journal::AppendError;
use vectoll_limits::counters::RateLimitStatus;
use vectoll_upstream::provider::dialect::{extension::Rejected, taken::takers};

/// The longest wait that a rate limit tells. Clients take a longer one for unreasonable and come back after a second or two instead:
/// openai-python from more than 60 s on, openai-node up to version 5 and the AI SDK from 60 s on. A window may open up to two
/// seconds later: who comes then is told to wait those seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(59);

/// Tells OpenAI's clients not to try again by themselves (`_should_retry` in openai-python, `shouldRetry` in openai-node).
static SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// When to come back for what the operator tells the gateway: a key of the cluster's, or a route.
const KEYS_COME: Duration = Duration::from_secs(5);
/// The longest name of a resource that is repeated: namespace, slash and name.
const MAX_NAME: usize = 63 + 1 + 253;

/// When to come back to a sidecar whose journal is full: the store has to return first, and then takes a while.
const FULL_JOURNAL: Duration = Duration::from_secs(5);

/// `error.type` of OpenAI's error object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The caller's fault.
    InvalidRequest,
    /// Not allowed.
    Permission,
    /// Too much at present.
    RateLimit,
    /// No money left.
    BudgetExceeded,
    /// Our fault, or the provider's.
    Api,
}

impl ErrorType {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Permission => "permission_error",
            Self::RateLimit => "rate_limit_error",
            Self::BudgetExceeded => "budget_exceeded",
            Self::Api => "api_error",
        }
    }
}

/// A call that gets no vectors, and why.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// `error.type`.
    pub kind: ErrorType,
    /// `error.message`: whose fault it is and what to do.
    pub message: String,
    /// `error.param`.
    pub param: Option<&'static str>,
    /// `error.code`.
    pub code: Option<String>,
    /// `Retry-After`: when waiting helps.
    pub retry_after: Option<Duration>,
    /// `x-ratelimit-*`: of the limit that is full.
    pub rate_limits: RateLimitStatus,
    /// Label `scope` of `vectoll_rejections_total`.
    pub scope: &'static str,
    /// Label `reason` of `vectoll_rejections_total`.
    pub reason: &'static str,
    /// Whether clients are not to send the call again by themselves: it may have been charged, or nothing will have changed.
    pub is_final: bool,
    /// What [`Self::withhold`] leaves of the message; none: all of it is for everyone.
    pub particulars: Option<Box<Particulars>>,
}

/// That a message tells of a backend what is known to those alone who may know where it is and by whose account it is called.
#[derive(Clone, Debug)]
pub struct Particulars {
    /// `namespace/route/backend`.
    pub backend: Arc<str>,
    /// What all others are told.
    pub without: String,
    /// Whether the message may be logged: not where it quotes a provider, and a provider its input.
    pub may_be_logged: bool,
}

impl From<Malformed> for Refusal {
    fn from(Malformed { param, message }: Malformed) -> Self {
        Self::malformed(param, message)
    }
}

impl Refusal {
    fn new(status: StatusCode, kind: ErrorType, scope: &'static str, reason: &'static str, message: String) -> Self {
        let rate_limits = RateLimitStatus::default();
        Self {
            status,
            kind,
            message,
            param: None,
            code: None,
            retry_after: None,
            rate_limits,
            scope,
            reason,
            is_final: false,
            particulars: None,
        }
    }

    fn code(self, code: &str) -> Self {
        Self { code: Some(code.to_owned()), ..self }
    }

    /// 400: something in the request is not as it must be.
    pub fn malformed(param: Option<&'static str>, message: impl Into<String>) -> Self {
        let refusal =
            Self::new(StatusCode::BAD_REQUEST, ErrorType::InvalidRequest, "request", "malformed", message.into());
        Self { param, ..refusal }
    }

    /// 400: the input is not one of the forms that embeddings are made of.
    pub fn input(detail: impl std::fmt::Display) -> Self {
        Malformed::input(detail).into()
    }

    /// 400: nobody knows what the inputs are to be embedded as.
    pub fn input_type(given: &str) -> Self {
        let given: String = given.chars().take(64).collect();
        Self::malformed(Some("input_type"), format!("`input_type` must be \"query\" or \"document\", not {given:?}"))
    }

    /// 400: a field beyond OpenAI's that the provider of the call's model does not take, or not so.
    pub fn extension(rejected: Rejected, provider: &str) -> Self {
        let (param, message) = match rejected {
            Rejected::Value { field, message } => return Self::malformed(Some(field), message),
            Rejected::NoPlace { field } => {
                let takers = takers(&field);
                let field: String = field.chars().take(64).collect();
                let elsewhere = match takers.as_slice() {
                    [] => "queries and documents are told apart by `input_type`".to_owned(),
                    takers => format!("models whose backend in the ModelRoute is `{}` take it", takers.join("` or `")),
                };
                let message = format!(
                    "`{field}` has no place in the API of this model's provider ({provider}): the vectors would not be what it asks \
                     for. Leave it out; {elsewhere}"
                );
                (None, message)
            }
            Rejected::NotCarried { field, only } => {
                let message = format!(
                    "`{field}` must be {only}: OpenAI's answer has one vector of 32-bit floats for each input, and no place for \
                     others. Leave it out, and convert the vectors where they are used"
                );
                (Some(field), message)
            }
            Rejected::Dimensions { field } => {
                (Some(field), format!("`{field}` is `dimensions` in OpenAI's embeddings API: write `dimensions`"))
            }
        };
        let refusal = Self::malformed(param, message);
        Self { reason: "field_not_translated", ..refusal }.code("unsupported_field")
    }

    /// 400: an input has more tokens than the model takes. The beginning of the message is what OpenAI's own has, and what clients look for:
    /// LiteLLM's make an error of its own of it (`is_error_str_context_window_exceeded` in its `exception_mapping_utils.py`).
    pub fn too_long(at: usize, tokens: u64, is_exact: bool, most: u64) -> Self {
        let has = if is_exact { "has" } else { "has at least" };
        let message = format!(
            "This model's maximum context length is {most} tokens, and input[{at}] {has} {tokens}: shorten it, or have it cut with the \
             header x-vectoll-truncate (start or end) or `truncate` of the ModelRoute. Nothing was sent"
        );
        let refusal = Self::malformed(Some("input"), message).code("context_length_exceeded");
        Self { scope: "model", reason: "input_too_long", ..refusal }
    }

    /// 400: inputs are to be cut, and nobody knows where.
    pub fn no_truncation(model: &str) -> Self {
        let message = format!(
            "The header x-vectoll-truncate cannot be followed for the model `{model}`: its tokenizer, or what it takes of one input, is not \
             known here. Leave it out, or have the route's owner set `tokens.encoding` and `maxInputTokens` on the ModelRoute's backend"
        );
        let refusal = Self::malformed(None, message);
        Self { scope: "model", reason: "no_truncation", ..refusal }
    }

    /// 400: a call has more tokens than its key or its Team allows for one. `has` is how many.
    pub fn tokens_per_call(scope: &'static str, name: &str, most: u64, has: &str) -> Self {
        let message = format!(
            "The {scope} {name} allows {most} tokens in one call (`maxTokensPerCall`), and this one {has}. Send fewer or shorter inputs \
             at a time"
        );
        let refusal = Self::malformed(Some("input"), message).code("max_tokens_per_call");
        Self { scope, reason: "tokens_per_call", ..refusal }
    }

    /// 400: inputs that are to be one text, and more than its provider takes in one request.
    pub fn coupled(items: usize) -> Self {
        let message = format!(
            "`late_chunking` makes the inputs one text, so they are sent in one request, and that may have {items} inputs at this \
             model's provider, or fewer if they are long: send the chunks of one text at a time"
        );
        Self::malformed(Some("late_chunking"), message)
    }

    /// 400: the caller has a budget and nobody knows what this model costs.
    pub fn unpriced(model: &str) -> Self {
        let message = format!(
            "The model `{model}` has no known price, so a call under a budget cannot be admitted: set `price` on its \
             backend in the ModelRoute"
        );
        let refusal = Self::malformed(Some("model"), message).code("model_unpriced");
        Self { scope: "model", reason: "unpriced", ..refusal }
    }

    /// 401.
    pub fn unauthorized(reason: &'static str, detail: &str) -> Self {
        let message = format!("Invalid API key: {detail}");
        let code = if reason == "expired" { "expired_api_key" } else { "invalid_api_key" };
        Self::new(StatusCode::UNAUTHORIZED, ErrorType::InvalidRequest, "key", reason, message).code(code)
    }

    /// 429: an address has sent too many calls whose key was refused.
    pub fn wrong_keys(client: std::net::IpAddr, wait: Duration) -> Self {
        let message = format!(
            "Rate limit exceeded for address {client}: too many of its calls had a key that is unknown, expired or suspended. Calls with a \
             key that works are served"
        );
        Self::rate_limited("address", "wrong_keys", message, Some(wait))
    }

    /// 403.
    pub fn model_not_allowed(scope: &'static str, name: &str, model: &str) -> Self {
        let message = format!(
            "The {scope} {name} may not use the model `{model}`: ask its owner to add the model to `spec.models`"
        );
        let refusal = Self::new(StatusCode::FORBIDDEN, ErrorType::Permission, scope, "model_not_allowed", message);
        Self { param: Some("model"), ..refusal }.code("model_not_allowed")
    }

    /// 404: no route has the model.
    pub fn model_not_found(model: &str) -> Self {
        let message = format!(
            "The model `{model}` does not exist here or is not shared with your namespace: GET /v1/models lists what is"
        );
        let refusal = Self::new(StatusCode::NOT_FOUND, ErrorType::InvalidRequest, "model", "model_not_found", message);
        Self { param: Some("model"), ..refusal }.code("model_not_found")
    }

    /// 404: no such path; perhaps another one is meant.
    pub fn path_not_found(path: &str, meant: Option<&str>) -> Self {
        let message = match meant {
            Some(meant) => {
                format!("Unknown path {path}: {meant} may be meant; embeddings are made with POST /v1/embeddings")
            }
            None => format!("Unknown path {path}: embeddings are made with POST /v1/embeddings"),
        };
        Self::new(StatusCode::NOT_FOUND, ErrorType::InvalidRequest, "request", "path_not_found", message)
    }

    /// 404: a path by which LiteLLM's proxy is managed, and how the same is done here.
    pub fn managed_elsewhere(path: &str, how: &str) -> Self {
        let message = format!("{path} is LiteLLM's: a sidecar is not managed over HTTP. {how}");
        Self::new(StatusCode::NOT_FOUND, ErrorType::InvalidRequest, "request", "managed_elsewhere", message)
    }

    /// 403: a key asks about another one.
    pub fn another_key() -> Self {
        let message = "A key may only ask about itself: leave the query parameter `key` out. Others are read with `kubectl get apikeys`";
        let refusal = Self::new(StatusCode::FORBIDDEN, ErrorType::Permission, "key", "another_key", message.to_owned());
        Self { param: Some("key"), ..refusal }.code("key_not_allowed")
    }

    /// 405.
    pub fn method_not_allowed(allowed: &str) -> Self {
        let message = format!("This path takes {allowed} only");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorType::InvalidRequest, "request", "method_not_allowed", message)
    }

    /// 408: the request's body did not arrive in time.
    pub fn slow_body(limit: Duration) -> Self {
        let message = format!("The request's body did not arrive within {} seconds", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, ErrorType::InvalidRequest, "request", "slow_body", message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("The request's body is larger than {limit} bytes: send fewer inputs at a time");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorType::InvalidRequest, "request", "too_large", message)
    }

    /// 413: token arrays whose text is larger than any body may be.
    pub fn much_text(limit: usize) -> Self {
        let message = format!("The text of these tokens is longer than {limit} bytes: send fewer inputs at a time");
        let refusal =
            Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorType::InvalidRequest, "request", "too_large", message);
        Self { param: Some("input"), ..refusal }
    }

    /// 415.
    pub fn not_json() -> Self {
        let message = "The request's body must be JSON: send Content-Type: application/json".to_owned();
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorType::InvalidRequest, "request", "not_json", message)
    }

    /// 415: the body is compressed. Inflating it would let a few bytes become many.
    pub fn compressed() -> Self {
        let message = "Compressed bodies are not read: send it without Content-Encoding".to_owned();
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorType::InvalidRequest, "request", "compressed", message)
    }

    /// 403: a web page may have sent it.
    pub fn not_for_pages(reason: &'static str, message: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorType::Permission, "request", reason, message).code(reason)
    }

    /// 429 by a limit of ours. The message must begin with "Rate limit exceeded for" and the scope. Waits are told up to
    /// [`LONGEST_WAIT`].
    pub fn rate_limited(scope: &'static str, reason: &'static str, message: String, wait: Option<Duration>) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorType::RateLimit, scope, reason, message);
        Self { retry_after: wait.map(|wait| wait.min(LONGEST_WAIT)), ..refusal }.code("rate_limit_exceeded")
    }

    /// 429 by a budget.
    pub fn budget_exceeded(scope: &'static str, message: String, wait: Option<Duration>) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorType::BudgetExceeded, scope, "budget", message);
        Self { retry_after: wait, ..refusal }.code("budget_exceeded")
    }

    /// The provider's own 4xx, without its credentials.
    pub fn by_provider(status: StatusCode, message: String, code: Option<String>, wait: Option<Duration>) -> Self {
        let (kind, reason) = match status {
            StatusCode::TOO_MANY_REQUESTS => (ErrorType::RateLimit, "provider_rate_limit"),
            StatusCode::FORBIDDEN => (ErrorType::Permission, "provider_refused"),
            _ => (ErrorType::InvalidRequest, "provider_refused"),
        };
        let code = code.or_else(|| (status == StatusCode::TOO_MANY_REQUESTS).then(|| "rate_limit_exceeded".to_owned()));
        let refusal = Self::new(status, kind, "backend", reason, message);
        Self { retry_after: wait, code, ..refusal }
    }

    /// 502: the provider's answer cannot be used.
    pub fn bad_gateway(message: String) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, ErrorType::Api, "backend", "upstream_error", message).code("upstream_error")
    }

    /// 503: no backend can be reached, or this sidecar is about to stop.
    pub fn unavailable(reason: &'static str, message: String) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorType::Api, "backend", reason, message);
        Self { retry_after: Some(Duration::from_secs(1)), ..refusal }.code("no_backend_available")
    }

    /// 503: a pod's token may be right, and nobody here can say so yet.
    pub fn token_not_known_yet(reason: &'static str, message: String) -> Self {
        Self { scope: "key", ..Self::unavailable(reason, message) }.after(KEYS_COME)
    }

    /// 503: the sidecar that passes the call on goes by another view of the routes than this gateway, as it may be for a minute after a
    /// change.
    pub fn other_route(chosen: &str, model: &str) -> Self {
        let chosen: String = chosen.chars().take(MAX_NAME).collect();
        let message = format!(
            "The sidecar has chosen the ModelRoute {chosen} for the model `{model}`, and this gateway would not: a change has reached one of \
             them and not yet the other. Nothing was sent or charged"
        );
        Self::of_gateway(StatusCode::SERVICE_UNAVAILABLE, "other_route", message).code("route_changed").after(KEYS_COME)
    }

    /// 503: the work of counting a call's tokens was lost.
    pub fn uncounted(error: &NotDone) -> Self {
        Self::unavailable("counting_failed", format!("The call's tokens could not be counted: {error}"))
    }

    /// 503: the route's settings are such that no backend can be called. Waiting does not change them.
    pub fn misconfigured(reason: &'static str, message: String) -> Self {
        Self { retry_after: None, ..Self::unavailable(reason, message) }
    }

    /// 503: there was no memory in time for so large a call, or its answer.
    pub fn no_room() -> Self {
        let message = "There was no room in time for so large a call: send fewer inputs at a time, or give the sidecar more memory \
                       (--max-held-bytes)";
        let refusal =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorType::Api, "backend", "no_room", message.to_owned());
        Self { retry_after: Some(Duration::from_secs(1)), ..refusal }.code("no_room")
    }

    /// The same for an answer: the call was carried out.
    pub fn no_room_for_answer() -> Self {
        let message = "There was no room in time for the answer of so large a call. It was carried out and charged: send fewer inputs at a \
                       time, or give the sidecar more memory (--max-held-bytes)";
        Self { message: message.to_owned(), ..Self::no_room() }.charged()
    }

    /// 503: what the call may cost could not be written down, so it was not sent.
    pub fn journal(error: &AppendError) -> Self {
        let (reason, wait, message) = match error {
            AppendError::Full { bytes: _, most: _ } => {
                let message = "This sidecar's journal is full: the store that takes its spend has been away for long";
                ("journal_full", FULL_JOURNAL, message)
            }
            AppendError::TeamFull { team: _ } => {
                let message = "The store has not taken the Team's spend for long, and this sidecar's journal has no more room for it";
                ("journal_full", FULL_JOURNAL, message)
            }
            AppendError::Unavailable(_) | AppendError::NotARecord(_) => {
                ("journal_unavailable", Duration::from_secs(1), "This sidecar cannot write down what the call may cost")
            }
        };
        let message = format!("{message}; nothing was sent or charged");
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorType::Api, "sidecar", reason, message);
        Self { retry_after: Some(wait), ..refusal }.code(reason)
    }

    /// 503: the store is away, and this sidecar may not decide alone.
    pub fn store_unavailable(message: String) -> Self {
        let reason = "store_unavailable";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorType::Api, "store", reason, message).code(reason)
    }

    /// 401: a pod's own call of a route that the gateway carries out, and nothing proves to the gateway which pod it is.
    pub fn pod_key_passed_on(route: &str) -> Self {
        let message = format!(
            "calls of the ModelRoute {route} are passed on to the gateway, and this sidecar has no token that proves its pod's namespace \
             there: make the pod anew, so that it is injected with one, or send the value of an ApiKey (entry `key` of the Secret that its \
             status names)"
        );
        Self::unauthorized("pod_key_passed_on", &message)
    }

    /// 503: the gateway cannot be reached. Nothing was sent.
    pub fn gateway_unreachable(route: &str, cause: &str) -> Self {
        let message = format!(
            "The gateway, which carries out the calls of the ModelRoute {route}, cannot be reached: {cause}. Nothing was sent or charged"
        );
        Self::of_gateway(StatusCode::SERVICE_UNAVAILABLE, "gateway_unreachable", message)
            .code("gateway_unavailable")
            .after(Duration::from_secs(1))
    }

    /// 503: the gateway is not to be called, and people must change that. Nothing was sent.
    pub fn gateway_untrusted(route: &str, cause: &str) -> Self {
        let message = format!(
            "The gateway, which carries out the calls of the ModelRoute {route}, is not called: {cause}. Nothing was sent or charged; \
             whoever runs the gateway must change its certificate, or what sidecars are told of it"
        );
        Self::of_gateway(StatusCode::SERVICE_UNAVAILABLE, "gateway_untrusted", message).code("gateway_unavailable")
    }

    /// 502: the connection to the gateway broke before its answer.
    pub fn gateway_broke(route: &str, cause: &str) -> Self {
        let message = format!(
            "The connection to the gateway, which carries out the calls of the ModelRoute {route}, broke: {cause}. The call may have been \
             carried out and charged, so it was not sent again"
        );
        Self::of_gateway(StatusCode::BAD_GATEWAY, "gateway_broke", message).code("upstream_error").charged()
    }

    /// 502: what answered is something before the gateway.
    pub fn not_the_gateway(route: &str, status: StatusCode) -> Self {
        let charged = if status.is_server_error() {
            "The call may have been carried out and charged, so it was not sent again"
        } else {
            "Whoever runs the gateway must see to it that its URL leads there"
        };
        let message = format!(
            "Calls of the ModelRoute {route} are carried out by the gateway, and something else answered {} in its place. {charged}",
            status.as_u16()
        );
        let refusal = Self::of_gateway(StatusCode::BAD_GATEWAY, "not_the_gateway", message).code("upstream_error");
        Self { is_final: true, ..refusal }
    }

    /// 504: the gateway took too long.
    pub fn gateway_timeout(route: &str, timeout: Duration) -> Self {
        let message = format!(
            "The gateway, which carries out the calls of the ModelRoute {route}, did not answer within {} s. The call may have been \
             carried out and charged",
            timeout.as_secs()
        );
        Self::of_gateway(StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", message).code("upstream_timeout").charged()
    }

    fn of_gateway(status: StatusCode, reason: &'static str, message: String) -> Self {
        Self::new(status, ErrorType::Api, "gateway", reason, message)
    }

    fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// 404: a route of the gateway's has the gateway itself as its provider, at last. A status that every caller, the gateway too, knows to cost
    /// nothing.
    pub fn looped() -> Self {
        let message = "This call has come by this gateway before: the provider of a ModelRoute is this gateway itself, or one that sends its \
                       calls back here. Nothing was charged; the owner of the route must name the provider's own address";
        Self::new(StatusCode::NOT_FOUND, ErrorType::InvalidRequest, "model", "looped", message.to_owned())
            .code("loop_detected")
    }

    /// 504: it took longer than the caller says that it waits.
    pub fn caller_timeout(timeout: Duration) -> Self {
        let message = format!(
            "The call took longer than the {} s of its header x-litellm-timeout. What was sent to a provider is read to its end and \
             charged",
            timeout.as_secs_f64()
        );
        let refusal = Self::upstream_timeout(message);
        Self { scope: "request", reason: "caller_timeout", ..refusal }.charged()
    }

    /// 504: the provider took too long.
    pub fn upstream_timeout(message: String) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, ErrorType::Api, "backend", "upstream_timeout", message)
            .code("upstream_timeout")
    }
}

impl Refusal {
    /// The call may have been charged: whoever sends it again may be charged again.
    #[must_use]
    pub fn charged(self) -> Self {
        Self { is_final: true, retry_after: None, ..self }
    }

    /// The message tells of a backend what is not for everyone; `without` is.
    #[must_use]
    pub fn particular_to(self, backend: &Arc<str>, without: String, may_be_logged: bool) -> Self {
        Self { particulars: Some(Box::new(Particulars { backend: backend.clone(), without, may_be_logged })), ..self }
    }

    /// Leaves of the message what is for everyone, if `is_stranger` to the backend that it is of. What may be logged of the rest is.
    pub fn withhold(&mut self, id: CallId, is_stranger: impl FnOnce(&str) -> bool) {
        let Some(particulars) = self.particulars.take().filter(|of| is_stranger(&of.backend)) else { return };
        let Particulars { backend, without, may_be_logged } = *particulars;
        let details = if may_be_logged { &*self.message } else { "the provider's own words, which are not logged" };
        tracing::warn!(call_id = %id, %backend, reason = self.reason, details, "the caller is not told why a backend failed");
        self.message = format!("{without}. Its owner finds more in the gateway's log, under the call ID {id}");
    }

    /// Whether it is the key that is refused: not the provider's refusal of ours.
    pub fn is_of_key(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && self.scope == "key"
    }

    /// Whether no wait will cure it which a client may take within a call: it would sleep without a word, or use its tries up. Of
    /// what a provider refuses without a time nobody knows.
    fn is_in_vain(&self) -> bool {
        let is_ours = matches!(self.kind, ErrorType::RateLimit | ErrorType::BudgetExceeded) && self.scope != "backend";
        let is_for_good = is_ours || self.status == StatusCode::SERVICE_UNAVAILABLE;
        self.is_final || self.retry_after.map_or(is_for_good, |wait| wait > LONGEST_WAIT)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": {
            "message": self.message,
            "type": self.kind.as_str(),
            "param": self.param,
            "code": self.code,
        }});
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        quota_headers::write(headers, &self.rate_limits);
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, whole_seconds(wait).into());
        }
        if self.is_in_vain() {
            headers.insert(SHOULD_RETRY.clone(), HeaderValue::from_static("false"));
        }
        // Not where the provider refuses our credential: the caller has no better one.
        if self.is_of_key() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_says_whose_it_is_and_to_come_back() {
        let team = vectoll_config::Uid::new("a");
        for (error, message) in [
            (AppendError::Full { bytes: 2, most: 1 }, "journal is full"),
            (AppendError::TeamFull { team }, "the Team's spend"),
        ] {
            let refusal = Refusal::journal(&error);
            assert_eq!((refusal.status.as_u16(), refusal.code.as_deref()), (503, Some("journal_full")));
            assert_eq!(refusal.retry_after, Some(Duration::from_secs(5)));
            assert!(refusal.message.contains(message), "{}", refusal.message);
        }
    }

    #[test]
    fn what_is_malformed_is_the_callers_fault() {
        let refusal = Refusal::from(Malformed::input("it is empty"));
        assert_eq!((refusal.status.as_u16(), refusal.param, refusal.reason), (400, Some("input"), "malformed"));
        assert_eq!(refusal.message, "Invalid input format: it is empty");
    }

    #[test]
    fn clients_are_kept_from_waits_that_no_call_outlasts() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let message = String::new;
        for (refusal, wait, again) in [
            (Refusal::rate_limited("key", "tokens", message(), seconds(61)), Some("59"), true),
            (Refusal::rate_limited("key", "tokens", message(), seconds(2)), Some("2"), true),
            (Refusal::rate_limited("key", "tokens_never", message(), None), None, false),
            (Refusal::budget_exceeded("key", message(), seconds(71_231)), Some("71231"), false),
            (Refusal::budget_exceeded("key", message(), seconds(30)), Some("30"), true),
            (Refusal::budget_exceeded("key", message(), None), None, false),
            (Refusal::by_provider(StatusCode::TOO_MANY_REQUESTS, message(), None, seconds(90)), Some("90"), false),
            (Refusal::by_provider(StatusCode::TOO_MANY_REQUESTS, message(), None, None), None, true),
            (Refusal::unavailable("no_credential", message()), Some("1"), true),
            (Refusal::misconfigured("no_backend", message()), None, false),
            (Refusal::no_room(), Some("1"), true),
            (Refusal::no_room_for_answer(), None, false),
            (Refusal::upstream_timeout(message()), None, true),
            (Refusal::upstream_timeout(message()).charged(), None, false),
            (Refusal::caller_timeout(Duration::from_secs(1)), None, false),
            (Refusal::gateway_timeout("shop/route", Duration::from_secs(1)), None, false),
            (Refusal::gateway_broke("shop/route", "reset"), None, false),
            (Refusal::gateway_unreachable("shop/route", "refused"), Some("1"), true),
        ] {
            let response = refusal.into_response();
            let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
            assert_eq!(header(header::RETRY_AFTER), wait);
            assert_eq!(header(SHOULD_RETRY.clone()), (!again).then_some("false"));
        }
    }

    #[test]
    fn strangers_to_a_backend_are_told_its_name_and_where_the_rest_is() {
        let backend: Arc<str> = "platform/openai/eu".into();
        let refusal = || {
            let whole =
                "No connection to backend platform/openai/eu: llm.corp.internal resolves to a link-local address";
            let without = format!("No connection to backend {backend}");
            Refusal::unavailable("no_connection", whole.to_owned()).particular_to(&backend, without, true)
        };
        let id = CallId::random();
        let told = |namespace: &'static str| {
            let mut refusal = refusal();
            refusal.withhold(id, |backend| vectoll_config::namespace_of(backend) != namespace);
            refusal.message
        };
        assert!(told("platform").ends_with("llm.corp.internal resolves to a link-local address"));
        let others = told("shop");
        assert!(
            others.starts_with("No connection to backend platform/openai/eu.") && !others.contains("corp"),
            "{others}"
        );
        assert!(others.contains(&id.to_string()));
    }
}
