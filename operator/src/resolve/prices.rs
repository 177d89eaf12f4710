//! What backends charge: what the route says, else list prices; and whether those are still to be believed.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use vectoll_config::{ModelPattern, Price, v1::native::Api};

use super::shortened::shortened;
use crate::{
    condition::{Condition, ConditionType},
    price::{Listed, Pricing, Vendor},
    validate::{Native, OpenAi, ValidBackend, ValidProvider, ValidRoute},
};

/// The host of OpenAI itself: anybody may speak its API.
const OPEN_AI: &str = "https://api.openai.com/";

/// Every price is known: a model without one cannot be used under a budget.
pub(super) fn priced(route: &ValidRoute, pricing: &Pricing) -> Condition {
    let mut unknown = Vec::new();
    for (i, backend) in route.backends.iter().enumerate() {
        for model in &route.models {
            if price_of(backend, model, pricing).is_none() {
                unknown.push(format!("spec.backends[{i}].price is not set, and no price of {model} is known"));
            }
        }
    }
    if unknown.is_empty() {
        return Condition::holds(ConditionType::Priced, "Priced", "");
    }
    let message = format!("{}: calls under a budget are refused", unknown.join("; "));
    Condition::fails(ConditionType::Priced, "PriceUnknown", message)
}

/// Whether the list prices that a route uses were checked lately. None: it uses none, or nobody asks.
pub(super) fn prices_current(route: &ValidRoute, pricing: &Pricing, now: Timestamp) -> Option<Condition> {
    let days = pricing.max_age_days()?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut used: BTreeMap<&str, Date> = BTreeMap::new();
    for backend in route.backends.iter().filter(|backend| backend.price.is_none()) {
        let models = route.models.iter().filter_map(|model| model_of(backend, model));
        let listed = models.filter_map(|model| Some((model, list_price(backend, model, pricing)?.date)));
        used.extend(listed);
    }
    if used.is_empty() {
        return None;
    }
    let old = used.iter().filter(|(_, date)| pricing.is_old(**date, today));
    let old: Vec<String> = old.map(|(model, date)| format!("{model} ({date})")).collect();
    if old.is_empty() {
        return Some(Condition::holds(ConditionType::PricesCurrent, "Current", ""));
    }
    let told = shortened(&old);
    let message = format!(
        "list prices that were last checked more than {days} days ago: {told}. Check them, and set the backend's price or renew the list \
         (vectoll-operator prices)"
    );
    Some(Condition::fails(ConditionType::PricesCurrent, "PriceOld", message))
}

/// What a backend charges for a model: what the route says, else the list price of a well-known model, less what is taken off it.
/// What a provider takes off its list prices says nothing of a price that somebody wrote down.
pub(crate) fn price_of(backend: &ValidBackend, public: &ModelPattern, pricing: &Pricing) -> Option<Price> {
    if let Some(price) = backend.price {
        return Some(backend.discount.unwrap_or_default().off(price));
    }
    if let ValidProvider::Builtin = backend.provider {
        return Some(Price::default());
    }
    let listed = list_price(backend, model_of(backend, public)?, pricing)?;
    let of_vendor = || vendor_of(&backend.provider).map(|vendor| pricing.discount(vendor));
    Some(backend.discount.or_else(of_vendor).unwrap_or_default().off(listed.price))
}

/// What is listed of a model, where the list says something about its provider.
fn list_price(backend: &ValidBackend, model: &str, pricing: &Pricing) -> Option<Listed> {
    has_list_prices(&backend.provider).then(|| pricing.listed(model)).flatten()
}

fn has_list_prices(provider: &ValidProvider) -> bool {
    match provider {
        ValidProvider::Builtin => false,
        ValidProvider::OpenAi(_) => true,
        // Whoever runs the server pays for the server, whatever the model costs elsewhere.
        ValidProvider::Native(_) => vendor_of(provider).is_some(),
    }
}

/// Whose list prices those are.
fn vendor_of(provider: &ValidProvider) -> Option<Vendor> {
    match provider {
        ValidProvider::Builtin => None,
        ValidProvider::OpenAi(OpenAi { base_url, .. }) => base_url.starts_with(OPEN_AI).then_some(Vendor::OpenAi),
        ValidProvider::Native(Native { api, .. }) => match api {
            Api::AzureOpenAi(_) => Some(Vendor::AzureOpenAi),
            Api::Bedrock(_) => Some(Vendor::Bedrock),
            Api::Cohere(_) => Some(Vendor::Cohere),
            Api::Databricks(_) => Some(Vendor::Databricks),
            Api::Gemini(_) => Some(Vendor::Gemini),
            Api::Jina(_) => Some(Vendor::Jina),
            Api::Mistral(_) => Some(Vendor::Mistral),
            Api::VertexAi(_) => Some(Vendor::VertexAi),
            Api::Voyage(_) => Some(Vendor::Voyage),
            Api::Watsonx(_) => Some(Vendor::Watsonx),
            Api::HuggingFace(_) | Api::Nvidia(_) | Api::Ollama(_) | Api::SageMaker(_) => None,
        },
    }
}

/// The model at the backend, where it does not depend on the call: its name, or what is behind an ARN.
pub(crate) fn model_of<'a>(backend: &'a ValidBackend, public: &'a ModelPattern) -> Option<&'a str> {
    if let ValidProvider::Native(Native { api: Api::Bedrock(settings), .. }) = &backend.provider
        && let Some(behind_arn) = &settings.foundation_model
    {
        return Some(behind_arn);
    }
    match (&backend.model, public) {
        (Some(model), _) => Some(model),
        (None, ModelPattern::Exact(name)) => (!is_deployment(&backend.provider)).then_some(name),
        (None, ModelPattern::Prefix(_)) => None,
    }
}

/// Whether a deployment with a name of its own answers, whatever model the caller names.
fn is_deployment(provider: &ValidProvider) -> bool {
    match provider {
        ValidProvider::Native(Native { api: Api::AzureOpenAi(settings), .. }) => settings.deployment.is_some(),
        ValidProvider::Native(_) | ValidProvider::OpenAi(_) | ValidProvider::Builtin => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::{ObjectName, Uid};
    use vectoll_crds::ModelRouteSpec;

    use super::*;
    use crate::{condition::Status, observed_state::Object, price::PriceSource, validate::model_route};

    fn route(backends: &str) -> ValidRoute {
        let spec: ModelRouteSpec =
            serde_yaml::from_str(&format!("{{models: [text-embedding-3-small], backends: [{backends}]}}")).unwrap();
        let name = ObjectName::new("apps", "route");
        model_route(&Object::new(name, Uid::new("r"), spec)).unwrap()
    }

    fn pricing(discounts: &[&str]) -> Pricing {
        let discounts: Vec<_> = discounts.iter().map(|text| text.parse().unwrap()).collect();
        (**PriceSource::new(None, &discounts, 180).refresh()).clone()
    }

    #[test]
    fn whose_discount_is_taken_off_what() {
        let price = |backend: &str, discounts: &[&str]| {
            let route = route(&format!("{{name: a, {backend}}}"));
            price_of(route.backends.first().unwrap(), route.models.first().unwrap(), &pricing(discounts))
                .map(|price| price.to_string())
        };
        let own = ", apiKeySecretRef: {name: s}";
        for (backend, discounts, expected) in [
            ("openAI: {}", &[][..], "0.02"),
            ("openAI: {}", &["openAI=10"], "0.018"),
            ("openAI: {}", &["cohere=10"], "0.02"),
            ("openAI: {}, discountPercent: '50'", &["openAI=10"], "0.01"),
            ("openAI: {}, discountPercent: '0'", &["openAI=10"], "0.02"),
            // What somebody wrote down is what the provider charges, but for what is written beside it.
            ("openAI: {}, price: {inputPerMillionTokens: '1'}", &["openAI=10"], "1.00"),
            ("openAI: {}, price: {inputPerMillionTokens: '1'}, discountPercent: '25'", &["openAI=10"], "0.75"),
            // Whoever speaks OpenAI's API has not made OpenAI's contract.
            ("openAI: {baseURL: 'http://gateway.ml/v1'}", &["openAI=10"], "0.02"),
            ("openAI: {preset: Together}", &["openAI=10"], "0.02"),
            ("builtin: {}", &["openAI=10"], "0.00"),
        ] {
            assert_eq!(price(backend, discounts).as_deref(), Some(expected), "{backend} {discounts:?}");
        }
        let azure =
            format!("model: text-embedding-3-small, azureOpenAI: {{endpoint: 'https://x.openai.azure.com'{own}}}");
        assert_eq!(price(&azure, &["azureOpenAI=12.5", "openAI=50"]).as_deref(), Some("0.0175"));
        assert_eq!(
            price("ollama: {baseURL: 'http://o.ml:11434'}, discountPercent: '5'", &[]),
            None,
            "there is nothing to take it off"
        );
    }

    #[test]
    fn list_prices_in_use_that_are_old_are_told_with_their_dates() {
        let found = |backends: &str, now: &str| {
            prices_current(&route(backends), &pricing(&[]), now.parse().unwrap())
                .map(|found| (found.status, found.reason, found.message.to_string()))
        };
        let listed = "{name: a, openAI: {}}";
        assert_eq!(found(listed, "2026-12-01T00:00:00Z").unwrap().0, Status::True);
        let (status, reason, message) = found(listed, "2027-12-01T00:00:00Z").unwrap();
        assert_eq!((status, reason), (Status::False, "PriceOld"));
        assert!(message.contains("more than 180 days ago: text-embedding-3-small (2026-11-23). Check"), "{message}");
        for backends in ["{name: a, openAI: {}, price: {inputPerMillionTokens: '1'}}", "{name: a, builtin: {}}"] {
            assert_eq!(found(backends, "2027-12-01T00:00:00Z"), None, "no list price is in use");
        }
        let never = (**PriceSource::new(None, &[], 0).refresh()).clone();
        assert_eq!(prices_current(&route(listed), &never, "2027-12-01T00:00:00Z".parse().unwrap()), None);
    }
}
