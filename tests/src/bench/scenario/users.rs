//! One end user, and a hundred thousand, in memory and in a store.

use std::time::Duration;

use super::super::load::{Bounds, Load, Target};
use super::super::manifests::Resources;
use super::super::measure::{Case, Row, Subject};
use super::super::payload::Payload;
use super::super::stage::Stage;
use super::calls::carry_out;
use super::store::Accounts;

/// As many as a Team tells apart.
const USERS: usize = 100_000;
/// For all of them to call once.
const MAX_TIME: Duration = Duration::from_mins(3);

pub fn run(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    stage.responder.prepare(&[Payload::ONE_BASE64])?;
    let many = stage.plan.many(USERS);
    let users: Vec<String> = (0..many).map(|number| format!("user-{number:06}")).collect();
    let accounts = Accounts::start(stage)?;
    let resources = Resources::new(&stage.responder);
    let load = Load::closed(stage.plan.connections);
    let mut rows = Vec::new();
    for (place, arguments) in [("memory", Vec::new()), ("redis-server", accounts.arguments())] {
        let few = stage.sidecar_with(&resources, &[], arguments.clone())?;
        let lots = stage.sidecar_with(&resources, &[], arguments)?;
        let lots_of_them = Subject { users: users.clone(), ..lots.subject(&format!("sidecar, {many} users"))? };
        let all = Bounds { time: MAX_TIME, requests: many as u64 };
        Target::of_users(&lots_of_them.endpoint, Payload::ONE_BASE64, &users)?.load(load, all)?;
        let subjects = vec![few.subject("sidecar, 1 user")?, lots_of_them];
        let title = format!("{}, {place}", Payload::ONE_BASE64.title());
        rows.extend(carry_out(stage, &[Case::new(Payload::ONE_BASE64, load, subjects).titled(title)])?);
    }
    Ok(rows)
}
