//! A JSON object that is taken apart field by field, until nothing may be left.

use serde_json::{Map, Value};

use super::Refusal;
use crate::provider::strict_json;

pub(super) struct Fields(Map<String, Value>);

pub(super) type Read<T> = Result<T, Refusal>;

pub(super) fn wrong<T>(what: impl Into<String>) -> Read<T> {
    Err(Refusal::Wrong(what.into()))
}

impl Fields {
    /// A body.
    pub(super) fn read(body: &[u8]) -> Read<Self> {
        Self::of(strict_json::parse(body).map_err(|error| Refusal::Wrong(format!("not JSON: {error}")))?)
    }

    pub(super) fn of(value: Value) -> Read<Self> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                wrong(format!("{} is not an object", value.to_string().chars().take(80).collect::<String>()))
            }
        }
    }

    /// A field that must be there.
    pub(super) fn take(&mut self, name: &str) -> Read<Value> {
        self.0.remove(name).ok_or_else(|| Refusal::Wrong(format!("{name} is missing")))
    }

    /// One that need not.
    pub(super) fn maybe(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(super) fn object(&mut self, name: &str) -> Read<Self> {
        Self::of(self.take(name)?)
    }

    pub(super) fn objects(&mut self, name: &str) -> Read<Vec<Self>> {
        match self.take(name)?.as_array_mut() {
            Some(list) if !list.is_empty() => list.drain(..).map(Self::of).collect(),
            Some(_) | None => wrong(format!("{name} is no list of objects")),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Read<String> {
        let found = self.take(name)?;
        let text = found.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        text.ok_or_else(|| Refusal::Wrong(format!("{name} is no text: {found}")))
    }

    /// One text or more, none of them empty.
    pub(super) fn texts(&mut self, name: &str) -> Read<Vec<String>> {
        let value = self.take(name)?;
        let texts: Vec<String> =
            serde_json::from_value(value).map_err(|_| Refusal::Wrong(format!("{name}: no texts")))?;
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            return wrong(format!("{name} is empty, or one of it"));
        }
        Ok(texts)
    }

    /// A whole number above 0; absent, but not null.
    pub(super) fn number(&mut self, name: &str) -> Read<Option<usize>> {
        let Some(value) = self.maybe(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| *number > 0).and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| Refusal::Wrong(format!("{name} is {value}")))
    }

    /// A field with one value only.
    pub(super) fn is(&mut self, name: &str, wanted: impl Into<Value>) -> Read<()> {
        let (found, wanted) = (self.take(name)?, wanted.into());
        if found == wanted { Ok(()) } else { wrong(format!("{name} is {found}, not {wanted}")) }
    }

    /// What a caller may ask for beside the inputs: a field that need not be there, with one of these values; whatever text, if there are
    /// none. Those that are there are added to `found`.
    pub(super) fn extension(
        &mut self,
        name: &'static str,
        values: &[Value],
        found: &mut Vec<(&'static str, Value)>,
    ) -> Read<()> {
        let Some(value) = self.maybe(name) else { return Ok(()) };
        let is_right = if values.is_empty() { value.is_string() } else { values.contains(&value) };
        if !is_right {
            return wrong(format!("{name} is {value}"));
        }
        found.push((name, value));
        Ok(())
    }

    /// A field with one of some values, and what each means.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Read<T> {
        let found = self.text(name)?;
        let known = words.iter().find(|(word, _)| *word == found);
        known.map(|(_, meaning)| *meaning).ok_or_else(|| Refusal::Wrong(format!("{name} is {found}")))
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Read<()> {
        let names: Vec<_> = self.0.keys().cloned().collect();
        if names.is_empty() { Ok(()) } else { wrong(format!("unknown fields: {}", names.join(", "))) }
    }
}
