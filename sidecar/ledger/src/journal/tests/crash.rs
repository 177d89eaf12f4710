//! Processes that are killed at any moment, and files that are cut or damaged anywhere: what is taken up again is what a
//! model says, which knows nothing of how the journal reads its records.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use vectoll_config::{PicoUsd, Uid, v1::Period};

use super::{folder, intent};
use crate::{
    balance::{Balances, SavedBalance},
    books::{Books, Certainty, Ledger},
    charge::{BudgetAccount, BudgetPeriod},
    checkpoint::CheckpointWriter,
    journal::{
        Intent, JournalMetrics, Kind, Named, OpenIntent, Options, Record, Retention,
        frame::{scan, tests::places},
    },
    used::Used,
};

/// The money of budgets, counted as simply as can be.
#[derive(Debug, Default)]
struct Sums(Mutex<Vec<SavedBalance>>);

impl Sums {
    fn add(&self, charge: &Arc<BudgetPeriod>, money: PicoUsd) {
        let mut all = self.0.lock().unwrap();
        match all.iter_mut().find(|one| one.charge == *charge) {
            Some(one) => one.booked = one.booked.plus(money),
            None => all.push(SavedBalance { charge: charge.clone(), booked: money }),
        }
    }

    /// In pico-USD.
    fn taken(&self, team: &str) -> u64 {
        let all = self.0.lock().unwrap();
        all.iter().filter(|one| *one.charge == *budget_of(team)).map(|one| one.booked.pico()).sum()
    }
}

impl Balances for Sums {
    fn remember(&self) -> Vec<SavedBalance> {
        self.0.lock().unwrap().clone()
    }

    fn recall(&self, remembered: Vec<SavedBalance>) {
        for SavedBalance { charge, booked } in remembered {
            self.add(&charge, booked);
        }
    }

    fn replay(&self, charges: &[Arc<BudgetPeriod>], _admitted: Timestamp, money: PicoUsd) {
        for charge in charges {
            self.add(charge, money);
        }
    }
}

fn budget_of(team: &str) -> Arc<BudgetPeriod> {
    Arc::new(BudgetPeriod {
        account: BudgetAccount::Team(Uid::new(team)),
        period: Period::Monthly,
        zone: "UTC".to_owned().try_into().unwrap(),
        start: "2026-11-01T00:00:00Z".parse().unwrap(),
    })
}

/// How a call ended, by the number of the record that says so.
#[derive(Clone, Copy, Debug)]
enum End {
    Settled { at: u64, tokens: u64, certainty: Certainty },
    Void { at: u64 },
}

/// A call as the model knows it. Money is a token's worth of 20,000 pico-USD.
#[derive(Clone, Debug)]
struct Call {
    intent: Arc<Intent>,
    /// Bounds with the number of the record that sets them.
    bounds: Vec<(u64, u64)>,
    end: Option<End>,
}

/// A sidecar's state folder, what runs on it, and what should come out.
struct Stage {
    folder: TempDir,
    retention: Retention,
    keeper: CheckpointWriter<Sums>,
    under_way: Vec<OpenIntent>,
    calls: BTreeMap<u64, Call>,
    /// The number of the last checkpoint.
    covered: u64,
}

/// With a store that never acknowledges no segment goes. Without one they go with every checkpoint.
const STORE: Retention = Retention::Acknowledged { keep: Duration::ZERO };

fn resume(folder: &Path, retention: Retention) -> (CheckpointWriter<Sums>, JournalMetrics) {
    let metrics = JournalMetrics::new().unwrap();
    // One or two of some open intents are carried over with each record: most states between two segments are seen.
    let options = Options { segment_bytes: SEGMENT, carried_at_once: 2, ..Options::new(1 << 30, retention) };
    (CheckpointWriter::resume(folder, options, metrics.clone()).unwrap(), metrics)
}

fn worth(tokens: u64) -> Used {
    Used { tokens, money: PicoUsd::new(tokens * 20_000) }
}

const SEGMENT: u64 = 800;

impl Stage {
    fn new(retention: Retention) -> Self {
        let folder = folder();
        let (keeper, _) = resume(folder.path(), retention);
        Self { folder, retention, keeper, under_way: Vec::new(), calls: BTreeMap::new(), covered: 0 }
    }

    fn last(&self) -> u64 {
        self.keeper.journal().last()
    }

    fn begin(&mut self, team: &str, tokens: u64) {
        // Names and periods that a record has twice, and that a team shares with its key.
        let charges = vec![budget_of(team), budget_of("both")];
        let like = intent(team, tokens);
        let key = Named { name: like.team.name.clone(), ..like.key.clone() };
        let tags = vec![like.user.clone(), like.user.clone()];
        let opened = self.keeper.journal().intend(Intent { key, tags, charges, ..like }).unwrap();
        let (number, intent) = (opened.number(), opened.intent().clone());
        self.calls.insert(number, Call { intent, bounds: vec![(number, tokens)], end: None });
        self.under_way.push(opened);
    }

    fn settle(&mut self, which: usize, tokens: u64) {
        let opened = self.under_way.swap_remove(which % self.under_way.len());
        let number = opened.number();
        let (balances, ledger) = (self.keeper.balances(), self.keeper.ledger());
        self.keeper.journal().settle(opened, worth(tokens), Certainty::Known, 0, |settled| {
            balances.replay(&settled.intent.charges, settled.intent.admitted_at, worth(tokens).money);
            ledger.book(settled.intent.booking(), worth(tokens), true, 0, Certainty::Known);
        });
        let last = self.last();
        self.calls.get_mut(&number).unwrap().end = Some(End::Settled { at: last, tokens, certainty: Certainty::Known });
    }

    fn void(&mut self, which: usize) {
        let opened = self.under_way.swap_remove(which % self.under_way.len());
        let number = opened.number();
        self.keeper.journal().void(opened);
        let last = self.last();
        self.calls.get_mut(&number).unwrap().end = Some(End::Void { at: last });
    }

    fn refine(&mut self, which: usize, tokens: u64) {
        let opened = &self.under_way[which % self.under_way.len()];
        let number = opened.number();
        self.keeper.journal().refine(opened, tokens, worth(tokens).money);
        let last = self.last();
        self.calls.get_mut(&number).unwrap().bounds.push((last, tokens));
    }

    fn save(&mut self) {
        self.covered = self.last();
        self.keeper.save(Duration::from_secs(1)).unwrap();
    }

    /// The process ends without a word, and another one begins.
    fn kill(mut self) -> Self {
        let survives = |_: &Record| true;
        let expected = self.expected(&survives);
        drop(self.keeper);
        self.under_way.clear();
        let (keeper, _) = resume(self.folder.path(), self.retention);
        assert!(!self.folder.path().join("journal/next.new").exists(), "what was no segment yet is gone");
        check(&keeper, &expected);
        // What had no end has one now, by the records that the new process wrote.
        for segment in segments(self.folder.path()) {
            for (Record(number, kind), _) in places(&fs::read(segment).unwrap()) {
                let Kind::Settlement(settlement) = kind else { continue };
                let call = self.calls.get_mut(&settlement.intent).unwrap();
                if settlement.certainty == Certainty::Unsettled && call.end.is_none() {
                    let bound = call.bounds.iter().map(|(_, tokens)| *tokens).min().unwrap();
                    assert_eq!(settlement.tokens, bound);
                    call.end = Some(End::Settled { at: number, tokens: bound, certainty: Certainty::Unsettled });
                }
            }
        }
        Self { keeper, ..self }
    }

    /// What a start comes to that finds the checkpoint, and of the records those that `survives` lets through.
    fn expected(&self, survives: &dyn Fn(&Record) -> bool) -> Expected {
        let mut written = HashSet::new();
        // Copies of open intents, with the first numbers of their segments: they have what was known before that.
        let mut copies: HashMap<u64, Vec<u64>> = HashMap::new();
        for segment in segments(self.folder.path()) {
            let first = segment.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            for (record, _) in places(&fs::read(segment).unwrap()) {
                match (survives(&record), record) {
                    (true, Record(number, Kind::Carried(_))) => {
                        copies.entry(number).or_default().push(first);
                    }
                    (true, Record(number, _)) => {
                        written.insert(number);
                    }
                    (false, _) => {}
                }
            }
        }
        let knows = |number: u64| number <= self.covered || written.contains(&number);
        let ledger = Ledger::default();
        let mut money = BTreeMap::new();
        for (&number, Call { intent, bounds, end }) in &self.calls {
            // A call that ended after its copy was made, and before the copy was in a segment, had its end by then: the copy says nothing.
            let says_something = |first: &u64| match *end {
                Some(End::Settled { at, .. } | End::Void { at }) if knows(at) => *first <= at,
                Some(End::Settled { .. } | End::Void { .. }) | None => true,
            };
            let copies = copies.get(&number).map(Vec::as_slice).unwrap_or_default();
            let has_intent = knows(number) || copies.iter().any(says_something);
            let (tokens, certainty) = match *end {
                Some(End::Settled { at: end, tokens, certainty }) if end <= self.covered => (tokens, certainty),
                Some(End::Void { at }) if knows(at) => continue,
                _ if !has_intent => continue,
                Some(End::Settled { at, tokens, certainty }) if knows(at) => (tokens, certainty),
                Some(End::Settled { .. } | End::Void { .. }) | None => {
                    let segment = copies.iter().copied().max().unwrap_or(0);
                    let lowered = bounds.iter().filter(|(at, _)| *at == number || knows(*at) || *at < segment);
                    (lowered.map(|(_, tokens)| *tokens).min().unwrap(), Certainty::Unsettled)
                }
            };
            ledger.book(intent.booking(), worth(tokens), true, 0, certainty);
            for account in [intent.team.uid.to_string(), "both".to_owned()] {
                *money.entry(account).or_default() += tokens * 20_000;
            }
        }
        Expected { books: ledger.copy(), money }
    }
}

#[derive(Debug)]
struct Expected {
    books: Books,
    money: BTreeMap<String, u64>,
}

fn check(keeper: &CheckpointWriter<Sums>, expected: &Expected) {
    assert_eq!(keeper.ledger().copy(), expected.books);
    for team in TEAMS.into_iter().chain(["both"]) {
        let taken = keeper.balances().taken(team);
        assert_eq!(taken, expected.money.get(team).copied().unwrap_or_default(), "the budget of {team}");
    }
}

const TEAMS: [&str; 2] = ["a", "b"];

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(folder.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "vtj"));
    all.sort();
    all
}

/// A copy of a state folder in which one segment has another content.
fn copy_with(from: &Path, changed: &Path, content: &[u8]) -> TempDir {
    let copy = folder();
    fs::create_dir(copy.path().join("journal")).unwrap();
    for file in ["spend.v1.json", "spend.v1.json.previous", "identity", "epoch"] {
        if from.join(file).exists() {
            fs::copy(from.join(file), copy.path().join(file)).unwrap();
        }
    }
    for segment in segments(from) {
        let to = copy.path().join("journal").join(segment.file_name().unwrap());
        if segment == changed {
            fs::write(to, content).unwrap();
        } else {
            fs::copy(&segment, to).unwrap();
        }
    }
    copy
}

#[derive(Clone, Debug)]
enum Step {
    Begin { team: usize, tokens: u64 },
    Settle { which: usize, tokens: u64 },
    Void { which: usize },
    Refine { which: usize, tokens: u64 },
    Save,
    Kill,
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..TEAMS.len(), 1_u64..1_000).prop_map(|(team, tokens)| Step::Begin { team, tokens }),
        6 => (any::<usize>(), 0_u64..1_500).prop_map(|(which, tokens)| Step::Settle { which, tokens }),
        1 => any::<usize>().prop_map(|which| Step::Void { which }),
        2 => (any::<usize>(), 1_u64..1_000).prop_map(|(which, tokens)| Step::Refine { which, tokens }),
        1 => Just(Step::Save),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..most)
}

fn play(steps: Vec<Step>, retention: Retention) -> Stage {
    let mut stage = Stage::new(retention);
    for step in steps {
        let idle = stage.under_way.is_empty();
        match step {
            Step::Begin { team, tokens } => stage.begin(TEAMS[team], tokens),
            Step::Settle { which, tokens } if !idle => stage.settle(which, tokens),
            Step::Void { which } if !idle => stage.void(which),
            Step::Refine { which, tokens } if !idle => stage.refine(which, tokens),
            Step::Save => stage.save(),
            Step::Kill => stage = stage.kill(),
            Step::Settle { .. } | Step::Void { .. } | Step::Refine { .. } => {}
        }
    }
    stage
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Killed after any step and as often as one likes: the books, and the money of budgets, are those of the model.
    #[test]
    fn a_killed_process_loses_nothing_and_doubles_nothing(steps in steps(120), with_store in any::<bool>()) {
        play(steps, if with_store { STORE } else { Retention::Checkpoint }).kill().kill();
    }

    /// The last segment, cut anywhere: what was written before counts.
    #[test]
    fn a_cut_costs_what_comes_after_it(steps in steps(60), at in any::<prop::sample::Index>()) {
        let stage = play(steps, STORE);
        let segment = segments(stage.folder.path()).pop().unwrap();
        let bytes = fs::read(&segment).unwrap();
        cut(&stage, &segment, &bytes, at.index(bytes.len() + 1));
    }

    /// Any bit of any segment, flipped: told, and no record is lost but the one that it stands in. What the checkpoint covers
    /// is not lost at all.
    #[test]
    fn a_flipped_bit_costs_one_record_at_most(steps in steps(60), file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let stage = play(steps, STORE);
        let all = segments(stage.folder.path());
        let segment = &all[file.index(all.len())];
        let mut bytes = fs::read(segment).unwrap();
        if bytes.is_empty() {
            return Ok(());
        }
        let at = at.index(bytes.len());
        let hit = places(&bytes).into_iter().find(|(_, range)| range.contains(&at)).unwrap();
        bytes[at] ^= 1 << bit;
        // The same record may stand in another segment as well: only this one is hit.
        let others: Vec<Record> = all.iter().filter(|other| *other != segment)
            .flat_map(|other| places(&fs::read(other).unwrap())).map(|(record, _)| record).collect();
        let expected = stage.expected(&|record| *record != hit.0 || others.contains(record));
        let copy = copy_with(stage.folder.path(), segment, &bytes);
        let (keeper, metrics) = resume(copy.path(), STORE);
        check(&keeper, &expected);
        let is_last_of_file = hit.1.end == bytes.len();
        prop_assert!(metrics.damaged_so_far() > 0 || is_last_of_file);
        // Taken up once more: the damage is gone, and nothing is booked anew.
        drop(keeper);
        let (keeper, metrics) = resume(copy.path(), STORE);
        check(&keeper, &expected);
        prop_assert!(metrics.damaged_so_far() <= 1, "an orphan at most");
    }
}

/// Takes up a copy whose last segment ends at a byte.
fn cut(stage: &Stage, segment: &Path, bytes: &[u8], at: usize) {
    let lost: Vec<Record> =
        places(bytes).into_iter().filter(|(_, range)| range.end > at).map(|(record, _)| record).collect();
    let expected = stage.expected(&|record| !lost.contains(record));
    let copy = copy_with(stage.folder.path(), segment, &bytes[..at]);
    let (keeper, metrics) = resume(copy.path(), STORE);
    check(&keeper, &expected);
    assert_eq!(metrics.damaged_so_far(), 0, "cut at {at}");
    let left = fs::read(copy.path().join("journal").join(segment.file_name().unwrap())).unwrap();
    assert!(scan(&left).torn.is_none() && bytes.starts_with(&left), "the end is cut off");
}

#[test]
fn every_single_byte_may_be_the_last() {
    let mut stage = Stage::new(STORE);
    for tokens in 1..5 {
        stage.begin("a", tokens * 10);
    }
    stage.settle(3, 7);
    stage.save();
    // A segment that begins with what was carried over, and then has records of every kind.
    while segments(stage.folder.path()).len() < 3 {
        stage.begin("b", 100);
        stage.settle(3, 55);
    }
    stage.refine(1, 3);
    stage.void(2);
    stage.settle(0, 44);
    stage.begin("a", 9);
    let segment = segments(stage.folder.path()).pop().unwrap();
    let bytes = fs::read(&segment).unwrap();
    assert!(places(&bytes).len() > 8 && bytes.len() > 600, "{}", bytes.len());
    for at in 0..=bytes.len() {
        cut(&stage, &segment, &bytes, at);
    }
}

#[test]
fn a_state_file_from_before_the_journal_is_taken_up() {
    let folder = folder();
    let old = r#"{"books":{"keys":{},"teams":{"default/t":{"requests":1,"tokens":4,"pico_usd":80000}},"users":{},"models":{},
        "unsettled":{"requests":0,"tokens":0,"pico_usd":0},"estimated":{"requests":0,"tokens":0,"pico_usd":0},
        "unpricedTokens":{},"overrunTokens":0,"foldedCalls":0},
        "budgets":[{"account":{"team":"a"},"period":"Monthly","zone":"UTC","start":"2026-11-01T00:00:00Z","taken":80000}]}"#;
    fs::write(folder.path().join("spend.v1.json"), old).unwrap();
    let (keeper, _) = resume(folder.path(), STORE);
    assert_eq!(keeper.ledger().copy().teams["default/t"].tokens, 4);
    assert_eq!(keeper.balances().taken("a"), 80_000);
}

#[test]
fn a_state_folder_is_kept_by_one_and_a_damaged_checkpoint_is_named() {
    let folder = folder();
    let (keeper, _) = resume(folder.path(), STORE);
    let options = Options::new(1 << 30, Retention::Checkpoint);
    let second = CheckpointWriter::<Sums>::resume(folder.path(), options.clone(), JournalMetrics::new().unwrap());
    assert!(second.unwrap_err().to_string().contains("another sidecar"));
    drop(keeper);
    fs::write(folder.path().join("spend.v1.json"), "{").unwrap();
    fs::remove_dir_all(folder.path().join("journal")).unwrap();
    let damaged = CheckpointWriter::<Sums>::resume(folder.path(), options, JournalMetrics::new().unwrap());
    assert!(damaged.unwrap_err().to_string().contains("spend.v1.json is damaged"));
}

#[test]
fn half_a_checkpoint_costs_nothing_while_there_is_an_older_one_or_all_of_the_journal() {
    for (saves, retention) in [(1, STORE), (1, Retention::Checkpoint), (3, STORE), (3, Retention::Checkpoint)] {
        let mut stage = Stage::new(retention);
        for save in 0..saves {
            for call in 0..12 {
                stage.begin(TEAMS[call % 2], 100);
                stage.settle(0, 10 + u64::try_from(call).unwrap() + save);
            }
            stage.save();
        }
        stage.begin("a", 100);
        stage.settle(0, 77);
        stage.begin("b", 50);
        let expected = stage.expected(&|_| true);
        let Stage { folder, keeper, under_way, .. } = stage;
        drop((keeper, under_way));
        let path = folder.path().join("spend.v1.json");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let (keeper, _) = resume(folder.path(), retention);
        check(&keeper, &expected);
        assert!(folder.path().join("damaged/spend.v1.json").exists());
        drop(keeper);
        // And once more, with what was written since.
        let (keeper, _) = resume(folder.path(), retention);
        check(&keeper, &expected);
    }
}
