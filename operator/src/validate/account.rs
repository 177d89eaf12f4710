//! The account that a resource carries on after it was restored.

use vectoll_config::Uid;

use super::FieldErrors;
use crate::observed_state::{ACCOUNT, Object};

/// The account of a resource, as far as itself can tell: that nobody else has it is for resolution to see.
pub(super) fn account<S>(object: &Object<S>, errors: &mut FieldErrors) -> Uid {
    let Some(account) = &object.account else { return object.uid.clone() };
    if !is_uid(account.as_str()) {
        errors.add(path(), "is not a UID, as in metadata.uid: 36 lower-case hexadecimal digits and dashes");
    }
    account.clone()
}

/// Where the account is named.
pub(crate) fn path() -> String {
    format!("metadata.annotations[{ACCOUNT}]")
}

/// Whether a text has the form of the UIDs that Kubernetes gives (RFC 9562).
fn is_uid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::is_uid;

    #[test]
    fn only_what_can_be_a_uid_is_one() {
        assert!(is_uid("0b9f3c6e-8f4d-4a53-9c56-0f6f7a2f0d11"));
        for bad in [
            "",
            "t",
            "0B9F3C6E-8F4D-4A53-9C56-0F6F7A2F0D11",
            "0b9f3c6e-8f4d-4a53-9c56-0f6f7a2f0d1}",
            "0b9f3c6e08f4d04a5309c5600f6f7a2f0d11",
        ] {
            assert!(!is_uid(bad), "{bad}");
        }
    }
}
