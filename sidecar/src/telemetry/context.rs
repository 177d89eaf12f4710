//! W3C Trace Context: which trace a call belongs to, and how that is passed on.
//!
//! Source: W3C Trace Context, `traceparent` and `tracestate` (<https://www.w3.org/TR/trace-context/>).

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::TextMapPropagator,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of version 00: `00-`, a trace's ID, a span's, and flags, in hexadecimal.
const LENGTH: usize = 55;
/// The longest `tracestate` that spans repeat. It is passed on whole.
const MAX_STATE: usize = 512;

/// Whether a caller's context is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Its trace is gone on with, and what it says of sampling holds.
    Callers,
    /// A trace of one's own is begun, with a link to the caller's: where anybody may call.
    Nobody,
}

/// The trace that a call belongs to, and the names of its spans there.
#[derive(Clone, Debug)]
pub struct TraceContext {
    /// The caller's span; not valid where there is none.
    callers: SpanContext,
    /// Whether the call's span is below it.
    trust: Trust,
    /// That of the call here.
    pub(super) server: SpanContext,
    /// That of what providers are asked for it.
    pub(super) client: SpanContext,
}

impl TraceContext {
    /// Of a call with these headers. `samples` decides where its caller has not, or is not trusted.
    pub(super) fn of(headers: &HeaderMap, trust: Trust, samples: impl FnOnce(TraceId) -> bool) -> Self {
        let callers = callers(headers);
        let (trace, flags, state) = if callers.is_valid() && trust == Trust::Callers {
            (callers.trace_id(), callers.trace_flags(), callers.trace_state().clone())
        } else {
            // Zero is no ID.
            let trace = TraceId::from(fastrand::u128(1..));
            (trace, TraceFlags::default().with_sampled(samples(trace)), TraceState::default())
        };
        let span = || SpanContext::new(trace, SpanId::from(fastrand::u64(1..)), flags, false, state.clone());
        Self { server: span(), client: span(), callers, trust }
    }

    fn goes_on(&self) -> bool {
        self.callers.is_valid() && self.trust == Trust::Callers
    }

    /// Puts it where the caller's was, for whoever is asked for the call.
    pub fn write(&self, headers: &mut HeaderMap) {
        if !self.goes_on() {
            // It belongs to another trace, or to none.
            headers.remove(&TRACESTATE);
        }
        let client = &self.client;
        let text = format!("00-{}-{}-{:02x}", client.trace_id(), client.span_id(), client.trace_flags().to_u8());
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT.clone(), value);
        }
    }

    /// Whether its spans are told.
    pub(super) fn is_sampled(&self) -> bool {
        self.server.is_sampled()
    }

    /// The ID of the span above, and whether that is the caller's.
    pub(super) fn parent(&self) -> (SpanId, bool) {
        if self.goes_on() { (self.callers.span_id(), true) } else { (SpanId::INVALID, false) }
    }

    /// The caller's span where the call's own is not below it.
    pub(super) fn link(&self) -> Option<&SpanContext> {
        Some(&self.callers).filter(|callers| callers.is_valid() && !self.goes_on())
    }
}

/// The caller's context; not valid where there is none, or one that is malformed.
fn callers(headers: &HeaderMap) -> SpanContext {
    let mut all = headers.get_all(&TRACEPARENT).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return SpanContext::NONE };
    // The SDK takes numbers of any length. Other versions may say more behind it.
    let text = only.as_bytes();
    let is_whole = if text.starts_with(b"00-") { text.len() == LENGTH } else { text.len() >= LENGTH };
    let is_hex = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    if !is_whole || !text.split(|byte| *byte == b'-').take(4).map(|part| (part.len(), is_hex(part))).eq(PARTS) {
        return SpanContext::NONE;
    }
    let found = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
    let found = found.span().span_context().clone();
    let state: usize = headers.get_all(&TRACESTATE).iter().map(HeaderValue::len).sum();
    if state <= MAX_STATE {
        return found;
    }
    SpanContext::new(found.trace_id(), found.span_id(), found.trace_flags(), true, TraceState::default())
}

/// The lengths of version, trace, span and flags.
const PARTS: [(usize, bool); 4] = [(2, true), (32, true), (16, true), (2, true)];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const CALLERS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn written(context: &TraceContext, headers: &mut HeaderMap) -> Vec<String> {
        context.write(headers);
        headers.get("traceparent").unwrap().to_str().unwrap().split('-').map(str::to_owned).collect()
    }

    #[test]
    fn a_callers_trace_is_gone_on_with_and_its_word_on_sampling_counts() {
        for (text, sampled) in [(CALLERS, true), (UNSAMPLED, false)] {
            let mut headers = headers(&[("traceparent", text), ("tracestate", "vendor=1")]);
            let context = TraceContext::of(&headers, Trust::Callers, |_| !sampled);
            assert_eq!(context.is_sampled(), sampled);
            assert_eq!(context.parent(), (SpanId::from_hex("b7ad6b7169203331").unwrap(), true));
            let parts = written(&context, &mut headers);
            let [version, trace, span, flags] = parts.as_slice() else { panic!("{parts:?}") };
            assert_eq!((&**version, &**trace), ("00", "0af7651916cd43dd8448eb211c80319c"));
            assert_eq!(flags == "01", sampled);
            assert_eq!(*span, context.client.span_id().to_string(), "whoever is asked goes on from the span of asking");
            assert!(*span != "b7ad6b7169203331" && context.client.span_id() != context.server.span_id());
            assert_eq!(headers.get("tracestate").unwrap(), "vendor=1");
            assert!(context.link().is_none());
        }
    }

    #[test]
    fn a_trace_begins_here_where_there_is_none_or_it_is_malformed() {
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-zz-b7ad6b7169203331-01",
            "00-1-2-01",
            "ff-1-2-3",
        ] {
            for samples in [true, false] {
                let mut headers = headers(&[("tracestate", "vendor=1")]);
                if !text.is_empty() {
                    headers.insert("traceparent", HeaderValue::from_static(text));
                }
                let context = TraceContext::of(&headers, Trust::Callers, |_| samples);
                assert_eq!((context.is_sampled(), context.parent()), (samples, (SpanId::INVALID, false)), "{text}");
                let parts = written(&context, &mut headers);
                assert_eq!(parts.get(1).unwrap(), &context.server.trace_id().to_string());
                assert_ne!(parts.get(1).unwrap(), "0af7651916cd43dd8448eb211c80319c");
                assert!(headers.get("tracestate").is_none(), "what belongs to no trace is not passed on");
            }
        }
        let mut twice = headers(&[("traceparent", CALLERS)]);
        twice.append("traceparent", HeaderValue::from_static(UNSAMPLED));
        assert!(!TraceContext::of(&twice, Trust::Callers, |_| true).goes_on(), "one of two is nobody's");
    }

    #[test]
    fn where_anybody_may_call_a_trace_is_ones_own_with_a_link() {
        let mut headers = headers(&[("traceparent", CALLERS), ("tracestate", "vendor=1")]);
        let context = TraceContext::of(&headers, Trust::Nobody, |_| false);
        assert!(!context.is_sampled(), "strangers decide nothing");
        assert_eq!(context.parent(), (SpanId::INVALID, false));
        assert_eq!(context.link().unwrap().span_id().to_string(), "b7ad6b7169203331");
        let parts = written(&context, &mut headers);
        assert_ne!(parts.get(1).unwrap(), "0af7651916cd43dd8448eb211c80319c");
        assert!(headers.get("tracestate").is_none());
    }

    #[test]
    fn a_long_state_is_passed_on_and_not_repeated() {
        let mut headers = headers(&[("traceparent", CALLERS)]);
        let long = (0..30).map(|at| format!("v{at}={}", "a".repeat(40))).collect::<Vec<_>>().join(",");
        headers.insert("tracestate", HeaderValue::try_from(long.clone()).unwrap());
        let context = TraceContext::of(&headers, Trust::Callers, |_| true);
        assert!(context.goes_on() && context.server.trace_state() == &TraceState::default());
        context.write(&mut headers);
        assert_eq!(headers.get("tracestate").unwrap(), &long);
    }
}
