//! Calls whose key is refused, counted by the address that they come from: so many are told what is wrong, and what comes beyond costs as
//! little as can be. Keys cannot be guessed; this is for the processor and the log.
//!
//! A call with a key that works is served whatever else comes from its address. A flood of new connections from an address that is
//! over its bound is slowed down before it costs a handshake.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::{IntCounterVec, Opts, Registry};

/// So many refusals at once,
const BURST: u32 = 100;
/// and then one in this time.
const INTERVAL: Duration = Duration::from_millis(100);
/// An address that is over its bound may connect again as often as this.
const CONNECTION_INTERVAL: Duration = Duration::from_millis(200);
/// For an address that is over its bound a signature is verified as often as this: the right one among many is found all the same.
const VERIFY_INTERVAL: Duration = Duration::from_millis(10);
/// Addresses that are told apart. All others share one count.
const MAX_ADDRESSES: usize = 10_000;
/// A full table is swept this often at the most.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
/// Where those are counted that there is no room for: no client has this address.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Counts of all addresses. Moments are the clock's.
#[derive(Debug)]
pub struct Unauthorized {
    table: Mutex<Table>,
    limited: IntCounterVec,
}

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<IpAddr, Count>,
    swept: Duration,
}

/// When an address would be even with its bound, as in the generic cell rate algorithm.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    refused_until: Duration,
    connected_until: Duration,
    next_check: Duration,
}

impl Count {
    /// How long an address would have to be silent that sends so many wrong keys more.
    fn beyond(self, refusals: u32, now: Duration) -> Duration {
        (self.refused_until.saturating_sub(now) + refusals * INTERVAL).saturating_sub(BURST * INTERVAL)
    }
}

impl Unauthorized {
    /// None was refused yet.
    pub fn new() -> prometheus::Result<Self> {
        let help = "Calls with a wrong key, or connections, that an address got no further with because it had sent too many calls with a \
                    wrong key.";
        let limited = IntCounterVec::new(Opts::new("vectoll_unauthorized_limited_total", help), &["what"])?;
        for what in ["calls", "connections"] {
            limited.with_label_values(&[what]);
        }
        Ok(Self { table: Mutex::default(), limited })
    }

    /// Has Prometheus see it.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.limited.clone()))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that could panic is done under it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a call of an address is refused for its key. An error: it is one too many, and the next one is not before then.
    pub fn refused(&self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let mut table = self.table();
        let count = table.count(client, now);
        let wait = count.beyond(1, now);
        if wait.is_zero() {
            count.refused_until = count.refused_until.max(now) + INTERVAL;
            return Ok(());
        }
        drop(table);
        self.limited.with_label_values(&["calls"]).inc();
        Err(wait)
    }

    /// Whether a signature that this address sends is verified. An error: it is over its bound, and has had one just now.
    pub fn may_verify(&self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let mut table = self.table();
        let Some(count) = table.known(client) else { return Ok(()) };
        let wait = count.beyond(1, now);
        if wait.is_zero() {
            return Ok(());
        }
        if now < count.next_check {
            return Err(wait);
        }
        count.next_check = now + VERIFY_INTERVAL;
        Ok(())
    }

    /// Whether a connection from this address is taken.
    pub fn may_connect(&self, peer: IpAddr, now: Duration) -> bool {
        let mut table = self.table();
        let Some(count) = table.known(peer) else { return true };
        // Whoever sends wrong keys as fast as it may is at its bound, give or take one.
        if count.beyond(2, now).is_zero() {
            return true;
        }
        let may = count.connected_until <= now;
        if may {
            count.connected_until = now + CONNECTION_INTERVAL;
        }
        drop(table);
        if !may {
            self.limited.with_label_values(&["connections"]).inc();
        }
        may
    }
}

impl Table {
    /// What is known of an address by itself: nobody's connections are slowed down for what others have sent.
    fn known(&mut self, address: IpAddr) -> Option<&mut Count> {
        self.addresses.get_mut(&network(address))
    }

    fn count(&mut self, address: IpAddr, now: Duration) -> &mut Count {
        let mut key = network(address);
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&key) {
            if now >= self.swept + SWEEP_PERIOD {
                self.swept = now;
                self.addresses.retain(|_, count| count.refused_until > now);
            }
            if self.addresses.len() >= MAX_ADDRESSES {
                key = OTHERS;
            }
        }
        self.addresses.entry(key).or_default()
    }
}

/// Whoever has one IPv6 address has the whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_burst_and_then_its_rate() {
        let all = Unauthorized::new().unwrap();
        let client = address("203.0.113.7");
        for _ in 0..BURST {
            all.refused(client, START).unwrap();
        }
        for _ in 0..1_000 {
            let wait = all.refused(client, START).unwrap_err();
            assert_eq!(wait, INTERVAL);
        }
        assert!(all.refused(address("203.0.113.8"), START).is_ok(), "another one is not held to it");
        let served = (1..=100).filter(|step| all.refused(client, START + *step * INTERVAL / 10).is_ok()).count();
        assert_eq!(served, 10, "in ten intervals");
        assert!(all.refused(client, START + 2 * BURST * INTERVAL).is_ok());
    }

    #[test]
    fn for_whoever_is_over_its_bound_few_signatures_are_verified() {
        let all = Unauthorized::new().unwrap();
        let client = address("203.0.113.7");
        let verified = |from: Duration| (0..1_000).filter(|_| all.may_verify(client, from).is_ok()).count();
        assert_eq!(verified(START), 1_000);
        for _ in 0..=BURST {
            let _ = all.refused(client, START);
        }
        assert_eq!(verified(START), 1);
        let in_a_second = (1..=1_000).filter(|ms| {
            let now = START + Duration::from_millis(*ms);
            let _ = all.refused(client, now);
            all.may_verify(client, now).is_ok()
        });
        assert!((90..=110).contains(&in_a_second.count()));
        assert!(all.may_verify(address("203.0.113.8"), START).is_ok());
    }

    #[test]
    fn whoever_is_over_its_bound_connects_seldom() {
        let all = Unauthorized::new().unwrap();
        let client = address("2001:db8::1");
        assert!((0..1_000).all(|_| all.may_connect(client, START)));
        for _ in 0..=BURST {
            let _ = all.refused(client, START);
        }
        let neighbour = address("2001:db8::2");
        assert_eq!((0..100).filter(|_| all.may_connect(neighbour, START)).count(), 1, "it is of the same /64");
        assert!(all.may_connect(address("2001:db8:0:1::1"), START));
        let later = START + Duration::from_secs(1);
        assert!((0..100).all(|_| all.may_connect(client, later)), "it has stopped");
    }

    #[test]
    fn the_table_is_bounded() {
        let all = Unauthorized::new().unwrap();
        for at in 0..3 * u32::try_from(MAX_ADDRESSES).unwrap() {
            let _ = all.refused(IpAddr::V4(at.into()), START);
        }
        assert!(all.table().addresses.len() <= MAX_ADDRESSES + 1);
        assert!(all.refused(address("203.0.113.7"), START).is_err(), "those without room share one count");
        let stranger = address("203.0.113.8");
        assert!(
            (0..100).all(|_| all.may_connect(stranger, START)),
            "whoever has sent nothing is not slowed down for them"
        );
        let later = START + Duration::from_mins(1);
        assert!(all.refused(address("203.0.113.7"), later).is_ok());
        assert!(all.table().addresses.len() < 10, "what is even again is forgotten");
    }
}
