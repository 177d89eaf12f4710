//! Method, path, query and plain credentials.

use super::{
    Refusal, Request,
    fields::{Read, wrong},
};

/// `POST` to exactly this path.
pub(super) fn posted(request: &Request<'_>, path: &str, query: &str) -> Read<()> {
    let Request { method, path: found, query: asked, .. } = request;
    if *method != http::Method::POST || *found != path || *asked != query {
        return wrong(format!("{method} {found}?{asked} in place of POST {path}?{query}"));
    }
    Ok(())
}

/// Exactly one header of this name, with this value.
pub(super) fn header(request: &Request<'_>, name: &str, value: &str) -> Read<()> {
    let found: Vec<_> = request.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    if found == [value] { Ok(()) } else { wrong(format!("{name} is {found:?}")) }
}

pub(super) fn bearer(request: &Request<'_>, key: &str) -> Read<()> {
    header(request, "authorization", &format!("Bearer {key}"))
}

/// What the provider does not have for a model.
pub(super) fn unable<T>(status: u16, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unable(status, message.into()))
}
