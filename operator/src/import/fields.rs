//! Reading a mapping so that nothing in it is passed over in silence.

use serde_json::{Map, Value};

use super::notes::Notes;

/// The fields of a mapping that nobody has read yet.
#[derive(Debug, Default)]
pub(super) struct Fields {
    path: String,
    rest: Map<String, Value>,
    is_closed: bool,
}

impl Fields {
    /// Of a mapping, or of nothing. None: it is something else.
    pub(super) fn of(path: &str, value: &Value) -> Option<Self> {
        let rest = if value.is_null() { Map::new() } else { value.as_object()?.clone() };
        Some(Self { path: path.to_owned(), rest, is_closed: false })
    }

    /// Where it stands.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where one of its fields stands.
    pub(super) fn place(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether a field is there and says something.
    pub(super) fn has(&self, name: &str) -> bool {
        self.rest.get(name).is_some_and(|value| !says_nothing(value))
    }

    /// Takes a field, if it says something.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.rest.remove(name).filter(|value| !says_nothing(value))
    }

    fn take_as<T>(
        &mut self,
        name: &str,
        wanted: &str,
        notes: &mut Notes,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(name)?;
        let read = read(&value);
        if read.is_none() {
            // Never what it is: it may be a credential.
            notes.add(&self.place(name), format!("{} is not {wanted}: left out", shape(&value)));
        }
        read
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str, notes: &mut Notes) -> Option<String> {
        self.take_as(name, "a text", notes, text)
    }

    /// Something that bounds, and cannot be kept as it was: what it bounds is closed, for left out it would be open.
    pub(super) fn close(&mut self, name: &str, what: &str, notes: &mut Notes) {
        notes.add(&self.place(name), format!("{what}, so what it bounds is closed until you have decided"));
        self.is_closed = true;
    }

    /// Whether it is.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// A limit. One that is none closes what it bounds: 0 lets nothing through in LiteLLM.
    pub(super) fn limit(&mut self, name: &str, notes: &mut Notes) -> Option<u64> {
        let value = self.take(name)?;
        let limit = whole(&value);
        if limit.is_none() {
            self.close(name, "0, or what is no whole number, is no limit that can be written", notes);
        }
        limit
    }

    /// A whole number, or 0.
    pub(super) fn count(&mut self, name: &str, notes: &mut Notes) -> Option<u64> {
        self.take_as(name, "a whole number", notes, |value| {
            whole(value).or_else(|| value.as_f64().filter(|number| *number == 0.0).map(|_| 0))
        })
    }

    /// A whole number from 1 on.
    pub(super) fn whole(&mut self, name: &str, notes: &mut Notes) -> Option<u64> {
        self.take_as(name, "a whole number above 0", notes, whole)
    }

    /// Any number, as it is written.
    pub(super) fn number(&mut self, name: &str, notes: &mut Notes) -> Option<serde_json::Number> {
        self.take_as(name, "a number", notes, |value| {
            value.as_number().cloned().or_else(|| value.as_str()?.parse().ok())
        })
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&mut self, name: &str, notes: &mut Notes) -> bool {
        let read = |value: &Value| value.as_bool().or_else(|| value.as_str()?.to_lowercase().parse().ok());
        self.take_as(name, "true or false", notes, read).unwrap_or_default()
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, name: &str, notes: &mut Notes) -> Vec<String> {
        let all = self.take_as(name, "a list of texts", notes, |value| {
            value.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect()
        });
        all.unwrap_or_default()
    }

    /// A list.
    pub(super) fn list(&mut self, name: &str, notes: &mut Notes) -> Vec<Value> {
        self.take_as(name, "a list", notes, |value| value.as_array().cloned()).unwrap_or_default()
    }

    /// A mapping. Where there is none it is empty.
    pub(super) fn mapping(&mut self, name: &str, notes: &mut Notes) -> Self {
        let path = self.place(name);
        let found = self.take_as(name, "a mapping", notes, |value| value.as_object().cloned());
        Self { path, rest: found.unwrap_or_default(), is_closed: false }
    }

    /// The names of what is left.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.rest.keys().map(String::as_str)
    }

    /// A mapping of which a part was read, for whoever reads the rest.
    pub(super) fn put(&mut self, name: &str, fields: Self) {
        self.put_back(name, Value::Object(fields.rest));
    }

    /// A field that was looked at, for whoever reads it.
    pub(super) fn put_back(&mut self, name: &str, value: Value) {
        self.rest.insert(name.to_owned(), value);
    }

    /// All that is left, each with its name: for mappings whose names are not known beforehand.
    pub(super) fn drain(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.rest)
    }

    /// These mean nothing here, whatever they say.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.rest.remove(*name);
        }
    }

    /// Tells of all that was not read. `advice` knows what to do about some of it.
    pub(super) fn finish(self, notes: &mut Notes, advice: impl Fn(&str) -> Option<&'static str>) {
        let Self { path, rest, is_closed: _ } = self;
        for (name, value) in rest.into_iter().filter(|(_, value)| !says_nothing(value)) {
            let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match advice(&name) {
                Some(advice) => notes.add(&place, advice),
                None => notes.add(&place, format!("not taken over ({})", shape(&value))),
            }
        }
    }
}

/// A text, or a number that was meant as one.
fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_number().map(ToString::to_string))
}

/// A whole number from 1 on, also as a text or with a point: `1e6` is a float to a reader of YAML.
fn whole(value: &Value) -> Option<u64> {
    let in_text = || value.as_str()?.replace('_', "").parse().ok();
    let whole = value.as_u64().or_else(|| from_float(value.as_f64()?)).or_else(in_text);
    whole.filter(|number| *number > 0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, and below 2^53")]
fn from_float(number: f64) -> Option<u64> {
    let is_whole = number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number);
    is_whole.then_some(number as u64)
}

/// Fields of LiteLLM's tables that are there and empty.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_on) => !is_on,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        Value::Number(_) => false,
    }
}

/// What kind of value it is. Never the value: it may be a secret.
fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a switch",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
