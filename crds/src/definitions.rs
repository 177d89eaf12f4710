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
