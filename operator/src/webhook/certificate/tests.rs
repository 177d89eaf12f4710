#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;

type Data = BTreeMap<String, ByteString>;

fn names() -> Vec<String> {
    dns_names("vectoll-webhook", "vectoll-system")
}

fn day(number: u64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + DAY * u32::try_from(number).unwrap()
}

fn data(renewal: Renewal) -> Data {
    let Renewal::Replace { tls_crt, tls_key, ca_crt } = renewal else { panic!("kept") };
    let entries = [(TLS_CRT, tls_crt), (TLS_KEY, tls_key), (CA_CRT, ca_crt)];
    entries.map(|(name, value)| (name.to_owned(), ByteString(value))).into()
}

fn made(before: Option<&Data>, now: Timestamp) -> Data {
    data(renew(before, &names(), now).unwrap())
}

fn is_kept(current: &Data, now: Timestamp) -> bool {
    matches!(renew(Some(current), &names(), now).unwrap(), Renewal::Keep { ca_bundle } if ca_bundle == current[CA_CRT].0)
}

/// Whether an API server that has this bundle trusts what is shown at this time.
fn trusts(bundle: &Data, shown: &Data, at: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    for ca in certificates(bundle, CA_CRT).unwrap() {
        roots.add(ca).unwrap();
    }
    let shown = read(shown).unwrap();
    let parsed = ParsedCertificate::try_from(&shown.cert[0]).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().try_into().unwrap()));
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms).is_ok()
        && verify_server_name(&parsed, &ServerName::try_from("vectoll-webhook.vectoll-system.svc").unwrap()).is_ok()
}

#[test]
fn a_certificate_is_kept_for_two_thirds_of_its_life() {
    let current = made(None, day(0));
    assert!(trusts(&current, &current, day(0)));
    for number in [0, 1, 30, 59] {
        assert!(is_kept(&current, day(number)), "day {number}");
    }
    for number in [61, 89, 91, 1_000] {
        assert!(!is_kept(&current, day(number)), "day {number}");
    }
    // It is good for an hour before it was made, for clocks that are behind, and for ninety days.
    assert!(trusts(&current, &current, day(0) - Duration::from_secs(3_500)));
    assert!(trusts(&current, &current, day(90) - Duration::from_secs(1)));
    assert!(!trusts(&current, &current, day(90) + Duration::from_secs(1)));
}

#[test]
fn at_no_moment_of_years_is_what_is_shown_not_trusted() {
    let mut current = made(None, day(0));
    for number in 1..1_500 {
        let now = day(number);
        match renew(Some(&current), &names(), now).unwrap() {
            Renewal::Keep { .. } => {}
            replace @ Renewal::Replace { .. } => {
                let next = data(replace);
                // The bundle goes first, then the Secret; each replica follows in its own time.
                assert!(trusts(&next, &current, now), "day {number}: the new bundle, the old certificate");
                assert!(trusts(&next, &next, now), "day {number}: the new bundle, the new certificate");
                current = next;
            }
        }
        assert!(trusts(&current, &current, now + DAY), "day {number}");
        assert!(certificates(&current, CA_CRT).unwrap().len() <= 1 + FORMER_CAS, "the bundle does not grow");
    }
}

#[test]
fn whatever_is_not_good_is_replaced() {
    let good = made(None, day(0));
    let other = made(None, day(0));
    let with = |name: &str, value: Option<&[u8]>| {
        let mut data = good.clone();
        data.remove(name);
        data.extend(value.map(|value| (name.to_owned(), ByteString(value.to_vec()))));
        data
    };
    let cut = |name: &str| good[name].0[..good[name].0.len() / 2].to_vec();
    let twice =
        |name: &str| [&good[name].0[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"].concat();
    for (what, data) in [
        ("empty", Data::new()),
        ("no certificate", with(TLS_CRT, None)),
        ("no key", with(TLS_KEY, None)),
        ("no bundle", with(CA_CRT, None)),
        ("an empty bundle", with(CA_CRT, Some(b""))),
        ("half a certificate", with(TLS_CRT, Some(&cut(TLS_CRT)))),
        ("half a key", with(TLS_KEY, Some(&cut(TLS_KEY)))),
        ("noise", with(TLS_CRT, Some(&[0xFF; 64]))),
        ("another's key", with(TLS_KEY, Some(&other[TLS_KEY].0))),
        ("another's CA", with(CA_CRT, Some(&other[CA_CRT].0))),
        ("a bundle that API servers would refuse", with(CA_CRT, Some(&twice(CA_CRT)))),
    ] {
        let replaced = made(Some(&data), day(1));
        assert!(is_kept(&replaced, day(1)), "{what}");
        assert!(trusts(&replaced, &replaced, day(1)), "{what}");
    }
    assert!(!is_kept(&good, day(0) - DAY), "a clock that went back");
    let elsewhere = renew(Some(&good), &dns_names("vectoll-webhook", "other"), day(1)).unwrap();
    assert!(matches!(elsewhere, Renewal::Replace { .. }), "another name");
}

#[test]
fn a_secret_that_someone_else_filled_is_replaced_and_its_ca_trusted_on() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let params = lasting(CertificateParams::new(names()).unwrap(), "another CA", day(0), CA_LIFE);
    let itself = params.self_signed(&key).unwrap();
    let foreign: Data = [
        (TLS_CRT, itself.pem().into_bytes()),
        (TLS_KEY, key.serialize_pem().into_bytes()),
        (CA_CRT, itself.pem().into_bytes()),
    ]
    .map(|(name, value)| (name.to_owned(), ByteString(value)))
    .into();
    let ours = made(Some(&foreign), day(1));
    assert_eq!(certificates(&ours, CA_CRT).unwrap().len(), 2);
    assert!(is_kept(&ours, day(1)), "and that is the end of it");
}

#[test]
fn a_name_that_is_none_is_an_error() {
    assert!(renew(None, &["no name\u{e4}".to_owned()], day(0)).is_err());
}

#[test]
fn no_key_is_ever_shown() {
    assert_eq!(format!("{:?}", renew(None, &names(), day(0)).unwrap()), "Replace");
}

/// What the gateway's Secret holds after this moment.
fn of_gateway(before: Option<&Data>, now: Timestamp) -> Data {
    renew_by_lasting_ca(before, &names(), now).unwrap().or_else(|| before.cloned()).unwrap()
}

#[test]
fn whoever_has_copied_the_gateways_ca_trusts_it_for_years() {
    let copied = of_gateway(None, day(0));
    let (mut current, mut certificates_shown) = (copied.clone(), 1);
    for number in 1..3_000 {
        let next = of_gateway(Some(&current), day(number));
        certificates_shown += usize::from(next != current);
        assert!(trusts(&copied, &next, day(number)), "day {number}");
        assert_eq!(next[CA_CRT], copied[CA_CRT]);
        current = next;
    }
    assert!(certificates_shown > 40, "{certificates_shown}");
    // Before it ends another one takes over, and it is trusted on.
    let other = of_gateway(Some(&current), day(3_400));
    assert!(trusts(&other, &other, day(3_400)) && certificates(&other, CA_CRT).unwrap().len() == 2);
}

#[test]
fn a_gateways_ca_that_is_not_there_whole_is_replaced() {
    let good = of_gateway(None, day(0));
    let other = of_gateway(None, day(0));
    for (what, key) in
        [("none", None), ("another's", Some(other[CA_KEY].clone())), ("noise", Some(ByteString(vec![0xFF; 64])))]
    {
        let mut data = good.clone();
        data.remove(CA_KEY);
        data.extend(key.map(|key| (CA_KEY.to_owned(), key)));
        let replaced = of_gateway(Some(&data), day(70));
        assert!(trusts(&replaced, &replaced, day(70)) && replaced[CA_CRT] != good[CA_CRT], "{what}");
        assert!(trusts(&replaced, &good, day(70)), "{what}: what is still shown");
        assert_eq!(of_gateway(Some(&replaced), day(71)), replaced, "{what}");
    }
}
