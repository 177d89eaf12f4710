//! The webhook's certificate, for those who may read its Secret. Most may not: then the CA has to do.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{
    finding::Finding,
    installation::{Installation, ending, leaf_end},
};
use crate::plugin::failure::{Failure, Request};

pub(super) async fn certificate(
    client: &Client,
    of: &Installation,
    now: Timestamp,
) -> Result<Option<Finding>, Failure> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &of.namespace);
    let what = format!("the certificate of the webhook (Secret {}/{})", of.namespace, of.tls_secret);
    let hint = "the operator, or cert-manager, renews it: their logs say why not";
    let request = || Request::get("secrets", Some(&of.namespace), &of.tls_secret);
    let found = Failure::or_none(api.get(&of.tls_secret).await.map_err(|error| Failure::of(error, request())));
    if found.as_ref().is_err_and(Failure::is_forbidden) {
        return Ok(None);
    }
    let Some(secret) = found? else { return Ok(Some(Finding::bad(format!("{what} is not there"), hint))) };
    let leaf = secret.data.as_ref().and_then(|data| data.get("tls.crt"));
    Ok(Some(match leaf.and_then(|pem| leaf_end(&pem.0)) {
        Some(end) => ending(&what, end, hint, now),
        None => Finding::bad(format!("{what} cannot be read"), hint),
    }))
}
