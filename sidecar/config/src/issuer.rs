//! Who issues the tokens of pods, as a gateway is told: a JSON object `{"issuer": …, "jwks": {"keys": […]}}`, of which the first is the
//! cluster's issuer, as it stands in `iss`, and the second the keys that it signs by (RFC 7517).
//!
//! Source: Kubernetes, "Service account issuer discovery" (`/.well-known/openid-configuration`, `/openid/v1/jwks`).

/// The file in a gateway's config folder. No namespace can be called so.
pub const ISSUER_FILE: &str = "_issuer";

/// For whom the tokens are by which sidecars call a gateway for their pods, and no others.
pub const GATEWAY_AUDIENCE: &str = "vectoll-gateway";

/// The file with that token, among those that the cluster issues for a sidecar.
pub const GATEWAY_TOKEN_FILE: &str = "gateway";
