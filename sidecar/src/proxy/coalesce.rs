//! Many small calls in one request: calls of one text each that come at about the same time, of one Team and alike in all but their
//! text, wait for each other for a moment and travel together.
//!
//! It stands between a call's admission and its attempt at a backend. Each call keeps its own admission, reservation, intent in the
//! journal and settlement, and what becomes of it: where a group fails, each call goes on as if it had failed by itself. A call whose
//! caller leaves is settled all the same.
//!
//! What waits is bounded: in time by the window, in number by the route's bound, and in memory by what each call holds for itself.

mod group;
mod group_key;
mod member;
mod settlement;
mod shares;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Instant,
};

use tokio::sync::oneshot;

pub(super) use self::{group::Carrier, group_key::GroupKey};
use self::{
    group::Group,
    member::{Answered, Member, Outcome, Passenger, Reply},
};
use super::{
    deliver::{DeliverError, deliver},
    failure::Failure,
    sent::Sent,
};
use crate::{
    accounting::Permit,
    call::Call,
    memory::MemoryPermit,
    policy::{Backend, Coalesce},
    refusal::Refusal,
};
use vectoll_api::request::Input;
use vectoll_upstream::health::Attempt;

/// The most groups that wait at once. Calls beyond travel alone.
const MAX_OPEN: usize = 4096;

/// The groups that can still be joined.
#[derive(Debug, Default)]
pub struct Coalescer(Mutex<Groups>);

#[derive(Debug, Default)]
struct Groups {
    open: HashMap<GroupKey, OpenGroup>,
    /// The number of the next one: another one may have the same key later.
    next: u64,
}

#[derive(Debug)]
struct OpenGroup {
    number: u64,
    group: Group,
    /// Who sends it, when it is full before its time.
    full: oneshot::Sender<Group>,
}

/// A call's place in a group at a backend.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) key: GroupKey,
    pub(super) settings: Coalesce,
    /// The memory for its text and its vector.
    pub(super) held: MemoryPermit,
}

/// An admitted call that wants to travel with others.
#[derive(Debug)]
pub(super) struct Traveller {
    pub(super) permit: Permit,
    /// Set when its caller has gone.
    pub(super) left: Arc<AtomicBool>,
    /// When its time is over; none: never.
    pub(super) end: Option<Instant>,
}

/// How it went.
#[derive(Debug)]
pub(super) enum Travelled {
    /// As an attempt of its own would have.
    Done(Result<Sent, Failure>),
    /// It goes its own way, on the same reservation.
    Alone(Permit),
}

impl Coalescer {
    /// A call's journey with others, from when it joins them to its own answer.
    pub(super) async fn travel(
        self: &Arc<Self>,
        Seat { key, settings, held }: Seat,
        (backend, attempt): (Arc<Backend>, Attempt),
        Traveller { permit, left, end }: Traveller,
        carrier: &Carrier,
    ) -> Travelled {
        let call = permit.call().clone();
        let Some(text) = only_text(&call) else { return Travelled::Alone(permit) };
        let (reply, mut answer) = oneshot::channel();
        let passenger = Passenger { text, held, left, end, reply: Reply(reply) };
        let joined = self.join((key, settings), (backend.clone(), attempt), Member { permit, passenger }, carrier);
        if let Err(Member { permit, .. }) = joined {
            return Travelled::Alone(permit);
        }
        let outcome = match end {
            None => (&mut answer).await.ok(),
            Some(end) => {
                if let Ok(outcome) = tokio::time::timeout_at(end.into(), &mut answer).await {
                    outcome.ok()
                } else {
                    // What was handed over at this very moment still counts.
                    answer.close();
                    match answer.try_recv() {
                        Ok(outcome) => Some(outcome),
                        Err(_) => return Travelled::Done(Err(Failure::late(&backend.label, backend.timeout))),
                    }
                }
            }
        };
        match outcome {
            Some(Outcome::Alone(permit)) => Travelled::Alone(permit),
            Some(Outcome::Failed(failure)) => Travelled::Done(Err(failure)),
            Some(Outcome::Answered(answered)) => Travelled::Done(own(*answered, &call, (&backend, end), carrier).await),
            None => {
                let message =
                    format!("Backend {}: the request that this call travelled in was given up", backend.label);
                Travelled::Done(Err(Failure::of_sidecar(Refusal::bad_gateway(message).charged())))
            }
        }
    }

    /// Joins the group of this key, or opens it. The call comes back where too many groups wait.
    fn join(
        self: &Arc<Self>,
        (key, settings): (GroupKey, Coalesce),
        (backend, attempt): (Arc<Backend>, Attempt),
        member: Member,
        carrier: &Carrier,
    ) -> Result<(), Member> {
        let mut groups = self.lock();
        if groups.open.len() >= MAX_OPEN && !groups.open.contains_key(&key) {
            return Err(member);
        }
        let number = groups.next;
        match groups.open.entry(key.clone()) {
            Entry::Occupied(mut open) => {
                let members = &mut open.get_mut().group.members;
                members.push(member);
                if members.len() >= settings.max_items {
                    let OpenGroup { group, full, .. } = open.remove();
                    // Nobody is there to send it only when all work has been ended: each call is told so by what is dropped.
                    let _ = full.send(group);
                }
            }
            Entry::Vacant(place) => {
                let (full, filled) = oneshot::channel();
                let group = Group { backend, attempt, members: vec![member] };
                place.insert(OpenGroup { number, group, full });
                groups.next += 1;
                let (all, carrier) = (self.clone(), carrier.clone());
                carrier.tasks.clone().spawn(async move {
                    if let Some(group) = all.closed((key, number), settings, filled).await {
                        carrier.carry(group).await;
                    }
                });
            }
        }
        Ok(())
    }

    /// A group that nobody joins any more: its time is over, or it is full.
    async fn closed(
        &self,
        (key, number): (GroupKey, u64),
        settings: Coalesce,
        mut filled: oneshot::Receiver<Group>,
    ) -> Option<Group> {
        if let Ok(filled) = tokio::time::timeout(settings.window, &mut filled).await {
            return filled.ok();
        }
        let closed = {
            let mut groups = self.lock();
            let is_open = groups.open.get(&key).is_some_and(|open| open.number == number);
            if is_open { groups.open.remove(&key) } else { None }
        };
        match closed {
            Some(open) => Some(open.group),
            // It became full at this very moment.
            None => filled.await.ok(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Groups> {
        // Nothing that could panic is done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text of a call that has one.
fn only_text(call: &Call) -> Option<Arc<str>> {
    match call.request.input().ok()? {
        Input::Texts(texts) => texts.into_iter().next().map(Arc::from),
        Input::Tokens(_) => None,
    }
}

/// A call's own answer, in the encoding that it has asked for.
async fn own(
    Answered { vector, tokens, settled, headers, held }: Answered,
    call: &Call,
    (backend, end): (&Backend, Option<Instant>),
    carrier: &Carrier,
) -> Result<Sent, Failure> {
    let deadline = Instant::now() + backend.timeout;
    let deadline = end.map_or(deadline, |end| end.min(deadline));
    let answer =
        deliver(vec![vector], tokens, call, settled, (&carrier.tasks, &carrier.accounting.compute), deadline).await;
    // It was served, and is paid: no other backend is asked, and this one is not to blame.
    drop(held);
    match answer {
        Ok(answer) => Ok(Sent { answer, headers }),
        Err(DeliverError) => Err(Failure::of_sidecar(Refusal::no_room_for_answer())),
    }
}
