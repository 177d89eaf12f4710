//! Providers: whom a backend asks, and with which credential. One provider, or one shape that several share, a file.

mod aws;
mod azure_open_ai;
mod bedrock;
mod builtin;
mod databricks;
mod hosted;
mod of_backend;
mod open_ai;
mod sage_maker;
mod secrets;
mod self_hosted;
mod vertex_ai;
mod watsonx;

pub use aws::{PodIdentity, WebIdentity};
pub use azure_open_ai::{AzureOpenAi, Entra};
pub use bedrock::Bedrock;
pub use builtin::Builtin;
pub use databricks::Databricks;
pub use hosted::Hosted;
pub use of_backend::Provider;
pub use open_ai::{OpenAi, OpenAiWorkloadIdentity, Preset};
pub use sage_maker::{Container, SageMaker};
pub use secrets::{Credential, Holds};
pub use self_hosted::{Ollama, SelfHosted};
pub use vertex_ai::{MetadataServer, VertexAi};
pub use watsonx::Watsonx;

/// What the URL of an API is, as far as a pattern can tell: without credentials, query and fragment.
const URL: &str = r"^https?://[^/?#@\s]+[^?#@\s]*$";
