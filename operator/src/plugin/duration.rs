//! How long until something, as kubectl writes ages.

use jiff::Timestamp;

/// As in 45s, 12m, 5h, 3d4h or 40d; nothing left: `now`.
pub(super) fn until(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..1 => "now".to_owned(),
        1..120 => format!("{seconds}s"),
        120..10_800 => format!("{minutes}m"),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// How long ago something was.
pub(super) fn since(at: Timestamp, now: Timestamp) -> String {
    let until = until(now, at);
    // What is just over is no second old.
    if until == "now" { "0s".to_owned() } else { until }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn the_nearer_the_finer() {
        let now = Timestamp::UNIX_EPOCH;
        for (seconds, text) in
            [(-5, "now"), (0, "now"), (45, "45s"), (125, "2m"), (3 * 3600, "3h"), (200_000, "2d7h"), (3_000_000, "34d")]
        {
            assert_eq!(until(now + SignedDuration::from_secs(seconds), now), text);
        }
    }
}
