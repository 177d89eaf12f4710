//! Strangers: who has no key costs little, and takes nothing from those who have one.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::ensure;
use vectoll_tests::wire::lines;

use crate::stage::{DEADLINE, Stage, models, status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wrong_keys_is_cut_short_and_a_right_one_is_served() -> anyhow::Result<()> {
    const CALLS: u32 = 1_000;
    let stage = Stage::start_with(10_000).await?;
    let alice = stage.caller("alice")?;
    let stranger = stage.caller("nobody")?;
    let refused = stranger.embed("text-embedding-3-small", "a".into()).await?;
    assert_eq!((refused.status, refused.code()), (401, "invalid_api_key"));
    let began = Instant::now();
    let (mut told, mut limited, mut ended) = (1_u32, 0_u32, 0_u32);
    for call in 0..CALLS {
        let answer = if call % 2 == 0 {
            stranger.embed("text-embedding-3-small", "a".into()).await
        } else {
            stranger.get("/v1/models").await
        };
        match answer {
            Ok(answer) if answer.status == 401 => told += 1,
            Ok(answer) if answer.status == 429 => {
                limited += 1;
                ensure!(answer.header("retry-after") == Some("1"), "{:?}", answer.headers);
                ensure!(answer.message().starts_with("Rate limit exceeded for address 127.0.0.1"), "{}", answer.json);
            }
            Ok(other) => anyhow::bail!("{}: {:?}", other.status, other.json),
            // Its connection ended with the first one too many, and another one is not taken yet.
            Err(_) => ended += 1,
        }
        // From the same address, over the connection that there is.
        if call % 100 == 0 {
            assert_eq!(status(&alice).await?, 200);
        }
    }
    assert!(
        ended > limited,
        "over HTTP/2 a flood goes on by one connection: {limited} calls were answered, {ended} were not"
    );
    // A hundred, and ten a second.
    let allowed = 102 + began.elapsed().as_millis() / 100;
    assert!(limited > 0 && u128::from(told) <= allowed, "{told} of {allowed} were told, {limited} limited");
    let metrics = stage.pair.metrics().await?;
    assert_eq!(metrics.sum("vectoll_unauthorized_limited_total", &[("what", "calls")]), f64::from(limited));
    assert!(metrics.sum("vectoll_unauthorized_limited_total", &[("what", "connections")]) >= f64::from(ended) / 2.0);
    assert_eq!(metrics.sum("vectoll_rejections_total", &[("scope", "address")]), f64::from(limited));
    // The log has those that were told, and no more.
    let lines = lines(&stage.pair, 11).await?;
    assert!(lines.iter().all(|line| line["reason"] != "wrong_keys"), "a flood fills the log");
    // Nor do those fill it that are wrong in another way before anybody knows whose they are.
    let body = serde_json::json!({"model": "text-embedding-3-small", "input": "a"});
    let from_a_page = stranger.post("/v1/embeddings", &body, &[("origin", "https://evil.example.com")]).await;
    assert!(from_a_page.is_err() || from_a_page.is_ok_and(|answer| answer.status == 429));
    // New connections are slowed down, and served again when it is over.
    let mut failed = 0;
    for _ in 0..20 {
        let _ = stranger.get("/v1/models").await;
        failed += u32::from(models(&stage.caller("alice")?).await.is_err());
    }
    assert!(failed > 0, "connections of an address that floods are taken as they come");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(models(&stage.caller("alice")?).await?, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_says_nothing_is_not_waited_for() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let began = Instant::now();
    let connect = || {
        let stream = TcpStream::connect(stage.pair.proxy_address())?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        anyhow::Ok(stream)
    };
    let (mut silent, mut plain, mut half) = (connect()?, connect()?, connect()?);
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    // The first bytes of a handshake, whose rest never comes.
    half.write_all(&[22, 3, 1, 2, 0])?;
    assert_eq!(status(&stage.caller("alice")?).await?, 200, "nobody waits for them");
    let mut read = Vec::new();
    // It is no TLS: it is told so, or not, and that is the end of it.
    let _ = plain.read_to_end(&mut read);
    assert!(!read.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&read));
    for stream in [&mut silent, &mut half] {
        let _ = stream.read_to_end(&mut read);
    }
    assert!((8..15).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_without_a_restart() -> anyhow::Result<()> {
    let mut stage = Stage::start().await?;
    let before = stage.caller("alice")?;
    assert_eq!(models(&before).await?, 200);
    stage.certificate.renew()?;
    let renewed = async || Ok(models(&stage.caller("alice")?).await.is_ok_and(|status| status == 200).then_some(()));
    stage.pair.wait_for("the new certificate", DEADLINE + Duration::from_secs(10), renewed).await?;
    assert_eq!(models(&before).await?, 200, "connections that there are go on");
    Ok(())
}
