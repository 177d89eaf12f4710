//! Where credentials are issued.

use std::collections::BTreeMap;

use reqwest::Url;

use crate::native::Request;

/// An issuer, at one name.
pub trait Desk: Send + Sync + 'static {
    /// Its name, or the address that stands for one.
    fn host(&self) -> &'static str;

    /// Answers a question. An error is a violation: nobody may ask that.
    fn answer(&self, request: &Request<'_>) -> Result<Paper, String>;
}

/// What it hands out.
#[derive(Debug, Clone)]
pub struct Paper {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Paper {
    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, kind: "application/json", body: body.to_string() }
    }
}

/// Checks method, path and query.
pub(super) fn asks(request: &Request<'_>, method: &http::Method, path: &str) -> Result<(), String> {
    let found = (request.method, request.path, request.query);
    if found == (method, path, "") { Ok(()) } else { Err(format!("{found:?} in place of {method} {path}")) }
}

/// A header that must stand once, with this value.
pub(super) fn has(request: &Request<'_>, name: &str, value: &str) -> Result<(), String> {
    let found: Vec<_> = request.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    if found == [value] { Ok(()) } else { Err(format!("{name} is {found:?}")) }
}

/// Only headers that any client may send, and these.
pub(super) fn only(request: &Request<'_>, more: &[&str]) -> Result<(), String> {
    const PLAIN: [&str; 5] = ["accept", "content-length", "content-type", "host", "user-agent"];
    let foreign = request.headers.keys().find(|name| !PLAIN.contains(&name.as_str()) && !more.contains(&name.as_str()));
    foreign.map_or(Ok(()), |name| Err(format!("nobody asked for the header {name}")))
}

/// The fields of a form, each of which stands once.
pub(super) fn form(request: &Request<'_>) -> Result<BTreeMap<String, String>, String> {
    has(request, "content-type", "application/x-www-form-urlencoded")?;
    let text = std::str::from_utf8(request.body).map_err(|error| error.to_string())?;
    let url = Url::parse(&format!("http://form/?{text}")).map_err(|error| error.to_string())?;
    let mut fields = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        if fields.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(format!("{name} stands twice"));
        }
    }
    Ok(fields)
}

/// Whether a form has these fields with these values and no other.
pub(super) fn fields(found: &BTreeMap<String, String>, wanted: &[(&str, &str)]) -> Result<(), String> {
    let wanted: BTreeMap<String, String> =
        wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    if *found == wanted { Ok(()) } else { Err(format!("the form is {found:?}, not {wanted:?}")) }
}

/// The words with which a refusal repeats what came, from the end: what proves the asker is near it, and long words are cut.
pub(super) fn echo(request: &Request<'_>) -> String {
    let header = |name: &str| {
        request.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned).unwrap_or_default()
    };
    let body = String::from_utf8_lossy(request.body);
    let fields: Vec<_> = body.rsplit('&').collect();
    format!("you sent {} {}", header("authorization"), fields.join("&"))
}
