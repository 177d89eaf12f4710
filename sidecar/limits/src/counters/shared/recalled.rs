//! What a former process of this sidecar admitted in the last minute. The store has it in its windows; this sidecar's share while
//! the store is away is held against it too, so that a restart does not begin the share anew.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use vectoll_config::{Uid, store::is_backend_account};

use crate::{
    counters::Account,
    store::protocol::{Counted, Rate},
};
use vectoll_ledger::{journal::Settled, used::OTHER};

/// So many admissions that are not alike are told apart by their users. Of those beyond the user is forgotten: there may be hundreds
/// of thousands of them in a journal, with a user each.
const MAX_BY_USER: usize = 16_384;

/// Admissions that are alike: by whom, for what, and in which second.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Admission {
    pub(super) second: i64,
    key: Uid,
    key_name: Arc<str>,
    /// None: it may have been any of them.
    user: Option<Arc<str>>,
    model: Arc<str>,
}

/// The admissions of one Team, requests and tokens of each.
#[derive(Debug, Default)]
pub(crate) struct Admissions(pub(super) HashMap<Admission, [u64; 2]>);

/// The admissions of all Teams, and those of each backend.
#[derive(Debug, Default)]
pub(crate) struct FormerAdmissions {
    teams: HashMap<Uid, Admissions>,
    /// By `namespace/route/backend`. A call counts as the requests that it was sent in.
    backends: HashMap<Arc<str>, Admissions>,
    /// Each name once: every record has its own copies.
    names: HashSet<Arc<str>>,
    uids: HashSet<Uid>,
    by_user: usize,
}

impl FormerAdmissions {
    /// Adds a call of a former process.
    pub(crate) fn add(&mut self, settled: &Settled) {
        let Settled { number: _, intent, settlement } = settled;
        let mut admission = Admission {
            second: intent.admitted_at.as_second(),
            key: self.uid(&intent.key.uid),
            key_name: self.name(&intent.key.name),
            user: Some(intent.user.clone()),
            model: self.name(&intent.model),
        };
        let (team, backend) = (self.uid(&intent.team.uid), self.name(&intent.backend));
        let of_anyone = Admission { user: None, ..admission.clone() };
        self.backends.entry(backend).or_default().count(of_anyone, [intent.requests, settlement.tokens]);
        let is_known = self.teams.get(&team).is_some_and(|Admissions(all)| all.contains_key(&admission));
        if !is_known {
            if self.by_user < MAX_BY_USER {
                self.by_user += 1;
                admission.user = Some(once(&mut self.names, &intent.user));
            } else {
                admission.user = None;
            }
        }
        self.teams.entry(team).or_default().count(admission, [1, settlement.tokens]);
    }

    /// Those that count in a session: of a Team, or of a backend.
    pub(super) fn take(&mut self, session: &Uid) -> Option<Admissions> {
        if is_backend_account(session) {
            // `namespace/route/backend` has no colon, and what stands before it ends in one.
            self.backends.remove(session.as_str().rsplit(':').next()?)
        } else {
            self.teams.remove(session)
        }
    }

    fn name(&mut self, name: &Arc<str>) -> Arc<str> {
        once(&mut self.names, name)
    }

    fn uid(&mut self, uid: &Uid) -> Uid {
        once(&mut self.uids, uid)
    }
}

/// The first of all that are equal.
fn once<T: Clone + Eq + std::hash::Hash>(known: &mut HashSet<T>, one: &T) -> T {
    if let Some(first) = known.get(one) {
        return first.clone();
    }
    known.insert(one.clone());
    one.clone()
}

impl Admissions {
    fn count(&mut self, admission: Admission, of_call: [u64; 2]) {
        let amounts = self.0.entry(admission).or_default();
        for (amount, of_call) in amounts.iter_mut().zip(of_call) {
            *amount = amount.saturating_add(of_call);
        }
    }

    /// Seconds of the machine's clock and amounts that count for an account, oldest first.
    pub(super) fn of(&self, account: &Account, rate: Rate) -> Vec<(i64, u64)> {
        let amount = |[requests, tokens]: &[u64; 2]| match rate.of {
            Counted::Requests => *requests,
            Counted::Tokens => *tokens,
        };
        let counted = self.0.iter().filter(|(admission, _)| admission.counts_for(account));
        let mut all: Vec<_> = counted.map(|(admission, amounts)| (admission.second, amount(amounts))).collect();
        all.sort_unstable();
        all
    }
}

impl Admission {
    fn counts_for(&self, account: &Account) -> bool {
        // Which users shared one name nobody knows any more: it may have been any of them.
        let is_user = |user: &str| user == OTHER || self.user.as_deref().is_none_or(|own| user == own);
        match account {
            Account::Key(key) => *key == self.key,
            // A session of its own has what was admitted for it.
            // Those with a tag too, as far as anybody knows any more.
            Account::Team(_) | Account::Backend(_) | Account::TeamTag(..) => true,
            Account::KeyUser(key, user) => *key == self.key && is_user(user),
            Account::TeamUser(_, user) => is_user(user),
            Account::TeamNamespace(_, namespace) => {
                self.key_name.split_once('/').is_some_and(|(of, _)| *of == **namespace)
            }
            Account::KeyModel(key, model) => *key == self.key && model.covers(&self.model),
            Account::TeamModel(_, model) => model.covers(&self.model),
            // Which of them were queries nobody knows any more.
            Account::Documents(of) => self.counts_for(of),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::time::Duration;

    use jiff::Timestamp;
    use vectoll_config::{
        ModelPattern, PicoUsd,
        store::backend_account,
        v1::{Limits, OnStoreFailure},
    };

    use super::*;
    use crate::{
        counters::{
            ReserveRequest, Scope,
            shared::{Batch, TERMS, admit::Reserved, session::Session},
        },
        store::{
            Model, Server,
            protocol::{Identity, Per},
        },
    };
    use vectoll_clock::Now;
    use vectoll_ledger::{
        books::Certainty,
        journal::{Intent, Named, Settlement},
    };

    const WALL: i64 = 1_790_000_000_000;

    fn at(ms: u64) -> Now {
        let wall = Timestamp::from_millisecond(WALL + i64::try_from(ms).unwrap()).unwrap();
        Now { elapsed: Duration::from_millis(ms), wall }
    }

    /// A call that was admitted so many seconds before the process began.
    fn settled(seconds_ago: i64, user: &str, tokens: u64) -> Settled {
        let intent = Intent {
            team: Named { uid: Uid::new("team"), name: "default/search".into() },
            key: Named { uid: Uid::new("key"), name: "guests/alice".into() },
            user: user.into(),
            model: "small".into(),
            provider: "openai".into(),
            backend: "default/openai/test".into(),
            requests: 1,
            tags: Vec::new(),
            foreign_route: false,
            admitted_at: Timestamp::from_millisecond(WALL - seconds_ago * 1000).unwrap(),
            tokens,
            money: PicoUsd::ZERO,
            priced: false,
            charges: Vec::new(),
        };
        let settlement =
            Settlement { intent: 1, tokens, money: PicoUsd::ZERO, certainty: Certainty::Known, overrun: 0 };
        Settled { number: 2, intent: Arc::new(intent), settlement }
    }

    /// A session of a process that begins now, whose store answers once and is away then. `ahead`: the store's clock.
    fn restarted(account: &Account, limit: u64, ahead: u64) -> (Session, Limits) {
        let mut session = Session::new(TERMS);
        let mut former = FormerAdmissions::default();
        for (seconds_ago, user, tokens) in [(70, "ada", 500), (30, "ada", 40), (10, "ada", 20), (10, "bob", 9)] {
            former.add(&settled(seconds_ago, user, tokens));
        }
        let of = if let Account::Backend(backend) = account { backend.clone() } else { Uid::new("team") };
        session.recall(former.take(&of).unwrap());
        let limits = Limits { tokens_per_minute: Some(limit), ..Limits::default() };
        let (mut store, identity) = (Model::default(), Identity { sidecar: "a".into(), epoch: 2 });
        let Reserved::Later(mut first) = reserve(&mut session, account, limits, 1, at(0)) else {
            panic!("the store was not asked")
        };
        let exchange = session.exchange(Batch::default(), 0, at(0));
        let clock = u64::try_from(WALL).unwrap() + ahead;
        let server = Server { run: "one".into(), uptime: 100, clock };
        session.reply(&identity, &store.exchange(&server, &identity, &exchange), at(1));
        let reservation = first.try_recv().unwrap().unwrap();
        session.give_back(reservation);
        session.exchange(Batch::default(), 0, at(3));
        session.lost(at(4));
        (session, limits)
    }

    fn reserve(session: &mut Session, account: &Account, limits: Limits, tokens: u64, now: Now) -> Reserved {
        let team = Uid::new("team");
        let scopes = [Scope::new(account.clone(), limits, &[])];
        let (requests, money, on_store_failure) = (1, PicoUsd::ZERO, OnStoreFailure::Local);
        session
            .reserve(&ReserveRequest { team: &team, scopes: &scopes, requests, tokens, money, on_store_failure }, now)
    }

    #[test]
    fn a_share_is_held_against_what_a_former_process_admitted_in_the_last_minute() {
        let (team, key) = (Uid::new("team"), Uid::new("key"));
        let small = ModelPattern::try_from("sm*".to_owned()).unwrap();
        let other = ModelPattern::try_from("large".to_owned()).unwrap();
        for (account, used) in [
            (Account::Team(team.clone()), 69),
            (Account::Key(key.clone()), 69),
            (Account::Key(Uid::new("another")), 0),
            (Account::TeamUser(team.clone(), "ada".into()), 60),
            (Account::KeyUser(key.clone(), "bob".into()), 9),
            (Account::TeamUser(team.clone(), OTHER.into()), 69),
            (Account::TeamNamespace(team.clone(), "guests".into()), 69),
            (Account::TeamNamespace(team.clone(), "default".into()), 0),
            (Account::KeyModel(key, small), 69),
            (Account::TeamModel(team, other), 0),
            (Account::Backend(backend_account(Some("scope"), "default/openai/test")), 69),
        ] {
            // The store's clock is its own.
            for ahead in [0, 3_600_000] {
                let (mut session, limits) = restarted(&account, 100, ahead);
                // After every lease is over.
                let fits = |session: &mut Session, tokens, ms| {
                    matches!(reserve(session, &account, limits, tokens, at(ms)), Reserved::Now(Ok(_)))
                };
                assert!(!fits(&mut session, 100 - used + 1, 5_000), "{account:?} {ahead}: more than is left");
                assert!(fits(&mut session, 100 - used, 5_000), "{account:?} {ahead}: what is left");
            }
        }
    }

    #[test]
    fn a_call_that_was_split_counts_at_its_backend_as_what_it_was_sent_in() {
        let mut former = FormerAdmissions::default();
        for requests in [1, 5] {
            let one = settled(10, "ada", 9);
            let intent = Intent { requests, ..(*one.intent).clone() };
            former.add(&Settled { intent: Arc::new(intent), ..one });
        }
        let backend = backend_account(Some("scope"), "default/openai/test");
        for (session, account, requests) in
            [(backend.clone(), Account::Backend(backend), 6), (Uid::new("team"), Account::Team(Uid::new("team")), 2)]
        {
            let admissions = former.take(&session).unwrap();
            let sum = |rate| admissions.of(&account, rate).iter().map(|(_, amount)| amount).sum::<u64>();
            assert_eq!(
                (sum(Rate::requests(Per::Minute)), sum(Rate::tokens(Per::Minute))),
                (requests, 18),
                "{account:?}"
            );
        }
    }

    #[test]
    fn more_users_than_are_told_apart_count_for_everyone_and_what_is_kept_is_bounded() {
        let (known, beyond) = (u64::try_from(MAX_BY_USER).unwrap(), 5_000);
        let mut former = FormerAdmissions::default();
        for user in 0..known + beyond {
            former.add(&settled(10, &format!("user-{user}"), 3));
        }
        assert!(former.names.len() <= MAX_BY_USER + 3 && former.uids.len() == 2);
        let team = former.take(&Uid::new("team")).unwrap();
        assert_eq!(team.0.len(), MAX_BY_USER + 1);
        let tokens =
            |account| team.of(&account, Rate::tokens(Per::Minute)).iter().map(|(_, amount)| amount).sum::<u64>();
        assert_eq!(tokens(Account::Team(Uid::new("team"))), 3 * (known + beyond));
        assert_eq!(tokens(Account::TeamUser(Uid::new("team"), "user-7".into())), 3 + 3 * beyond);
    }

    #[test]
    fn what_was_recalled_leaves_the_window_as_it_would_have() {
        let account = Account::Team(Uid::new("team"));
        let (mut session, limits) = restarted(&account, 100, 0);
        let mut fits = |tokens, ms| {
            let reserved = reserve(&mut session, &account, limits, tokens, at(ms));
            let Reserved::Now(Ok(reservation)) = reserved else { return false };
            session.give_back(reservation);
            true
        };
        assert!(!fits(32, 29_000), "69 are used");
        assert!(fits(71, 33_000) && !fits(72, 33_000), "the 40 of 30 s before have left");
        assert!(fits(100, 53_000));
    }
}
