//! Who is calling.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use vectoll_config::{KeyHash, POD_KEY, has_valid_checksum, is_generated, namespace_of};

use crate::{
    pod_token::{self, PodTokens, TokenError},
    policy::{Credential, Key, PodKey, Policy},
    refusal::Refusal,
};
use vectoll_clock::Now;

/// Where clients put their key, in the order in which the headers are looked at, which is that of LiteLLM's proxy: its own, OpenAI's,
/// Azure's, Anthropic's.
///
/// Source: BerriAI/litellm `litellm/proxy/auth/user_api_key_auth.py` (`get_api_key`).
pub(crate) static KEY_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("x-litellm-api-key"),
    header::AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
];

/// Someone with a key that is valid now.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Key>);

impl Caller {
    /// The key.
    pub fn key(&self) -> &Arc<Key> {
        &self.0
    }
}

/// Finds the caller by the full SHA-256 of the key sent, or, where the pod has a key of its own, by that. `may_verify`: whether a signature
/// may be looked at, which costs more than all else.
pub fn authenticate(
    policy: &Policy,
    headers: &HeaderMap,
    now: Now,
    may_verify: impl FnOnce() -> Result<(), Refusal>,
) -> Result<Caller, Refusal> {
    let own = policy.pod.as_ref();
    if policy.pseudonym.is_some()
        && let Some(token) = headers.get(&pod_token::TOKEN)
    {
        return by_pod_token(policy, token, headers, now, may_verify);
    }
    match sent(headers) {
        Sent::Key(sent) => {
            let Credential { key, expires_at } = found(policy, sent)?;
            if expires_at.is_some_and(|end| end <= now.wall) {
                let message = "this value of the key was replaced, and its time is over: use the new one";
                return Err(Refusal::unauthorized("expired", message));
            }
            check(key, now).map_err(|unfit| Refusal::unauthorized(unfit.reason(), &unfit.of("this key")))?;
            Ok(Caller(key.clone()))
        }
        Sent::Placeholder => as_pod(own.ok_or_else(placeholder)?, now),
        Sent::Nothing => as_pod(own.filter(|own| own.keyless).ok_or_else(missing)?, now),
        Sent::Unusable => Err(missing()),
    }
}

/// The caller is a pod, whose sidecar proves its namespace to this gateway and names an ApiKey there.
fn by_pod_token(
    policy: &Policy,
    token: &HeaderValue,
    headers: &HeaderMap,
    now: Now,
    may_verify: impl FnOnce() -> Result<(), Refusal>,
) -> Result<Caller, Refusal> {
    let issuer = match &policy.pod_tokens {
        PodTokens::Of(issuer) => issuer,
        PodTokens::Refused => {
            let message = "this gateway takes no tokens of pods, for it serves no cluster: send the value of an ApiKey";
            return Err(Refusal::unauthorized("pod_token_unknown", message));
        }
        PodTokens::Awaited => {
            let message = "This gateway does not know yet by which keys the cluster signs the tokens of pods: send the value of an ApiKey, or \
                           wait";
            return Err(Refusal::token_not_known_yet("no_issuer", message.to_owned()));
        }
    };
    let token = token.to_str().unwrap_or_default();
    let namespace = if let Some(namespace) = issuer.known(token, now.wall) {
        namespace
    } else {
        may_verify()?;
        issuer.namespace_of(token, now.wall).map_err(|error| wrong_token(&error))?
    };
    let named = headers.get(&pod_token::API_KEY).and_then(|name| name.to_str().ok()).unwrap_or_default();
    if namespace_of(named) != &*namespace {
        let message =
            format!("the pod's token is of the namespace {namespace}, and the ApiKey that it names of another one");
        return Err(Refusal::unauthorized("pod_token_namespace", &message));
    }
    let gone = || {
        let message = format!(
            "ApiKey {named}, which the pod's annotation vectoll.dev/api-key names, is unknown here or was deleted"
        );
        Refusal::unauthorized("unknown", &message)
    };
    let own = policy.namespaces.get(&namespace);
    let key = own.and_then(|own| own.by_name.get(named)).ok_or_else(gone)?;
    check(key, now).map_err(|unfit| Refusal::unauthorized(unfit.reason(), &unfit.of(&format!("ApiKey {named}"))))?;
    Ok(Caller(key.clone()))
}

fn wrong_token(error: &TokenError) -> Refusal {
    if *error == TokenError::UnknownKey {
        return Refusal::token_not_known_yet(error.reason(), format!("The pod's token {error}"));
    }
    Refusal::unauthorized(error.reason(), &format!("the pod's token {error}"))
}

/// Whose value this is.
fn found<'p>(policy: &'p Policy, sent: &[u8]) -> Result<&'p Credential, Refusal> {
    let hash = KeyHash::of(sent);
    let refusal = || if policy.ambiguous.contains(&hash) { ambiguous() } else { unknown(sent) };
    policy.keys.get(&hash).ok_or_else(refusal)
}

/// The caller is the pod itself. What is wrong with its key can only be mended where the pod is written, so that is said.
fn as_pod(own: &PodKey, now: Now) -> Result<Caller, Refusal> {
    let annotated = || format!("ApiKey {}, which this pod's annotation vectoll.dev/api-key names,", own.name);
    let key = own
        .key
        .as_ref()
        .ok_or_else(|| Refusal::unauthorized("unknown", &format!("{} is unknown here or was deleted", annotated())))?;
    check(key, now).map_err(|unfit| Refusal::unauthorized(unfit.reason(), &unfit.of(&annotated())))?;
    Ok(Caller(key.clone()))
}

/// Why a key that is known does not work.
enum KeyRejection {
    Suspended,
    TeamSuspended,
    Expired,
}

impl KeyRejection {
    fn reason(&self) -> &'static str {
        match self {
            Self::Suspended | Self::TeamSuspended => "suspended",
            Self::Expired => "expired",
        }
    }

    fn of(&self, key: &str) -> String {
        match self {
            Self::Suspended => format!("{key} is suspended"),
            Self::TeamSuspended => format!("the team of {key} is suspended"),
            Self::Expired => format!("{key} has expired"),
        }
    }
}

fn check(key: &Key, now: Now) -> Result<(), KeyRejection> {
    if key.suspended {
        return Err(KeyRejection::Suspended);
    }
    if key.team.lineage().any(|team| team.suspended) {
        return Err(KeyRejection::TeamSuspended);
    }
    if key.expires_at.is_some_and(|end| end <= now.wall) {
        return Err(KeyRejection::Expired);
    }
    Ok(())
}

fn missing() -> Refusal {
    Refusal::unauthorized("missing", "none was sent; send it as `Authorization: Bearer` or `api-key`")
}

fn placeholder() -> Refusal {
    let message = format!(
        "`{POD_KEY}` only stands in for a key in a pod that was made with the annotation vectoll.dev/api-key: send a key, \
         or annotate the pod"
    );
    Refusal::unauthorized("placeholder", &message)
}

fn ambiguous() -> Refusal {
    let message = "ApiKeys of several namespaces hold this value, so nobody can say whose call this is: give all but one of them another value";
    Refusal::unauthorized("ambiguous", message)
}

fn unknown(sent: &[u8]) -> Refusal {
    match std::str::from_utf8(sent) {
        Ok(text) if is_generated(text) && !has_valid_checksum(text) => {
            Refusal::unauthorized("mistyped", "it is mistyped (its checksum does not match)")
        }
        Ok(_) | Err(_) => Refusal::unauthorized("unknown", "it is unknown here or was revoked"),
    }
}

/// What a call sends in the place of a key.
#[derive(Debug, PartialEq, Eq)]
enum Sent<'h> {
    /// A key, or what is meant to be one.
    Key(&'h [u8]),
    /// The placeholder of injected pods.
    Placeholder,
    /// A header that holds no key.
    Unusable,
    /// No header for a key at all.
    Nothing,
}

/// What the first of the headers says; but a client that has the placeholder from its environment may send a key
/// besides, and that goes first.
fn sent(headers: &HeaderMap) -> Sent<'_> {
    let mut found = Sent::Nothing;
    for name in &KEY_HEADERS {
        let Some(value) = headers.get(name) else { continue };
        match (&found, read(name, value.as_bytes())) {
            (Sent::Nothing | Sent::Placeholder, Sent::Key(key)) => return Sent::Key(key),
            (Sent::Nothing, Sent::Unusable) => return Sent::Unusable,
            (_, Sent::Placeholder) => found = Sent::Placeholder,
            (_, Sent::Key(_) | Sent::Unusable | Sent::Nothing) => {}
        }
    }
    found
}

/// The key that a call sends; none: it is the pod's own call.
pub fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    match sent(headers) {
        Sent::Key(key) => Some(key),
        Sent::Placeholder | Sent::Unusable | Sent::Nothing => None,
    }
}

/// All values that stand where a key may, and a pod's token, which is as good as one.
pub fn values(headers: &HeaderMap) -> impl Iterator<Item = &HeaderValue> {
    KEY_HEADERS.iter().chain([&pod_token::TOKEN]).filter_map(|name| headers.get(name))
}

/// The key in such a value.
pub fn key_in(value: &[u8]) -> &[u8] {
    after_bearer(value).unwrap_or(value)
}

/// One header's value. `Bearer` in any case, as RFC 9110 has authentication schemes. Clients whose setting of a key is empty send the
/// header all the same: nothing was sent, then.
fn read<'h>(name: &HeaderName, value: &'h [u8]) -> Sent<'h> {
    if value.trim_ascii().eq_ignore_ascii_case(b"bearer") {
        return Sent::Nothing;
    }
    let key = match after_bearer(value) {
        // LiteLLM's clients write `Bearer` into its own header, too.
        Some(key) => key,
        None if name == header::AUTHORIZATION && !value.trim_ascii().is_empty() => return Sent::Unusable,
        None => value,
    };
    match key.trim_ascii() {
        b"" => Sent::Nothing,
        key if key == POD_KEY.as_bytes() => Sent::Placeholder,
        key => Sent::Key(key),
    }
}

fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use jiff::Timestamp;
    use vectoll_config::{Uid, v1};

    use super::*;
    use crate::policy::Team;

    const REAL: &str = "sk-test-0123456789abcdef";

    fn now() -> Now {
        Now { elapsed: Duration::ZERO, wall: "2026-05-01T00:00:00Z".parse().unwrap() }
    }

    fn team(suspended: bool) -> Arc<Team> {
        Arc::new(Team {
            name: "shop/search".into(),
            uid: Uid::new("t"),
            parent: None,
            suspended,
            search: Vec::new(),
            models: None,
            limits: v1::Limits::default(),
            max_tokens_per_call: None,
            model_limits: Vec::new(),
            user_limits: v1::Limits::default(),
            budgets: Vec::new(),
            tag_limits: Vec::new(),
            user_budgets: Vec::new(),
            guest: None,
            max_users: 10,
            on_store_failure: v1::OnStoreFailure::Local,
            tags: std::collections::BTreeSet::new(),
        })
    }

    fn key(name: &str, suspended: bool, expires_at: Option<&str>, team: Arc<Team>) -> Arc<Key> {
        Arc::new(Key {
            name: name.into(),
            uid: Uid::new(name),
            team,
            owner: None,
            user_policy: v1::UserPolicy::Request,
            models: None,
            limits: v1::Limits::default(),
            max_tokens_per_call: None,
            model_limits: Vec::new(),
            user_limits: v1::Limits::default(),
            max_wait: None,
            budgets: Vec::new(),
            expires_at: expires_at.map(|time| time.parse::<Timestamp>().unwrap()),
            suspended,
            metadata: None,
        })
    }

    /// A policy with a real key of Bob's, in a pod whose own key is this one.
    fn policy(own: Option<(Option<Arc<Key>>, bool)>) -> Policy {
        let mut policy = Policy { generation: 1, ..Policy::default() };
        policy.keys.insert(
            KeyHash::of(REAL.as_bytes()),
            Credential { key: key("shop/bob", false, None, team(false)), expires_at: None },
        );
        policy.pod = own.map(|(key, keyless)| PodKey { name: "shop/alice".into(), keyless, key });
        policy
    }

    fn alice() -> Arc<Key> {
        key("shop/alice", false, None, team(false))
    }

    /// The caller's name, or the refusal's reason and message.
    fn call(policy: &Policy, headers: &[(&'static str, &str)]) -> Result<String, (&'static str, String)> {
        let headers: HeaderMap = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        match authenticate(policy, &headers, now(), || Ok(())) {
            Ok(caller) => Ok(caller.key().name.to_string()),
            Err(refusal) => {
                assert_eq!(refusal.status, 401);
                Err((refusal.reason, refusal.message))
            }
        }
    }

    #[test]
    fn the_placeholder_is_the_pods_own_key_in_every_header() {
        let policy = policy(Some((Some(alice()), false)));
        for (name, value) in [
            ("authorization", "Bearer vectoll-pod-key"),
            ("authorization", "bearer  vectoll-pod-key "),
            ("api-key", "vectoll-pod-key"),
            ("x-api-key", "vectoll-pod-key"),
            ("x-litellm-api-key", "Bearer vectoll-pod-key"),
        ] {
            assert_eq!(call(&policy, &[(name, value)]).unwrap(), "shop/alice", "{name}");
        }
    }

    #[test]
    fn a_real_key_goes_before_the_placeholder_wherever_it_stands() {
        let policy = policy(Some((Some(alice()), true)));
        let bearer = format!("Bearer {REAL}");
        for headers in [
            [("authorization", "Bearer vectoll-pod-key"), ("api-key", REAL)],
            [("authorization", bearer.as_str()), ("api-key", "vectoll-pod-key")],
            [("x-api-key", "vectoll-pod-key"), ("x-litellm-api-key", REAL)],
        ] {
            assert_eq!(call(&policy, &headers).unwrap(), "shop/bob", "{headers:?}");
        }
        // A wrong one does too: whoever sends a key means it.
        let headers = [("authorization", "Bearer vectoll-pod-key"), ("api-key", "sk-wrong-0123456789")];
        assert_eq!(call(&policy, &headers).unwrap_err().0, "unknown");
    }

    #[test]
    fn a_value_that_was_replaced_works_until_its_time_is_over() {
        let with = |until: &str| {
            let mut policy = policy(None);
            for credential in policy.keys.values_mut() {
                credential.expires_at = Some(until.parse().unwrap());
            }
            call(&policy, &[("api-key", REAL)])
        };
        assert_eq!(with("2099-01-01T00:00:00Z").unwrap(), "shop/bob");
        let (reason, message) = with("2000-01-01T00:00:00Z").unwrap_err();
        assert_eq!(reason, "expired");
        assert!(message.contains("was replaced"), "{message}");
    }

    #[test]
    fn without_a_key_of_the_pods_own_the_placeholder_says_what_it_is() {
        let (reason, message) = call(&policy(None), &[("authorization", "Bearer vectoll-pod-key")]).unwrap_err();
        assert_eq!(reason, "placeholder");
        assert!(message.contains("only stands in for a key in a pod that was made with the annotation"), "{message}");
    }

    #[test]
    fn a_pods_key_that_does_not_work_is_told_by_name() {
        let annotated = "ApiKey shop/alice, which this pod's annotation vectoll.dev/api-key names,";
        for (key, reason, words) in [
            (None, "unknown", format!("Invalid API key: {annotated} is unknown here or was deleted")),
            (
                Some(key("shop/alice", true, None, team(false))),
                "suspended",
                format!("Invalid API key: {annotated} is suspended"),
            ),
            (
                Some(key("shop/alice", false, None, team(true))),
                "suspended",
                format!("Invalid API key: the team of {annotated} is suspended"),
            ),
            (
                Some(key("shop/alice", false, Some("2026-05-01T00:00:00Z"), team(false))),
                "expired",
                format!("Invalid API key: {annotated} has expired"),
            ),
        ] {
            let policy = policy(Some((key, true)));
            for headers in [&[("api-key", "vectoll-pod-key")][..], &[]] {
                assert_eq!(call(&policy, headers).unwrap_err(), (reason, words.clone()));
            }
        }
    }

    #[test]
    fn a_call_without_any_key_is_the_pods_own_only_where_it_says_so() {
        assert_eq!(call(&policy(Some((Some(alice()), true))), &[]).unwrap(), "shop/alice");
        assert_eq!(call(&policy(Some((Some(alice()), false))), &[]).unwrap_err().0, "missing");
        assert_eq!(call(&policy(None), &[]).unwrap_err().0, "missing");
    }

    #[test]
    fn an_empty_header_is_none_and_one_that_holds_something_else_is_not_a_call_without_a_key() {
        let policy = policy(Some((Some(alice()), true)));
        for (name, value) in
            [("authorization", "Bearer"), ("authorization", ""), ("api-key", ""), ("x-api-key", "bearer ")]
        {
            assert_eq!(call(&policy, &[(name, value)]).unwrap(), "shop/alice", "{name}: {value}");
            assert_eq!(call(&policy, &[(name, value), ("x-litellm-api-key", REAL)]).unwrap(), "shop/bob");
        }
        assert_eq!(call(&policy, &[("authorization", "Basic YTpi")]).unwrap_err().0, "missing");
        // LiteLLM's own header goes before the others, as in its proxy.
        assert_eq!(
            call(&policy, &[("authorization", "Bearer sk-others"), ("x-litellm-api-key", REAL)]).unwrap(),
            "shop/bob"
        );
        // What a wrong `Authorization` says is not mended by another header.
        assert_eq!(call(&policy, &[("authorization", "Basic YTpi"), ("api-key", REAL)]).unwrap_err().0, "missing");
    }
}
