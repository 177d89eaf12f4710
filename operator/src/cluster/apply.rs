//! Carrying out one action against the API server, and noting what it answered.

mod config;
mod event;
mod key;
mod pod;
mod request;
mod status;

use kube::{Client, runtime::events::Recorder};

use super::{plan::Action, watch::StateHandle};

/// The hands of the operator. A handle.
#[derive(Clone)]
pub(super) struct Applier {
    client: Client,
    recorder: Recorder,
    shared: StateHandle,
}

impl Applier {
    pub(super) fn new(client: Client, recorder: Recorder, shared: StateHandle) -> Self {
        Self { client, recorder, shared }
    }

    /// Does it. What the API server answers is known at once, without waiting for the watch.
    pub(super) async fn act(&self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::MakeKey { creation, present } => self.make_key(&creation, present).await,
            Action::AdoptKey { adoption, version } => self.adopt_key(&adoption, version).await,
            Action::LabelKey { change, version } => self.label_key(&change, version).await,
            Action::RemoveKey { secret, version } => self.remove_key(&secret, version).await,
            Action::WriteConfig { namespace, files, replaces } => self.write_config(&namespace, &files, replaces).await,
            Action::RemoveConfig { namespace, uid, version } => self.remove_config(&namespace, &uid, version).await,
            Action::Touch { pod, uid, generation } => self.touch(&pod, &uid, generation).await,
            Action::Report { of, uid, version, status, turns } => {
                // What was not written is not told either: the next pass reconciles what is there now.
                if self.report(&of, &uid, version, status.patch).await? {
                    for turn in turns {
                        self.record_transition(&of, &uid, turn).await;
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
