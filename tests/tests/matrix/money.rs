//! What was booked, in tokens and pico-USD.

use vectoll_tests::pair::metrics::Metrics;

const FAMILIES: [&str; 4] = ["key", "team", "user", "model"];

/// What a sidecar has booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    pub tokens: u64,
    pub pico: u64,
    pub unsettled: u64,
    pub estimated: u64,
}

impl Booked {
    /// As the metrics say, which must say the same by key, team, user and model, and that nothing is reserved.
    pub fn read(metrics: &Metrics) -> Self {
        let count = |name: &str| metrics.sum(name, &[]) as u64;
        let pico =
            |name: &str| -> u64 { metrics.samples(name, &[]).map(|sample| (sample.value * 1e12).round() as u64).sum() };
        let of = |family: &str| Self {
            tokens: count(&format!("vectoll_{family}_tokens_total")),
            pico: pico(&format!("vectoll_{family}_spend_usd_total")),
            unsettled: count("vectoll_unsettled_tokens_total"),
            estimated: count("vectoll_estimated_tokens_total"),
        };
        let booked = of("key");
        for family in FAMILIES {
            assert_eq!(of(family), booked, "by {family}");
        }
        for name in ["vectoll_reservations", "vectoll_reserved_tokens", "vectoll_reserved_spend_usd"] {
            assert_eq!(metrics.value(name, &[]), Some(0.0), "{name}");
        }
        booked
    }

    /// What came since.
    pub fn since(self, before: Self) -> Self {
        Self {
            tokens: self.tokens - before.tokens,
            pico: self.pico - before.pico,
            unsettled: self.unsettled - before.unsettled,
            estimated: self.estimated - before.estimated,
        }
    }
}

/// US dollars in decimal as pico-USD.
pub fn pico(usd: &str) -> u64 {
    let (whole, part) = usd.split_once('.').unwrap_or((usd, ""));
    assert!(part.len() <= 12, "{usd}");
    format!("{whole}{part:0<12}").parse().unwrap()
}
