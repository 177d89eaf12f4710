//! Where lines go, and which.

use std::time::Duration;

use super::writer::Writer;
use crate::call_id::CallId;

/// Where lines go, and which.
#[derive(Debug)]
pub struct AccessLog {
    pub(super) writer: Writer,
    /// The portion of served calls that is written, of `u32::MAX`. What was refused or failed is always written.
    portion: u32,
    /// What nobody knows who may choose an ID, as callers of a gateway may.
    salt: u32,
}

impl AccessLog {
    /// A log to this writer. `sampling` is the portion of served calls that is written, from 0 to 1.
    pub fn new(writer: Writer, sampling: f64) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to u32::MAX; casts of floats saturate"
        )]
        let portion = (sampling * f64::from(u32::MAX)).round() as u32;
        Self { writer, portion, salt: fastrand::u32(..) }
    }

    /// Whether a served call of this ID is written: a matter of chance.
    pub(super) fn takes(&self, id: CallId) -> bool {
        self.portion == u32::MAX || id.lot().wrapping_add(self.salt) < self.portion
    }

    /// Waits until all lines are out, but no longer than this.
    pub fn flush(&self, timeout: Duration) {
        self.writer.flush(timeout);
    }
}
