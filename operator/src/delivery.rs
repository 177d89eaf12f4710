//! Who carries out a route's calls: the sidecars, or a gateway that they pass them on to. Pure.

use vectoll_crds::Delivery;

/// The file in a namespace's config with the CAs of the gateway's certificate.
pub(crate) const GATEWAY_CA_FILE: &str = "gateway.ca";

/// How routes are delivered in this release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliverySetting {
    /// Routes that say nothing of it.
    pub default: Delivery,
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
    /// The only CAs that its certificate may be signed by, in PEM; none: well-known ones.
    pub ca: Option<Vec<u8>>,
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
    /// Whether sidecars pass the calls of a route on that says this.
    pub(crate) fn is_passed_on(&self, route: Option<Delivery>) -> Result<bool, NoGateway> {
        match (route.unwrap_or(self.default), &self.gateway) {
            (Delivery::Sidecar, _) | (Delivery::Gateway, GatewayPlace::Here) => Ok(false),
            (Delivery::Gateway, GatewayPlace::At(_)) => Ok(true),
            (Delivery::Gateway, GatewayPlace::Nowhere) => Err(NoGateway),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_goes_where_it_says_and_else_where_the_release_says() {
        let at = || GatewayPlace::At(GatewayAddress { url: "https://g".to_owned(), ca: None });
        let decided = |default, gateway, route| DeliverySetting { default, gateway }.is_passed_on(route);
        let (sidecar, gateway) = (Delivery::Sidecar, Delivery::Gateway);
        assert_eq!(decided(sidecar, at(), None), Ok(false));
        assert_eq!(decided(gateway, at(), None), Ok(true));
        assert_eq!(decided(gateway, at(), Some(sidecar)), Ok(false));
        assert_eq!(decided(sidecar, at(), Some(gateway)), Ok(true));
        assert_eq!(decided(sidecar, GatewayPlace::Here, Some(gateway)), Ok(false), "the gateway passes nothing on");
        for (default, route) in [(gateway, None), (sidecar, Some(gateway))] {
            assert_eq!(decided(default, GatewayPlace::Nowhere, route), Err(NoGateway), "never the sidecars in silence");
        }
    }
}
