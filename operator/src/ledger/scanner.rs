//! Reads what has names that nobody knows beforehand: the users and models in the totals of each Team. A hash may hold hundreds of
//! thousands of them, so it is read in pieces, each of which keeps the store no longer than a call does, and only when
//! something was added to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use redis::{Pipeline, RedisError};
use tokio::sync::watch;
use vectoll_config::{
    Uid,
    store::{Quantity, Series, total_key},
};

use super::{
    breakdown::{Breakdown, Fields},
    event::{LedgerEvent, OnLedgerEvent},
    query::{QuerySpec, TeamQuery},
};
use crate::store::{Access, Connection};

/// How often is looked for what was added.
const SCAN_PERIOD: Duration = Duration::from_secs(30);
/// Fields that one command is to look at.
const PIECE: usize = 1_000;

/// A Team whose fields were read.
struct ScannedTeam {
    /// Its calls, as they stood there before its fields were read.
    requests: String,
    breakdown: Arc<Breakdown>,
}

/// Reads for as long as there is something to be read, and rests while there is not.
pub(super) async fn run(mut requests: watch::Receiver<QuerySpec>, report: OnLedgerEvent) {
    let mut scanned = BTreeMap::new();
    let mut failing: Option<String> = None;
    loop {
        let request = requests.borrow_and_update().clone();
        let Some((access, query)) = request else {
            scanned.clear();
            report(LedgerEvent::Breakdowns(BTreeMap::new()));
            if requests.changed().await.is_err() {
                return;
            }
            continue;
        };
        let resigned = async { requests.wait_for(Option::is_none).await.is_ok() };
        let round = async {
            let read = read(&access, &query.teams, &mut scanned).await;
            report(LedgerEvent::Breakdowns(
                scanned.iter().map(|(team, of)| (team.clone(), of.breakdown.clone())).collect(),
            ));
            let error = read.err().map(|error| error.to_string());
            if let Some(error) = error.as_ref().filter(|error| failing.as_ref() != Some(error)) {
                tracing::warn!(store = %access.url, error, "users and models in the store cannot be read; it is tried again");
            }
            failing = error;
            tokio::time::sleep(SCAN_PERIOD).await;
        };
        tokio::select! {
            () = round => {}
            _ = resigned => {}
        }
    }
}

/// Reads the Teams that have called since they were read. One that cannot be read keeps no other waiting.
async fn read(
    access: &Access,
    teams: &BTreeMap<Uid, TeamQuery>,
    scanned: &mut BTreeMap<Uid, ScannedTeam>,
) -> Result<(), RedisError> {
    scanned.retain(|team, _| teams.contains_key(team));
    let connection = Connection::open(access).await?;
    let mut result = Ok(());
    for team in teams.keys() {
        match read_team(&connection, team, scanned.get(team)).await {
            Ok(Some(new)) => drop(scanned.insert(team.clone(), new)),
            Ok(None) => {}
            // An answer of the server's to this one command: the next one may have another.
            Err(error) if error.code().is_some() => result = Err(error),
            Err(error) => return Err(error),
        }
    }
    result
}

/// None: nothing was added.
async fn read_team(
    connection: &Connection,
    team: &Uid,
    before: Option<&ScannedTeam>,
) -> Result<Option<ScannedTeam>, RedisError> {
    let key = total_key(team);
    let mut pipeline = Pipeline::new();
    pipeline.cmd("HMGET").arg(&key).arg(Series::Team.field(Quantity::Requests));
    let ((requests,),): ((Option<String>,),) = connection.ask(&pipeline).await?;
    // Every call counts there as well.
    let requests = requests.unwrap_or_default();
    if requests == before.map_or("", |before| &before.requests) {
        return Ok(None);
    }
    let mut fields = Fields::default();
    let mut cursor = 0;
    loop {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HSCAN").arg(&key).arg(cursor).arg("COUNT").arg(PIECE);
        let ((next, piece),): ((u64, Vec<(String, String)>),) = connection.ask(&pipeline).await?;
        for (name, value) in &piece {
            fields.take(name, value);
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let breakdown = Arc::new(fields.end(before.map(|before| &*before.breakdown)));
    Ok(Some(ScannedTeam { requests, breakdown }))
}
