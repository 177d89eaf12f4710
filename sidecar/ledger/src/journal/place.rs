//! Where the journal is. A state folder can be removed or moved away under a running sidecar: what is written then goes where no
//! start would look for it. So it is looked after as long as calls are sent, and started again where it is gone ([`super::begin_anew`]).

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::identity::{Epoch, Identity};

/// How long a folder may be gone before a call notices.
pub(super) const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// The state folder, and what must stand in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) identity: Identity,
    pub(super) epoch: Epoch,
    pub(super) looked: Instant,
}

impl Place {
    /// A folder that is there.
    pub(super) fn new(folder: &Path, identity: Identity, epoch: Epoch) -> Self {
        Self { folder: folder.to_owned(), identity, epoch, looked: Instant::now() }
    }
}
