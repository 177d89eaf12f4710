//! The sidecar's resources: what the settings say, what the pod or its namespace says over them by annotation, and what the
//! cluster's own policies have filled in.
//!
//! A namespace's `ResourceQuota` or `LimitRange` may ask for what one setting for the whole cluster cannot meet: a limit on CPU, a
//! least amount, a ratio of limit to request.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use super::{
    amounts::checked,
    names::SIDECAR_PREFIX,
    quantity::Amount,
    settings::InjectionSettings,
    source::{Annotations, Source},
};
use crate::validate::FieldError;

/// What can be set.
const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Resources that were asked for by annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AnnotatedResources {
    requests: BTreeMap<&'static str, String>,
    limits: BTreeMap<&'static str, String>,
}

/// An amount, and how near to the pod it was set: what is nearer goes before.
#[derive(Clone)]
struct Sourced {
    text: String,
    amount: Amount,
    source: Source,
}

impl AnnotatedResources {
    /// Reads the annotations of a pod and of its namespace. What is wrong with them is added to the faults.
    pub(super) fn of(
        annotations: &Annotations<'_>,
        settings: &InjectionSettings,
        errors: &mut Vec<FieldError>,
    ) -> Self {
        let mut resolved = Self::default();
        for resource in RESOURCES {
            let mut read = |what: &str, settings: &BTreeMap<String, Quantity>| {
                let name = format!("{resource}-{what}");
                let Some((source, text)) = annotations.find(&name) else {
                    let text = settings.get(resource)?.0.clone();
                    return Some(Sourced { amount: Amount::parse(&text)?, text, source: Source::Settings });
                };
                match checked(resource, what, text) {
                    Ok(amount) => Some(Sourced { text: text.to_owned(), amount, source }),
                    Err(reason) => {
                        errors.extend(annotations.fault(source, &name, reason));
                        None
                    }
                }
            };
            let mut request = read("request", &settings.resources.requests);
            let limit = read("limit", &settings.resources.limits);
            if let (Some(asked), Some(limit)) = (&mut request, &limit)
                && asked.amount > limit.amount
            {
                if asked.source < limit.source {
                    // Whoever set the limit is nearer to the pod, and a request above it is refused by the API server.
                    *asked = limit.clone();
                } else {
                    let reason = format!(
                        "{} is above the sidecar's limit of {}: set {SIDECAR_PREFIX}{resource}-limit beside it",
                        asked.text, limit.text
                    );
                    errors.extend(annotations.fault(asked.source, &format!("{resource}-request"), reason));
                }
            }
            let annotated = |entry: Option<Sourced>| entry.filter(|entry| entry.source != Source::Settings);
            resolved.requests.extend(annotated(request).map(|entry| (resource, entry.text)));
            resolved.limits.extend(annotated(limit).map(|entry| (resource, entry.text)));
        }
        resolved
    }

    /// All of the sidecar's resources. `filled_in` are those that an earlier injection of the pod has, by a `LimitRange`, say.
    pub(super) fn over(
        &self,
        settings: &InjectionSettings,
        filled_in: Option<&ResourceRequirements>,
    ) -> ResourceRequirements {
        let merge = |annotated: &BTreeMap<&'static str, String>,
                     ours: &BTreeMap<String, Quantity>,
                     filled_in: Option<&BTreeMap<String, Quantity>>| {
            let mut all = filled_in.cloned().unwrap_or_default();
            all.extend(ours.clone());
            all.extend(annotated.iter().map(|(name, text)| ((*name).to_owned(), Quantity(text.clone()))));
            (!all.is_empty()).then_some(all)
        };
        let Self { requests, limits } = self;
        ResourceRequirements {
            requests: merge(requests, &settings.resources.requests, filled_in.and_then(|all| all.requests.as_ref())),
            limits: merge(limits, &settings.resources.limits, filled_in.and_then(|all| all.limits.as_ref())),
            claims: None,
        }
    }
}
