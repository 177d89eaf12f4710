//! The administrator of a tenant's namespace: what they find there, and what they can spend.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{
    cluster::{Cluster, DEADLINE, SYSTEM},
    gateway::{self, KILLED, PRICE, by_sidecar, container, directly, platform, replicas, route, serves, switch_on},
    load::{Ask, Load, Pace, Way},
    network::{memory_of, process_of},
    traces::{Loot, Secret, files},
    upstream::Upstream,
};

const NS: &str = "e2e-tenant";
const PLATFORM: &str = "e2e-tenant-platform";
const PROVIDERS: &str = "e2e-tenant-provider";
const OWNER: &str = "--as=system:serviceaccount:e2e-tenant:owner";
/// A Team and a model for each kind of limit: 240 calls of nine tokens, and half a call. At 0.02 USD a million tokens one is 180,000 pico-USD.
const LIMITED: [(&str, &str); 3] = [
    ("requests", "{limits: {requestsPerMinute: 240}}"),
    ("tokens", "{limits: {tokensPerMinute: 2164}}"),
    ("money", "{budget: {limit: '0.00004329', period: Total}}"),
];
const FIT: u64 = 240;
/// The Team for looking around.
const FREE: (&str, &str) = ("free", "{}");

/// The scene: the platform's Teams and routes, a provider, the tenant's namespace with its administrator, and their pods.
struct Tenant<'a> {
    cluster: &'a Cluster,
    upstream: Upstream,
    /// A provider of the tenant's own.
    own: Upstream,
    /// The values of the keys, one for each Team that is limited.
    keys: Vec<String>,
    /// That of the Team for looking around.
    free: String,
    sidecar: Way,
    direct: Way,
}

/// Finds no credential, and passes no limit.
pub fn administrator(cluster: &Cluster) -> anyhow::Result<()> {
    switch_on(cluster)?;
    let tenant = Tenant::settle(cluster)?;
    let secrets = [
        Secret::new("the provider's credential", &tenant.upstream.credential),
        Secret::new("the provider's host", PROVIDERS),
        Secret::new("the provider's address", &tenant.upstream.address()),
    ];
    let token = tenant.token()?;
    let mut loot = Loot::default();
    tenant.asks(&token, &mut loot)?;
    tenant.has_a_provider(&mut loot)?;
    // After the calls: whatever came back was in the sidecar, in its log and in its memory.
    tenant.enters(&token, &mut loot)?;
    tenant.reads(&mut loot)?;
    eprintln!("figure: a tenant's administrator got hold of {} kB without a credential", loot.len() / 1000);
    loot.ensure_free_of(&secrets)?;
    tenant.looks_into_the_gateway(&secrets)?;
    tenant.writes_a_route(&secrets)?;
    tenant.spends(&token)
}

impl<'a> Tenant<'a> {
    fn settle(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let (upstream, own) = (Upstream::start(cluster, PROVIDERS)?, Upstream::start(cluster, "e2e-tenant-own")?);
        platform(cluster, PLATFORM, &upstream, &[&LIMITED[..], &[FREE]].concat())?;
        // A provider that is away, which errors could name.
        let away = format!("http://away.{PROVIDERS}.svc:9/v1");
        cluster.apply(&route(PLATFORM, "away", "[away]", &away))?;
        cluster.apply(&tenants_namespace())?;
        // What follows is the tenant's own doing.
        for (team, _) in LIMITED.into_iter().chain([FREE]) {
            let key = format!(
                "{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {{name: {team}, namespace: {NS}}}, spec: {{teamRef: {{name: \
                 {team}, namespace: {PLATFORM}}}}}}}"
            );
            cluster.inside(&["kubectl", "apply", "-f", "-", OWNER], Some(&key))?;
        }
        cluster.until("the webhook to inject", DEADLINE * 3, || {
            cluster.inside(&["kubectl", "apply", "-f", "-", OWNER], Some(&pods()))?;
            let first = "jsonpath={.spec.initContainers[0].name} {.spec.volumes[*].name}";
            let first = cluster.kubectl(&["get", "pod", "app", "-n", NS, "-o", first])?;
            if first.starts_with("vectoll-sidecar") && first.contains("vectoll-identity") {
                return Ok(Some(()));
            }
            cluster.kubectl(&["delete", "pod", "app", "thief", "-n", NS, "--now"])?;
            Ok(None)
        })?;
        for pod in ["pod/app", "pod/thief"] {
            cluster.wait(NS, "condition=Ready", pod)?;
        }
        let keys = LIMITED.map(|(team, _)| cluster.value(NS, team)).into_iter().collect::<anyhow::Result<_>>()?;
        let (sidecar, direct) = (by_sidecar(cluster, NS, "app")?, directly(cluster)?);
        let free = cluster.value(NS, FREE.0)?;
        let tenant = Self { cluster, upstream, own, keys, free, sidecar, direct };
        for key in tenant.keys.iter().chain([&tenant.free]) {
            serves(cluster, &tenant.sidecar, key)?;
            serves(cluster, &tenant.direct, key)?;
        }
        Ok(tenant)
    }

    /// As the administrator.
    fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.cluster.kubectl(&[arguments, &[OWNER]].concat())
    }

    /// A script in one of their containers.
    fn run(&self, pod: &str, script: &str) -> anyhow::Result<String> {
        self.kubectl(&["exec", "-n", NS, pod, "-c", "app", "--", "sh", "-c", script])
    }

    /// The token that the cluster gives whoever mounts it, as it gives it to the sidecar.
    fn token(&self) -> anyhow::Result<String> {
        let token = self.run("thief", "curl -s file:///stolen/token/gateway")?;
        ensure!(token.split('.').count() == 3, "{token:?} is no token");
        Ok(token)
    }

    /// Every object of the namespace, and every value of its Secrets.
    fn reads(&self, loot: &mut Loot) -> anyhow::Result<()> {
        let kinds = "secrets,configmaps,serviceaccounts,pods,services,endpoints,events,roles,rolebindings,\
                     apikeys.vectoll.dev,teams.vectoll.dev,modelroutes.vectoll.dev";
        let all = self.kubectl(&["get", kinds, "-n", NS, "-o", "json"])?;
        let list: Value = serde_json::from_str(&all)?;
        loot.add("the namespace's objects", all);
        let mut read = Vec::new();
        for secret in list["items"].as_array().into_iter().flatten().filter(|one| one["kind"] == "Secret") {
            let values = decoded(secret)?;
            read.extend(values.places().map(str::to_owned));
            loot.extend(values);
        }
        let config = read.iter().any(|entry| entry.starts_with("the Secret vectoll-sidecar/config."));
        ensure!(config && read.contains(&"the Secret requests/key".to_owned()), "only {read:?} were read");
        for pod in ["app", "thief"] {
            loot.add(format!("the log of {pod}"), self.kubectl(&["logs", "-n", NS, pod, "--all-containers"])?);
        }
        for (namespace, kind) in [(PLATFORM, "secrets"), (PLATFORM, "modelroutes.vectoll.dev"), (SYSTEM, "secrets")] {
            let said = self.kubectl(&["get", kind, "-n", namespace]).err().map(|error| format!("{error:#}"));
            ensure!(said.as_ref().is_some_and(|said| said.contains("forbidden")), "{kind} in {namespace}: {said:?}");
        }
        Ok(())
    }

    /// Every container: by exec, and more than an exec can do, as root of the node.
    fn enters(&self, token: &str, loot: &mut Loot) -> anyhow::Result<()> {
        let script = "for f in /proc/self/environ /proc/1/environ /proc/1/cmdline /proc/mounts /etc/hosts /etc/resolv.conf \
                      /stolen/config/* /stolen/token/*; do curl -s file://$f; echo; done; export";
        for pod in ["app", "thief"] {
            loot.add(format!("an exec into {pod}"), self.run(pod, script)?);
        }
        // The image of the sidecar has its program and nothing else: this is all that an exec can start there.
        for arguments in [&["health"][..], &["--help"]] {
            let exec = ["exec", "-n", NS, "app", "-c", "vectoll-sidecar", "--", "/vectoll-sidecar"];
            loot.add("an exec into the sidecar", self.kubectl(&[&exec, arguments].concat())?);
        }
        let sidecar = process_of(&container(self.cluster, NS, "app", "initContainerStatuses")?)?;
        let mounts = "jsonpath={range .spec.initContainers[0].volumeMounts[*]}{.mountPath}{'\\n'}{end}";
        let mounts = self.kubectl(&["get", "pod", "app", "-n", NS, "-o", mounts])?;
        let mut mounted = Loot::default();
        for mount in mounts.lines() {
            let folder = sidecar.join("root").join(mount.trim_start_matches('/'));
            files(&folder, mount, loot)?;
            files(&folder, mount, &mut mounted)?;
        }
        // The token and the config are there, so what is not there is not there.
        mounted.ensure_has(&[Secret::new("the gateway's host", gateway::HOST)])?;
        let own = token.split('.').next().unwrap_or_default();
        mounted.ensure_has(&[Secret::new("a token", own)])?;
        for file in ["environ", "cmdline", "status", "mountinfo"] {
            loot.add(format!("/proc/…/{file} of the sidecar"), std::fs::read(sidecar.join(file))?);
        }
        loot.add("the sidecar's memory", memory_of(&sidecar)?);
        Ok(())
    }

    /// The gateway, by both ways and with all that they have.
    fn asks(&self, token: &str, loot: &mut Loot) -> anyhow::Result<()> {
        let faults = [
            "fault-400",
            "fault-401",
            "fault-404",
            "fault-429",
            "fault-500",
            "fault-502",
            "fault-reset",
            "fault-cut",
            "fault-garbage",
        ];
        for way in [&self.sidecar, &self.direct] {
            for model in faults.into_iter().chain(["away", "no-such-model"]) {
                let answer = way.ask(&Ask::with_key(model, &self.free))?;
                ensure!(answer.status >= 400, "{model}: {answer:?}");
                loot.add(format!("the answer to {model} by {}", way.name), format!("{answer:?}"));
            }
            for path in
                ["/v1/models", "/key/info", "/metrics", "/health/readiness", "/model/info", "/v1/models/requests"]
            {
                let answer = way.get(path, &self.free)?;
                loot.add(format!("the answer to {path} by {}", way.name), format!("{answer:?}"));
            }
        }
        // The token alone names no key of another namespace's.
        for key in [format!("{NS}/free"), format!("{PLATFORM}/free"), "default/alice".to_owned()] {
            let answer = self.direct.ask(&Ask::with_token("fault-404", token, &key))?;
            loot.add(format!("the answer to the token as {key}"), format!("{answer:?}"));
            ensure!((answer.status != 401) == key.starts_with(&format!("{NS}/")), "{key}: {answer:?}");
        }
        let metrics =
            "curl -s http://localhost:4001/metrics http://localhost:4001/readyz http://localhost:4001/openapi.yaml";
        let metrics = self.run("app", metrics)?;
        ensure!(metrics.contains("vectoll_passed_on_calls_total"), "{metrics}");
        loot.add("the sidecar's metrics", metrics);
        Ok(())
    }

    /// A provider of their own, which the gateway calls: what it is sent is theirs alone.
    fn has_a_provider(&self, loot: &mut Loot) -> anyhow::Result<()> {
        apply(self.cluster, &self.own.credential, &own_route("Gateway", &self.own.url()))?;
        for way in [&self.sidecar, &self.direct] {
            self.cluster.until("their own route", DEADLINE, || {
                let answer = way.ask(&Ask::with_key("own", &self.free))?;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.message());
                Ok(Some(()))
            })?;
        }
        let requests = self.own.requests();
        ensure!(requests.len() >= 2, "{requests:?}");
        for request in requests {
            loot.add("what their own provider is sent", format!("{:?}", request.headers));
            loot.add("what their own provider is sent", request.body);
        }
        Ok(())
    }

    /// Whoever looks in the same way where the credential is does find it.
    fn looks_into_the_gateway(&self, secrets: &[Secret]) -> anyhow::Result<()> {
        let (credential, host) = secrets.split_at(1);
        let (mut found, mut objects) = (Loot::default(), Loot::default());
        let replica = replicas(self.cluster)?.into_iter().next().context("no replica")?;
        found.add("its memory", memory_of(&process_of(&replica.container)?)?);
        objects.add("the platform's Secrets", self.cluster.kubectl(&["get", "secrets", "-n", PLATFORM, "-o", "json"])?);
        found.ensure_has(credential)?;
        found.ensure_has(&host[..1])?;
        objects.ensure_has(credential)
    }

    /// A route of their own that sidecars carry out would bring a login at the store that counts for the platform's Teams, were it not for
    /// the namespace's label, which they cannot take away.
    fn writes_a_route(&self, secrets: &[Secret]) -> anyhow::Result<()> {
        let label = self.kubectl(&["label", "namespace", NS, "vectoll.dev/delivery=Sidecar", "--overwrite"]);
        let said = label.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(said.contains("forbidden"), "{said:?}");
        let route = own_route("Sidecar", &self.own.url())
            .replace("own, namespace", "trap, namespace")
            .replace("[own]", "[trap]");
        apply(self.cluster, &self.own.credential, &route)?;
        // The gateway may learn of it after the sidecar.
        self.cluster.until("the route to be served", DEADLINE, || {
            let answer = self.sidecar.ask(&Ask::with_key("trap", &self.free))?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.message());
            Ok(Some(()))
        })?;
        let secret = self.kubectl(&["get", "secret", "vectoll-sidecar", "-n", NS, "-o", "json"])?;
        let delivered = decoded(&serde_json::from_str(&secret)?)?;
        delivered.ensure_free_of(secrets)?;
        delivered.ensure_free_of(&[Secret::new("their own credential", &self.own.credential)])?;

        let password = "go-template={{index .data \"store.password\" | base64decode}}";
        let password = self.kubectl(&["get", "secret", "vectoll-sidecar", "-n", NS, "-o", password])?;
        let user = format!("vectoll-ns-{SYSTEM}.vectoll-operator:{NS}");
        let ask = |question: &[&str]| {
            let log_in = ["redis-cli", "--no-auth-warning", "-e", "--user", &user, "--pass", &password];
            self.cluster.kubectl(&[&["exec", "-n", SYSTEM, "vectoll-store-0", "--"][..], &log_in, question].concat())
        };
        // What is the namespace's own it may write: the login is a good one. Grants that come with a route have come by then.
        std::thread::sleep(Duration::from_secs(2));
        ask(&["hset", &format!("vectoll:{{ns:{SYSTEM}.vectoll-operator:{NS}}}:e2e"), "field", "1"])?;
        for (team, _) in LIMITED {
            let uid = self.cluster.kubectl(&["get", "team", team, "-n", PLATFORM, "-o", "jsonpath={.metadata.uid}"])?;
            let key = |name: &str| format!("vectoll:{{{uid}}}:{name}");
            for question in [&["hset", &key("e2e"), "field", "1"][..], &["hgetall", &key("total")]] {
                let said = ask(question).err().map(|error| format!("{error:#}")).unwrap_or_default();
                ensure!(said.contains("NOPERM"), "the namespace's login may {question:?} of the Team {team}: {said:?}");
            }
        }
        Ok(())
    }

    /// Five times the limit of each Team by three ways at once, while a replica is killed: the provider's account is the judge.
    fn spends(&self, token: &str) -> anyhow::Result<()> {
        let mut asks = Vec::new();
        for ((team, _), key) in LIMITED.iter().zip(&self.keys) {
            asks.push((self.sidecar.clone(), Ask::with_key(team, key)));
            asks.push((self.direct.clone(), Ask::with_key(team, key)));
            asks.push((self.direct.clone(), Ask::with_token(team, token, &format!("{NS}/{team}"))));
        }
        let served = |model: &str| self.upstream.account().by_model.get(model).copied().unwrap_or_default();
        let victim = replicas(self.cluster)?.into_iter().next().context("no replica")?;
        let (began, calls) = (Instant::now(), 5 * FIT);
        let load = Load::start(&asks, Pace { callers: 2, pause: Duration::from_millis(110), calls })?;
        self.cluster.until("a fifth of the limits to be used", DEADLINE, || {
            Ok(LIMITED.iter().all(|(model, _)| served(model).requests >= FIT / 5).then_some(()))
        })?;
        self.cluster.kill_container(victim.container.trim_start_matches("containerd://"))?;
        let at_kill = LIMITED.map(|(model, _)| served(model).requests);
        let tally = load.end()?;
        let lasted = began.elapsed();
        eprintln!(
            "figure: five times the limits in {:.0} s, of {FIT} calls that fit a replica was killed after {at_kill:?}: {tally}",
            lasted.as_secs_f64()
        );
        ensure!(at_kill.iter().any(|served| *served < FIT), "it was killed when nothing was left to be had");
        ensure!(tally.all() == 3 * calls && lasted < Duration::from_secs(55), "{tally} in {lasted:?}");
        tally.ensure_only("localhost", &[&KILLED[..], &["429 rate_limit_exceeded", "429 budget_exceeded"]].concat())?;
        for (model, _) in LIMITED {
            let served = served(model);
            eprintln!("figure: of {FIT} calls that fit, {} of {model} were served", served.requests);
            ensure!(served.requests <= FIT && served.tokens <= 2164, "the limit of {model} was passed: {served:?}");
            ensure!(served.tokens * PRICE <= 43_290_000 || model != "money", "the budget was passed: {served:?}");
            // What the one that was killed had leased of a window, a sixth of what was left at most, is taken for a minute; of a budget its
            // journal gives back what it did not spend, and calls under way are taken at their bound.
            let tenths = if model == "money" { 9 } else { 8 };
            ensure!(
                served.requests * 10 >= FIT * tenths,
                "far less than the limit of {model} was to be had: {served:?}"
            );
        }
        ensure!(self.upstream.account().violations.is_empty(), "{:?}", self.upstream.account().violations);
        Ok(())
    }
}

/// The namespace, which is not trusted, with its administrator: `admin` of Kubernetes, and all roles of ours but that for Teams.
fn tenants_namespace() -> String {
    let bind = |role: &str| {
        format!(
            "\n---\n{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: owner-{role}, namespace: {NS}}}, roleRef: \
             {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}, subjects: [{{kind: ServiceAccount, name: owner, \
             namespace: {NS}}}]}}"
        )
    };
    let bindings: String = ["admin", "vectoll-key-edit", "vectoll-route-edit"].map(bind).concat();
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NS}, labels: {{vectoll.dev/delivery: Gateway}}}}}}\n---\n{{apiVersion: v1, kind: \
         ServiceAccount, metadata: {{name: owner, namespace: {NS}}}}}{bindings}"
    )
}

/// The values of a Secret.
fn decoded(secret: &Value) -> anyhow::Result<Loot> {
    let (name, mut loot) = (secret["metadata"]["name"].as_str().unwrap_or_default(), Loot::default());
    for (entry, value) in secret["data"].as_object().into_iter().flatten() {
        loot.add(format!("the Secret {name}/{entry}"), BASE64_STANDARD.decode(value.as_str().unwrap_or_default())?);
    }
    Ok(loot)
}

/// As the administrator: something that goes with a credential of their own.
fn apply(cluster: &Cluster, credential: &str, yaml: &str) -> anyhow::Result<()> {
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: own, namespace: {NS}}}, stringData: {{api-key: {credential}}}}}\n---\n{yaml}"
    );
    cluster.inside(&["kubectl", "apply", "-f", "-", OWNER], Some(&secret)).map(|_| ())
}

/// A route of the tenant's own, and who carries it out.
fn own_route(delivery: &str, url: &str) -> String {
    format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: own, namespace: {NS}}}, spec: {{models: [own], delivery: \
         {delivery}, backends: [{{name: own, openAI: {{baseURL: '{url}', apiKeySecretRef: {{name: own, key: api-key}}}}, price: \
         {{inputPerMillionTokens: '0'}}, tokens: {{encoding: cl100k_base}}}}]}}}}"
    )
}

/// An injected pod, and one that mounts itself what the sidecar has. Both have a shell and curl.
fn pods() -> String {
    let container =
        "name: app, image: 'curlimages/curl:local', imagePullPolicy: Never, stdin: true, command: [sh, -c, read line]";
    let security = "securityContext: {runAsNonRoot: true, runAsUser: 100}, terminationGracePeriodSeconds: 1";
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: app, namespace: {NS}, labels: {{vectoll.dev/inject: 'true'}}, annotations: \
         {{vectoll.dev/api-key: free}}}}, spec: {{{security}, containers: [{{{container}}}]}}}}\n---\n{{apiVersion: v1, kind: Pod, metadata: \
         {{name: thief, namespace: {NS}}}, spec: {{{security}, volumes: [{{name: config, secret: {{secretName: vectoll-sidecar, optional: \
         true}}}}, {{name: token, projected: {{sources: [{{serviceAccountToken: {{path: gateway, audience: vectoll-gateway, expirationSeconds: \
         600}}}}]}}}}], containers: [{{{container}, volumeMounts: [{{name: config, mountPath: /stolen/config}}, {{name: token, mountPath: \
         /stolen/token}}]}}]}}}}"
    )
}
