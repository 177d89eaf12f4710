//! What is taken off a price.

use std::{fmt, str::FromStr};

use vectoll_config::Price;

/// Parts of a whole: two digits after the point of a percentage.
const WHOLE: u64 = 10_000;
const DIGITS: usize = 2;

/// A discount, in hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Discount(u16);

/// Why a text is no discount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscountError {
    /// Not digits with at most one point between them.
    #[error(
        "\"{0}\" is not a percentage: write digits from 0 to 100 with at most two after the point, for example \"12.5\""
    )]
    NotAPercentage(String),
    /// Not in front of an equals sign: a provider, and behind it: a percentage.
    #[error("\"{0}\" is not a provider's discount: write PROVIDER=PERCENT, for example openAI=12.5")]
    NotOfAVendor(String),
    /// Nobody who has list prices.
    #[error("\"{0}\" is not a provider with list prices: use one of {names}", names = Vendor::names())]
    UnknownVendor(String),
}

impl Discount {
    /// The price less the discount, rounded up to a whole pico-USD a token, the smallest amount there is: never less than what is owed, and
    /// less than one pico-USD a token more, which is a millionth of a dollar for a million tokens.
    pub fn off(self, price: Price) -> Price {
        let Self(taken) = self;
        let left = u128::from(WHOLE.saturating_sub(u64::from(taken)));
        let exact = u128::from(price.of(1).pico()) * left;
        // At most what the price was, which fits.
        Price::new(u64::try_from(exact.div_ceil(u128::from(WHOLE))).unwrap_or(u64::MAX))
    }
}

impl FromStr for Discount {
    type Err = DiscountError;
    fn from_str(text: &str) -> Result<Self, DiscountError> {
        let wrong = || DiscountError::NotAPercentage(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_decimal = !whole.is_empty() && all_digits(whole) && all_digits(fraction) && !text.ends_with('.');
        if !is_decimal || fraction.len() > DIGITS {
            return Err(wrong());
        }
        let taken: u16 = format!("{whole}{fraction:0<DIGITS$}").parse().map_err(|_| wrong())?;
        if u64::from(taken) <= WHOLE { Ok(Self(taken)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Discount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(taken) = self;
        let (whole, fraction) = (taken / 100, taken % 100);
        match fraction {
            0 => write!(f, "{whole}"),
            tenths if tenths % 10 == 0 => write!(f, "{whole}.{}", tenths / 10),
            hundredths => write!(f, "{whole}.{hundredths:02}"),
        }
    }
}

/// A provider that has list prices, by the name of a backend's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vendor {
    /// `openAI`, at its own address: anybody may speak its API.
    OpenAi,
    /// `azureOpenAI`
    AzureOpenAi,
    /// `bedrock`
    Bedrock,
    /// `cohere`
    Cohere,
    /// `databricks`
    Databricks,
    /// `gemini`
    Gemini,
    /// `jina`
    Jina,
    /// `mistral`
    Mistral,
    /// `vertexAI`
    VertexAi,
    /// `voyage`
    Voyage,
    /// `watsonx`
    Watsonx,
}

impl Vendor {
    const ALL: [(&'static str, Self); 11] = [
        ("openAI", Self::OpenAi),
        ("azureOpenAI", Self::AzureOpenAi),
        ("bedrock", Self::Bedrock),
        ("cohere", Self::Cohere),
        ("databricks", Self::Databricks),
        ("gemini", Self::Gemini),
        ("jina", Self::Jina),
        ("mistral", Self::Mistral),
        ("vertexAI", Self::VertexAi),
        ("voyage", Self::Voyage),
        ("watsonx", Self::Watsonx),
    ];

    fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }
}

/// What one provider takes off its list prices: `openAI=12.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorDiscount {
    /// The provider.
    pub vendor: Vendor,
    /// What it takes off.
    pub discount: Discount,
}

impl FromStr for VendorDiscount {
    type Err = DiscountError;
    fn from_str(text: &str) -> Result<Self, DiscountError> {
        let (name, percent) = text.split_once('=').ok_or_else(|| DiscountError::NotOfAVendor(text.to_owned()))?;
        let found = Vendor::ALL.into_iter().find(|(known, _)| *known == name);
        let (_, vendor) = found.ok_or_else(|| DiscountError::UnknownVendor(name.to_owned()))?;
        Ok(Self { vendor, discount: percent.parse()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn off(percent: &str, price: &str) -> String {
        percent.parse::<Discount>().unwrap().off(price.parse().unwrap()).to_string()
    }

    #[test]
    fn a_discount_is_taken_off_exactly_where_it_can_be() {
        assert_eq!(off("10", "0.02"), "0.018");
        assert_eq!(off("12.5", "0.13"), "0.11375");
        assert_eq!(off("0", "0.13"), "0.13");
        assert_eq!(off("100", "0.13"), "0.00");
        assert_eq!(off("0.01", "1"), "0.9999");
    }

    #[test]
    fn what_is_no_whole_pico_usd_is_rounded_up() {
        // 0.000003 a million tokens is three pico-USD a token: a tenth less is 2.7.
        assert_eq!(off("10", "0.000003"), "0.000003");
        assert_eq!(off("34", "0.000003"), "0.000002");
        assert_eq!(off("99.99", "0.000001"), "0.000001", "nothing becomes free by rounding");
    }

    #[test]
    fn what_is_no_percentage_is_refused() {
        for text in ["", "-1", "100.01", "101", "12.345", "1e1", "12,5", ".5", "5.", "ten", "70000"] {
            assert!(matches!(text.parse::<Discount>(), Err(DiscountError::NotAPercentage(_))), "{text}");
        }
        for text in ["0", "5", "12.5", "12.05", "99.99", "100"] {
            assert_eq!(text.parse::<Discount>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_provider_is_named_as_in_a_backend() {
        let read = |text: &str| text.parse::<VendorDiscount>();
        let known = VendorDiscount { vendor: Vendor::AzureOpenAi, discount: "7.5".parse().unwrap() };
        assert_eq!(read("azureOpenAI=7.5"), Ok(known));
        assert!(matches!(read("azureOpenAI"), Err(DiscountError::NotOfAVendor(_))));
        assert!(matches!(read("azureOpenAI=x"), Err(DiscountError::NotAPercentage(_))));
        let error = read("ollama=5").unwrap_err().to_string();
        assert!(
            error.starts_with("\"ollama\" is not a provider with list prices: use one of openAI, azureOpenAI, "),
            "{error}"
        );
        // As backends have them.
        assert!(
            Vendor::ALL
                .iter()
                .all(|(name, _)| vectoll_crds::Backend::PROVIDERS.split(", ").any(|known| known == *name))
        );
    }

    proptest! {
        /// By whole numbers that hold every product.
        #[test]
        fn never_less_than_what_is_owed_and_less_than_one_more(pico: u64, taken in 0u16..=10_000) {
            let discount = Discount(taken);
            let charged = u128::from(discount.off(Price::new(pico)).of(1).pico());
            let owed = u128::from(pico) * u128::from(10_000 - taken);
            prop_assert!(charged * 10_000 >= owed && charged * 10_000 < owed + 10_000, "{charged}");
            prop_assert!(charged <= u128::from(pico));
        }
    }
}
