//! Trouble of the gateway under load: what callers are told meanwhile, and what the books say at the end.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use vectoll_tests::pair::metrics::Metrics;

use crate::{
    cluster::{Cluster, DEADLINE, START, SYSTEM, pod},
    gateway::{DEPLOYMENT, KILLED, PRICE, by_sidecar, directly, platform, serves, settled, switch_on},
    load::{Ask, Load, NINE_TOKENS, Pace, Tally, Way},
    network::Network,
    upstream::Upstream,
};

const NS: &str = "e2e-trouble";
const PLATFORM: &str = "e2e-trouble-platform";
const TEAM: &str = "e2e-trouble-platform/text";
/// A call of nine tokens is marked at its bound: a token for each byte.
const BOUND: u64 = NINE_TOKENS.len() as u64;

struct Scene<'a> {
    cluster: &'a Cluster,
    upstream: Upstream,
    asks: Vec<(Way, Ask)>,
    /// What all callers were told so far.
    told: Tally,
}

/// Kills, a rollout, a store that is away, a scale-in: the ledger is the provider's account and what is marked.
pub fn the_books_hold(cluster: &Cluster) -> anyhow::Result<()> {
    switch_on(cluster)?;
    let mut scene = Scene::settle(cluster)?;
    scene.killed()?;
    scene.rolled_out()?;
    scene.without_the_store()?;
    scene.scaled_in()?;
    let (account, unsettled) = scene.balance()?;
    eprintln!(
        "figure: through all of it the provider charged {account} tokens, and {unsettled} were marked: {}",
        scene.told
    );
    Ok(())
}

impl<'a> Scene<'a> {
    fn settle(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let upstream = Upstream::start(cluster, "e2e-trouble-provider")?;
        let team = "{limits: {tokensPerMinute: 10000000}, budget: {limit: '1', period: Total}}";
        platform(cluster, PLATFORM, &upstream, &[("text", team)])?;
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NS}}}}}\n---\n{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: \
             {{name: alice, namespace: {NS}}}, spec: {{teamRef: {{name: text, namespace: {PLATFORM}}}}}}}"
        ))?;
        let pods = ["one", "two"];
        for name in pods {
            cluster.apply(&pod(NS, name, "vectoll.dev/api-key: alice"))?;
        }
        for name in pods {
            cluster.wait(NS, "condition=Ready", &format!("pod/{name}"))?;
        }
        let key = cluster.until("the key", DEADLINE, || Ok(cluster.value(NS, "alice").ok()))?;
        let direct = directly(cluster)?;
        serves(cluster, &direct, &key)?;
        let mut asks =
            vec![(direct.clone(), Ask::with_key("text", &key)), (direct, Ask::with_key("fault-slow-300", &key))];
        for name in pods {
            let way = by_sidecar(cluster, NS, name)?;
            serves(cluster, &way, &key)?;
            // With a value, and as the pod's own key.
            asks.push((way.clone(), Ask::with_key("text", "vectoll-pod-key")));
            asks.push((way, Ask::with_key("fault-slow-300", &key)));
        }
        Ok(Self { cluster, upstream, asks, told: Tally::default() })
    }

    /// Something that happens while callers call, a moment before and after it.
    fn during(
        &mut self,
        what: &str,
        happens: impl FnOnce(&Cluster, &Load) -> anyhow::Result<()>,
    ) -> anyhow::Result<Tally> {
        let load = Load::start(&self.asks, Pace { callers: 3, pause: Duration::from_millis(30), calls: u64::MAX })?;
        flows(self.cluster, &load)?;
        let began = Instant::now();
        happens(self.cluster, &load)?;
        flows(self.cluster, &load)?;
        let tally = load.stop()?;
        eprintln!("figure: {what}, {:.0} s: {tally}", began.elapsed().as_secs_f64());
        self.told.add_all(&tally);
        Ok(tally)
    }

    fn killed(&mut self) -> anyhow::Result<()> {
        let replicas = settled(self.cluster, 3)?;
        let tally = self.during("each of three replicas is killed", |cluster, load| {
            for replica in &replicas {
                cluster.kill_container(replica.container.trim_start_matches("containerd://"))?;
                flows(cluster, load)?;
            }
            settled(cluster, 3).map(|_| ())
        })?;
        tally.ensure_only("localhost", &KILLED)?;
        let cut = tally.of(None, "no answer") + tally.of(None, "502 upstream_error");
        ensure!(cut > 0, "no call was under way when a replica was killed: {tally}");
        // Each restarted container counts on where it was.
        let account = self.upstream.account().charged_tokens;
        let counted = self.counted_by_replicas()?;
        ensure!(
            counted >= account && counted <= account + cut * BOUND,
            "{counted} tokens in metrics, {account} charged"
        );
        Ok(())
    }

    fn rolled_out(&mut self) -> anyhow::Result<()> {
        let tally = self.during("a rollout", |cluster, _| {
            cluster.kubectl(&["rollout", "restart", "-n", SYSTEM, DEPLOYMENT])?;
            cluster.kubectl(&["rollout", "status", "-n", SYSTEM, DEPLOYMENT, "--timeout=120s"])?;
            settled(cluster, 3).map(|_| ())
        })?;
        tally.ensure_only("localhost", &["200"])
    }

    fn without_the_store(&mut self) -> anyhow::Result<()> {
        let tally = self.during("a store that nobody reaches for 10 s, and is killed then", |cluster, _| {
            let cut = Cut::make(cluster)?;
            std::thread::sleep(Duration::from_secs(10));
            drop(cut);
            std::thread::sleep(Duration::from_secs(3));
            let id = "jsonpath={.status.containerStatuses[0].containerID}";
            let id = cluster.kubectl(&["get", "pod", "vectoll-store-0", "-n", SYSTEM, "-o", id])?;
            cluster.kill_container(id.trim_start_matches("containerd://"))?;
            std::thread::sleep(Duration::from_secs(5));
            Ok(())
        })?;
        self.cluster.kubectl(&["rollout", "status", "statefulset/vectoll-store", "-n", SYSTEM, "--timeout=2m"])?;
        tally.ensure_only("localhost", &["200"])
    }

    /// As an autoscaler does it; and what the replicas that go have to say, they say when the store is back.
    fn scaled_in(&mut self) -> anyhow::Result<()> {
        let tally =
            self.during("a scale-in from three replicas to one while nobody reaches the store", |cluster, load| {
                let cut = Cut::make(cluster)?;
                flows(cluster, load)?;
                cluster.kubectl(&["scale", "-n", SYSTEM, DEPLOYMENT, "--replicas=1"])?;
                std::thread::sleep(Duration::from_secs(14));
                drop(cut);
                settled(cluster, 1).map(|_| ())
            })?;
        tally.ensure_only("localhost", &["200"])
    }

    /// The ledger against the account, once both are at rest. Returns the tokens that were charged, and those that are marked.
    fn balance(&self) -> anyhow::Result<(u64, u64)> {
        let (account, told) = (self.upstream.account(), &self.told);
        ensure!(account.violations.is_empty(), "{:?}", account.violations);
        ensure!(account.charged_requests >= told.of(None, "200"), "{told}, and the provider was asked {account:?}");
        let sums = self.cluster.until("all sums of the ledger to agree", START, || {
            let metrics = self.operators_metrics()?;
            let sum = |family: &str| whole(metrics.sum(&format!("vectoll_cluster_{family}_total"), &[("team", TEAM)]));
            let (team, unsettled) = (sum("team_tokens"), sum("unsettled_tokens"));
            ensure!(team >= account.charged_tokens, "the ledger has {team} tokens, the provider charged {account:?}");
            for family in ["key_tokens", "user_tokens", "model_tokens"] {
                ensure!(sum(family) == team, "{family} is {}, and the Team's {team}", sum(family));
            }
            let money = metrics.sum("vectoll_cluster_team_spend_usd_total", &[("team", TEAM)]) * 1e12;
            ensure!(whole(money) == team * PRICE, "{money} pico-USD for {team} tokens");
            Ok(Some((team, unsettled)))
        })?;
        let (team, unsettled) = sums;
        let charged = account.charged_tokens;
        ensure!(
            team <= charged + unsettled,
            "the ledger has {team} tokens, {unsettled} marked, and {charged} were charged"
        );
        // Only calls whose callers were told so are in doubt.
        let cut = told.of(None, "no answer") + told.of(None, "502 upstream_error");
        ensure!(unsettled <= cut * BOUND, "{unsettled} tokens are marked, and {cut} calls were cut: {told}");
        Ok((charged, unsettled))
    }

    /// What the replicas' own metrics say of the Team.
    fn counted_by_replicas(&self) -> anyhow::Result<u64> {
        let mut sum = 0.0;
        for replica in settled(self.cluster, 3)? {
            let network = Network::of_container(&replica.container)?;
            let text = network.run(async || {
                let client = reqwest::Client::builder().no_proxy().build()?;
                Ok(client.get("http://127.0.0.1:4001/metrics").send().await?.text().await?)
            })?;
            sum += Metrics::parse(&text)?.sum("vectoll_team_tokens_total", &[("team", TEAM)]);
        }
        Ok(whole(sum))
    }

    /// Those of the operator that acts.
    fn operators_metrics(&self) -> anyhow::Result<Metrics> {
        let token = self.cluster.kubectl(&["config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}"])?;
        let ips = self.cluster.operators("status.podIP")?;
        for ip in &ips {
            let (url, login) = (format!("http://{ip}:8080/metrics"), format!("Authorization: Bearer {token}"));
            let text = self.cluster.inside(&["curl", "-sf", "--max-time", "5", "-H", &login, &url], None)?;
            let metrics = Metrics::parse(&text)?;
            if metrics.value("vectoll_operator_leader", &[]) == Some(1.0) {
                return Ok(metrics);
            }
        }
        bail!("no operator acts: {ips:?}")
    }
}

/// Nothing reaches the store any more, and nothing says so. It ends when this is dropped.
struct Cut<'a>(&'a Cluster);

impl<'a> Cut<'a> {
    fn make(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let ip = cluster.kubectl(&["get", "pod", "vectoll-store-0", "-n", SYSTEM, "-o", "jsonpath={.status.podIP}"])?;
        let rules = format!(
            "add table ip e2e_cut\nadd chain ip e2e_cut way {{ type filter hook forward priority -200; }}\nadd rule ip e2e_cut way ip daddr \
             {ip} tcp dport 6379 drop\n"
        );
        cluster.inside(&["nft", "-f", "-"], Some(&rules))?;
        Ok(Self(cluster))
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.inside(&["nft", "delete", "table", "ip", "e2e_cut"], None) {
            eprintln!("the way to the store stays cut: {error:#}");
        }
    }
}

/// Waits until a few dozen calls more have ended.
fn flows(cluster: &Cluster, load: &Load) -> anyhow::Result<()> {
    let before = load.so_far();
    cluster.until("calls to go on", START, || Ok((load.so_far() >= before + 60).then_some(())))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters that are whole")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}
