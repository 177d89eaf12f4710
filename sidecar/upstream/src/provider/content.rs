//! A provider's answer without its content coding.
//!
//! None is asked for (no request has `Accept-Encoding`), and some servers, and gateways before them, compress all the same. Gzip is
//! inflated here, a little at a time, so that what is read is bounded and counted as any answer is; `identity` is none. Other
//! codings stay as they are, with their header: who reads the answer refuses it.
//!
//! Source: RFC 9110, section 8.4.1 (`x-gzip` is `gzip`; `identity` should not be sent, and is); RFC 1952.

use std::{
    io::Write,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use http::{HeaderMap, Response, header};
use http_body::{Frame, SizeHint};

use super::http::Body;

/// So many bytes are inflated at once: to a thousand times as many at most, which is all that deflate can do.
const STEP: usize = 512;
/// So much is inflated in one go; then others have their turn, because nothing else would make them wait for it.
const ONE_GO: usize = 256 * 1024;
/// The most that an answer is inflated to: three times the largest that 2,048 inputs can have.
const MAX_INFLATED_BYTES: u64 = 256 * 1024 * 1024;

/// The body of an answer as it is meant.
#[derive(Debug)]
pub struct Content<B = Body> {
    body: B,
    gzip: Option<Box<Inflating>>,
}

#[derive(Debug)]
struct Inflating {
    /// None once the end was seen.
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    /// How much there was of it.
    inflated: u64,
    /// What came and is not inflated yet.
    waiting: Bytes,
    /// How much was inflated in this go.
    in_this_go: usize,
}

/// The body broke off.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// On the way.
    #[error(transparent)]
    Body(#[from] hyper::Error),
    /// Not what gzip makes.
    #[error("the answer cannot be inflated")]
    Gzip(#[from] std::io::Error),
}

/// What an answer is coded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    None,
    Gzip,
    Other,
}

fn coding(headers: &HeaderMap) -> Coding {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut codings = codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Coding::None,
        (Some(one), None) if one.eq_ignore_ascii_case(b"gzip") || one.eq_ignore_ascii_case(b"x-gzip") => Coding::Gzip,
        (Some(_), _) => Coding::Other,
    }
}

impl<B> Content<B> {
    /// An answer without its coding, where that is known, and without the headers that are not right any more then.
    pub fn of(answer: Response<B>) -> Response<Self> {
        let (mut parts, body) = answer.into_parts();
        let gzip = match coding(&parts.headers) {
            Coding::None => {
                parts.headers.remove(header::CONTENT_ENCODING);
                None
            }
            Coding::Gzip => {
                parts.headers.remove(header::CONTENT_ENCODING);
                parts.headers.remove(header::CONTENT_LENGTH);
                let decoder = Some(MultiGzDecoder::new(Vec::new()));
                Some(Box::new(Inflating { decoder, inflated: 0, waiting: Bytes::new(), in_this_go: 0 }))
            }
            Coding::Other => None,
        };
        Response::from_parts(parts, Self { body, gzip })
    }

    /// Whether what is read is more than what came.
    pub fn is_inflated(&self) -> bool {
        self.gzip.is_some()
    }
}

impl Inflating {
    /// What can be inflated of what waits; none: more must come first.
    fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        let Some(decoder) = &mut self.decoder else { return Ok(None) };
        while !self.waiting.is_empty() {
            let step = self.waiting.split_to(self.waiting.len().min(STEP));
            decoder.write_all(&step)?;
            if !decoder.get_ref().is_empty() {
                let piece = std::mem::take(decoder.get_mut());
                self.inflated += piece.len() as u64;
                self.in_this_go += piece.len();
                if self.inflated > MAX_INFLATED_BYTES {
                    return Err(std::io::Error::other("the answer is larger than any may be"));
                }
                return Ok(Some(piece.into()));
            }
        }
        Ok(None)
    }

    /// What is left at the end; none: nothing.
    fn finish(&mut self) -> std::io::Result<Option<Bytes>> {
        let Some(decoder) = self.decoder.take() else { return Ok(None) };
        let rest = decoder.finish()?;
        Ok((!rest.is_empty()).then(|| rest.into()))
    }
}

impl<B> http_body::Body for Content<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<ContentError>> + Unpin,
{
    type Data = Bytes;
    type Error = ContentError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ContentError>>> {
        let Self { body, gzip } = self.get_mut();
        loop {
            let Some(inflating) = gzip else {
                return Poll::Ready(ready!(Pin::new(&mut *body).poll_frame(cx)).map(|frame| frame.map_err(Into::into)));
            };
            if inflating.in_this_go >= ONE_GO {
                inflating.in_this_go = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match inflating.next() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers say nothing to us.
                    if let Ok(mut data) = frame.into_data() {
                        inflating.waiting = data.copy_to_bytes(data.remaining());
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => {
                    let rest = inflating.finish().transpose();
                    return Poll::Ready(rest.map(|rest| rest.map(Frame::data).map_err(Into::into)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.gzip.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.gzip.is_none() { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use flate2::{Compression, write::GzEncoder};
    use http::HeaderValue;
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    type Whole = http_body_util::Full<Bytes>;

    impl From<std::convert::Infallible> for ContentError {
        fn from(never: std::convert::Infallible) -> Self {
            match never {}
        }
    }

    fn answer(coding: &'static str, body: Vec<u8>) -> Response<Content<Whole>> {
        let length = body.len();
        let mut answer = Response::new(Whole::from(body));
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Content::of(answer)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn gzip_is_inflated_and_identity_is_none() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        for coding in ["gzip", "x-gzip", "GZIP", "identity, gzip"] {
            let answer = answer(coding, gzip(&text));
            assert!(answer.headers().is_empty(), "{coding}: {:?}", answer.headers());
            assert!(answer.body().size_hint().exact().is_none());
            assert!(answer.into_body().collect().await.unwrap().to_bytes() == text, "{coding}");
        }
        let plain = answer("identity", text.clone());
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
        assert!(plain.headers().contains_key(header::CONTENT_LENGTH));
        assert!(plain.into_body().collect().await.unwrap().to_bytes() == text);
        for coding in ["br", "deflate", "gzip, br", "gzip, gzip"] {
            let other = answer(coding, text.clone());
            assert!(other.headers().contains_key(header::CONTENT_ENCODING), "{coding}");
        }
    }

    #[tokio::test]
    async fn what_is_cut_or_no_gzip_is_an_error() {
        let whole = gzip(b"{\"data\":[]}");
        for broken in [
            whole.get(..whole.len() - 3).unwrap().to_vec(),
            whole.get(..4).unwrap().to_vec(),
            b"{\"data\":[]}".to_vec(),
        ] {
            assert!(answer("gzip", broken.clone()).into_body().collect().await.is_err(), "{broken:?}");
        }
    }

    #[tokio::test]
    async fn a_bomb_comes_a_little_at_a_time() {
        let mut body = answer("gzip", gzip(&vec![b' '; 64 << 20])).into_body();
        let mut all = 0;
        // The turns that another task has meanwhile.
        let turns = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = turns.clone();
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        while let Some(frame) = body.frame().await {
            let length = frame.unwrap().into_data().unwrap().len();
            assert!(length <= 1 << 20, "{length}");
            all += length;
        }
        assert_eq!(all, 64 << 20);
        other.abort();
        let turns = turns.load(std::sync::atomic::Ordering::Relaxed);
        assert!(turns >= 64, "{turns} turns: one for each megabyte");
    }
}
