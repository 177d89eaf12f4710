//! `ApiKeys`: their values, their Secrets, their end.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use vectoll_config::KeyHash;
use vectoll_tests::pair::poll;

use crate::world::{World, api_key, entry, team_and_key, until};

fn hash(value: &str) -> KeyHash {
    KeyHash::of(value.as_bytes())
}

pub async fn made(world: &World) -> anyhow::Result<()> {
    let ns = "keys-made";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ", limits: {requestsPerMinute: 5}"))?;
    let key = world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    let status = key.status.context("no status")?;
    ensure!(status.observed_generation == key.metadata.generation, "{status:?}");
    ensure!(status.secret_name.as_deref() == Some("alice"), "{status:?}");
    let secret = world.secret(ns, "alice").await?.context("no Secret")?;
    let value = entry(&secret, "key").context("no key")?;
    ensure!(vectoll_config::is_generated(&value) && vectoll_config::has_valid_checksum(&value), "not a key");
    ensure!(entry(&secret, "OPENAI_API_KEY").as_deref() == Some(&*value));
    ensure!(entry(&secret, "OPENAI_BASE_URL").as_deref() == Some("http://localhost:4000/v1"));
    ensure!(status.key_hint.as_deref() == value.get(value.len() - 4..));
    ensure!(secret.type_.as_deref() == Some("vectoll.dev/api-key"));
    let owner = secret.metadata.owner_references.unwrap_or_default();
    ensure!(owner.len() == 1 && owner[0].uid == key.metadata.uid.unwrap_or_default(), "{owner:?}");
    world
        .until_config(ns, "has the key's hash", |config, _| {
            config.keys.iter().any(|key| key.credentials.iter().any(|one| one.sha256 == hash(&value))).then_some(())
        })
        .await?;
    // What nobody can know yet is not said.
    world.until_key(ns, "alice", "Programmed", "Unknown/DeliveryUnconfirmed").await?;
    world.until_key(ns, "alice", "LimitsExact", "True/OneSidecar").await?;
    world.until_other("team", ns, "team", "Ready", "True/Ready").await?;
    Ok(())
}

pub async fn rotated(world: &World) -> anyhow::Result<()> {
    let ns = "keys-rotated";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ", rotation: {gracePeriod: 1h}"))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    let first = world.value(ns, "alice").await?;
    let mut values = vec![first];
    for wish in ["one", "two"] {
        world.light.kubectl(
            &["annotate", "apikey", "alice", "-n", ns, "--overwrite", &format!("vectoll.dev/rotate={wish}")],
            None,
        )?;
        let before = values.last().context("no value")?.clone();
        let next = until("a new value", async || {
            let value = world.value(ns, "alice").await?;
            Ok((value != before).then_some(value))
        })
        .await?;
        values.push(next);
    }
    let newest = values.last().map(|value| hash(value)).context("no value")?;
    let config = world
        .until_config(ns, "has the newest value first", |config, _| {
            let key = config.keys.first()?;
            (key.credentials.first()?.sha256 == newest).then(|| key.clone())
        })
        .await?;
    let ends: Vec<_> = config.credentials.iter().map(|one| (one.sha256, one.expires_at.is_some())).collect();
    ensure!(ends == [(newest, false), (hash(&values[1]), true), (hash(&values[0]), true)], "{ends:?}");
    let left = config.credentials[1].expires_at.context("no end")?.duration_since(Timestamp::now()).as_mins();
    ensure!((55..=60).contains(&left), "the grace period: {left} min");
    until("the event", async || Ok(world.events(ns, "alice")?.contains(&"KeyRotated".to_owned()).then_some(())))
        .await?;
    // The same wish again is no wish.
    world.light.kubectl(&["annotate", "apikey", "alice", "-n", ns, "--overwrite", "unrelated=1"], None)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(Some(&world.value(ns, "alice").await?) == values.last(), "rotated without a wish");

    // By interval: a value that is older than it is renewed, which the note of its age decides.
    world.light.apply(&api_key(ns, "bob", ", rotation: {interval: 1h, gracePeriod: 10m}"))?;
    let key = world.until_key(ns, "bob", "Ready", "True/Ready").await?;
    let next = key.status.and_then(|status| status.next_rotation).context("no nextRotation")?;
    // Up to a twentieth of the interval early.
    ensure!((55..=60).contains(&next.0.duration_since(Timestamp::now()).as_mins()), "{next:?}");
    let old = world.value(ns, "bob").await?;
    let aged = "vectoll.dev/made-at=2026-01-01T00:00:00Z";
    world.light.kubectl(&["annotate", "secret", "bob", "-n", ns, "--overwrite", aged], None)?;
    until("the old value to be renewed", async || Ok((world.value(ns, "bob").await? != old).then_some(()))).await
}

pub async fn remade(world: &World) -> anyhow::Result<()> {
    let ns = "keys-remade";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    let first = world.value(ns, "alice").await?;
    world.light.kubectl(&["delete", "secret", "alice", "-n", ns], None)?;
    let second = until("a new Secret", async || Ok(world.value(ns, "alice").await.ok())).await?;
    ensure!(second != first, "the same value again");
    world.light.kubectl(
        &["patch", "secret", "alice", "-n", ns, "--type=json", "-p", r#"[{"op":"remove","path":"/data"}]"#],
        None,
    )?;
    let third = until("the emptied Secret to be filled", async || Ok(world.value(ns, "alice").await.ok())).await?;
    ensure!(third != second, "the same value again");
    until("the events", async || Ok(world.events(ns, "alice")?.contains(&"KeyRemade".to_owned()).then_some(())))
        .await?;
    world
        .until_config(ns, "has the third value alone", |config, _| {
            let credentials = &config.keys.first()?.credentials;
            (credentials.len() == 1 && credentials[0].sha256 == hash(&third)).then_some(())
        })
        .await
}

/// `spec.secretTemplate`: what is in it is on the Secret, follows changes and goes; what others have put there stays.
pub async fn labelled(world: &World) -> anyhow::Result<()> {
    let ns = "keys-labelled";
    world.namespace(ns)?;
    let template = ", secretTemplate: {labels: {team: search, tier: gold}, annotations: {example.com/mirror: 'yes'}}";
    world.light.apply(&team_and_key(ns, "alice", template))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    let labels = async || {
        let secret = world.secret(ns, "alice").await?.context("no Secret")?;
        let of = |all: Option<std::collections::BTreeMap<String, String>>| {
            let own = all.unwrap_or_default().into_iter().filter(|(name, _)| !name.starts_with("vectoll.dev/"));
            own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        };
        Ok::<_, anyhow::Error>((of(secret.metadata.labels), of(secret.metadata.annotations)))
    };
    let until_labels = async |expected: (&str, &str)| {
        let mut last = (String::new(), String::new());
        let found = until(&format!("{expected:?}"), async || {
            last = labels().await?;
            Ok((last.0 == expected.0 && last.1 == expected.1).then_some(()))
        })
        .await;
        found.with_context(|| format!("{last:?}"))
    };
    until_labels(("team=search,tier=gold", "example.com/mirror=yes")).await?;
    let value = world.value(ns, "alice").await?;
    // Somebody else's stay, and the template's are put right.
    world.light.kubectl(&["label", "secret", "alice", "-n", ns, "--overwrite", "owner=me", "tier=lead"], None)?;
    until_labels(("owner=me,team=search,tier=gold", "example.com/mirror=yes")).await?;
    // A rotation keeps all of it.
    world.light.kubectl(&["annotate", "apikey", "alice", "-n", ns, "vectoll.dev/rotate=1"], None)?;
    until("a new value", async || Ok((world.value(ns, "alice").await? != value).then_some(()))).await?;
    until_labels(("owner=me,team=search,tier=gold", "example.com/mirror=yes")).await?;
    // A Secret that is made anew has it again, without what others had put on the one before.
    world.light.kubectl(&["delete", "secret", "alice", "-n", ns], None)?;
    until_labels(("team=search,tier=gold", "example.com/mirror=yes")).await?;
    world.light.kubectl(&["label", "secret", "alice", "-n", ns, "owner=me"], None)?;
    world.light.apply(&api_key(ns, "alice", ", secretTemplate: {labels: {tier: silver}}"))?;
    until_labels(("owner=me,tier=silver", "")).await?;
    world.light.apply(&api_key(ns, "alice", ""))?;
    until_labels(("owner=me", "")).await?;
    // What only the operator can judge is told at the key, and changes nothing.
    let bad = ", secretTemplate: {annotations: {'x.vectoll.dev/a': b}}";
    world.light.apply(&api_key(ns, "alice", bad))?;
    world.until_key(ns, "alice", "Accepted", "False/Invalid").await.map(drop)
}

pub async fn foreign(world: &World) -> anyhow::Result<()> {
    let ns = "keys-foreign";
    world.namespace(ns)?;
    world.light.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: alice, namespace: {ns}}}, stringData: {{password: mine}}}}"
    ))?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    let key = world.until_key(ns, "alice", "ResolvedRefs", "False/SecretNotOwned").await?;
    let told = key.status.context("no status")?;
    let message = &told.conditions.iter().find(|one| one.type_ == "ResolvedRefs").context("no condition")?.message;
    ensure!(message.contains("spec.secretName"), "{message}");
    let secret: Secret = world.secret(ns, "alice").await?.context("gone")?;
    ensure!(entry(&secret, "password").as_deref() == Some("mine") && entry(&secret, "key").is_none());
    // Following the advice helps.
    world.light.apply(&api_key(ns, "alice", ", secretName: alice-key"))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    Ok(())
}

pub async fn recreated(world: &World) -> anyhow::Result<()> {
    let ns = "keys-recreated";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    let first = world.value(ns, "alice").await?;
    // The Secret outlives its ApiKey for a moment: long enough for a new one of that name to find it.
    world.light.kubectl(&["delete", "apikey", "alice", "-n", ns], None)?;
    world.light.apply(&api_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    let second = world.value(ns, "alice").await?;
    ensure!(first != second, "a new ApiKey has the value of the one before");
    Ok(())
}

pub async fn ended(world: &World) -> anyhow::Result<()> {
    let ns = "keys-ended";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    world.light.apply(&api_key(ns, "alice", ", suspended: true"))?;
    world.until_key(ns, "alice", "Suspended", "True/Suspended").await?;
    let soon = Timestamp::now() + jiff::SignedDuration::from_secs(2);
    world.light.apply(&api_key(ns, "alice", &format!(", expiresAt: \"{soon:.0}\"")))?;
    world.until_key(ns, "alice", "Expired", "False/NotExpired").await?;
    // Nothing changes but the time.
    world.until_key(ns, "alice", "Expired", "True/Expired").await?;
    world.light.apply(&api_key(ns, "bob", ""))?;
    world.until_key(ns, "bob", "Ready", "True/Ready").await?;
    let began = std::time::Instant::now();
    world.light.kubectl(&["delete", "apikey", "alice", "-n", ns], None)?;
    world
        .until_config(ns, "has lost the key", |config, _| {
            config.keys.iter().all(|key| key.name.name() != "alice").then_some(())
        })
        .await?;
    eprintln!("figure: a deleted key left the config after {:.2} s", began.elapsed().as_secs_f64());
    // Kubernetes's own garbage collector needs up to half a minute to learn of kinds that are new to it.
    poll::until("the Secret to go with its ApiKey", Duration::from_secs(90), async || {
        Ok(world.secret(ns, "alice").await?.is_none().then_some(()))
    })
    .await
}

pub async fn brought(world: &World) -> anyhow::Result<()> {
    let ns = "keys-brought";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ", secretRef: {name: mine}"))?;
    world.until_key(ns, "alice", "ResolvedRefs", "False/SecretNotFound").await?;
    let secret = |value: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: mine, namespace: {ns}}}, stringData: {{key: {value}}}}}"
        )
    };
    world.light.apply(&secret("short"))?;
    world.until_key(ns, "alice", "ResolvedRefs", "False/KeyTooShort").await?;
    for value in ["sk-brought-from-elsewhere", "sk-brought-from-elsewhere-2"] {
        world.light.apply(&secret(value))?;
        world
            .until_config(ns, "has the value that was brought", |config, _| {
                (config.keys.first()?.credentials.first()?.sha256 == hash(value)).then_some(())
            })
            .await?;
    }
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    world.light.apply(&api_key(ns, "bob", ", secretRef: {name: mine}"))?;
    world.until_key(ns, "bob", "ResolvedRefs", "False/DuplicateKey").await?;
    Ok(())
}

/// A key that another proxy handed out: nobody here has its value, and no Secret holds it.
pub async fn by_hash(world: &World) -> anyhow::Result<()> {
    let ns = "keys-by-hash";
    world.namespace(ns)?;
    let moved = hash("sk-handed-out-by-another-proxy");
    let by_hash = format!(", keyHash: \"sha256:{moved}\"");
    // As a generated one first, so that there is something that must go.
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    world.light.apply(&api_key(ns, "alice", &by_hash))?;
    let alone = |config: &vectoll_config::v1::Config| {
        let credentials = &config.keys.first()?.credentials;
        (credentials.len() == 1 && credentials.first()?.sha256 == moved).then_some(())
    };
    world.until_config(ns, "has the hash alone", |config, _| alone(config)).await?;
    until("the generated Secret to go", async || Ok(world.secret(ns, "alice").await?.is_none().then_some(()))).await?;
    let key = until("the status to have no Secret any more", async || {
        let key = world.until_key(ns, "alice", "Ready", "True/Ready").await?;
        Ok(key.status.as_ref().is_some_and(|status| status.secret_name.is_none()).then_some(key))
    })
    .await?;
    let status = key.status.context("no status")?;
    ensure!(status.key_hint.is_none() && status.next_rotation.is_none(), "{status:?}");
    // Nobody else in the namespace may have it, by its hash or by its value.
    world.light.apply(&api_key(ns, "bob", &by_hash))?;
    world.until_key(ns, "bob", "ResolvedRefs", "False/DuplicateKey").await?;
    // What renews a value has no place beside it.
    for annotation in ["vectoll.dev/rotate", "vectoll.dev/adopt-secret"] {
        let annotate = |value: &str| {
            let set = format!("{annotation}{value}");
            world.light.kubectl(&["annotate", "apikey", "alice", "-n", ns, "--overwrite", &set], None)
        };
        annotate("=true")?;
        let key = world.until_key(ns, "alice", "Accepted", "False/Invalid").await?;
        let told = key.status.context("no status")?.conditions;
        ensure!(told.iter().any(|one| one.message.contains(annotation)), "{told:?}");
        annotate("-")?;
        world.until_key(ns, "alice", "Accepted", "True/Accepted").await?;
    }
    world.light.kubectl(&["delete", "apikey", "alice", "-n", ns], None)?;
    world.until_key(ns, "bob", "Ready", "True/Ready").await?;
    ensure!(world.secret(ns, "bob").await?.is_none(), "a Secret was made");
    Ok(())
}
