//! From the types to `CustomResourceDefinitions` that an API server takes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{ApiKey, ModelRoute, Team};

/// The `CustomResourceDefinitions` of all kinds, by name.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut all = vec![ApiKey::crd(), ModelRoute::crd(), Team::crd()];
    for crd in &mut all {
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
                make_structural(schema);
                say_how_lists_merge(schema);
            }
        }
    }
    all
}

/// Rust refuses unknown fields, which schemars says as `additionalProperties: false`. A structural schema may not say
/// it beside `properties`; the API server prunes unknown fields, and kubectl refuses them, without being told.
fn make_structural(schema: &mut JSONSchemaProps) {
    if let Some(JSONSchemaPropsOrBool::Bool(false)) = schema.additional_properties {
        schema.additional_properties = None;
    }
    if let Some(JSONSchemaPropsOrBool::Schema(inner)) = &mut schema.additional_properties {
        make_structural(inner);
    }
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        make_structural(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => make_structural(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(make_structural),
        None => {}
    }
}

/// Lists that are not merged by a key belong as a whole to whoever applies them, as in Kubernetes' own types (`matchExpressions`,
/// `values`). It is so by default; here it can be read.
fn say_how_lists_merge(schema: &mut JSONSchemaProps) {
    if schema.type_.as_deref() == Some("array") {
        schema.x_kubernetes_list_type.get_or_insert_with(|| "atomic".to_owned());
    }
    if let Some(JSONSchemaPropsOrBool::Schema(inner)) = &mut schema.additional_properties {
        say_how_lists_merge(inner);
    }
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        say_how_lists_merge(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => say_how_lists_merge(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(say_how_lists_merge),
        None => {}
    }
}
