//! Buckets that several histograms have.

/// Buckets for whole calls, in seconds: from what the built-in model takes to what a provider takes.
pub(super) const CALL_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
