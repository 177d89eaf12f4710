//! Memory that is held.

use bytes::Bytes;

use super::{MemoryLimiter, pool::Owner};

/// Bytes that are held; dropped, they are free.
#[derive(Debug, Default)]
pub struct MemoryPermit {
    pub(super) of: Option<Of>,
    pub(super) bytes: usize,
}

/// Of which part of which memory, and which call holds it.
#[derive(Clone, Debug)]
pub(super) struct Of {
    pub(super) memory: MemoryLimiter,
    pub(super) call: u64,
    pub(super) owner: Owner,
    pub(super) is_large: bool,
}

impl MemoryPermit {
    /// Gives back what is more than so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        if let Some(Of { memory, call, owner, is_large }) = &self.of {
            memory.pool(*is_large).give_back(*call, owner, excess);
        }
    }

    /// A part of it, of so many bytes or as many as there are.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { of: self.of.clone(), bytes }
    }

    /// Holds it for as long as somebody has any of these bytes.
    pub fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Attached { bytes, _held: self })
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// Bytes, and the memory that they are.
struct Attached {
    bytes: Bytes,
    _held: MemoryPermit,
}

impl AsRef<[u8]> for Attached {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
