//! What all Teams and keys are called.

use kube::Client;
use vectoll_crds::{ApiKey, Team};

use super::{connect::Place, objects::list};
use crate::report::Names;

/// Asks the API server.
pub(crate) async fn all_names(client: &Client) -> anyhow::Result<Names> {
    let teams = list::<Team>(client, &Place::All).await?;
    let keys = list::<ApiKey>(client, &Place::All).await?;
    Ok(Names::of(teams.iter().map(|team| &*team.object), keys.iter().map(|key| &*key.object)))
}
