//! What the request path of a gateway knows beyond a sidecar's: callers have addresses of their own there, and not all of them are
//! friends.

use std::net::IpAddr;

use http::{Extensions, HeaderMap};

use crate::{
    client_address::{PeerAddress, TrustedProxies},
    refusal::Refusal,
    unauthorized::Unauthorized,
};
use vectoll_clock::Now;

/// What a gateway knows beyond a sidecar.
#[derive(Debug)]
pub struct Gateway {
    /// Whose word on the caller's address counts.
    pub proxies: TrustedProxies,
    /// Calls whose key was refused.
    pub unauthorized: Unauthorized,
}

impl Gateway {
    /// Whose address a request comes from; none: it came by a Unix socket.
    pub fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = extensions.get::<PeerAddress>()?;
        Some(self.proxies.client(*peer, headers))
    }

    /// A call of this address was refused for its key. One too many gets this refusal in place of its own.
    pub fn flooded(&self, client: IpAddr, now: Now) -> Option<Refusal> {
        let wait = self.unauthorized.refused(client, now.elapsed).err()?;
        Some(Refusal::wrong_keys(client, wait))
    }

    /// Whether a signature may be verified for this address.
    pub fn may_verify(&self, client: IpAddr, now: Now) -> Result<(), Refusal> {
        self.unauthorized.may_verify(client, now.elapsed).map_err(|wait| Refusal::wrong_keys(client, wait))
    }
}
