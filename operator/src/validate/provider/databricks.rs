//! Databricks Model Serving.

use vectoll_config::v1::native::{self, Api};
use vectoll_crds::Databricks;

use super::{Auth, Native, Presented, check::Check};

const EXAMPLE: &str = "https://dbc-a1b2345c-d6e7.cloud.databricks.com";

pub(super) fn databricks(settings: &Databricks, check: &mut Check<'_>) -> Option<Native> {
    let Databricks { workspace_url, api_key_secret_ref: _, query_instruction } = settings;
    let base_url = check.root("workspaceURL", workspace_url, EXAMPLE, "/serving-endpoints");
    check.must(
        "queryInstruction",
        query_instruction.as_ref().is_none_or(|text| !text.is_empty()),
        "is empty: say what goes before queries, or leave it out",
    );
    let credential = check.credential();
    let api = Api::Databricks(native::Databricks { query_instruction: query_instruction.clone() });
    Some(Native { base_url: base_url?, api, auth: Auth::With(credential?, Presented::Bearer) })
}
