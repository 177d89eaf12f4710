//! The journal as a whole: what is written, kept, told to a store and taken up again.

use std::{fs, os::unix::fs::FileExt, sync::Arc, time::Duration};

use tempfile::TempDir;
use vectoll_config::{PicoUsd, Uid};

use super::*;
use crate::{
    balance::{Balances, SavedBalance},
    charge::BudgetPeriod,
    checkpoint::CheckpointWriter,
    used::Used,
};

mod crash;
mod owners;

/// Where the disk takes everything at once, if there is such a place: thousands of starts are tried below.
pub(super) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(super) fn intent(team: &str, tokens: u64) -> Intent {
    Intent {
        team: Named { uid: Uid::new(team), name: format!("default/{team}").into() },
        key: Named { uid: Uid::new("0b6f2f0e-5d8e-4f0c-9d5f-0e4f7e0c1a11"), name: "default/alice".into() },
        user: "alice".into(),
        model: "text-embedding-3-small".into(),
        provider: "openai".into(),
        backend: "default/openai/test".into(),
        requests: 1,
        tags: Vec::new(),
        foreign_route: false,
        admitted_at: "2026-11-23T12:00:00Z".parse().unwrap(),
        tokens,
        money: PicoUsd::new(tokens * 20_000),
        priced: true,
        charges: Vec::new(),
    }
}

fn used(tokens: u64) -> Used {
    Used { tokens, money: PicoUsd::new(tokens * 20_000) }
}

const STORE: Retention = Retention::Acknowledged { keep: Duration::from_mins(15) };

fn options(retention: Retention) -> Options {
    Options { segment_bytes: 1_000, ..Options::new(1 << 20, retention) }
}

fn open(folder: &TempDir, retention: Retention) -> (Journal, Vec<Settled>) {
    let mut booked = Vec::new();
    let metrics = JournalMetrics::new().unwrap();
    let journal = Journal::open(folder.path(), options(retention), Covered::default(), metrics, |settled| {
        booked.push(settled.clone());
    });
    (journal.unwrap(), booked)
}

/// One call of a team, from its intent to its settlement's number.
fn call(journal: &Journal, team: &str, tokens: u64) -> u64 {
    let opened = journal.intend(intent(team, tokens * 2)).unwrap();
    let mut number = 0;
    journal.settle(opened, used(tokens), Certainty::Known, 0, |settled| number = settled.number);
    number
}

fn segments(folder: &TempDir) -> usize {
    fs::read_dir(folder.path().join("journal")).unwrap().count()
}

#[test]
fn a_call_without_an_end_is_settled_at_what_it_held_and_once_only() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    call(&journal, "t", 10);
    let void = journal.intend(intent("t", 1_000)).unwrap();
    journal.void(void);
    let refined = journal.intend(intent("t", 500)).unwrap();
    journal.refine(&refined, 90, PicoUsd::new(90 * 20_000));
    journal.refine(&refined, 400, PicoUsd::new(400 * 20_000));
    let _lost = journal.intend(intent("t", 77)).unwrap();
    drop(journal);
    let booked = |all: &[Settled]| -> Vec<(u64, Certainty)> {
        all.iter().map(|each| (each.settlement.tokens, each.settlement.certainty)).collect()
    };
    let expected = [(10, Certainty::Known), (90, Certainty::Unsettled), (77, Certainty::Unsettled)];
    for _ in 0..3 {
        let (_, again) = open(&folder, STORE);
        assert_eq!(booked(&again), expected, "the same, however often it is started");
    }
}

#[test]
fn numbers_grow_by_one_and_are_never_used_again_even_if_the_journal_is_lost() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    assert_eq!(journal.epoch(), 1);
    assert_eq!([call(&journal, "t", 1), call(&journal, "t", 1)], [2, 4]);
    let identity = journal.identity();
    drop(journal);
    // As after a loss of power that took what the kernel had not written.
    fs::remove_dir_all(folder.path().join("journal")).unwrap();
    let (journal, booked) = open(&folder, STORE);
    assert_eq!((booked.len(), journal.identity(), journal.epoch()), (0, identity, 2));
    assert!(call(&journal, "t", 1) > 1 << 32);
}

#[test]
fn a_store_gets_every_settlement_in_order_from_memory_from_segments_and_after_a_restart() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    let mut expected: Vec<(u64, u64)> = (1..200).map(|tokens| (call(&journal, "a", tokens), tokens)).collect();
    let other = call(&journal, "b", 5);
    assert!(segments(&folder) > 10, "they are many");
    let told = |journal: &Journal, after: u64, most: usize| -> Vec<(u64, u64)> {
        let settled = journal.settled_after(&Uid::new("a"), after, most);
        settled.iter().map(|each| (each.number, each.settlement.tokens)).collect()
    };
    let check = |journal: &Journal, expected: &[(u64, u64)]| {
        assert_eq!(told(journal, 0, usize::MAX), expected);
        for step in [1, 7, 50] {
            let (mut after, mut all) = (0, Vec::new());
            loop {
                let some = told(journal, after, step);
                assert!(some.len() <= step);
                let Some(last) = some.last() else { break };
                after = last.0;
                all.extend(some);
            }
            assert_eq!(all, expected, "in steps of {step}");
        }
    };
    check(&journal, &expected);
    // What is not held in memory any more is read.
    journal.state().recent = Recent::after(journal.last());
    check(&journal, &expected);
    let lost = journal.intend(intent("a", 1234)).unwrap().number();
    drop(journal);
    let (journal, _) = open(&folder, STORE);
    let unsettled = journal.settled_after(&Uid::new("a"), expected[198].0, 10);
    assert_eq!((unsettled.len(), unsettled[0].settlement.intent, unsettled[0].settlement.tokens), (1, lost, 1234));
    expected.push((unsettled[0].number, 1234));
    check(&journal, &expected);
    let mut teams = journal.teams();
    teams.sort();
    assert_eq!(teams, [Uid::new("a"), Uid::new("b")]);
    journal.acknowledged(&Uid::new("b"), other);
    assert_eq!(journal.teams(), [Uid::new("a")]);
}

#[test]
fn segments_go_when_a_checkpoint_and_the_store_have_them_and_a_while_has_passed() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    for tokens in 1..100 {
        call(&journal, if tokens % 2 == 0 { "a" } else { "b" }, tokens);
    }
    let all = segments(&folder);
    let minute = Duration::from_mins(1);
    journal.sweep(minute);
    journal.covered(journal.last());
    journal.sweep(minute);
    assert_eq!(segments(&folder), all, "the store has nothing yet");
    journal.acknowledged(&Uid::new("a"), journal.last());
    journal.sweep(minute);
    journal.sweep(minute * 100);
    assert_eq!(segments(&folder), all, "nor all of it");
    journal.acknowledged(&Uid::new("b"), journal.last());
    journal.sweep(minute * 100);
    journal.sweep(minute * 114);
    assert_eq!(segments(&folder), all, "it may lose some");
    // And so it did: what it lost is there, and the time begins anew.
    journal.acknowledged(&Uid::new("b"), 3);
    journal.sweep(minute * 116);
    assert_eq!(journal.settled_after(&Uid::new("b"), 3, 500).len(), 49);
    journal.acknowledged(&Uid::new("b"), journal.last());
    journal.sweep(minute * 117);
    journal.sweep(minute * 131);
    assert_eq!(segments(&folder), all);
    journal.sweep(minute * 132);
    assert_eq!(segments(&folder), 1);
    // Without a store a checkpoint is enough.
    journal.retain(Retention::Checkpoint);
    for tokens in 1..100 {
        call(&journal, "a", tokens);
    }
    let held = segments(&folder);
    journal.covered(50);
    journal.sweep(minute * 132);
    assert_eq!(segments(&folder), held, "it does not cover them");
    journal.covered(journal.last());
    journal.sweep(minute * 132);
    assert_eq!(segments(&folder), 1);
}

#[test]
fn an_open_intent_outlives_the_segment_that_it_was_written_in() {
    let folder = folder();
    let (journal, _) = open(&folder, Retention::Checkpoint);
    let slow = journal.intend(intent("slow", 4_321)).unwrap();
    let lost = journal.intend(intent("lost", 1_111)).unwrap();
    for tokens in 1..100 {
        call(&journal, "a", tokens);
        journal.covered(journal.last());
        journal.sweep(Duration::ZERO);
    }
    assert_eq!(segments(&folder), 1);
    journal.settle(slow, used(4_000), Certainty::Known, 0, |_| {});
    let _ = lost;
    drop(journal);
    let (_, booked) = open(&folder, Retention::Checkpoint);
    let of = |team: &str| {
        booked
            .iter()
            .filter(|each| each.intent.team.uid == Uid::new(team))
            .map(|each| each.settlement.tokens)
            .collect::<Vec<_>>()
    };
    assert_eq!((of("slow"), of("lost")), (vec![4_000], vec![1_111]));
}

#[test]
fn a_record_waits_for_a_few_intents_to_be_carried_over_however_many_there_are() {
    const AT_ONCE: u64 = 10;
    const UNDER_WAY: u64 = 200;
    let folder = folder();
    let metrics = JournalMetrics::new().unwrap();
    let options = Options { carried_at_once: 10, ..options(STORE) };
    let journal = Journal::open(folder.path(), options, Covered::default(), metrics.clone(), |_| {}).unwrap();
    let under_way: Vec<OpenIntent> =
        (1..=UNDER_WAY).map(|tokens| journal.intend(intent("a", tokens)).unwrap()).collect();
    let (begun, mut most, mut before) = (segments(&folder), 0, metrics.carried_so_far());
    for tokens in 1..200 {
        let opened = journal.intend(intent("a", tokens * 2)).unwrap();
        journal.settle(opened, used(tokens), Certainty::Known, 0, |_| {});
        let carried = metrics.carried_so_far();
        most = most.max(carried - before);
        before = carried;
    }
    // Two records each.
    assert_eq!(most, 2 * AT_ONCE);
    assert!(segments(&folder) > begun, "and yet there are new segments");
    drop((journal, under_way));
    let (_, booked) = open(&folder, STORE);
    let unsettled = booked.iter().filter(|each| each.settlement.certainty == Certainty::Unsettled);
    assert_eq!(unsettled.map(|each| each.settlement.tokens).sum::<u64>(), (1..=UNDER_WAY).sum::<u64>());
}

#[test]
fn what_becomes_of_a_call_while_it_is_carried_over_is_known_afterwards() {
    let folder = folder();
    let metrics = JournalMetrics::new().unwrap();
    let options = Options { carried_at_once: 2, ..options(Retention::Checkpoint) };
    let journal = Journal::open(folder.path(), options, Covered::default(), metrics.clone(), |_| {}).unwrap();
    let mut under_way: Vec<OpenIntent> =
        (1..=6).map(|tokens| journal.intend(intent("a", tokens * 100)).unwrap()).collect();
    // Until the next segment is begun, and not yet in place.
    let before = metrics.carried_so_far();
    while metrics.carried_so_far() < before + 2 {
        call(&journal, "b", 1);
    }
    assert!(folder.path().join("journal/next.new").exists());
    let first = segment::list(&folder.path().join("journal")).unwrap().pop().unwrap();
    // The first was carried over, and the last was not.
    journal.refine(&under_way[0], 7, PicoUsd::new(7 * 20_000));
    journal.settle(under_way.remove(1), used(20), Certainty::Known, 0, |_| {});
    journal.void(under_way.remove(4));
    while segment::list(&folder.path().join("journal")).unwrap().pop().unwrap() == first {
        call(&journal, "b", 1);
    }
    assert!(!folder.path().join("journal/next.new").exists());
    drop((journal, under_way));
    let (_, booked) = open(&folder, Retention::Checkpoint);
    let mut of_a: Vec<u64> =
        booked.iter().filter(|each| each.intent.team.uid == Uid::new("a")).map(|each| each.settlement.tokens).collect();
    of_a.sort_unstable();
    assert_eq!(of_a, [7, 20, 300, 400, 500]);
}

/// A checkpoint whose file nobody takes: the disk may take as long as it likes.
#[test]
fn calls_do_not_wait_for_a_checkpoint_that_waits_for_the_disk() {
    let folder = folder();
    let metrics = JournalMetrics::new().unwrap();
    let mut keeper: CheckpointWriter<NoBalances> =
        CheckpointWriter::resume(folder.path(), options(STORE), metrics).unwrap();
    let journal = keeper.journal();
    call(&journal, "a", 1);
    // Who opens this for writing waits for a reader.
    let path = folder.path().join("spend.v1.json.new");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let saving = std::thread::spawn(move || keeper.save(Duration::ZERO));
    let calls = std::thread::spawn(move || {
        for tokens in 1..100 {
            call(&journal, "a", tokens);
        }
        std::thread::sleep(Duration::from_millis(50));
        for tokens in 1..100 {
            call(&journal, "a", tokens);
        }
    });
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !calls.is_finished() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(calls.is_finished() && !saving.is_finished());
    calls.join().unwrap();
    drop(File::open(&path).unwrap());
    // What it was written to is no file.
    assert!(saving.join().unwrap().is_err());
}

/// Nobody who counts.
#[derive(Debug, Default)]
struct NoBalances;

impl Balances for NoBalances {
    fn remember(&self) -> Vec<SavedBalance> {
        Vec::new()
    }

    fn recall(&self, _remembered: Vec<SavedBalance>) {}

    fn replay(&self, _charges: &[Arc<BudgetPeriod>], _admitted: jiff::Timestamp, _money: PicoUsd) {}
}

#[test]
fn a_full_journal_refuses_new_calls_and_takes_the_ends_of_those_under_way() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    let under_way: Vec<OpenIntent> = (0..20).map(|_| journal.intend(intent("a", 9)).unwrap()).collect();
    let refused = loop {
        match journal.intend(intent("a", 9)) {
            Ok(opened) => journal.settle(opened, used(9), Certainty::Known, 0, |_| {}),
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, AppendError::TeamFull { team } if *team == Uid::new("a")), "{refused}");
    for opened in under_way {
        journal.settle(opened, used(9), Certainty::Known, 0, |_| {});
    }
    let settled = journal.settled_after(&Uid::new("a"), 0, usize::MAX).len();
    assert!(segments(&folder) > 70 && journal.state().bytes() < (1 << 20) + 50_000);
    // The store comes back, and a while later there is room.
    journal.covered(journal.last());
    journal.acknowledged(&Uid::new("a"), journal.last());
    journal.sweep(Duration::ZERO);
    journal.sweep(Duration::from_mins(16));
    call(&journal, "a", 1);
    drop(journal);
    assert!(settled > 200, "{settled}");
}

/// Calls of a team until the journal refuses one, at most so many; the store takes the spend of all but `a`. Returns how many there were.
fn calls_beside_a(journal: &Journal, team: &str, most: u64) -> u64 {
    for made in 0..most {
        let Ok(opened) = journal.intend(intent(team, 9)) else { return made };
        journal.settle(opened, used(9), Certainty::Known, 0, |_| {});
        if team != "a" {
            journal.acknowledged(&Uid::new(team), journal.last());
        }
        // As after each segment.
        if made % 4 == 0 {
            journal.covered(journal.last());
            journal.sweep(Duration::from_secs(made));
        }
    }
    most
}

#[test]
fn a_team_whose_spend_the_store_refuses_keeps_what_is_its_own_and_no_segment_of_others() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    let mut numbers = Vec::new();
    for _ in 0..100 {
        numbers.push(call(&journal, "a", 7));
        assert_eq!(calls_beside_a(&journal, "b", 50), 50, "nobody else is refused");
    }
    assert!(journal.state().bytes() <= (1 << 19) + 4_000, "{}", journal.state().bytes());
    assert!(!journal.is_pressed(), "what is the others' goes by itself");
    let told = |journal: &Journal| -> Vec<u64> {
        journal.settled_after(&Uid::new("a"), 0, usize::MAX).iter().map(|each| each.number).collect()
    };
    journal.state().recent = Recent::after(journal.last());
    assert_eq!(told(&journal), numbers, "all of it is there, in order");
    let covered = Covered { number: journal.state().covered, open: std::collections::BTreeMap::new() };
    drop(journal);
    let (metrics, mut booked) = (JournalMetrics::new().unwrap(), 0);
    let journal = Journal::open(folder.path(), options(STORE), covered, metrics.clone(), |_| booked += 1).unwrap();
    assert_eq!((told(&journal), metrics.damaged_so_far()), (numbers, 0), "and after a restart");
    assert!(booked < 5, "the checkpoint has the rest");
}

#[test]
fn a_team_with_much_spend_that_the_store_refuses_is_refused_itself_and_no_other() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    calls_beside_a(&journal, "b", 10);
    assert!(calls_beside_a(&journal, "a", 10_000) < 10_000);
    let refused = journal.intend(intent("a", 9)).unwrap_err();
    assert!(matches!(&refused, AppendError::TeamFull { team } if *team == Uid::new("a")), "{refused}");
    for _ in 0..10 {
        assert_eq!(calls_beside_a(&journal, "b", 1_000), 1_000, "the others go on");
        assert_eq!(calls_beside_a(&journal, "c", 100), 100, "and so does who comes now");
        assert_eq!(calls_beside_a(&journal, "a", 1), 0);
    }
    // The store takes it.
    journal.acknowledged(&Uid::new("a"), journal.last());
    assert_eq!(calls_beside_a(&journal, "a", 100), 100);
}

#[test]
fn a_disk_that_refuses_gets_no_new_calls_and_later_all_that_it_is_owed() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    call(&journal, "a", 1);
    let under_way: Vec<OpenIntent> = (2..5).map(|tokens| journal.intend(intent("a", tokens * 100)).unwrap()).collect();
    let full = Arc::new(fs::OpenOptions::new().append(true).open("/dev/full").unwrap());
    let real = journal.state().tail.swap(full);
    assert!(matches!(journal.intend(intent("a", 9)), Err(AppendError::Unavailable(_))));
    let mut booked = Vec::new();
    for (opened, tokens) in under_way.into_iter().zip(2..) {
        journal.settle(opened, used(tokens), Certainty::Known, 0, |settled| booked.push(settled.settlement.tokens));
    }
    assert_eq!(booked, [2, 3, 4], "booked all the same");
    assert!(matches!(journal.intend(intent("a", 9)), Err(AppendError::Unavailable(_))), "first what it is owed");
    let told =
        || journal.settled_after(&Uid::new("a"), 0, 100).iter().map(|each| each.settlement.tokens).collect::<Vec<_>>();
    assert_eq!(told(), [1], "no store is told what a kill would change");
    // A checkpoint meanwhile has them in its books where no store would miss them, and not among the open.
    journal.state().retention = Retention::Checkpoint;
    assert!(journal.cut(|| ()).unwrap().covered.open.is_empty());
    journal.state().retention = STORE;
    journal.state().tail.swap(real);
    call(&journal, "a", 5);
    assert_eq!(told(), [1, 2, 3, 4, 5]);
    drop(journal);
    let (_, again) = open(&folder, STORE);
    assert_eq!(again.iter().map(|each| each.settlement.tokens).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn what_the_disk_refused_names_nobody_for_those_behind_it() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    call(&journal, "a", 1);
    let late = || Intent { user: "late".into(), ..intent("a", 9) };
    let full = Arc::new(fs::OpenOptions::new().append(true).open("/dev/full").unwrap());
    let real = journal.state().tail.swap(full);
    for _ in 0..3 {
        assert!(matches!(journal.intend(late()), Err(AppendError::Unavailable(_))));
    }
    journal.state().tail.swap(real);
    let opened = journal.intend(late()).unwrap();
    journal.settle(opened, used(7), Certainty::Known, 0, |_| {});
    drop(journal);
    let (_, booked) = open(&folder, STORE);
    let users: Vec<&str> = booked.iter().map(|settled| &*settled.intent.user).collect();
    assert_eq!(users, ["alice", "late"]);
}

#[test]
fn no_checkpoint_has_a_settlement_that_no_start_would_tell_the_store_of() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    let under_way = journal.intend(intent("a", 9)).unwrap();
    let full = Arc::new(fs::OpenOptions::new().append(true).open("/dev/full").unwrap());
    let real = journal.state().tail.swap(full);
    journal.settle(under_way, used(7), Certainty::Known, 0, |_| {});
    assert!(matches!(journal.cut(|| ()), Err(AppendError::Unavailable(_))));
    journal.state().tail.swap(real);
    let cut = journal.cut(|| ()).unwrap();
    assert!(cut.covered.open.is_empty());
    assert_eq!(journal.settled_after(&Uid::new("a"), 0, 9).len(), 1, "what it covers is written");
}

#[test]
fn half_a_record_that_the_disk_took_is_cut_before_the_next() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    call(&journal, "a", 1);
    {
        // As after a write that ended half-way and a cut that failed.
        let mut state = journal.state();
        let (bytes, file) = (state.tail.bytes, fs::OpenOptions::new().write(true).open(&state.tail.path).unwrap());
        file.write_all_at(&[0xFF, b'V', b'J', 1, 9], bytes).unwrap();
        state.tail.mark_ragged();
    }
    call(&journal, "a", 2);
    drop(journal);
    let (_, again) = open(&folder, STORE);
    assert_eq!(again.iter().map(|each| each.settlement.tokens).collect::<Vec<_>>(), [1, 2]);
    assert!(!folder.path().join("damaged").exists());
}

#[test]
fn a_checkpoint_has_exactly_the_settlements_up_to_its_number() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    let booked = Mutex::new(0_u64);
    let mut cuts = Vec::new();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for tokens in 1..300 {
                        let opened = journal.intend(intent("a", tokens)).unwrap();
                        journal
                            .settle(opened, used(tokens), Certainty::Known, 0, |_| *booked.lock().unwrap() += tokens);
                    }
                })
            })
            .collect();
        while !callers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            cuts.push(journal.cut(|| *booked.lock().unwrap()).unwrap());
        }
    });
    let all = journal.settled_after(&Uid::new("a"), 0, usize::MAX);
    assert_eq!(all.len(), 4 * 299);
    for Snapshot { covered, content, files: _ } in cuts {
        let upto = |each: &&Arc<Settled>| each.number <= covered.number;
        assert_eq!(all.iter().filter(upto).map(|each| each.settlement.tokens).sum::<u64>(), content);
        let open = all.iter().filter(|each| each.settlement.intent <= covered.number && each.number > covered.number);
        assert_eq!(open.count(), covered.open.len());
    }
}

#[test]
fn damage_is_told_set_aside_and_gone_at_the_next_start() {
    let folder = folder();
    let (journal, _) = open(&folder, STORE);
    for tokens in 1..10 {
        call(&journal, "a", tokens);
    }
    drop(journal);
    let path = segment::path(&folder.path().join("journal"), 1);
    let mut bytes = fs::read(&path).unwrap();
    let places = frame::tests::places(&bytes);
    // The settlement of the first call: its intent is unsettled then.
    bytes[places[1].1.start + 20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let metrics = JournalMetrics::new().unwrap();
    let mut unsettled = 0;
    let book = |settled: &Settled| unsettled += u64::from(settled.settlement.certainty == Certainty::Unsettled);
    drop(Journal::open(folder.path(), options(STORE), Covered::default(), metrics.clone(), book).unwrap());
    assert_eq!((unsettled, metrics.damaged_so_far()), (1, 1));
    assert_eq!(fs::read(folder.path().join("damaged/00000000000000000001.vtj")).unwrap(), bytes);
    let metrics = JournalMetrics::new().unwrap();
    drop(Journal::open(folder.path(), options(STORE), Covered::default(), metrics.clone(), |_| {}).unwrap());
    assert_eq!(metrics.damaged_so_far(), 0, "repaired");
}

/// Prints what a call costs here; quick builds are several times slower than release builds.
#[test]
#[allow(clippy::print_stdout, reason = "the figure is what it is for")]
fn a_call_costs_microseconds() {
    const CALLS: u32 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let metrics = JournalMetrics::new().unwrap();
    let options = Options::new(1 << 30, Retention::Checkpoint);
    let journal = Journal::open(folder.path(), options, Covered::default(), metrics, |_| {}).unwrap();
    let charge = BudgetPeriod {
        account: crate::charge::BudgetAccount::Key(Uid::new("0b6f2f0e-5d8e-4f0c-9d5f-0e4f7e0c1a11")),
        period: vectoll_config::v1::Period::Monthly,
        zone: "Europe/Berlin".to_owned().try_into().unwrap(),
        start: "2026-11-01T00:00:00Z".parse().unwrap(),
    };
    let charge = Arc::new(charge);
    let like = Intent { charges: vec![charge.clone(), charge], ..intent("5f1e9a52-2f7e-4a39-a7a4-5f2c4e0a9d10", 40) };
    let begun = std::time::Instant::now();
    for _ in 0..CALLS {
        let opened = journal.intend(like.clone()).unwrap();
        journal.settle(opened, used(9), Certainty::Known, 0, |_| {});
    }
    let each = begun.elapsed() / CALLS;
    let bytes = journal.state().bytes() / u64::from(CALLS);
    println!("intent and settlement: {each:?} and {bytes} bytes a call");
    assert!(each < Duration::from_millis(2), "{each:?}");
}

#[test]
fn a_folder_that_is_taken_away_is_begun_anew_with_all_that_is_known() {
    for moved in [false, true] {
        let root = folder();
        let state = TempDir::new_in(root.path()).unwrap();
        let (journal, _) = open(&state, STORE);
        let told = call(&journal, "t", 3);
        journal.acknowledged(&Uid::new("t"), told);
        let untold = call(&journal, "t", 5);
        let under_way = journal.intend(intent("t", 70)).unwrap();
        let identity = journal.identity();
        if moved {
            fs::rename(state.path(), root.path().join("elsewhere")).unwrap();
        } else {
            fs::remove_dir_all(state.path()).unwrap();
        }
        std::thread::sleep(place::LOOK_PERIOD);
        let last = call(&journal, "t", 7);
        let of = |journal: &Journal| -> Vec<(u64, u64)> {
            let all = journal.settled_after(&Uid::new("t"), told, usize::MAX);
            all.iter().map(|each| (each.number, each.settlement.tokens)).collect()
        };
        assert_eq!(of(&journal), [(untold, 5), (last, 7)]);
        drop((journal, under_way));
        let (journal, booked) = open(&state, STORE);
        let tokens: Vec<u64> = booked.iter().map(|each| each.settlement.tokens).collect();
        assert_eq!(tokens, [5, 7, 70], "all but what the store has");
        assert_eq!((journal.identity(), journal.epoch()), (identity, 2));
        assert_eq!(of(&journal)[..2], [(untold, 5), (last, 7)]);
    }
}
