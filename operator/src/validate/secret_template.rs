//! Labels and annotations of the Secret that is generated for a key.

use vectoll_crds::SecretTemplate;

use super::{FieldErrors, is_subdomain};
use crate::key_secret::is_reserved;

/// The longest name behind a prefix, and the longest value of a label, in bytes.
const LONGEST: usize = 63;

/// Checks what the API server would refuse on the Secret: otherwise nobody would hear of it but the operator.
pub(super) fn check(template: &SecretTemplate, errors: &mut FieldErrors) {
    let SecretTemplate { labels, annotations } = template;
    for (field, map) in [("labels", labels), ("annotations", annotations)] {
        let at = format!("spec.secretTemplate.{field}");
        if map.len() > SecretTemplate::MAX_ENTRIES {
            errors.add(&*at, format_args!("must have at most {} entries", SecretTemplate::MAX_ENTRIES));
        }
        for name in map.keys() {
            if is_reserved(name) {
                errors.add(&*at, format_args!("{name:?} is the operator's own: choose another name"));
            } else if !is_qualified(name) {
                errors.add(
                    &*at,
                    format_args!(
                        "{name:?} is not a name: letters, digits, -, _ and ., at most {LONGEST} of them, with a domain and / before them if \
                         you like"
                    ),
                );
            }
        }
    }
    for (name, value) in labels {
        if !(value.is_empty() || is_word(value)) {
            let reason = format_args!(
                "{value:?} is not a label's value: letters, digits, -, _ and ., at most {LONGEST} of them, with a letter or a digit at \
                 both ends"
            );
            errors.add(format!("spec.secretTemplate.labels[{name}]"), reason);
        }
    }
    for (name, value) in annotations {
        if value.chars().count() > SecretTemplate::MAX_ANNOTATION {
            let reason = format_args!("must have at most {} characters", SecretTemplate::MAX_ANNOTATION);
            errors.add(format!("spec.secretTemplate.annotations[{name}]"), reason);
        }
    }
}

/// A name of a label or an annotation: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
fn is_qualified(name: &str) -> bool {
    name.split_once('/').map_or_else(|| is_word(name), |(prefix, name)| is_subdomain(prefix) && is_word(name))
}

fn is_word(text: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    (1..=LONGEST).contains(&text.len())
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
