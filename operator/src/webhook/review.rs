//! One review: the API server's question and our answer, `AdmissionReview` of `admission.k8s.io/v1`. Pure.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response>

use k8s_openapi::{ByteString, api::core::v1::Pod};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::NamespaceAnnotations;
use crate::inject::{InjectionSettings, Namespace, inject};

/// What became of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It gets a sidecar.
    Injected,
    /// It does not ask for one.
    Untouched,
    /// It asks and cannot have one; the answer says why.
    Refused,
    /// It is not a pod, or in no namespace.
    Invalid,
}

/// The question, as far as it matters here.
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

/// What is answered, and what became of the pod. An error: this is no review, so there is nothing to answer to.
pub(super) fn review(
    body: &[u8],
    settings: &InjectionSettings,
    namespaces: &NamespaceAnnotations,
) -> Result<(Verdict, Value), serde_json::Error> {
    let Review { api_version: ApiVersion::V1, request } = serde_json::from_slice(body)?;
    let (verdict, mut response) = judge(&request, settings, namespaces);
    if let Some(response) = response.as_object_mut() {
        response.insert("uid".to_owned(), request.uid.into());
    }
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok((verdict, answer))
}

fn judge(request: &Request, settings: &InjectionSettings, namespaces: &NamespaceAnnotations) -> (Verdict, Value) {
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
    let annotations = namespaces.of(namespace);
    match inject(&pod, Namespace { name: namespace, annotations: &annotations }, settings) {
        Ok(None) => (Verdict::Untouched, allowed()),
        Ok(Some(patch)) => match serde_json::to_vec(&patch) {
            Ok(patch) => {
                tracing::debug!(namespace, pod = name, "sidecar injected");
                let patch = ByteString(patch);
                (Verdict::Injected, json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
            }
            Err(error) => invalid(&format!("failed to write the patch: {error}")),
        },
        Err(refusal) => {
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

    fn question(change: &Value) -> Vec<u8> {
        let mut question = json!({
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
        json_patch::merge(&mut question, change);
        serde_json::to_vec(&question).unwrap()
    }

    fn answer(change: &Value) -> (Verdict, Value) {
        let (verdict, answer) = review(&question(change), &settings(), &NamespaceAnnotations::default()).unwrap();
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
        let question: Value = serde_json::from_slice(&question(&json!({}))).unwrap();
        let mut pod = question["request"]["object"].clone();
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
        let namespaces = NamespaceAnnotations::default();
        let limit = ("vectoll.dev/sidecar-cpu-limit".to_owned(), "123m".to_owned());
        let patch = |namespaces: &NamespaceAnnotations| {
            let (_, answer) = review(&question(&json!({})), &settings(), namespaces).unwrap();
            let patch: ByteString = serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
            String::from_utf8(patch.0).unwrap()
        };
        namespaces.set("other", [limit.clone()].into());
        assert!(!patch(&namespaces).contains("123m"));
        namespaces.set("shop", [limit, ("note".to_owned(), "mine".to_owned())].into());
        assert!(patch(&namespaces).contains("\"123m\""));
        namespaces.set("shop", [].into());
        assert!(!patch(&namespaces).contains("123m"));
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
            assert!(review(&question(&change), &settings(), &NamespaceAnnotations::default()).is_err(), "{change}");
        }
        let deep = vec![b'['; 100_000];
        for body in [&b""[..], b"{", b"[]", b"null", b"\xFF\xFE", &deep] {
            assert!(review(body, &settings(), &NamespaceAnnotations::default()).is_err());
        }
    }
}
