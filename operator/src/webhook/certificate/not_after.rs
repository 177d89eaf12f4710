//! When a certificate ends, read from its DER (RFC 5280, 4.1): for people who watch it, and for how long a
//! gateway's CA lasts. What is to be done about a serving certificate is judged without this.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notAfter`; none: it cannot be read.
pub fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        (_, fields) = any(fields)?;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        (_, fields) = any(fields)?;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_not_before, end) = any(validity)?;
    let (text, _) = any(end)?;
    moment(*end.first()?, std::str::from_utf8(text).ok()?)
}

/// The content of an element of this type, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    (bytes.first() == Some(&tag)).then(|| any(bytes)).flatten()
}

/// The content of an element, and what follows it.
fn any(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.get(1..)?.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        // No certificate has a length of more digits.
        (digits.len() <= 4).then_some(())?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    rest.split_at_checked(length)
}

/// A time as certificates have it, always in UTC.
fn moment(tag: u8, text: &str) -> Option<Timestamp> {
    let full = match tag {
        // Two digits of a year: from 1950 on.
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", full).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_is_read_in_both_forms() {
        for (year, expected) in
            [(2027, "2027-03-09T00:00:00Z"), (2049, "2049-03-09T00:00:00Z"), (2061, "2061-03-09T00:00:00Z")]
        {
            let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 3, 9);
            let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(not_after(made.der()), Some(expected.parse().unwrap()));
        }
        assert_eq!(moment(UTC_TIME, "700101000000Z"), Some(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let made = CertificateParams::new(Vec::new()).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap();
        for length in 0..120 {
            assert_eq!(not_after(&made.der()[..length]), None, "{length} bytes");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(moment(GENERALIZED_TIME, "20270399000000Z"), None);
    }
}
