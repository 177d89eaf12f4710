//! Vectors as an answer: whole where they are few, else in pieces and within the room for large ones.

use std::time::Instant;

use crate::{
    accounting::Settled,
    answer::{Answer, HELD, Relay, Room, join, made},
    background::Background,
    call::Call,
    refusal::Refusal,
};

/// From so many bytes on, an answer is made on a thread of its own.
const MUCH: usize = 64 * 1024;

/// There was no room for it in time, or the thread ended.
#[derive(Debug)]
pub(super) struct Undelivered;

/// What its caller is told.
pub(super) fn undelivered() -> Refusal {
    let message = "There was no room in time to make so large an answer: send fewer inputs at a time".to_owned();
    Refusal::unavailable("no_room", message)
}

/// Makes an answer to a call. Who has not taken a large one some time after `deadline` is cut off.
pub(super) async fn deliver<V: AsRef<[f32]> + Send + 'static>(
    vectors: Vec<V>,
    tokens: u64,
    call: &Call,
    settled: Settled,
    tasks: &Background,
    deadline: Instant,
) -> Result<Answer, Undelivered> {
    let numbers: usize = vectors.iter().map(|vector| vector.as_ref().len()).sum();
    // Base64 takes five bytes and a third for a number, digits about twelve.
    let room = if numbers * 6 > HELD {
        tokio::time::timeout_at(deadline.into(), Room::wait()).await.map_err(|_| Undelivered)?
    } else {
        None
    };
    let (format, model) = (call.encoding_format, call.model.clone());
    let make = move || made(vectors, format, &model, tokens);
    let pieces = if numbers * 12 > MUCH { tasks.compute(make).await.map_err(|_| Undelivered)? } else { make() };
    Ok(match room {
        Some(room) => Answer::Pieces(Relay::made(pieces, deadline.into(), tasks, room), settled),
        None => Answer::Whole(join(pieces), settled),
    })
}
