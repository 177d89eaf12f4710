//! One gateway over TLS, beside nginx that ends TLS.

use anyhow::{Context, ensure};

use super::super::{
    load::Load,
    manifests::Resources,
    measure::{Case, Row, Subject},
    payload::Payload,
    remark::Remark,
    stage::Stage,
};
use super::calls::carry_out;

const CONNECTIONS: usize = 64;

pub fn run(stage: &Stage) -> anyhow::Result<(Vec<Row>, Vec<Remark>)> {
    stage.responder.prepare(&Payload::COMMON)?;
    let gateway = stage.gateway(&Resources::new(&stage.responder), &[])?;
    let nginx = stage.nginx_with_tls(&gateway.certificate)?;
    let of_nginx = nginx.subject();
    let subjects = vec![
        Subject { endpoint: of_nginx.endpoint.clone().with_tls(&gateway.certificate), ..of_nginx },
        Subject::new("gateway", gateway.endpoint(), Some(gateway.pid()?)),
    ];
    let load = Load::closed(CONNECTIONS);
    let cases = Payload::COMMON
        .map(|payload| Case::new(payload, load, subjects.clone()).titled(format!("{}, TLS", payload.title())));
    let rows = carry_out(stage, &cases)?;
    let counted = stage.wait(gateway.pair.at_rest())?.sum("vectoll_key_requests_total", &[("key", "default/bench")]);
    ensure!(counted > 0.0, "the gateway has counted no call");
    let remarks = rows.iter().map(of_a_core).collect::<anyhow::Result<_>>()?;
    Ok((rows, remarks))
}

/// What a core carries that does nothing else: the load generator may be slower than that.
fn of_a_core(row: &Row) -> anyhow::Result<Remark> {
    let cpu = row.spread(|figures| figures.cpu).context("no CPU time was measured")?;
    let calls = (1e6 / cpu.median).round();
    Ok(Remark::new(format!("{}: {}, calls in a second of CPU time", row.case, row.who), calls, "calls"))
}

#[cfg(test)]
mod tests {
    use super::super::super::measure::Figures;
    use super::*;

    #[test]
    fn a_second_of_cpu_time_has_as_many_calls_as_it_takes_parts_of_it() {
        let figures = Figures { cpu: Some(50.0), rate: 1.0, p50: 1.0, p90: 1.0, p99: 1.0, max: 1.0, resident: None };
        let row = Row::new("case", "gateway", Load::closed(1), vec![figures], None);
        assert!((of_a_core(&row).unwrap().value - 20_000.0).abs() < 1e-9);
    }
}
