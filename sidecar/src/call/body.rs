//! Reading a request's body, within a size and a time.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::Caps;
use crate::refusal::Refusal;

/// The whole body.
pub(super) async fn read(headers: &HeaderMap, body: Incoming, caps: Caps) -> Result<Bytes, Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > caps.body) {
        return Err(Refusal::too_large(caps.body));
    }
    tokio::time::timeout(caps.patience, collect(body, announced, caps.body))
        .await
        .map_err(|_| Refusal::slow_body(caps.patience))?
}

async fn collect(mut body: Incoming, announced: Option<usize>, most: usize) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::malformed(None, "The request's body was cut off"))?;
        let Ok(data) = frame.into_data() else { continue };
        // Most bodies arrive in one piece: pass it on as it is.
        if whole.is_empty() && announced == Some(data.len()) {
            return Ok(data);
        }
        if whole.len() + data.len() > most {
            return Err(Refusal::too_large(most));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
