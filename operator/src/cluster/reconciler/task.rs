//! An action under way, and what became of it.

use tokio::task::{Id, JoinError};

use crate::cluster::plan::Target;

/// An action under way.
pub(super) struct Task {
    pub(super) target: Target,
    pub(super) word: &'static str,
    pub(super) is_mass: bool,
}

/// What became of a task. A panic is a failure of that one action, with what it said, and of no other.
pub(super) fn outcome(done: Result<(Id, anyhow::Result<()>), JoinError>) -> (Id, anyhow::Result<()>) {
    let error = match done {
        Ok(done) => return done,
        Err(error) => error,
    };
    let task = error.id();
    let why = match error.try_into_panic() {
        Ok(panic) => {
            let message =
                panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(|s| &**s));
            anyhow::anyhow!("a panic in the operator, please report it: {}", message.unwrap_or("it said nothing"))
        }
        Err(_) => anyhow::anyhow!("it was stopped"),
    };
    (task, Err(why))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::collections::HashMap;

    use tokio::task::JoinSet;

    use super::outcome;

    #[tokio::test]
    async fn a_panic_is_the_failure_of_its_own_task_and_of_no_other() {
        let mut running: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let mut tasks = HashMap::new();
        tasks.insert(running.spawn(async { Ok(()) }).id(), "fine");
        tasks.insert(running.spawn(async { panic!("at the disco") }).id(), "loud");
        tasks.insert(running.spawn(std::future::pending()).id(), "endless");
        for _ in 0..2 {
            let (task, result) = outcome(running.join_next_with_id().await.unwrap());
            match tasks.remove(&task).unwrap() {
                "fine" => assert!(result.is_ok()),
                "loud" => assert!(result.unwrap_err().to_string().ends_with("please report it: at the disco")),
                other => panic!("{other}"),
            }
        }
        assert_eq!(tasks.values().collect::<Vec<_>>(), [&"endless"], "it is still under way, and stays busy");
    }
}
