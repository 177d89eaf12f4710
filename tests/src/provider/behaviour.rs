//! What a provider does with a valid call, chosen by the model's name.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

/// What happens to one valid call. "Charged" is what the account says afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// A correct answer; charged. Every name that does not begin with `fault-`.
    Answer,
    /// `fault-400`: refused; not charged.
    BadRequest,
    /// `fault-401`: refused with an echo of the credential, though it is right; not charged.
    Unauthorized,
    /// `fault-404`: no such model; not charged.
    NotFound,
    /// `fault-429`: refused with `Retry-After: 7`; not charged.
    RateLimited,
    /// `fault-500`; not charged.
    ServerError,
    /// `fault-502`: a gateway's HTML page; not charged.
    BadGateway,
    /// `fault-503`; not charged.
    Unavailable,
    /// `fault-hang`: the request is read and never answered; not charged.
    Hang,
    /// `fault-reset`: the request is read and the connection reset (h2: the stream); not charged.
    Reset,
    /// `fault-cut`: headers with content-length, half of the body, end of connection; not charged.
    Cut,
    /// `fault-cut-large`: the same with a content-length over 1 MiB, cut after 600,000 bytes; not charged.
    CutLarge,
    /// `fault-garbage`: 200 with an HTML page; not charged.
    Garbage,
    /// `fault-truncated-json`: 200, half of the JSON with the content-length of that half; not charged.
    TruncatedJson,
    /// `fault-no-usage`: a correct answer without `usage`; charged by its own count.
    NoUsage,
    /// `fault-usage-first`: `usage` before `data`, as llama.cpp does; charged.
    UsageFirst,
    /// `fault-overrun`: reports and charges ten times the tokens.
    Overrun,
    /// `fault-slow-MS`: waits before the answer; charged when it answers, so not if the client has left by then.
    Slow(Duration),
    /// `fault-slow-body-MS`: headers at once, the body after the wait; charged with the headers.
    SlowBody(Duration),
    /// `fault-other-encoding`: a right answer in the encoding that was not asked for; charged.
    OtherEncoding,
    /// `fault-full-dimensions`: a right answer that ignores `dimensions`; charged.
    FullDimensions,
    /// `fault-few`: one vector too few; charged.
    Few,
    /// `fault-redirect`: 307 to `/stolen` here, where a call is a violation; not charged.
    Redirect,
}

/// What a model's name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// The same for every call.
    Always(Behaviour),
    /// `fault-mix`: calls take turns through [`Behaviour::MIX`].
    Mix,
}

/// A model name that begins with `fault-` and is none of the known ones: a misspelt fault must not pass as a success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault named {0:?}")]
pub struct UnknownFault(String);

impl Behaviour {
    /// The turns of `fault-mix`.
    pub const MIX: [Self; 8] = [
        Self::Answer,
        Self::BadRequest,
        Self::RateLimited,
        Self::ServerError,
        Self::Reset,
        Self::Cut,
        Self::Hang,
        Self::SlowBody(Duration::from_millis(50)),
    ];

    pub(super) fn mixed(turn: usize) -> Self {
        Self::MIX.iter().copied().cycle().nth(turn % Self::MIX.len()).unwrap_or(Self::Answer)
    }
}

impl FromStr for Plan {
    type Err = UnknownFault;

    fn from_str(model: &str) -> Result<Self, UnknownFault> {
        let Some(fault) = model.strip_prefix("fault-") else {
            return Ok(Self::Always(Behaviour::Answer));
        };
        let unknown = || UnknownFault(model.to_owned());
        let behaviour = match fault {
            "mix" => return Ok(Self::Mix),
            "400" => Behaviour::BadRequest,
            "401" => Behaviour::Unauthorized,
            "404" => Behaviour::NotFound,
            "429" => Behaviour::RateLimited,
            "500" => Behaviour::ServerError,
            "502" => Behaviour::BadGateway,
            "503" => Behaviour::Unavailable,
            "hang" => Behaviour::Hang,
            "reset" => Behaviour::Reset,
            "cut" => Behaviour::Cut,
            "cut-large" => Behaviour::CutLarge,
            "garbage" => Behaviour::Garbage,
            "truncated-json" => Behaviour::TruncatedJson,
            "no-usage" => Behaviour::NoUsage,
            "usage-first" => Behaviour::UsageFirst,
            "overrun" => Behaviour::Overrun,
            "other-encoding" => Behaviour::OtherEncoding,
            "full-dimensions" => Behaviour::FullDimensions,
            "few" => Behaviour::Few,
            "redirect" => Behaviour::Redirect,
            other => match (other.strip_prefix("slow-body-"), other.strip_prefix("slow-")) {
                (Some(wait), _) => Behaviour::SlowBody(millis(wait).ok_or_else(unknown)?),
                (None, Some(wait)) => Behaviour::Slow(millis(wait).ok_or_else(unknown)?),
                (None, None) => return Err(unknown()),
            },
        };
        Ok(Self::Always(behaviour))
    }
}

fn millis(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}

impl Display for Behaviour {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Answer => "ok",
            Self::BadRequest => "fault-400",
            Self::Unauthorized => "fault-401",
            Self::NotFound => "fault-404",
            Self::RateLimited => "fault-429",
            Self::ServerError => "fault-500",
            Self::BadGateway => "fault-502",
            Self::Unavailable => "fault-503",
            Self::Hang => "fault-hang",
            Self::Reset => "fault-reset",
            Self::Cut => "fault-cut",
            Self::CutLarge => "fault-cut-large",
            Self::Garbage => "fault-garbage",
            Self::TruncatedJson => "fault-truncated-json",
            Self::NoUsage => "fault-no-usage",
            Self::UsageFirst => "fault-usage-first",
            Self::Overrun => "fault-overrun",
            Self::Slow(wait) => return write!(out, "fault-slow-{}", wait.as_millis()),
            Self::SlowBody(wait) => return write!(out, "fault-slow-body-{}", wait.as_millis()),
            Self::OtherEncoding => "fault-other-encoding",
            Self::FullDimensions => "fault-full-dimensions",
            Self::Few => "fault-few",
            Self::Redirect => "fault-redirect",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_behaviour_is_named_as_it_is_parsed() {
        let names = "400 401 404 429 500 502 503 hang reset cut cut-large garbage truncated-json no-usage usage-first \
                     overrun slow-250 slow-body-50 full-dimensions few redirect";
        for fault in names.split_whitespace() {
            let name = format!("fault-{fault}");
            let Ok(Plan::Always(behaviour)) = name.parse() else { panic!("{name} is not parsed") };
            assert_eq!(behaviour.to_string(), name);
        }
    }

    #[test]
    fn misspelt_fault_is_an_error() {
        for name in ["fault-", "fault-resett", "fault-slow-", "fault-slow-x", "fault-slow-body-", "fault-slow-body-x"] {
            assert!(name.parse::<Plan>().is_err(), "{name}");
        }
    }

    #[test]
    fn mix_takes_turns() {
        let turns: Vec<_> = (0..10).map(Behaviour::mixed).collect();
        assert_eq!(turns[..8], Behaviour::MIX);
        assert_eq!(turns[8..], Behaviour::MIX[..2]);
    }
}
