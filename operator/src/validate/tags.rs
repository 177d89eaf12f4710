//! Tags of calls whose spend has a metric of its own: the same rules for a Team's and a route's.

use super::FieldErrors;

/// The most tags, and the longest of them in characters. The sidecar reads no longer ones.
const MAX_TAGS: usize = 128;
const MAX_TAG_CHARS: usize = 128;

/// `spec.tags`, as it is.
pub(super) fn valid_tags(tags: &[String], errors: &mut FieldErrors) -> Vec<String> {
    for (i, tag) in tags.iter().enumerate() {
        if !(1..=MAX_TAG_CHARS).contains(&tag.chars().count()) {
            errors.add(format!("spec.tags[{i}]"), format!("must have 1 to {MAX_TAG_CHARS} characters"));
        }
    }
    if tags.len() > MAX_TAGS {
        errors.add("spec.tags", format!("has more than {MAX_TAGS} entries"));
    }
    tags.to_vec()
}
