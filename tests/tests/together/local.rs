//! `onStoreFailure: Local`, while the store comes and goes and sidecars are killed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{api_key, key_value, team},
};

use crate::scene::{MODEL, NINE_TOKENS, TURN, scene};

const LIMIT: u64 = 6_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_sidecars_of_a_store_that_comes_and_goes_admit_no_more_than_twice_the_limit() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let mut all = vec![team("search", json!({}))];
    all.extend(api_key("crowd", "search", json!({"limits": {"tokensPerMinute": LIMIT}})));
    let mut scene = scene(2, &[], all).await?;
    let callers: Vec<Caller> = scene
        .fleet
        .sidecars
        .iter()
        .map(|sidecar| Caller::new(&sidecar.base_url(), &key_value("crowd")))
        .collect::<Result<_, _>>()?;
    let (admitted, stop) = (Arc::new(Mutex::new(0_u64)), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let mut storms = Vec::new();
    for caller in callers.iter().flat_map(|caller| [caller.clone(), caller.clone()]) {
        let (admitted, stop) = (admitted.clone(), stop.clone());
        storms.push(tokio::spawn(async move {
            // As many texts as make a call of some 270 tokens: the limit is reached within seconds.
            let body = json!(vec![NINE_TOKENS; 30]);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Whoever is killed in the middle answers nothing; what it had admitted is the provider's to tell.
                if let Ok(answer) = caller.embed(MODEL, body.clone()).await
                    && answer.status == 200
                {
                    *admitted.lock().unwrap_or_else(PoisonError::into_inner) += answer.tokens();
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }));
    }
    // A store that was started just now grants nothing for its first four seconds.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let begun = Instant::now();
    let mut rounds = 0;
    while begun.elapsed() < Duration::from_secs(35) {
        scene.store.kill().await?;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let sidecar = rounds % scene.fleet.sidecars.len();
        scene.fleet.sidecars[sidecar].end(Signal::SIGKILL).await?;
        scene.store.restart().await?;
        scene.fleet.sidecars[sidecar].start().await?;
        // Long enough to be in contact again, and for the store to grant.
        tokio::time::sleep(Duration::from_millis(5_500)).await;
        rounds += 1;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for storm in storms {
        storm.await?;
    }
    let lasted = begun.elapsed() + Duration::from_secs(7);
    let (told, charged) =
        (*admitted.lock().unwrap_or_else(PoisonError::into_inner), scene.provider.account().charged_tokens);
    // However slow the machine is: twice the limit in each minute that was begun.
    let most = 2 * LIMIT * lasted.as_secs().div_ceil(60);
    println!(
        "{rounds} outages and kills in {:.0} s: {told} tokens were answered and {charged} charged, of at most {most}",
        lasted.as_secs_f64(),
    );
    assert!(charged <= most, "{charged} tokens in {lasted:?}");
    assert!(charged > LIMIT / 2, "{charged}: nothing was admitted");
    Ok(())
}
