//! What the store is told of the policy in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use vectoll_config::Uid;

use super::Policy;
use vectoll_limits::store::Served;

/// The policy in force, as those see it who speak to the store.
#[derive(Debug)]
pub struct InForce(pub Arc<ArcSwap<Policy>>);

impl Served for InForce {
    fn generation(&self) -> u64 {
        self.0.load().generation
    }

    fn namespace(&self) -> Arc<str> {
        self.0.load().namespace.clone()
    }

    fn counts_team(&self, team: &Uid) -> bool {
        let policy = self.0.load();
        let mut views = policy.views().filter(|view| view.lineage().any(|above| above.uid == *team)).peekable();
        if views.peek().is_none() {
            return false;
        }
        // Where there is no route at all nothing says that it is another's to count. One without backends is called by nobody here.
        let mut routes = views.flat_map(|view| &view.search).flat_map(|index| index.routes()).peekable();
        routes.peek().is_none() || routes.any(|route| !route.backends.is_empty())
    }

    fn max_users(&self, team: &Uid) -> u32 {
        self.0.load().teams.get(team).map_or(0, |team| team.max_users)
    }

    fn is_limited(&self, backend: &Uid) -> bool {
        self.0.load().limited.contains(backend)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::KeyHash;
    use vectoll_upstream::{health::BackendMetrics, provider::egress::Egress};

    use super::*;
    use crate::policy::{CredentialFiles, Identity, SharedState, compile};

    /// A Team below another one, with a route that is `passed_on` or carried out here.
    fn in_force(passed_on: bool) -> InForce {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let backends = if passed_on {
            "[]"
        } else {
            "[{name: one, weight: 1, provider: {openAI: {baseURL: 'http://127.0.0.1/v1'}}, tokens: {factor: {maxPerByte: 1, maxPerInput: 8}}, \
             timeoutSeconds: 60}]"
        };
        let yaml = format!(
            "version: v1\ngeneration: 1\nnamespace: shop\nteams:\n- {{name: shop/org, uid: org, routeNamespaces: [], maxUsers: 10}}\n- {{name: \
             shop/team, uid: t, parent: shop/org, routeNamespaces: [shop], maxUsers: 10}}\nkeys:\n- {{name: shop/alice, uid: k, team: \
             shop/team, credentials: [{{sha256: {}}}]}}\nroutes:\n- {{name: shop/openai, models: [m], backends: {backends}}}\ncomplete: \
             true\n",
            KeyHash::of(b"sk-test-0123456789")
        );
        let gateway = "version: v1\nurl: https://gateway.example\nroutes:\n- {name: shop/openai, timeoutSeconds: 60}\ncomplete: true\n";
        let files: CredentialFiles =
            [(vectoll_config::v1::GATEWAY_FILE.to_owned(), gateway.as_bytes().to_vec())].into_iter().collect();
        let metrics = BackendMetrics::unseen().unwrap();
        let lasting = SharedState::new(Identity::default(), Egress::default(), metrics).unwrap();
        let config = vectoll_config::read_v1(&yaml).unwrap();
        InForce(Arc::new(ArcSwap::from_pointee(compile(config, &files, &lasting, None).unwrap())))
    }

    #[test]
    fn a_team_whose_calls_the_gateway_carries_out_is_not_counted_here_nor_is_one_above_it() {
        for team in ["t", "org"] {
            assert!(in_force(false).counts_team(&Uid::new(team)), "{team}");
            assert!(!in_force(true).counts_team(&Uid::new(team)), "{team}");
        }
        assert!(!in_force(false).counts_team(&Uid::new("gone")));
    }
}
