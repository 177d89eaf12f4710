//! From LiteLLM's virtual keys to `ApiKey`s. LiteLLM keeps the SHA-256 of a key and nothing else, and so does `keyHash`: keys go on
//! working, and no application changes.

use serde_json::{Map, Value, json};
use vectoll_config::KeyHash;

use super::{
    fields::Fields,
    manifests::Manifests,
    models::{Allowed, Models},
    names::Names,
    notes::Notes,
    teams::{self, Teams},
};

/// The most entries of a key's metadata, and their longest value.
const MAX_METADATA: (usize, usize) = (16, 256);

/// Makes an ApiKey of each row.
pub(super) fn import(
    rows: Vec<Value>,
    teams: &mut Teams,
    models: &Models,
    manifests: &mut Manifests,
    notes: &mut Notes,
) {
    let mut names = Names::default();
    for (number, row) in rows.into_iter().enumerate() {
        let place = format!("keys[{number}]");
        let Some(mut row) = Fields::of(&place, &row) else {
            notes.add(&place, "is no key: ask for whole objects (/key/list?return_full_object=true)");
            continue;
        };
        let Some(hash) = hash(&mut row, notes) else { continue };
        let alias = row.text("key_alias", notes);
        // `sk-...abcd`, the last letters of the key: they tell it from others and are shown everywhere.
        let shown = row.text("key_name", notes);
        let label = alias.or(shown).unwrap_or_else(|| format!("key-{}", hash.get(7..15).unwrap_or_default()));
        if makes_no_embeddings(&mut row, models, notes) {
            notes.add(&place, format!("{label} may use no model of embeddings: left out"));
            continue;
        }
        if !reaches_embeddings(&mut row, notes) {
            notes.add(&place, format!("{label} may not call the paths of embeddings (allowed_routes): left out"));
            continue;
        }
        let team = row.text("team_id", notes);
        if team.is_none() && row.has("user_id") {
            let what = "has no team, so LiteLLM holds it to what its user may use and spend, which is not imported: set models and a budget";
            notes.add(&place, format!("{label} {what}"));
        }
        let team = teams.of(team.as_deref(), manifests, notes);
        let name = names.like(&label);
        let spec = spec(row, &hash, &team, models, notes);
        manifests.add("ApiKey", &name, &spec);
    }
}

/// `sha256:…`, from the hash that LiteLLM keeps; or from a key itself.
fn hash(row: &mut Fields, notes: &mut Notes) -> Option<String> {
    let place = row.place("token");
    let Some(token) = row.text("token", notes) else {
        notes.add(&place, "there is no hash: left out");
        return None;
    };
    let is_hash = token.len() == 64 && token.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash {
        return Some(format!("sha256:{token}"));
    }
    if token.starts_with("sk-") {
        return Some(format!("sha256:{}", KeyHash::of(token.as_bytes())));
    }
    notes.add(&place, "is neither a SHA-256 nor a key: left out");
    None
}

/// Whether it names models, and none of them is imported.
fn makes_no_embeddings(row: &mut Fields, models: &Models, notes: &mut Notes) -> bool {
    let place = row.place("models");
    let names = row.texts("models", notes);
    let is_none = matches!(models.allowed(names.clone(), &place, &mut Notes::default()), Allowed::None);
    row.put_back("models", names.into());
    is_none
}

/// Whether the paths that it may call, if it names any, have those of embeddings among them.
fn reaches_embeddings(row: &mut Fields, notes: &mut Notes) -> bool {
    const GROUPS: [&str; 2] = ["llm_api_routes", "openai_routes"];
    const PATHS: [&str; 2] = ["/v1/embeddings", "/embeddings"];
    let routes = row.texts("allowed_routes", notes);
    let reaches = |route: &String| match route.strip_suffix('*') {
        Some(prefix) => PATHS.iter().any(|path| path.starts_with(prefix)),
        None => GROUPS.contains(&route.as_str()) || PATHS.contains(&route.as_str()),
    };
    routes.is_empty() || routes.iter().any(reaches)
}

fn spec(mut row: Fields, hash: &str, team: &str, models: &Models, notes: &mut Notes) -> Value {
    let mut spec = Map::from_iter([
        ("teamRef".to_owned(), json!({"name": team})),
        ("keyHash".to_owned(), Value::String(hash.to_owned())),
    ]);
    if let Some(user) = row.text("user_id", notes) {
        spec.insert("user".to_owned(), user.into());
    }
    expiry(&mut row, &mut spec, notes);
    teams::common(&mut row, &mut spec, models, notes);
    metadata(&mut row, &mut spec, notes);
    row.ignore(&[
        "spend",
        "total_spend",
        "model_spend",
        "budget_reset_at",
        "created_at",
        "created_by",
        "updated_at",
        "updated_by",
        "settings_updated_at",
        "last_active",
        "last_used_at",
        "token_id",
        "key",
        "key_type",
        "rotation_count",
        "last_rotation_at",
        "key_rotation_at",
        "soft_budget_cooldown",
        "allowed_cache_controls",
        "object_permission_id",
        "rotation_interval",
        "team_alias",
        "user_email",
        "user",
        "litellm_budget_table",
    ]);
    row.finish(notes, of_a_key);
    Value::Object(spec)
}

fn expiry(row: &mut Fields, spec: &mut Map<String, Value>, notes: &mut Notes) {
    let place = row.place("expires");
    let Some(text) = row.text("expires", notes) else { return };
    // PostgreSQL and Python write it with or without a zone, which is UTC then.
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let naive = || text.replacen(' ', "T", 1).parse::<jiff::civil::DateTime>().ok();
    let end = zoned.or_else(|| naive()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp()));
    if let Some(end) = end.and_then(|end| end.round(jiff::Unit::Second).ok()) {
        spec.insert("expiresAt".to_owned(), end.to_string().into());
    } else {
        notes.add(&place, format!("{text} is no time, so the key is suspended: set expiresAt"));
        spec.insert("suspended".to_owned(), true.into());
    }
}

/// Texts go along into the access log. What else LiteLLM keeps there has a meaning.
fn metadata(row: &mut Fields, spec: &mut Map<String, Value>, notes: &mut Notes) {
    let mut all = row.mapping("metadata", notes);
    let place = all.path().to_owned();
    if all.take("tags").is_some() {
        notes.add(
            &place,
            "tags: a key has no tags of its own: callers name them (x-litellm-tags), and Teams count them (spec.tags)",
        );
    }
    all.ignore(&["service_account_id", "model_rpm_limit_type", "model_tpm_limit_type"]);
    let (most, longest) = MAX_METADATA;
    let mut kept = Map::new();
    for (name, value) in all.drain() {
        let is_one = value.is_string() || value.is_number() || value.is_boolean();
        let text = is_one.then(|| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let fits =
            |text: &String| text.chars().count() <= longest && (1..=63).contains(&name.len()) && kept.len() < most;
        match text.filter(fits) {
            Some(text) => drop(kept.insert(name, text.into())),
            None if value.is_null() => {}
            None => notes.add(&place, format!("{name}: only {most} short texts can be kept: left out")),
        }
    }
    if !kept.is_empty() {
        spec.insert("metadata".to_owned(), Value::Object(kept));
    }
}

fn of_a_key(name: &str) -> Option<&'static str> {
    Some(match name {
        "aliases" | "config" => "a key has no names of models of its own here: add them to spec.models of the routes",
        "permissions" => "nothing is switched by keys here",
        "budget_id" => "the amounts are in LiteLLM's table of budgets: set budget and limits",
        "organization_id" | "org_id" | "project_id" | "agent_id" => "a key belongs to one Team here: set it there",
        "auto_rotate" => "a key of which only the hash is known cannot be rotated: make a new ApiKey without keyHash",
        "router_settings" => "set retry, cooldown and balance on the routes",
        "access_group_ids" => "list the models on Teams and keys",
        "budget_fallbacks" => "a spent budget ends the calls: set models on the key",
        _ => return None,
    })
}
