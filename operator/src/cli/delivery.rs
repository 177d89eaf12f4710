//! Who carries out routes' calls.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use vectoll_config::is_gateway_url;
use vectoll_crds::Delivery;

use crate::delivery::{DeliverySetting, GatewayAddress, GatewayCa, GatewayPlace};

/// Who carries out the calls of routes, and where the gateway is.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Delivery")]
pub struct DeliveryOptions {
    /// Who carries out the calls of `ModelRoutes` that have no `delivery`
    #[arg(long, env = "VECTOLL_DEFAULT_DELIVERY", value_name = "WHO", default_value = "sidecar")]
    pub default_delivery: DefaultDelivery,

    /// Have the gateway carry out all calls of all namespaces' sidecars, whatever routes say, but for namespaces with the label
    /// vectoll.dev/delivery: Sidecar. (vectoll.dev/delivery: Gateway on a namespace has it so for that one)
    #[arg(long, env = "VECTOLL_ENFORCE_GATEWAY", requires = "gateway_url")]
    pub enforce_gateway: bool,

    /// The gateway that sidecars pass calls of `delivery: Gateway` on to: `https://HOST` or `https://HOST:PORT`
    #[arg(long, env = "VECTOLL_GATEWAY_URL", value_name = "URL")]
    pub gateway_url: Option<String>,

    /// A file with the CAs of its certificate, in PEM. Without it: in a cluster those in the entry ca.crt of --gateway-ca-secret, if it
    /// has any, else well-known ones
    #[arg(long, env = "VECTOLL_GATEWAY_CA", value_name = "FILE", requires = "gateway_url")]
    pub gateway_ca: Option<PathBuf>,
}

/// Who carries out the calls of routes that do not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DefaultDelivery {
    /// Each pod's own sidecar.
    #[default]
    Sidecar,
    /// The gateway.
    Gateway,
}

impl DeliveryOptions {
    /// As they stand. `is_gateway`: what is written is for the gateway itself.
    pub(crate) fn setting(&self, is_gateway: bool) -> anyhow::Result<DeliverySetting> {
        let Self { default_delivery, enforce_gateway, gateway_url, gateway_ca } = self;
        let default = match default_delivery {
            DefaultDelivery::Sidecar => Delivery::Sidecar,
            DefaultDelivery::Gateway => Delivery::Gateway,
        };
        let gateway = match gateway_url {
            _ if is_gateway => GatewayPlace::Here,
            None => GatewayPlace::Nowhere,
            Some(url) => {
                ensure!(is_gateway_url(url), "--gateway-url: {url} is not https://HOST or https://HOST:PORT");
                let read = |file: &PathBuf| {
                    std::fs::read(file).with_context(|| format!("--gateway-ca: failed to read {}", file.display()))
                };
                GatewayPlace::At(GatewayAddress {
                    url: url.trim_end_matches('/').to_owned(),
                    ca: gateway_ca.as_ref().map(read).transpose()?.map_or(GatewayCa::WellKnown, GatewayCa::These),
                })
            }
        };
        Ok(DeliverySetting { default, enforced: *enforce_gateway, gateway })
    }
}
