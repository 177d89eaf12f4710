//! The families of usage and spend, rendered at each scrape from the ledger's integers.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::{
    policy::{Backend, Policy},
    tenancy::Tenancy,
};
use vectoll_config::{
    PicoUsd, Uid,
    v1::{Budget, ModelLimits},
};
use vectoll_ledger::{
    books::{Books, ByName, ByTag, Totals},
    used::OTHER,
};
use vectoll_limits::counters::{Account, Open, Spending};

/// Where the numbers come from at the moment of a scrape.
pub trait Source: Send + Sync {
    /// The books.
    fn books(&self) -> Books;
    /// The open reservations.
    fn open(&self) -> Open;
    /// What is taken of a budget; none: not known here.
    fn spending(&self, team: &Uid, account: &Account, budget: &Budget) -> Option<Spending>;
    /// What is served.
    fn policy(&self) -> Arc<Policy>;
}

/// The collector.
pub struct BookFamilies {
    source: Box<dyn Source>,
    /// Whether end users are told apart.
    by_user: bool,
    tenancy: Tenancy,
}

impl BookFamilies {
    /// Families over a source; those by end user only where they are wanted.
    pub fn new(source: Box<dyn Source>, by_user: bool, tenancy: Tenancy) -> Self {
        Self { source, by_user, tenancy }
    }
}

impl Collector for BookFamilies {
    fn desc(&self) -> Vec<&Desc> {
        // Described by what it collects: the families are not fixed in advance.
        Vec::new()
    }

    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats; exact up to 2⁵³")]
    fn collect(&self) -> Vec<MetricFamily> {
        let Books {
            keys,
            teams,
            users,
            models,
            tags,
            key_tags,
            unsettled,
            estimated,
            unpriced_tokens,
            overrun_tokens,
            folded_calls,
            foreign_routes,
        } = self.source.books();
        let mut families = Vec::new();
        let by_key = keys.iter().flat_map(|(team, keys)| {
            keys.iter().map(move |(key, totals)| (vec![("team", &**team), ("key", &**key)], totals))
        });
        totals(&mut families, "key", "each key", by_key);
        totals(
            &mut families,
            "team",
            "each team",
            teams.iter().map(|(team, totals)| (vec![("team", &**team)], totals)),
        );
        let by_user = users.iter().filter(|_| self.by_user).flat_map(|(team, users)| {
            users.iter().map(move |(user, totals)| (vec![("team", &**team), ("user", &**user)], totals))
        });
        totals(&mut families, "user", "each end user of a team", by_user);
        let by_model = models.iter().flat_map(|(model, providers)| {
            providers.iter().flat_map(move |(provider, backends)| {
                backends.iter().map(move |(backend, totals)| {
                    (vec![("model", &**model), ("provider", &**provider), ("backend", &**backend)], totals)
                })
            })
        });
        totals(&mut families, "model", "each model at each backend", by_model);
        totals(
            &mut families,
            "unsettled",
            "calls that a provider may have charged, booked at their reservation and included in the other families",
            std::iter::once((Vec::new(), &unsettled)),
        );
        totals(
            &mut families,
            "estimated",
            "calls whose provider reported no usage, booked at an upper bound and included in the other families",
            std::iter::once((Vec::new(), &estimated)),
        );
        totals(
            &mut families,
            "foreign_route",
            "calls of each team by routes that are none of the team's, included in the other families and in no budget of the team",
            foreign_routes.iter().map(|(team, totals)| (vec![("team", &**team)], totals)),
        );
        by_tag(&mut families, &tags, &key_tags);
        let mut plain = |name: &str, help: &str, kind, samples: Vec<Metric>| {
            if !samples.is_empty() {
                families.push(family(name, help, kind, samples));
            }
        };
        plain(
            "vectoll_unpriced_tokens_total",
            "Tokens of models without a known price: their cost is unknown, not 0.",
            MetricType::COUNTER,
            unpriced_tokens.iter().map(|(model, tokens)| counter(&[("model", model)], *tokens as f64)).collect(),
        );
        plain(
            "vectoll_reservation_overrun_tokens_total",
            "Tokens that providers reported beyond what was reserved for them.",
            MetricType::COUNTER,
            vec![counter(&[], overrun_tokens as f64)],
        );
        plain(
            "vectoll_folded_users_requests_total",
            "Requests booked under the user _other because there were too many users to tell apart.",
            MetricType::COUNTER,
            vec![counter(&[], folded_calls as f64)],
        );
        self.reservations(&mut families);
        self.budgets(&mut families, &users);
        self.tenancy.add(&mut families);
        families
    }
}

/// Spend by tag, of teams and of keys.
fn by_tag(
    families: &mut Vec<MetricFamily>,
    tags: &BTreeMap<Arc<str>, ByTag>,
    key_tags: &BTreeMap<Arc<str>, BTreeMap<Arc<str>, ByTag>>,
) {
    let usd = |spent: &u64| PicoUsd::new(*spent).as_usd_for_display();
    let teams = tags.iter().flat_map(|(team, tags)| {
        tags.iter().map(move |(tag, spent)| counter(&[("team", team), ("tag", tag)], usd(spent)))
    });
    let keys = key_tags.iter().flat_map(|(team, keys)| keys.iter().map(move |(key, tags)| (team, key, tags)));
    let keys = keys.flat_map(|(team, key, tags)| {
        tags.iter().map(move |(tag, spent)| counter(&[("team", team), ("key", key), ("tag", tag)], usd(spent)))
    });
    for (name, help, samples) in [
        (
            "vectoll_tag_spend_usd_total",
            "Money charged in US dollars: each tag that its team counts. A call may have several.",
            teams.collect::<Vec<_>>(),
        ),
        (
            "vectoll_key_tag_spend_usd_total",
            "Money charged in US dollars: each tag that its team counts, by key. A call may have several.",
            keys.collect(),
        ),
    ] {
        if !samples.is_empty() {
            families.push(family(name, help, MetricType::COUNTER, samples));
        }
    }
}

/// Names and values.
type Labels<'a> = Vec<(&'a str, &'a str)>;

impl BookFamilies {
    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats; exact up to 2⁵³")]
    fn reservations(&self, families: &mut Vec<MetricFamily>) {
        let Open { calls, tokens, money } = self.source.open();
        for (name, help, value) in [
            ("vectoll_reservations", "Calls that hold a reservation.", calls as f64),
            ("vectoll_reserved_tokens", "Tokens reserved for calls under way.", tokens as f64),
            ("vectoll_reserved_spend_usd", "Money reserved for calls under way.", money.as_usd_for_display()),
        ] {
            families.push(family(name, help, MetricType::GAUGE, vec![gauge(&[], value)]));
        }
    }

    fn budgets(&self, families: &mut Vec<MetricFamily>, users: &BTreeMap<Arc<str>, ByName>) {
        let policy = self.source.policy();
        let keys = policy.all_keys.iter().map(|key| {
            let labels = vec![("team", &*key.team.name), ("key", &*key.name)];
            (labels, &key.team.uid, Account::Key(key.uid.clone()), &*key.budgets)
        });
        self.budget(families, "key", keys.collect());
        let teams = policy
            .teams
            .values()
            .map(|team| (vec![("team", &*team.name)], &team.uid, Account::Team(team.uid.clone()), &*team.budgets));
        self.budget(families, "team", teams.collect());
        let guests = policy.views().filter_map(|team| {
            let guest = team.guest.as_ref()?;
            let account = Account::TeamNamespace(team.uid.clone(), guest.namespace.clone());
            let mut labels = vec![("team", &*team.name)];
            if self.tenancy.is_many() {
                labels.insert(0, ("namespace", &*guest.namespace));
            }
            Some((labels, &team.uid, account, &*guest.budgets))
        });
        self.budget(families, "namespace", guests.collect());
        self.model_budgets(families, &policy);
        let owed: BTreeMap<&str, &Arc<Backend>> =
            policy.backends().filter(|backend| !backend.budgets.is_empty()).map(|it| (&*it.label, it)).collect();
        let backends = owed.iter().map(|(label, backend)| {
            let account = Account::Backend(backend.account.clone());
            (vec![("backend", *label)], &backend.account, account, &*backend.budgets)
        });
        self.budget(families, "backend", backends.collect());
        // Who has called here: nobody else's budget is known. The books tell no more users apart than they have room for.
        let callers = policy.teams.values().filter(|team| self.by_user && !team.user_budgets.is_empty());
        let callers = callers.flat_map(|team| {
            let names = users.get(&team.name).into_iter().flat_map(BTreeMap::keys);
            names.filter(|user| &***user != OTHER).map(move |user| {
                let account = Account::TeamUser(team.uid.clone(), user.clone());
                (vec![("team", &*team.name), ("user", &**user)], &team.uid, account, &*team.user_budgets)
            })
        });
        self.budget(families, "user", callers.collect());
        let ends = policy
            .all_keys
            .iter()
            .filter_map(|key| Some(gauge(&[("team", &key.team.name), ("key", &key.name)], seconds(key.expires_at?))));
        let help = "When the key ends: keys whose `expiresAt` is set.";
        add_gauges(families, "vectoll_key_expiry_timestamp_seconds", help, ends.collect());
    }

    /// Those of models within keys and teams, and of tags.
    fn model_budgets(&self, families: &mut Vec<MetricFamily>, policy: &Policy) {
        let patterns = |limits: &[ModelLimits]| limits.iter().map(|entry| entry.model.to_string()).collect::<Vec<_>>();
        let of_keys: Vec<_> = policy.all_keys.iter().map(|key| (key, patterns(&key.model_limits))).collect();
        let keys = of_keys.iter().flat_map(|(key, names)| {
            key.model_limits.iter().zip(names).map(move |(entry, model)| {
                let labels = vec![("team", &*key.team.name), ("key", &*key.name), ("model", &**model)];
                (labels, &key.team.uid, Account::KeyModel(key.uid.clone(), entry.model.clone()), &*entry.budgets)
            })
        });
        self.budget(families, "key_model", keys.collect());
        let of_teams: Vec<_> = policy.teams.values().map(|team| (team, patterns(&team.model_limits))).collect();
        let teams = of_teams.iter().flat_map(|(team, names)| {
            team.model_limits.iter().zip(names).map(move |(entry, model)| {
                let labels = vec![("team", &*team.name), ("model", &**model)];
                (labels, &team.uid, Account::TeamModel(team.uid.clone(), entry.model.clone()), &*entry.budgets)
            })
        });
        self.budget(families, "team_model", teams.collect());
        let tags = policy.teams.values().flat_map(|team| {
            team.tag_limits.iter().map(move |entry| {
                let labels = vec![("team", &*team.name), ("tag", &*entry.tag)];
                (labels, &team.uid, Account::TeamTag(team.uid.clone(), entry.tag.clone()), &*entry.budgets)
            })
        });
        self.budget(families, "tag", tags.collect());
    }

    fn budget(&self, families: &mut Vec<MetricFamily>, word: &str, of: Vec<(Labels<'_>, &Uid, Account, &[Budget])>) {
        let (mut limits, mut remaining, mut period_ends) = (Vec::new(), Vec::new(), Vec::new());
        let each = of.into_iter().flat_map(|(labels, team, account, budgets)| {
            budgets.iter().map(move |budget| (labels.clone(), team, account.clone(), budget))
        });
        for (mut labels, team, account, budget) in each {
            // No account has two budgets of one period.
            let period = budget.period.to_string();
            labels.push(("period", &period));
            let limit = budget.limit_at(Timestamp::now());
            limits.push(gauge(&labels, limit.as_usd_for_display()));
            // What nobody knows here is not told as if nothing were spent.
            if let Some(Spending { taken, ends }) = self.source.spending(team, &account, budget) {
                remaining.push(gauge(&labels, limit.minus(taken).as_usd_for_display()));
                period_ends.extend(ends.map(|ends| gauge(&labels, seconds(ends))));
            }
        }
        let name = |what: &str| format!("vectoll_{word}_budget_{what}");
        let help = format!("The budget of the {} for its present period.", word.replace('_', "'s "));
        add_gauges(families, &name("limit_usd"), &help, limits);
        let help = format!("What is left of the budget of the {}, reservations taken off.", word.replace('_', "'s "));
        add_gauges(families, &name("remaining_usd"), &help, remaining);
        let help = format!(
            "When the present period of the budget of the {} ends. A total budget has no end.",
            word.replace('_', "'s ")
        );
        add_gauges(families, &name("period_end_timestamp_seconds"), &help, period_ends);
    }
}

/// Seconds since 1970.
#[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats; exact up to 2⁵³")]
fn seconds(moment: Timestamp) -> f64 {
    moment.as_second() as f64
}

/// A family of gauges, if there are any.
fn add_gauges(families: &mut Vec<MetricFamily>, name: &str, help: &str, samples: Vec<Metric>) {
    if !samples.is_empty() {
        families.push(family(name, help, MetricType::GAUGE, samples));
    }
}

/// The three families of requests, tokens and money over the same series.
#[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats; exact up to 2⁵³")]
fn totals<'a>(
    families: &mut Vec<MetricFamily>,
    word: &str,
    of: &str,
    series: impl Iterator<Item = (Vec<(&'a str, &'a str)>, &'a Totals)>,
) {
    let (mut requests, mut tokens, mut money) = (Vec::new(), Vec::new(), Vec::new());
    for (labels, totals) in series {
        requests.push(counter(&labels, totals.requests as f64));
        tokens.push(counter(&labels, totals.tokens as f64));
        money.push(counter(&labels, totals.money().as_usd_for_display()));
    }
    if requests.is_empty() {
        return;
    }
    for (what, help, samples) in [
        ("requests", "Calls sent to a backend", requests),
        ("tokens", "Input tokens charged", tokens),
        ("spend_usd", "Money charged in US dollars", money),
    ] {
        let name = format!("vectoll_{word}_{what}_total");
        families.push(family(&name, &format!("{help}: {of}."), MetricType::COUNTER, samples));
    }
}

fn family(name: &str, help: &str, kind: MetricType, samples: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples);
    family
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|&(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

fn counter(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}
