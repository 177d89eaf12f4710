//! How many instructions a call costs in the sidecar, counted by callgrind: the same on a busy machine and on a quiet one.
//!
//! What the kernel does is not counted, nor what other processes do. Each kind of call is counted several times over, and the median
//! counts: what is done by the clock, such as a checkpoint, falls into few of them. Optional features of the processor change the
//! figures: callgrind's own processor has those of the machine that it runs on, but for AVX-512 and the like.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::{
    callgrind::{Callgrind, Dump},
    endpoint::Endpoint,
    load::{Bounds, Load, Target},
    manifests::{KEY, Resources, TRUST, ca_secret, route},
    payload::{Format, Payload},
    responder::Responder,
    stages::{self, Stages},
    tls::Certificate,
};
use crate::pair::{Pair, Setup, binaries::Binaries};

/// A bound for valgrind, which is some forty times as slow.
const MAX_TIME: Duration = Duration::from_mins(5);
/// The key that is held to nothing.
const BARE_KEY: &str = "sk-bench-bare-0123456789";
/// The key of a call with two scopes, and that of one with eight.
const TWO_SCOPES_KEY: &str = "sk-bench-two-scopes-0123456789";
const EIGHT_SCOPES_KEY: &str = "sk-bench-eight-scopes-0123456789";
/// What the calls with them are called.
pub const TWO_SCOPES: &str = "1 input, base64, 2 scopes of 1 window";
/// See [`TWO_SCOPES`].
pub const EIGHT_SCOPES: &str = "1 input, base64, 8 scopes of 3 windows";
/// Has glibc copy by vectors. By `rep movsb`, as it does where a processor is quick at it, callgrind counts an instruction a byte: a fifth
/// of a small call on such machines, and next to nothing on others.
const COPY_BY_VECTORS: &str = "glibc.cpu.hwcaps=-ERMS,-FSRM";
/// The model at the provider behind https.
const TLS_MODEL: &str = "bench-https";

/// How much is counted.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How often each kind of call is counted.
    pub times: usize,
    /// Instructions, about, of what is counted each time: small calls are made more often than large ones.
    pub instructions: u64,
}

impl Extent {
    /// Enough for a figure that holds within a percent.
    pub const FULL: Self = Self { times: 5, instructions: 30_000_000 };
}

/// What one kind of call costs.
#[derive(Clone, Debug, Serialize)]
pub struct Instructions {
    /// Which kind.
    pub call: String,
    /// Instructions a call: the median.
    pub per_call: u64,
    /// The same each time.
    pub each: Vec<u64>,
    /// What parts of it cost.
    pub stages: BTreeMap<&'static str, u64>,
    /// The functions that cost most, without what they call: instructions of one call, and the name.
    pub functions: Vec<(u64, String)>,
}

/// How many of those are kept.
const FUNCTIONS: usize = 25;

/// A kind of call.
struct Kind {
    name: String,
    payload: Payload,
    endpoint: Endpoint,
}

/// Counts the instructions of each kind of call, over one connection.
pub async fn count(programs: &Binaries, extent: Extent) -> anyhow::Result<Vec<Instructions>> {
    let payloads = [
        Payload::ONE_BASE64,
        Payload::ONE_FLOAT,
        Payload::BATCH_BASE64,
        Payload::BATCH_FLOAT,
        // Enough to be translated piece by piece.
        Payload::new(10, 1536, Format::Base64).answered_in(Format::Float),
        Payload::new(10, 1536, Format::Float).answered_in(Format::Base64),
    ];
    let responder = Responder::start(None, None, &payloads)?;
    let secure = Responder::start(None, Some(Certificate::generate()?), &[Payload::ONE_BASE64])?;
    let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
    let mut callgrind = Callgrind::new(folder.path(), &programs.sidecar)?;
    let sidecar = callgrind.program().to_owned();
    let environment = vec![("GLIBC_TUNABLES".to_owned(), COPY_BY_VECTORS.to_owned())];
    let setup = Setup { environment, ..Setup::of(Binaries { operator: programs.operator.clone(), sidecar }) };
    let mut files = Resources::new(&responder).files();
    files.push(("further.yaml".to_owned(), further(&secure)));
    let files: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    let pair = Pair::start_with(setup, &files).await?;
    let pid = pair.sidecar_pid().context("the sidecar does not run")?;

    let endpoint = Endpoint::new(pair.proxy_address(), KEY);
    let mut kinds: Vec<Kind> = payloads
        .iter()
        .map(|payload| Kind { name: payload.title(), payload: *payload, endpoint: endpoint.clone() })
        .collect();
    let further = [
        ("1 input, base64, https", endpoint.clone().with_model(TLS_MODEL)),
        (TWO_SCOPES, endpoint.clone().with_key(TWO_SCOPES_KEY)),
        (EIGHT_SCOPES, endpoint.clone().with_key(EIGHT_SCOPES_KEY)),
        ("1 input, base64, without limits and budgets", endpoint.with_key(BARE_KEY)),
    ];
    for (name, endpoint) in further {
        kinds.push(Kind { name: name.to_owned(), payload: Payload::ONE_BASE64, endpoint });
    }
    let mut all = Vec::new();
    for Kind { name, payload, endpoint } in kinds {
        let target = Target::new(&endpoint, payload)?;
        let counted = counted(&mut callgrind, pid, &target, extent).await;
        all.push(counted.map(|(calls, dumps)| of(name.clone(), calls, &dumps)).with_context(|| name)?);
    }
    Ok(all)
}

/// Calls each time, and what was counted then.
async fn counted(
    callgrind: &mut Callgrind,
    pid: u32,
    target: &Target,
    extent: Extent,
) -> anyhow::Result<(u64, Vec<Dump>)> {
    let load = async |requests| {
        let target = target.clone();
        // One connection, so that there is nothing to wait for.
        let run = move || target.load(Load::closed(1), Bounds { time: MAX_TIME, requests });
        let run = tokio::task::spawn_blocking(run).await.context("the load generator ended in a panic")??;
        let sent = run.latencies.len() as u64;
        ensure!(sent == requests, "{sent} of {requests} calls were answered in {MAX_TIME:?}");
        Ok(())
    };
    // Connections are made, and callgrind sees the code for the first time; how large a call is.
    load(2).await?;
    callgrind.count(pid, true)?;
    load(2).await?;
    let per_call = (callgrind.dump(pid)?.total / 2).max(1);
    // Buffers grow, caches fill.
    load((extent.instructions / 4 / per_call).clamp(1, 100)).await?;
    callgrind.dump(pid)?;
    let calls = (extent.instructions / per_call).clamp(2, 1_000);
    let mut dumps = Vec::new();
    for _ in 0..extent.times {
        load(calls).await?;
        dumps.push(callgrind.dump(pid)?);
    }
    callgrind.count(pid, false)?;
    Ok((calls, dumps))
}

fn of(call: String, calls: u64, dumps: &[Dump]) -> Instructions {
    let each: Vec<u64> = dumps.iter().map(|dump| dump.total / calls).collect();
    let found: Vec<Stages> = dumps.iter().map(|dump| stages::of(dump, calls)).collect();
    let names = found.first().into_iter().flat_map(Stages::keys);
    let stages = names.filter_map(|name| {
        let costs: Option<Vec<u64>> = found.iter().map(|stages| stages.get(name).copied()).collect();
        Some((*name, median(&costs?)?))
    });
    let (stages, per_call) = (stages.collect(), median(&each).unwrap_or_default());
    Instructions { call, per_call, stages, functions: largest(dumps, calls), each }
}

/// Those functions that cost most, by the first time.
fn largest(dumps: &[Dump], calls: u64) -> Vec<(u64, String)> {
    let own = dumps.first().into_iter().flat_map(|dump| &dump.own);
    let mut all: Vec<(u64, String)> = own.map(|(name, cost)| (cost / calls.max(1), name.clone())).collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    all.truncate(FUNCTIONS);
    all
}

/// The middle one; of an even number the lower of the two.
fn median(numbers: &[u64]) -> Option<u64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

/// A Team and a key that are held to nothing, and a provider behind https.
fn further(secure: &Responder) -> String {
    let scopes = scopes();
    let ca = secure.certificate().map(|made| ca_secret(&made.certificate)).unwrap_or_default();
    let route = route("https", TLS_MODEL, &secure.base_url(), TRUST);
    format!(
        "apiVersion: vectoll.dev/v1alpha1
kind: Team
metadata: {{name: bare, namespace: default}}
spec: {{}}
---
apiVersion: vectoll.dev/v1alpha1
kind: ApiKey
metadata: {{name: bare, namespace: default}}
spec:
  teamRef: {{name: bare}}
  user: alice
  secretRef: {{name: bare-key}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bare-key, namespace: default}}
stringData: {{key: {BARE_KEY}}}
{scopes}{ca}{route}"
    )
}

/// Teams and keys whose calls count in two scopes, and in eight: key, its models and users, its Team, that one's models and users, and two
/// Teams above it.
fn scopes() -> String {
    let one = "{tokensPerMinute: 1000000000000}";
    let three = "{tokensPerMinute: 1000000000000, tokensPerHour: 10000000000000, tokensPerDay: 100000000000000}";
    let models = format!("[{{model: '*', limits: {three}}}]");
    let team = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: vectoll.dev/v1alpha1\nkind: Team\nmetadata: {{name: {name}, namespace: default}}\nspec: {{{spec}}}\n"
        )
    };
    let key = |name: &str, value: &str, spec: &str| {
        format!(
            "---\napiVersion: vectoll.dev/v1alpha1\nkind: ApiKey\nmetadata: {{name: {name}, namespace: default}}\nspec: {{teamRef: {{name: \
             {name}}}, user: alice, secretRef: {{name: {name}-key}}, {spec}}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: \
             {name}-key, namespace: default}}\nstringData: {{key: {value}}}\n"
        )
    };
    [
        team("two", &format!("limits: {one}")),
        key("two", TWO_SCOPES_KEY, &format!("limits: {one}")),
        team("top", &format!("limits: {three}")),
        team("middle", &format!("parentRef: {{name: top}}, limits: {three}")),
        team(
            "eight",
            &format!("parentRef: {{name: middle}}, limits: {three}, userLimits: {three}, modelLimits: {models}"),
        ),
        key("eight", EIGHT_SCOPES_KEY, &format!("limits: {three}, userLimits: {three}, modelLimits: {models}")),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_once_is_not_the_calls() {
        let dump = |total| Dump { total, ..Dump::default() };
        let counted = of("call".to_owned(), 10, &[1_000, 1_010, 90_000, 1_020, 990].map(dump));
        assert_eq!((counted.per_call, counted.each), (101, vec![100, 101, 9_000, 102, 99]));
        let own = [("small", 10), ("large", 300), ("middle", 20)].map(|(name, cost)| (name.to_owned(), cost)).into();
        let largest: Vec<_> =
            largest(&[Dump { own, ..Dump::default() }], 10).into_iter().map(|(_, name)| name).collect();
        assert_eq!(largest, ["large", "middle", "small"]);
        assert_eq!((median(&[]), median(&[3, 1, 2, 4])), (None, Some(2)));
    }
}
