//! The end of a request that calls have travelled in, for each of them.
//!
//! What a request costs is shared out and booked for each call by itself: each has its own reservation and its own intent in the
//! journal.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, header};

use super::{
    super::{
        failure::{ChargeState, Failure},
        part_exchange::Charged,
    },
    member::{Answered, Member, Outcome, Passenger},
    shares::shares,
};
use crate::{
    accounting::{Accounting, InFlight, Settled, Together, readmit},
    background::Background,
    policy::Backend,
    refusal::Refusal,
};
use vectoll_ledger::books::Certainty;

/// How long the others wait for a call that needs another reservation: it may have to wait for room in its limits.
const READMISSION_TIMEOUT: Duration = Duration::from_millis(200);

/// Settles each call for its share of what was reported; or, where nothing was, for what it is counted here. The shares go by the
/// provider's tokenizer where that is known, else by length.
pub(super) fn settle(backend: &Backend, together: Together, reported: Option<u64>) -> Vec<(u64, Settled)> {
    let calls = together.part();
    let counted: Vec<Option<u64>> = calls.iter().map(|call| backend.count_few_tokens(call.call())).collect();
    let tokens: Vec<(u64, Certainty)> = if let Some(reported) = reported {
        let all_counted: Option<Vec<u64>> = counted.iter().copied().collect();
        let by_length = || calls.iter().map(|call| call.call().request.shape.bytes).collect();
        let shares = shares(reported, &all_counted.unwrap_or_else(by_length));
        shares.into_iter().map(|tokens| (tokens, Certainty::Known)).collect()
    } else {
        let bound = |call: &InFlight| (backend.most_tokens(call.call()), Certainty::Estimated);
        let known = |tokens| (tokens, Certainty::Known);
        counted.into_iter().zip(&calls).map(|(counted, call)| counted.map_or_else(|| bound(call), known)).collect()
    };
    calls.into_iter().zip(tokens).map(|(call, (tokens, how))| (tokens, call.settle(tokens, how))).collect()
}

/// To each its own.
pub(super) fn hand_out(
    passengers: Vec<Passenger>,
    vectors: Vec<Vec<f32>>,
    settled: Vec<(u64, Settled)>,
    mut headers: HeaderMap,
) {
    // What the answer says of itself is the sidecar's.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for ((passenger, vector), (tokens, settled)) in passengers.into_iter().zip(vectors).zip(settled) {
        let Passenger { held, reply, .. } = passenger;
        let answered = Answered { vector, tokens, settled, headers: headers.clone(), held };
        reply.send(Outcome::Answered(Box::new(answered)));
    }
}

/// The end of a request that failed, for each of its calls: what may follow is as if it had travelled by itself.
pub(super) fn fail(
    (backend, failure, charged): (&Backend, &Failure, Charged),
    together: Together,
    passengers: Vec<Passenger>,
) {
    let rests: Vec<ChargeState> = match charged {
        Charged::Unsent => together.part().into_iter().map(|call| ChargeState::Unsent(call.into())).collect(),
        Charged::Nothing => together.part().into_iter().map(|call| ChargeState::Refused(call.into())).collect(),
        Charged::Reported(tokens) => {
            settle(backend, together, Some(tokens)).into_iter().map(|_| ChargeState::Nothing).collect()
        }
        // Dropping a call books it as unsettled.
        Charged::Maybe => together.part().into_iter().map(|_| ChargeState::Nothing).collect(),
    };
    for (passenger, rest) in passengers.into_iter().zip(rests) {
        passenger.reply.send(Outcome::Failed(same(failure, rest)));
    }
}

/// The same failure of another call. A provider may repeat in its words what it was sent, and that is not all of one caller's.
pub(super) fn same(failure: &Failure, rest: ChargeState) -> Failure {
    let message = "The request in which this call travelled with others failed at the provider".to_owned();
    let refusal = Refusal { message, code: None, ..failure.refusal.clone() };
    Failure { refusal, blame: failure.blame, result: failure.result, rest }
}

/// The calls of a request that was refused, each ready to be sent again: on the reservation that it has, if the refusal costs nothing for
/// certain. Else what it may have cost is booked, and each takes another one, as every attempt does that follows such a one.
pub(super) async fn again(
    (accounting, tasks): (&Arc<Accounting>, &Background),
    charged: Charged,
    together: Together,
    passengers: Vec<Passenger>,
) -> Vec<Member> {
    let calls = together.part().into_iter().zip(passengers);
    let calls = calls.map(async |(in_flight, passenger)| {
        if charged == Charged::Nothing {
            let permit = ChargeState::Refused(in_flight.into()).withdraw()?;
            return Some(Member { permit, passenger });
        }
        let (accounting, call, route) = (accounting.clone(), in_flight.call().clone(), in_flight.route().clone());
        // It is booked as unsettled.
        drop(in_flight);
        if passenger.is_over() {
            return None;
        }
        let mut admission = Box::pin(async move { readmit(&accounting, call, route).await });
        match tokio::time::timeout(READMISSION_TIMEOUT, &mut admission).await {
            Ok(Ok(permit)) => return Some(Member { permit, passenger }),
            Ok(Err(refusal)) => passenger.reply.send(Outcome::Failed(Failure::of_sidecar(refusal))),
            Err(_) => tasks.spawn(async move {
                passenger.reply.send(match admission.await {
                    Ok(permit) => Outcome::Alone(permit),
                    Err(refusal) => Outcome::Failed(Failure::of_sidecar(refusal)),
                });
            }),
        }
        None
    });
    join_all(calls).await.into_iter().flatten().collect()
}
