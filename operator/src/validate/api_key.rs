//! ApiKey.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use vectoll_config::{KeyHash, ModelPattern, ObjectName, POD_KEY, Uid, v1};
use vectoll_crds::{ApiKeySpec, Rotation, SecretTemplate, UserPolicy};

use super::{
    FieldError, FieldErrors, NOT_A_NAME, NOT_AN_ENTRY, ValidBudget, account::account, budgets::budgets,
    cost_center::check_cost_center, is_entry, is_label, is_subdomain, limits, reset, secret_template,
};
use crate::{inject::CONFIG_SECRET, key_secret::ROTATE, observed_state::Object};

/// An ApiKey whose spec makes sense.
#[derive(Clone, Debug)]
pub(crate) struct ValidKey {
    pub(crate) name: ObjectName,
    pub(crate) uid: Uid,
    /// What its spend is kept under: its UID, or the one that it had before it was restored.
    pub(crate) account: Uid,
    pub(crate) team: ObjectName,
    pub(crate) source: KeySource,
    /// Of the Secret that is generated.
    pub(crate) secret_template: SecretTemplate,
    pub(crate) user: Option<String>,
    pub(crate) user_policy: v1::UserPolicy,
    pub(crate) models: Option<Vec<ModelPattern>>,
    pub(crate) limits: v1::Limits,
    pub(crate) max_tokens_per_call: Option<u64>,
    pub(crate) model_limits: Vec<v1::ModelLimits>,
    pub(crate) user_limits: v1::Limits,
    pub(crate) budgets: Vec<ValidBudget>,
    /// From when on its budgets count anew.
    pub(crate) reset_at: Option<Timestamp>,
    pub(crate) max_wait_seconds: Option<u32>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) suspended: bool,
    pub(crate) rotation: ValidRotation,
    /// Whether the key says so itself.
    pub(crate) has_rotation: bool,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// When a generated key is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ValidRotation {
    /// How old a value may become.
    pub(crate) interval: Option<SignedDuration>,
    /// How long the value before stays valid.
    pub(crate) grace: SignedDuration,
}

/// The grace period where none is set.
const GRACE: SignedDuration = SignedDuration::from_hours(24);
/// The shortest interval: a shorter one would be a mistake.
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// The most entries of a key's metadata, and the longest name and value, in characters.
const MAX_METADATA: usize = 16;
const LONGEST_NAME: usize = 63;
const LONGEST_VALUE: usize = 256;

/// Where the key's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// In a Secret that the operator makes.
    Generated {
        /// The Secret.
        secret: ObjectName,
    },
    /// In a Secret that someone else keeps.
    Brought {
        /// The Secret.
        secret: ObjectName,
        /// The entry in it.
        entry: String,
    },
    /// Elsewhere: this is all that is known of it.
    Elsewhere {
        /// Its SHA-256.
        hash: KeyHash,
    },
}

impl KeySource {
    /// The Secret that the value is in, and the field that says so.
    pub(crate) fn secret(&self) -> Option<(&ObjectName, &'static str)> {
        match self {
            Self::Generated { secret } => Some((secret, "spec.secretName")),
            Self::Brought { secret, .. } => Some((secret, "spec.secretRef")),
            Self::Elsewhere { .. } => None,
        }
    }
}

/// Validates an ApiKey.
pub(crate) fn api_key(object: &Object<ApiKeySpec>) -> Result<ValidKey, Vec<FieldError>> {
    let ApiKeySpec {
        team_ref,
        user,
        user_policy,
        models,
        limits: whole,
        max_tokens_per_call,
        model_limits,
        user_limits,
        budget,
        budgets: several,
        max_wait_seconds,
        expires_at,
        suspended,
        secret_name: _,
        secret_template,
        secret_ref,
        key_hash: _,
        rotation: wanted_rotation,
        metadata,
        cost_center,
    } = &object.spec;
    let namespace = object.name.namespace();
    let mut errors = FieldErrors::default();
    check_cost_center(cost_center.as_deref(), &mut errors);
    if !is_subdomain(&team_ref.name) {
        errors.add("spec.teamRef.name", NOT_A_NAME);
    }
    if team_ref.namespace.as_ref().is_some_and(|namespace| !is_label(namespace)) {
        errors.add("spec.teamRef.namespace", "is not a namespace's name");
    }
    let source = source_of(object, &mut errors);
    if *user_policy == UserPolicy::Owner && user.is_none() {
        errors.add("spec.userPolicy", "Owner books every call to the key's user: set spec.user");
    }
    if user.as_ref().is_some_and(|user| user.is_empty() || user.len() > 256) {
        errors.add("spec.user", "must have 1 to 256 bytes");
    }
    if wanted_rotation.is_some() && secret_ref.is_some() {
        errors.add("spec.rotation", "renews generated keys, and secretRef names one that you keep: set one of them");
    }
    if max_wait_seconds.is_some_and(|seconds| !(1..=600).contains(&seconds)) {
        errors.add("spec.maxWaitSeconds", "must be 1 to 600");
    }
    let rotation = rotation("spec.rotation", wanted_rotation.as_ref(), &mut errors);
    check_metadata(metadata, &mut errors);
    if let Some(template) = secret_template {
        if matches!(source, Some(KeySource::Brought { .. } | KeySource::Elsewhere { .. })) {
            let reason = "is for the Secret that is generated, and this key is one that you keep: remove it";
            errors.add("spec.secretTemplate", reason);
        }
        secret_template::check(template, &mut errors);
    }
    let valid = source.map(|source| ValidKey {
        name: object.name.clone(),
        uid: object.uid.clone(),
        account: account(object, &mut errors),
        team: ObjectName::new(team_ref.namespace.as_deref().unwrap_or(namespace), &team_ref.name),
        source,
        secret_template: secret_template.clone().unwrap_or_default(),
        user: user.clone(),
        user_policy: match user_policy {
            UserPolicy::Request => v1::UserPolicy::Request,
            UserPolicy::Owner => v1::UserPolicy::Owner,
        },
        models: limits::models("spec.models", models.as_deref(), &mut errors),
        limits: limits::limits("spec.limits", *whole, &mut errors),
        max_tokens_per_call: limits::max_tokens_per_call(*max_tokens_per_call, &mut errors),
        model_limits: limits::model_limits(model_limits, &mut errors),
        user_limits: limits::limits("spec.userLimits", *user_limits, &mut errors),
        budgets: budgets(budget.as_ref(), several, &mut errors),
        reset_at: reset::reset(object, &mut errors),
        max_wait_seconds: *max_wait_seconds,
        expires_at: expires_at.map(|at| at.0),
        suspended: *suspended,
        rotation,
        has_rotation: wanted_rotation.is_some(),
        metadata: metadata.clone(),
    });
    errors.or(valid)
}

/// Where the key's value is. Names are not repeated in what is wrong: whoever mistakes a reference for the key itself would find it in
/// the log.
fn source_of(object: &Object<ApiKeySpec>, errors: &mut FieldErrors) -> Option<KeySource> {
    let ApiKeySpec { secret_name, secret_ref, key_hash, .. } = &object.spec;
    let namespace = object.name.namespace();
    if let Some(text) = key_hash {
        check_alone(object, errors);
        return errors.check("spec.keyHash", hash_of(text)).map(|hash| KeySource::Elsewhere { hash });
    }
    if let Some(secret) = secret_ref {
        if !is_subdomain(&secret.name) {
            errors.add("spec.secretRef.name", NOT_A_NAME);
        }
        if !is_entry(&secret.key) {
            errors.add("spec.secretRef.key", NOT_AN_ENTRY);
        }
        if secret_name.is_some() {
            let both = "names the Secret to generate, and secretRef one that you keep: set one of them";
            errors.add("spec.secretName", both);
        }
        return Some(KeySource::Brought {
            secret: ObjectName::new(namespace, &secret.name),
            entry: secret.key.clone(),
        });
    }
    let name = secret_name.as_deref().unwrap_or(object.name.name());
    if !is_subdomain(name) {
        errors.add("spec.secretName", NOT_A_NAME);
    }
    if name == CONFIG_SECRET {
        let of_that_name = "is the name of the sidecars' config Secret: set spec.secretName to another name";
        errors.add(if secret_name.is_some() { "spec.secretName" } else { "metadata.name" }, of_that_name);
    }
    Some(KeySource::Generated { secret: ObjectName::new(namespace, name) })
}

/// What makes or renews a value has no place beside the hash of one that is elsewhere.
fn check_alone(object: &Object<ApiKeySpec>, errors: &mut FieldErrors) {
    let ApiKeySpec { secret_name, secret_ref, rotation, .. } = &object.spec;
    let mut must_not_be = |is_set: bool, path: &str, what: &str| {
        if is_set {
            errors.add(
                path,
                format_args!("{what}, and keyHash is of a key whose value is elsewhere: remove one of them"),
            );
        }
    };
    must_not_be(secret_name.is_some(), "spec.secretName", "names the Secret to generate");
    must_not_be(secret_ref.is_some(), "spec.secretRef", "names a Secret with the value");
    must_not_be(rotation.is_some(), "spec.rotation", "renews generated keys");
    let annotation = format!("metadata.annotations[{ROTATE}]");
    must_not_be(object.rotate.is_some(), &annotation, "asks for a new value");
}

/// Reads a hash as LiteLLM and `sha256sum` write it. What is wrong is not repeated: somebody may have put the key itself there.
fn hash_of(text: &str) -> Result<KeyHash, &'static str> {
    let digits = text.strip_prefix("sha256:");
    let hash: KeyHash = digits.and_then(|digits| digits.parse().ok()).ok_or(
        "is not the SHA-256 of a key: write sha256: and 64 lower-case hexadecimal digits, and never the key itself",
    )?;
    if hash == KeyHash::of(POD_KEY.as_bytes()) {
        return Err("is the hash of what pods send in place of a key, and cannot be a key's");
    }
    if [&b""[..], b"\n"].iter().any(|nothing| hash == KeyHash::of(nothing)) {
        return Err("is the hash of nothing: was the variable with the key empty?");
    }
    Ok(hash)
}

/// It stands in a config of bounded size, and in a line of the log for each call.
fn check_metadata(metadata: &BTreeMap<String, String>, errors: &mut FieldErrors) {
    if metadata.len() > MAX_METADATA {
        errors.add("spec.metadata", format_args!("must have at most {MAX_METADATA} entries"));
    }
    for (name, value) in metadata {
        if !(1..=LONGEST_NAME).contains(&name.chars().count()) {
            errors.add("spec.metadata", format_args!("names must have 1 to {LONGEST_NAME} characters"));
        }
        if value.chars().count() > LONGEST_VALUE {
            errors.add(format!("spec.metadata.{name}"), format_args!("must have at most {LONGEST_VALUE} characters"));
        }
    }
}

pub(super) fn rotation(at: &str, wanted: Option<&Rotation>, errors: &mut FieldErrors) -> ValidRotation {
    let Rotation { interval, grace_period } = wanted.cloned().unwrap_or_default();
    let mut read = |path: String, text: Option<String>| {
        let read = text?.parse::<kube::core::Duration>().map_err(|_| "is not a duration, as in 720h or 1h30m");
        let duration = errors.check(path, read).map(std::time::Duration::from)?;
        SignedDuration::try_from(duration).ok()
    };
    let interval = read(format!("{at}.interval"), interval);
    let grace = read(format!("{at}.gracePeriod"), grace_period).unwrap_or(GRACE);
    if interval.is_some_and(|interval| interval < SHORTEST_INTERVAL) {
        errors.add(format!("{at}.interval"), "is too short: at least 1m");
    }
    ValidRotation { interval, grace }
}
