//! What a workload changes about its sidecar by annotation, on the pod or on its namespace: how it logs, how long it drains, through
//! which proxy it calls, how it is probed. Nothing that would make it less safe: neither image nor user can be changed, and a proxy's
//! credentials do not belong into an annotation, which everybody may read.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::PodSpec;
use url::Url;

use super::{
    names::{SIDECAR_ANNOTATIONS, SIDECAR_PREFIX},
    settings::{InjectionSettings, LogFormat, ProbeKind, Variable},
    source::{Annotations, Source},
};
use crate::validate::FieldError;

/// What a pod gets to end in where it does not say so.
const DEFAULT_GRACE_SECONDS: i64 = 30;
/// The longest drain: longer than any call takes.
const MAX_DRAIN_SECONDS: u32 = 3600;

/// What goes before the settings of all sidecars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    log_filter: Option<&'static str>,
    log_format: Option<LogFormat>,
    drain_timeout_seconds: Option<u32>,
    probe: Option<ProbeKind>,
    /// Variables of a proxy by their name in capitals. Empty: there is none.
    proxies: Vec<(&'static str, String)>,
}

impl Overrides {
    /// Reads them. What is wrong with them is added to the faults, and so is every annotation that is not known or not permitted.
    pub(super) fn of(
        annotations: &Annotations<'_>,
        pod: Option<&PodSpec>,
        settings: &InjectionSettings,
        errors: &mut Vec<FieldError>,
    ) -> Self {
        for (source, name) in annotations.names() {
            let reason = if !SIDECAR_ANNOTATIONS.contains(&name) {
                format!("is not known: {SIDECAR_PREFIX} is followed by one of {}", SIDECAR_ANNOTATIONS.join(", "))
            } else if settings.locked_annotations.iter().any(|locked| locked == name) {
                "the cluster's administrator lets no workload set it (sidecar.lockedAnnotations of the chart): remove it".to_owned()
            } else {
                continue;
            };
            errors.extend(annotations.fault(source, name, reason));
        }
        let mut reader = Reader { annotations, errors };
        let grace = pod.and_then(|pod| pod.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE_SECONDS);
        let proxies = [("https-proxy", "HTTPS_PROXY"), ("http-proxy", "HTTP_PROXY")].into_iter();
        let mut proxies: Vec<(&'static str, String)> = proxies
            .filter_map(|(name, variable)| Some((variable, reader.read(name, |_, text| proxy(text))?)))
            .collect();
        proxies.extend(reader.read("no-proxy", |_, text| exceptions(text)).map(|hosts| ("NO_PROXY", hosts)));
        Self {
            log_filter: reader.read("log-level", |_, text| log_filter(text)),
            log_format: reader.read("log-format", |_, text| log_format(text)),
            drain_timeout_seconds: reader.read("drain-timeout-seconds", |source, text| drain(source, text, grace)),
            probe: reader.read("probe", |_, text| probe(text)),
            proxies,
        }
    }

    /// The settings of the workload's sidecar.
    pub(super) fn over(&self, settings: &InjectionSettings) -> InjectionSettings {
        let Self { log_filter, log_format, drain_timeout_seconds, probe, proxies } = self;
        let mut settings = settings.clone();
        if let Some(filter) = log_filter {
            (*filter).clone_into(&mut settings.log_filter);
        }
        settings.log_format = log_format.unwrap_or(settings.log_format);
        settings.drain_timeout_seconds = drain_timeout_seconds.unwrap_or(settings.drain_timeout_seconds);
        settings.probe = probe.unwrap_or(settings.probe);
        for (name, value) in proxies {
            // The sidecar reads them in small letters, too.
            settings.env.retain(|variable| !variable.name.eq_ignore_ascii_case(name));
            if !value.is_empty() {
                let variable = Variable { name: (*name).to_owned(), value: Some(value.clone()), value_from: None };
                settings.env.push(variable);
            }
        }
        settings
    }
}

/// Reads one annotation after the other, and collects what is wrong.
struct Reader<'a, 'b> {
    annotations: &'a Annotations<'b>,
    errors: &'a mut Vec<FieldError>,
}

impl Reader<'_, '_> {
    fn read<T>(&mut self, name: &str, parse: impl FnOnce(Source, &str) -> Result<T, String>) -> Option<T> {
        let (source, text) = self.annotations.find(name)?;
        match parse(source, text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.errors.extend(self.annotations.fault(source, name, reason));
                None
            }
        }
    }
}

/// What is logged at a level. More than `info` is for the sidecar's own crates: what libraries have to say of connections helps nobody.
fn log_filter(text: &str) -> Result<&'static str, String> {
    match text {
        "error" => Ok("error"),
        "warn" => Ok("warn"),
        "info" => Ok("info"),
        "debug" => Ok("info,vectoll=debug"),
        "trace" => Ok("info,vectoll=trace"),
        _ => Err(format!("{text:?} is not a level: write error, warn, info, debug or trace")),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err(format!("{text:?} is not a form of a log: write json or text")),
    }
}

fn probe(text: &str) -> Result<ProbeKind, String> {
    match text {
        "Auto" => Ok(ProbeKind::Auto),
        "Http" => Ok(ProbeKind::Http),
        "Exec" => Ok(ProbeKind::Exec),
        _ => Err(format!("{text:?} is not a kind of probe: write Auto, Http or Exec")),
    }
}

/// A drain that is cut off would be none. What a namespace says for all of its pods gives way to a pod that ends sooner.
fn drain(source: Source, text: &str, grace: i64) -> Result<u32, String> {
    let seconds = text.parse::<u32>().ok().filter(|seconds| *seconds <= MAX_DRAIN_SECONDS);
    let seconds = seconds
        .ok_or_else(|| format!("{text:?} is not a number of seconds: write one from 0 to {MAX_DRAIN_SECONDS}"))?;
    if i64::from(seconds) < grace {
        return Ok(seconds);
    }
    if source == Source::Namespace {
        return Ok(u32::try_from(grace - 1).unwrap_or_default());
    }
    let enough = i64::from(seconds) + 5;
    Err(format!(
        "\"{seconds}\" is not shorter than the pod's terminationGracePeriodSeconds of {grace}, after which the sidecar is killed: set \
         spec.terminationGracePeriodSeconds to {enough} or more"
    ))
}

/// The URL of a proxy, as the sidecar takes it; empty: none. What is wrong with one that has credentials does not repeat it.
fn proxy(text: &str) -> Result<String, String> {
    const FORM: &str = "write http://HOST:PORT, or nothing for no proxy";
    if text.is_empty() {
        return Ok(String::new());
    }
    if text.contains('@') {
        return Err(format!(
            "has credentials, and everybody may read an annotation: {FORM}. A proxy with credentials is set by the chart's sidecar.env, \
             from a Secret"
        ));
    }
    let url = Url::parse(text).map_err(|_| format!("{text:?} is not the URL of a proxy: {FORM}"))?;
    if url.scheme() != "http" {
        return Err(format!("{text:?}: only proxies that are spoken to over http: are supported: {FORM}"));
    }
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if url.host_str().is_none_or(str::is_empty) || !is_bare {
        return Err(format!("{text:?} is not the URL of a proxy: {FORM}"));
    }
    Ok(text.to_owned())
}

/// What is reached without a proxy, as the sidecar takes it: with one that it cannot read it would not start.
fn exceptions(text: &str) -> Result<String, String> {
    for entry in text.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()) {
        if !is_exception(entry) {
            return Err(format!(
                "{entry:?} is not a host: write names, HOST:PORT, addresses and networks (10.0.0.0/8), separated by commas, or *"
            ));
        }
    }
    Ok(text.to_owned())
}

fn is_exception(entry: &str) -> bool {
    if entry == "*" || entry.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return true;
    }
    if let Some((address, bits)) = entry.split_once('/') {
        let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
        return bits <= if address.is_ipv4() { 32 } else { 128 };
    }
    let (name, port) = entry.rsplit_once(':').map_or((entry, None), |(name, port)| (name, Some(port)));
    let name = name.trim_start_matches("*.").trim_start_matches('.');
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !name.is_empty() && name.bytes().all(is_name) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}
