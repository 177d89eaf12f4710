//! Quantities as Kubernetes writes them, compared as integers.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use std::cmp::Ordering;

/// An amount in billionths (n) of a unit: the smallest that the notation knows. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount(u128);

impl Amount {
    /// Whole units: cores, or bytes.
    pub(super) const fn units(units: u64) -> Self {
        Self(units as u128 * NANOS)
    }

    /// Whole units, rounded down.
    pub(super) fn whole(self) -> u64 {
        u64::try_from(self.0 / NANOS).unwrap_or(u64::MAX)
    }

    /// Reads `500m`, `64Mi`, `0.5` or `1e3`. None: it is not a quantity, is negative, or is beyond what anybody has.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = text.bytes().position(|byte| !(byte.is_ascii_digit() || byte == b'.')).unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(end)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > MAX_DIGITS {
            return None;
        }
        let (multiplier, power) = scale(suffix)?;
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        // Nanos are 10⁹; the fraction takes its digits back.
        let exponent = 9 + power - i32::try_from(fraction.len()).ok()?;
        let amount = digits.checked_mul(multiplier)?;
        let ten = 10_u128.checked_pow(exponent.unsigned_abs())?;
        match exponent.cmp(&0) {
            // Rounded up, as Kubernetes does.
            Ordering::Less => Some(Self(amount.div_ceil(ten))),
            Ordering::Equal | Ordering::Greater => amount.checked_mul(ten).map(Self),
        }
    }
}

const NANOS: u128 = 1_000_000_000;
/// More than any amount of bytes has.
const MAX_DIGITS: usize = 20;

/// A suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Option<(u128, i32)> {
    let decimal = |power| Some((1, power));
    let binary = |power: u32| Some((1024_u128.pow(power), 0));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-18..=18).contains(&power).then_some((1, power))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn amounts_are_compared_across_notations() {
        for (one, other) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1E3", "1k"),
            ("12E-1", "1200m"),
            ("1000000000n", "1"),
            ("1000u", "1m"),
            ("0", "0Mi"),
            ("0.1n", "1n"),
        ] {
            assert_eq!(Amount::parse(one).unwrap(), Amount::parse(other).unwrap(), "{one} {other}");
        }
        assert!(Amount::parse("1M") < Amount::parse("1Mi"));
        assert!(Amount::parse("1E") < Amount::parse("1Ei"));
        assert_eq!(Amount::parse("64Mi"), Some(Amount::units(64 << 20)));
        assert_eq!(Amount::parse("1500m").unwrap().whole(), 1);
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in
            ["", "m", "Mi", "-1", "+1", "1 Mi", "1mb", "256MB", "1.2.3", ".", "1e", "1e99", "0x10", "1Mi ", "９", "1K"]
        {
            assert_eq!(Amount::parse(text), None, "{text:?}");
        }
        assert_eq!(Amount::parse(&"9".repeat(40)), None);
    }
}
