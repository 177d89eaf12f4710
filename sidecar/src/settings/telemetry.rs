//! Settings of traces and measures by OTLP.

use std::str::FromStr;

use clap::Args;
use url::Url;

use super::portion::portion;
use crate::telemetry::{Conventions, Trust};

/// Settings of OpenTelemetry. The standard's own variables do not switch it on: what sets them in all containers of a pod means the
/// application. Once it is on, the SDK reads `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
/// `OTEL_BSP_SCHEDULE_DELAY` and `OTEL_METRIC_EXPORT_INTERVAL`.
#[derive(Clone, Debug, Args)]
pub struct TelemetrySettings {
    /// The OpenTelemetry collector that traces and measures go to, by OTLP over HTTP with protobuf, as in `http://collector:4318`; without
    /// it none are made
    #[arg(long, env = "VECTOLL_OTLP_ENDPOINT", value_name = "URL", default_value = "", hide_default_value = true)]
    pub otlp_endpoint: Collector,

    /// The portion of calls that are traced, from 0 to 1, where the caller's trace context does not say
    #[arg(long, env = "VECTOLL_OTLP_SAMPLING", value_name = "PORTION", default_value = "1", value_parser = portion)]
    pub otlp_sampling: f64,

    /// The names of the GenAI histograms: those in development, or those of the conventions' releases
    #[arg(long, env = "VECTOLL_OTLP_CONVENTIONS", value_name = "WHICH", default_value = "development")]
    pub otlp_conventions: Conventions,

    /// Goes on with callers' traces in a gateway as well, and samples as they say. Otherwise its traces are its own, with a link to theirs
    #[arg(long, env = "VECTOLL_TRUST_TRACE_CONTEXT", requires = "gateway")]
    pub trust_trace_context: bool,
}

impl TelemetrySettings {
    /// Whose traces are gone on with.
    pub fn trust(&self, is_gateway: bool) -> Trust {
        if is_gateway && !self.trust_trace_context { Trust::Nobody } else { Trust::Callers }
    }
}

/// A collector's root, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector(pub Option<Url>);

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let url =
            Url::parse(text).map_err(|error| format!("it is no URL: {error}: write it as in http://collector:4318"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(
                "it is neither http nor https: name the collector's OTLP/HTTP port, as in http://collector:4318"
                    .to_owned(),
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user or a password: put the header that the collector asks for into \
                        OTEL_EXPORTER_OTLP_HEADERS"
                .to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it has a query or a fragment, which nothing can stand behind: leave it out".to_owned());
        }
        if ["/v1/traces", "/v1/metrics"].iter().any(|path| url.path().trim_end_matches('/').ends_with(path)) {
            return Err("it names one signal: leave /v1/traces out, which is put behind it".to_owned());
        }
        Ok(Self(Some(url)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_an_http_url() {
        assert_eq!("".parse(), Ok(Collector(None)));
        for good in ["http://collector:4318", "https://otlp.example.com/path/", "http://[::1]:4318"] {
            assert!(good.parse::<Collector>().is_ok(), "{good}");
        }
        for (bad, word) in [
            ("collector:4318", "neither http nor https"),
            ("grpc://collector:4317", "neither http nor https"),
            ("nothing", "no URL"),
            ("http://collector?a=b", "query"),
            ("http://user:pass@collector:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("http://collector:4318/v1/traces", "leave /v1/traces out"),
        ] {
            let said = bad.parse::<Collector>().err().unwrap_or_default();
            assert!(said.contains(word), "{bad}: {said}");
            assert!(!said.contains("pass@"), "{said}");
        }
    }

    #[test]
    fn a_gateway_trusts_no_callers_trace_unless_it_is_told_to() {
        let settings = |trust_trace_context| TelemetrySettings {
            otlp_endpoint: Collector(None),
            otlp_sampling: 1.0,
            otlp_conventions: Conventions::default(),
            trust_trace_context,
        };
        assert_eq!(settings(false).trust(false), Trust::Callers);
        assert_eq!(settings(false).trust(true), Trust::Nobody);
        assert_eq!(settings(true).trust(true), Trust::Callers);
    }
}
