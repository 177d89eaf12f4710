//! The config is edited, and sidecars take it up.

use super::{
    config::Config,
    simulated_cluster::{Event, Sidecar, SimulatedCluster},
};

impl SimulatedCluster {
    /// Publishes an edit. Sidecars take it up at moments of their own.
    pub(super) fn edit(&mut self) {
        let mut config = self.configs.last().unwrap().clone();
        for _ in 0..self.rng.usize(1..4) {
            config.edit(&mut self.rng, self.now);
        }
        self.configs.push(config);
        let version = self.configs.len() - 1;
        for at in 0..self.sidecars.len() {
            let way = self.rng.u64(0..3_000);
            self.add(self.now + way, Event::Apply(at, version));
        }
    }

    /// A sidecar serves by a version of the config from now on.
    pub(super) fn apply(&mut self, at: usize, version: usize) {
        let config = &mut self.sidecars[at].config;
        *config = version.max(*config);
    }

    /// Notes which versions are in force no more.
    pub(super) fn note_left(&mut self) {
        let oldest = |sidecar: &Sidecar| {
            let waiting = sidecar.waiting.iter().map(|waiting| waiting.config);
            sidecar.session.is_some().then(|| waiting.chain([sidecar.config]).min()).flatten()
        };
        let oldest = self.sidecars.iter().filter_map(oldest).min().unwrap_or(self.configs.len() - 1);
        let at = self.store_ms();
        for config in self.configs[..oldest].iter_mut().filter(|config| config.left.is_none()) {
            config.left = Some(at);
        }
    }

    /// The versions that were in force somewhere after a moment of the store's time.
    pub(super) fn in_force_since(&self, since: u64) -> impl Iterator<Item = &Config> {
        self.configs.iter().filter(move |config| config.left.is_none_or(|left| left > since))
    }
}
