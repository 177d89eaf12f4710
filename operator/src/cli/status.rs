//! Settings of what the operator writes into statuses.

use anyhow::ensure;
use clap::Args;
use jiff::SignedDuration;

use crate::cluster::spend::SpendWrites;

/// The shortest interval: the store is not asked much more often.
const MIN_SPEND_INTERVAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest: spend that is older would tell nobody anything.
const MAX_SPEND_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// How often what was spent is written into statuses.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Status")]
pub struct StatusOptions {
    /// How long a change of what was spent may wait before it is written into a status, as in 60s; off: it is written into none
    #[arg(long, env = "VECTOLL_STATUS_SPEND_INTERVAL", value_name = "DURATION", default_value = "60s")]
    pub status_spend_interval: String,

    /// From which part of the budget on, in percent, such a change is written within seconds
    #[arg(long, env = "VECTOLL_STATUS_SPEND_THRESHOLD_PERCENT", value_name = "PERCENT", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    pub status_spend_threshold_percent: u8,
}

impl StatusOptions {
    /// As they are used.
    pub(crate) fn spend_writes(&self) -> anyhow::Result<SpendWrites> {
        let Self { status_spend_interval: text, status_spend_threshold_percent: threshold_percent } = self;
        let interval = if matches!(&**text, "off" | "0" | "0s") { None } else { Some(interval(text)?) };
        Ok(SpendWrites { interval, threshold_percent: *threshold_percent })
    }
}

fn interval(text: &str) -> anyhow::Result<SignedDuration> {
    // A sign would be lost on the way.
    let unsigned = Some(text).filter(|text| !text.starts_with('-')).unwrap_or_default();
    let interval: kube::core::Duration = unsigned
        .parse()
        .map_err(|_| anyhow::anyhow!("--status-spend-interval {text:?} is neither a duration, as in 60s, nor off"))?;
    let interval = SignedDuration::try_from(std::time::Duration::from(interval))?;
    ensure!(
        (MIN_SPEND_INTERVAL..=MAX_SPEND_INTERVAL).contains(&interval),
        "--status-spend-interval {text:?} must be 10s to 24h, or off"
    );
    Ok(interval)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(interval: &str) -> Result<Option<SignedDuration>, String> {
        let options = StatusOptions { status_spend_interval: interval.to_owned(), status_spend_threshold_percent: 1 };
        options.spend_writes().map(|writes| writes.interval).map_err(|error| error.to_string())
    }

    #[test]
    fn an_interval_is_a_duration_within_bounds_or_off() {
        assert_eq!(read("60s"), Ok(SpendWrites::default().interval));
        assert_eq!(read("1h30m"), Ok(Some(SignedDuration::from_mins(90))));
        for off in ["off", "0", "0s"] {
            assert_eq!(read(off), Ok(None));
        }
        for bad in ["9s", "25h", "-60s", "often", ""] {
            assert!(read(bad).unwrap_err().contains("--status-spend-interval"), "{bad}");
        }
    }
}
