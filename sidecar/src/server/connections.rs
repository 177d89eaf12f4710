//! The connections of a listener: how many there may be, of all and of one address, and who goes where there are too many.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use slab::Slab;
use tokio::sync::Notify;

use super::activity::Activity;

/// Where all places are taken, it is looked again as often whether one can be given up.
const RECHECK_PERIOD: Duration = Duration::from_millis(50);

/// A handle: clones share the connections.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    /// Of one address: where clients have addresses of their own, that is. In a pod all of them are localhost.
    max_of_address: usize,
    open: Mutex<Slab<(Activity, Option<IpAddr>)>>,
    closed: Notify,
}

impl Connections {
    /// At most so many, and half of them of one address.
    pub(super) fn new(max: usize) -> Self {
        let max_of_address = (max / 2).max(1);
        Self(Arc::new(Shared { max, max_of_address, open: Mutex::default(), closed: Notify::new() }))
    }

    fn open(&self) -> MutexGuard<'_, Slab<(Activity, Option<IpAddr>)>> {
        // Nothing that could panic is done under it.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a place, or a connection that can be given up for another one.
    pub(super) async fn place(&self) {
        loop {
            let closed = self.0.closed.notified();
            {
                let open = self.open();
                if open.len() < self.0.max || open.iter().any(|(_, (activity, _))| activity.waits().is_some()) {
                    return;
                }
            }
            // One whose request has ended can be given up as well: it says so to nobody.
            let _ = tokio::time::timeout(RECHECK_PERIOD, closed).await;
        }
    }

    /// Takes a place. Where there is none, the connection that waits for its first request the longest goes, then one that waits
    /// for the rest of a head, then an idle one; a request that is under way is not ended for it. None: this address has too many.
    pub(super) fn enter(&self, activity: Activity, address: Option<IpAddr>) -> Option<Place> {
        let address = address.map(|address| address.to_canonical()).filter(|address| !address.is_loopback());
        let mut open = self.open();
        let of_address = |other: &Option<IpAddr>| address.is_some() && *other == address;
        if open.iter().filter(|(_, (_, other))| of_address(other)).count() >= self.0.max_of_address {
            longest(open.iter().filter(|(_, (_, other))| of_address(other)).map(|(_, (activity, _))| activity))?
                .give_up();
        } else if open.len() >= self.0.max
            && let Some(longest) = longest(open.iter().map(|(_, (activity, _))| activity))
        {
            longest.give_up();
        }
        let key = open.insert((activity, address));
        Some(Place { connections: self.clone(), key })
    }
}

/// The one that is given up first.
fn longest<'a>(of: impl Iterator<Item = &'a Activity>) -> Option<&'a Activity> {
    of.filter_map(|activity| Some((activity.waits()?, activity))).min_by_key(|(waits, _)| *waits).map(|(_, one)| one)
}

/// A place among the connections, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    key: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().try_remove(self.key);
        self.connections.0.closed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn activity() -> Activity {
        Activity::new(Duration::from_secs(100))
    }

    #[tokio::test]
    async fn the_silent_go_before_the_idle_and_nobody_with_a_request() {
        let connections = Connections::new(3);
        let (busy, idle, silent) = (activity(), activity(), activity());
        let request = busy.request(false);
        drop(idle.request(false));
        let places = [&busy, &idle, &silent].map(|one| connections.enter(one.clone(), None).unwrap());
        let _fourth = connections.enter(activity(), None).unwrap();
        assert!(silent.waits().is_none() && idle.waits().is_some(), "the silent one is given up");
        let other = activity();
        let _other_request = other.request(false);
        let _fifth = connections.enter(other, None).unwrap();
        let _other_sixth = connections.enter(activity(), None).unwrap();
        drop(places);
        drop(request);
        connections.place().await;
    }

    #[tokio::test]
    async fn where_all_have_a_request_who_comes_waits() {
        let connections = Connections::new(1);
        let busy = activity();
        let request = busy.request(false);
        let _place = connections.enter(busy, None).unwrap();
        let mut waiting = Box::pin(connections.place());
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting.as_mut()).await.is_err());
        drop(request);
        waiting.await;
    }

    #[test]
    fn one_address_gets_half_and_localhost_is_not_one() {
        let connections = Connections::new(4);
        let address = |text: &str| Some(text.parse().unwrap());
        let busy: Vec<_> = (0..4).map(|_| activity()).collect();
        let _requests: Vec<_> = busy.iter().map(|one| one.request(false)).collect();
        let enter = |at: usize, from: &str| connections.enter(busy[at].clone(), address(from));
        let first = (enter(0, "10.0.0.1"), enter(1, "::ffff:10.0.0.1"));
        assert!(first.0.is_some() && first.1.is_some());
        assert!(enter(2, "10.0.0.1").is_none());
        assert!(enter(2, "10.0.0.2").is_some());
        let local = [(); 3].map(|()| connections.enter(activity(), address("127.0.0.1")));
        assert!(local.iter().all(Option::is_some));
    }
}
