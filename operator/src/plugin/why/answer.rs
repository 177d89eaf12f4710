//! The answer, from the lines that were found. Pure.

use serde::Serialize;

use super::meaning;
use crate::plugin::{
    access_log::{CALLER_LEFT, CallId, CallLine},
    explain::{BudgetRow, LimitRow},
    logs::{Read, Source, Writes},
};

/// Names that are told one by one.
const NAMED: usize = 5;

/// What became of a call.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) call_id: CallId,
    /// What became of it; none: no line is about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<Outcome>,
    /// What its caller's sidecar says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sidecar: Option<LocatedLine>,
    /// What the gateway says that carried it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway: Option<LocatedLine>,
    /// Other lines that name it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) also: Vec<String>,
    /// The limits that refused it, as they are today.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) limits: Vec<LimitRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) budgets: Vec<BudgetRow>,
    /// Where it was looked for; in a cluster.
    #[serde(skip_serializing_if = "Searched::is_none")]
    pub(super) searched: Searched,
    /// Why something is not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

/// A call's line of an access log, and in which log it is.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LocatedLine {
    /// `namespace/pod`, or a file.
    pub(super) log: String,
    #[serde(flatten)]
    pub(super) line: CallLine,
}

/// Who says something.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    pub(super) log: String,
    pub(super) is_gateway: bool,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) word: OutcomeKind,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) because: Option<String>,
}

/// What became of a call, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum OutcomeKind {
    Served,
    /// By a rule of ours, before a provider was asked.
    Refused,
    /// By a provider, or on the way to it.
    Failed,
    /// The caller was gone before the answer.
    CallerLeft,
}

impl OutcomeKind {
    fn of(line: &CallLine) -> Self {
        match line.status {
            CALLER_LEFT => Self::CallerLeft,
            ..400 => Self::Served,
            500.. => Self::Failed,
            _ if line.scope.as_deref() == Some("backend") => Self::Failed,
            _ => Self::Refused,
        }
    }
}

/// Where a call was looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Searched {
    pub(super) sidecars: usize,
    pub(super) gateways: usize,
    /// The earliest line that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) earliest: Option<jiff::Timestamp>,
    /// Logs that are off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    off: Vec<String>,
    /// Logs that have only a portion of the calls that were served.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sampled: Vec<String>,
    /// Logs that could not be read, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
}

impl Searched {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn count(&mut self, sources: &[Source]) {
        let gateways = sources.iter().filter(|source| source.is_gateway).count();
        self.gateways += gateways;
        self.sidecars += sources.len() - gateways;
        self.off.extend(sources.iter().filter(|source| source.writes == Writes::Nothing).map(Source::name));
        self.sampled.extend(sources.iter().filter(|source| source.writes == Writes::Portion).map(Source::name));
    }

    pub(super) fn read(&mut self, read: &Read) {
        self.earliest = [self.earliest, read.earliest].into_iter().flatten().min();
        self.unread.extend(read.unread.iter().map(|(log, why)| format!("{log} ({why})")));
    }
}

/// Whether a line is the one of a call.
pub(super) fn is_of(line: &str, id: &str) -> bool {
    CallLine::read(line).is_some_and(|line| line.is_of(id))
}

impl Answer {
    pub(super) fn of(call_id: CallId) -> Self {
        Self {
            call_id,
            outcome: None,
            sidecar: None,
            gateway: None,
            also: Vec::new(),
            limits: Vec::new(),
            budgets: Vec::new(),
            searched: Searched::default(),
            notes: Vec::new(),
        }
    }

    /// Takes in a line that names the call.
    pub(super) fn take(&mut self, Witness { log, is_gateway }: Witness, text: &str) {
        let Some(line) = CallLine::read(text) else {
            self.also.push(format!("{log}: {text}"));
            return;
        };
        // A caller may have written the ID into its metadata.
        if !line.is_of(self.call_id.as_str()) {
            return;
        }
        // Anybody may send the gateway the ID of another one's call.
        let is_of_another =
            |located: &Option<LocatedLine>| located.as_ref().is_some_and(|located| located.line.key != line.key);
        if is_gateway && is_of_another(&self.sidecar) {
            return;
        }
        if !is_gateway && is_of_another(&self.gateway) {
            self.gateway = None;
        }
        let located = LocatedLine { log, line };
        let place = if is_gateway { &mut self.gateway } else { &mut self.sidecar };
        *place = Some(located);
        self.outcome = self.judged();
    }

    /// The line that says what was decided.
    pub(super) fn decider(&self) -> Option<&CallLine> {
        self.gateway.as_ref().or(self.sidecar.as_ref()).map(|located| &located.line)
    }

    /// What its caller got is the sidecar's to say, and why is the gateway's.
    fn judged(&self) -> Option<Outcome> {
        let decider = self.decider()?;
        let got = self.sidecar.as_ref().map_or(decider, |located| &located.line);
        let why = if got.scope.is_some() && decider.scope.is_none() { got } else { decider };
        Some(Outcome { status: got.status, word: OutcomeKind::of(got), because: meaning::because(why) })
    }

    pub(super) fn is_found(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether what was found says all there is.
    pub(super) fn is_decided(&self) -> bool {
        self.decider().is_some_and(|line| !line.is_passed_on())
    }

    /// Key, model, scope and reason, where a limit or budget stands behind it.
    pub(super) fn refused_by_limit(&self) -> Option<(String, String, String, String)> {
        let line = self.decider()?;
        let of = |text: &Option<String>| text.clone();
        let found = (of(&line.key)?, of(&line.model)?, of(&line.scope)?, of(&line.reason)?);
        meaning::is_of_limits(&found.3).then_some(found)
    }

    /// What is known of why no line was found, or not both.
    pub(super) fn explain(&mut self, place: &str, since: &str) {
        let searched = self.searched.clone();
        if self.is_decided() {
            return;
        }
        if self.is_found() {
            self.notes.push(format!(
                "the gateway has carried it out, and no line of the {} gateways that were asked is about it: its figures are not known",
                searched.gateways
            ));
        } else if searched.sidecars + searched.gateways == 0 {
            self.notes
                .push(format!("there is no pod with a sidecar {place}, and no gateway: -n or -A name another place"));
        } else {
            self.notes.push(format!(
                "no line of the last {since} is about it, in the logs of {} sidecars {place} and {} gateways",
                searched.sidecars, searched.gateways
            ));
        }
        let named = |all: &[String]| {
            let more = all.len().saturating_sub(NAMED);
            let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            if more > 0 { format!("{named} and {more} more") } else { named }
        };
        if !searched.off.is_empty() {
            self.notes.push(format!("the access log is off (VECTOLL_ACCESS_LOG): {}", named(&searched.off)));
        }
        if !searched.sampled.is_empty() {
            self.notes.push(format!(
                "of calls that were served only a portion has a line (VECTOLL_ACCESS_LOG_SAMPLING): {}",
                named(&searched.sampled)
            ));
        }
        if !searched.unread.is_empty() {
            self.notes.push(format!("not read: {}", named(&searched.unread)));
        }
        if let Some(earliest) = searched.earliest {
            self.notes.push(format!(
                "what there is begins at {earliest}: of a log that was rotated the API server has the last file only, and of a pod that is \
                 gone nothing. Where logs are collected, look there, and name the file with --log"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{super::text::text, *};
    use crate::plugin::access_log::tests::{ID, line};

    fn answer(lines: &[(bool, String)]) -> Answer {
        let mut answer = Answer::of(ID.parse().unwrap());
        for (is_gateway, line) in lines {
            let log = if *is_gateway { "vectoll-system/gateway-1" } else { "web/app-1" };
            answer.take(Witness { log: log.to_owned(), is_gateway: *is_gateway }, line);
        }
        answer
    }

    const SERVED: &str =
        ",\"route\":\"models/openai\",\"backend\":\"two\",\"tokens\":8,\"cost_usd\":\"0.00000016\",\"usage\":\"known\"";

    #[test]
    fn a_call_that_was_served_is_told_with_all_that_is_known_of_it() {
        let line = line(200, SERVED).replace("\"retries\":0", "\"retries\":1");
        let answer = answer(&[(false, line), (false, format!("WARN call_id={ID} it was slow"))]);
        assert!(answer.is_found() && answer.is_decided());
        insta::assert_snapshot!(text(&answer));
        insta::assert_yaml_snapshot!(answer);
    }

    #[test]
    fn of_a_call_that_was_passed_on_the_gateway_says_why_and_the_sidecar_what_its_caller_got() {
        let sidecar = (false, line(499, ",\"route\":\"models/openai\",\"backend\":\"_gateway\""));
        let only = answer(std::slice::from_ref(&sidecar));
        assert!(only.is_found() && !only.is_decided());
        let both = answer(&[sidecar, (true, line(200, SERVED))]);
        assert!(both.is_decided());
        assert_eq!(both.outcome.as_ref().unwrap().word, OutcomeKind::CallerLeft);
        insta::assert_snapshot!(text(&both));
    }

    #[test]
    fn the_gateways_line_is_known_by_what_its_caller_calls_the_call_and_no_other_key_stands_in_for_it() {
        let sidecar = (false, line(200, ",\"backend\":\"_gateway\""));
        let own = "00000000-0000-4000-8000-000000000000";
        let named = |fields: &str| {
            line(200, fields)
                .replace(ID, own)
                .replace("\"retries\"", &format!("\"caller_call_id\":\"{ID}\",\"retries\""))
        };
        let theirs = (true, named(SERVED).replace("web/alice", "crm/mallory"));
        let alone = answer(&[theirs.clone(), sidecar.clone()]);
        assert!(alone.is_found() && !alone.is_decided(), "the line of another one's call");
        let both = answer(&[sidecar, (true, named(SERVED)), theirs]);
        assert!(both.is_decided());
        assert_eq!(both.decider().unwrap().key.as_deref(), Some("web/alice"));
    }

    #[test]
    fn a_refusal_names_whose_limit_it_was() {
        let of = |fields: &str| answer(&[(false, line(429, fields))]);
        let refused = of(",\"scope\":\"key\",\"reason\":\"budget\"");
        let because = refused.outcome.as_ref().unwrap().because.clone().unwrap();
        assert_eq!(because, "key web/alice: budget: the money of the period was spent, or held by calls under way");
        assert_eq!(refused.refused_by_limit().unwrap().0, "web/alice");
        let other = of(",\"scope\":\"tag\",\"reason\":\"newer\"");
        assert_eq!(other.outcome.as_ref().unwrap().because.as_deref(), Some("tag: newer"));
        assert!(other.refused_by_limit().is_none());
        let of_provider = of(",\"scope\":\"backend\",\"reason\":\"rate_limited\"");
        assert_eq!(of_provider.outcome.as_ref().unwrap().word, OutcomeKind::Failed);
    }

    #[test]
    fn who_writes_the_id_of_another_call_into_its_metadata_is_not_taken_for_it() {
        let other = line(200, "").replace(ID, "00000000-0000-4000-8000-000000000000");
        let found =
            answer(&[(false, other.replace("\"retries\"", &format!("\"metadata\":{{\"of\":\"{ID}\"}},\"retries\"")))]);
        assert!(!found.is_found() && found.also.is_empty());
    }

    #[test]
    fn why_nothing_is_found_is_said() {
        let mut none = answer(&[]);
        none.explain("in namespace web", "1h");
        assert!(text(&none).contains("there is no pod with a sidecar in namespace web"), "{}", text(&none));
        let mut off = answer(&[]);
        let all = (1..=7).map(|n| format!("web/app-{n}")).collect();
        off.searched = Searched {
            sidecars: 8,
            gateways: 0,
            earliest: "2026-11-24T09:00:00Z".parse().ok(),
            off: all,
            sampled: vec!["web/app-8".to_owned()],
            unread: vec!["web/app-9 (container is waiting to start)".to_owned()],
        };
        off.explain("in namespace web", "1h");
        insta::assert_snapshot!(text(&off));
        let mut passed_on = answer(&[(false, line(200, ",\"backend\":\"_gateway\""))]);
        passed_on.explain("in namespace web", "1h");
        assert!(text(&passed_on).contains("its figures are not known"), "{}", text(&passed_on));
    }
}
