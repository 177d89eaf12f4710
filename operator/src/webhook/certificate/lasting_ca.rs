//! The gateway's certificate: its callers trust a copy of the CA, so the CA stays for years and only what it has signed is renewed.
//!
//! Its key therefore stays in the Secret, beside the certificate's own. Who may read that Secret could show the certificate anyway.

use super::{
    BTreeMap, ByteString, CA_CRT, DAY, Duration, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, RenewalError, TLS_CRT,
    TLS_KEY, Timestamp, ca_params, certificates, chain, former, not_after, sign, verify,
};

/// The Secret's entry of the CA's key, PEM.
pub const CA_KEY: &str = "ca.key";

const CA_NAME: &str = "vectoll gateway CA";
/// How long a CA is valid.
const CA_LIFE: Duration = DAY.saturating_mul(3_650);
/// How long before its end another one takes over: what it signs by then ends long before.
const CA_MARGIN: Duration = DAY.saturating_mul(365);

/// Judges what the gateway's Secret holds, and makes what it should hold where that is not good. None: it stays.
pub fn renew_by_lasting_ca(
    current: Option<&BTreeMap<String, ByteString>>,
    dns_names: &[String],
    now: Timestamp,
) -> Result<Option<BTreeMap<String, ByteString>>, RenewalError> {
    match current.map(|data| verify(data, CA_NAME, dns_names, now)) {
        Some(Ok(())) => return Ok(None),
        Some(Err(reason)) => tracing::info!(reason = %chain(&reason), "the gateway's certificate is replaced"),
        None => {}
    }
    if let Some(renewed) = current.map(|data| sign_again(data, dns_names, now)).transpose()?.flatten() {
        return Ok(Some(renewed));
    }
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let ca = ca_params(CA_NAME, now, CA_LIFE)?;
    let mut ca_crt = ca.self_signed(&ca_key)?.pem().into_bytes();
    ca_crt.extend(former(current.and_then(|data| data.get(CA_CRT)).map_or(&[], |bundle| &bundle.0)).into_bytes());
    let ca_key_pem = ca_key.serialize_pem().into_bytes();
    let (tls_crt, tls_key) = sign(dns_names, "vectoll gateway", now, &Issuer::new(ca, ca_key))?;
    let data = [(TLS_CRT, tls_crt), (TLS_KEY, tls_key), (CA_CRT, ca_crt), (CA_KEY, ca_key_pem)];
    Ok(Some(data.into_iter().map(|(name, pem)| (name.to_owned(), ByteString(pem))).collect()))
}

/// The same with another certificate of the same CA; none, if that CA is not there whole, or ends before long.
fn sign_again(
    data: &BTreeMap<String, ByteString>,
    dns_names: &[String],
    now: Timestamp,
) -> Result<Option<BTreeMap<String, ByteString>>, RenewalError> {
    let pem = data.get(CA_KEY).and_then(|key| std::str::from_utf8(&key.0).ok());
    let Some(ca_key) = pem.and_then(|pem| KeyPair::from_pem(pem).ok()) else { return Ok(None) };
    let newest = certificates(data, CA_CRT).map(|all| all.into_iter().next());
    let end = newest.unwrap_or(None).and_then(|ca| not_after(&ca));
    if end.is_none_or(|end| end < now + CA_MARGIN) {
        return Ok(None);
    }
    // Of a CA only its name and key are in what it signs.
    let issuer = Issuer::new(ca_params(CA_NAME, now, CA_LIFE)?, ca_key);
    let (tls_crt, tls_key) = sign(dns_names, "vectoll gateway", now, &issuer)?;
    let mut renewed = data.clone();
    renewed.extend([(TLS_CRT.to_owned(), ByteString(tls_crt)), (TLS_KEY.to_owned(), ByteString(tls_key))]);
    Ok(verify(&renewed, CA_NAME, dns_names, now).is_ok().then_some(renewed))
}
