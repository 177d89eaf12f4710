//! Connections on both sides: those that end at the wrong moment, say nothing, or are refused before they have said all.

#![allow(clippy::indexing_slicing, clippy::float_cmp, clippy::print_stdout, reason = "a test")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use vectoll_operator::inject::max_held_bytes;
use vectoll_tests::{
    caller::Caller,
    cgroup::MemoryGroup,
    manifest::{api_key, builtin, file, key_value, route, team},
    pair::{Pair, Setup, binaries},
    wire::{CALL, status},
};

const ANSWER: &str = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.6,0.8]}],"model":"m","usage":{"prompt_tokens":1,"total_tokens":1}}"#;

/// A provider that closes each connection when it has been idle for a while, as servers do, and takes its time for an answer.
async fn impatient(
    idle: Duration,
    latency: Duration,
    body: Arc<str>,
) -> anyhow::Result<(SocketAddr, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, requests) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
    let count = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (count, body) = (count.clone(), body.clone());
            tokio::spawn(async move {
                let (mut read, mut piece) = (Vec::new(), vec![0; 65_536]);
                // An HTTP server's idle timer, which knows nothing of what is on its way.
                while let Ok(Ok(length @ 1..)) = tokio::time::timeout(idle, stream.read(&mut piece)).await {
                    read.extend_from_slice(&piece[..length]);
                    if read.ends_with(b"}") {
                        read.clear();
                        count.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(latency).await;
                        let length = body.len();
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
                        );
                        let _ = stream.write_all(head.as_bytes()).await;
                        let _ = stream.write_all(body.as_bytes()).await;
                    }
                }
            });
        }
    });
    Ok((address, requests))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_closes_what_is_idle_fails_no_call() -> anyhow::Result<()> {
    let (provider, requests) = impatient(Duration::from_millis(50), Duration::ZERO, ANSWER.into()).await?;
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["m"], &format!("http://{provider}/v1")));
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let calls: u32 = 150;
    for call in 0..calls {
        let answer = caller.embed("m", json!("a")).await?;
        assert_eq!(answer.status, 200, "call {call}: {:?}", answer.json);
        // Around the moment of the close.
        tokio::time::sleep(Duration::from_micros(48_500 + u64::from(call % 10) * 300)).await;
    }
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.sum("vectoll_unsettled_requests_total", &[]), 0.0);
    assert_eq!(metrics.sum("vectoll_key_tokens_total", &[]), f64::from(calls));
    assert_eq!(requests.load(Ordering::Relaxed), usize::try_from(calls)?, "none came twice");
    Ok(())
}

/// A pair on the built-in model, with keys `alice` and `bob`.
async fn stage(setup: Setup) -> anyhow::Result<Pair> {
    let mut all = vec![team("search", json!({})), builtin("builtin", &["builtin"])];
    all.extend(api_key("alice", "search", json!({})));
    let bob = file(api_key("bob", "search", json!({})));
    Pair::start_with(setup, &[("all.yaml", file(all)), ("bob.yaml", bob)]).await
}

fn connect(pair: &Pair) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(pair.proxy_address())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

fn head(key: &str, more: &str) -> String {
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n{more}\r\n"
    )
}

fn call(key: &str) -> String {
    head(key, &format!("Content-Length: {}\r\n", CALL.len())) + CALL
}

/// One answer: its head, its body read as well.
fn answer(stream: &mut TcpStream) -> anyhow::Result<String> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(b"\r\n\r\n") {
        ensure!(stream.read(&mut byte)? == 1, "closed after {:?}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
    stream.read_exact(&mut vec![0; length.parse()?])?;
    Ok(head)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_before_the_body_arrives_and_the_next_call_on_the_connection_is_served() -> anyhow::Result<()> {
    let pair = stage(Setup::built()?).await?;
    for length in [200_000, 6_000_000, 20_000_000] {
        let mut stream = connect(&pair)?;
        stream.write_all(head("sk-nobody", &format!("Content-Length: {length}\r\n")).as_bytes())?;
        std::thread::sleep(Duration::from_millis(10));
        // All of it, before anything is read.
        stream.write_all(&vec![b' '; length]).with_context(|| format!("{length} bytes"))?;
        let refused = answer(&mut stream).with_context(|| format!("{length} bytes"))?;
        assert_eq!(status(&refused), 401);
        assert!(!refused.contains("connection: close"), "{refused}");
        stream.write_all(call(&key_value("alice")).as_bytes())?;
        assert_eq!(status(&answer(&mut stream)?), 200, "after {length} bytes");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_connection_ends_after_a_refusal_the_refusal_says_so() -> anyhow::Result<()> {
    let pair = stage(Setup::built()?).await?;
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, " ".repeat(100_000));
    for (more, parts) in [
        ("Transfer-Encoding: chunked\r\n", 80),
        ("Content-Length: 100000000\r\n", 80),
        ("Content-Length: 35\r\nExpect: 100-continue\r\n", 0),
    ] {
        let mut stream = connect(&pair)?;
        stream.write_all(head("sk-nobody", more).as_bytes())?;
        std::thread::sleep(Duration::from_millis(10));
        for _ in 0..parts {
            stream.write_all(chunk.as_bytes()).with_context(|| more.to_owned())?;
        }
        let refused = answer(&mut stream).with_context(|| more.to_owned())?;
        assert_eq!(status(&refused), 401);
        assert!(refused.contains("connection: close"), "{refused}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2_a_refusal_before_the_body_arrives_too() -> anyhow::Result<()> {
    let pair = stage(Setup::built()?).await?;
    let url = format!("{}/v1/embeddings", pair.base_url());
    // It sets up what every client needs.
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build()?;
    for length in [200_000, 6_000_000, 20_000_000] {
        for _ in 0..10 {
            let refused = http.post(&url).bearer_auth("sk-nobody").body(vec![b' '; length]).send().await;
            let refused = refused.with_context(|| format!("{length} bytes"))?;
            assert_eq!(refused.status(), 401, "{length} bytes");
            let error: serde_json::Value = refused.json().await.with_context(|| format!("{length} bytes"))?;
            assert_eq!(error["error"]["code"], "invalid_api_key", "{length} bytes: {error}");
        }
        let served = http.post(&url).bearer_auth(key_value("alice")).body(CALL).send().await?;
        assert_eq!(served.status(), 200, "after {length} bytes");
    }
    assert_eq!(caller.embed("builtin", json!("a")).await?.status, 200);
    Ok(())
}

/// The sidecar, begun by a shell that does this first.
fn after(folder: &Path, lines: &str) -> anyhow::Result<Setup> {
    let mut setup = Setup::built()?;
    let script = folder.join("sidecar");
    binaries::after(&setup.binaries.sidecar, &script, lines)?;
    setup.binaries.sidecar = script;
    Ok(setup)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_take_no_descriptor_from_others_and_do_not_stay() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let pair = stage(after(folder.path(), "ulimit -n 256")?).await?;
    let mut silent = Vec::new();
    for at in 0..300 {
        let mut stream = connect(&pair)?;
        let _ = stream.write_all([b"".as_slice(), b"P", PREFACE][at % 3]);
        silent.push(stream);
    }
    let opened = Instant::now();
    let (alice, bob) = (Caller::new(&pair.base_url(), &key_value("alice"))?, key_value("bob"));
    assert_eq!(alice.embed("builtin", json!("a")).await?.status, 200);
    assert_eq!(alice.with_key(&bob).embed("builtin", json!("a")).await?.status, 200);
    pair.remove_manifest("bob.yaml")?;
    pair.wait_for("the removed key to be refused", Duration::from_secs(8), async || {
        Ok((alice.with_key(&bob).embed("builtin", json!("a")).await?.status == 401).then_some(()))
    })
    .await?;
    assert!(!pair.sidecar_log().contains("failed to accept"), "{}", pair.sidecar_log());
    // None of them stays for long.
    for mut stream in silent {
        let mut read = Vec::new();
        let ended = stream.read_to_end(&mut read);
        ensure!(
            !ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
            "open after {:?}",
            opened.elapsed()
        );
    }
    // Its time begins when it comes, however long nobody had come.
    let mut late = connect(&pair)?;
    std::thread::sleep(Duration::from_millis(300));
    late.write_all(call(&key_value("alice")).as_bytes())?;
    assert_eq!(status(&answer(&mut late)?), 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_no_half_head_and_no_silent_client() -> anyhow::Result<()> {
    let mut pair = stage(Setup::built()?).await?;
    let mut open = Vec::new();
    for bytes in [b"".as_slice(), b"POST /v1/embeddings HTTP/1.1\r\nHost: loc", PREFACE] {
        let mut stream = connect(&pair)?;
        stream.write_all(bytes)?;
        open.push(stream);
    }
    // A client that has had an answer, and one that is half way through its next head.
    for more in ["", "POST /v1"] {
        let mut stream = connect(&pair)?;
        stream.write_all(call(&key_value("alice")).as_bytes())?;
        assert_eq!(status(&answer(&mut stream)?), 200);
        stream.write_all(more.as_bytes())?;
        open.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let asked = Instant::now();
    assert!(pair.terminate_sidecar().await?.success());
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    drop(open);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_has_its_own_time_and_a_stall_of_the_sidecar_takes_no_request() -> anyhow::Result<()> {
    let mut setup = Setup::built()?;
    setup.sidecar_arguments = ["--idle-timeout-seconds", "3"].map(str::to_owned).to_vec();
    let pair = stage(setup).await?;
    let mut stream = connect(&pair)?;
    let served = |stream: &mut TcpStream| {
        stream.write_all(call(&key_value("alice")).as_bytes())?;
        anyhow::Ok(status(&answer(stream)?))
    };
    assert_eq!(served(&mut stream)?, 200);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(served(&mut stream)?, 200);
    // It stands still until its idle time is over, and a request came meanwhile.
    let sidecar = Pid::from_raw(i32::try_from(pair.sidecar_pid().context("it runs")?)?);
    kill(sidecar, Signal::SIGSTOP)?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    stream.write_all(call(&key_value("alice")).as_bytes())?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    kill(sidecar, Signal::SIGCONT)?;
    assert_eq!(status(&answer(&mut stream)?), 200);
    let rests = Instant::now();
    assert_eq!(stream.read(&mut [0])?, 0, "closed in the end");
    assert!((2..8).contains(&rests.elapsed().as_secs()), "{:?}", rests.elapsed());
    Ok(())
}

/// Limits on an injected sidecar's memory, in MiB: the least, and the usual one. So many callers at once fit under each, and in so many
/// MiB: of those that wait little is read ahead.
const LIMITS: [(u64, usize, u64); 2] = [(64, 384, 56), (256, 1_000, 140)];

/// The most memory that the sidecar has had, in KiB.
fn peak(pair: &Pair) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", pair.sidecar_pid().context("it runs")?))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// A sidecar as it is injected under a limit on its memory, in MiB, and held to it as a container is.
async fn in_front_of(provider: SocketAddr, limit: u64) -> anyhow::Result<(MemoryGroup, Pair)> {
    let (folder, group) = (tempfile::tempdir()?, MemoryGroup::new(limit << 20)?);
    let mut setup = after(folder.path(), &group.enter())?;
    let held = max_held_bytes(limit << 20);
    setup.sidecar_arguments = ["--max-held-bytes", &held.to_string()].map(str::to_owned).to_vec();
    let mut all = vec![team("search", json!({}))];
    all.extend(route("openai", &["m"], &format!("http://{provider}/v1")));
    all.extend(api_key("alice", "search", json!({})));
    Ok((group, Pair::start_with(setup, &[("all.yaml", file(all))]).await?))
}

/// It lives, and what it took at most leaves an eighth of the limit free.
fn fits(group: &MemoryGroup, pair: &Pair, limit: u64, what: &str) -> anyhow::Result<()> {
    assert_eq!(group.killed()?, 0, "{what} under {limit} MiB");
    let peak = peak(pair)?;
    println!("{what} under {limit} MiB: {peak} KiB at most");
    ensure!(peak < limit * 1024 * 7 / 8, "{peak} KiB at most under {limit} MiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_callers_with_200_kb_each_as_a_limit_allows_fit_and_are_served() -> anyhow::Result<()> {
    let idle = Duration::from_secs(5);
    for (limit, callers, most) in LIMITS {
        let (provider, requests) = impatient(idle, Duration::from_millis(300), ANSWER.into()).await?;
        let (group, pair) = in_front_of(provider, limit).await?;
        let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
        let text = json!("word ".repeat(40_000));
        let all = (0..callers).map(|_| async { anyhow::Ok(caller.embed("m", text.clone()).await?.status) });
        let statuses = futures_util::future::try_join_all(all).await?;
        let served = statuses.iter().filter(|status| **status == 200).count();
        fits(&group, &pair, limit, &format!("{callers} callers"))?;
        assert!(peak(&pair)? < most * 1024, "{} KiB at most under {limit} MiB", peak(&pair)?);
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        assert!(served > callers * 9 / 10, "{served} served under {limit} MiB");
        assert_eq!(requests.load(Ordering::Relaxed), served);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_that_nobody_reads_fit() -> anyhow::Result<()> {
    let numbers = vec!["0.25"; 600_000].join(",");
    let large = ANSWER.replace("0.6,0.8", &numbers);
    let (provider, _) = impatient(Duration::from_mins(1), Duration::ZERO, large.into()).await?;
    // Under the least limit so many would be too many: of each some is read ahead.
    for limit in [128, 256] {
        let (group, pair) = in_front_of(provider, limit).await?;
        let mut unread = Vec::new();
        for _ in 0..400 {
            let mut stream = connect(&pair)?;
            let body = r#"{"model":"m","input":"a"}"#;
            let length = format!("Content-Length: {}\r\n", body.len());
            stream.write_all((head(&key_value("alice"), &length) + body).as_bytes())?;
            unread.push(stream);
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        fits(&group, &pair, limit, "answers that nobody reads")?;
        drop(unread);
    }
    Ok(())
}
