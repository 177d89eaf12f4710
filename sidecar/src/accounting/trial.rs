//! Limits on trial (`enforcement: Audit`): calls that one of them would refuse are served, counted and told.

use prometheus::{IntCounterVec, Opts};
use vectoll_limits::counters::{Denial, Exhausted, Scope, Waived};

/// A limit that would have refused a call: whose, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WouldReject {
    /// As in `vectoll_rejections_total`.
    pub scope: &'static str,
    /// Likewise.
    pub reason: &'static str,
}

/// The limits that a call would have been refused by so far, by the places of its scopes.
#[derive(Debug, Default)]
pub(super) struct Trial {
    waived: Vec<Waived>,
    pub(super) found: Vec<WouldReject>,
}

impl Trial {
    /// Marks in its scopes what the call is not held to.
    pub(super) fn mark(&self, scopes: &mut [Scope<'_>]) {
        for (scope, waived) in scopes.iter_mut().zip(&self.waived) {
            scope.waived = *waived;
        }
    }

    /// The call goes on without the limit that refuses it, if that is on trial. False: it is not.
    pub(super) fn waive(&mut self, scopes: &[Scope<'_>], denial: &Denial) -> bool {
        let Some(scope) = scopes.get(denial.scope) else { return false };
        let is_on_trial = match denial.exhausted {
            Exhausted::Rate(_) | Exhausted::Parallel => scope.limits.audit,
            Exhausted::Budget(place) => scope.budgets.get(place).is_some_and(|budget| budget.audit),
            // Without the store nobody knows what is left, of whatever scope. What would not refuse anyway needs no store.
            Exhausted::Store => {
                let on_trial = scopes.iter().enumerate().filter(|(_, scope)| is_all_on_trial(scope));
                return on_trial.fold(false, |is_new, (place, _)| self.change(place, Waived::add_all) || is_new);
            }
        };
        is_on_trial && self.change(denial.scope, |waived| waived.add(denial.exhausted))
    }

    /// Changes what is waived in the scope at this place. False: it is as it was.
    fn change(&mut self, place: usize, change: impl FnOnce(&mut Waived) -> bool) -> bool {
        if self.waived.len() <= place {
            self.waived.resize(place + 1, Waived::default());
        }
        self.waived.get_mut(place).is_some_and(change)
    }
}

fn is_all_on_trial(scope: &Scope<'_>) -> bool {
    let limits_something = !scope.limits.is_none() || !scope.budgets.is_empty();
    limits_something
        && (scope.limits.audit || scope.limits.is_none())
        && scope.budgets.iter().all(|budget| budget.audit)
}

/// What Prometheus sees of them.
#[derive(Clone, Debug)]
pub struct TrialMetrics(IntCounterVec);

impl TrialMetrics {
    /// New ones, not registered yet.
    pub fn new() -> prometheus::Result<Self> {
        let help = "Calls that were served although a limit or budget on trial (enforcement: Audit) would have refused them, by whose and why.";
        Ok(Self(IntCounterVec::new(Opts::new("vectoll_would_reject_total", help), &["scope", "reason"])?))
    }

    /// Has them rendered.
    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.0.clone()))
    }

    pub(super) fn count(&self, found: &[WouldReject]) {
        for WouldReject { scope, reason } in found {
            self.0.with_label_values(&[*scope, *reason]).inc();
        }
    }
}
