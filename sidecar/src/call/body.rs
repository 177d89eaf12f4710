//! Reading a request's body, within a size and a time.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::request_limits::RequestLimits;
use crate::{
    memory::{Claim, MemoryPermit, NoRoom},
    refusal::Refusal,
    server::RequestBody,
};

/// How long a body is said to be.
pub(super) fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body. It is read as there is memory for it; what is taken of it is in `held`.
pub(super) async fn read(
    headers: &HeaderMap,
    body: RequestBody,
    request_limits: &RequestLimits,
    (claim, held): (&Claim, &mut MemoryPermit),
) -> Result<Bytes, Refusal> {
    let announced = announced(headers);
    if announced.is_some_and(|length| length > request_limits.body) {
        return Err(Refusal::too_large(request_limits.body));
    }
    let end = Instant::now() + request_limits.body_timeout;
    let room = BodyMemory { claim, held, end };
    let work = collect(body, announced, request_limits.body, room);
    timeout_at(end, work).await.map_err(|_| Refusal::slow_body(request_limits.body_timeout))?
}

/// Memory for a body.
struct BodyMemory<'a> {
    claim: &'a Claim,
    held: &'a mut MemoryPermit,
    end: Instant,
}

impl BodyMemory<'_> {
    async fn of(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.claim.hold_until(self.held, bytes, self.end).await.map_err(|NoRoom| Refusal::no_room())
    }
}

async fn collect(
    mut body: RequestBody,
    announced: Option<usize>,
    most: usize,
    mut room: BodyMemory<'_>,
) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::malformed(None, "The request's body was cut off"))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = whole.len() + data.len();
        if length > most {
            return Err(Refusal::too_large(most));
        }
        // Of a large one as it arrives: who announces much and sends little is in nobody's way.
        room.of(length).await?;
        // Most bodies arrive in one piece: pass it on as it is.
        if whole.is_empty() && announced == Some(data.len()) {
            return Ok(data);
        }
        if whole.is_empty() {
            // Grown gradually, it would be there twice for a while.
            whole.reserve(announced.unwrap_or_default());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
