//! Which of several refusals is told.

use super::Denial;

/// The refusal that takes longest to pass, of all that were added: whoever waits for it meets none of the others. Of several
/// that take as long, the first.
#[derive(Debug, Default)]
pub(super) struct LongestDenial(Option<Denial>);

impl LongestDenial {
    /// One more.
    pub(super) fn add(&mut self, denial: Denial) {
        if self.0.is_none_or(|worst| denial.retry > worst.retry) {
            self.0 = Some(denial);
        }
    }

    /// The one; none: nothing was refused.
    pub(super) fn into_denial(self) -> Option<Denial> {
        self.0
    }
}
