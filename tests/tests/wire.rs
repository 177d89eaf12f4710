//! The wire beyond the usual: paths, methods, hosts, framing.

#![allow(clippy::indexing_slicing, clippy::float_cmp, reason = "a test")]

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::key_value,
    wire::{CALL, exchange, request, stage, status},
};

#[tokio::test]
async fn one_model_is_told_to_those_who_may_use_it() -> anyhow::Result<()> {
    let (_pair, _provider, caller) = stage(&[]).await?;
    let get = async |path: &str, key: &str| {
        caller.raw(|http, base| http.get(format!("{base}{path}")).bearer_auth(key_value(key))).await
    };
    for (path, id) in [
        ("/v1/models/builtin", "builtin"),
        ("/models/org/model:v1", "org/model:v1"),
        ("/v1/models/org%2Fmodel%3Av1", "org/model:v1"),
        ("/openai/v1/models/wild-7", "wild-7"),
    ] {
        let answer = get(path, "alice").await?;
        assert_eq!((answer.status, answer.json["id"].as_str()), (200, Some(id)), "{path}: {:?}", answer.json);
        assert_eq!(answer.json["object"], "model");
    }
    let nowhere = get("/v1/models/gpt-7", "alice").await?;
    assert_eq!((nowhere.status, nowhere.code()), (404, "model_not_found"));
    let forbidden = get("/v1/models/text-embedding-3-small", "reader").await?;
    assert_eq!((forbidden.status, forbidden.code()), (403, "model_not_allowed"));
    let listed = get("/v1/models", "reader").await?;
    let ids: Vec<&str> =
        listed.json["data"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(ids, ["builtin"]);
    Ok(())
}

#[tokio::test]
async fn methods_are_what_they_should_be() -> anyhow::Result<()> {
    let (_pair, _provider, caller) = stage(&[]).await?;
    let ask = async |method: &str, path: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        caller.raw(|http, base| http.request(method, format!("{base}{path}")).bearer_auth(key_value("alice"))).await
    };
    for (method, path, status, allow) in [
        ("OPTIONS", "/v1/embeddings", 204, Some("POST")),
        ("HEAD", "/v1/embeddings", 405, Some("POST")),
        ("PUT", "/engines/builtin/embeddings", 405, Some("POST")),
        ("OPTIONS", "/v1/models", 204, Some("GET, HEAD")),
        ("HEAD", "/v1/models", 200, None),
        ("DELETE", "/v1/models/builtin", 405, Some("GET, HEAD")),
        ("HEAD", "/health/readiness", 200, None),
    ] {
        let answer = ask(method, path).await?;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {path}");
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{method} {path}");
    }
    Ok(())
}

#[tokio::test]
async fn web_pages_and_foreign_names_are_kept_out_unless_allowed() -> anyhow::Result<()> {
    let (pair, _provider, caller) =
        stage(&["--allowed-hosts=vectoll,gate", "--allowed-origins=https://tools.example"]).await?;
    let send = async |headers: &[(&str, &str)]| {
        caller.post("/v1/embeddings", &json!({"model": "builtin", "input": "a"}), headers).await
    };
    for (headers, status, code) in [
        (&[("host", "localhost:4000")][..], 200, ""),
        (&[("host", "gate:4000")], 200, ""),
        (&[("host", "evil.example")], 403, "host_not_allowed"),
        (&[("origin", "https://tools.example")], 200, ""),
        (&[("origin", "https://evil.example")], 403, "origin_not_allowed"),
        (&[("origin", "null")], 403, "origin_not_allowed"),
    ] {
        let answer = send(headers).await?;
        assert_eq!((answer.status, answer.code()), (status, code), "{headers:?}: {:?}", answer.json);
    }
    // Also what needs no key.
    let health =
        caller.raw(|http, base| http.get(format!("{base}/health/readiness")).header("host", "evil.example")).await?;
    assert_eq!(health.status, 403);
    assert_eq!(pair.metrics().await?.sum("vectoll_rejections_total", &[("reason", "host_not_allowed")]), 2.0);
    // The other listener tells names of users and what they spend: a page is not to read that either.
    let admin = Caller::new(&pair.admin_url(), "")?;
    for (name, value, status) in [
        ("host", "evil.example", 403),
        ("host", "gate:4001", 200),
        ("origin", "https://evil.example", 403),
        ("accept", "*/*", 200),
    ] {
        let metrics = admin.raw(|http, base| http.get(format!("{base}/metrics")).header(name, value)).await?;
        assert_eq!(metrics.status, status, "{name}: {value}");
    }
    Ok(())
}

#[tokio::test]
async fn bodies_come_in_every_framing_and_compressed_ones_are_refused() -> anyhow::Result<()> {
    let (pair, _provider, caller) = stage(&[]).await?;
    let length = format!("Content-Length: {}\r\n", CALL.len());
    assert_eq!(status(&exchange(&pair, request(&length, CALL).as_bytes())?), 200);
    let chunked = format!("{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", 5, &CALL[..5], CALL.len() - 5, &CALL[5..]);
    assert_eq!(status(&exchange(&pair, request("Transfer-Encoding: chunked\r\n", &chunked).as_bytes())?), 200);
    // Who asks whether to go on is told so, and then answered.
    let told = exchange(&pair, request(&format!("{length}Expect: 100-continue\r\n"), CALL).as_bytes())?;
    assert!(told.starts_with("HTTP/1.1 100") && told.contains("HTTP/1.1 200"), "{told}");
    // Two calls on one connection, the second before the answer to the first.
    let first = request(&length, CALL).replace("Connection: close\r\n", "");
    let both = exchange(&pair, format!("{first}{}", request(&length, CALL)).as_bytes())?;
    assert_eq!(both.matches("HTTP/1.1 200").count(), 2, "{both}");
    // HTTP/1.0 knows no Host.
    let old = format!("POST /embeddings HTTP/1.0\r\nx-api-key: {}\r\n{length}\r\n{CALL}", key_value("alice"));
    assert_eq!(status(&exchange(&pair, old.as_bytes())?), 200);

    let h2c = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build()?;
    let answer = h2c
        .post(format!("{}/v1/embeddings", pair.base_url()))
        .bearer_auth(key_value("alice"))
        .body(CALL)
        .send()
        .await?;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));

    for (coding, status) in [("gzip", 415), ("deflate, gzip", 415), ("br", 415), ("identity", 200)] {
        let answer = caller
            .post("/v1/embeddings", &json!({"model": "builtin", "input": "a"}), &[("content-encoding", coding)])
            .await?;
        assert_eq!(answer.status, status, "{coding}");
        assert!(status == 200 || answer.message().starts_with("Compressed bodies are not read"), "{:?}", answer.json);
    }
    let framed = exchange(&pair, request("Transfer-Encoding: gzip, chunked\r\n", &chunked).as_bytes())?;
    assert_eq!(status(&framed), 415, "{framed}");
    Ok(())
}

/// Where a request ends must be clear to everybody on the way: else a second one could hide in its body.
#[tokio::test]
async fn a_request_of_two_lengths_never_becomes_two() -> anyhow::Result<()> {
    let (pair, _provider, _caller) = stage(&[]).await?;
    let hidden = format!(
        "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx-api-key: {}\r\nConnection: close\r\n\r\n",
        key_value("alice")
    );
    // The connection stays, so that what is hidden would be answered if it were taken for a request.
    let keep = |headers: &str, body: &str| request(headers, body).replace("Connection: close\r\n", "");
    let whole = format!("0\r\n\r\n{hidden}");
    let both = keep(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", whole.len()), &whole);
    let two =
        keep(&format!("Content-Length: {}\r\nContent-Length: {}\r\n", CALL.len(), CALL.len() + hidden.len()), CALL);
    for smuggled in [both, two + &hidden] {
        let answer = exchange(&pair, smuggled.as_bytes())?;
        assert_eq!(status(&answer), 400, "{answer}");
        assert!(!answer.contains("\"list\""), "{answer}");
    }
    // The hidden one is a request that is answered where it stands in the open.
    assert!(exchange(&pair, hidden.as_bytes())?.contains("\"list\""));
    Ok(())
}

#[test]
fn settings_that_could_never_match_are_refused_at_the_start() -> anyhow::Result<()> {
    let sidecar = vectoll_tests::pair::binaries::Binaries::built()?.sidecar;
    for (setting, words) in [
        ("--allowed-origins=https://tools.example/", "is no origin"),
        ("--allowed-hosts=vectoll:4000", "is no host name"),
    ] {
        let output = std::process::Command::new(&sidecar)
            .args(["--config-dir", "/nonexistent", "--state-dir", "/nonexistent", setting])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{setting}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_unix_socket_serves_like_an_address_and_goes_with_the_sidecar() -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("vectoll.sock");
    let (mut pair, _provider, _caller) = stage(&["--listen-unix", &path.display().to_string()]).await?;
    let ask = async |key: &str| {
        let mut stream = tokio::net::UnixStream::connect(&path).await?;
        let body = json!({"model": "builtin", "input": "a"}).to_string();
        let head = format!(
            "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = ask(&key_value("alice")).await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"embedding\":"), "{answer}");
    assert!(ask("sk-unknown-0123456789").await?.starts_with("HTTP/1.1 401"), "keys are asked for");
    assert!(pair.terminate_sidecar().await?.success());
    assert!(!path.exists(), "nothing is left behind");
    Ok(())
}
