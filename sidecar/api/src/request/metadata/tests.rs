#![allow(clippy::unwrap_used, reason = "tests")]
use http::HeaderValue;

use super::*;

fn headers(of: &[(&'static str, &[u8])]) -> HeaderMap {
    of.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())).collect()
}

fn read(text: &[u8]) -> Result<Option<Metadata>, Malformed> {
    Metadata::of_headers(&headers(&[("x-litellm-metadata", text)]))
}

fn of_call(of: &[(&'static str, &[u8])], body: &str) -> Result<Option<Metadata>, Malformed> {
    Metadata::of_call(&headers(of), &Fields::read(body).unwrap())
}

#[test]
fn an_object_is_kept_as_it_came_with_its_tags() {
    let metadata = read(br#" {"job": {"id": 7}, "tags": ["a", "b"]} "#).unwrap().unwrap();
    assert_eq!(metadata.json().unwrap().get(), r#"{"job": {"id": 7}, "tags": ["a", "b"]}"#);
    assert_eq!(metadata.tags(), ["a", "b"]);
    let in_body = of_call(&[], r#"{"metadata": { "b": 1, "a": 2 }}"#).unwrap().unwrap();
    assert_eq!(in_body.json().unwrap().get(), r#"{ "b": 1, "a": 2 }"#);
    let longest = "ü".repeat(LONGEST_TAG);
    assert_eq!(read(format!("{{\"tags\": [\"{longest}\"]}}").as_bytes()).unwrap().unwrap().tags(), [longest]);
    for untagged in ["{}", r#"{"tags": null}"#] {
        assert!(read(untagged.as_bytes()).unwrap().unwrap().tags().is_empty());
    }
    assert!(of_call(&[], r#"{"metadata": null, "litellm_metadata": null, "tags": null}"#).unwrap().is_none());
}

#[test]
fn tags_count_in_litellms_order() {
    let metadata: (&str, &[u8]) = ("x-litellm-metadata", br#"{"tags": ["of-header-metadata"]}"#);
    let tags: (&str, &[u8]) = ("x-litellm-tags", b" of-header ,, second,");
    let body = r#"{"metadata": {"tags": ["of-metadata"]}, "litellm_metadata": {"tags": ["of-litellm"]}}"#;
    let found = |headers: &[(&'static str, &[u8])], body: &str| {
        of_call(headers, body).unwrap().map(|metadata| metadata.tags().join("+"))
    };
    for (headers, body, expected) in [
        (&[metadata, tags][..], r#"{"tags": ["of-body"], "metadata": {"tags": ["of-metadata"]}}"#, "of-body"),
        (&[metadata, tags], body, "of-header+second"),
        (&[metadata], body, "of-header-metadata"),
        (&[], body, "of-metadata"),
        (&[], r#"{"litellm_metadata": {"tags": ["of-litellm"]}, "metadata": {}}"#, "of-litellm"),
        // What says nothing does not count.
        (&[("x-litellm-tags", b" , ")], body, "of-metadata"),
        (&[tags], r#"{"tags": null}"#, "of-header+second"),
        // An array that is empty does, as at LiteLLM's.
        (&[tags], r#"{"tags": []}"#, ""),
    ] {
        assert_eq!(found(headers, body).as_deref(), Some(expected), "{body}");
    }
    assert_eq!(found(&[("x-litellm-tags", b",")], "{}"), None);
}

#[test]
fn fields_of_several_objects_are_one_object() {
    let merged = of_call(
        &[
            ("x-litellm-metadata", br#"{"a": "header", "spend_logs_metadata": 1}"#),
            ("x-litellm-spend-logs-metadata", br#"{"project": "p"}"#),
        ],
        r#"{"metadata": {"a": "body", "b": "body", "c": "body"}, "litellm_metadata": "{\"c\": \"litellm\", \"d\": [1]}"}"#,
    );
    assert_eq!(
        merged.unwrap().unwrap().json().unwrap().get(),
        r#"{"a":"header","b":"body","c":"body","d":[1],"spend_logs_metadata":{"project": "p"}}"#
    );
    let alone = of_call(&[("x-litellm-spend-logs-metadata", b"{}")], "{}").unwrap().unwrap();
    assert_eq!(alone.json().unwrap().get(), r#"{"spend_logs_metadata":{}}"#);
    let only_tags = of_call(&[], r#"{"tags": ["a"]}"#).unwrap().unwrap();
    assert!(only_tags.json().is_none());
}

#[test]
fn the_user_of_metadata_is_the_one_that_litellm_takes() {
    for (body, user) in [
        (r#"{"metadata": {"user_id": "of-metadata", "user": "no"}}"#, Some("of-metadata")),
        (r#"{"metadata": {"user_id": "of-metadata"}, "litellm_metadata": {"user": "of-litellm"}}"#, Some("of-litellm")),
        (r#"{"metadata": {"user_id": "of-metadata"}, "litellm_metadata": {"user_id": "no"}}"#, Some("of-metadata")),
        (r#"{"metadata": {"user_id": 4711}}"#, Some("4711")),
        (r#"{"metadata": {"user_id": null}}"#, None),
        (r#"{"metadata": {"user_id": ""}}"#, None),
        (r#"{"metadata": "{\"user_id\": \"in-a-string\"}"}"#, Some("in-a-string")),
    ] {
        assert_eq!(of_call(&[], body).unwrap().unwrap().user(), user, "{body}");
    }
    // A header's is for the log: users have headers of their own.
    assert_eq!(read(br#"{"user": "a", "user_id": "b"}"#).unwrap().unwrap().user(), None);
}

#[test]
fn what_is_none_is_refused_by_its_name() {
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
    let long_tag = format!("{{\"tags\": [\"{}\"]}}", "ü".repeat(LONGEST_TAG + 1));
    let long = format!("{{\"a\": \"{}\"}}", "a".repeat(MAX_METADATA_BYTES));
    let many = format!("{{\"tags\": [{}]}}", vec!["\"a\""; MAX_TAGS + 1].join(","));
    for text in [
        "1",
        "[]",
        "\"a\"",
        r#"{"tags": "a"}"#,
        r#"{"tags": [1]}"#,
        r#"{"tags": [""]}"#,
        r#"{"tags": [], "tags": []}"#,
        r#"{"a": "\ud800"}"#,
        r#"{"a": 1e999}"#,
        &deep,
        &long_tag,
        &long,
        &many,
    ] {
        let refusal = read(text.as_bytes()).unwrap_err();
        assert!(refusal.message.contains("x-litellm-metadata"), "{text}: {}", refusal.message);
        for field in ["metadata", "litellm_metadata"] {
            let refusal = of_call(&[], &format!("{{\"{field}\": {text}}}")).unwrap_err();
            assert!(refusal.message.contains(&format!("`{field}`")), "{text}: {}", refusal.message);
            assert_eq!(refusal.param, Some(field));
        }
    }
    for text in ["", "{", "null", "{} {}"] {
        let refusal = read(text.as_bytes()).unwrap_err();
        assert!(refusal.message.contains("x-litellm-metadata"), "{text}: {}", refusal.message);
        let refusal =
            Metadata::of_headers(&headers(&[("x-litellm-spend-logs-metadata", text.as_bytes())])).unwrap_err();
        assert!(refusal.message.contains("x-litellm-spend-logs-metadata"), "{text}: {}", refusal.message);
    }
    assert!(read(b"{\"a\": \"\xff\"}").is_err(), "not UTF-8");
    for (body, field) in [
        (r#"{"tags": "a"}"#, "tags"),
        (r#"{"tags": [1]}"#, "tags"),
        (r#"{"tags": [""]}"#, "tags"),
        (r#"{"metadata": {"user_id": {}}}"#, "metadata"),
        (r#"{"litellm_metadata": {"user": true}}"#, "litellm_metadata"),
    ] {
        let refusal = of_call(&[], body).unwrap_err();
        assert_eq!(refusal.param, Some(field), "{body}");
        assert!(refusal.message.contains(&format!("`{field}`")), "{body}: {}", refusal.message);
    }
    let too_many = vec!["a"; MAX_TAGS + 1].join(",");
    for tags in [too_many.as_bytes(), "b".repeat(LONGEST_TAG + 1).as_bytes(), b"\xff"] {
        let refusal = Metadata::of_headers(&headers(&[("x-litellm-tags", tags)])).unwrap_err();
        assert!(refusal.message.contains("x-litellm-tags"), "{}", refusal.message);
    }
}

#[test]
fn all_of_it_together_is_bounded() {
    let half = "a".repeat(MAX_METADATA_BYTES / 2);
    let refusal = of_call(&[], &format!(r#"{{"metadata": {{"a": "{half}"}}, "litellm_metadata": {{"b": "{half}"}}}}"#))
        .unwrap_err();
    assert!(refusal.message.contains("together"), "{}", refusal.message);
}
