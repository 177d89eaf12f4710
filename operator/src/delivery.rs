//! Who carries out a route's calls: the sidecars, or a gateway that they pass them on to. Pure.

use std::collections::BTreeMap;

use vectoll_crds::Delivery;

/// The file in a namespace's config with the CAs of the gateway's certificate.
pub(crate) const GATEWAY_CA_FILE: &str = "gateway.ca";

/// The label by which a namespace's administrators say who carries out the calls of its sidecars, whatever routes say: `Gateway`, or
/// `Sidecar`, which leaves it to the routes. Who may write in a namespace cannot write it.
pub(crate) const DELIVERY_LABEL: &str = "vectoll.dev/delivery";

/// How routes are delivered in this release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliverySetting {
    /// Routes that say nothing of it.
    pub default: Delivery,
    /// Namespaces without the label have all calls of their sidecars carried out by the gateway.
    pub enforced: bool,
    /// Where the gateway is.
    pub gateway: GatewayPlace,
}

/// Where the gateway is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GatewayPlace {
    /// There is none.
    #[default]
    Nowhere,
    /// What is written is for the gateway itself, and for no sidecar.
    Here,
    /// There.
    At(GatewayAddress),
}

/// How a gateway is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayAddress {
    /// `https://HOST` or `https://HOST:PORT`.
    pub url: String,
    /// Who may have signed its certificate.
    pub ca: GatewayCa,
}

/// Whom sidecars trust to have signed the gateway's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayCa {
    /// Nobody knows yet, as after a start: what namespaces have goes on.
    Unknown,
    /// Well-known CAs.
    WellKnown,
    /// These alone, in PEM.
    These(Vec<u8>),
}

/// Who carries out a route's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Each pod's own sidecar.
    Sidecars,
    /// The gateway, to which sidecars pass them on.
    Gateway,
    /// It is wrong, or for a gateway that is not there.
    Nobody,
}

/// A route is for a gateway, and there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoGateway;

impl NoGateway {
    pub(crate) const REASON: &str = "NoGateway";
    pub(crate) const MESSAGE: &str = "spec.delivery: a gateway is to carry out the calls of this route (Gateway), and there is none, so its \
                                      backends are called by nobody: have one (gateway.enabled of the chart; standalone: --gateway, or \
                                      --gateway-url), or set delivery: Sidecar";
}

impl DeliverySetting {
    /// Whether it is not known yet whom sidecars are to trust at the gateway.
    pub(crate) fn is_unsure(&self) -> bool {
        matches!(self.gateway, GatewayPlace::At(GatewayAddress { ca: GatewayCa::Unknown, .. }))
    }

    /// Who carries out the calls of a route that says this.
    pub(crate) fn carrier(&self, route: Option<Delivery>) -> Result<Carrier, NoGateway> {
        match (route.unwrap_or(self.default), &self.gateway) {
            (Delivery::Sidecar, _) | (Delivery::Gateway, GatewayPlace::Here) => Ok(Carrier::Sidecars),
            (Delivery::Gateway, GatewayPlace::At(_)) => Ok(Carrier::Gateway),
            (Delivery::Gateway, GatewayPlace::Nowhere) => Err(NoGateway),
        }
    }

    /// Who carries out calls of a namespace with these labels, by a route that leaves them to this one: the stricter of both. Without a
    /// gateway it is nobody, and never the sidecars in silence.
    pub(crate) fn carrier_in(&self, labels: Option<&BTreeMap<String, String>>, route: Carrier) -> Carrier {
        let is_enforced = match labels.and_then(|labels| labels.get(DELIVERY_LABEL)).map(String::as_str) {
            Some("Sidecar") => false,
            None | Some("") => self.enforced,
            // What is no word of ours was meant to say something.
            Some(_) => true,
        };
        match (route, &self.gateway) {
            (Carrier::Sidecars, GatewayPlace::At(_)) if is_enforced => Carrier::Gateway,
            (Carrier::Sidecars, GatewayPlace::Nowhere) if is_enforced => Carrier::Nobody,
            _ => route,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_goes_where_it_says_and_else_where_the_release_says() {
        let at = || GatewayPlace::At(GatewayAddress { url: "https://g".to_owned(), ca: GatewayCa::WellKnown });
        let decided = |default, gateway, route| DeliverySetting { default, enforced: false, gateway }.carrier(route);
        let (sidecar, gateway) = (Delivery::Sidecar, Delivery::Gateway);
        assert_eq!(decided(sidecar, at(), None), Ok(Carrier::Sidecars));
        assert_eq!(decided(gateway, at(), None), Ok(Carrier::Gateway));
        assert_eq!(decided(gateway, at(), Some(sidecar)), Ok(Carrier::Sidecars));
        assert_eq!(decided(sidecar, at(), Some(gateway)), Ok(Carrier::Gateway));
        assert_eq!(
            decided(sidecar, GatewayPlace::Here, Some(gateway)),
            Ok(Carrier::Sidecars),
            "the gateway passes nothing on"
        );
        for (default, route) in [(gateway, None), (sidecar, Some(gateway))] {
            assert_eq!(decided(default, GatewayPlace::Nowhere, route), Err(NoGateway), "never the sidecars in silence");
        }
    }

    #[test]
    fn a_namespace_has_its_calls_carried_out_by_the_gateway_whatever_routes_say() {
        let at = || GatewayPlace::At(GatewayAddress { url: "https://g".to_owned(), ca: GatewayCa::WellKnown });
        let decided = |enforced, gateway, label: Option<&str>| {
            let labels = label.map(|value| BTreeMap::from([(DELIVERY_LABEL.to_owned(), value.to_owned())]));
            DeliverySetting { default: Delivery::Sidecar, enforced, gateway }
                .carrier_in(labels.as_ref(), Carrier::Sidecars)
        };
        assert_eq!(decided(false, at(), None), Carrier::Sidecars);
        assert_eq!(decided(false, at(), Some("Gateway")), Carrier::Gateway);
        assert_eq!(decided(false, at(), Some("gateway")), Carrier::Gateway, "a slip lets nothing out");
        assert_eq!(decided(true, at(), None), Carrier::Gateway);
        assert_eq!(decided(true, at(), Some("Sidecar")), Carrier::Sidecars);
        assert_eq!(decided(false, GatewayPlace::Nowhere, Some("Gateway")), Carrier::Nobody, "never the sidecars");
        assert_eq!(decided(true, GatewayPlace::Here, None), Carrier::Sidecars, "the gateway passes nothing on");
    }
}
