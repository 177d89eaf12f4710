//! Loading a tokenizer. Its tables are large: that takes a few hundred milliseconds, once in the life of the process and only where something
//! is counted. A thread does it, and those who need it meanwhile wait without one.

use tokio::sync::OnceCell;
use vectoll_config::v1::{Encoding, TokenBound};
use vectoll_upstream::tokens;

use crate::compute::Compute;

/// That it is loaded, for each of them.
static CL100K_BASE: OnceCell<()> = OnceCell::const_new();
static BUILTIN: OnceCell<()> = OnceCell::const_new();

/// Has a tokenizer loaded, unless it is. Where that fails whoever counts tries again.
pub(crate) async fn load(bound: &TokenBound, compute: &Compute) {
    let loading = match bound {
        _ if tokens::is_loaded(bound) => return,
        TokenBound::Encoding(Encoding::cl100k_base) => &CL100K_BASE,
        TokenBound::Builtin(_) => &BUILTIN,
        TokenBound::Factor(_) => return,
    };
    let bound = *bound;
    // If the one that began it leaves, the next one goes on with it.
    let _ = loading.get_or_try_init(|| compute.run(0, move || tokens::load(&bound))).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::compute::ComputeMetrics;

    /// The only test of this program that needs a tokenizer: elsewhere it may be loaded by another one before.
    #[tokio::test]
    async fn the_first_count_leaves_the_loop_free_while_the_tokenizer_is_loaded() {
        let (compute, bound) =
            (Compute::new(ComputeMetrics::new().unwrap()), TokenBound::Encoding(Encoding::cl100k_base));
        let (mut turns, mut loading) = (0, std::pin::pin!(load(&bound, &compute)));
        let was_loaded = tokens::is_loaded(&bound);
        loop {
            tokio::select! {
                biased;
                () = &mut loading => break,
                () = tokio::task::yield_now() => turns += 1,
            }
        }
        assert!(tokens::is_loaded(&bound));
        // Loaded on this thread, it would be done when it is asked for the first time.
        assert!(turns > 0 || was_loaded);
    }
}
