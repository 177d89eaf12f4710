//! The models that a caller may use.

use std::{net::IpAddr, sync::Arc};

use axum::response::IntoResponse;
use http::HeaderMap;

use super::Proxy;
use crate::{
    authenticate::Caller,
    call_id::CallId,
    policy::{Key, Route, allows},
    refusal::Refusal,
};

impl Proxy {
    /// The models that a caller may use, for `GET /v1/models`.
    pub fn models(&self, headers: &HeaderMap, client: Option<IpAddr>) -> axum::response::Response {
        match self.authenticate(&self.policy.load(), headers, client) {
            Ok(caller) => axum::Json(model_list(&caller)).into_response(),
            Err(refusal) => self.refuse_stranger(refusal),
        }
    }

    /// One model, for `GET /v1/models/{id}`: if the caller may use it.
    pub fn model(&self, headers: &HeaderMap, client: Option<IpAddr>, name: &str) -> axum::response::Response {
        let caller = match self.authenticate(&self.policy.load(), headers, client) {
            Ok(caller) => caller,
            Err(refusal) => return self.refuse_stranger(refusal),
        };
        match permitted(caller.key(), name) {
            Ok(_) => axum::Json(model_object(name)).into_response(),
            Err(refusal) => self.refuse(refusal, CallId::random()),
        }
    }
}

/// The route of a model, if the key may use the model.
pub(super) fn permitted<'k>(key: &'k Key, model: &str) -> Result<&'k Arc<Route>, Refusal> {
    let route = key.team.route(model).ok_or_else(|| Refusal::model_not_found(model))?;
    if !allows(key.models.as_deref(), model) {
        return Err(Refusal::model_not_allowed("key", &key.name, model));
    }
    if let Some(team) = key.team.lineage().find(|team| !allows(team.models.as_deref(), model)) {
        return Err(Refusal::model_not_allowed("team", &team.name, model));
    }
    Ok(route)
}

/// The list object of OpenAI's `GET /v1/models`: every name without a wildcard that the caller may use.
fn model_list(caller: &Caller) -> serde_json::Value {
    let key = caller.key();
    let mut names: Vec<&str> = key
        .team
        .search
        .iter()
        .flat_map(|index| index.names())
        .map(|name| &**name)
        .filter(|name| allows(key.models.as_deref(), name) && key.team.allows(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    let data: Vec<serde_json::Value> = names.into_iter().map(model_object).collect();
    serde_json::json!({"object": "list", "data": data})
}

fn model_object(name: &str) -> serde_json::Value {
    serde_json::json!({"id": name, "object": "model", "created": 0, "owned_by": "vectoll"})
}
