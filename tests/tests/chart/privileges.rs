//! What the operator's `ServiceAccount` may do, asked of the API server, which counts roles and admission policies together.

use std::fmt::Write;

use anyhow::ensure;
use serde_json::json;

use crate::cluster::{Cluster, eventually};
use crate::tool::{NAMESPACE, Said, read, repository};

const OPERATOR: &str = "--as=system:serviceaccount:vectoll-system:vectoll";

/// Namespace, verb, and resource: `RESOURCE.GROUP`, `RESOURCE.GROUP:SUBRESOURCE` or `RESOURCE.GROUP/NAME`.
pub type Question<'a> = (&'a str, &'a str, &'a str);

/// Whoever restores backups, by the chart's value `admissionPolicies.secretWriters`: an administrator by another name.
const RESTORER: [&str; 2] = ["--as=system:serviceaccount:velero:velero", "--as-group=system:masters"];
/// A user who may do everything that roles can give.
const ADMINISTRATOR: [&str; 2] = ["--as=somebody", "--as-group=system:masters"];

const LEASE: &str = "leases.coordination.k8s.io/vectoll-operator";
const STORE: &str = "secrets/vectoll-store-master";
const CERTIFICATE: &str = "secrets/vectoll-webhook-tls";
const WEBHOOK: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io/vectoll";

/// Each of these in a namespace.
fn within<'a>(namespace: &'a str, these: &[(&'a str, &'a str)]) -> Vec<Question<'a>> {
    these.iter().map(|&(verb, what)| (namespace, verb, what)).collect()
}

impl Cluster {
    /// Installs or upgrades the release with these settings only.
    fn install(&self, set: &str) -> anyhow::Result<()> {
        let chart = repository("charts/vectoll").display().to_string();
        self.helm(&["upgrade", "--install", "vectoll", &chart, "--reset-values", "--set", set])?.ok().map(drop)
    }

    /// Whether the operator may do each of these.
    fn may(&self, questions: &[Question<'_>]) -> anyhow::Result<Vec<bool>> {
        self.may_user(OPERATOR.trim_start_matches("--as="), questions)
    }

    /// Whether a user may do each of these. All are asked at once: the API server is quick, and starting kubectl is not.
    pub fn may_user(&self, user: &str, questions: &[Question<'_>]) -> anyhow::Result<Vec<bool>> {
        let mut reviews = String::new();
        for (namespace, verb, what) in questions {
            let (what, name) = what.split_once('/').unwrap_or((what, ""));
            let (what, subresource) = what.split_once(':').unwrap_or((what, ""));
            let (resource, group) = what.split_once('.').unwrap_or((what, ""));
            let attributes = json!({
                "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name,
            });
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": user, "resourceAttributes": attributes},
            });
            writeln!(reviews, "---\n{review}")?;
        }
        let said = self.kubectl_with(&["create", "--output=jsonpath={.status.allowed}{'\\n'}"], &reviews)?.ok()?;
        let answers: Vec<bool> = said.lines().map(|line| line == "true").collect();
        ensure!(answers.len() == questions.len(), "{said}");
        Ok(answers)
    }

    fn may_all(&self, questions: &[Question<'_>]) -> anyhow::Result<()> {
        let refused: Vec<_> = questions.iter().zip(self.may(questions)?).filter(|(_, may)| !may).collect();
        ensure!(refused.is_empty(), "the operator may not: {refused:?}");
        Ok(())
    }

    fn may_none(&self, questions: &[Question<'_>]) -> anyhow::Result<()> {
        let allowed: Vec<_> = questions.iter().zip(self.may(questions)?).filter(|(_, may)| *may).collect();
        ensure!(allowed.is_empty(), "the operator may: {allowed:?}");
        Ok(())
    }

    fn as_operator(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        self.kubectl(&[&[OPERATOR, "--namespace=search"], arguments].concat())
    }

    /// It may not: by a policy of ours, and not for another reason.
    fn refuses_the_operator(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let said = self.as_operator(arguments)?.refused()?;
        assert!(said.contains("The Vectoll operator may"), "{arguments:?}: {said}");
        Ok(())
    }
}

const NEEDED: &[(&str, &str)] = &[
    ("list", "apikeys.vectoll.dev"),
    ("watch", "teams.vectoll.dev"),
    ("get", "modelroutes.vectoll.dev"),
    ("patch", "apikeys.vectoll.dev:status"),
    ("patch", "teams.vectoll.dev:status"),
    ("patch", "modelroutes.vectoll.dev:status"),
    ("watch", "secrets"),
    ("create", "secrets"),
    ("patch", "secrets"),
    ("delete", "secrets"),
    ("watch", "pods"),
    ("patch", "pods"),
    ("create", "events.events.k8s.io"),
];

const NOT_NEEDED: &[(&str, &str)] = &[
    ("patch", "apikeys.vectoll.dev"),
    ("delete", "teams.vectoll.dev"),
    ("create", "modelroutes.vectoll.dev"),
    ("deletecollection", "secrets"),
    ("create", "pods"),
    ("delete", "pods"),
    ("patch", "pods:status"),
    ("patch", "pods:ephemeralcontainers"),
    ("create", "pods:exec"),
    ("create", "serviceaccounts:token"),
    ("get", "configmaps"),
    ("get", "deployments.apps"),
    ("patch", "namespaces"),
    ("get", "nodes"),
    ("create", "roles.rbac.authorization.k8s.io"),
    ("create", "mutatingwebhookconfigurations.admissionregistration.k8s.io"),
    ("patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io/another"),
    ("patch", "validatingadmissionpolicies.admissionregistration.k8s.io"),
];

#[test]
fn the_operator_may_do_what_it_needs_and_no_more() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    for namespace in ["search", "shop"] {
        cluster.kubectl(&["create", "namespace", namespace])?.ok()?;
    }
    let restorer = RESTORER[0].trim_start_matches("--as=");
    cluster.install(&format!("webhook.certificate=own,admissionPolicies.secretWriters={{{restorer}}}"))?;
    everywhere(&cluster)?;
    pods_keep_what_they_are(&cluster)?;
    secrets_of_others_stay(&cluster)?;
    nobody_else_writes_the_operators_secrets(&cluster)?;
    the_secret_of_the_store_is_made_once(&cluster)?;
    the_webhook_stays_but_for_its_ca(&cluster)?;
    the_policies_have_no_type_errors(&cluster)?;
    a_pod_never_starts_without_its_sidecar(&cluster)?;
    cluster.install("watchNamespaces={search}")?;
    in_watched_namespaces_only(&cluster)?;
    cluster.install("watchNamespaces={search},gateway.enabled=true")?;
    the_gateways_secrets_are_the_operators(&cluster)?;
    cluster.apply(&read(repository("tests/chart/stand-ins.yaml"))?)?;
    cluster.install("watchNamespaces={search},webhook.certificate=cert-manager,store.enabled=false")?;
    neither_certificate_nor_ca(&cluster)
}

fn everywhere(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.may_all(&within("search", NEEDED))?;
    cluster.may_none(&within("search", NOT_NEEDED))?;
    cluster.may_none(&within(NAMESPACE, NOT_NEEDED))?;
    cluster.may_all(&[
        ("", "watch", "namespaces"),
        (NAMESPACE, "create", "leases.coordination.k8s.io"),
        (NAMESPACE, "get", LEASE),
        (NAMESPACE, "update", LEASE),
        (NAMESPACE, "update", CERTIFICATE),
        ("", "get", WEBHOOK),
        ("", "patch", WEBHOOK),
    ])?;
    cluster.may_none(&[
        (NAMESPACE, "update", "leases.coordination.k8s.io/another"),
        ("search", "update", LEASE),
        ("search", "create", "leases.coordination.k8s.io"),
        (NAMESPACE, "update", "secrets/another"),
        ("search", "update", CERTIFICATE),
        ("", "update", WEBHOOK),
        ("", "delete", WEBHOOK),
    ])
}

/// The policies come into force within moments of their creation.
fn pods_keep_what_they_are(cluster: &Cluster) -> anyhow::Result<()> {
    // Without the ServiceAccount controller's default account there are no pods.
    eventually("the default ServiceAccount", || Ok(cluster.kubectl(&["get", "-n", "search", "sa", "default"])?.well))?;
    cluster.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: app, namespace: search, labels: {app: web}, annotations: {note: mine}},
          spec: {containers: [{name: app, image: web}]}}",
    )?;
    let label = ["label", "pod", "app", "--overwrite", "--dry-run=server", "app=other"];
    eventually("a policy on pods", || Ok(!cluster.as_operator(&label)?.well))?;
    let patches = [
        r#"{"metadata": {"labels": {"app": "other"}}}"#,
        r#"{"metadata": {"labels": {"app": null}}}"#,
        r#"{"metadata": {"annotations": {"note": "theirs"}}}"#,
        r#"{"metadata": {"annotations": {"note": null}}}"#,
        r#"{"metadata": {"annotations": {"another": "one"}}}"#,
        r#"{"metadata": {"annotations": {"vectoll.dev/config-generation": "7", "another": "one"}}}"#,
        r#"{"metadata": {"finalizers": ["example.com/hold"]}}"#,
        r#"{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "app", "uid": "1"}]}}"#,
        r#"{"spec": {"containers": [{"name": "app", "image": "evil"}]}}"#,
        r#"{"spec": {"activeDeadlineSeconds": 1}}"#,
    ];
    for patch in patches {
        cluster.refuses_the_operator(&["patch", "pod", "app", "--type=strategic", "--patch", patch])?;
    }
    // Also where annotations come and go.
    for value in
        ["vectoll.dev/config-generation=1", "vectoll.dev/config-generation=2", "vectoll.dev/config-generation-"]
    {
        cluster.as_operator(&["annotate", "pod", "app", "--overwrite", value])?.ok()?;
    }
    cluster.kubectl(&["annotate", "pod", "app", "--namespace=search", "note-"])?.ok()?;
    cluster.as_operator(&["annotate", "pod", "app", "vectoll.dev/config-generation=3"])?.ok()?;
    cluster.as_operator(&["annotate", "pod", "app", "vectoll.dev/config-generation-"])?.ok()?;
    // Nobody else is held to this.
    cluster.kubectl(&["label", "pod", "app", "--namespace=search", "--overwrite", "app=other"])?.ok().map(drop)
}

fn secrets_of_others_stay(cluster: &Cluster) -> anyhow::Result<()> {
    let secret = |namespace: &str, name: &str, kind: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, type: {kind}, metadata: {{name: {name}, namespace: {namespace}}}, stringData: {{tls.crt: '', tls.key: '', key: a}}}}"
        )
    };
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=vectoll-operator", OPERATOR];
    let own = [
        secret("search", "alice", "vectoll.dev/api-key"),
        secret("search", "vectoll-sidecar", "vectoll.dev/sidecar-config"),
        secret(NAMESPACE, "vectoll-webhook-tls", "kubernetes.io/tls"),
    ];
    for manifest in &own {
        cluster.kubectl_with(&apply, manifest)?.ok()?;
        cluster.kubectl_with(&apply, &manifest.replace("key: a", "key: b"))?.ok()?;
    }
    let foreign = [
        secret("search", "bob", "Opaque"),
        secret("search", "token", "kubernetes.io/service-account-token").replace(
            "namespace: search",
            "namespace: search, annotations: {kubernetes.io/service-account.name: default}",
        ),
        secret("search", "another-name", "vectoll.dev/sidecar-config"),
        secret("search", "vectoll-webhook-tls", "kubernetes.io/tls"),
        secret(NAMESPACE, "another-name", "kubernetes.io/tls"),
        secret(NAMESPACE, "vectoll-webhook-tls-2", "vectoll.dev/sidecar-config"),
    ];
    for manifest in &foreign {
        let said = cluster.kubectl_with(&apply, manifest)?.refused()?;
        assert!(said.contains("The Vectoll operator may write only Secrets of type"), "{manifest}: {said}");
        // Somebody else makes it: then it is not to be changed, taken over or deleted either.
        cluster.kubectl_with(&[&["apply", "--server-side"], &RESTORER[..]].concat(), manifest)?.ok()?;
        let said = cluster.kubectl_with(&apply, &manifest.replace("key: a", "key: b"))?.refused()?;
        assert!(said.contains("The Vectoll operator may write only Secrets of type"), "{manifest}: {said}");
        let said = cluster.kubectl_with(&["delete", OPERATOR], manifest)?.refused()?;
        assert!(said.contains("The Vectoll operator may write only Secrets of type"), "{manifest}: {said}");
    }
    for manifest in &own {
        cluster.kubectl_with(&["delete", OPERATOR], manifest)?.ok()?;
    }
    Ok(())
}

/// A planted Secret of a key would have a value that somebody chose; an immutable one, or a changed annotation, would stop a namespace.
fn nobody_else_writes_the_operators_secrets(cluster: &Cluster) -> anyhow::Result<()> {
    let key = "{apiVersion: v1, kind: Secret, type: vectoll.dev/api-key, metadata: {name: NAME, namespace: search}, stringData: {key: a}}";
    let config = "{apiVersion: v1, kind: Secret, type: vectoll.dev/sidecar-config, metadata: {name: vectoll-sidecar, namespace: search}}";
    let words = "are written by the Vectoll operator alone";
    let by = |verb: &[&str], who: &[&str], manifest: &str| cluster.kubectl_with(&[verb, who].concat(), manifest);
    let planted = key.replace("NAME", "planted");
    // Nobody plants one.
    for manifest in [planted.as_str(), config] {
        let said = by(&["create"], &ADMINISTRATOR, manifest)?.refused()?;
        assert!(said.contains(words) && said.contains("spec.secretRef"), "{manifest}: {said}");
    }
    // The operator makes them, and nobody changes them.
    let own = key.replace("NAME", "own");
    for manifest in [own.as_str(), config] {
        by(&["create"], &[OPERATOR], manifest)?.ok()?;
    }
    for (name, patch) in [
        ("own", r#"{"immutable": true}"#),
        ("own", r#"{"data": {"key": "Yg=="}}"#),
        ("own", r#"{"metadata": {"annotations": {"vectoll.dev/previous": "0"}}}"#),
        ("own", r#"{"metadata": {"ownerReferences": null, "finalizers": ["example.com/hold"]}}"#),
        ("vectoll-sidecar", r#"{"immutable": true}"#),
        ("vectoll-sidecar", r#"{"metadata": {"annotations": {"vectoll.dev/generation": "18446744073709551615"}}}"#),
    ] {
        let patch = ["patch", "secret", name, "--namespace=search", "--patch", patch];
        let said = cluster.kubectl(&[&patch[..], &ADMINISTRATOR].concat())?.refused()?;
        assert!(said.contains(words), "{patch:?}: {said}");
    }
    // But for whoever rewrites all of them as they are, so that they are encrypted anew.
    let same = cluster.kubectl(&["get", "secret", "own", "--namespace=search", "--output=json"])?.ok()?;
    by(&["replace"], &ADMINISTRATOR, &same)?.ok()?;
    // Who restores a backup may, and so may the operator.
    let restored = key.replace("NAME", "restored");
    by(&["create"], &RESTORER, &restored)?.ok()?;
    let touch = ["annotate", "secret", "own", "--namespace=search", "note=1", OPERATOR];
    cluster.kubectl(&touch)?.ok()?;
    // Everybody who may delete Secrets may delete these, and the garbage collector takes those whose owner is gone.
    for manifest in [&own, config, &restored] {
        by(&["delete"], &ADMINISTRATOR, manifest)?.ok()?;
    }
    let owned = "{apiVersion: v1, kind: Secret, type: vectoll.dev/api-key, metadata: {name: owned, namespace: search, ownerReferences: \
         [{apiVersion: v1, kind: ConfigMap, name: gone, uid: 8f0c2f5e-4b9a-4a53-9d0b-000000000000}]}}";
    by(&["create"], &[OPERATOR], owned)?.ok()?;
    eventually("the garbage collector", || {
        Ok(!cluster.kubectl(&["get", "secret", "owned", "--namespace=search"])?.well)
    })?;
    // Other Secrets are everybody's own.
    for verb in [["create"], ["delete"]] {
        by(&verb, &ADMINISTRATOR, &planted.replace("vectoll.dev/api-key", "Opaque"))?.ok()?;
    }
    Ok(())
}

/// In its own namespace, watched or not, the operator writes those of the gateway, and no others by that.
fn the_gateways_secrets_are_the_operators(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.may_all(&[
        (NAMESPACE, "create", "secrets"),
        (NAMESPACE, "patch", "secrets/vectoll-gateway-0"),
        (NAMESPACE, "get", "secrets/vectoll-gateway-63"),
        (NAMESPACE, "patch", "secrets/vectoll-gateway-issuer"),
        (NAMESPACE, "update", "secrets/vectoll-gateway-tls"),
        (NAMESPACE, "list", "pods"),
        (NAMESPACE, "patch", "pods"),
    ])?;
    cluster.may_none(&[
        (NAMESPACE, "patch", "secrets/vectoll-gateway-64"),
        (NAMESPACE, "get", "secrets/another"),
        (NAMESPACE, "list", "secrets"),
        (NAMESPACE, "delete", "pods"),
    ])?;
    let secret = |namespace: &str, name: &str, kind: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, type: {kind}, metadata: {{name: {name}, namespace: {namespace}}}, stringData: {{tls.crt: '', tls.key: ''}}}}"
        )
    };
    let create = ["create", "--dry-run=server", OPERATOR];
    let config = "vectoll.dev/gateway-config";
    eventually("the policy on Secrets", || {
        Ok(cluster.kubectl_with(&create, &secret(NAMESPACE, "vectoll-gateway-0", config))?.well)
    })?;
    cluster.kubectl_with(&create, &secret(NAMESPACE, "vectoll-gateway-issuer", config))?.ok()?;
    cluster.kubectl_with(&create, &secret(NAMESPACE, "vectoll-gateway-tls", "kubernetes.io/tls"))?.ok()?;
    for foreign in [
        secret("search", "vectoll-gateway-0", config),
        secret(NAMESPACE, "vectoll-gateway-x", config),
        secret(NAMESPACE, "vectoll-gateway-0", "Opaque"),
        secret(NAMESPACE, "vectoll-gateway-0", "kubernetes.io/tls"),
    ] {
        let said = cluster.kubectl_with(&create, &foreign)?.refused()?;
        assert!(said.contains("The Vectoll operator may write only Secrets of type"), "{foreign}: {said}");
    }
    Ok(())
}

/// What is left of a pod when all webhooks have run.
fn a_pod_never_starts_without_its_sidecar(cluster: &Cluster) -> anyhow::Result<()> {
    // Nobody answers the webhook here: without it the pods come to the policy as they are. The next upgrade brings it back.
    cluster.kubectl(&["delete", "mutatingwebhookconfiguration", "vectoll"])?.ok()?;
    let pod = |namespace: &str, inject: &str, sidecar: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "app-", "namespace": namespace, "labels": {"vectoll.dev/inject": inject}},
            "spec": {
                "initContainers": serde_json::from_str::<serde_json::Value>(sidecar).unwrap(),
                "containers": [{"name": "app", "image": "app"}],
            },
        })
        .to_string()
    };
    let create = ["create", "--dry-run=server"];
    let native =
        r#"[{"name": "other", "image": "a"}, {"name": "vectoll-sidecar", "image": "a", "restartPolicy": "Always"}]"#;
    let plain = r#"[{"name": "vectoll-sidecar", "image": "a"}]"#;
    eventually("the webhook's end", || Ok(cluster.kubectl_with(&create, &pod("search", "true", native))?.well))?;
    for (inject, sidecar, words) in [
        ("true", plain, "has lost its restartPolicy Always"),
        ("maybe", plain, "has lost its restartPolicy Always"),
        ("true", "[]", "has no init container vectoll-sidecar"),
        ("true", r#"[{"name": "other", "image": "a"}]"#, "has no init container vectoll-sidecar"),
    ] {
        let said = cluster.kubectl_with(&create, &pod("search", inject, sidecar))?.refused()?;
        assert!(said.contains(words), "{inject} {sidecar}: {said}");
    }
    // Who does not ask is not asked.
    cluster.kubectl_with(&create, &pod("search", "false", "[]"))?.ok()?;
    // What was injected because its namespace asks has no label of its own, but that of the contract.
    let of_namespace =
        |sidecar: &str| pod("search", "v1", sidecar).replace("vectoll.dev/inject", "vectoll.dev/contract");
    let said = cluster.kubectl_with(&create, &of_namespace("[]"))?.refused()?;
    assert!(said.contains("has no init container vectoll-sidecar"), "{said}");
    cluster.kubectl_with(&create, &of_namespace(native))?.ok()?;
    Ok(())
}

/// Not even the operator changes it: every sidecar would have another password.
fn the_secret_of_the_store_is_made_once(cluster: &Cluster) -> anyhow::Result<()> {
    let secret = |namespace: &str, name: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, type: vectoll.dev/store-master, metadata: {{name: {name}, namespace: {namespace}}}, stringData: {{master: a}}}}"
        )
    };
    let (create, apply) = (["create", OPERATOR], ["apply", "--server-side", "--force-conflicts", OPERATOR]);
    for foreign in [secret("search", "vectoll-store-master"), secret(NAMESPACE, "another-name")] {
        let said = cluster.kubectl_with(&create, &foreign)?.refused()?;
        assert!(said.contains("The Vectoll operator may write only Secrets of type"), "{foreign}: {said}");
    }
    let own = secret(NAMESPACE, "vectoll-store-master");
    cluster.kubectl_with(&create, &own)?.ok()?;
    let changed = own.replace("master: a", "master: b");
    for (verb, manifest) in [(&apply[..], &changed), (&["delete", OPERATOR][..], &own)] {
        let said = cluster.kubectl_with(verb, manifest)?.refused()?;
        assert!(said.contains("The Vectoll operator may write only Secrets of type"), "{verb:?}: {said}");
    }
    cluster.kubectl_with(&["delete"], &own)?.ok().map(drop)
}

fn the_webhook_stays_but_for_its_ca(cluster: &Cluster) -> anyhow::Result<()> {
    let patch = |kind: &str, patch: &str| {
        cluster.kubectl(&["patch", "mutatingwebhookconfiguration", "vectoll", OPERATOR, kind, "--patch", patch])
    };
    for path in [
        r#"{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}"#,
        r#"{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 30}"#,
        r#"{"op": "replace", "path": "/webhooks/0/sideEffects", "value": "NoneOnDryRun"}"#,
        r#"{"op": "replace", "path": "/webhooks/0/reinvocationPolicy", "value": "Never"}"#,
        r#"{"op": "replace", "path": "/webhooks/0/matchPolicy", "value": "Exact"}"#,
        r#"{"op": "replace", "path": "/webhooks/0/name", "value": "another.vectoll.dev"}"#,
        r#"{"op": "replace", "path": "/webhooks/0/objectSelector", "value": {}}"#,
        r#"{"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": {}}"#,
        r#"{"op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["secrets"]}"#,
        r#"{"op": "replace", "path": "/webhooks/0/clientConfig/service/namespace", "value": "search"}"#,
        r#"{"op": "replace", "path": "/webhooks/0/clientConfig", "value": {"url": "https://example.com"}}"#,
        r#"{"op": "add", "path": "/webhooks/0/matchConditions", "value": [{"name": "never", "expression": "false"}]}"#,
        r#"{"op": "add", "path": "/webhooks/0/admissionReviewVersions/-", "value": "v1beta1"}"#,
        r#"{"op": "remove", "path": "/webhooks/0"}"#,
        r#"{"op": "copy", "from": "/webhooks/0", "path": "/webhooks/-"}, {"op": "replace", "path": "/webhooks/2/name", "value": "b.vectoll.dev"}"#,
        r#"{"op": "remove", "path": "/metadata/labels"}"#,
        r#"{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/hold"]}"#,
    ] {
        let said = patch("--type=json", &format!("[{path}]"))?.refused()?;
        assert!(said.contains("of its webhook configuration"), "{path}: {said}");
    }
    patch(
        "--type=strategic",
        r#"{"webhooks": [{"name": "inject.vectoll.dev", "clientConfig": {"caBundle": "Cg=="}}]}"#,
    )?
    .ok()?;
    patch("--type=json", r#"[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "Cgo="}]"#)?
        .ok()
        .map(drop)
}

fn the_policies_have_no_type_errors(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("policies checked", || {
        let policies = cluster.get(&["validatingadmissionpolicies"])?;
        let policies = policies["items"].as_array().cloned().unwrap_or_default();
        assert_eq!(policies.len(), 6);
        let checked = |policy: &&serde_json::Value| policy["status"]["typeChecking"].is_object();
        for policy in policies.iter().filter(checked) {
            assert!(policy["status"]["typeChecking"]["expressionWarnings"].is_null(), "{}", policy["status"]);
        }
        Ok(policies.iter().all(|policy| checked(&policy)))
    })
}

fn in_watched_namespaces_only(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("roles withdrawn", || Ok(cluster.may(&[("shop", "watch", "secrets")])? == [false]))?;
    cluster.may_all(&within("search", NEEDED))?;
    cluster.may_none(&within("shop", NEEDED))?;
    cluster.may_none(&within("search", NOT_NEEDED))?;
    cluster.may_all(&[
        (NAMESPACE, "get", CERTIFICATE),
        (NAMESPACE, "create", "secrets"),
        (NAMESPACE, "get", STORE),
        ("", "get", "namespaces/search"),
        ("", "list", "namespaces/search"),
        ("", "watch", "namespaces/search"),
    ])?;
    cluster.may_none(&[
        (NAMESPACE, "list", "secrets"),
        (NAMESPACE, "update", STORE),
        (NAMESPACE, "patch", STORE),
        (NAMESPACE, "delete", STORE),
        (NAMESPACE, "get", "secrets/another"),
        (NAMESPACE, "watch", "pods"),
        ("", "get", "namespaces/shop"),
        ("", "watch", "namespaces/shop"),
        ("", "watch", "namespaces"),
    ])?;
    // As the operator asks: one watch a namespace, by field.
    cluster.as_operator(&["get", "namespaces", "--field-selector=metadata.name=search"])?.ok()?;
    let said = cluster.as_operator(&["get", "namespaces", "--field-selector=metadata.name=shop"])?.refused()?;
    assert!(said.contains("cannot list resource"), "{said}");
    Ok(())
}

fn neither_certificate_nor_ca(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("roles withdrawn", || Ok(cluster.may(&[("", "patch", WEBHOOK)])? == [false]))?;
    cluster.may_all(&[(NAMESPACE, "get", CERTIFICATE), (NAMESPACE, "watch", CERTIFICATE)])?;
    cluster.may_none(&[
        (NAMESPACE, "update", CERTIFICATE),
        (NAMESPACE, "patch", CERTIFICATE),
        (NAMESPACE, "create", "secrets"),
        (NAMESPACE, "get", STORE),
    ])
}
