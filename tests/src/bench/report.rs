//! What the rounds say, for people and for machines.

use std::fmt::Write;

use anyhow::Context;
use serde::Serialize;

use super::measure::{Figures, Plan, Round};
use super::payload::Payload;
use super::procfs::Memory;
use super::statistics::Spread;

/// The whole result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How it was measured.
    pub plan: Plan,
    /// Who stands in nginx's place: nginx, unless the sidecar is compared with itself.
    pub rival: &'static str,
    /// A line for each payload.
    pub lines: Vec<Line>,
    /// Memory of nginx's master and worker afterwards.
    pub nginx_memory: Option<Memory>,
    /// Memory of the sidecar afterwards.
    pub sidecar_memory: Option<Memory>,
}

/// One payload; times in microseconds.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Which.
    pub payload: Payload,
    /// Median latency without a proxy.
    pub direct_p50: Spread,
    /// nginx.
    pub nginx: Option<Summary>,
    /// The bare relay.
    pub relay: Option<Summary>,
    /// The sidecar.
    pub sidecar: Option<Summary>,
    /// CPU time of the bare relay by that of nginx, round by round.
    pub relay_ratio: Option<Spread>,
    /// CPU time of the sidecar by that of nginx, round by round.
    pub ratio: Option<Spread>,
    /// What this is made from.
    pub rounds: Vec<Round>,
}

/// [`Figures`] over the rounds.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// CPU time of a request.
    pub cpu: Spread,
    /// Requests in a second.
    pub rate: Spread,
    /// Added latency, median.
    pub added_p50: Spread,
    /// Added latency, 99th percentile.
    pub added_p99: Spread,
}

/// A payload and the ratio that it must not pass.
const CEILINGS: [(Payload, f64); 2] = [(Payload::OneBase64, 1.6), (Payload::BatchFloat, 0.7)];

impl Line {
    /// Sums the rounds up.
    pub fn new(payload: Payload, rounds: Vec<Round>) -> anyhow::Result<Self> {
        let ratios = rounds.iter().filter_map(|round| Some(round.sidecar?.cpu / round.nginx?.cpu));
        Ok(Self {
            payload,
            direct_p50: Spread::of(rounds.iter().map(|round| round.direct_p50)).context("no rounds")?,
            nginx: Summary::of(rounds.iter().filter_map(|round| round.nginx)),
            relay: Summary::of(rounds.iter().filter_map(|round| round.relay)),
            sidecar: Summary::of(rounds.iter().filter_map(|round| round.sidecar)),
            relay_ratio: Spread::of(rounds.iter().filter_map(|round| Some(round.relay?.cpu / round.nginx?.cpu))),
            ratio: Spread::of(ratios),
            rounds,
        })
    }
}

impl Summary {
    fn of(figures: impl Iterator<Item = Figures>) -> Option<Self> {
        let figures: Vec<_> = figures.collect();
        let spread = |field: fn(&Figures) -> f64| Spread::of(figures.iter().map(field));
        Some(Self {
            cpu: spread(|figures| figures.cpu)?,
            rate: spread(|figures| figures.rate)?,
            added_p50: spread(|figures| figures.added_p50)?,
            added_p99: spread(|figures| figures.added_p99)?,
        })
    }
}

impl Report {
    /// Tables in Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_markdown(&mut out);
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        let Plan { time, rounds, connections } = self.plan;
        writeln!(out, "CPU time of a request: {connections} connections, {rounds} rounds of {time:?}, medians\n")?;
        let rival = self.rival;
        writeln!(
            out,
            "| payload | {rival} | relay | sidecar | relay / {rival} | sidecar / {rival} (min–max) | {rival}, requests/s | sidecar, requests/s |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for line in &self.lines {
            let (nginx, sidecar) = (line.nginx.as_ref(), line.sidecar.as_ref());
            let ratio = line
                .ratio
                .map_or_else(none, |ratio| format!("**{:.2}** ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max));
            let rate = |summary: Option<&Summary>| summary.map_or_else(none, |of| format!("{:.0}", of.rate.median));
            let (nginx_cpu, sidecar_cpu) = (micros(nginx.map(|of| of.cpu)), micros(sidecar.map(|of| of.cpu)));
            let relay_cpu = micros(line.relay.as_ref().map(|of| of.cpu));
            let relay_ratio = line.relay_ratio.map_or_else(none, |ratio| format!("{:.2}", ratio.median));
            let title = line.payload.title();
            let (nginx_rate, sidecar_rate) = (rate(nginx), rate(sidecar));
            writeln!(
                out,
                "| {title} | {nginx_cpu} | {relay_cpu} | {sidecar_cpu} | {relay_ratio} | {ratio} | {nginx_rate} | {sidecar_rate} |"
            )?;
        }
        writeln!(out, "\nLatency that the proxy adds, one connection (beyond the direct median)\n")?;
        writeln!(out, "| payload | direct p50 | {rival} p50 | sidecar p50 | {rival} p99 | sidecar p99 |")?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|")?;
        for line in &self.lines {
            let added = |summary: &Option<Summary>, field: fn(&Summary) -> Spread| micros(summary.as_ref().map(field));
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                line.payload.title(),
                micros(Some(line.direct_p50)),
                added(&line.nginx, |of| of.added_p50),
                added(&line.sidecar, |of| of.added_p50),
                added(&line.nginx, |of| of.added_p99),
                added(&line.sidecar, |of| of.added_p99),
            )?;
        }
        writeln!(out, "\n| memory afterwards | resident | highest |\n|---|--:|--:|")?;
        for (name, memory) in [(rival, self.nginx_memory), ("sidecar", self.sidecar_memory)] {
            if let Some(Memory { resident, highest }) = memory {
                writeln!(out, "| {name} | {} MiB | {} MiB |", mebibytes(resident), mebibytes(highest))?;
            }
        }
        Ok(())
    }

    /// What the project promises and this run did not keep. A ratio that was not measured is not kept.
    pub fn broken_promises(&self) -> Vec<String> {
        let broken = CEILINGS.iter().filter_map(|(payload, ceiling)| {
            let line = self.lines.iter().find(|line| line.payload == *payload);
            let title = payload.title();
            match line.and_then(|line| line.ratio) {
                None => Some(format!("{title}: the ratio was not measured")),
                Some(ratio) if ratio.median > *ceiling => {
                    Some(format!("{title}: sidecar / nginx is {:.2}, more than {ceiling}", ratio.median))
                }
                Some(_) => None,
            }
        });
        broken.collect()
    }
}

fn none() -> String {
    "–".to_owned()
}

fn micros(spread: Option<Spread>) -> String {
    spread.map_or_else(none, |spread| format!("{:.0} µs", spread.median))
}

fn mebibytes(bytes: u64) -> String {
    let kibibytes = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
    format!("{:.1}", f64::from(kibibytes) / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(one: f64, batch: f64) -> Report {
        let figures = |cpu| Some(Figures { cpu, rate: 1.0, added_p50: 2.0, added_p99: 3.0 });
        let line = |payload, ratio: f64| {
            let round = |cpu| Round {
                direct_p50: 1.0,
                nginx: figures(cpu),
                relay: figures(cpu),
                sidecar: figures(cpu * ratio),
            };
            Line::new(payload, vec![round(100.0), round(300.0), round(200.0)]).unwrap()
        };
        Report {
            plan: Plan { time: Duration::from_secs(1), rounds: 3, connections: 8 },
            rival: "nginx",
            lines: vec![line(Payload::OneBase64, one), line(Payload::BatchFloat, batch)],
            nginx_memory: Some(Memory { resident: 3 << 19, highest: 2 << 20 }),
            sidecar_memory: None,
        }
    }

    #[test]
    fn ceilings_are_watched() {
        assert!(report(1.59, 0.69).broken_promises().is_empty());
        assert_eq!(report(1.61, 0.69).broken_promises().len(), 1);
        assert_eq!(report(1.59, 0.71).broken_promises().len(), 1);
        let mut half = report(1.0, 0.1);
        half.lines.iter_mut().for_each(|line| line.ratio = None);
        assert_eq!(half.broken_promises().len(), 2);
    }

    #[test]
    fn tables_show_medians() {
        let text = report(1.5, 0.5).markdown();
        assert!(
            text.contains("| 1 input, base64 | 200 µs | 200 µs | 300 µs | 1.00 | **1.50** (1.50–1.50) | 1 | 1 |"),
            "{text}"
        );
        assert!(text.contains("| 100 inputs, float | 1 µs | 2 µs | 2 µs | 3 µs | 3 µs |"), "{text}");
        assert!(text.contains("| nginx | 1.5 MiB | 2.0 MiB |"), "{text}");
    }
}
