//! Calls that are served: with one token for many, renewed in time, and anew when it was taken back.

use std::time::{Duration, Instant};

use serde_json::json;
use vectoll_tests::clouds::namespace;

use super::{
    identities::{Fetched, Identity},
    stage::{HOSTS, Stage, TEXT, TEXT_TOKENS, is_right},
};

/// First calls at once.
const CALLS: u64 = 20;

#[test]
fn twenty_first_calls_share_what_each_identity_is_given() -> anyhow::Result<()> {
    namespace::inside("served::twenty_first_calls_share_what_each_identity_is_given", &HOSTS, async |inside| {
        // Issuers take their time: the calls come while what they wait for is on its way.
        let mut stage = Stage::start(&inside, Vec::new(), |_, clouds| clouds.think(Duration::from_secs(3))).await?;
        let started = Instant::now();
        let calls: Vec<_> = (0..stage.them.all.len() as u64 * CALLS)
            .map(|call| {
                let place = (call / CALLS) as usize;
                let (caller, id) = (stage.caller.clone(), stage.them.all[place].id);
                (place, tokio::spawn(async move { caller.embed(id, json!(TEXT)).await }))
            })
            .collect();
        let mut slowest = Duration::ZERO;
        for (place, call) in calls {
            let answer = call.await??;
            is_right(&answer, &stage.them.all[place]);
            stage.remember(&answer)?;
            slowest = slowest.max(started.elapsed());
        }
        assert!(slowest > Duration::from_millis(500), "the calls waited for nothing: {slowest:?}");
        for Identity { id, host, fetched, .. } in &stage.them.all {
            let account = stage.clouds.account(host);
            assert_eq!((account.requests, account.charged_requests), (CALLS, CALLS), "{id}");
            assert_eq!(account.violations, Vec::<String>::new(), "{id}");
            if let Some(Fetched { issuer, tokens, .. }) = fetched {
                assert_eq!((stage.clouds.asked(issuer), tokens.issued().len()), (1, 1), "{id}");
            }
        }
        assert_eq!(stage.clouds.asked("sts.googleapis.com"), 1);
        let metrics = stage.at_rest().await?;
        let all = stage.them.all.len() as u64 * CALLS;
        assert_eq!(metrics.sum("vectoll_key_requests_total", &[]) as u64, all);
        assert_eq!(metrics.sum("vectoll_key_tokens_total", &[]) as u64, all * TEXT_TOKENS);
        stage.nothing_wrong_and_nothing_told().await
    })
}

/// The clouds take a token that is used after its end for a violation.
#[test]
fn tokens_are_renewed_before_they_end_and_none_is_used_after_it() -> anyhow::Result<()> {
    namespace::inside("served::tokens_are_renewed_before_they_end_and_none_is_used_after_it", &HOSTS, async |inside| {
        const LIFE: Duration = Duration::from_secs(8);
        let mut stage = Stage::start(&inside, Vec::new(), |them, _| {
            them.federated.live(LIFE);
            them.all.iter().filter_map(|one| one.fetched.as_ref()).for_each(|fetched| fetched.tokens.live(LIFE));
        })
        .await?;
        let ids: Vec<_> = stage.them.all.iter().map(|identity| identity.id).collect();
        // More than three lives.
        let started = Instant::now();
        while started.elapsed() < LIFE * 7 / 2 {
            for (place, id) in ids.iter().enumerate() {
                let answer = stage.call(id).await?;
                is_right(&answer, &stage.them.all[place]);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for Identity { id, fetched, .. } in &stage.them.all {
            let Some(Fetched { issuer, tokens, .. }) = fetched else { continue };
            let (issued, spare) = (tokens.issued().len(), tokens.spare().unwrap_or_default());
            // Renewed in the second half of each life, and not at each call. At the end there is up to a second left of a life that
            // is said in whole ones.
            assert!((4..=12).contains(&issued), "{id}: {issued} tokens");
            assert!(spare > Duration::from_millis(1_500), "{id}: renewed with {spare:?} left");
            assert_eq!(stage.clouds.asked(issuer), issued as u64, "{id}");
        }
        // Nobody calls for longer than a life: what there is has ended, and must not be used.
        let before: Vec<_> = issued(&stage);
        tokio::time::sleep(LIFE + Duration::from_secs(1)).await;
        assert_eq!(issued(&stage), before, "nothing is renewed that nobody asks for");
        for (place, id) in ids.iter().enumerate() {
            let answer = stage.call(id).await?;
            is_right(&answer, &stage.them.all[place]);
        }
        assert_eq!(issued(&stage), before.iter().map(|issued| issued + 1).collect::<Vec<_>>());
        stage.nothing_wrong_and_nothing_told().await
    })
}

#[test]
fn what_was_taken_back_is_fetched_anew_for_the_next_call() -> anyhow::Result<()> {
    namespace::inside("served::what_was_taken_back_is_fetched_anew_for_the_next_call", &HOSTS, async |inside| {
        let mut stage = Stage::start(&inside, Vec::new(), |_, _| {}).await?;
        let fetched: Vec<usize> =
            (0..stage.them.all.len()).filter(|place| stage.them.all[*place].fetched.is_some()).collect();
        for place in &fetched {
            let answer = stage.call(stage.them.all[*place].id).await?;
            is_right(&answer, &stage.them.all[*place]);
        }
        // What is refused when it is new is not refused for its age: it is doubted only after half a minute.
        tokio::time::sleep(Duration::from_secs(31)).await;
        for place in &fetched {
            let Identity { id, fetched: Some(Fetched { tokens, .. }), .. } = &stage.them.all[*place] else { continue };
            tokens.revoke();
            let id = *id;
            let refused = stage.call(id).await?;
            assert_eq!(refused.status, 502, "{id}: {}", refused.message());
            assert!(refused.message().contains("the credential is not good any more"), "{id}: {}", refused.message());
            assert_eq!(refused.header("x-litellm-response-cost"), Some("0.00"), "{id}");
            let next = stage.call(id).await?;
            is_right(&next, &stage.them.all[*place]);
        }
        assert_eq!(issued(&stage), vec![2; fetched.len()]);
        let metrics = stage.at_rest().await?;
        let charged = 2 * fetched.len() as u64 * TEXT_TOKENS;
        assert_eq!(metrics.sum("vectoll_key_tokens_total", &[]) as u64, charged, "a refusal costs nothing");
        stage.nothing_wrong_and_nothing_told().await
    })
}

/// How many tokens each identity that fetches some was given.
fn issued(stage: &Stage) -> Vec<usize> {
    let fetched = stage.them.all.iter().filter_map(|identity| identity.fetched.as_ref());
    fetched.map(|fetched| fetched.tokens.issued().len()).collect()
}
