//! The amounts that a sidecar can have, and what its calls may hold of its memory.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use super::quantity::Amount;

/// What a sidecar takes besides what its calls hold: the program, the config, a tokenizer, the built-in model.
const BASE_MEMORY: u64 = 40 << 20;
/// Each byte that calls hold is there up to so many times: as it came, as it is sent on, and in the allocator's hands.
const COPIES: u64 = 3;
/// The least limit on memory. With less than the 8 MiB that it leaves to calls, one large call at a time would be all.
const MIN_MEMORY: Amount = Amount::units(64 << 20);

/// What a sidecar's calls may hold (`VECTOLL_MAX_HELD_BYTES`) under a limit on its memory: 72 MiB of 256 MiB. That this leaves an
/// eighth of the limit free under load is measured by `tests/tests/connections.rs`.
pub fn max_held_bytes(memory_limit: u64) -> u64 {
    memory_limit.saturating_sub(BASE_MEMORY) / COPIES
}

/// What calls may hold with these resources; none: nothing bounds the sidecar's memory.
pub(super) fn held_bytes_of(resources: &ResourceRequirements) -> Option<u64> {
    let limit = Amount::parse(&resources.limits.as_ref()?.get("memory")?.0)?;
    Some(max_held_bytes(limit.whole()))
}

/// What is wrong with a limit on memory.
pub(super) fn memory_fault(limits: &BTreeMap<String, Quantity>) -> Option<String> {
    checked("memory", "limit", &limits.get("memory")?.0).err()
}

/// An amount that a sidecar can have.
pub(super) fn checked(resource: &str, what: &str, text: &str) -> Result<Amount, String> {
    let example = if resource == "cpu" { "100m or 0.5" } else { "128Mi or 1Gi" };
    let amount = Amount::parse(text)
        .ok_or_else(|| format!("{text:?} is not a quantity of Kubernetes: write one such as {example}"))?;
    if what == "limit" && amount == Amount::units(0) {
        return Err(format!("{text:?} leaves the sidecar nothing: write a quantity such as {example}"));
    }
    if what == "limit" && resource == "memory" && amount < MIN_MEMORY {
        return Err(format!("{text:?} is too little for a sidecar: at least 64Mi"));
    }
    Ok(amount)
}
