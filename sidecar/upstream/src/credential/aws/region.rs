//! Under which domain a region's services are.
//!
//! Source: the table of partitions that AWS's SDKs share (`sdk-partitions.json`: `regionRegex` and `dnsSuffix`).

/// Regions by how they begin, those with a longer beginning first. All others are under `amazonaws.com`.
const DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
];

/// The domain of a region's services: those are at `https://{service}.{region}.{domain}`. An error if the text is no region's
/// name, so that it cannot lead a URL elsewhere.
pub fn domain(region: &str) -> Result<&'static str, &'static str> {
    let fits = region.contains('-') && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let domain =
        DOMAINS.iter().find(|(begin, _)| region.starts_with(begin)).map_or("amazonaws.com", |(_, domain)| domain);
    fits.then_some(domain).ok_or("is not a region of AWS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_domain() {
        for (region, expected) in [
            ("eu-west-1", "amazonaws.com"),
            ("us-gov-east-1", "amazonaws.com"),
            ("cn-northwest-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("us-isof-south-1", "csp.hci.ic.gov"),
            ("eu-isoe-west-1", "cloud.adc-e.uk"),
        ] {
            assert_eq!(domain(region), Ok(expected), "{region}");
        }
        for wrong in ["", "europe", "a-b/c", "a-b.c", "x@y-z", "eu-west-1#"] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
    }
}
