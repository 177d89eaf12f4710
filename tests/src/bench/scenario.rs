//! The scenarios, by name.

mod beside;
mod calls;
mod features;
mod gateway_connections;
mod gateway_hop;
mod gateway_scale;
mod gateway_throughput;
mod memory;
mod open_loop;
mod reload;
mod scale;
mod store;
mod tls;
mod traces;
mod transcode;
mod users;

use clap::ValueEnum;
use serde::Serialize;

use super::measure::Row;
use super::remark::Remark;
use super::stage::Stage;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// One input and a hundred, in both encodings, in a closed loop: CPU time over nginx's.
    Calls,
    /// What a proxy adds to a call over one connection.
    OneConnection,
    /// 1, 100 and 2,048 inputs, 1,536 and 3,072 dimensions, in both encodings.
    Shapes,
    /// Answers in the other encoding than the caller's.
    Transcode,
    /// Calls that arrive at a fixed rate.
    OpenLoop,
    /// A provider behind https, and nginx doing the same.
    Tls,
    /// All that can be off off, and each thing on by itself.
    Features,
    /// Accounts in memory, and in a store.
    Store,
    /// One key, and ten thousand.
    Keys,
    /// One end user, and a hundred thousand, in memory and in a store.
    Users,
    /// Two routes, and a thousand more.
    Routes,
    /// One connection, 64, and a thousand.
    Connections,
    /// Edits of the config under load.
    Reload,
    /// Resident memory: idle, under mixed load, and after it.
    Memory,
    /// Small calls beside large ones, scrapes, and a journal that rotates.
    BesideLargeCalls,
    /// By a sidecar to the provider, and by a sidecar and a gateway.
    GatewayHop,
    /// One gateway over TLS, and nginx that ends TLS.
    GatewayThroughput,
    /// A thousand namespaces with 50,000 keys in one gateway.
    GatewayScale,
    /// Five thousand idle connections to one gateway.
    GatewayConnections,
    /// Traces on and off.
    Traces,
}

/// What a scenario found.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// Which.
    pub scenario: Scenario,
    /// Who did what.
    pub rows: Vec<Row>,
    /// What is no row.
    pub remarks: Vec<Remark>,
}

impl Scenario {
    /// All of them, in the order of a report.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its name on the command line and of its page.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// As a page's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Calls => "CPU time of a call",
            Self::OneConnection => "Latency that a proxy adds",
            Self::Shapes => "CPU time by inputs, dimensions and encoding",
            Self::Transcode => "Answers in the other encoding",
            Self::OpenLoop => "Latency at a fixed rate of calls",
            Self::Tls => "A provider behind https",
            Self::Features => "What limits, budgets, log and metrics cost",
            Self::Store => "What a store costs",
            Self::Keys => "One key and ten thousand",
            Self::Users => "One user and a hundred thousand",
            Self::Routes => "Two routes and a thousand",
            Self::Connections => "One connection and a thousand",
            Self::Reload => "Edits of the config under load",
            Self::Memory => "Resident memory",
            Self::BesideLargeCalls => "Small calls beside large ones",
            Self::GatewayHop => "What the way over a gateway costs",
            Self::GatewayThroughput => "One gateway beside nginx",
            Self::GatewayScale => "A thousand namespaces in one gateway",
            Self::GatewayConnections => "Five thousand connections to one gateway",
            Self::Traces => "What traces cost",
        }
    }

    /// What was done.
    pub fn method(self) -> &'static str {
        match self {
            Self::Calls => {
                "nginx (a plain reverse proxy), a bare relay on the sidecar's HTTP library, and the sidecar with everything on take turns on one core, in front of \
                 the same provider, which answers from memory. CPU time is the process's own. Ratios are taken within each round."
            }
            Self::OneConnection => {
                "The same over one connection, which has its next call when it has the answer to the last. The median without a proxy is taken from all latencies."
            }
            Self::Shapes => "As for `calls`, without the relay. The largest answer has 137 MB.",
            Self::Transcode => {
                "A provider that writes numbers for a caller who asks for base64, and the other way round: a hundred vectors of 1,536 numbers. The rate is the provider's bytes by \
                 the CPU time of the whole call."
            }
            Self::OpenLoop => {
                "Calls arrive at a fixed rate over 64 connections, whatever becomes of those before. A call that finds no free connection counts from when it was due."
            }
            Self::Tls => {
                "As for `calls`, with a provider that speaks HTTP/1.1 over TLS 1.3, whose certificate both verify. Connections to it are kept."
            }
            Self::Features => {
                "Sidecars side by side that differ in one thing from the first, which has no limits, no budgets, no access log and no metrics by end user. \
                 nginx and the sidecar with everything on close the table."
            }
            Self::Store => {
                "A sidecar that counts in memory, and one whose accounts are in a redis-server on this machine, on the load generator's core, which writes its file before each answer."
            }
            Self::Keys => {
                "Sidecars with one key and with ten thousand, each key with limits and a budget. Calls use one of them."
            }
            Self::Users => {
                "Sidecars whose calls are all of one end user, and of a hundred thousand in turn, each of whom has called before, as far as three minutes allow; with accounts in memory, and in a redis-server that writes its file before each answer. Each user has a limit."
            }
            Self::Routes => "Sidecars with two routes and with a thousand more. Calls use one of them.",
            Self::Connections => {
                "nginx and the sidecar, each over one, 64 and a thousand connections in a closed loop; each is compared with its own first line."
            }
            Self::Reload => {
                "500 calls a second, with the config as it is, and while it is replaced every 250 ms by one that differs in a limit; with one key and with ten \
                 thousand. The config is written as the operator writes it, who is not there. The line without a proxy is the load generator's own."
            }
            Self::Memory => {
                "Resident memory (`VmRSS`) of a fresh sidecar, and of nginx: idle, under 64 connections that mix 1 and 100 inputs in both encodings, and ten seconds after. \
                 Each round goes on where the last one ended."
            }
            Self::BesideLargeCalls => {
                "1,000 small calls a second of 2,000 users, alone; and while one client sends bodies of nearly 16 MiB, another asks for 2,048 vectors of 3,072 numbers that have to \
                 be translated to base64, something reads `/metrics` every 250 ms, and the journal begins segments. The lines without a proxy are the load generator's own."
            }
            Self::GatewayHop => {
                "The same calls by a sidecar that asks the provider itself, and by one that passes them on to a gateway (TLS 1.3, HTTP/2), with the token of its pod, signed by \
                 RSA with 2,048 bits; once also with an ApiKey's value. CPU time and memory of the rows are those of all processes on the way, the figures below those of each. The gateway has a core of its own \
                 where there is a third one; else it shares that of the sidecar, and in a closed loop over 64 connections what is added is mostly that. Added is the difference of the same round's p50 and p99. \
                 At the end the gateway has booked each call once, and the sidecar none."
            }
            Self::GatewayThroughput => {
                "One gateway and nginx, one worker each, in front of the same provider, which speaks plain HTTP. Callers speak HTTP/1.1 over TLS 1.3, with the same certificate (ECDSA, P-256), over 64 connections \
                 that are kept. The gateway has everything on: keys, limits, budgets, metrics, journal, access log. Calls in a second of CPU time are the reciprocal of the CPU time of a call."
            }
            Self::GatewayScale => {
                "What the operator writes for a namespace of 50 keys with limits and budgets and three routes, a thousand times under other names, UIDs and values, in a volume as the kubelet keeps it: a file for each \
                 namespace, and a link that is swapped. Started once a round; ready is what `/readyz` says, asked every 20 ms. 500 calls a second with a key of each namespace in turn, over TLS, as it is, and while a \
                 model of one namespace is renamed each second: the list of models shows when that has taken effect (asked every 2 ms). CPU time of a change is what the gateway has used more in five seconds with a change each than in five without. Last, `/metrics` is read once. The line without a proxy is the load generator's own."
            }
            Self::GatewayConnections => {
                "Three gateways side by side: one without idle connections, one with five thousand of HTTP/1.1 and one with five thousand of HTTP/2, each over TLS 1.3, with one answer behind it. Memory is `VmRSS` with them, \
                 less that before. Calls come over other connections, of HTTP/1.1 over TLS."
            }
            Self::Traces => {
                "Sidecars side by side with everything else on: without a collector; with one that is told of all calls (`--otlp-sampling 1`, the default), of a tenth, and of none but in its measures. The collector \
                 answers at once and looks at nothing. Spans that find no room are dropped, and cost less: the figures below say how many."
            }
        }
    }

    /// What its figures do not show.
    pub fn limits(self) -> &'static str {
        match self {
            Self::Calls | Self::Shapes | Self::OneConnection | Self::OpenLoop | Self::Transcode => {
                "Providers that take time, as real ones do; more than one core; networks other than loopback. System calls cost more or less on other machines, and \
                 the proxies make different numbers of them."
            }
            Self::Tls => {
                "HTTP/2, which the responder does not speak; handshakes, of which there are few; other ciphers than those that both chose."
            }
            Self::Features => "The journal, which cannot be turned off; metadata and tags in the log; many users.",
            Self::Store => {
                "A store behind a network; several sidecars; accounts near their limits, where more exchanges are needed."
            }
            Self::Keys | Self::Routes => "Calls that use all of them; how long the operator takes.",
            Self::Users => "A store behind a network; users of several Teams; what a scrape of their metrics takes.",
            Self::Connections => "Connections that are idle; connections from other machines.",
            Self::Reload => {
                "The operator's own work; what else the machine does in the same moment, other than by the line without a proxy."
            }
            Self::Memory => {
                "Large bodies and answers (`tests/tests/memory.rs` holds their bounds); what the kernel holds for connections."
            }
            Self::BesideLargeCalls => {
                "More than one client of each kind; a sidecar that has more than one core. On a machine of two cores those who send and answer large calls share a core with the load generator, which goes before them."
            }
            Self::GatewayHop => {
                "A network between sidecar and gateway; several gateways behind a Service; tokens that are signed by elliptic curves; a gateway that others call as well."
            }
            Self::GatewayThroughput => {
                "Handshakes, of which there are few; HTTP/2 from callers; more than one core. The load generator and the provider share a core, and calls/s may be theirs."
            }
            Self::GatewayScale => {
                "How long kubelet and operator take; calls with all keys, whose counts take memory as they are used; a store. The kubelet writes all files of the volume anew, here those that stay are linked."
            }
            Self::GatewayConnections => {
                "What the kernel holds for connections; the bound of one address, which loopback does not have; 5,000 connections that come at once. The chart's `gateway.maxConnections` is 2000."
            }
            Self::Traces => "A collector that is slow, far away, or behind TLS; the gateway, whose spans are the same.",
        }
    }

    /// Carries it out.
    pub fn run(self, stage: &Stage) -> anyhow::Result<Section> {
        let (rows, remarks) = match self {
            Self::Calls => (calls::common(stage)?, Vec::new()),
            Self::OneConnection => (calls::one_connection(stage)?, Vec::new()),
            Self::Shapes => (calls::shapes(stage)?, Vec::new()),
            Self::Transcode => transcode::run(stage)?,
            Self::OpenLoop => (open_loop::run(stage)?, Vec::new()),
            Self::Tls => (tls::run(stage)?, Vec::new()),
            Self::Features => (features::run(stage)?, Vec::new()),
            Self::Store => (store::run(stage)?, Vec::new()),
            Self::Keys => (scale::keys(stage)?, Vec::new()),
            Self::Users => (users::run(stage)?, Vec::new()),
            Self::Routes => (scale::routes(stage)?, Vec::new()),
            Self::Connections => (scale::connections(stage)?, Vec::new()),
            Self::Reload => reload::run(stage)?,
            Self::Memory => (Vec::new(), memory::run(stage)?),
            Self::BesideLargeCalls => beside::run(stage)?,
            Self::GatewayHop => gateway_hop::run(stage)?,
            Self::GatewayThroughput => gateway_throughput::run(stage)?,
            Self::GatewayScale => gateway_scale::run(stage)?,
            Self::GatewayConnections => gateway_connections::run(stage)?,
            Self::Traces => traces::run(stage)?,
        };
        Ok(Section { scenario: self, rows, remarks })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn scenarios_have_names_of_their_own() {
        let names: BTreeSet<String> = Scenario::all().iter().map(|one| one.name()).collect();
        assert_eq!(names.len(), 20);
        assert!(names.contains("beside-large-calls") && names.contains("open-loop"), "{names:?}");
    }
}
