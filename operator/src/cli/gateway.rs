//! The gateway that the operator writes configs for.

use clap::Args;

use super::certificate_keeper::CertificateKeeper;

/// Settings of the gateway in a cluster.
#[derive(Clone, Debug, Args)]
pub struct GatewayOptions {
    /// The Secrets in the operator's namespace over which the configs of all namespaces are spread, for a gateway; 0: there is no gateway.
    /// Each holds 1 MiB
    #[arg(long, env = "VECTOLL_GATEWAY_SHARDS", value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=256))]
    pub gateway_shards: u32,

    /// Gives no namespace a provider's credential or a login to the store: only the gateway has them
    #[arg(long, env = "VECTOLL_GATEWAY_ONLY")]
    pub gateway_only: bool,

    /// What these Secrets are called, before their number
    #[arg(long, env = "VECTOLL_GATEWAY_SECRETS", value_name = "NAME", default_value = "vectoll-gateway")]
    pub gateway_secrets: String,

    /// Which pods are the gateway's: a selector of labels. They are touched when a Secret was written, so that the kubelet looks at once
    #[arg(
        long,
        env = "VECTOLL_GATEWAY_PODS",
        value_name = "SELECTOR",
        default_value = "app.kubernetes.io/component=gateway"
    )]
    pub gateway_pods: String,

    /// The Secret of the gateway's certificate, in the operator's namespace
    #[arg(long, env = "VECTOLL_GATEWAY_TLS_SECRET", value_name = "NAME", default_value = "vectoll-gateway-tls")]
    pub gateway_tls_secret: String,

    /// The Secret in the operator's namespace whose entry ca.crt has the CAs that sidecars trust at --gateway-url. Without it:
    /// --gateway-tls-secret
    #[arg(long, env = "VECTOLL_GATEWAY_CA_SECRET", value_name = "NAME")]
    pub gateway_ca_secret: Option<String>,

    /// Sidecars trust well-known CAs at --gateway-url, as where an ingress in front of the gateway has a public certificate
    #[arg(long, env = "VECTOLL_GATEWAY_WELL_KNOWN_CAS", conflicts_with_all = ["gateway_ca_secret", "gateway_ca"])]
    pub gateway_well_known_cas: bool,

    /// Who keeps that certificate: the operator, or whoever fills the Secret, as cert-manager does
    #[arg(long, env = "VECTOLL_GATEWAY_CERTIFICATE", value_name = "WHO", default_value = "own")]
    pub gateway_certificate: CertificateKeeper,

    /// The names that the certificate is for, separated by commas
    #[arg(
        long,
        env = "VECTOLL_GATEWAY_NAMES",
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "localhost"
    )]
    pub gateway_names: Vec<String>,
}
