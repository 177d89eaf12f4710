//! Passwords of namespaces: derived from one secret, so that none has to be stored, and renewed by the clock, so that replicas
//! agree without a word.

use std::fmt;

use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use super::access::Password;
use crate::spread::offset_in;

/// The longest that a password stays valid beside the next one.
const GRACE: SignedDuration = SignedDuration::from_hours(24);
/// Bytes of the secret that passwords are derived from.
const BYTES: usize = 32;

/// What passwords are derived from: 32 random bytes of their own, and not the administrator's password. Each namespace holds a
/// value that was derived, and could otherwise try out guesses at the administrator's password on it, without asking the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Master([u8; BYTES]);

/// Not what passwords can be derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct MasterError;

impl Master {
    /// A new one. `fill` gives random bytes.
    pub fn random<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = [0; BYTES];
        fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As it is kept.
    pub fn read(text: &[u8]) -> Result<Self, MasterError> {
        let mut bytes = [0; BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| MasterError)?;
        Ok(Self(bytes))
    }

    /// For keeping.
    pub fn write(&self) -> String {
        hex::encode(self.0)
    }

    /// HMAC-SHA-256 over what it is for, the namespace and the number of the period, in hexadecimal digits. Neither a namespace's
    /// name nor a number holds a line break, so no two of these read alike.
    fn password(&self, namespace: &str, period: i64) -> Password {
        Password::new(hex::encode(self.derive(&format!("vectoll store user\n{namespace}\n{period}"))))
    }

    /// How long after the beginning of a period a namespace turns. Each master, and so each scope, spreads its namespaces in a way of
    /// its own.
    fn offset(&self, namespace: &str, interval: SignedDuration) -> SignedDuration {
        offset_in(&self.derive(&format!("vectoll store rotation\n{namespace}")), interval)
    }

    fn derive(&self, what: &str) -> [u8; BYTES] {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        hmac.update(what.as_bytes());
        hmac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(…)")
    }
}

/// How often passwords are renewed: time is cut into periods of this length, from 1970 on, and each has a password of its own. They
/// begin at another time for each namespace, by a hash of its name: were it the same for all, every sidecar of the cluster would log
/// in anew in the same second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    interval: SignedDuration,
    grace: SignedDuration,
}

/// The passwords of a namespace at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valid {
    /// The one to hand out.
    pub current: Password,
    /// The one of the period before, while it is valid beside it.
    pub previous: Option<Password>,
    /// The one of the period to come, which is valid already: replicas whose clocks differ, and releases of which an earlier one
    /// turned all namespaces at once, cut nobody off from each other.
    pub upcoming: Password,
}

impl Rotation {
    /// Every `interval`, which is at least a second; the password before stays valid for a day, or for the whole of a shorter interval.
    pub fn every(interval: SignedDuration) -> Self {
        let interval = interval.max(SignedDuration::from_secs(1));
        Self { interval, grace: interval.min(GRACE) }
    }

    /// The passwords of a namespace.
    pub fn valid(self, master: &Master, namespace: &str, now: Timestamp) -> Valid {
        let (period, into) = self.period(master, namespace, now);
        let previous = (into < self.grace.as_secs()).then(|| master.password(namespace, period - 1));
        Valid {
            current: master.password(namespace, period),
            previous,
            upcoming: master.password(namespace, period + 1),
        }
    }

    /// When that changes next for one of these namespaces: a password is renewed, or the one before ends. None: there are none.
    pub fn next<'a>(
        self,
        master: &Master,
        namespaces: impl IntoIterator<Item = &'a str>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let grace = self.grace.as_secs();
        let left = |namespace: &str| {
            let (_, into) = self.period(master, namespace, now);
            if into < grace { grace - into } else { self.interval.as_secs() - into }
        };
        let left = namespaces.into_iter().map(left).min()?;
        Some(Timestamp::from_second(now.as_second().saturating_add(left)).unwrap_or(Timestamp::MAX))
    }

    /// The number of a namespace's period, and how many seconds of it are over.
    fn period(self, master: &Master, namespace: &str, now: Timestamp) -> (i64, i64) {
        let (now, interval) = (now.as_second(), self.interval.as_secs().max(1));
        let now = now.saturating_sub(master.offset(namespace, self.interval).as_secs());
        (now.div_euclid(interval), now.rem_euclid(interval))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn master() -> Master {
        Master::read("07".repeat(32).as_bytes()).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The first second of a namespace's period of this number.
    fn begin(rotation: Rotation, namespace: &str, period: i64) -> i64 {
        let interval = rotation.interval;
        period * interval.as_secs() + master().offset(namespace, interval).as_secs()
    }

    #[test]
    fn passwords_differ_by_secret_namespace_and_period_and_by_nothing_else() {
        let rotation = Rotation::every(SignedDuration::from_secs(100));
        let current = |master: &Master, namespace: &str, second| rotation.valid(master, namespace, at(second)).current;
        let first = begin(rotation, "apps", 10);
        let here = current(&master(), "apps", first);
        assert_eq!(here, current(&master(), "apps", first + 99));
        assert_eq!(here.reveal().len(), 64);
        let other = Master::read("08".repeat(32).as_bytes()).unwrap();
        for another in
            [current(&master(), "apps", first + 100), current(&master(), "app", first), current(&other, "apps", first)]
        {
            assert_ne!(here, another);
        }
    }

    #[test]
    fn a_password_is_valid_before_it_is_handed_out_through_its_grace_and_not_after() {
        let day = 24 * 3600;
        let rotation = Rotation::every(SignedDuration::from_secs(30 * day));
        let of = |second| rotation.valid(&master(), "apps", at(second));
        let next = |second| rotation.next(&master(), ["apps"], at(second));
        let begin = begin(rotation, "apps", 600);
        let old = of(begin - 1);
        assert_eq!(old.previous, None, "the one before it has ended");
        let new = of(begin);
        assert_ne!(new.current, old.current);
        assert_eq!(new.current, old.upcoming);
        assert_eq!(new.previous, Some(old.current.clone()));
        assert_eq!(of(begin + day - 1).previous, Some(old.current));
        assert_eq!(of(begin + day).previous, None);
        assert_eq!(next(begin), Some(at(begin + day)));
        assert_eq!(next(begin + day), Some(at(begin + 30 * day)));
        assert_eq!(next(begin - 1), Some(at(begin)));
    }

    #[test]
    fn namespaces_turn_at_times_of_their_own_and_the_first_of_them_counts() {
        let day = 24 * 3600;
        let rotation = Rotation::every(SignedDuration::from_secs(30 * day));
        let names: Vec<String> = (0..300).map(|n| format!("team-{n}")).collect();
        let mut days = [0; 30];
        for name in &names {
            let into = begin(rotation, name, 600) - 600 * 30 * day;
            days[usize::try_from(into / day).unwrap()] += 1;
        }
        assert!(days.iter().all(|turns| (1..30).contains(turns)), "{days:?}");
        let now = at(600 * 30 * day);
        let each = names.iter().filter_map(|name| rotation.next(&master(), [&**name], now)).min();
        assert_eq!(rotation.next(&master(), names.iter().map(|name| &**name), now), each);
        assert_eq!(rotation.next(&master(), [], now), None);
    }

    /// An earlier release turned all namespaces at the beginning of the period: whoever it gave a password to stays logged in.
    #[test]
    fn what_was_handed_out_when_all_turned_at_once_is_valid() {
        let rotation = Rotation::every(SignedDuration::from_hours(720));
        for (n, name) in (0..50).map(|n| (n, format!("team-{n}"))) {
            let now = at(600 * 720 * 3600 + n * 50_000);
            let handed_out = master().password(&name, now.as_second().div_euclid(720 * 3600));
            let Valid { current, previous: _, upcoming } = rotation.valid(&master(), &name, now);
            assert!([current, upcoming].contains(&handed_out), "{name}");
        }
    }

    #[test]
    fn a_secret_comes_back_as_it_was_written_and_is_not_shown() {
        let master = Master::random(getrandom::fill).unwrap();
        assert_eq!(Master::read(master.write().as_bytes()), Ok(master.clone()));
        assert_ne!(master, Master::random(getrandom::fill).unwrap());
        assert_eq!(Master::read(b"07"), Err(MasterError));
        let shown = format!("{master:?} {:?}", Password::new("hunter2"));
        assert!(!shown.contains(&master.write()) && !shown.contains("hunter2"), "{shown}");
    }
}
