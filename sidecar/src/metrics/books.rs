//! The families of usage and spend, rendered at each scrape from the ledger's integers.
//!
//! They are written one after the other ([`FamilyText`]), and not collected by the registry: that keeps all metrics of a scrape at once as
//! objects, with which a gateway of 50,000 keys took more than twice its memory while it was scraped.

use std::{collections::BTreeMap, fmt, iter, sync::Arc};

use jiff::Timestamp;
use prometheus::proto::Metric;

use super::family_text::{FamilyText, counter, gauge};
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

/// These families.
pub struct BookFamilies {
    source: Box<dyn Source>,
    /// Whether end users are told apart.
    by_user: bool,
    tenancy: Tenancy,
}

impl fmt::Debug for BookFamilies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BookFamilies").finish_non_exhaustive()
    }
}

impl BookFamilies {
    /// Families over a source; those by end user only where they are wanted.
    pub fn new(source: Box<dyn Source>, by_user: bool, tenancy: Tenancy) -> Self {
        Self { source, by_user, tenancy }
    }
}

impl BookFamilies {
    /// Writes all of them behind what is there.
    ///
    /// # Errors
    /// A family that cannot be written as text: none of these.
    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats; exact up to 2⁵³")]
    pub(super) fn write(&self, text: String) -> prometheus::Result<String> {
        let mut text = FamilyText::after(text, self.tenancy);
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
        let by_key = keys.iter().flat_map(|(team, keys)| {
            keys.iter().map(move |(key, totals)| ([("team", &**team), ("key", &**key)], totals))
        });
        totals(&mut text, "key", "each key", &by_key)?;
        totals(&mut text, "team", "each team", &by_team(&teams))?;
        let by_user = users.iter().filter(|_| self.by_user).flat_map(|(team, users)| {
            users.iter().map(move |(user, totals)| ([("team", &**team), ("user", &**user)], totals))
        });
        totals(&mut text, "user", "each end user of a team", &by_user)?;
        let by_model = models.iter().flat_map(|(model, providers)| {
            providers.iter().flat_map(move |(provider, backends)| {
                backends.iter().map(move |(backend, totals)| {
                    ([("model", &**model), ("provider", &**provider), ("backend", &**backend)], totals)
                })
            })
        });
        totals(&mut text, "model", "each model at each backend", &by_model)?;
        totals(
            &mut text,
            "unsettled",
            "calls that a provider may have charged, booked at their reservation and included in the other families",
            &iter::once(([], &unsettled)),
        )?;
        totals(
            &mut text,
            "estimated",
            "calls whose provider reported no usage, booked at an upper bound and included in the other families",
            &iter::once(([], &estimated)),
        )?;
        totals(
            &mut text,
            "foreign_route",
            "calls of each team by routes that are none of the team's, included in the other families and in no budget of the team",
            &by_team(&foreign_routes),
        )?;
        by_tag(&mut text, &tags, &key_tags)?;
        text.counters(
            "vectoll_unpriced_tokens_total",
            "Tokens of models without a known price: their cost is unknown, not 0.",
            unpriced_tokens.iter().map(|(model, tokens)| counter(&[("model", model)], *tokens as f64)),
        )?;
        text.counters(
            "vectoll_reservation_overrun_tokens_total",
            "Tokens that providers reported beyond what was reserved for them.",
            iter::once(counter(&[], overrun_tokens as f64)),
        )?;
        text.counters(
            "vectoll_folded_users_requests_total",
            "Requests booked under the user _other because there were too many users to tell apart.",
            iter::once(counter(&[], folded_calls as f64)),
        )?;
        self.reservations(&mut text)?;
        self.budgets(&mut text, &users)?;
        Ok(text.end())
    }
}

fn by_team(teams: &ByName) -> impl Iterator<Item = ([(&str, &str); 1], &Totals)> + Clone {
    teams.iter().map(|(team, totals)| ([("team", &**team)], totals))
}

/// Spend by tag, of teams and of keys.
fn by_tag(
    text: &mut FamilyText,
    tags: &BTreeMap<Arc<str>, ByTag>,
    key_tags: &BTreeMap<Arc<str>, BTreeMap<Arc<str>, ByTag>>,
) -> prometheus::Result<()> {
    let usd = |spent: &u64| PicoUsd::new(*spent).as_usd_for_display();
    let teams = tags.iter().flat_map(|(team, tags)| {
        tags.iter().map(move |(tag, spent)| counter(&[("team", team), ("tag", tag)], usd(spent)))
    });
    text.counters(
        "vectoll_tag_spend_usd_total",
        "Money charged in US dollars: each tag that its team counts. A call may have several.",
        teams,
    )?;
    let keys = key_tags.iter().flat_map(|(team, keys)| keys.iter().map(move |(key, tags)| (team, key, tags)));
    let keys = keys.flat_map(|(team, key, tags)| {
        tags.iter().map(move |(tag, spent)| counter(&[("team", team), ("key", key), ("tag", tag)], usd(spent)))
    });
    text.counters(
        "vectoll_key_tag_spend_usd_total",
        "Money charged in US dollars: each tag that its team counts, by key. A call may have several.",
        keys,
    )
}

/// Names and values.
type Labels<'a> = Vec<(&'a str, &'a str)>;

impl BookFamilies {
    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats; exact up to 2⁵³")]
    fn reservations(&self, text: &mut FamilyText) -> prometheus::Result<()> {
        let Open { calls, tokens, money } = self.source.open();
        for (name, help, value) in [
            ("vectoll_reservations", "Calls that hold a reservation.", calls as f64),
            ("vectoll_reserved_tokens", "Tokens reserved for calls under way.", tokens as f64),
            ("vectoll_reserved_spend_usd", "Money reserved for calls under way.", money.as_usd_for_display()),
        ] {
            text.gauges(name, help, iter::once(gauge(&[], value)))?;
        }
        Ok(())
    }

    fn budgets(&self, text: &mut FamilyText, users: &BTreeMap<Arc<str>, ByName>) -> prometheus::Result<()> {
        let policy = self.source.policy();
        let keys = policy.all_keys.iter().map(|key| {
            let labels = vec![("team", &*key.team.name), ("key", &*key.name)];
            (labels, &key.team.uid, Account::Key(key.uid.clone()), &*key.budgets)
        });
        self.budget(text, "key", keys)?;
        let teams = policy
            .teams
            .values()
            .map(|team| (vec![("team", &*team.name)], &team.uid, Account::Team(team.uid.clone()), &*team.budgets));
        self.budget(text, "team", teams)?;
        let guests = policy.views().filter_map(|team| {
            let guest = team.guest.as_ref()?;
            let account = Account::TeamNamespace(team.uid.clone(), guest.namespace.clone());
            let mut labels = vec![("team", &*team.name)];
            if self.tenancy.is_many() {
                labels.insert(0, ("namespace", &*guest.namespace));
            }
            Some((labels, &team.uid, account, &*guest.budgets))
        });
        self.budget(text, "namespace", guests)?;
        self.model_budgets(text, &policy)?;
        let owed: BTreeMap<&str, &Arc<Backend>> =
            policy.backends().filter(|backend| !backend.budgets.is_empty()).map(|it| (&*it.label, it)).collect();
        let backends = owed.iter().map(|(label, backend)| {
            let account = Account::Backend(backend.account.clone());
            (vec![("backend", *label)], &backend.account, account, &*backend.budgets)
        });
        self.budget(text, "backend", backends)?;
        // Who has called here: nobody else's budget is known. The books tell no more users apart than they have room for.
        let callers = policy.teams.values().filter(|team| self.by_user && !team.user_budgets.is_empty());
        let callers = callers.flat_map(|team| {
            let names = users.get(&team.name).into_iter().flat_map(BTreeMap::keys);
            names.filter(|user| &***user != OTHER).map(move |user| {
                let account = Account::TeamUser(team.uid.clone(), user.clone());
                (vec![("team", &*team.name), ("user", &**user)], &team.uid, account, &*team.user_budgets)
            })
        });
        self.budget(text, "user", callers)?;
        let ends = policy
            .all_keys
            .iter()
            .filter_map(|key| Some(gauge(&[("team", &key.team.name), ("key", &key.name)], seconds(key.expires_at?))));
        let help = "When the key ends: keys whose `expiresAt` is set.";
        text.gauges("vectoll_key_expiry_timestamp_seconds", help, ends)
    }

    /// Those of models within keys and teams, and of tags.
    fn model_budgets(&self, text: &mut FamilyText, policy: &Policy) -> prometheus::Result<()> {
        let patterns = |limits: &[ModelLimits]| limits.iter().map(|entry| entry.model.to_string()).collect::<Vec<_>>();
        let of_keys: Vec<_> = policy.all_keys.iter().map(|key| (key, patterns(&key.model_limits))).collect();
        let keys = of_keys.iter().flat_map(|(key, names)| {
            key.model_limits.iter().zip(names).map(move |(entry, model)| {
                let labels = vec![("team", &*key.team.name), ("key", &*key.name), ("model", &**model)];
                (labels, &key.team.uid, Account::KeyModel(key.uid.clone(), entry.model.clone()), &*entry.budgets)
            })
        });
        self.budget(text, "key_model", keys)?;
        let of_teams: Vec<_> = policy.teams.values().map(|team| (team, patterns(&team.model_limits))).collect();
        let teams = of_teams.iter().flat_map(|(team, names)| {
            team.model_limits.iter().zip(names).map(move |(entry, model)| {
                let labels = vec![("team", &*team.name), ("model", &**model)];
                (labels, &team.uid, Account::TeamModel(team.uid.clone(), entry.model.clone()), &*entry.budgets)
            })
        });
        self.budget(text, "team_model", teams)?;
        let tags = policy.teams.values().flat_map(|team| {
            team.tag_limits.iter().map(move |entry| {
                let labels = vec![("team", &*team.name), ("tag", &*entry.tag)];
                (labels, &team.uid, Account::TeamTag(team.uid.clone(), entry.tag.clone()), &*entry.budgets)
            })
        });
        self.budget(text, "tag", tags)
    }

    /// Limit, remainder and end of the budgets of some accounts.
    fn budget<'a>(
        &self,
        text: &mut FamilyText,
        word: &str,
        of: impl Iterator<Item = (Labels<'a>, &'a Uid, Account, &'a [Budget])>,
    ) -> prometheus::Result<()> {
        let now = Timestamp::now();
        // What is known of each is asked for once: the families of a scrape are of one moment.
        let each: Vec<BudgetSample<'a>> = of
            .flat_map(|(labels, team, account, budgets)| {
                budgets.iter().map(move |budget| BudgetSample {
                    labels: labels.clone(),
                    // No account has two budgets of one period.
                    period: budget.period.to_string(),
                    limit: budget.limit_at(now),
                    spending: self.source.spending(team, &account, budget),
                })
            })
            .collect();
        let name = |what: &str| format!("vectoll_{word}_budget_{what}");
        let whose = word.replace('_', "'s ");
        let help = format!("The budget of the {whose} for its present period.");
        let limits = each.iter().map(|sample| sample.gauge(sample.limit.as_usd_for_display()));
        text.gauges(&name("limit_usd"), &help, limits)?;
        let help = format!("What is left of the budget of the {whose}, reservations taken off.");
        // What nobody knows here is not told as if nothing were spent.
        let remaining = each.iter().filter_map(|sample| {
            let taken = sample.spending.as_ref()?.taken;
            Some(sample.gauge(sample.limit.minus(taken).as_usd_for_display()))
        });
        text.gauges(&name("remaining_usd"), &help, remaining)?;
        let help = format!("When the present period of the budget of the {whose} ends. A total budget has no end.");
        let ends = each.iter().filter_map(|sample| Some(sample.gauge(seconds(sample.spending.as_ref()?.ends?))));
        text.gauges(&name("period_end_timestamp_seconds"), &help, ends)
    }
}

/// One budget at the moment of a scrape.
struct BudgetSample<'a> {
    labels: Labels<'a>,
    period: String,
    limit: PicoUsd,
    spending: Option<Spending>,
}

impl BudgetSample<'_> {
    fn gauge(&self, value: f64) -> Metric {
        let labels: Labels<'_> = self.labels.iter().copied().chain([("period", &*self.period)]).collect();
        gauge(&labels, value)
    }
}

/// Seconds since 1970.
#[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats; exact up to 2⁵³")]
fn seconds(moment: Timestamp) -> f64 {
    moment.as_second() as f64
}

/// The three families of requests, tokens and money over the same series.
#[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats; exact up to 2⁵³")]
fn totals<'a, const N: usize>(
    text: &mut FamilyText,
    word: &str,
    of: &str,
    series: &(impl Iterator<Item = ([(&'a str, &'a str); N], &'a Totals)> + Clone),
) -> prometheus::Result<()> {
    let mut add = |what: &str, help: &str, value: fn(&Totals) -> f64| {
        let samples = series.clone().map(|(labels, totals)| counter(&labels, value(totals)));
        text.counters(&format!("vectoll_{word}_{what}_total"), &format!("{help}: {of}."), samples)
    };
    add("requests", "Calls sent to a backend", |totals| totals.requests as f64)?;
    add("tokens", "Input tokens charged", |totals| totals.tokens as f64)?;
    add("spend_usd", "Money charged in US dollars", |totals| totals.money().as_usd_for_display())
}
