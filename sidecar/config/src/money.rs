//! Money as whole pico-USD. No float ever holds money.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Digits after the point of a US-dollar amount: one unit is 10⁻¹² USD.
const DIGITS: usize = 12;
/// Digits after the point of a price per million tokens: with six, one token costs whole pico-USD.
const PRICE_DIGITS: usize = 6;

/// An amount of money in pico-USD (10⁻¹² USD). Holds up to about 18 million USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PicoUsd(u64);

impl PicoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of so many pico-USD.
    pub const fn new(pico: u64) -> Self {
        Self(pico)
    }

    /// The amount in pico-USD.
    pub const fn pico(self) -> u64 {
        self.0
    }

    /// The sum; stops at the largest amount instead of wrapping.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference; stops at zero.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// US dollars as the nearest float: for showing (Prometheus knows only floats), never for reckoning. Below 2⁵¹
    /// pico-USD (about 2,250 USD) times 10¹² it rounds back to the very amount.
    #[allow(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
    pub fn as_usd_for_display(self) -> f64 {
        // One division of two exactly rounded numbers gives the float nearest to the amount.
        self.0 as f64 / 1e12
    }
}

/// The price of one input token in pico-USD, written in YAML as US dollars per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Price {
    pico_per_token: u64,
}

impl Price {
    /// So many pico-USD a token.
    pub const fn new(pico_per_token: u64) -> Self {
        Self { pico_per_token }
    }

    /// What so many tokens cost; stops at the largest amount.
    pub const fn of(self, tokens: u64) -> PicoUsd {
        PicoUsd(self.pico_per_token.saturating_mul(tokens))
    }
}

/// Why a string is not an amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not digits with at most one point between them.
    #[error("\"{0}\" is not a decimal amount: write digits with a point, for example \"25.00\"")]
    NotDecimal(String),
    /// More digits after the point than one unit has.
    #[error("\"{text}\" has more than {most} digits after the point")]
    TooFine {
        /// What was written.
        text: String,
        /// The most digits allowed.
        most: usize,
    },
    /// More than the type holds.
    #[error("\"{0}\" is too large")]
    TooLarge(String),
}

/// The number written in `text`, times 10^digits.
fn scaled(text: &str, digits: usize) -> Result<u64, MoneyError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || text.ends_with('.') {
        return Err(MoneyError::NotDecimal(text.to_owned()));
    }
    if fraction.len() > digits {
        return Err(MoneyError::TooFine { text: text.to_owned(), most: digits });
    }
    format!("{whole}{fraction:0<digits$}").parse().map_err(|_| MoneyError::TooLarge(text.to_owned()))
}

/// The inverse of [`scaled`]: at least two digits after the point, no further trailing zeros. It stands in every answer's
/// headers, so it is written without a detour over the heap.
fn write_scaled(f: &mut fmt::Formatter<'_>, value: u64, digits: usize) -> fmt::Result {
    // u64::MAX has 20 digits; with a point that is 21 characters.
    let mut text = [b'0'; 24];
    let mut end = text.len();
    let mut start = end;
    let mut rest = value;
    let mut written = 0;
    while written <= digits || rest > 0 {
        if written == digits {
            start -= 1;
            if let Some(place) = text.get_mut(start) {
                *place = b'.';
            }
        }
        start -= 1;
        let digit = u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if let Some(place) = text.get_mut(start) {
            *place = b'0' + digit;
        }
        written += 1;
        // Zeros at the end say nothing, but for the cents.
        if digit == 0 && start + 1 == end && written <= digits - 2 {
            end = start;
        }
    }
    f.write_str(text.get(start..end).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default())
}

impl FromStr for PicoUsd {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        scaled(text, DIGITS).map(Self)
    }
}

impl fmt::Display for PicoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, DIGITS)
    }
}

impl FromStr for Price {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        scaled(text, PRICE_DIGITS).map(|pico_per_token| Self { pico_per_token })
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.pico_per_token, PRICE_DIGITS)
    }
}

macro_rules! by_string {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = MoneyError;
            fn try_from(text: String) -> Result<Self, MoneyError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}
by_string!(PicoUsd);
by_string!(Price);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dollars_become_pico_usd() {
        for (text, pico) in [("25.00", 25_000_000_000_000), ("0", 0), ("0.000000000001", 1), ("7", 7_000_000_000_000)] {
            assert_eq!(text.parse(), Ok(PicoUsd::new(pico)), "{text}");
        }
    }

    #[test]
    fn a_price_per_million_is_whole_pico_usd_a_token() {
        let price: Price = "0.02".parse().unwrap();
        assert_eq!(price.of(1), PicoUsd::new(20_000));
        assert_eq!(price.of(1_000_000).to_string(), "0.02");
        assert_eq!("0.000001".parse::<Price>().unwrap().of(1), PicoUsd::new(1));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "1.2.3", " 1", "NaN", "1_000", "٣"] {
            assert!(matches!(text.parse::<PicoUsd>(), Err(MoneyError::NotDecimal(_))), "{text}");
        }
        assert!(matches!("0.0000000000001".parse::<PicoUsd>(), Err(MoneyError::TooFine { .. })));
        assert!(matches!("0.0000001".parse::<Price>(), Err(MoneyError::TooFine { .. })));
        assert!(matches!("99999999".parse::<PicoUsd>(), Err(MoneyError::TooLarge(_))));
    }

    #[test]
    fn sums_never_wrap() {
        assert_eq!(PicoUsd::new(u64::MAX).plus(PicoUsd::new(1)), PicoUsd::new(u64::MAX));
        assert_eq!(PicoUsd::ZERO.minus(PicoUsd::new(1)), PicoUsd::ZERO);
    }

    #[test]
    fn amounts_are_written_with_cents_and_without_idle_zeros() {
        for (pico, text) in [
            (0, "0.00"),
            (1, "0.000000000001"),
            (180_000, "0.00000018"),
            (25_000_000_000_000, "25.00"),
            (500_000_000_000, "0.50"),
            (10_000_000_000, "0.01"),
            (u64::MAX, "18446744.073709551615"),
        ] {
            assert_eq!(PicoUsd::new(pico).to_string(), text);
        }
        assert_eq!(Price { pico_per_token: 20_000 }.to_string(), "0.02");
    }

    proptest! {
        #[test]
        fn written_amounts_read_back(pico: u64) {
            prop_assert_eq!(PicoUsd::new(pico).to_string().parse(), Ok(PicoUsd::new(pico)));
            let price = Price { pico_per_token: pico };
            prop_assert_eq!(price.to_string().parse(), Ok(price));
        }

        #[test]
        fn the_float_shown_rounds_back_to_the_amount(pico in 0u64..1 << 51) {
            let shown = PicoUsd::new(pico).as_usd_for_display();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range by construction")]
            let back = (shown * 1e12).round() as u64;
            prop_assert_eq!(back, pico);
        }
    }
}
