//! The resource types of `vectoll.dev/v1alpha1`, one kind a file.
//!
//! A person writes these; the operator reads them. Every field's documentation becomes `kubectl explain`, every rule
//! that the API server can check stands on the type it is about (as schema or CEL), and [`definitions`] turns the lot
//! into the `CustomResourceDefinitions` committed beside this crate, [`field_pages`] into the pages of fields in `docs/`. Nothing here knows how a resource is carried out.

mod api_key;
mod batch;
mod budget;
mod consent;
mod date;
mod definitions;
mod enforcement;
mod field_pages;
mod key_policy;
mod limits;
mod model_route;
mod provider;
mod reference;
mod resilience;
mod rotation;
mod secret_template;
mod status;
mod team;

pub use api_key::{ApiKey, ApiKeySpec, UserPolicy};
pub use batch::Batch;
pub use budget::{Budget, ExtraBudget, Period};
pub use consent::{AllowedNamespaces, From, LabelOperator, LabelRequirement, NamespaceSelector};
pub use date::{DateTime, DateTimeError};
pub use definitions::definitions;
pub use enforcement::Enforcement;
pub use field_pages::{FieldPage, field_pages};
pub use key_policy::{KeyBounds, KeyDefaults};
pub use limits::{Limits, ModelLimits, OnStoreFailure, TagLimits};
pub use model_route::{
    Backend, Delivery, Header, InputType, ModelRoute, ModelRouteSpec, Price, TokenBound, TokenEncoding, Truncate,
};
pub use provider::{
    AzureOpenAi, Bedrock, Builtin, Container, Credential, Databricks, Entra, Holds, Hosted, MetadataServer, Ollama,
    OpenAi, OpenAiWorkloadIdentity, PodIdentity, Preset, Provider, SageMaker, SelfHosted, VertexAi, Watsonx,
    WebIdentity,
};
pub use reference::{CaSecretRef, ParentRef, SecretKeyRef, SecretRef, TeamRef};
pub use resilience::{Balance, Cache, Coalesce, Cooldown, Hedge, Retry};
pub use rotation::Rotation;
pub use secret_template::SecretTemplate;
pub use status::{ApiKeyStatus, BackendStatus, BudgetSpend, ModelRouteStatus, Spend, TeamStatus};
pub use team::{Team, TeamSpec};

/// The API group of every kind in this crate.
pub const GROUP: &str = "vectoll.dev";
/// The API version of every kind in this crate.
pub const VERSION: &str = "v1alpha1";
