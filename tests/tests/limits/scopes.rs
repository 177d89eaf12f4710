//! Keys, Teams, users, models and namespaces: each is held to its own, and what is left is told.

use std::time::Duration;

use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{PROVIDER_KEY, api_key, builtin, file, key_value, resource_in, route, team},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

use crate::refused;

#[tokio::test]
async fn each_scope_has_its_own_limit_and_says_so() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let rpm = |limit: u64| json!({"requestsPerMinute": limit});
    let mut all = vec![builtin("builtin", &["builtin", "special"])];
    all.extend(route("openai", &["fault-slow-1500", "unknown-model"], &provider.url()));
    all.push(team("by-team", json!({"limits": rpm(2)})));
    all.push(team("by-user", json!({"userLimits": rpm(1)})));
    all.push(team("by-model", json!({"modelLimits": [{"model": "spec*", "limits": rpm(1)}]})));
    all.push(team("folded", json!({"userLimits": rpm(2), "maxUsers": 1})));
    all.push(team("plain", json!({})));
    all.push(team("broke", json!({"userBudget": {"limit": "0.00000002", "period": "Total"}})));
    all.extend(api_key("t", "by-team", json!({})));
    all.extend(api_key("t2", "by-team", json!({})));
    all.extend(api_key("u", "by-user", json!({})));
    all.extend(api_key("owner", "by-user", json!({"userPolicy": "Owner"})));
    all.extend(api_key("m", "by-model", json!({})));
    all.extend(api_key("f", "folded", json!({})));
    all.extend(api_key("b", "broke", json!({})));
    all.extend(api_key("ku", "plain", json!({"userLimits": rpm(1)})));
    all.extend(api_key("km", "plain", json!({"modelLimits": [{"model": "special", "limits": rpm(1)}]})));
    all.extend(api_key("never", "plain", json!({"limits": {"tokensPerMinute": 3}})));
    all.extend(api_key("parallel", "plain", json!({"limits": {"parallelRequests": 1}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    let ask = async |key: &str, model: &str, user: &str| -> anyhow::Result<(u16, String)> {
        let body = json!({"model": model, "input": "a", "user": user});
        let answer = base.with_key(&key_value(key)).post("/v1/embeddings", &body, &[]).await?;
        Ok((answer.status, answer.message().to_owned()))
    };
    // A team's limit is shared by its keys.
    assert_eq!(ask("t", "builtin", "x").await?.0, 200);
    assert_eq!(ask("t2", "builtin", "x").await?.0, 200);
    refused(ask("t", "builtin", "x").await?, "Rate limit exceeded for team default/by-team: 2 requests per minute");
    // Each user has a limit of its own, unless the key's owner is every call's user.
    assert_eq!(ask("u", "builtin", "x").await?.0, 200);
    assert_eq!(ask("u", "builtin", "y").await?.0, 200);
    refused(ask("u", "builtin", "x").await?, "Rate limit exceeded for user x: 1 requests per minute");
    assert_eq!(ask("owner", "builtin", "p").await?.0, 200);
    refused(ask("owner", "builtin", "q").await?, "Rate limit exceeded for user owner");
    // Models of a pattern share one count.
    assert_eq!(ask("m", "special", "x").await?.0, 200);
    assert_eq!(ask("m", "builtin", "x").await?.0, 200);
    refused(ask("m", "special", "x").await?, "Rate limit exceeded for model spec* of team default/by-model");
    assert_eq!(ask("km", "special", "x").await?.0, 200);
    refused(ask("km", "special", "x").await?, "Rate limit exceeded for model special of key default/km");
    assert_eq!(ask("ku", "builtin", "x").await?.0, 200);
    refused(ask("ku", "builtin", "x").await?, "Rate limit exceeded for user x");
    // Users beyond maxUsers share one count.
    assert_eq!(ask("f", "builtin", "first").await?.0, 200);
    assert_eq!(ask("f", "builtin", "second").await?.0, 200);
    assert_eq!(ask("f", "builtin", "third").await?.0, 200);
    refused(ask("f", "builtin", "fourth").await?, "Rate limit exceeded for user _other");
    // Each user has a budget of its own: one token's worth.
    assert_eq!(ask("b", "builtin", "x").await?.0, 200);
    refused(ask("b", "builtin", "x").await?, "Budget exceeded for user x: 0.00000002 USD (Total)");
    assert_eq!(ask("b", "builtin", "y").await?.0, 200);
    // What can never fit says so, and not when to come back.
    let never = base.with_key(&key_value("never"));
    let answer = never.embed("builtin", json!("one two three four five")).await?;
    assert_eq!((answer.status, answer.header("retry-after")), (429, None));
    assert!(answer.message().contains("it can never fit"), "{}", answer.message());
    assert_eq!(never.embed("builtin", json!("one two three")).await?.status, 200, "counted exactly, it fits");
    // One at a time.
    let parallel = base.with_key(&key_value("parallel"));
    let slow = tokio::spawn({
        let parallel = parallel.clone();
        async move { parallel.embed("fault-slow-1500", json!("a")).await }
    });
    let gauge = async || Ok((pair.metrics().await?.value("vectoll_reservations", &[]) == Some(1.0)).then_some(()));
    pair.wait_for("the slow call to be under way", Duration::from_secs(30), gauge).await?;
    let second = parallel.embed("builtin", json!("a")).await?;
    assert_eq!((second.status, second.header("retry-after")), (429, Some("1")));
    assert!(second.message().starts_with("Rate limit exceeded for key default/parallel: 1 requests at the same time"));
    assert_eq!(slow.await??.status, 200);
    assert_eq!(parallel.embed("builtin", json!("a")).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_uses_anothers_team_is_held_to_its_part_and_cannot_price_the_teams_money() -> anyhow::Result<()>
{
    let shared = |name: &str, spec: Value| {
        let mut whole = json!({"allowedNamespaces": {"from": "All"}});
        if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
            whole.extend(spec);
        }
        resource_in("platform", "Team", name, whole)
    };
    let of = |team: &str| json!({"teamRef": {"name": team, "namespace": "platform"}});
    let priced = |namespace: &str, model: &str, price: &str| {
        let backend = json!({"name": "builtin", "builtin": {}, "price": {"inputPerMillionTokens": price}});
        let spec = json!({"models": [model], "allowedNamespaces": {"from": "All"}, "backends": [backend]});
        resource_in(namespace, "ModelRoute", model, spec)
    };
    let dollar = json!({"limit": "1", "period": "Total"});
    // A token at the platform's price is 0.00000002 USD; at the namespace's own it is a dollar.
    let mut all = vec![
        priced("platform", "shared", "0.02"),
        priced("default", "invented", "1000000"),
        shared("limited", json!({"namespaceLimits": {"requestsPerMinute": 2}})),
        shared("bounded", json!({"budget": dollar, "namespaceBudget": {"limit": "0.00000002", "period": "Total"}})),
        shared("spent", json!({"budget": dollar, "userBudget": dollar, "namespaceBudget": dollar})),
        shared("trusting", json!({"budget": dollar, "routeNamespaces": ["default"]})),
    ];
    for team in ["limited", "bounded", "spent", "trusting"] {
        all.extend(api_key(team, team, of(team)));
    }
    let mut own_budget = of("spent");
    own_budget["budget"] = dollar.clone();
    all.extend(api_key("careful", "spent", own_budget));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let base = Caller::new(&pair.base_url(), "")?;
    let ask = async |key: &str, model: &str, input: &str| -> anyhow::Result<(u16, String)> {
        let answer = base.with_key(&key_value(key)).embed(model, json!(input)).await?;
        Ok((answer.status, answer.message().to_owned()))
    };
    assert_eq!(ask("limited", "shared", "a").await?.0, 200);
    assert_eq!(ask("limited", "shared", "a").await?.0, 200);
    let limit = "Rate limit exceeded for namespace default of team platform/limited: 2 requests per minute";
    refused(ask("limited", "shared", "a").await?, limit);
    // One token's worth, of a Team that has much more.
    assert_eq!(ask("bounded", "shared", "a").await?.0, 200);
    let budget = "Budget exceeded for namespace default of team platform/bounded: 0.00000002 USD (Total)";
    refused(ask("bounded", "shared", "a").await?, budget);
    // Two dollars by its own price: nobody's but the key's.
    assert_eq!(ask("spent", "invented", "one two").await?.0, 200);
    assert_eq!(ask("spent", "shared", "a").await?.0, 200);
    refused(ask("careful", "invented", "one two").await?, "Budget exceeded for key default/careful: 1.00 USD (Total)");
    // Where the Team's owner names the namespace, its prices are the Team's.
    refused(
        ask("trusting", "invented", "one two").await?,
        "Budget exceeded for team platform/trusting: 1.00 USD (Total)",
    );
    let metrics = pair.metrics().await?;
    let team = [("team", "platform/spent")];
    assert_eq!(metrics.value("vectoll_foreign_route_tokens_total", &team), Some(2.0));
    assert_eq!(metrics.value("vectoll_foreign_route_spend_usd_total", &team), Some(2.0));
    assert_eq!(metrics.value("vectoll_team_spend_usd_total", &team), Some(2.000_000_02), "all that its keys caused");
    assert_eq!(metrics.value("vectoll_team_budget_remaining_usd", &team), Some(0.999_999_98), "its own money");
    assert_eq!(metrics.value("vectoll_namespace_budget_remaining_usd", &team), Some(0.999_999_98));
    assert_eq!(metrics.value("vectoll_namespace_budget_limit_usd", &team), Some(1.0));
    assert_eq!(metrics.value("vectoll_rejections_total", &[("scope", "namespace"), ("reason", "requests")]), Some(1.0));
    Ok(())
}

#[tokio::test]
async fn what_users_have_left_and_when_periods_and_keys_end_is_told() -> anyhow::Result<()> {
    use jiff::{ToSpan, Zoned, tz::TimeZone};

    let stage = async |arguments: &[&str]| {
        let budget = |limit: &str, period: &str| json!({"limit": limit, "period": period, "timeZone": "Europe/Berlin"});
        let spec = json!({"budget": budget("1", "Monthly"), "userBudget": budget("0.5", "Daily")});
        let mut all = vec![team("search", spec), team("other", json!({})), builtin("builtin", &["builtin"])];
        let spec = json!({"budget": {"limit": "2", "period": "Total"}, "expiresAt": "2099-01-02T03:04:05Z"});
        all.extend(api_key("alice", "search", spec));
        all.extend(api_key("other", "other", json!({})));
        let mut setup = Setup::built()?;
        setup.sidecar_arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let pair = Pair::start_with(setup, &[("all.yaml", file(all))]).await?;
        let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
        let body = json!({"model": "builtin", "input": "a", "user": "bob"});
        assert_eq!(caller.post("/v1/embeddings", &body, &[]).await?.status, 200);
        assert_eq!(caller.with_key(&key_value("other")).embed("builtin", json!("a")).await?.status, 200);
        anyhow::Ok(pair)
    };
    // Midnight may pass between the call and the look.
    let ends = || -> anyhow::Result<[Option<f64>; 2]> {
        let today = Zoned::now().with_time_zone(TimeZone::get("Europe/Berlin")?).start_of_day()?;
        let month = today.first_of_month()?.checked_add(1.month())?;
        Ok([month, today.checked_add(1.day())?].map(|end| Some(end.timestamp().as_second() as f64)))
    };
    let before = ends()?;
    let pair = stage(&[]).await?;
    let metrics = pair.metrics().await?;
    let (team, bob) = ([("team", "default/search")], [("team", "default/search"), ("user", "bob")]);
    let key = [("team", "default/search"), ("key", "default/alice")];
    assert_eq!(metrics.value("vectoll_user_budget_limit_usd", &bob), Some(0.5));
    assert_eq!(metrics.value("vectoll_user_budget_remaining_usd", &bob), Some(0.499_999_98));
    assert_eq!(metrics.samples("vectoll_user_budget_limit_usd", &[]).count(), 1, "who has called, and has a budget");
    let found = [("team", &team[..]), ("user", &bob[..])]
        .map(|(word, labels)| metrics.value(&format!("vectoll_{word}_budget_period_end_timestamp_seconds"), labels));
    assert!(found == before || found == ends()?, "{found:?}, {before:?}");
    assert_eq!(metrics.value("vectoll_key_budget_remaining_usd", &key), Some(1.999_999_98));
    assert_eq!(metrics.value("vectoll_key_budget_period_end_timestamp_seconds", &key), None, "a total has no end");
    assert_eq!(metrics.value("vectoll_key_expiry_timestamp_seconds", &key), Some(4_071_006_245.0));
    assert_eq!(metrics.samples("vectoll_key_expiry_timestamp_seconds", &[]).count(), 1, "keys with an end");
    assert_eq!(metrics.value("vectoll_journal_max_bytes", &[]), Some(67_108_864.0));

    let metrics = stage(&["--user-metrics=off"]).await?.metrics().await?;
    assert_eq!(metrics.samples("vectoll_user_budget_limit_usd", &[]).count(), 0, "users are not told apart");
    assert_eq!(metrics.value("vectoll_team_budget_limit_usd", &team), Some(1.0));
    Ok(())
}
