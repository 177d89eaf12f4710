//! IBM watsonx.ai.

use vectoll_config::v1::native::{self, Api, Within};
use vectoll_crds::Watsonx;

use super::{
    Auth, Native, Presented,
    check::Check,
    names::{is_alphanumeric_with_dashes, is_date},
};

const NOT_AN_ID: &str = "is not an ID, which is a UUID";

pub(super) fn watsonx(settings: &Watsonx, check: &mut Check<'_>) -> Option<Native> {
    let Watsonx { base_url, project_id, space_id, version, api_key_secret_ref: _, iam_url } = settings;
    let base_url = check.root("baseURL", base_url, "https://us-south.ml.cloud.ibm.com", "/ml");
    check.must("version", is_date(version), "is not a version of the API: write a date, for example 2024-05-31");
    let within = match (project_id, space_id) {
        (Some(id), None) => {
            check.must("projectID", is_alphanumeric_with_dashes(id, 64), NOT_AN_ID);
            Some(Within::Project(id.clone()))
        }
        (None, Some(id)) => {
            check.must("spaceID", is_alphanumeric_with_dashes(id, 64), NOT_AN_ID);
            Some(Within::Space(id.clone()))
        }
        (None, None) | (Some(_), Some(_)) => {
            check.error("watsonx.ai charges a project or a deployment space: set one of projectID, spaceID");
            None
        }
    };
    let iam_url = iam_url.as_ref().and_then(|url| check.url("iamURL", url, "https://iam.cloud.ibm.com"));
    let credential = check.credential();
    let api = Api::Watsonx(native::Watsonx { version: version.clone(), within: within? });
    Some(Native { base_url: base_url?, api, auth: Auth::With(credential?, Presented::Ibm { iam_url }) })
}
