//! The full cluster with the release in it, and short ways to use it.

#![allow(clippy::unused_self, reason = "whoever has a `Cluster` has started it: that is what they ask it for")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use vectoll_tests::documents::{block, with};

/// Five times what users are promised.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// For what a busy machine has to start.
pub const START: Duration = Duration::from_mins(2);
/// The release's namespace.
pub const SYSTEM: &str = "vectoll-system";

pub struct Cluster;

/// The repository.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn script(name: &str) -> Command {
    let mut command = Command::new(folder().join("tests/cluster").join(name));
    command.stdin(Stdio::null()).current_dir(folder());
    command
}

impl Cluster {
    /// Starts the node, brings the images to it and installs the chart, as the README says it.
    pub fn start() -> anyhow::Result<Self> {
        run(script("down"))?;
        run({
            let mut up = script("up");
            up.args(["--with-parent", &std::process::id().to_string()]);
            up
        })?;
        let cluster = Self;
        cluster.bring_images()?;
        let values = "--timeout=3m --values tests/e2e/values.yaml";
        let install = with(&block("cluster-install")?, "--set imageRegistry=registry.example.com", values)?;
        cluster.inside(&["bash", "-euc", &install], None)?;
        Ok(cluster)
    }

    /// `helm install` or `helm upgrade` of the chart, waited for.
    pub fn release(&self, verb: &str, more: &[&str]) -> anyhow::Result<()> {
        let usual = ["--namespace", SYSTEM, "--wait", "--timeout=3m", "--values", "tests/e2e/values.yaml"];
        self.helm(&[&[verb, "vectoll", "charts/vectoll"], &usual[..], more].concat()).map(|_| ())
    }

    /// The images that `make images` made, or those in the folder that `VECTOLL_IMAGES` names.
    fn bring_images(&self) -> anyhow::Result<()> {
        let images = std::env::var_os("VECTOLL_IMAGES").map_or_else(|| folder().join("target/images"), PathBuf::from);
        for name in ["operator", "sidecar"] {
            let archive = images.join(format!("{name}.oci.tar"));
            ensure!(archive.exists(), "there is no {}: `make images` makes it", archive.display());
            let mut load = script("load-image");
            load.arg(&archive);
            run(load)?;
        }
        let scratch = tempfile::tempdir()?;
        for name in ["curl", "store"] {
            let mut make = Command::new(folder().join("tests/images").join(name));
            make.arg(scratch.path());
            run(make)?;
            let mut load = script("load-image");
            load.arg(scratch.path().join(format!("{name}.oci.tar")));
            run(load)?;
        }
        Ok(())
    }

    /// A program in the cluster's network, as its administrator.
    pub fn inside(&self, program: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        let mut command = script("in");
        command.args(program).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn()?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            std::io::Write::write_all(&mut stdin, text.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{}: {}{}", program.join(" "), said.trim(), String::from_utf8_lossy(&output.stdout).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.inside(&[&["kubectl"], arguments].concat(), None)
    }

    pub fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.inside(&[&["helm"], arguments].concat(), None)
    }

    pub fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        self.inside(&["kubectl", "apply", "-f", "-"], Some(yaml)).map(|_| ())
    }

    /// A namespace in which only what is restricted may run, with a Team and a route to the built-in model.
    pub fn namespace(&self, name: &str) -> anyhow::Result<()> {
        self.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}\n\
             ---\n{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: team, namespace: {name}}}, spec: {{}}}}\n\
             ---\n{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: builtin, namespace: {name}}}, spec: \
             {{models: [builtin], backends: [{{name: builtin, builtin: {{}}}}]}}}}\n"
        ))
    }

    pub fn api_key(&self, namespace: &str, name: &str, more: &str) -> anyhow::Result<()> {
        self.apply(&format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {{name: {name}, namespace: {namespace}}}, spec: \
             {{teamRef: {{name: team}}{more}}}}}"
        ))
    }

    /// Waits until a look finds something.
    pub fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        loop {
            let last = match look() {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => None,
                Err(error) => Some(error),
            };
            if began.elapsed() > deadline {
                let late = format!("waited {deadline:?} in vain for {what}");
                return Err(last.map_or_else(|| anyhow::anyhow!("{late}"), |error| error.context(late.clone())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn wait(&self, namespace: &str, condition: &str, of: &str) -> anyhow::Result<()> {
        let timeout = format!("--timeout={}s", START.as_secs());
        self.kubectl(&["wait", "-n", namespace, &format!("--for={condition}"), of, &timeout])
            .map(|_| ())
            .with_context(|| self.kubectl(&["describe", "-n", namespace, "pods"]).unwrap_or_default())
    }

    /// One call from within a pod's application container. Without a key it sends the one of its environment.
    pub fn call(&self, namespace: &str, pod: &str, key: Option<&str>, seconds: u32) -> anyhow::Result<String> {
        let seconds = format!("--timeout-seconds={seconds}");
        let mut arguments = vec![
            "exec",
            "-n",
            namespace,
            pod,
            "-c",
            "app",
            "--",
            "/vectoll-operator",
            "try",
            "--model=builtin",
            &seconds,
        ];
        let key = key.map(|key| format!("--api-key={key}"));
        arguments.extend(key.as_deref());
        self.kubectl(&arguments)
    }

    /// The value of a key.
    pub fn value(&self, namespace: &str, secret: &str) -> anyhow::Result<String> {
        let text = self.kubectl(&[
            "get",
            "secret",
            "-n",
            namespace,
            secret,
            "-o",
            "go-template={{.data.key | base64decode}}",
        ])?;
        ensure!(!text.is_empty(), "the Secret {secret} has no value");
        Ok(text)
    }

    /// A field of each of the operator's pods, by its path in one.
    pub fn operators(&self, path: &str) -> anyhow::Result<Vec<String>> {
        let path = format!("jsonpath={{.items[*].{path}}}");
        let label = "app.kubernetes.io/component=operator";
        let all = self.kubectl(&["get", "pods", "-n", SYSTEM, "-l", label, "-o", &path])?;
        Ok(all.split_whitespace().map(str::to_owned).collect())
    }

    pub fn operator_log(&self) -> String {
        self.kubectl(&["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator", "--prefix", "--tail=40"])
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    /// Ends a container's process as a crash would, behind the kubelet's back.
    pub fn kill_container(&self, id: &str) -> anyhow::Result<()> {
        containerd(&["tasks", "kill", "--signal", "SIGKILL", id])
    }

    /// Gives an image of ours another version as well.
    pub fn tag_image(&self, name: &str, version: &str) -> anyhow::Result<()> {
        let image = |version: &str| format!("docker.io/vectoll/{name}:{version}");
        containerd(&["images", "tag", "--force", &image(env!("CARGO_PKG_VERSION")), &image(version)])
    }

    /// One program of the cluster: stop, kill or start.
    pub fn component(&self, what: &str, name: &str) -> anyhow::Result<()> {
        let mut component = script("component");
        component.args([what, name]);
        run(component)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::env::var_os("VECTOLL_KEEP_CLUSTER").is_none()
            && let Err(error) = run(script("down"))
        {
            eprintln!("the cluster was not stopped: {error:#}");
        }
    }
}

/// The node's own containerd, asked past the kubelet.
fn containerd(arguments: &[&str]) -> anyhow::Result<()> {
    let state = std::env::var("VECTOLL_CLUSTER_DIR").unwrap_or_else(|_| "/var/lib/vectoll-cluster".to_owned());
    let mut ctr = Command::new(format!("{state}/bin/ctr"));
    ctr.env("CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS", "1");
    ctr.args(["--address", &format!("{state}/containerd.sock"), "--namespace", "k8s.io"]);
    ctr.args(arguments);
    run(ctr)
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let status = command.stdout(Stdio::null()).status().with_context(|| format!("failed to run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

/// An application that stays: the operator's program, idle.
pub fn idle() -> String {
    container("app", "[standalone, --manifests=/scratch, --config-dir=/config/in]")
}

/// A pod's spec around a container, with what the standard `restricted` asks for.
pub fn pod_spec(container: &str) -> String {
    format!(
        "{{securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}, \
         automountServiceAccountToken: false, terminationGracePeriodSeconds: 1, volumes: [{{name: scratch, emptyDir: {{}}}}, \
         {{name: config, emptyDir: {{}}}}], containers: [{container}]}}"
    )
}

/// A container of the operator's image.
pub fn container(name: &str, args: &str) -> String {
    format!(
        "{{name: {name}, image: 'vectoll/operator:{}', imagePullPolicy: Never, args: {args}, securityContext: \
         {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}, volumeMounts: [{{name: scratch, mountPath: /scratch}}, \
         {{name: config, mountPath: /config}}]}}",
        env!("CARGO_PKG_VERSION")
    )
}

/// An injected pod that stays.
pub fn pod(namespace: &str, name: &str, annotations: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}, labels: {{vectoll.dev/inject: 'true'}}, \
         annotations: {{{annotations}}}}}, spec: {}}}\n",
        pod_spec(&idle())
    )
}
