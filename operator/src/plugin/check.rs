//! `check`: what is wrong with the installation and its resources, a line each.
//!
//! Each part reads what it needs and judges it (pure). What the user may not read is said, and stops no other part.

mod definitions;
mod egress;
mod finding;
mod installation;
mod pods;
mod resources;
mod secrets;

use std::io::Write;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, api::ListParams};
use vectoll_crds::{ApiKey, ModelRoute, Team};

use self::finding::{Finding, Findings, Mark};
pub(super) use self::installation::Installation;
use super::{
    cli::{Check, ClusterOptions},
    connect::{Connection, Place, connect},
    failure::{Failure, Request},
    objects::list,
    output::print,
};

/// Prints what it finds. Whether nothing is wrong.
pub(super) async fn run(settings: &Check, out: &mut impl Write) -> anyhow::Result<bool> {
    let Check { kubeconfig, context, namespace, operator_namespace, output } = settings;
    let cluster = ClusterOptions { kubeconfig: kubeconfig.clone(), context: context.clone(), namespace: None };
    let Connection { client, namespace: _ } = connect(&cluster).await?;
    let place = namespace.clone().map_or(Place::All, Place::Namespace);
    let found = look(&client, &place, operator_namespace.as_deref(), Timestamp::now()).await?;
    print(&found, *output, |_| found.text(), out)?;
    Ok(found.worst() != Some(Mark::Bad))
}

async fn look(
    client: &Client,
    place: &Place,
    operator_namespace: Option<&str>,
    now: Timestamp,
) -> Result<Findings, Failure> {
    let mut found = Findings::default();
    found.part("CustomResourceDefinitions", definitions_of(client).await)?;
    let operator = operators(client, operator_namespace).await;
    let installations: Vec<Installation> = match &operator {
        Ok(deployments) => deployments.iter().filter_map(Installation::of).collect(),
        Err(_) => Vec::new(),
    };
    found.part("operator", operator.map(|deployments| installation::deployments(&deployments)))?;
    for installation in &installations {
        found.part("operator", lease(client, installation, now).await)?;
        found.part("webhook", webhook(client, installation, now).await)?;
    }
    let keys = list::<ApiKey>(client, place).await;
    let teams = list::<Team>(client, place).await;
    let routes = list::<ModelRoute>(client, place).await;
    let (keys, teams) = (keys.map(|all| resources::of_keys(&all)), teams.map(|all| resources::of_teams(&all)));
    let routes = routes.map(|all| resources::of_routes(&all));
    let stated: Vec<&resources::Stated> =
        [&keys, &teams, &routes].into_iter().filter_map(|all| all.as_ref().ok()).flatten().collect();
    found.part("store", Ok(resources::store(&stated)))?;
    found.part("delivery", Ok(resources::delivery(&stated)))?;
    for (what, all) in [("Teams", teams), ("ApiKeys", keys), ("ModelRoutes", routes)] {
        found.part("resources", all.map(|all| resources::ready(what, &all)))?;
    }
    for installation in &installations {
        found.part("pods", sidecars(client, place, installation).await)?;
    }
    let egress = async { egress::egress(client, &injected(client, place).await?).await };
    found.part("egress", egress.await)?;
    Ok(found)
}

async fn definitions_of(client: &Client) -> Result<Vec<Finding>, Failure> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let all = api.list(&ListParams::default()).await;
    let request = || Request::list("customresourcedefinitions.apiextensions.k8s.io", None);
    let all = all.map_err(|error| Failure::of(error, request()))?;
    Ok(definitions::judge(&all.items))
}

/// What the chart calls its Deployments.
const OPERATORS: &str = "app.kubernetes.io/part-of=vectoll,app.kubernetes.io/component=operator";

/// The operators' Deployments.
pub(super) async fn operators(client: &Client, namespace: Option<&str>) -> Result<Vec<Deployment>, Failure> {
    let api: Api<Deployment> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let all = api.list(&ListParams::default().labels(OPERATORS)).await;
    Ok(all.map_err(|error| Failure::of(error, Request::list("deployments.apps", namespace)))?.items)
}

async fn lease(client: &Client, of: &Installation, now: Timestamp) -> Result<Vec<Finding>, Failure> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &of.namespace);
    let lease = api.get(&of.lease).await;
    let request = || Request::get("leases.coordination.k8s.io", Some(&of.namespace), &of.lease);
    let lease = found(lease, request)?;
    Ok(vec![installation::leader(of, lease.as_ref(), now)])
}

async fn webhook(client: &Client, of: &Installation, now: Timestamp) -> Result<Vec<Finding>, Failure> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let configuration = api.get(&of.webhook).await;
    let request = || Request::get("mutatingwebhookconfigurations.admissionregistration.k8s.io", None, &of.webhook);
    let configuration = found(configuration, request)?;
    let mut all = vec![installation::webhook(of, configuration.as_ref(), now)];
    all.extend(secrets::certificate(client, of, now).await?);
    Ok(all)
}

async fn sidecars(client: &Client, place: &Place, of: &Installation) -> Result<Vec<Finding>, Failure> {
    let Some(name) = &of.injection else { return Ok(Vec::new()) };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &of.namespace);
    let map = found(maps.get(name).await, || Request::get("configmaps", Some(&of.namespace), name))?;
    Ok(vec![pods::judge(map.as_ref(), &injected(client, place).await?)])
}

/// Pods with a sidecar.
async fn injected(client: &Client, place: &Place) -> Result<Vec<Pod>, Failure> {
    let (api, namespace): (Api<Pod>, Option<&str>) = match place {
        Place::All => (Api::all(client.clone()), None),
        Place::Namespace(namespace) => (Api::namespaced(client.clone(), namespace), Some(namespace)),
    };
    let all = api.list(&ListParams::default().labels(pods::SELECTOR)).await;
    Ok(all.map_err(|error| Failure::of(error, Request::list("pods", namespace)))?.items)
}

/// What is there; none: nothing of that name is.
fn found<T>(answer: kube::Result<T>, request: impl FnOnce() -> Request) -> Result<Option<T>, Failure> {
    Failure::or_none(answer.map_err(|error| Failure::of(error, request())))
}
