//! One request and its answer: record, check, choose, answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::answer::{Answer, Usage};
use super::behaviour::{Behaviour, Plan};
use super::body::{self, Body};
use super::books::{Books, Recorded};
use super::call::{Call, Encoding, Violation};
use super::item::Item;
use super::line::ResetSwitch;
use super::refusal::Refusal;
use super::vector::{self, FULL_DIMENSIONS};

/// No answer is given: the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to end without an answer")]
pub(super) struct HangUp;

/// 2048 inputs of 8192 tokens are below it.
const LARGEST_BODY: usize = 256 << 20;
/// Answers of up to so many vectors (8.5 MB as numbers) are written whole, with a content-length; more are streamed.
const MOST_VECTORS_WHOLE: usize = 256;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const GATEWAY_PAGE: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                            <center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";

pub(super) async fn answer(
    books: Arc<Books>,
    reset: ResetSwitch,
    request: Request<Incoming>,
) -> Result<Response<Body>, HangUp> {
    let begun = Instant::now();
    let (parts, incoming) = request.into_parts();
    let body = match Limited::new(incoming, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let violation = Violation::Body(error.to_string());
            books.violated(&violation);
            return Ok(refuse(&Refusal::violation(&violation)));
        }
    };
    let mut response = match for_the_checker(&books, &parts, &body) {
        Some(response) => response,
        None => provide(&books, &reset, &parts, body).await?,
    };
    let headers = response.headers_mut();
    headers.insert("x-request-id", header(&format!("req_{:032x}", books.next_answer())));
    headers.insert("openai-processing-ms", header(&begun.elapsed().as_millis().to_string()));
    Ok(response)
}

/// What tests ask about the provider itself.
fn for_the_checker(books: &Books, parts: &Parts, body: &[u8]) -> Option<Response<Body>> {
    let value = match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/account") => serde_json::to_value(books.account()).unwrap_or_default(),
        ("GET", "/requests") => books.requests_value(),
        ("POST", "/vectors") => match Call::parse(body) {
            Ok(call) => json!({"vectors": vectors(&call)?}),
            Err(violation) => return Some(refuse(&Refusal::violation(&violation))),
        },
        _ => return None,
    };
    Some(json_answer(StatusCode::OK, &value))
}

/// Through text: as a value, a 32-bit float would get the digits of a 64-bit one.
fn vectors(call: &Call) -> Option<Value> {
    let vectors: Vec<_> = call.input.iter().map(|item| vector::of(item, call.dimensions)).collect();
    serde_json::from_slice(&serde_json::to_vec(&vectors).ok()?).ok()
}

/// What clients ask of a provider.
async fn provide(books: &Books, reset: &ResetSwitch, parts: &Parts, body: Bytes) -> Result<Response<Body>, HangUp> {
    let path = parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string);
    books.record(Recorded {
        method: parts.method.clone(),
        path: path.clone(),
        headers: parts.headers.clone(),
        body: body.clone(),
    });
    if parts.method != Method::POST || path != "/v1/embeddings" {
        let violation = if path == "/stolen" {
            Violation::Redirected(path)
        } else {
            Violation::Path { method: parts.method.to_string(), path }
        };
        books.violated(&violation);
        return Ok(refuse(&Refusal::not_found(&violation)));
    }
    books.requested();
    let credential = credential(&parts.headers);
    if credential != format!("Bearer {}", books.api_key()) {
        books.unauthorized();
        return Ok(refuse(&Refusal::unauthorized(&credential)));
    }
    let (call, plan) = match check(&parts.headers, &body) {
        Ok(checked) => checked,
        Err(violation) => {
            books.violated(&violation);
            return Ok(refuse(&Refusal::violation(&violation)));
        }
    };
    if !books.takes_another() {
        return Ok(refuse(&Refusal::too_many_requests(&call.model)));
    }
    let longest = call.input.iter().map(Item::tokens).max().unwrap_or_default();
    if let Some(most) = books.tokens_per_input().filter(|most| longest > *most) {
        return Ok(refuse(&Refusal::long_input(most, longest)));
    }
    tokio::time::sleep(books.latency()).await;
    behave(books, reset, books.choose(plan), call, &credential).await
}

/// All values of the header: a second one would make it wrong.
fn credential(headers: &HeaderMap) -> String {
    let values: Vec<_> =
        headers.get_all(AUTHORIZATION).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    values.join(", ")
}

fn check(headers: &HeaderMap, body: &[u8]) -> Result<(Call, Plan), Violation> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let content_type = content_type.unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Violation::ContentType(content_type));
    }
    let call = Call::parse(body)?;
    let plan = call.model.parse()?;
    Ok((call, plan))
}

async fn behave(
    books: &Books,
    reset: &ResetSwitch,
    behaviour: Behaviour,
    call: Call,
    credential: &str,
) -> Result<Response<Body>, HangUp> {
    let tokens = call.tokens();
    let call = Arc::new(call);
    let vectors = call.input.len();
    let right = Answer { call: call.clone(), vectors, usage: Usage::Last(tokens) };
    let charged = |tokens, answer| {
        books.charge(&call.model, tokens);
        Ok(success(answer))
    };
    match behaviour {
        Behaviour::Answer => charged(tokens, right),
        Behaviour::BadRequest => Ok(refuse(&Refusal::bad_request())),
        Behaviour::Unauthorized => Ok(refuse(&Refusal::unauthorized(credential))),
        Behaviour::NotFound => Ok(refuse(&Refusal::no_model(&call.model))),
        Behaviour::RateLimited => Ok(refuse(&Refusal::rate_limited(&call.model))),
        Behaviour::ServerError => Ok(refuse(&Refusal::server_error())),
        Behaviour::BadGateway => Ok(response(StatusCode::BAD_GATEWAY, HTML, body::full(GATEWAY_PAGE))),
        Behaviour::Unavailable => Ok(refuse(&Refusal::unavailable())),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Reset => {
            reset.on();
            Err(HangUp)
        }
        Behaviour::Cut => {
            let whole = Bytes::from(right.whole());
            Ok(cut(&whole, whole.len(), whole.len() / 2))
        }
        Behaviour::CutLarge => Ok(cut_large(right)),
        Behaviour::Garbage => Ok(response(StatusCode::OK, HTML, body::full(GATEWAY_PAGE))),
        Behaviour::TruncatedJson => {
            let mut whole = right.whole();
            whole.truncate(whole.len() / 2);
            Ok(response(StatusCode::OK, JSON, body::full(whole)))
        }
        Behaviour::NoUsage => charged(tokens, Answer { usage: Usage::Absent, ..right }),
        Behaviour::UsageFirst => charged(tokens, Answer { usage: Usage::First(tokens), ..right }),
        Behaviour::Overrun => charged(tokens * 10, Answer { usage: Usage::Last(tokens * 10), ..right }),
        Behaviour::Slow(wait) => {
            tokio::time::sleep(wait).await;
            charged(tokens, right)
        }
        Behaviour::SlowBody(wait) => {
            books.charge(&call.model, tokens);
            let whole = Bytes::from(right.whole());
            let length = whole.len();
            Ok(announced(length, body::delayed(whole, wait)))
        }
        Behaviour::OtherEncoding => {
            let encoding = match call.encoding {
                Encoding::Float => Encoding::Base64,
                Encoding::Base64 => Encoding::Float,
            };
            charged(tokens, Answer { call: Arc::new(Call { encoding, ..(*call).clone() }), ..right })
        }
        Behaviour::FullDimensions => {
            charged(tokens, Answer { call: Arc::new(Call { dimensions: FULL_DIMENSIONS, ..(*call).clone() }), ..right })
        }
        Behaviour::Few => charged(tokens, Answer { vectors: vectors - 1, ..right }),
        Behaviour::Redirect => Ok(redirect(books.origin())),
    }
}

fn success(answer: Answer) -> Response<Body> {
    let body =
        if answer.vectors <= MOST_VECTORS_WHOLE { body::full(answer.whole()) } else { body::lazy(answer.parts()) };
    response(StatusCode::OK, JSON, body)
}

/// The first 600,000 bytes of an answer that is said to be larger than a mebibyte, whatever was asked.
fn cut_large(mut answer: Answer) -> Response<Body> {
    const CUT_AFTER: usize = 600_000;
    let (mut whole, mut length) = (Vec::with_capacity(CUT_AFTER), 0);
    // More vectors than any answer needs: the loop ends by the lengths.
    answer.vectors = usize::MAX;
    for part in answer.parts() {
        length += part.len();
        let room = CUT_AFTER - whole.len();
        whole.extend(part.iter().take(room));
        if length > 2 << 20 {
            break;
        }
    }
    cut(&Bytes::from(whole), length, CUT_AFTER)
}

fn cut(whole: &Bytes, length: usize, after: usize) -> Response<Body> {
    announced(length, body::cut(whole.slice(..after)))
}

/// A success whose content-length is announced before its body exists.
fn announced(length: usize, body: Body) -> Response<Body> {
    let mut response = response(StatusCode::OK, JSON, body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn redirect(origin: &str) -> Response<Body> {
    let mut response = response(StatusCode::TEMPORARY_REDIRECT, JSON, body::full("{}"));
    response.headers_mut().insert(LOCATION, header(&format!("{origin}/stolen")));
    response
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut response = json_answer(refusal.status, &refusal.to_value());
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    response(status, JSON, body::full(format!("{value:#}\n")))
}

fn response(status: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}
