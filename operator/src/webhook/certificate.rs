//! The webhook's certificate: made, judged and read. Pure but for randomness; time is an argument.
//!
//! Every serving certificate of the webhook has a CA of its own, whose key is forgotten as soon as it has signed: there is no CA key that
//! could be stolen. The bundle holds the new CA beside the ones before it, so that API servers trust what is served by
//! then and what will be served. To renew without a moment of distrust: hand the new bundle to the webhook configuration
//! first, then write the Secret; [`serve`](super::serve) waits a little before it shows a certificate that has changed.
//!
//! Whether a certificate is still good is judged by asking what the API server will ask, now and thirty days on: no date
//! is read from it for that, and whatever cannot be read is not good.

mod lasting_ca;
mod not_after;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::{
    RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};

pub use lasting_ca::{CA_KEY, renew_by_lasting_ca};
pub use not_after::not_after;

/// The Secret's entry of the serving certificate, PEM.
pub const TLS_CRT: &str = "tls.crt";
/// The Secret's entry of its key, PEM.
pub const TLS_KEY: &str = "tls.key";
/// The Secret's entry of the CA bundle, PEM.
pub const CA_CRT: &str = "ca.crt";

const DAY: Duration = Duration::from_hours(24);
/// How long a serving certificate is valid.
const LIFE: Duration = DAY.saturating_mul(90);
/// How long before its end it is replaced: a third of its life.
const RENEWAL_MARGIN: Duration = DAY.saturating_mul(30);
/// How long a CA is valid: longer than anything it has signed.
const CA_LIFE: Duration = DAY.saturating_mul(400);
/// How far clocks may be apart.
const SKEW: Duration = Duration::from_hours(1);
/// CAs that are trusted beside the newest. At regular renewals, every sixty days, the one before the last has signed
/// nothing that is still valid.
const FORMER_CAS: usize = 2;
/// The name of our CAs.
const CA_NAME: &str = "vectoll webhook CA";

/// What is to be done about the webhook's certificate.
#[derive(Clone, PartialEq, Eq)]
pub enum Renewal {
    /// What the Secret holds stays.
    Keep {
        /// The bundle for the webhook configuration: the Secret's own.
        ca_bundle: Vec<u8>,
    },
    /// The Secret is to hold this, once the webhook configuration has the bundle.
    Replace {
        /// The serving certificate, PEM.
        tls_crt: Vec<u8>,
        /// Its key, PEM.
        tls_key: Vec<u8>,
        /// The bundle, for the webhook configuration too: the new CA and those before it, PEM.
        ca_crt: Vec<u8>,
    },
}

impl std::fmt::Debug for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays unseen.
        f.write_str(match self {
            Self::Keep { .. } => "Keep",
            Self::Replace { .. } => "Replace",
        })
    }
}

/// Why no certificate could be made: no randomness, or a name that is none.
#[derive(Debug, thiserror::Error)]
#[error("failed to make a certificate")]
pub struct RenewalError(#[from] rcgen::Error);

/// Why a certificate cannot be served or trusted.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// An entry of the Secret is not there.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// An entry is not PEM of the right kind, or holds nothing.
    #[error("failed to read {0}: it must be PEM")]
    Pem(&'static str),
    /// The certificate cannot be used: unreadable, out of its time, for other names, or not its key's.
    #[error("failed to use the certificate")]
    Unusable(#[from] rustls::Error),
    /// Not made by us.
    #[error("the certificate's CA is not one of ours")]
    Foreign,
}

/// The names by which API servers call a Service.
pub fn dns_names(service: &str, namespace: &str) -> Vec<String> {
    vec![format!("{service}.{namespace}.svc")]
}

/// Judges what the webhook's Secret holds, and makes what it should hold where that is not good: nothing, unreadable,
/// not valid now or in thirty days, for other names, or of a CA that is not ours.
pub fn renew(
    current: Option<&BTreeMap<String, ByteString>>,
    dns_names: &[String],
    now: Timestamp,
) -> Result<Renewal, RenewalError> {
    let bundle = current.and_then(|data| data.get(CA_CRT)).map_or(&[][..], |bundle| bundle.0.as_slice());
    match current.map(|data| verify(data, CA_NAME, dns_names, now)) {
        Some(Ok(())) => return Ok(Renewal::Keep { ca_bundle: bundle.to_vec() }),
        Some(Err(reason)) => tracing::info!(reason = %chain(&reason), "the webhook's certificate is replaced"),
        None => {}
    }
    make(bundle, dns_names, now)
}

/// Reads what the webhook is to show, from a Secret of type `kubernetes.io/tls`. The key must be the certificate's.
pub fn read(data: &BTreeMap<String, ByteString>) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain = certificates(data, TLS_CRT)?;
    let key = PrivateKeyDer::from_pem_slice(entry(data, TLS_KEY)?).map_err(|_| CertificateError::Pem(TLS_KEY))?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())?))
}

fn verify(
    data: &BTreeMap<String, ByteString>,
    ca_name: &str,
    dns_names: &[String],
    now: Timestamp,
) -> Result<(), CertificateError> {
    let shown = read(data)?;
    let mut bundle = RootCertStore::empty();
    for ca in certificates(data, CA_CRT)? {
        bundle.add(ca)?;
    }
    // The newest signs what is served. Someone else's may end before what it has signed, and ours never do.
    let ours = |subject: &[u8]| subject.windows(ca_name.len()).any(|part| part == ca_name.as_bytes());
    bundle.roots.truncate(1);
    if !bundle.roots.iter().all(|newest| ours(&newest.subject)) {
        return Err(CertificateError::Foreign);
    }
    let (first, others) = shown.cert.split_first().ok_or(CertificateError::Pem(TLS_CRT))?;
    let parsed = ParsedCertificate::try_from(first)?;
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    let now = Duration::from_secs(now.as_second().try_into().unwrap_or(0));
    for moment in [now, now + RENEWAL_MARGIN] {
        let moment = UnixTime::since_unix_epoch(moment);
        verify_server_cert_signed_by_trust_anchor(&parsed, &bundle, others, moment, algorithms)?;
    }
    for name in dns_names {
        let name = ServerName::try_from(name.as_str())
            .map_err(|_| rustls::Error::General("not a server's name".to_owned()))?;
        verify_server_name(&parsed, &name)?;
    }
    Ok(())
}

fn make(bundle: &[u8], dns_names: &[String], now: Timestamp) -> Result<Renewal, RenewalError> {
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let ca = ca_params(CA_NAME, now, CA_LIFE)?;
    let mut ca_crt = ca.self_signed(&ca_key)?.pem().into_bytes();
    ca_crt.extend(former(bundle).into_bytes());
    let (tls_crt, tls_key) = sign(dns_names, "vectoll webhook", now, &Issuer::new(ca, ca_key))?;
    Ok(Renewal::Replace { tls_crt, tls_key, ca_crt })
}

/// What a CA is.
fn ca_params(name: &str, now: Timestamp, life: Duration) -> Result<CertificateParams, RenewalError> {
    let mut ca = lasting(CertificateParams::new(Vec::new())?, name, now, life);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(ca)
}

/// A new serving certificate and its key, PEM.
fn sign(
    dns_names: &[String],
    name: &str,
    now: Timestamp,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<(Vec<u8>, Vec<u8>), RenewalError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut serving = lasting(CertificateParams::new(dns_names.to_vec())?, name, now, LIFE);
    serving.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    serving.use_authority_key_identifier_extension = true;
    let certificate = serving.signed_by(&key, issuer)?;
    Ok((certificate.pem().into_bytes(), key.serialize_pem().into_bytes()))
}

/// A certificate's name and time.
fn lasting(mut params: CertificateParams, name: &str, now: Timestamp, life: Duration) -> CertificateParams {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = now - SKEW;
    params.not_after = now + life;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The CAs that were trusted so far, newest first, as far as they can be read: one that cannot would make the API server
/// refuse the whole bundle.
fn former(bundle: &[u8]) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(bundle);
    let blocks = text.split_inclusive(END).filter_map(|block| block.get(block.find(BEGIN)?..));
    let readable = blocks.filter(|block| {
        let ca = CertificateDer::from_pem_slice(block.as_bytes());
        ca.is_ok_and(|ca| RootCertStore::empty().add(ca).is_ok())
    });
    readable.take(FORMER_CAS).flat_map(|block| [block, "\n"]).collect()
}

fn entry<'d>(data: &'d BTreeMap<String, ByteString>, name: &'static str) -> Result<&'d [u8], CertificateError> {
    data.get(name).map(|value| value.0.as_slice()).ok_or(CertificateError::Missing(name))
}

/// The certificates of an entry: at least one.
fn certificates(
    data: &BTreeMap<String, ByteString>,
    name: &'static str,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(entry(data, name)?).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(CertificateError::Pem(name))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
