//! One review: the API server's request and our answer, `AdmissionReview` of `admission.k8s.io/v1`. Pure.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response>

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Pod};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::inject::{Injection, InjectionSettings, Namespace, inject};

/// What became of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It gets a sidecar.
    Injected,
    /// It does not ask for one.
    Untouched,
    /// Its namespace asks for one, and it cannot have one; the answer says why.
    Skipped,
    /// It asks and cannot have one; the answer says why.
    Refused,
    /// It is not a pod, or in no namespace.
    Invalid,
}

/// The request, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: ApiVersion,
    request: Request,
}

/// The one version that is understood; its answers look different from those of others.
#[derive(Deserialize)]
enum ApiVersion {
    #[serde(rename = "admission.k8s.io/v1")]
    V1,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    operation: String,
    resource: Resource,
    #[serde(default)]
    sub_resource: String,
    /// The pod itself may leave it out.
    #[serde(default)]
    namespace: String,
    object: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Resource {
    group: String,
    resource: String,
}

/// The API server's request to review a pod.
pub(super) struct PodReview(Request);

impl PodReview {
    /// An error: this is no review, so there is nothing to answer to.
    pub(super) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let Review { api_version: ApiVersion::V1, request } = serde_json::from_slice(body)?;
        Ok(Self(request))
    }

    /// Where the pod is to be.
    pub(super) fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// What is answered, and what became of the pod. `annotations` are the namespace's, or why they are not known; `asks`: its label asks
    /// for sidecars.
    pub(super) fn answer(
        self,
        settings: &InjectionSettings,
        annotations: &Result<BTreeMap<String, String>, String>,
        asks: bool,
    ) -> (Verdict, Value) {
        let Self(request) = self;
        let (verdict, mut response) = review_pod(&request, settings, annotations, asks);
        if let Some(response) = response.as_object_mut() {
            response.insert("uid".to_owned(), request.uid.into());
        }
        (verdict, json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
    }
}

fn review_pod(
    request: &Request,
    settings: &InjectionSettings,
    annotations: &Result<BTreeMap<String, String>, String>,
    asks: bool,
) -> (Verdict, Value) {
    let Request { uid: _, operation, resource, sub_resource, namespace, object } = request;
    if !(resource.group.is_empty() && resource.resource == "pods" && sub_resource.is_empty() && operation == "CREATE") {
        // Whatever made the API server ask: nothing is injected but a pod, and only when it is made.
        return (Verdict::Untouched, allowed());
    }
    let Some(object) = object else { return invalid("there is no pod in the review") };
    let pod: Pod = match serde_json::from_str(object.get()) {
        Ok(pod) => pod,
        Err(error) => return invalid(&format!("failed to read the pod: {error}")),
    };
    if namespace.is_empty() {
        return invalid("the review names no namespace");
    }
    let name = pod.metadata.name.as_deref().or(pod.metadata.generate_name.as_deref()).unwrap_or_default();
    let none = BTreeMap::new();
    let of = Namespace { name: namespace, annotations: annotations.as_ref().unwrap_or(&none), asks };
    match (inject(&pod, of, settings), annotations) {
        (Ok(None), _) => (Verdict::Untouched, allowed()),
        (Ok(Some(Injection { patch, warnings })), _) if patch.0.is_empty() => {
            tracing::info!(namespace, pod = name, ?warnings, "no sidecar for a pod of a labelled namespace");
            (Verdict::Skipped, json!({"allowed": true, "warnings": warnings}))
        }
        (Ok(Some(_)), Err(error)) => {
            tracing::warn!(namespace, pod = name, error, "pod refused: the namespace's annotations are not known yet");
            let message = format!(
                "the operator has just started and does not know yet what the namespace {namespace} says of sidecars ({error}): make the \
                 pod again in a few seconds"
            );
            (Verdict::Refused, denied(503, "ServiceUnavailable", &message))
        }
        (Ok(Some(Injection { patch, warnings })), Ok(_)) => match serde_json::to_vec(&patch) {
            Ok(patch) => {
                tracing::debug!(namespace, pod = name, "sidecar injected");
                let patch = ByteString(patch);
                let mut response = json!({"allowed": true, "patchType": "JSONPatch", "patch": patch});
                if let Some(response) = response.as_object_mut().filter(|_| !warnings.is_empty()) {
                    // Of most pods only their controller reads the answer.
                    tracing::warn!(namespace, pod = name, ?warnings, "calls to the sidecar may go to a proxy");
                    response.insert("warnings".to_owned(), warnings.into());
                }
                (Verdict::Injected, response)
            }
            Err(error) => invalid(&format!("failed to write the patch: {error}")),
        },
        (Err(refusal), _) => {
            tracing::info!(namespace, pod = name, reason = %refusal, "pod refused");
            (Verdict::Refused, denied(403, "Forbidden", &refusal.to_string()))
        }
    }
}

fn allowed() -> Value {
    json!({"allowed": true})
}

fn invalid(message: &str) -> (Verdict, Value) {
    tracing::warn!(error = message, "the webhook was sent something unusable");
    (Verdict::Invalid, denied(400, "BadRequest", message))
}

/// The message is what the person sees who made the pod, or the event of the controller that tried to.
fn denied(code: u16, reason: &str, message: &str) -> Value {
    json!({"allowed": false, "status": {"code": code, "reason": reason, "message": message}})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn settings() -> InjectionSettings {
        InjectionSettings::read("image: vectoll-sidecar:test").unwrap()
    }

    fn review(change: &Value) -> Vec<u8> {
        let mut review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "name": "",
                "namespace": "shop",
                "operation": "CREATE",
                "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
                "object": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"generateName": "web-", "labels": {"vectoll.dev/inject": "true"}},
                    "spec": {"containers": [{"name": "app", "image": "app", "fieldOfTomorrow": {"a": 1}}]},
                },
                "oldObject": null,
                "dryRun": false,
                "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            },
        });
        json_patch::merge(&mut review, change);
        serde_json::to_vec(&review).unwrap()
    }

    fn answer(change: &Value) -> (Verdict, Value) {
        let (verdict, answer) =
            PodReview::read(&review(change)).unwrap().answer(&settings(), &Ok(BTreeMap::new()), false);
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(answer["response"]["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
        (verdict, answer["response"].clone())
    }

    #[test]
    fn a_pod_without_a_name_is_injected_and_keeps_fields_that_nobody_here_knows() {
        let (verdict, response) = answer(&json!({}));
        assert_eq!((verdict, &response["allowed"]), (Verdict::Injected, &json!(true)));
        assert_eq!(response["patchType"], "JSONPatch");
        let patch: ByteString = serde_json::from_value(response["patch"].clone()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch.0).unwrap();
        let review: Value = serde_json::from_slice(&review(&json!({}))).unwrap();
        let mut pod = review["request"]["object"].clone();
        json_patch::patch(&mut pod, &patch).unwrap();
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "vectoll-sidecar");
        assert_eq!(pod["spec"]["containers"][0]["fieldOfTomorrow"], json!({"a": 1}));
    }

    #[test]
    fn the_namespace_is_the_reviews() {
        let (_, response) =
            answer(&json!({"request": {"object": {"metadata": {"annotations": {"vectoll.dev/api-key": "alice"}}}}}));
        let patch: ByteString = serde_json::from_value(response["patch"].clone()).unwrap();
        assert!(String::from_utf8(patch.0).unwrap().contains("\"shop/alice\""));
    }

    #[test]
    fn what_the_namespace_says_of_its_sidecars_counts() {
        let patch = |annotations: BTreeMap<String, String>| {
            let review = PodReview::read(&review(&json!({}))).unwrap();
            assert_eq!(review.namespace(), "shop");
            let (_, answer) = review.answer(&settings(), &Ok(annotations), false);
            let patch: ByteString = serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
            String::from_utf8(patch.0).unwrap()
        };
        assert!(!patch(BTreeMap::new()).contains("123m"));
        let limit = ("vectoll.dev/sidecar-cpu-limit".to_owned(), "123m".to_owned());
        assert!(patch([limit].into()).contains("\"123m\""));
    }

    #[test]
    fn no_pod_gets_a_sidecar_before_it_is_known_what_its_namespace_says() {
        let unknown = Err("the API server is away".to_owned());
        let (verdict, answer) = PodReview::read(&review(&json!({}))).unwrap().answer(&settings(), &unknown, false);
        let response = &answer["response"];
        assert_eq!((verdict, &response["allowed"]), (Verdict::Refused, &json!(false)));
        assert_eq!(response["status"]["code"], 503);
        let message = response["status"]["message"].as_str().unwrap();
        assert!(message.contains("the namespace shop") && message.contains("again in a few seconds"), "{message}");
        // What does not ask for one need not wait, and a pod that cannot have one is told so.
        let unlabelled = json!({"request": {"object": {"metadata": {"labels": null}}}});
        let (verdict, _) = PodReview::read(&review(&unlabelled)).unwrap().answer(&settings(), &unknown, false);
        assert_eq!(verdict, Verdict::Untouched);
        let refused = json!({"request": {"object": {"spec": {"hostNetwork": true}}}});
        let (_, answer) = PodReview::read(&review(&refused)).unwrap().answer(&settings(), &unknown, false);
        assert_eq!(answer["response"]["status"]["code"], 403);
    }

    #[test]
    fn what_a_namespace_asks_for_is_for_pods_that_say_nothing_and_can_have_it() {
        let of = |change: &Value| {
            let review = PodReview::read(&review(change)).unwrap();
            let (verdict, answer) = review.answer(&settings(), &Ok(BTreeMap::new()), true);
            (verdict, answer["response"].clone())
        };
        let object = |object: &Value| json!({"request": {"object": object}});
        let silent = json!({"metadata": {"labels": {"vectoll.dev/inject": null}}});
        assert_eq!(of(&object(&silent)).0, Verdict::Injected);
        let declines = json!({"metadata": {"labels": {"vectoll.dev/inject": "false"}}});
        assert_eq!(of(&object(&declines)).0, Verdict::Untouched);
        let mut on_the_node = silent.clone();
        on_the_node["spec"] = json!({"hostNetwork": true});
        let (verdict, response) = of(&object(&on_the_node));
        assert_eq!((verdict, &response["allowed"], response.get("patch")), (Verdict::Skipped, &json!(true), None));
        let warning = response["warnings"][0].as_str().unwrap();
        assert!(warning.contains("the namespace shop") && warning.contains("spec.hostNetwork"), "{warning}");
        // It asks itself, and is told so.
        on_the_node["metadata"]["labels"]["vectoll.dev/inject"] = json!("true");
        assert_eq!(of(&object(&on_the_node)).0, Verdict::Refused);
    }

    #[test]
    fn what_injection_cannot_keep_from_a_proxy_is_a_warning() {
        let with = |env: Value| {
            let containers = json!([{"name": "app", "image": "app", "env": env}]);
            answer(&json!({"request": {"object": {"spec": {"containers": containers}}}}))
        };
        let proxy = json!({"name": "HTTP_PROXY", "value": "http://proxy.example:3128"});
        let reference = json!({"configMapKeyRef": {"name": "proxy", "key": "except"}});
        let (verdict, response) = with(json!([proxy, {"name": "NO_PROXY", "valueFrom": reference}]));
        assert_eq!((verdict, &response["allowed"]), (Verdict::Injected, &json!(true)));
        let warning = response["warnings"][0].as_str().unwrap();
        assert!(warning.starts_with("spec.containers[0].env[NO_PROXY]: its value comes from elsewhere"), "{warning}");
        assert!(warning.contains("localhost,127.0.0.1"), "{warning}");
        let (_, response) = with(json!([proxy]));
        assert_eq!(response.get("warnings"), None);
    }

    #[test]
    fn a_dry_run_is_answered_alike() {
        assert_eq!(answer(&json!({"request": {"dryRun": true}})), answer(&json!({})));
    }

    #[test]
    fn what_does_not_ask_passes() {
        for change in [
            json!({"request": {"object": {"metadata": {"labels": null}}}}),
            json!({"request": {"object": {"metadata": {"labels": {"vectoll.dev/inject": "false"}}}}}),
            json!({"request": {"operation": "UPDATE"}}),
            json!({"request": {"operation": "DELETE", "object": null}}),
            json!({"request": {"subResource": "ephemeralcontainers"}}),
            json!({"request": {"resource": {"group": "apps", "resource": "deployments"}}}),
        ] {
            assert_eq!(
                answer(&change),
                (Verdict::Untouched, json!({"allowed": true, "uid": "705ab4f5-6393-11e8-b7cc-42010a800002"})),
                "{change}"
            );
        }
    }

    #[test]
    fn a_refusal_says_why_to_whoever_made_the_pod() {
        let (verdict, response) = answer(&json!({"request": {"object": {"spec": {"hostNetwork": true}}}}));
        assert_eq!((verdict, &response["allowed"]), (Verdict::Refused, &json!(false)));
        assert_eq!(response["status"]["code"], 403);
        assert!(response["status"]["message"].as_str().unwrap().starts_with("spec.hostNetwork: "), "{response}");
    }

    #[test]
    fn a_review_of_something_unusable_is_answered_with_a_refusal() {
        for (change, words) in [
            (json!({"request": {"object": null}}), "there is no pod"),
            (json!({"request": {"object": {"spec": 7}}}), "failed to read the pod"),
            (json!({"request": {"namespace": null}}), "names no namespace"),
        ] {
            let (verdict, response) = answer(&change);
            assert_eq!((verdict, &response["allowed"]), (Verdict::Invalid, &json!(false)), "{change}");
            assert!(response["status"]["message"].as_str().unwrap().contains(words), "{response}");
        }
    }

    #[test]
    fn what_is_no_review_is_an_error() {
        for change in [
            json!({"apiVersion": "admission.k8s.io/v1beta1"}),
            json!({"request": null}),
            json!({"request": {"uid": null}}),
        ] {
            assert!(PodReview::read(&review(&change)).is_err(), "{change}");
        }
        let deep = vec![b'['; 100_000];
        for body in [&b""[..], b"{", b"[]", b"null", b"\xFF\xFE", &deep] {
            assert!(PodReview::read(body).is_err());
        }
    }
}
