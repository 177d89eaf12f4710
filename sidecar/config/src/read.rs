//! Reading the contract. Errors name the path and the line.

use std::collections::HashSet;

use serde::de::DeserializeOwned;

use crate::{
    KeyHash, ObjectName, POD_KEY,
    amounts::amount_fault,
    gateway_url::is_gateway_url,
    position::line_of,
    store::is_scope,
    v1::{Config, GATEWAY_FILE, Gateway, MAX_TREE_DEPTH, MIN_INPUT_TOKENS, Provider, Store, TokenBound},
};

/// Why a config was refused. It is refused whole.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}{}", line.map(|line| format!(" (line {line})")).unwrap_or_default())]
pub struct ConfigError {
    /// Where, for example `routes[2].backends[0].weight`; `.` for the document itself.
    pub path: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong there.
    pub reason: String,
}

/// Reads version 1 from YAML, and so from the JSON that [`crate::write_v1`] writes.
pub fn read_v1(text: &str) -> Result<Config, ConfigError> {
    let config = match serde_json::from_str(text) {
        Ok(config) => config,
        // What people write, or what is wrong: only a reader of YAML can tell which, and where.
        Err(_) => read_yaml(text)?,
    };
    match first_fault(&config) {
        None => Ok(config),
        Some((path, reason)) => {
            let line = line_of(serde_yaml::Deserializer::from_str(text), &path);
            Err(ConfigError { path, line, reason })
        }
    }
}

fn read_yaml<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        // The parser marks an error in a value with the place of the mapping around it; the path leads closer.
        let line = line_of(serde_yaml::Deserializer::from_str(text), &path).or(error.location().map(|at| at.line()));
        ConfigError { path, line, reason: without_position(&error.to_string()) }
    })
}

/// Reads what is passed on to a gateway ([`GATEWAY_FILE`]), and checks that the file which it names is beside it.
pub fn read_gateway_v1<'f>(text: &str, file: impl Fn(&str) -> Option<&'f [u8]>) -> Result<Gateway, ConfigError> {
    let in_file = |path: &str| format!("({GATEWAY_FILE}) {path}");
    let gateway: Gateway = read_yaml(text).map_err(|error| ConfigError { path: in_file(&error.path), ..error })?;
    let refused = |path: &str, reason: String| ConfigError { path: in_file(path), line: None, reason };
    if !is_gateway_url(&gateway.url) {
        return Err(refused("url", format!("{} is not https://HOST or https://HOST:PORT", gateway.url)));
    }
    if let Some((path, reason)) = file_fault("", "caFile", gateway.ca_file.as_deref()) {
        return Err(refused(path.trim_start_matches('.'), reason));
    }
    if let Some(name) = gateway.ca_file.as_deref().filter(|name| file(name).is_none()) {
        return Err(refused("caFile", format!("the file {name} is not in the config folder")));
    }
    if let Some(route) = gateway.routes.iter().find(|route| route.timeout_seconds == 0) {
        return Err(refused("routes", format!("{}: timeoutSeconds must be at least 1", route.name)));
    }
    Ok(gateway)
}

/// Checks what the types cannot say, as [`read_v1`] does with what it has read. The line is not known.
pub fn check_v1(config: &Config) -> Result<(), ConfigError> {
    match first_fault(config) {
        None => Ok(()),
        Some((path, reason)) => Err(ConfigError { path, line: None, reason }),
    }
}

/// Checks that the files which a config names are beside it, and can be used: what a sidecar would refuse the whole config for.
/// Operator and sidecar both ask here, so that neither takes for good what the other would not.
pub fn check_files_v1<'f>(config: &Config, file: impl Fn(&str) -> Option<&'f [u8]>) -> Result<(), ConfigError> {
    let refused = |path: String, reason: String| Err(ConfigError { path, line: None, reason });
    let missing = |name: &str| format!("the file {name} is not in the config folder");
    if let Some(Store { url: _, scope: _, username: _, password_file, ca_file, on_failure: _ }) = &config.store {
        for (field, name) in [("passwordFile", password_file), ("caFile", ca_file)] {
            let Some(name) = name else { continue };
            match file(name) {
                None => return refused(format!("store.{field}"), missing(name)),
                Some(content) if field == "passwordFile" && std::str::from_utf8(content).is_err() => {
                    return refused(format!("store.{field}"), "the password is not UTF-8".to_owned());
                }
                Some(_) => {}
            }
        }
    }
    for (i, route) in config.routes.iter().enumerate() {
        for (j, backend) in route.backends.iter().enumerate() {
            let at = format!("routes[{i}].backends[{j}]");
            let named = [("provider", backend.provider.credential_file()), ("caFile", backend.ca_file.as_deref())];
            for (field, name) in named {
                if let Some(name) = name.filter(|name| file(name).is_none()) {
                    return refused(format!("{at}.{field}"), missing(name));
                }
            }
        }
    }
    Ok(())
}

/// The parser's message without the path before it and the position behind it, which [`ConfigError`] has as fields.
fn without_position(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    match message.split_once(": ") {
        Some((path, rest)) if !path.contains(' ') => rest.to_owned(),
        Some(_) | None => message.to_owned(),
    }
}

/// Why a limit is not 0.
const ZERO: &str = "must be at least 1; to refuse every call set suspended";

/// What the types cannot say: references within the file, and numbers that make sense.
fn first_fault(config: &Config) -> Option<(String, String)> {
    if config.generation == 0 {
        return Some(("generation".to_owned(), "must be at least 1".to_owned()));
    }
    if let Some(fault) = config.store.as_ref().and_then(store_fault) {
        return Some(fault);
    }
    let mut teams = HashSet::new();
    for (i, team) in config.teams.iter().enumerate() {
        let at = format!("teams[{i}]");
        if !teams.insert(&team.name) {
            return Some((format!("{at}.name"), format!("team {} is listed twice", team.name)));
        }
        let limits =
            [("limits", &team.limits), ("userLimits", &team.user_limits), ("namespaceLimits", &team.namespace_limits)];
        if team.max_tokens_per_call == Some(0) {
            return Some((format!("{at}.maxTokensPerCall"), ZERO.to_owned()));
        }
        let budgets = [
            ("budgets", &team.budget, &team.budgets),
            ("userBudgets", &team.user_budget, &team.user_budgets),
            ("namespaceBudgets", &team.namespace_budget, &team.namespace_budgets),
        ];
        if let Some(i) = team.tag_limits.iter().position(|entry| !team.tags.iter().any(|tag| **tag == *entry.tag)) {
            return Some((format!("{at}.tagLimits[{i}].tag"), "is not one of the team's tags".to_owned()));
        }
        if let Some(fault) = amount_fault(&at, &limits, &budgets, (&team.model_limits, &team.tag_limits)) {
            return Some(fault);
        }
    }
    if let Some(fault) = tree_fault(config) {
        return Some(fault);
    }
    let mut keys = HashSet::new();
    let mut hashes = HashSet::new();
    let placeholder = KeyHash::of(POD_KEY.as_bytes());
    for (i, key) in config.keys.iter().enumerate() {
        let at = format!("keys[{i}]");
        if !keys.insert(&key.name) {
            return Some((format!("{at}.name"), format!("key {} is listed twice", key.name)));
        }
        if !teams.contains(&key.team) {
            return Some((format!("{at}.team"), format!("team {} is not in this file", key.team)));
        }
        for (j, credential) in key.credentials.iter().enumerate() {
            if credential.sha256 == placeholder {
                let reason = format!("{POD_KEY} is what pods send in place of a key, and cannot be a key");
                return Some((format!("{at}.credentials[{j}]"), reason));
            }
            if !hashes.insert(credential.sha256) {
                let path = format!("{at}.credentials[{j}].sha256");
                return Some((path, "two keys have the same value".to_owned()));
            }
        }
        let limits = [("limits", &key.limits), ("userLimits", &key.user_limits)];
        if key.max_tokens_per_call == Some(0) {
            return Some((format!("{at}.maxTokensPerCall"), ZERO.to_owned()));
        }
        let budgets = [("budgets", &key.budget, &key.budgets)];
        if let Some(fault) = amount_fault(&at, &limits, &budgets, (&key.model_limits, &[])) {
            return Some(fault);
        }
    }
    let mut names = HashSet::new();
    for (i, route) in config.routes.iter().enumerate() {
        for (j, model) in route.models.iter().enumerate() {
            if !names.insert((route.name.namespace(), model)) {
                let path = format!("routes[{i}].models[{j}]");
                return Some((path, format!("two routes of one namespace serve {model}")));
            }
        }
        if let Some(fault) = backend_fault(i, &route.backends) {
            return Some(fault);
        }
    }
    None
}

/// Each Team's parent is there, and the way up ends: a sidecar that lost a parent would hold nobody to its limits.
fn tree_fault(config: &Config) -> Option<(String, String)> {
    let parent_of = |name: &ObjectName| {
        let team = config.teams.iter().find(|team| team.name == *name)?;
        team.parent.as_ref()
    };
    for (i, team) in config.teams.iter().enumerate() {
        let at = format!("teams[{i}].parent");
        let (mut above, mut depth) = (team.parent.as_ref(), 1);
        while let Some(parent) = above {
            depth += 1;
            if !config.teams.iter().any(|team| team.name == *parent) {
                return Some((at, format!("team {parent} is not in this file")));
            }
            if depth > MAX_TREE_DEPTH {
                return Some((at, format!("more than {MAX_TREE_DEPTH} teams stand above each other, or in a circle")));
            }
            above = parent_of(parent);
        }
    }
    None
}

fn backend_fault(route: usize, backends: &[crate::v1::Backend]) -> Option<(String, String)> {
    let at = format!("routes[{route}].backends");
    if !backends.is_empty() && backends.iter().all(|backend| backend.weight == 0) {
        return Some((format!("{at}[0].weight"), "at least one backend needs a weight above 0".to_owned()));
    }
    let mut names = HashSet::new();
    for (j, backend) in backends.iter().enumerate() {
        if !names.insert(&backend.name) {
            return Some((format!("{at}[{j}].name"), format!("backend {} is listed twice", backend.name)));
        }
        if backend.max_input_tokens.is_some_and(|most| most < MIN_INPUT_TOKENS) {
            return Some((format!("{at}[{j}].maxInputTokens"), format!("must be at least {MIN_INPUT_TOKENS}")));
        }
        if backend.timeout_seconds == 0 {
            return Some((format!("{at}[{j}].timeoutSeconds"), "must be at least 1".to_owned()));
        }
        // Charged by its own tokenizer, so it must be admitted by that one.
        if matches!(backend.provider, Provider::Builtin(_)) && !matches!(backend.tokens, TokenBound::Builtin(_)) {
            let reason = "its tokens are counted by `builtin` and nothing else".to_owned();
            return Some((format!("{at}[{j}].provider.builtin"), reason));
        }
        if let Some(fault) = file_fault(&format!("{at}[{j}]"), "caFile", backend.ca_file.as_deref()) {
            return Some(fault);
        }
        if let Provider::OpenAi(settings) = &backend.provider
            && let Some(fault) =
                file_fault(&format!("{at}[{j}].provider.openAI"), "credentialFile", settings.credential_file.as_deref())
        {
            return Some(fault);
        }
    }
    None
}

fn store_fault(store: &Store) -> Option<(String, String)> {
    let Store { url: _, scope, username, password_file, ca_file, on_failure: _ } = store;
    if scope.as_ref().is_some_and(|scope| !is_scope(scope)) {
        let wanted = "must be up to 200 letters, digits, dots, dashes and underscores";
        return Some(("store.scope".to_owned(), wanted.to_owned()));
    }
    if username.is_some() && password_file.is_none() {
        return Some(("store.username".to_owned(), "needs passwordFile".to_owned()));
    }
    file_fault("store", "passwordFile", password_file.as_deref())
        .or_else(|| file_fault("store", "caFile", ca_file.as_deref()))
}

fn file_fault(at: &str, field: &str, file: Option<&str>) -> Option<(String, String)> {
    let is_fault = |file: &&str| file.is_empty() || file.contains('/') || file.starts_with("..");
    file.filter(is_fault)
        .map(|_| (format!("{at}.{field}"), "must be the name of a file in the config folder".to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const WHOLE: &str = "version: v1\nurl: https://gateway.example:8443\ncaFile: gateway.ca\nroutes:\n- {name: apps/openai, \
                         timeoutSeconds: 60}\ncomplete: true\n";

    fn fault(text: &str) -> String {
        read_gateway_v1(text, |name| (name == "gateway.ca").then_some(&b"PEM"[..])).unwrap_err().to_string()
    }

    #[test]
    fn what_is_passed_on_is_read_as_it_is_written() {
        let gateway = read_gateway_v1(WHOLE, |_| Some(&b"PEM"[..])).unwrap();
        assert_eq!((gateway.url.as_str(), gateway.routes.len()), ("https://gateway.example:8443", 1));
        let written = crate::write_gateway_v1(&gateway).unwrap();
        assert_eq!(read_gateway_v1(&written, |_| Some(&b"PEM"[..])).unwrap(), gateway);
    }

    #[test]
    fn a_gateways_url_has_a_host_that_can_be_one() {
        let with = |host: &str| WHOLE.replace("https://gateway.example:8443", &format!("'https://{host}'"));
        for host in
            ["gateway", "gateway.svc:8443", "10.0.0.1", "[2001:db8::1]", "[::1]:443", "a_b.example.", "127.0.0.1:4443/"]
        {
            assert!(read_gateway_v1(&with(host), |_| Some(&b"PEM"[..])).is_ok(), "{host}");
        }
        for host in [
            "",
            ":8443",
            "a b",
            "a..b",
            ".",
            "a:0",
            "a:65536",
            "a:+1",
            "a:",
            "[::1",
            "[x]",
            "[::1]x",
            "a:1:2",
            "u@a",
            "a?b",
            "a#b",
            "é.example",
        ] {
            let found = fault(&with(host));
            assert!(found.contains("url: https://") && found.contains("is not https://HOST"), "{host}: {found}");
        }
    }

    #[test]
    fn what_cannot_be_passed_on_by_is_refused_with_its_place() {
        for (from, to, words) in [
            ("https://", "http://", "(gateway.v1.yaml) url: http://gateway.example:8443 is not https://HOST"),
            (":8443", ":8443/v1", "(gateway.v1.yaml) url: "),
            ("gateway.ca", "../ca", "(gateway.v1.yaml) caFile: must be the name of a file"),
            ("gateway.ca", "other.ca", "(gateway.v1.yaml) caFile: the file other.ca is not in the config folder"),
            ("timeoutSeconds: 60", "timeoutSeconds: 0", "apps/openai: timeoutSeconds must be at least 1"),
            ("complete: true", "complete: false", "must be true: the file was not finished"),
            ("version: v1", "version: v1\nother: 1", "unknown field `other`"),
        ] {
            let found = fault(&WHOLE.replace(from, to));
            assert!(found.contains(words), "{words}: {found}");
        }
        assert!(fault("version: v1\n").contains("missing field"));
    }
}
