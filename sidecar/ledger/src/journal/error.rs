//! Why a journal cannot be taken up, or written.

use std::{io, path::PathBuf};

use vectoll_config::Uid;

use super::NotARecord;

/// Why a state folder's journal cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not readable or writable.
    #[error("failed to use {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not an identity.
    #[error("{path} does not hold 32 hexadecimal digits: move it away if no store knows this sidecar")]
    Identity {
        /// The file.
        path: PathBuf,
    },
    /// The first records could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Why a call cannot be sent: its intent could not be written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// As large as it may become.
    #[error("failed to write the journal: it has {bytes} bytes of at most {most}")]
    Full {
        /// Its size.
        bytes: u64,
        /// The most.
        most: u64,
    },
    /// The store does not take a team's spend, and there is so much of it that other teams need the rest of the room.
    #[error(
        "failed to write the journal: the spend of team {team} that the store has not taken leaves too little room to the others"
    )]
    TeamFull {
        /// The team.
        team: Uid,
    },
    /// The disk does not take it.
    #[error("failed to write the journal: {0}")]
    Unavailable(#[source] io::Error),
    /// There is no record of such a call.
    #[error(transparent)]
    NotARecord(#[from] NotARecord),
}

impl From<io::Error> for AppendError {
    fn from(source: io::Error) -> Self {
        Self::Unavailable(source)
    }
}
