//! What a Team says of its keys: what they have by default, and what none of them may exceed.

use jiff::{SignedDuration, Timestamp};
use vectoll_config::{MAX_BUDGETS, ModelPattern, PicoUsd, v1};
use vectoll_crds::{Enforcement, KeyBounds, KeyDefaults};

use super::{
    FieldError, FieldErrors, KeySource, ValidBudget, ValidKey,
    api_key::{ValidRotation, rotation},
    budgets::{listed, silent_budgets},
    limits, reset,
};

/// What a key has that says nothing of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValidDefaults {
    limits: v1::Limits,
    budgets: Vec<ValidBudget>,
    models: Option<Vec<ModelPattern>>,
    expires_after: Option<SignedDuration>,
    rotation: Option<ValidRotation>,
    max_wait_seconds: Option<u32>,
}

/// What no key may exceed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValidBounds {
    limits: v1::Limits,
    budgets: Vec<v1::Budget>,
    expires_after: Option<SignedDuration>,
    max_wait_seconds: Option<u32>,
    /// From when on the budgets of keys count anew that have no bound of their own, where others have: the Team's word, not the key's.
    /// Each bound has its own, of the Team that set it.
    reset_at: Option<Timestamp>,
}

pub(super) fn defaults(spec: Option<&KeyDefaults>, errors: &mut FieldErrors) -> ValidDefaults {
    let Some(spec) = spec else { return ValidDefaults::default() };
    let KeyDefaults { limits: whole, budgets, models, expires_after, rotation: renewed, max_wait_seconds } = spec;
    let at = "spec.keyDefaults";
    ValidDefaults {
        limits: limits::limits(&format!("{at}.limits"), *whole, errors),
        budgets: listed(&format!("{at}.budgets"), budgets, errors),
        models: limits::models(&format!("{at}.models"), models.as_deref(), errors),
        expires_after: duration(&format!("{at}.expiresAfter"), expires_after.as_deref(), errors),
        rotation: renewed.as_ref().map(|renewed| rotation(&format!("{at}.rotation"), Some(renewed), errors)),
        max_wait_seconds: *max_wait_seconds,
    }
}

pub(super) fn bounds(spec: Option<&KeyBounds>, errors: &mut FieldErrors) -> ValidBounds {
    let Some(spec) = spec else { return ValidBounds::default() };
    let KeyBounds { limits: whole, budgets, expires_after, max_wait_seconds } = spec;
    let at = "spec.keyBounds";
    // A bound that does not hold is none, and what is left to queries is for each key to say.
    let holds = "bounds hold: leave it out, and put the limits of keys on trial in spec.keyDefaults";
    if whole.enforcement == Enforcement::Audit {
        errors.add(format!("{at}.limits.enforcement"), holds);
    }
    if whole.reserved_for_queries_percent.is_some() {
        errors.add(format!("{at}.limits.reservedForQueriesPercent"), "is for keys and spec.keyDefaults: leave it out");
    }
    for (i, _) in budgets.iter().enumerate().filter(|(_, budget)| budget.enforcement == Enforcement::Audit) {
        errors.add(format!("{at}.budgets[{i}].enforcement"), holds);
    }
    ValidBounds {
        reset_at: None,
        limits: limits::limits(&format!("{at}.limits"), *whole, errors),
        budgets: silent_budgets(&format!("{at}.budgets"), None, budgets, errors),
        expires_after: duration(&format!("{at}.expiresAfter"), expires_after.as_deref(), errors),
        max_wait_seconds: *max_wait_seconds,
    }
}

impl ValidDefaults {
    /// With what another Team says where this one says nothing.
    fn or(mut self, above: &Self) -> Self {
        if self.limits == v1::Limits::NONE {
            self.limits = above.limits;
        }
        if self.budgets.is_empty() {
            self.budgets.clone_from(&above.budgets);
        }
        Self {
            models: self.models.or_else(|| above.models.clone()),
            expires_after: self.expires_after.or(above.expires_after),
            rotation: self.rotation.or(above.rotation),
            max_wait_seconds: self.max_wait_seconds.or(above.max_wait_seconds),
            ..self
        }
    }

    /// No more than what keys may have.
    fn within(mut self, bounds: &ValidBounds) -> Self {
        self.limits = tighter(self.limits, bounds.limits, |limit, bound| {
            limit.map(|limit| bound.map_or(limit, |bound| limit.min(bound)))
        });
        for ValidBudget { budget, .. } in &mut self.budgets {
            let bound = bounds.budgets.iter().find(|bound| bound.period == budget.period);
            if let Some(bound) = bound.filter(|bound| most_of(budget) > bound.limit) {
                budget.limit = budget.limit.min(bound.limit);
                budget.extra = None;
            }
        }
        self.expires_after =
            self.expires_after.map(|after| bounds.expires_after.map_or(after, |bound| after.min(bound)));
        self.max_wait_seconds =
            self.max_wait_seconds.map(|wait| bounds.max_wait_seconds.map_or(wait, |bound| wait.min(bound)));
        self
    }
}

impl ValidBounds {
    /// Has the budgets that are bounded count from a moment on.
    pub(super) fn count_from(&mut self, reset: Option<Timestamp>) {
        self.reset_at = reset;
        reset::count_from(reset, &mut self.budgets);
    }

    /// Both: of each the lower one. By whose calendar a bounded period goes, and when it counts anew, is the word of the Team above:
    /// in another zone, or reset below, it would begin again.
    fn and(mut self, above: &Self) -> Self {
        self.limits = tighter(self.limits, above.limits, |one, other| one.into_iter().chain(other).min());
        for bound in &above.budgets {
            match self.budgets.iter_mut().find(|own| own.period == bound.period) {
                Some(own) if bound.limit < own.limit => *own = bound.clone(),
                Some(own) => {
                    own.extra = own.extra.filter(|_| most_of(own) <= bound.limit);
                    own.time_zone = bound.time_zone.clone();
                    own.reset_at = bound.reset_at;
                }
                None => self.budgets.push(bound.clone()),
            }
        }
        self.expires_after = self.expires_after.into_iter().chain(above.expires_after).min();
        self.max_wait_seconds = self.max_wait_seconds.into_iter().chain(above.max_wait_seconds).min();
        self
    }
}

/// Limits of two, each as `of` has it. Who is on trial and what is left to queries stays the first one's.
fn tighter(one: v1::Limits, other: v1::Limits, of: impl Fn(Option<u64>, Option<u64>) -> Option<u64>) -> v1::Limits {
    v1::Limits {
        requests_per_minute: of(one.requests_per_minute, other.requests_per_minute),
        tokens_per_minute: of(one.tokens_per_minute, other.tokens_per_minute),
        requests_per_hour: of(one.requests_per_hour, other.requests_per_hour),
        tokens_per_hour: of(one.tokens_per_hour, other.tokens_per_hour),
        requests_per_day: of(one.requests_per_day, other.requests_per_day),
        tokens_per_day: of(one.tokens_per_day, other.tokens_per_day),
        parallel_requests: of(one.parallel_requests, other.parallel_requests),
        reserved_for_queries_percent: one.reserved_for_queries_percent,
        audit: one.audit,
    }
}

/// What a key has by default is no more than what it may have: else every key that says nothing would be refused, and none would say why.
pub(super) fn defaults_within(defaults: &ValidDefaults, bounds: &ValidBounds, errors: &mut FieldErrors) {
    let at = "spec.keyDefaults";
    let is_more = |bound: &dyn std::fmt::Display| format!("must be at most {bound}: spec.keyBounds");
    for ((field, limit), (_, bound)) in defaults.limits.each().into_iter().zip(bounds.limits.each()) {
        if let (Some(limit), Some(bound)) = (limit, bound)
            && limit > bound
        {
            errors.add(format!("{at}.limits.{field}"), is_more(&bound));
        }
    }
    for (i, ValidBudget { budget, .. }) in defaults.budgets.iter().enumerate() {
        let bound = bounds.budgets.iter().find(|bound| bound.period == budget.period);
        if let Some(bound) = bound.filter(|bound| most_of(budget) > bound.limit) {
            let reason = is_more(&format_args!("{} USD ({})", bound.limit, bound.period));
            errors.add(format!("{at}.budgets[{i}].limit"), reason);
        }
    }
    if let (Some(after), Some(bound)) = (defaults.expires_after, bounds.expires_after)
        && after > bound
    {
        errors.add(format!("{at}.expiresAfter"), is_more(&format_args!("{bound:#}")));
    }
    if let (Some(wait), Some(bound)) = (defaults.max_wait_seconds, bounds.max_wait_seconds)
        && wait > bound
    {
        errors.add(format!("{at}.maxWaitSeconds"), is_more(&bound));
    }
}

/// The most that a budget ever is: with what there is on top of it for a while.
fn most_of(budget: &v1::Budget) -> PicoUsd {
    budget.limit.plus(budget.extra.map_or(PicoUsd::ZERO, |extra| extra.amount))
}

fn duration(path: &str, text: Option<&str>, errors: &mut FieldErrors) -> Option<SignedDuration> {
    let read = text?.parse::<kube::core::Duration>().map_err(|_| "is not a duration, as in 720h or 1h30m");
    let duration = errors.check(path, read).map(std::time::Duration::from)?;
    SignedDuration::try_from(duration).ok()
}

impl ValidKey {
    /// The key as its Team and those `above` it have it, the nearest first, each by what it says of keys: with the defaults of the first
    /// that says any, and within the bounds of all. `created`: as in [`Self::of_team`].
    pub(crate) fn of_teams(
        self,
        (defaults, bounds): (&ValidDefaults, &ValidBounds),
        above: &[(&ValidDefaults, &ValidBounds)],
        created: Option<Timestamp>,
    ) -> Result<Self, Vec<FieldError>> {
        let (mut all_defaults, mut all_bounds) = (defaults.clone(), bounds.clone());
        for (defaults, bounds) in above {
            all_defaults = all_defaults.or(defaults);
            all_bounds = all_bounds.and(bounds);
        }
        // What one says by default another may not allow: then it is what is allowed.
        let all_defaults = if above.is_empty() { all_defaults } else { all_defaults.within(&all_bounds) };
        self.of_team(&all_defaults, &all_bounds, created)
    }

    /// The key as its Team has it: with the Team's defaults, and within its bounds. `created`: when the key was made; a manifest
    /// without a cluster does not say so, and nothing follows from it there.
    pub(crate) fn of_team(
        mut self,
        defaults: &ValidDefaults,
        bounds: &ValidBounds,
        created: Option<Timestamp>,
    ) -> Result<Self, Vec<FieldError>> {
        if self.limits == v1::Limits::NONE {
            self.limits = defaults.limits;
        }
        if self.budgets.is_empty() {
            self.budgets.clone_from(&defaults.budgets);
        }
        if self.models.is_none() {
            self.models.clone_from(&defaults.models);
        }
        if let (Some(rotation), false, KeySource::Generated { .. }) =
            (defaults.rotation, self.has_rotation, &self.source)
        {
            self.rotation = rotation;
        }
        self.max_wait_seconds = self.max_wait_seconds.or(defaults.max_wait_seconds);
        let after = |time: Option<SignedDuration>| created?.checked_add(time?).ok();
        self.expires_at = self.expires_at.or(after(defaults.expires_after));

        let mut errors = FieldErrors::default();
        self.limits = within(self.limits, bounds.limits, &mut errors);
        let reset = if bounds.budgets.is_empty() { self.reset_at } else { bounds.reset_at };
        reset::count_from(reset, self.budgets.iter_mut().map(|valid| &mut valid.budget));
        self.budgets = budgets_within(self.budgets, &bounds.budgets, &mut errors);
        if self.reset_at.is_some() && !bounds.budgets.is_empty() {
            errors.add(reset::path(), "is for keys whose budgets their Team does not bound: annotate the Team");
        }
        reset::count_from(reset, self.model_limits.iter_mut().flat_map(|of| &mut of.budgets));
        if let Some(most) = bounds.max_wait_seconds {
            let wanted = self.max_wait_seconds;
            if wanted.is_some_and(|wanted| wanted > most) {
                errors.add("spec.maxWaitSeconds", at_most(most));
            }
        }
        if let Some(last) = after(bounds.expires_after) {
            if self.expires_at.is_some_and(|end| end > last) {
                errors.add("spec.expiresAt", at_most(last));
            }
            self.expires_at = self.expires_at.or(Some(last));
        }
        errors.or(Some(self))
    }
}

fn at_most(bound: impl std::fmt::Display) -> String {
    format!("must be at most {bound}: the Team's keyBounds, or those of a Team above it")
}

/// The limits of a key, each of them at most its bound; where it has none, the bound itself.
fn within(limits: v1::Limits, bounds: v1::Limits, errors: &mut FieldErrors) -> v1::Limits {
    let mut one = |field: &str, limit: Option<u64>, bound: Option<u64>| {
        if let (Some(limit), Some(bound)) = (limit, bound)
            && limit > bound
        {
            errors.add(format!("spec.limits.{field}"), at_most(bound));
        }
        limit.or(bound)
    };
    v1::Limits {
        requests_per_minute: one("requestsPerMinute", limits.requests_per_minute, bounds.requests_per_minute),
        tokens_per_minute: one("tokensPerMinute", limits.tokens_per_minute, bounds.tokens_per_minute),
        requests_per_hour: one("requestsPerHour", limits.requests_per_hour, bounds.requests_per_hour),
        tokens_per_hour: one("tokensPerHour", limits.tokens_per_hour, bounds.tokens_per_hour),
        requests_per_day: one("requestsPerDay", limits.requests_per_day, bounds.requests_per_day),
        tokens_per_day: one("tokensPerDay", limits.tokens_per_day, bounds.tokens_per_day),
        parallel_requests: one("parallelRequests", limits.parallel_requests, bounds.parallel_requests),
        reserved_for_queries_percent: limits.reserved_for_queries_percent,
        // What the Team bounds is not the key's to put on trial.
        audit: limits.audit && bounds.is_none(),
    }
}

/// The budgets of a key, likewise.
fn budgets_within(own: Vec<ValidBudget>, bounds: &[v1::Budget], errors: &mut FieldErrors) -> Vec<ValidBudget> {
    let mut all = own;
    for bound in bounds {
        match all.iter_mut().find(|valid| valid.budget.period == bound.period) {
            Some(valid) => {
                if most_of(&valid.budget) > bound.limit {
                    let reason = format!("{} ({})", at_most(format_args!("{} USD", bound.limit)), bound.period);
                    errors.add("spec.budgets", reason);
                }
                valid.budget.audit = false;
                // In another zone the same period would begin again.
                valid.budget.time_zone = bound.time_zone.clone();
                valid.budget.reset_at = bound.reset_at;
            }
            None => all.push(ValidBudget { budget: bound.clone(), warn_at: None }),
        }
    }
    if all.len() > MAX_BUDGETS {
        errors.add("spec.budgets", format!("are more than {MAX_BUDGETS} together with those of the Team's keyBounds"));
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::{ObjectName, Uid};
    use vectoll_crds::{ApiKeySpec, TeamSpec};

    use super::*;
    use crate::{observed_state::Object, validate};

    fn object<S>(spec: S) -> Object<S> {
        let name = ObjectName::new("apps", "it");
        Object::new(name, Uid::new("u"), spec)
    }

    fn effective(team: &str, key: &str) -> Result<ValidKey, String> {
        annotated(team, key, None)
    }

    fn annotated(team: &str, key: &str, reset: Option<&str>) -> Result<ValidKey, String> {
        let team: TeamSpec = serde_yaml::from_str(team).unwrap();
        let key: ApiKeySpec = serde_yaml::from_str(&format!("{{teamRef: {{name: it}}{key}}}")).unwrap();
        let team = validate::team(&object(team)).unwrap();
        let created = "2026-01-01T00:00:00Z".parse().ok();
        let key = Object { reset: reset.map(str::to_owned), ..object(key) };
        let key = validate::api_key(&key).and_then(|key| key.of_team(&team.key_defaults, &team.key_bounds, created));
        key.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn a_key_that_says_nothing_has_what_its_team_says() {
        let team = "{keyDefaults: {limits: {requestsPerMinute: 5}, budgets: [{limit: '1', period: Daily, warnAtPercent: 80}], \
                    models: ['bge-*'], expiresAfter: 240h, rotation: {interval: 24h}, maxWaitSeconds: 7}}";
        let key = effective(team, "").unwrap();
        assert_eq!(key.limits.requests_per_minute, Some(5));
        assert!(key.budgets.len() == 1 && key.budgets.iter().all(|valid| valid.warn_at.is_some()));
        assert_eq!(key.models.unwrap().first().unwrap().to_string(), "bge-*");
        assert_eq!(key.expires_at.unwrap().to_string(), "2026-01-11T00:00:00Z");
        assert_eq!((key.rotation.interval, key.max_wait_seconds), (Some(SignedDuration::from_hours(24)), Some(7)));
        let own = ", limits: {tokensPerMinute: 9}, budget: {limit: '2', period: Total}, models: [m], rotation: {interval: 1h}, \
                   maxWaitSeconds: 1, expiresAt: '2027-01-01T00:00:00Z'";
        let key = effective(team, own).unwrap();
        assert_eq!(
            (key.limits.requests_per_minute, key.limits.tokens_per_minute),
            (None, Some(9)),
            "its own, and no mixture"
        );
        assert_eq!((key.rotation.interval, key.max_wait_seconds), (Some(SignedDuration::from_hours(1)), Some(1)));
        assert_eq!(key.expires_at.unwrap().to_string(), "2027-01-01T00:00:00Z");
        let brought = effective(team, ", secretRef: {name: s, key: k}").unwrap();
        assert_eq!(brought.rotation.interval, None, "a value of one's own is not renewed");
    }

    #[test]
    fn a_key_is_held_to_the_bounds_of_all_teams_above_it_and_has_the_defaults_of_the_nearest() {
        let of = |teams: &[&str], key: &str| {
            let valid = |text: &&str| validate::team(&object(serde_yaml::from_str::<TeamSpec>(text).unwrap())).unwrap();
            let teams: Vec<_> = teams.iter().map(valid).collect();
            let said: Vec<_> = teams.iter().map(|team| (&team.key_defaults, &team.key_bounds)).collect();
            let key: ApiKeySpec = serde_yaml::from_str(&format!("{{teamRef: {{name: it}}{key}}}")).unwrap();
            let key = validate::api_key(&object(key)).unwrap();
            let key = key.of_teams(said[0], &said[1..], "2026-01-01T00:00:00Z".parse().ok());
            key.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        };
        let own = "{keyDefaults: {limits: {requestsPerMinute: 50}}, keyBounds: {limits: {requestsPerMinute: 50, tokensPerDay: 9}, \
                   budgets: [{limit: '5', period: Daily}]}}";
        let org = "{keyDefaults: {limits: {requestsPerMinute: 1}, models: [m], maxWaitSeconds: 5}, keyBounds: {limits: \
                   {requestsPerMinute: 20}, budgets: [{limit: '1', period: Daily}, {limit: '2', period: Weekly}], maxWaitSeconds: 5}}";
        let key = of(&[own, org], "").unwrap();
        assert_eq!(
            (key.limits.requests_per_minute, key.limits.tokens_per_day),
            (Some(20), Some(9)),
            "as much as is allowed"
        );
        assert_eq!((key.models.unwrap().len(), key.max_wait_seconds), (1, Some(5)), "what the Team says nothing of");
        let budgets: Vec<String> =
            key.budgets.iter().map(|valid| format!("{} {}", valid.budget.limit, valid.budget.period)).collect();
        assert_eq!(budgets, ["1.00 Daily", "2.00 Weekly"]);
        let more = of(&[own, org], ", limits: {requestsPerMinute: 21}").unwrap_err();
        assert_eq!(
            more,
            "spec.limits.requestsPerMinute: must be at most 20: the Team's keyBounds, or those of a Team above it"
        );
        assert_eq!(of(&["{}", "{}", org], "").unwrap().limits.requests_per_minute, Some(1), "over two Teams");
    }

    #[test]
    fn what_a_team_above_bounds_is_not_added_to_moved_or_reset_below_it() {
        let valid = |text: &str, reset: Option<&str>| {
            let team = object(serde_yaml::from_str::<TeamSpec>(text).unwrap());
            validate::team(&Object { reset: reset.map(str::to_owned), ..team }).unwrap()
        };
        let key = |teams: &[&validate::ValidTeam], text: &str| {
            let said: Vec<_> = teams.iter().map(|team| (&team.key_defaults, &team.key_bounds)).collect();
            let key: ApiKeySpec = serde_yaml::from_str(&format!("{{teamRef: {{name: it}}{text}}}")).unwrap();
            let key = validate::api_key(&object(key)).unwrap().of_teams(said[0], &said[1..], None).unwrap();
            key.budgets.into_iter().map(|valid| valid.budget).collect::<Vec<_>>()
        };
        let reset = "2026-11-30T12:00:00Z";
        let since = |budget: &v1::Budget| budget.reset_at.map(|at| at.to_string());
        let extra = "extra: {amount: '5', until: '2027-01-01T00:00:00Z'}";
        let below = format!(
            "{{keyBounds: {{budgets: [{{limit: '10', period: Daily, timeZone: Asia/Tokyo, {extra}}}, {{limit: '1', period: Weekly}}]}}}}"
        );
        let org = valid("{keyBounds: {budgets: [{limit: '10', period: Daily, timeZone: Europe/Berlin}]}}", None);
        let below = valid(&below, Some(reset));
        for said in ["", ", budgets: [{limit: '9', period: Daily, timeZone: Asia/Tokyo}]"] {
            let budgets = key(&[&below, &valid("{}", None), &org], said);
            let [daily, weekly] = &*budgets else { panic!("{budgets:?}") };
            assert_eq!(
                (daily.extra, daily.time_zone.to_string(), since(daily)),
                (None, "Europe/Berlin".to_owned(), None)
            );
            assert_eq!(since(weekly).as_deref(), Some(reset), "which is its own word");
        }
        // What both allow together stays, and the Team that bounds it resets it.
        let roomy = valid("{keyBounds: {budgets: [{limit: '15', period: Daily}]}}", Some("2026-11-01T00:00:00Z"));
        let budgets = key(&[&below, &roomy], "");
        assert_eq!(budgets[0].extra.map(|extra| extra.amount.to_string()).as_deref(), Some("5.00"));
        assert_eq!(since(&budgets[0]).as_deref(), Some("2026-11-01T00:00:00Z"));
        // Of several the topmost counts.
        let budgets = key(&[&below, &roomy, &org], "");
        assert_eq!((budgets[0].time_zone.to_string(), since(&budgets[0])), ("Europe/Berlin".to_owned(), None));
    }

    #[test]
    fn what_keys_have_by_default_is_within_what_they_may_have() {
        let errors = |spec: &str| {
            let spec: TeamSpec = serde_yaml::from_str(spec).unwrap();
            let errors = validate::team(&object(spec)).err().unwrap_or_default();
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let bounds = "keyBounds: {limits: {requestsPerMinute: 5, tokensPerDay: 9}, budgets: [{limit: '1', period: Daily}], \
                      expiresAfter: 240h, maxWaitSeconds: 7}";
        let more = "{limits: {requestsPerMinute: 6, tokensPerDay: 10, tokensPerHour: 99}, budgets: [{limit: '9', period: Weekly}, \
                    {limit: '0.9', period: Daily, extra: {amount: '0.2', until: '2027-01-01T00:00:00Z'}}], expiresAfter: 241h, \
                    maxWaitSeconds: 8}";
        assert_eq!(
            errors(&format!("{{keyDefaults: {more}, {bounds}}}")),
            [
                "spec.keyDefaults.limits.requestsPerMinute: must be at most 5: spec.keyBounds",
                "spec.keyDefaults.limits.tokensPerDay: must be at most 9: spec.keyBounds",
                "spec.keyDefaults.budgets[1].limit: must be at most 1.00 USD (Daily): spec.keyBounds",
                "spec.keyDefaults.expiresAfter: must be at most 240h: spec.keyBounds",
                "spec.keyDefaults.maxWaitSeconds: must be at most 7: spec.keyBounds",
            ]
        );
        let as_much = "{limits: {requestsPerMinute: 5}, budgets: [{limit: '1', period: Daily}], expiresAfter: 240h, maxWaitSeconds: 7}";
        assert_eq!(errors(&format!("{{keyDefaults: {as_much}, {bounds}}}")), Vec::<String>::new());
    }

    #[test]
    fn a_key_may_reset_what_its_team_does_not_bound() {
        let own = ", budget: {limit: '0.5', period: Daily}, modelLimits: [{model: m, budgets: [{limit: '1', period: Total}]}]";
        let now = Some("2026-11-30T12:00:00Z");
        let key = annotated("{}", own, now).unwrap();
        let of_models = key.model_limits.iter().flat_map(|of| &of.budgets);
        let all: Vec<_> = key.budgets.iter().map(|valid| &valid.budget).chain(of_models).collect();
        let reset = |budget: &&v1::Budget| budget.reset_at.is_some_and(|at| at.to_string() == "2026-11-30T12:00:00Z");
        assert!(all.len() == 2 && all.iter().all(reset));
        assert_eq!(
            annotated("{}", own, Some("now")).unwrap_err(),
            "metadata.annotations[vectoll.dev/reset-budgets]: is not a time since 1970, as 2026-11-30T12:00:00Z is"
        );
        assert!(annotated("{}", own, Some("1960-01-01T00:00:00Z")).is_err());
        assert_eq!(
            annotated("{keyBounds: {budgets: [{limit: '1', period: Daily}]}}", own, now).unwrap_err(),
            "metadata.annotations[vectoll.dev/reset-budgets]: is for keys whose budgets their Team does not bound: annotate the Team"
        );
    }

    #[test]
    fn no_key_exceeds_its_teams_bounds() {
        let team = "{keyBounds: {limits: {requestsPerMinute: 5, tokensPerDay: 100}, budgets: [{limit: '1', period: Daily}], \
                    expiresAfter: 240h, maxWaitSeconds: 7}}";
        let key = effective(team, "").unwrap();
        assert_eq!(
            (key.limits.requests_per_minute, key.limits.tokens_per_day),
            (Some(5), Some(100)),
            "the bound itself"
        );
        assert_eq!((key.budgets.len(), key.max_wait_seconds), (1, None));
        assert_eq!(key.expires_at.unwrap().to_string(), "2026-01-11T00:00:00Z");
        let less = effective(team, ", limits: {requestsPerMinute: 4}, budget: {limit: '0.5', period: Daily}").unwrap();
        assert_eq!((less.limits.requests_per_minute, less.limits.tokens_per_day), (Some(4), Some(100)));
        let more = ", limits: {requestsPerMinute: 6}, budgets: [{limit: '0.9', period: Daily, extra: {amount: '0.2', until: \
                    '2027-01-01T00:00:00Z'}}], maxWaitSeconds: 8, expiresAt: '2026-02-01T00:00:00Z'";
        assert_eq!(
            effective(team, more).unwrap_err(),
            "spec.limits.requestsPerMinute: must be at most 5: the Team's keyBounds, or those of a Team above it; \
             spec.budgets: must be at most 1.00 USD: the Team's keyBounds, or those of a Team above it (Daily); \
             spec.maxWaitSeconds: must be at most 7: the Team's keyBounds, or those of a Team above it; \
             spec.expiresAt: must be at most 2026-01-11T00:00:00Z: the Team's keyBounds, or those of a Team above it"
        );
        let elsewhere = effective(team, ", budget: {limit: '0.5', period: Daily, timeZone: Asia/Tokyo}").unwrap();
        assert_eq!(
            elsewhere.budgets.iter().map(|valid| valid.budget.time_zone.to_string()).collect::<Vec<_>>(),
            ["UTC"]
        );
        let bounds = "{keyBounds: {limits: {requestsPerMinute: 5, enforcement: Audit, reservedForQueriesPercent: 20}, \
                      budgets: [{limit: '1', period: Daily, enforcement: Audit}]}}";
        let team_with = serde_yaml::from_str::<TeamSpec>(bounds).unwrap();
        let errors = validate::team(&object(team_with)).unwrap_err();
        let paths: Vec<&str> = errors.iter().map(|error| &*error.path).collect();
        assert_eq!(
            paths,
            [
                "spec.keyBounds.limits.enforcement",
                "spec.keyBounds.limits.reservedForQueriesPercent",
                "spec.keyBounds.budgets[0].enforcement"
            ]
        );
        let trial = effective(team, ", limits: {requestsPerMinute: 5, enforcement: Audit}").unwrap();
        assert!(!trial.limits.audit, "a bound is not on trial");
    }
}
