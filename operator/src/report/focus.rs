//! A cost and usage dataset by the `FinOps` Open Cost and Usage Specification, version 1.2 (focus.finops.org): its columns by name, type and
//! nullability, and columns of our own, which begin with `x_`.
//!
//! What one part of the ledger does not tell has no column: by key, no SKU is known. A column that a row has nothing to say in is empty,
//! which is null.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    bill::{Amounts, Kind, Line, series},
    csv::{record, safe},
    month::Month,
    part::Part,
};

/// What stands for the whole bill.
pub(super) struct Account<'a> {
    pub(super) name: &'a str,
    pub(super) month: Month,
}

/// A dataset of the lines of one part.
pub(super) fn focus(account: &Account<'_>, part: Part, lines: &[Line]) -> String {
    let head = columns(account, part, None).into_iter().map(|(name, _)| name.to_owned());
    let mut text = record(head);
    for line in lines {
        text += &record(columns(account, part, Some(line)).into_iter().map(|(_, value)| value));
    }
    text
}

/// Names and values, in order. Without a line the values are nothing.
fn columns(account: &Account<'_>, part: Part, line: Option<&Line>) -> Vec<(&'static str, String)> {
    let Account { name, month } = account;
    let text = |value: Option<String>| value.map(|value| safe(&value)).unwrap_or_default();
    let of = |value: fn(&Line) -> Option<String>| text(line.and_then(value));
    let cost = line.map(|line| line.amounts.usd()).unwrap_or_default();
    let usage = line.filter(|line| is_usage(line));
    let tokens = usage.map(|line| line.amounts.tokens.to_string()).unwrap_or_default();
    let unit = usage.map_or("", |_| "Tokens");
    let (start, end) = (month.start().to_string(), month.end().to_string());
    let fixed = |value: &str| value.to_owned();
    let mut all = vec![
        ("BilledCost", cost.clone()),
        ("BillingAccountId", safe(name)),
        ("BillingAccountName", safe(name)),
        ("BillingCurrency", fixed("USD")),
        ("BillingPeriodEnd", end.clone()),
        ("BillingPeriodStart", start.clone()),
        ("ChargeCategory", of(|line| Some(if is_usage(line) { "Usage" } else { "Adjustment" }.to_owned()))),
        // A correction is one of a month that was billed before; these are of their own month.
        ("ChargeClass", String::new()),
        ("ChargeDescription", of(|line| Some(description(line)))),
        ("ChargeFrequency", fixed("Usage-Based")),
        ("ChargePeriodEnd", end),
        ("ChargePeriodStart", start),
        ("ConsumedQuantity", tokens.clone()),
        ("ConsumedUnit", fixed(unit)),
        ("ContractedCost", cost.clone()),
        ("EffectiveCost", cost.clone()),
        ("InvoiceIssuerName", fixed("Vectoll")),
        // What the list says is not in the ledger: with no unit price this matches what is billed.
        ("ListCost", cost),
        ("PricingQuantity", tokens),
        ("PricingUnit", fixed(unit)),
        ("ProviderName", fixed("Vectoll")),
        ("PublisherName", fixed("Vectoll")),
        ("ServiceCategory", fixed("AI and Machine Learning")),
        ("ServiceName", fixed("Embeddings")),
        ("ServiceSubcategory", fixed("Natural Language Processing")),
        ("SubAccountId", of(|line| Some(line.team.to_string()))),
        ("SubAccountName", of(|line| line.team_name.clone())),
        ("SubAccountType", fixed("Team")),
        ("Tags", of(tags)),
    ];
    match part {
        Part::Team | Part::CostCenter | Part::Label | Part::Tag => {}
        Part::Key => all.extend([
            ("ResourceId", of(|line| line.key.as_ref().map(ToString::to_string))),
            ("ResourceName", of(|line| line.key_name.clone())),
            ("ResourceType", of(|line| line.key.as_ref().map(|_| "ApiKey".to_owned()))),
        ]),
        Part::User => all.push(("x_User", of(|line| line.user.clone()))),
        Part::Model => all.extend([
            ("ResourceId", of(|line| line.model.as_ref().map(|model| model.backend.clone()))),
            ("ResourceType", of(|line| line.model.as_ref().map(|_| "Backend".to_owned()))),
            ("SkuId", of(|line| line.model.as_ref().map(|model| model.model.clone()))),
            ("SkuPriceId", of(|line| line.model.as_ref().map(|model| format!("{}/{}", model.backend, model.model)))),
            ("x_Provider", of(|line| line.model.as_ref().map(|model| model.provider.clone()))),
        ]),
    }
    if matches!(part, Part::Key | Part::CostCenter) {
        all.push(("x_CostCenter", of(|line| line.cost_center.clone())));
    }
    all.extend([
        ("x_IncludedCost", line.map(|line| line.included.usd()).unwrap_or_default()),
        ("x_IncludedTokens", line.map(|line| line.included.tokens.to_string()).unwrap_or_default()),
        ("x_Kind", of(|line| Some(line.kind.name().to_owned()))),
        ("x_Requests", line.map(|line| line.amounts.requests.to_string()).unwrap_or_default()),
        ("x_Series", of(|line| Some(series(line)))),
        ("x_Team", of(|line| line.team_name.clone())),
    ]);
    all
}

/// Whether a row is about calls of its own. Others say what of them is known beside, or put the sum right: they have no quantity.
fn is_usage(line: &Line) -> bool {
    line.included == Amounts::default() && line.kind != Kind::Difference
}

fn description(line: &Line) -> String {
    match line.kind {
        Kind::Usage => "Embeddings",
        Kind::Unsettled => "Embeddings that a provider may have charged",
        Kind::Unpriced => "Embeddings of which no price was known, or which cost nothing",
        Kind::Estimated => "Embeddings whose provider reported no usage, included in other rows",
        Kind::ForeignRoutes => "Embeddings by routes that are none of the Team's, included in other rows",
        Kind::Difference => "What the other rows lack of the Team's whole, or have too much",
    }
    .to_owned()
}

/// What the owner of a key says of it, and the labels that spend was allocated by, which are its own and go first. By tag the tags of the
/// calls, which have no values: `true` (Tags, "Requirements").
fn tags(line: &Line) -> Option<String> {
    let pairs = line.metadata.iter().chain(&line.labels);
    let mut tags: BTreeMap<&String, Value> = pairs.map(|(name, value)| (name, json!(value))).collect();
    tags.extend(line.tags.iter().map(|tag| (tag, json!(true))));
    (!tags.is_empty()).then(|| json!(tags).to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::{
        super::bill::{
            lines,
            tests::{ledgers, names},
        },
        *,
    };

    /// Columns of version 1.2 that must be there, and whether they may be null (specification/columns of its repository, tag v1.2).
    const MANDATORY: [(&str, bool); 21] = [
        ("BilledCost", false),
        ("BillingAccountId", false),
        ("BillingAccountName", true),
        ("BillingCurrency", false),
        ("BillingPeriodEnd", false),
        ("BillingPeriodStart", false),
        ("ChargeCategory", false),
        ("ChargeClass", true),
        ("ChargeDescription", true),
        ("ChargePeriodEnd", false),
        ("ChargePeriodStart", false),
        ("ContractedCost", false),
        ("EffectiveCost", false),
        ("InvoiceIssuerName", false),
        ("ListCost", false),
        ("PricingQuantity", true),
        ("PricingUnit", true),
        ("ProviderName", false),
        ("PublisherName", false),
        ("ServiceCategory", false),
        ("ServiceName", false),
    ];

    const DECIMALS: [&str; 6] =
        ["BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity", "ConsumedQuantity"];

    const PARTS: [Part; 7] = [Part::Team, Part::Key, Part::User, Part::Model, Part::CostCenter, Part::Label, Part::Tag];

    fn account() -> Account<'static> {
        Account { name: "acme", month: "2026-11".parse().unwrap() }
    }

    #[test]
    fn columns_types_and_nulls_are_those_of_the_specification() {
        for part in PARTS {
            for line in lines(&ledgers(), part, &names()) {
                let columns = columns(&account(), part, Some(&line));
                let value = |name: &str| columns.iter().find(|(column, _)| *column == name).map(|(_, value)| &**value);
                for (name, may_be_null) in MANDATORY {
                    let value = value(name).unwrap_or_else(|| panic!("{part:?} has no {name}"));
                    assert!(may_be_null || !value.is_empty(), "{part:?}: {name} is null");
                }
                let is_usage = value("ChargeCategory") == Some("Usage");
                for name in DECIMALS {
                    let number = value(name).unwrap();
                    if name.ends_with("Quantity") && !is_usage {
                        assert_eq!(number, "", "{name} of an adjustment");
                        continue;
                    }
                    let digits = number.trim_start_matches('-');
                    assert!(
                        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'),
                        "{name}: {number}"
                    );
                }
                assert_eq!(value("BillingPeriodStart"), Some("2026-11-01T00:00:00Z"));
                assert_eq!(value("ChargePeriodEnd"), Some("2026-12-01T00:00:00Z"));
                // A resource has a type, and none has none; where a SKU has a column, usage has one.
                assert_eq!(value("ResourceId").map(str::is_empty), value("ResourceType").map(str::is_empty));
                assert!(!is_usage || value("SkuId").is_none_or(|sku| !sku.is_empty()), "{part:?}");
                assert_eq!(value("PricingUnit").map(str::is_empty), value("PricingQuantity").map(str::is_empty));
            }
        }
    }

    #[test]
    fn a_dataset_is_a_head_and_a_row_for_each_line() {
        insta::assert_snapshot!(
            focus(&account(), Part::Model, &lines(&ledgers(), Part::Model, &names())).replace("\r\n", "\n")
        );
        let by_key = focus(&account(), Part::Key, &lines(&ledgers(), Part::Key, &names()));
        assert!(by_key.contains("\"{\"\"costCenter\"\":\"\"4711\"\"}\""), "{by_key}");
        insta::assert_snapshot!(
            focus(&account(), Part::CostCenter, &lines(&ledgers(), Part::CostCenter, &names())).replace("\r\n", "\n")
        );
        let by_label = focus(&account(), Part::Label, &lines(&ledgers(), Part::Label, &names()));
        assert!(by_label.contains("\"{\"\"app\"\":\"\"=shop\"\"}\""), "{by_label}");
    }
}
