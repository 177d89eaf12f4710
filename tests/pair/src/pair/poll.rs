//! Waiting for something to become true.

use std::time::{Duration, Instant};

use anyhow::anyhow;

/// Asks `probe` every 20 ms until it returns something or `deadline` has passed. An error of `probe` is "not yet"; the last one
/// is the cause of the error at the deadline.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    const PAUSE: Duration = Duration::from_millis(20);
    let begun = Instant::now();
    loop {
        let last = match probe().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if let Some(fatal) = last.as_ref().and_then(|error| error.downcast_ref::<Ended>()) {
            return Err(anyhow!("{fatal} while waiting for {what}"));
        }
        if begun.elapsed() >= deadline {
            let late = format!("waited {deadline:?} in vain for {what}");
            return Err(last.map_or_else(|| anyhow!("{late}"), |error| error.context(late.clone())));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A process that should run has ended: no use in waiting on.
#[derive(Debug, thiserror::Error)]
#[error("{name} has ended with {status}")]
pub struct Ended {
    /// The program.
    pub name: String,
    /// How it ended.
    pub status: std::process::ExitStatus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_are_retried_and_the_last_is_told() {
        let mut left = 3;
        let found = until("zero", Duration::from_secs(5), async || {
            left -= 1;
            anyhow::ensure!(left != 1, "one");
            Ok((left == 0).then_some("zero"))
        });
        assert_eq!(found.await.unwrap(), "zero");
        let never = until::<()>("never", Duration::from_millis(50), async || anyhow::bail!("the last cause"));
        let told = format!("{:#}", never.await.unwrap_err());
        assert!(told.contains("never") && told.contains("the last cause"), "{told}");
    }
}
