//! Issuers that say no.

use std::time::Duration;

use serde_json::json;
use vectoll_tests::clouds::namespace;

use super::{
    identities::{Fetched, Identity},
    stage::{HOSTS, Stage, TEXT, is_right},
};

#[test]
fn an_issuer_that_refuses_is_named_costs_nothing_and_is_asked_again() -> anyhow::Result<()> {
    namespace::inside(
        "refused::an_issuer_that_refuses_is_named_costs_nothing_and_is_asked_again",
        &HOSTS,
        async |inside| {
            let mut stage = Stage::start(&inside, Vec::new(), |them, _| {
                them.all.iter().filter_map(|one| one.fetched.as_ref()).for_each(|fetched| fetched.tokens.close(true));
            })
            .await?;
            let fetched: Vec<usize> =
                (0..stage.them.all.len()).filter(|place| stage.them.all[*place].fetched.is_some()).collect();
            for place in &fetched {
                let Identity { id, fetched: Some(Fetched { what, issuer, refusal, .. }), .. } = &stage.them.all[*place]
                else {
                    continue;
                };
                let (id, what, issuer, refusal) = (*id, *what, *issuer, *refusal);
                let answer = stage.call(id).await?;
                assert_eq!((answer.status, answer.code()), (503, "no_backend_available"), "{id}: {}", answer.message());
                let message = answer.message();
                assert!(message.contains(&format!("failed to obtain {what}")), "{id}: {message}");
                assert!(message.contains(&format!("{issuer} answered {refusal}")), "{id}: {message}");
                // The issuers have repeated what they were sent.
                assert!(message.contains("[redacted]") || id == "vertex-node", "{id}: {message}");
                assert_eq!(answer.header("retry-after"), Some("1"), "{id}");
                assert_eq!(answer.header("x-litellm-response-cost"), None, "{id}: it never left");
            }
            for Identity { id, host, .. } in &stage.them.all {
                assert_eq!(stage.clouds.account(host).requests, 0, "{id}: the provider was called");
            }
            let metrics = stage.at_rest().await?;
            for nothing in ["vectoll_key_requests_total", "vectoll_key_tokens_total", "vectoll_key_spend_usd_total"] {
                assert_eq!(metrics.sum(nothing, &[]), 0.0, "{nothing}");
            }
            // The first of two issuers is named as the second was.
            stage.them.federated.close(true);
            let caller = stage.caller.clone();
            let said = async || {
                let answer = caller.embed("vertex-cluster", json!(TEXT)).await?;
                let by_first = answer.message().contains("sts.googleapis.com answered 403: access_denied: you sent");
                Ok((answer.status == 503 && by_first).then_some(answer))
            };
            let answer = stage.pair.wait_for("the exchange's refusal", Duration::from_secs(20), said).await?;
            stage.remember(&answer)?;
            assert!(answer.message().contains("[redacted]"), "{}", answer.message());
            stage.them.federated.close(false);
            // As soon as they give again, calls are served: within the pause that grows with the failures.
            for place in &fetched {
                let Identity { id, fetched: Some(Fetched { tokens, .. }), .. } = &stage.them.all[*place] else {
                    continue;
                };
                tokens.close(false);
                let (caller, id) = (stage.caller.clone(), *id);
                let served = async || {
                    let answer = caller.embed(id, json!(TEXT)).await?;
                    Ok((answer.status == 200).then_some(answer))
                };
                let answer = stage.pair.wait_for(id, Duration::from_secs(20), served).await?;
                is_right(&answer, &stage.them.all[*place]);
            }
            stage.nothing_wrong_and_nothing_told().await
        },
    )
}
