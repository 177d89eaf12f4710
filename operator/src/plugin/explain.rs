//! `explain`: whether a key may call a model, and what decides it.
//!
//! The answer is the operator's own: the same pure functions make it ([`desired_state`](crate::desired_state::desired_state)), over the
//! objects that the user may read ([`gather`]), and conditions and spend are those that the operator has written. Values of Secrets are not
//! needed: whether they are there is said by the statuses.

mod answer;
mod gather;
mod last;
mod rows;
mod text;

use std::io::Write;

use jiff::Timestamp;
use kube::Client;
use vectoll_config::ObjectName;

pub(super) use self::{
    rows::{BudgetRow, LimitRow},
    text::{budget_table, limit_table},
};
use super::{cli::Explain, connect::connect, failure::Failure, output::print};

/// Prints the answer. Whether the key may call the model.
pub(super) async fn run(settings: &Explain, out: &mut impl Write) -> anyhow::Result<bool> {
    let Explain { key, model, since, cluster, output } = settings;
    let connection = connect(cluster).await?;
    let name = ObjectName::new(&connection.namespace, key);
    let known = gather::gather(&connection.client, &name).await?;
    let now = Timestamp::now();
    let mut answer = answer::answer(&known, &name, model, now);
    answer.last_refusal = last::last_refusal(&connection.client, &name, since.0).await?;
    print(&answer, *output, |wide| text::text(&answer, wide, now), out)?;
    Ok(answer.may)
}

/// The limits and budgets that hold calls of a key to a model today.
pub(super) async fn held(
    client: &Client,
    key: &ObjectName,
    model: &str,
    now: Timestamp,
) -> Result<(Vec<LimitRow>, Vec<BudgetRow>), Failure> {
    let answer = answer::answer(&gather::gather(client, key).await?, key, model, now);
    Ok((answer.limits, answer.budgets))
}
