//! Vectors as an answer: whole where they are few, else in pieces and within the memory for large ones.

use std::time::Instant;

use crate::{
    accounting::Settled,
    answer::{Answer, HELD, Relay},
    background::Background,
    call::Call,
    compute::Compute,
    memory::{MemoryPermit, NoRoom},
};
use vectoll_api::{
    answer::{join, made},
    request::EncodingFormat,
};

/// From so many bytes on, an answer is made on a thread of its own: a few vectors take less than a tenth of a millisecond.
const MUCH: usize = 64 * 1024;

/// There was no memory for it in time, or the thread ended.
#[derive(Debug)]
pub(super) struct DeliverError;

/// Makes an answer to a call. Who has not taken a large one some time after `deadline` is cut off.
pub(super) async fn deliver<V: AsRef<[f32]> + Send + 'static>(
    vectors: Vec<V>,
    tokens: u64,
    call: &Call,
    settled: Settled,
    (tasks, compute): (&Background, &Compute),
    deadline: Instant,
) -> Result<Answer, DeliverError> {
    let numbers: usize = vectors.iter().map(|vector| vector.as_ref().len()).sum();
    // Base64 takes five bytes and a third for a number, digits about twelve.
    let bytes = match call.request.encoding_format {
        EncodingFormat::Float => numbers * 12,
        EncodingFormat::Base64 => numbers * 6,
    };
    let mut held = MemoryPermit::default();
    call.claim.hold_until(&mut held, bytes, deadline.into()).await.map_err(|NoRoom| DeliverError)?;
    let (format, model) = (call.request.encoding_format, call.model.clone());
    let make = move || made(vectors, format, &model, tokens);
    let pieces = compute.run_above(MUCH as u64, numbers as u64 * 12, make).await.map_err(|_| DeliverError)?;
    Ok(if numbers * 6 > HELD {
        Answer::Pieces(Relay::made(pieces, deadline.into(), tasks, held), settled)
    } else {
        Answer::Whole(held.attach(join(pieces)), settled)
    })
}
