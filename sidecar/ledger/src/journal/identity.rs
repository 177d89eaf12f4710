//! Who keeps a journal: an identity that lives as long as the state folder, and a number that grows with each start.

use std::{fmt, fs, io, path::Path};

use super::{OpenError, frame::LARGEST_NUMBER};
use crate::atomic_file;

const IDENTITY: &str = "identity";
const EPOCH: &str = "epoch";
/// Each start begins at a number that no former one can have reached, whatever a crash of the machine took of the journal's
/// end: 2³² records are more than a process writes in a day of 49,000 a second. One that does goes on into the next range.
const RECORDS_OF_AN_EPOCH: u64 = 1 << 32;

/// 128 random bits, made once for a state folder. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(u128);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Identity {
    /// The identity of a state folder, made if need be.
    pub(super) fn of(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(IDENTITY);
        let failed = |source| OpenError::Io { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) => match u128::from_str_radix(text.trim(), 16) {
                Ok(bits) if text.trim().len() == 32 => Ok(Self(bits)),
                Ok(_) | Err(_) => Err(OpenError::Identity { path }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bits = [0; 16];
                getrandom::fill(&mut bits).map_err(|error| failed(io::Error::other(error)))?;
                let identity = Self(u128::from_le_bytes(bits));
                identity.write(folder).map_err(failed)?;
                Ok(identity)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Has the disk take it.
    pub(super) fn write(self, folder: &Path) -> io::Result<()> {
        atomic_file::write(&folder.join(IDENTITY), format!("{self}\n").as_bytes())
    }
}

/// Which start of a sidecar this is: 1, 2, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Epoch(pub(super) u64);

impl Epoch {
    /// The next epoch of a state folder whose journal has come to this number. It must be on the disk before it is used:
    /// [`Self::write`].
    pub(super) fn next(folder: &Path, last: u64) -> Self {
        // A file that is gone or unreadable: the journal's numbers say where it was.
        let former = fs::read_to_string(folder.join(EPOCH)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Self::after(former, last)
    }

    /// Has the disk take it.
    pub(super) fn write(self, folder: &Path) -> io::Result<()> {
        atomic_file::write(&folder.join(EPOCH), format!("{}\n", self.0).as_bytes())
    }

    fn after(former: u64, last: u64) -> Self {
        let reached = last.div_ceil(RECORDS_OF_AN_EPOCH);
        Self(former.max(reached).saturating_add(1))
    }

    /// The number of its first record. Beyond the largest one there is room for no more: see [`LARGEST_NUMBER`].
    pub(super) fn first_number(self) -> u64 {
        (self.0 - 1).saturating_mul(RECORDS_OF_AN_EPOCH).saturating_add(1).min(LARGEST_NUMBER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_and_epochs_begin_beyond_every_number_of_the_former() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::of(folder.path()).unwrap();
        assert_eq!(Identity::of(folder.path()).unwrap(), identity);
        assert_eq!(fs::read_to_string(folder.path().join(IDENTITY)).unwrap().trim(), identity.to_string());
        let next = |last| {
            let epoch = Epoch::next(folder.path(), last);
            epoch.write(folder.path()).unwrap();
            epoch
        };
        assert_eq!(next(0), Epoch(1));
        assert_eq!(next(17), Epoch(2));
        assert_eq!((Epoch(1).first_number(), Epoch(2).first_number()), (1, (1 << 32) + 1));
        // A process that wrote more than its range, and a file that was lost.
        assert!(next(5 << 32).first_number() > 5 << 32);
        fs::remove_file(folder.path().join(EPOCH)).unwrap();
        assert!(next((5 << 32) + 9).first_number() > (5 << 32) + 9);
    }

    #[test]
    fn an_identity_that_is_none_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "123", "zz345678901234567890123456789012"] {
            fs::write(folder.path().join(IDENTITY), text).unwrap();
            assert!(Identity::of(folder.path()).unwrap_err().to_string().contains(IDENTITY), "{text}");
        }
    }
}
