//! What a journal holds under its lock: the segments, the open intents, and what the disk still has to take.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::File,
    ops::Bound,
    path::PathBuf,
    sync::Arc,
};

use vectoll_config::Uid;

use super::{
    AppendError, Options,
    identity::Epoch,
    place::Place,
    recent::Recent,
    record::{Intent, Kind, Open, Record, Refine, Settled, Settlement, Void},
    retention::{Progress, Retention},
    segment::{Sealed, Tail, TeamPart},
};
use crate::journal::JournalMetrics;

/// So many open intents go into one write where no call waits for it.
const CARRIED_AT_A_START: usize = 1_024;

/// The state of a journal.
#[derive(Debug)]
pub(super) struct State {
    pub(super) folder: PathBuf,
    pub(super) place: Place,
    /// The folder, to be synchronised.
    pub(super) handle: Arc<File>,
    pub(super) options: Options,
    pub(super) retention: Retention,
    /// The number of the next record.
    pub(super) next: u64,
    pub(super) open: BTreeMap<u64, Open>,
    pub(super) tail: Tail,
    /// The next one, while open intents are carried over into it.
    pub(super) next_segment: Option<NextSegment>,
    pub(super) sealed: VecDeque<Sealed>,
    /// Ends of calls that the disk refused, in order. Until it has taken them no call is sent.
    pub(super) owed: VecDeque<PendingWrite>,
    pub(super) teams: HashMap<Uid, Progress>,
    pub(super) recent: Recent,
    /// The last record that a checkpoint covers.
    pub(super) covered: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) failing: bool,
    /// The epoch, where the disk has not taken it yet: nothing may be numbered by it there before.
    pub(super) unwritten_epoch: Option<(PathBuf, Epoch)>,
    pub(super) metrics: JournalMetrics,
}

/// What will be the next segment.
#[derive(Debug)]
pub(super) struct NextSegment {
    tail: Tail,
    /// The open intents up to this number are in it.
    carried: u64,
}

/// A record that has a number and is not written.
#[derive(Debug)]
pub(super) struct PendingWrite {
    record: Record,
    settled: Option<Arc<Settled>>,
}

impl State {
    /// All that the segments hold, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let next = self.next_segment.as_ref().map_or(0, |next| next.tail.bytes);
        self.sealed.iter().map(|segment| segment.bytes).sum::<u64>() + self.tail.bytes + next
    }

    /// Whether it is half full.
    pub(super) fn needs_room(&self) -> bool {
        self.bytes() > self.options.most_bytes / 2
    }

    /// Writes an intent and returns its number. The only record that may be refused: nothing has been sent yet.
    pub(super) fn intend(&mut self, intent: Arc<Intent>) -> Result<u64, AppendError> {
        self.try_intend(intent).inspect_err(|error| self.failed(error))
    }

    fn try_intend(&mut self, intent: Arc<Intent>) -> Result<u64, AppendError> {
        self.ensure_in_place()?;
        self.pay()?;
        self.rotate_if_due();
        let number = self.next;
        let record = Record(number, Kind::Intent(intent.clone()));
        self.tail.encode(&record, &mut self.buffer)?;
        let (bytes, most) = (self.bytes(), self.options.most_bytes);
        if bytes + self.buffer.len() as u64 > most {
            return Err(AppendError::Full { bytes, most });
        }
        if let Some(team) = intent.owners().find(|owner| self.is_over_its_share(owner)) {
            return Err(AppendError::TeamFull { team: team.clone() });
        }
        self.tail.write(&self.buffer)?;
        self.next += 1;
        self.open.insert(number, Open::new(intent));
        self.wrote(&record, None);
        Ok(number)
    }

    /// Lowers what an open intent holds.
    pub(super) fn refine(&mut self, refine: Refine) {
        self.rotate_if_due();
        if let Some(open) = self.open.get_mut(&refine.intent) {
            let before = (open.tokens, open.money);
            open.refine(refine);
            if (open.tokens, open.money) != before {
                let open = open.clone();
                self.carry_again(refine.intent, open);
            }
            self.end(Kind::Refine(refine), None);
        }
    }

    /// Ends an intent with what it cost.
    pub(super) fn settle(&mut self, intent: Arc<Intent>, settlement: Settlement) -> Arc<Settled> {
        // While the intent is open still: a settlement stands in one segment with it.
        self.rotate_if_due();
        self.open.remove(&settlement.intent);
        let settled = Arc::new(Settled { number: self.next, intent, settlement });
        self.end(Kind::Settlement(settlement), Some(settled.clone()));
        settled
    }

    /// Ends an intent that was not sent.
    pub(super) fn void(&mut self, void: Void) {
        self.rotate_if_due();
        self.open.remove(&void.intent);
        self.end(Kind::Void(void), None);
    }

    /// Writes a record that cannot be refused. What the disk does not take now it is owed.
    fn end(&mut self, kind: Kind, settled: Option<Arc<Settled>>) {
        let record = Record(self.next, kind);
        self.next += 1;
        self.owed.push_back(PendingWrite { record, settled });
        if let Err(error) = self.pay() {
            self.failed(&error);
        }
    }

    /// Has the disk take what it is owed.
    pub(super) fn pay(&mut self) -> Result<(), AppendError> {
        if let Some((folder, epoch)) = &self.unwritten_epoch {
            epoch.write(folder)?;
            self.unwritten_epoch = None;
        }
        while let Some(PendingWrite { record, settled: _ }) = self.owed.front() {
            self.tail.append(record, &mut self.buffer)?;
            if let Some(PendingWrite { record, settled }) = self.owed.pop_front() {
                self.wrote(&record, settled);
            }
        }
        Ok(())
    }

    fn wrote(&mut self, Record(number, kind): &Record, settled: Option<Arc<Settled>>) {
        self.metrics.wrote(kind);
        self.metrics.bytes(self.bytes());
        if self.failing {
            self.failing = false;
            tracing::info!("the journal can be written again");
        }
        let Some(settled) = settled else { return };
        for owner in settled.intent.owners() {
            reach(&mut self.tail.teams, owner, *number, TeamPart::count);
            reach(&mut self.teams, owner, *number, |progress| &mut progress.last);
        }
        self.recent.push(settled, self.retention);
    }

    fn failed(&mut self, error: &AppendError) {
        self.metrics.failed();
        if let AppendError::TeamFull { team } = error {
            // The others go on, and would say that it can be written again.
            if let Some(progress) = self.teams.get_mut(team).filter(|progress| !progress.is_refused) {
                progress.is_refused = true;
                tracing::error!(%error, "calls of a team are refused until the store takes its spend");
            }
            return;
        }
        if !self.failing {
            self.failing = true;
            tracing::error!(%error, "the journal takes no more: calls are refused until it does");
        }
    }

    /// Goes on in a new segment if the present one is full, as soon as all open intents are in that. What failed there stays to be tried
    /// again: the old one serves as well.
    fn rotate_if_due(&mut self) {
        // A settlement that is owed belongs into the segment of its intent.
        if self.tail.bytes - self.tail.carried < self.options.segment_bytes || !self.owed.is_empty() {
            return;
        }
        if let Err(error) = self.carry_on() {
            self.abandon_next();
            self.failed(&error);
        }
    }

    /// Carries some open intents over into the next segment; when all are there, goes on in it.
    ///
    /// A few at a time: the next record waits for as many as that and no more, however many calls are under way. Meanwhile records
    /// go into the present segment, which is whole by itself. So it does not matter where this ends: until the next one takes its
    /// place, in one step, no start looks at it, and from then on it has every intent that is open. What was carried over and
    /// came to its end before that has its end in the segment before, which a start reads first; a bound that was lowered is
    /// carried over again ([`Self::carry_again`]).
    fn carry_on(&mut self) -> Result<(), AppendError> {
        let most = self.options.carried_at_once;
        let next = match &mut self.next_segment {
            Some(next) => next,
            none => none.insert(NextSegment { tail: Tail::begin_next(&self.folder)?, carried: 0 }),
        };
        let rest = self.open.range((Bound::Excluded(next.carried), Bound::Unbounded));
        let records: Vec<Record> = rest.take(most).map(|(number, open)| carried(*number, open)).collect();
        next.tail.append_all(&records, &mut self.buffer)?;
        for Record(_, kind) in &records {
            self.metrics.wrote(kind);
        }
        if let Some(Record(last, _)) = records.last() {
            next.carried = *last;
        }
        if records.len() == most {
            return Ok(());
        }
        next.tail.take_place(&self.folder, self.next)?;
        if let Some(NextSegment { tail, carried: _ }) = self.next_segment.take() {
            self.sealed.push_back(std::mem::replace(&mut self.tail, tail).seal(self.next - 1));
            self.options.rotated.notify_one();
        }
        Ok(())
    }

    /// Carries an intent over once more whose bound was lowered since.
    fn carry_again(&mut self, number: u64, open: Open) {
        let Some(next) = self.next_segment.as_mut().filter(|next| number <= next.carried) else { return };
        let record = Record(number, Kind::Carried(open));
        match next.tail.append(&record, &mut self.buffer) {
            Ok(()) => self.metrics.wrote(&record.1),
            Err(error) => {
                self.abandon_next();
                self.failed(&error);
            }
        }
    }

    /// Begins the next segment anew, another time.
    pub(super) fn abandon_next(&mut self) {
        if let Some(NextSegment { tail, carried: _ }) = self.next_segment.take() {
            tail.discard();
        }
    }
}

fn carried(number: u64, open: &Open) -> Record {
    Record(number, Kind::Carried(open.clone()))
}

/// Writes all open intents at the beginning of a segment.
pub(super) fn carry(tail: &mut Tail, open: &BTreeMap<u64, Open>, buffer: &mut Vec<u8>) -> Result<(), AppendError> {
    let records: Vec<Record> = open.iter().map(|(number, open)| carried(*number, open)).collect();
    for records in records.chunks(CARRIED_AT_A_START) {
        tail.append_all(records, buffer)?;
    }
    tail.carried = tail.bytes;
    Ok(())
}

/// Notes how far a team has come. Its name is copied the first time only.
pub(super) fn reach<V: Default>(
    teams: &mut HashMap<Uid, V>,
    team: &Uid,
    number: u64,
    last: impl Fn(&mut V) -> &mut u64,
) {
    if let Some(known) = teams.get_mut(team) {
        let last = last(known);
        *last = number.max(*last);
    } else {
        *last(teams.entry(team.clone()).or_default()) = number;
    }
}
