//! What callers are told of backends that are another namespace's: that they fail, and not where they are or by whose account they are
//! called.

use serde_json::json;
use vectoll_tests::manifest::{file, resource_in};

use crate::stage::{DEADLINE, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_uses_another_namespaces_route_does_not_learn_where_it_leads() -> anyhow::Result<()> {
    let stage = Stage::start_with(1_000).await?;
    let backend = |url: String| {
        json!({
            "name": "test",
            "openAI": {"baseURL": url, "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
            "price": {"inputPerMillionTokens": "0.02"},
            "tokens": {"encoding": "cl100k_base"},
        })
    };
    let shared = |models: &str, url: String| json!({"models": [models], "allowedNamespaces": {"from": "All"}, "backends": [backend(url)]});
    // A server whose certificate nobody has told the gateway of.
    let untrusted = format!("https://{}/v1", stage.pair.proxy_address());
    let all = [
        resource_in("crm", "ModelRoute", "tls", shared("tls", untrusted)),
        resource_in("crm", "ModelRoute", "gone", shared("fault-404", stage.crm.url())),
        resource_in("crm", "ModelRoute", "wrong", shared("fault-400", stage.crm.url())),
    ];
    stage.pair.write_manifest("shared.yaml", &file(all))?;
    stage.pair.write_manifest(
        "team.yaml",
        &file([resource_in("shop", "Team", "far", json!({"routeNamespaces": ["crm"]}))]),
    )?;
    let carol = crate::stage::api_key("shop", "carol", json!({"teamRef": {"name": "far"}}));
    stage.pair.write_manifest("carol.yaml", &file(carol))?;
    let (bob, carol) = (stage.caller("bob")?, stage.caller("carol")?);
    for (model, route, theirs, all) in [
        ("tls", "tls", "certificate", "No connection to backend crm/tls/test"),
        ("fault-404", "gone", "fault-404", "Backend crm/gone/test answered 404"),
    ] {
        let there = async || {
            let answer = carol.embed(model, json!("a")).await?;
            // A provider's code for a model that it does not have is that of ours.
            let is_there = answer.status != 401 && !answer.message().starts_with("The model");
            Ok(is_there.then_some(answer))
        };
        let told = stage.pair.wait_for("the route", DEADLINE, there).await?;
        let owner = bob.embed(model, json!("a")).await?;
        assert_eq!(told.status, owner.status, "{route}");
        assert!(owner.message().starts_with(all) && owner.message().contains(theirs), "{}", owner.message());
        assert!(
            told.message().starts_with(&format!("{all}. ")) && !told.message().contains(theirs),
            "{}",
            told.message()
        );
        let id = told.header("x-litellm-call-id").unwrap_or_default();
        assert!(told.message().contains(id), "{}", told.message());
        let log = stage.pair.sidecar_log();
        let line = log.lines().find(|line| line.contains(id) && line.contains("is not told why"));
        assert!(line.is_some_and(|line| line.contains("certificate") == (route == "tls")), "{line:?}");
    }
    // What is wrong with the input its caller is told, whoever it is.
    let told = carol.embed("fault-400", json!("a")).await?;
    let owner = bob.embed("fault-400", json!("a")).await?;
    assert_eq!(told.status, 400);
    let words = owner.message().split(": ").nth(1).unwrap_or_default();
    assert!(words.len() > 5 && told.message().contains(words), "{} / {}", owner.message(), told.message());
    Ok(())
}
