//! What a file of the contract begins and ends with.

use serde::{Deserialize, Serialize};

/// `true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "bool", into = "bool")]
pub struct Complete;

impl TryFrom<bool> for Complete {
    type Error = &'static str;
    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("must be true: the file was not finished") }
    }
}

impl From<Complete> for bool {
    fn from(_: Complete) -> Self {
        true
    }
}

/// The version tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// This version.
    #[serde(rename = "v1")]
    V1,
}
