//! Azure OpenAI.

use vectoll_config::v1::native::{self, Api};
use vectoll_crds::{AzureOpenAi, Entra};

use super::{
    Auth, Native, Presented,
    check::Check,
    names::{is_alphanumeric_with_dashes, is_date, is_deployment, is_tenant},
};

const EXAMPLE: &str = "https://my-resource.openai.azure.com";
const AUTHORITY: &str = "https://login.microsoftonline.com";

pub(super) fn azure_open_ai(settings: &AzureOpenAi, check: &mut Check<'_>) -> Option<Native> {
    let AzureOpenAi { endpoint, deployment, api_version, api_key_secret_ref, entra } = settings;
    let base_url = check.root("endpoint", endpoint, EXAMPLE, "/openai");
    check.must(
        "deployment",
        deployment.as_deref().is_none_or(is_deployment),
        "is not the name of a deployment: letters, digits, -, _ and . only",
    );
    check.must(
        "apiVersion",
        is_date(api_version.strip_suffix("-preview").unwrap_or(api_version)),
        "is not a version of the API: write for example 2024-10-21, or 2025-03-01-preview",
    );
    let credential = check.credential();
    let auth = match (api_key_secret_ref, entra) {
        (Some(_), None) => credential.map(|credential| Auth::With(credential, Presented::Header("api-key"))),
        (None, Some(application)) => {
            let entra = application_of(application, check);
            Some(match credential {
                Some(secret) => Auth::With(secret, Presented::Entra(entra)),
                None => Auth::Without(native::Auth::Entra(entra)),
            })
        }
        (None, None) | (Some(_), Some(_)) => {
            check.error(
                "Azure OpenAI is called with a key or with a token of Entra ID: set one of apiKeySecretRef, entra",
            );
            None
        }
    };
    let api =
        Api::AzureOpenAi(native::AzureOpenAi { deployment: deployment.clone(), api_version: api_version.clone() });
    Some(Native { base_url: base_url?, api, auth: auth? })
}

/// The application, without its secret.
fn application_of(entra: &Entra, check: &mut Check<'_>) -> native::Entra {
    let Entra { tenant_id, client_id, authority, client_secret_ref: _ } = entra;
    check.must("entra.tenantID", is_tenant(tenant_id), "is not a tenant: write its ID, or one of its domains");
    check.must(
        "entra.clientID",
        is_alphanumeric_with_dashes(client_id, 64),
        "is not the ID of an application, which is a UUID",
    );
    let authority = authority.as_ref().and_then(|authority| check.url("entra.authority", authority, AUTHORITY));
    native::Entra { tenant_id: tenant_id.clone(), client_id: client_id.clone(), authority, secret_file: None }
}
