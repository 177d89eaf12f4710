//! How far back something is looked for, as `kubectl logs --since` has it.

use std::{fmt, str::FromStr, time::Duration};

/// A stretch of time until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since(pub(super) Duration);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            _ if seconds > 0 && seconds.is_multiple_of(3_600) => write!(f, "{}h", seconds / 3_600),
            _ if seconds > 0 && seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // An empty text is none.
        let text = Some(text).filter(|text| !text.is_empty());
        let read = text.and_then(|text| text.parse::<kube::core::Duration>().ok());
        let read = read.filter(|duration| !duration.is_negative());
        read.map(|duration| Self(Duration::from(duration))).ok_or("must be a duration, as in 90s, 15m or 24h")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_stretch_is_written_as_it_is_read() {
        for text in ["0s", "90s", "15m", "24h"] {
            assert_eq!(text.parse::<Since>().unwrap().to_string(), text);
        }
        assert_eq!("1h30m".parse::<Since>().unwrap().to_string(), "90m");
        for other in ["", "5", "-1h", "a day"] {
            assert!(other.parse::<Since>().is_err(), "{other}");
        }
    }
}
