//! Tags of calls whose spend has a metric of its own: the same rules for a Team's and a route's.

use super::Faults;

/// The most tags, and the longest of them in characters. The sidecar reads no longer ones.
const MOST: usize = 128;
const LONGEST: usize = 128;

/// `spec.tags`, as it is.
pub(super) fn valid_tags(tags: &[String], faults: &mut Faults) -> Vec<String> {
    for (i, tag) in tags.iter().enumerate() {
        if !(1..=LONGEST).contains(&tag.chars().count()) {
            faults.add(format!("spec.tags[{i}]"), format!("must have 1 to {LONGEST} characters"));
        }
    }
    if tags.len() > MOST {
        faults.add("spec.tags", format!("has more than {MOST} entries"));
    }
    tags.to_vec()
}
