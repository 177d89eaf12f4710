//! One look at all hashes of one server: each is judged by its name and time to live, then by its fields, then by whose it is.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use redis::{FromRedisValue, Pipeline, RedisResult, Value, aio::MultiplexedConnection, cmd};
use vectoll_config::{
    Uid,
    store::{Function, Library, team_prefix},
};

use super::{
    super::sweep::{
        BalanceOwner, Census, DAY_MS, Family, Kind, Owner, Reason, Registry, is_recent, removal_reason, split,
    },
    pieces::{PAUSE_BETWEEN_PIECES, PIECE},
    suspects::Suspects,
    swept::Swept,
};

/// A hash of so many bytes or more is looked into on its own, some fields at a time.
const LARGE: i64 = 64 * 1024;
/// Fields of a large hash that one command looks at: their values may be large as well.
const LARGE_PIECE: usize = 50;
/// What one call to a function is told at most: fields, and bytes.
const REPORT_FIELDS: usize = 500;
const REPORT_BYTES: usize = 2 * 1024 * 1024;
/// Names of a ledger that one round folds.
const FOLDED: usize = 10_000;
/// Sidecars of one balance that are asked for.
const HOLDERS: usize = 1_000;

/// A field of a hash and its value, whatever they are.
type Field = (Vec<u8>, Vec<u8>);

/// What is known of accounts.
pub(super) struct Accounts<'a> {
    pub(super) census: &'a Census,
    /// What this operator has noted.
    pub(super) known: &'a Registry,
    /// All accounts that any operator has noted.
    pub(super) noted: BTreeSet<String>,
    /// Those that are gone for so long that what is left of them may go.
    pub(super) expired: &'a BTreeSet<String>,
    pub(super) now_ms: u64,
}

impl Accounts<'_> {
    fn has_team(&self, team: &str) -> bool {
        self.census.teams.contains_key(team) || self.known.0.contains_key(team)
    }

    /// Whether a key exists, existed lately, or may exist where nothing could be listed.
    fn may_have_key(&self, key: &str) -> bool {
        self.census.keys.contains_key(key) || self.noted.contains(key) || !self.census.covers(None)
    }
}

/// One server, once.
pub(super) struct Round<'a> {
    master: &'a mut MultiplexedConnection,
    accounts: &'a Accounts<'a>,
    suspects: &'a mut Suspects,
    swept: &'a mut Swept,
    /// Accounts that are gone for this operator, and by which somebody has counted since.
    used: &'a mut BTreeSet<String>,
    /// Whether somebody has counted by a Team or backend lately.
    counts: BTreeMap<String, bool>,
}

/// A hash, and whose it is.
#[derive(Clone, Copy)]
struct Hash<'a> {
    key: &'a [u8],
    tag: &'a str,
    owner: Owner<'a>,
    kind: Kind<'a>,
}

/// What the fields of a hash say.
#[derive(Default)]
struct Facts {
    /// The day of the last use of a balance.
    day: Option<u64>,
    /// Sidecars that hold money in it.
    holders: Vec<String>,
    /// How many a ledger tells apart.
    names: BTreeMap<Family, u64>,
    /// Fields that no function has written, or that are of use to nobody any more.
    foreign: Vec<Field>,
}

impl Facts {
    fn note(&mut self, hash: Hash<'_>, (field, value): Field, now_ms: u64) {
        let texts = std::str::from_utf8(&field).ok().zip(std::str::from_utf8(&value).ok());
        let is_of_use = |(field, value): &(&str, &str)| {
            hash.kind.has_field(hash.owner, field, value) && !hash.kind.is_outdated(hash.owner, value, now_ms)
        };
        match texts.filter(is_of_use) {
            None => self.foreign.push((field, value)),
            Some((field, value)) => match hash.kind {
                Kind::Money(_) => {
                    if field == "d" {
                        self.day = value.parse().ok();
                    } else if let Some(sidecar) = field.strip_prefix("h:")
                        && self.holders.len() < HOLDERS
                    {
                        self.holders.push(sidecar.to_owned());
                    }
                }
                Kind::Total | Kind::Month(_) => {
                    if let Some((family, _)) = Family::of(field) {
                        *self.names.entry(family).or_default() += 1;
                    }
                }
                Kind::Meta
                | Kind::Live
                | Kind::Mark
                | Kind::Held
                | Kind::Periods
                | Kind::Window(_)
                | Kind::Parallel
                | Kind::Allocations(_) => {}
            },
        }
    }
}

impl<'a> Round<'a> {
    pub(super) fn new(
        master: &'a mut MultiplexedConnection,
        accounts: &'a Accounts<'a>,
        suspects: &'a mut Suspects,
        swept: &'a mut Swept,
        used: &'a mut BTreeSet<String>,
    ) -> Self {
        Self { master, accounts, suspects, swept, used, counts: BTreeMap::new() }
    }

    pub(super) async fn run(&mut self) -> RedisResult<()> {
        let mut cursor = 0_u64;
        loop {
            let (next, keys): (u64, Vec<Vec<u8>>) = cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg("vectoll:{*")
                .arg("COUNT")
                .arg(PIECE)
                .query_async(self.master)
                .await?;
            if !keys.is_empty() {
                self.piece(keys).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
            tokio::time::sleep(PAUSE_BETWEEN_PIECES).await;
        }
    }

    async fn piece(&mut self, keys: Vec<Vec<u8>>) -> RedisResult<()> {
        let mut pipeline = Pipeline::new();
        for key in &keys {
            pipeline.cmd("PTTL").arg(key).cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(20);
        }
        let facts: Vec<Option<i64>> = pipeline.query_async(self.master).await?;
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for (key, facts) in keys.into_iter().zip(facts.chunks(2)) {
            let (lives, bytes) = match facts {
                // -2: it is gone meanwhile.
                [Some(-2), _] | [_, None] => continue,
                [lives, Some(bytes)] => (lives.and_then(|lives| u64::try_from(lives).ok()), *bytes),
                _ => continue,
            };
            // What is no text was not written by a function; whose it is stands in front all the same.
            let text = String::from_utf8_lossy(&key).into_owned();
            let Some((tag, rest)) = split(&text) else { continue };
            let owner = Owner::of(&self.accounts.census.scope, tag);
            match self.verdict_on_key(tag, owner, rest, lives).await? {
                None => {}
                Some(Err(reason)) => self.remove(&key, reason).await?,
                Some(Ok(())) if bytes >= LARGE => large.push((key, text)),
                Some(Ok(())) => small.push((key, text)),
            }
        }
        self.look_into_small(&small).await?;
        for (key, text) in &large {
            if let Some(hash) = self.hash(key, text) {
                self.look_into(hash, Some(0), Facts::default(), LARGE_PIECE).await?;
            }
        }
        Ok(())
    }

    /// What becomes of a key by its name and time to live: none: it is not this operator's to judge; an error: it goes; else its fields
    /// are to be looked at.
    async fn verdict_on_key(
        &mut self,
        tag: &str,
        owner: Owner<'_>,
        rest: &str,
        lives_ms: Option<u64>,
    ) -> RedisResult<Option<Result<(), Reason>>> {
        let Accounts { census, expired, now_ms, .. } = *self.accounts;
        let is_gone = match owner {
            Owner::Namespace(namespace) => {
                if !census.covers(Some(namespace)) {
                    return Ok(None);
                }
                match rest {
                    "live" if lives_ms.is_some_and(|lives| lives <= DAY_MS) => return Ok(Some(Ok(()))),
                    "live" if !census.namespaces.contains(namespace) => return Ok(Some(Err(Reason::Gone))),
                    _ => return Ok(Some(Err(Reason::Foreign))),
                }
            }
            Owner::Backend(backend) => !census.may_have_backend(backend) && !self.counts_lately(tag).await?,
            Owner::Team(_) if expired.contains(tag) => {
                let counts = self.counts_lately(tag).await?;
                if counts {
                    self.used.insert(tag.to_owned());
                }
                !counts
            }
            Owner::Team(_) if !self.accounts.has_team(tag) => return Ok(None),
            Owner::Team(_) => false,
        };
        if is_gone {
            return Ok(Some(Err(Reason::Gone)));
        }
        Ok(Some(removal_reason(owner, rest, lives_ms, now_ms, census.retention_ms).map_or(Ok(()), Err)))
    }

    /// Whether somebody has counted by a Team or backend lately, whoever knows of it.
    async fn counts_lately(&mut self, tag: &str) -> RedisResult<bool> {
        if let Some(counts) = self.counts.get(tag) {
            return Ok(*counts);
        }
        let meta = format!("{}meta", team_prefix(&Uid::new(tag)));
        let seen: Option<Vec<u8>> = cmd("HGET").arg(meta).arg("seen").query_async(self.master).await?;
        let seen = seen.and_then(|seen| std::str::from_utf8(&seen).ok()?.parse::<u64>().ok());
        let counts = seen.is_some_and(|seen| is_recent(seen, self.accounts.now_ms));
        self.counts.insert(tag.to_owned(), counts);
        Ok(counts)
    }

    fn hash<'t>(&self, key: &'t [u8], text: &'t str) -> Option<Hash<'t>> {
        let (tag, rest) = split(text)?;
        let owner = Owner::of(&self.accounts.census.scope, tag);
        Some(Hash { key, tag, owner, kind: Kind::of(owner, rest)? })
    }

    async fn look_into_small(&mut self, small: &[(Vec<u8>, String)]) -> RedisResult<()> {
        let mut pipeline = Pipeline::new();
        for (key, _) in small {
            pipeline.cmd("HSCAN").arg(key).arg(0).arg("COUNT").arg(PIECE);
        }
        if small.is_empty() {
            return Ok(());
        }
        let pages: Vec<RedisResult<Value>> = pipeline.ignore_errors().query_async(self.master).await?;
        for ((key, text), page) in small.iter().zip(pages) {
            let Some(hash) = self.hash(key, text) else { continue };
            match page {
                // Functions write hashes.
                Err(error) if error.code() == Some("WRONGTYPE") => self.remove(key, Reason::Foreign).await?,
                Err(error) => return Err(error),
                Ok(page) => {
                    let (next, fields): (u64, Vec<Field>) = FromRedisValue::from_redis_value(page)?;
                    let mut facts = Facts::default();
                    for field in fields {
                        facts.note(hash, field, self.accounts.now_ms);
                    }
                    self.look_into(hash, (next != 0).then_some(next), facts, PIECE).await?;
                }
            }
        }
        Ok(())
    }

    /// Looks at the fields of a hash from a cursor on, if there are more, then at what all of them say.
    async fn look_into(
        &mut self,
        hash: Hash<'_>,
        mut from: Option<u64>,
        mut facts: Facts,
        piece: usize,
    ) -> RedisResult<()> {
        while let Some(cursor) = from {
            self.drop_foreign(hash, &mut facts).await?;
            let page: RedisResult<(u64, Vec<Field>)> =
                cmd("HSCAN").arg(hash.key).arg(cursor).arg("COUNT").arg(piece).query_async(self.master).await;
            let (next, fields) = match page {
                Err(error) if error.code() == Some("WRONGTYPE") => return self.remove(hash.key, Reason::Foreign).await,
                page => page?,
            };
            for field in fields {
                facts.note(hash, field, self.accounts.now_ms);
            }
            from = (next != 0).then_some(next);
            tokio::time::sleep(PAUSE_BETWEEN_PIECES).await;
        }
        self.drop_foreign(hash, &mut facts).await?;
        match hash.kind {
            Kind::Money(money) => match self.verdict_on_balance(hash, money, &facts).await? {
                Some(reason) => self.remove(hash.key, reason).await,
                None => Ok(()),
            },
            Kind::Total | Kind::Month(_) => self.fold(hash, &facts).await,
            Kind::Meta
            | Kind::Live
            | Kind::Mark
            | Kind::Held
            | Kind::Periods
            | Kind::Window(_)
            | Kind::Parallel
            | Kind::Allocations(_) => Ok(()),
        }
    }

    /// Removes what no function has written, unless one has written there since.
    async fn drop_foreign(&mut self, hash: Hash<'_>, facts: &mut Facts) -> RedisResult<()> {
        let (mut fields, mut bytes) = (Vec::new(), 0);
        let mut foreign = std::mem::take(&mut facts.foreign).into_iter().peekable();
        while let Some((field, value)) = foreign.next() {
            bytes += field.len() + value.len();
            fields.extend([field, value]);
            if foreign.peek().is_none() || bytes >= REPORT_BYTES || fields.len() >= 2 * REPORT_FIELDS {
                let drop = Library::current().function(Function::Drop);
                let call = cmd("FCALL").arg(drop).arg(1).arg(hash.key).arg(std::mem::take(&mut fields)).to_owned();
                let dropped: usize = call.query_async(self.master).await?;
                self.swept.add(Reason::Foreign, dropped);
                bytes = 0;
            }
        }
        Ok(())
    }

    /// What becomes of a balance, by whose it is and when it was used.
    async fn verdict_on_balance(&mut self, hash: Hash<'_>, money: &str, facts: &Facts) -> RedisResult<Option<Reason>> {
        let Accounts { census, expired, now_ms, .. } = *self.accounts;
        let is_used = facts.day.is_some_and(|day| is_recent(day.saturating_mul(DAY_MS), now_ms));
        let is_known = match BalanceOwner::of(money) {
            Some(BalanceOwner::Team | BalanceOwner::Backend) => true,
            Some(BalanceOwner::Key(key)) if expired.contains(key) => {
                if is_used {
                    self.used.insert(key.to_owned());
                }
                return Ok((!is_used).then_some(Reason::Gone));
            }
            Some(BalanceOwner::Key(key)) => self.accounts.may_have_key(key),
            Some(BalanceOwner::User(user)) => self.has_user(hash.tag, user).await?,
            // Who deletes its keys for a day has spent its part all the same.
            Some(BalanceOwner::Namespace(namespace)) => {
                is_used || census.namespaces.contains(namespace) || !census.covers(Some(namespace))
            }
            Some(BalanceOwner::Other) => is_used,
            None => false,
        };
        if is_known || !self.suspects.is_certain(hash.key, census.counted_ms, now_ms) {
            return Ok(None);
        }
        // A sidecar that the store knows may still settle what it holds there.
        let is_held = self.is_any_known(hash.tag, &facts.holders).await?;
        Ok((!is_held).then_some(Reason::Foreign))
    }

    /// Whether a ledger knows a user. Where more came than it tells apart, it knows all of them.
    async fn has_user(&mut self, tag: &str, user: &str) -> RedisResult<bool> {
        let total = format!("{}total", team_prefix(&Uid::new(tag)));
        let fields = [format!("u:{user}:r"), "u:_other:r".to_owned()];
        let found: Vec<Option<Vec<u8>>> = cmd("HMGET").arg(total).arg(&fields).query_async(self.master).await?;
        Ok(user == "_other" || found.iter().any(Option::is_some))
    }

    async fn is_any_known(&mut self, tag: &str, sidecars: &[String]) -> RedisResult<bool> {
        let mut pipeline = Pipeline::new();
        for sidecar in sidecars {
            pipeline.cmd("HGET").arg(format!("{}mark:{sidecar}", team_prefix(&Uid::new(tag)))).arg("epoch");
        }
        if sidecars.is_empty() {
            return Ok(false);
        }
        let epochs: Vec<Option<Vec<u8>>> = pipeline.query_async(self.master).await?;
        Ok(epochs.iter().any(Option::is_some))
    }

    /// Has a ledger tell no more apart than it may. Those with the fewest calls share one entry from then on: nothing of them is lost.
    async fn fold(&mut self, hash: Hash<'_>, facts: &Facts) -> RedisResult<()> {
        for (family, count) in &facts.names {
            let most = self.accounts.census.most_of(hash.tag, *family);
            // A hash that grows may tell of a field twice.
            if *count <= most + most / 100 {
                continue;
            }
            let surplus = usize::try_from(count - most).unwrap_or(usize::MAX).min(FOLDED);
            let names = self.least(hash, *family, surplus).await?;
            let left = (count - names.len() as u64).to_string();
            for names in names.chunks(REPORT_FIELDS) {
                let meta = format!("{}meta", team_prefix(&Uid::new(hash.tag)));
                // A month has no counts of its own.
                let left = if hash.kind == Kind::Total { left.as_str() } else { "" };
                let mut call = cmd("FCALL");
                call.arg(Library::current().function(Function::Fold)).arg(2).arg(hash.key).arg(meta);
                call.arg(family.letter()).arg(left).arg(names);
                let folded: usize = call.query_async(self.master).await?;
                self.swept.add(Reason::Foreign, folded);
            }
        }
        Ok(())
    }

    /// So many of those with the fewest calls. Keys that exist are not among them.
    async fn least(&mut self, hash: Hash<'_>, family: Family, most: usize) -> RedisResult<Vec<String>> {
        let (mut least, mut cursor) = (BinaryHeap::<(u64, String)>::new(), 0_u64);
        loop {
            let (next, fields): (u64, Vec<Field>) =
                cmd("HSCAN").arg(hash.key).arg(cursor).arg("COUNT").arg(PIECE).query_async(self.master).await?;
            for (field, value) in &fields {
                let texts = std::str::from_utf8(field).ok().zip(std::str::from_utf8(value).ok());
                let Some((field, value)) = texts else { continue };
                let Some((_, name)) = Family::of(field).filter(|(of, _)| *of == family) else { continue };
                if family == Family::Keys && self.accounts.may_have_key(name.trim_start_matches("k:")) {
                    continue;
                }
                least.push((value.parse().unwrap_or_default(), name.to_owned()));
                if least.len() > most {
                    least.pop();
                }
            }
            if next == 0 {
                return Ok(least.into_iter().map(|(_, name)| name).collect());
            }
            cursor = next;
            tokio::time::sleep(PAUSE_BETWEEN_PIECES).await;
        }
    }

    async fn remove(&mut self, key: &[u8], reason: Reason) -> RedisResult<()> {
        cmd("UNLINK").arg(key).query_async::<()>(self.master).await?;
        self.swept.add(reason, 1);
        Ok(())
    }
}
