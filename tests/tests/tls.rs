//! Providers behind https.

#![allow(clippy::float_cmp, reason = "counts")]

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

#[tokio::test]
async fn a_trusted_certificate_is_spoken_to_and_another_one_is_not() -> anyhow::Result<()> {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let options = Options { tls: Some((cert.pem(), signing_key.serialize_pem())), ..Options::new(PROVIDER_KEY) };
    let provider = Provider::start(options).await?;
    assert!(provider.url().starts_with("https://"));
    let folder = tempfile::tempdir()?;
    let bundle = folder.path().join("ca.pem");
    std::fs::write(&bundle, cert.pem())?;

    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["text-embedding-3-small"], &provider.url()));
    all.extend(api_key("alice", "search", json!({})));
    let manifests = [("all.yaml", file(all))];

    let mut trusting = Setup::built()?;
    trusting.environment.push(("SSL_CERT_FILE".to_owned(), bundle.display().to_string()));
    let pair = Pair::start_with(trusting, &manifests).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    for _ in 0..3 {
        let answer = caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?;
        assert_eq!((answer.status, answer.tokens()), (200, 4), "{:?}", answer.json);
    }
    assert_eq!(provider.connections(), 1, "one connection is enough");
    drop(pair);

    // Without it: no connection, and nothing was sent.
    let pair = Pair::start(&manifests).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let answer = caller.embed("text-embedding-3-small", json!("The quick brown fox")).await?;
    assert_eq!((answer.status, answer.code()), (503, "no_backend_available"), "{:?}", answer.json);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(provider.account().requests, 3);
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.sum("vectoll_key_requests_total", &[]), 0.0, "it was never sent");
    assert_eq!(metrics.value("vectoll_reservations", &[]), Some(0.0));
    Ok(())
}
