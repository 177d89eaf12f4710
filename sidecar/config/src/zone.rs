//! Time zones by IANA name.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize};

/// The name of a time zone that exists, with its rules at hand.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName {
    name: String,
    zone: jiff::tz::TimeZone,
}

impl ZoneName {
    /// The zone's rules.
    pub fn zone(&self) -> &jiff::tz::TimeZone {
        &self.zone
    }
}

/// The rules follow from the name. They are not compared: budgets ask for this on every call.
impl PartialEq for ZoneName {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ZoneName {}

impl Hash for ZoneName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// No such time zone.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not an IANA time zone: write for example \"Europe/Berlin\" or \"UTC\"")]
pub struct ZoneError(String);

impl TryFrom<String> for ZoneName {
    type Error = ZoneError;
    fn try_from(name: String) -> Result<Self, ZoneError> {
        match jiff::tz::TimeZone::get(&name) {
            Ok(zone) => Ok(Self { name, zone }),
            Err(_) => Err(ZoneError(name)),
        }
    }
}

impl From<ZoneName> for String {
    fn from(zone: ZoneName) -> Self {
        zone.name
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
