//! Descriptors: as many as the system gives, shared out so that no side can use up what another one needs.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// For all that is neither a caller's connection nor a provider's: the config's files, the journal, the store, names, the admin
/// listener.
const RESERVED: u64 = 80;
/// More connections than this have no use: memory ends before.
const MAX_SHARE: u64 = 8_192;
/// Fewer cannot serve.
const MIN_SHARE: u64 = 8;

/// Raises the soft limit to the hard one.
pub fn raise() {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => {
            if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                tracing::warn!(%error, soft, hard, "the limit on open files could not be raised");
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit on open files is not known"),
    }
}

/// How many connections callers may have, and as many to providers.
pub fn share() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(MAX_SHARE, |(soft, _)| soft);
    share_of(soft)
}

fn share_of(descriptors: u64) -> usize {
    usize::try_from((descriptors.saturating_sub(RESERVED) / 2).clamp(MIN_SHARE, MAX_SHARE)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_and_the_reserve_fit_into_what_there_is() {
        for (descriptors, share) in [(0, 8), (96, 8), (256, 88), (1_024, 472), (1_048_576, 8_192), (u64::MAX, 8_192)] {
            assert_eq!(share_of(descriptors), share, "{descriptors}");
        }
    }
}
