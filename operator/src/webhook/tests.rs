#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{collections::BTreeMap, net::SocketAddr};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use prometheus::{Registry, TextEncoder};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, task::JoinHandle};

use super::{
    certificate::{CA_CRT, Renewal, TLS_CRT, TLS_KEY, dns_names, read, renew},
    *,
};

const NAME: &str = "vectoll-webhook.vectoll-system.svc";

/// What the Secret holds after a renewal.
fn made(before: Option<&BTreeMap<String, ByteString>>, now: Timestamp) -> BTreeMap<String, ByteString> {
    let names = dns_names("vectoll-webhook", "vectoll-system");
    let Renewal::Replace { tls_crt, tls_key, ca_crt } = renew(before, &names, now).unwrap() else { panic!("kept") };
    let entries = [(TLS_CRT, tls_crt), (TLS_KEY, tls_key), (CA_CRT, ca_crt)];
    entries.map(|(name, value)| (name.to_owned(), ByteString(value))).into()
}

/// A webhook on a free port.
struct Running {
    address: SocketAddr,
    certificate: watch::Sender<Option<Arc<CertifiedKey>>>,
    stop: watch::Sender<bool>,
    registry: Registry,
    ended: JoinHandle<Result<(), rustls::Error>>,
}

impl Running {
    async fn start(data: Option<&BTreeMap<String, ByteString>>, announcement: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Arc::new(InjectionSettings::read("image: vectoll-sidecar:test").unwrap());
        let (certificate, shown) = watch::channel(data.map(|data| read(data).unwrap()));
        let (stop, stopped) = watch::channel(false);
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let ended = tokio::spawn(serve_after(
            announcement,
            listener,
            settings,
            NamespaceAnnotations::default(),
            shown,
            metrics,
            stopped,
        ));
        Self { address, certificate, stop, registry, ended }
    }

    /// A client that trusts this bundle and nothing else, as an API server does.
    fn client(&self, data: &BTreeMap<String, ByteString>) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cas = reqwest::Certificate::from_pem_bundle(&data[CA_CRT].0).unwrap();
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only(cas).resolve(NAME, self.address);
        builder.build().unwrap()
    }

    fn url(&self) -> String {
        format!("https://{NAME}:{}{PATH}", self.address.port())
    }

    fn count(&self, result: &str) -> u64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = format!("vectoll_injections_total{{result=\"{result}\"}} ");
        text.lines().find_map(|row| row.strip_prefix(&line)).expect("a series from the start").parse().unwrap()
    }
}

fn review(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "object": pod,
        },
    })
}

fn asking() -> Value {
    review(&json!({
        "metadata": {"generateName": "web-", "labels": {"vectoll.dev/inject": "true"}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    }))
}

#[tokio::test]
async fn an_api_server_gets_its_patch_over_tls() {
    let data = made(None, Timestamp::now());
    let webhook = Running::start(Some(&data), Duration::ZERO).await;
    let client = webhook.client(&data);
    let response = client.post(webhook.url()).body(asking().to_string()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    assert_eq!(response.headers()["content-type"], "application/json");
    let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("1"), &json!(true)));
    let patch: ByteString = serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
    assert!(String::from_utf8(patch.0).unwrap().contains("vectoll-sidecar:test"));

    let refused = review(&json!({
        "metadata": {"labels": {"vectoll.dev/inject": "true"}},
        "spec": {"hostNetwork": true, "containers": []},
    }));
    client.post(webhook.url()).body(refused.to_string()).send().await.unwrap();
    client.post(webhook.url()).body(review(&json!({"metadata": {}})).to_string()).send().await.unwrap();
    client.post(webhook.url()).body(review(&json!({"spec": 7})).to_string()).send().await.unwrap();
    // The same pods where their namespace asks: what says nothing is injected, or let in as it is.
    let of_namespace = webhook.url().replace(PATH, NAMESPACE_PATH);
    for (spec, result) in
        [(json!({"containers": []}), "injected"), (json!({"hostNetwork": true, "containers": []}), "skipped")]
    {
        let before = webhook.count(result);
        let pod = review(&json!({"metadata": {}, "spec": spec}));
        client.post(&of_namespace).body(pod.to_string()).send().await.unwrap();
        assert_eq!(webhook.count(result), before + 1, "{result}");
    }
    for (result, count) in [("injected", 2), ("refused", 1), ("untouched", 1), ("skipped", 1), ("invalid", 1)] {
        assert_eq!(webhook.count(result), count, "{result}");
    }
}

#[tokio::test]
async fn http_1_will_do_as_well() {
    let data = made(None, Timestamp::now());
    let webhook = Running::start(Some(&data), Duration::ZERO).await;
    let cas = reqwest::Certificate::from_pem_bundle(&data[CA_CRT].0).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().http1_only().tls_certs_only(cas).resolve(NAME, webhook.address);
    let response = client.build().unwrap().post(webhook.url()).body(asking().to_string()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_11));
}

#[tokio::test]
async fn what_is_no_review_is_refused_and_nothing_breaks() {
    let data = made(None, Timestamp::now());
    let webhook = Running::start(Some(&data), Duration::ZERO).await;
    let client = webhook.client(&data);
    for (body, status) in [
        (Vec::new(), 400),
        (b"{\"apiVersion\":\"admission.k8s.io/v1\"}".to_vec(), 400),
        (vec![b'['; 1_000_000], 400),
        (vec![0xFF; 100], 400),
        (vec![b' '; 9 * 1024 * 1024], 413),
    ] {
        let response = client.post(webhook.url()).body(body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
    }
    assert_eq!(client.get(webhook.url()).send().await.unwrap().status().as_u16(), 405);
    assert_eq!(client.post(webhook.url().replace(PATH, "/")).send().await.unwrap().status().as_u16(), 404);
    assert_eq!(client.post(webhook.url()).body(asking().to_string()).send().await.unwrap().status().as_u16(), 200);
    assert_eq!(webhook.count("invalid"), 5);
}

#[tokio::test]
async fn without_a_certificate_handshakes_fail_and_with_the_first_they_succeed() {
    let webhook = Running::start(None, Duration::from_hours(1)).await;
    let data = made(None, Timestamp::now());
    let client = webhook.client(&data);
    assert!(client.post(webhook.url()).body(asking().to_string()).send().await.is_err());
    webhook.certificate.send_replace(Some(read(&data).unwrap()));
    for _ in 0..100 {
        if client
            .post(webhook.url())
            .body(asking().to_string())
            .send()
            .await
            .is_ok_and(|response| response.status() == 200)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the first certificate is shown at once");
}

#[tokio::test]
async fn a_certificate_is_changed_without_a_failed_call() {
    let now = Timestamp::now();
    let old = made(None, now - Duration::from_hours(61 * 24));
    let new = made(Some(&old), now);
    let webhook = Running::start(Some(&old), Duration::from_millis(300)).await;
    // Connected before the change; and one that learns of the new bundle late.
    let (standing, late) = (webhook.client(&old), webhook.client(&old));
    let ask = async |client: &reqwest::Client| client.post(webhook.url()).body(asking().to_string()).send().await;
    ask(&standing).await.unwrap();
    webhook.certificate.send_replace(Some(read(&new).unwrap()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    ask(&late).await.expect("until its CA is known everywhere, the old one is shown");
    let only_new = made(None, now);
    let mut trusting = new.clone();
    // Trusts the newest CA alone, so that it tells which one is shown.
    let newest = String::from_utf8(new[CA_CRT].0.clone()).unwrap();
    let end = newest.find("-----END CERTIFICATE-----\n").unwrap() + "-----END CERTIFICATE-----\n".len();
    trusting.insert(CA_CRT.to_owned(), ByteString(newest.as_bytes()[..end].to_vec()));
    let mut changed = false;
    for _ in 0..100 {
        ask(&standing).await.expect("a connection that stands goes on");
        ask(&webhook.client(&new)).await.expect("whoever has the bundle trusts what is shown at every moment");
        changed = ask(&webhook.client(&trusting)).await.is_ok();
        if changed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(changed, "the new certificate is shown in the end");
    assert!(ask(&webhook.client(&old)).await.is_err(), "and the old one no more");
    assert!(ask(&webhook.client(&only_new)).await.is_err(), "a stranger's CA is not trusted");
    assert_eq!(ask(&standing).await.unwrap().status(), 200);
}

#[tokio::test]
async fn asked_to_stop_it_ends_though_clients_stay_connected() {
    let data = made(None, Timestamp::now());
    let webhook = Running::start(Some(&data), Duration::ZERO).await;
    let client = webhook.client(&data);
    client.post(webhook.url()).body(asking().to_string()).send().await.unwrap();
    let mut silent = TcpStream::connect(webhook.address).await.unwrap();
    webhook.stop.send_replace(true);
    timeout(Duration::from_secs(5), webhook.ended).await.expect("it ends soon").unwrap().unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "whoever never spoke is hung up on");
    assert!(
        client
            .post(format!("https://{NAME}:{}{PATH}", webhook.address.port()))
            .body(asking().to_string())
            .send()
            .await
            .is_err()
    );
}
