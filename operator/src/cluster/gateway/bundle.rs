//! What the gateway is told of one namespace. Pure.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use vectoll_config::{ObjectName, check_files_v1, check_v1, read_v1, v1, write_bundle, write_v1};

use crate::{
    cluster::{
        config::ConfigFiles,
        fit::{CEILING, fit_to, size_of_files},
    },
    desired_state::{Credentials, DesiredState},
    observed_state::ObservedState,
    store::NamespaceStore,
};

/// What an entry may take beside its files, and for each of them: the namespace's name, and the lines that the files begin with.
const MARGIN: usize = 128;
const MARGIN_OF_A_FILE: usize = 16;

/// What a namespace is to have in the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cluster) enum Share {
    /// Nothing: it has no keys, or ends.
    Nothing,
    /// This.
    Config(Arc<Bundle>),
    /// What it has, but for what has ended by this: what it should have cannot be made whole. This where it has nothing yet.
    Kept(Arc<Bundle>),
}

/// A namespace's entry. Its `Debug` shows no credential.
#[derive(PartialEq)]
pub(in crate::cluster) struct Bundle {
    /// What is in it.
    pub(super) config: v1::Config,
    /// The store's files.
    pub(super) store_files: BTreeMap<String, Vec<u8>>,
    /// Not all of its keys and routes are in it: they are too much for one Secret.
    pub(super) is_cut: bool,
    /// The files, as one value; empty: they could not be made.
    pub(super) content: Vec<u8>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle")
            .field("namespace", &self.config.namespace)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// The files that a namespace's sidecars read, or would if there were some.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cluster) struct SidecarFiles<'a> {
    /// The files.
    pub(in crate::cluster) files: Option<&'a ConfigFiles>,
    /// They say all that the gateway is to be told, too.
    pub(in crate::cluster) are_whole: bool,
}

/// What a namespace is to have. `is_short`: some Secret that it needs cannot be read at present.
pub(in crate::cluster) fn share(
    namespace: &str,
    (observed, desired): (&ObservedState, &DesiredState),
    sidecars: SidecarFiles<'_>,
    store: Option<NamespaceStore>,
    is_short: bool,
) -> Share {
    if observed.api_keys.is_empty() {
        return Share::Nothing;
    }
    match bundle(namespace, (observed, desired), sidecars, store.clone()) {
        Ok(bundle) if is_short => Share::Kept(Arc::new(bundle)),
        Ok(bundle) => Share::Config(Arc::new(bundle)),
        Err(error) => {
            tracing::error!(namespace, error = format!("{error:#}"), "a config that the gateway could not read");
            let mut config = desired.config(observed, namespace, Credentials::Gateway, None).config;
            let (section, store_files) = store.map(|NamespaceStore { section, files }| (section, files)).unzip();
            config.store = section;
            Share::Kept(Arc::new(Bundle {
                config,
                store_files: store_files.unwrap_or_default(),
                is_cut: false,
                content: Vec::new(),
            }))
        }
    }
}

fn bundle(
    namespace: &str,
    (observed, desired): (&ObservedState, &DesiredState),
    sidecars: SidecarFiles<'_>,
    store: Option<NamespaceStore>,
) -> anyhow::Result<Bundle> {
    let prepared = sidecars.files.filter(|_| sidecars.are_whole);
    let wanted = desired.config(observed, namespace, Credentials::Gateway, None);
    let mut config = match prepared {
        Some(files) => {
            let text = files.by_name.get(v1::FILE).context("there is no config in the files")?;
            read_v1(std::str::from_utf8(text).context("the config is no text")?)?
        }
        None => v1::Config { generation: 1, ..wanted.config },
    };
    // What is held back of the newest is in the files that are in force.
    let of = |name: &str| {
        let in_force = || prepared.and_then(|files| files.by_name.get(name));
        wanted.credentials.get(name).or_else(in_force).cloned()
    };
    let mut files = BTreeMap::new();
    for route in &mut config.routes {
        let found: Option<BTreeMap<String, Vec<u8>>> =
            route.files().map(|name| Some((name.to_owned(), of(name)?))).collect();
        match found {
            Some(found) => files.extend(found),
            // It keeps its names: its callers' inputs go nowhere else.
            None => route.backends.clear(),
        }
    }
    let (section, store_files) = store.map(|NamespaceStore { section, files }| (section, files)).unzip();
    config.store = section;
    let store_files: BTreeMap<String, Vec<u8>> = store_files.unwrap_or_default();
    files.extend(store_files.clone());
    check_v1(&config)?;
    check_files_v1(&config, |name| files.get(name).map(Vec::as_slice))?;
    let mut text = write_v1(&config)?;
    // Sidecars' files fit already; here are credentials that those may lack. New keys give way, and not what is set of the others.
    let room = CEILING.saturating_sub(MARGIN + MARGIN_OF_A_FILE * files.len());
    let is_cut = text.len() + size_of_files(&files) > room;
    if is_cut {
        let is_in = |key: &ObjectName| sidecars.files.is_some_and(|files| files.has(key));
        let created = |kind, name: &ObjectName| observed.age(kind, name);
        fit_to(room, &mut config, &mut files, is_in, created)?;
        text = write_v1(&config)?;
    }
    files.insert(v1::FILE.to_owned(), text.into_bytes());
    Ok(Bundle { content: write_bundle(&files), config, store_files, is_cut })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;
    use vectoll_config::Uid;
    use vectoll_crds::Delivery;

    use super::*;
    use crate::{
        cluster::{config::tests::observed, generations::Contents},
        condition::{ConditionType, Status},
        delivery::{DELIVERY_LABEL, DeliverySetting, GATEWAY_CA_FILE, GatewayAddress, GatewayCa, GatewayPlace},
        desired_state::desired_state,
        observed_state::{Kind, Object, ResourceRef, SecretContent},
    };

    const CREDENTIAL: &str = "sk-credential-of-the-provider";
    const HOST: &str = "api.provider.example";

    /// Two keys, and a route of each delivery to a provider of its own; where the gateway is.
    fn of_each_delivery(routes: &[&str], gateway: GatewayPlace) -> ObservedState {
        let mut observed = observed(2);
        for delivery in routes {
            let name = ObjectName::new("apps", &delivery.to_lowercase());
            let spec = json!({"models": [name.name()], "delivery": delivery, "backends": [{"name": "one",
                "openAI": {"baseURL": format!("https://{}.{HOST}/v1", name.name()), "apiKeySecretRef": {"name": name.name(), "key": "api-key"}},
                "price": {"inputPerMillionTokens": "1"}}]});
            let object = Object::new(name.clone(), Uid::new(name.name()), serde_json::from_value(spec).unwrap());
            observed.routes.insert(name.clone(), object.into());
            let content = json!({"metadata": {"name": name.name(), "namespace": "apps"},
                "stringData": {"api-key": format!("{CREDENTIAL}-of-{}", name.name())}});
            let secret: Secret = serde_json::from_value(content).unwrap();
            observed.secrets.insert(name, SecretContent::of(secret).into());
        }
        observed.delivery = Arc::new(DeliverySetting { default: Delivery::Sidecar, enforced: false, gateway });
        observed
    }

    fn at() -> GatewayPlace {
        GatewayPlace::At(GatewayAddress {
            url: "https://gateway.example".to_owned(),
            ca: GatewayCa::These(b"PEM of a CA".to_vec()),
        })
    }

    /// All files that a namespace's Secret would have, as one text.
    fn files(observed: &ObservedState, whom: Credentials) -> BTreeMap<String, String> {
        let made = desired_state(observed, Timestamp::UNIX_EPOCH).config(observed, "apps", whom, None);
        let contents = Contents::of(&made).unwrap();
        let files = ConfigFiles::make(made, contents, 1, None, Timestamp::UNIX_EPOCH, |_| false, |_, _| ()).unwrap();
        files
            .by_name
            .iter()
            .map(|(name, content)| (name.clone(), String::from_utf8(content.clone()).unwrap()))
            .collect()
    }

    fn has(files: &BTreeMap<String, String>, words: &str) -> bool {
        files.values().any(|content| content.contains(words))
    }

    #[test]
    fn what_sidecars_pass_on_only_the_gateway_has() {
        let observed = of_each_delivery(&["Gateway", "Sidecar"], at());
        for whom in [Credentials::Deliver, Credentials::Withhold, Credentials::GatewayOnly] {
            let files = files(&observed, whom);
            for words in ["gateway.api.provider.example", "sk-credential-of-the-provider-of-gateway"] {
                assert!(!has(&files, words), "{whom:?} has {words}: {files:?}");
            }
        }
        let delivered = files(&observed, Credentials::Deliver);
        assert!(
            has(&delivered, "sidecar.api.provider.example") && has(&delivered, "provider-of-sidecar"),
            "{delivered:?}"
        );
        // What an older sidecar reads: the names, so that no other route draws the calls, and nobody to call.
        let config = read_v1(delivered.get(v1::FILE).unwrap()).unwrap();
        let stub = config.routes.iter().find(|route| route.name.name() == "gateway").unwrap();
        assert!(stub.backends.is_empty() && stub.models.len() == 1);
        let told = vectoll_config::read_gateway_v1(delivered.get(v1::GATEWAY_FILE).unwrap(), |name| {
            delivered.get(name).map(String::as_bytes)
        })
        .unwrap();
        assert_eq!((told.url.as_str(), told.ca_file.as_deref()), ("https://gateway.example", Some("gateway.ca")));
        let routes: Vec<(&str, u32)> =
            told.routes.iter().map(|route| (route.name.name(), route.timeout_seconds)).collect();
        assert_eq!(routes, [("gateway", 200)], "three attempts of a minute, and two pauses");

        let desired = desired_state(&observed, Timestamp::UNIX_EPOCH);
        assert!(desired.passes_on(&observed, "apps") && desired.counts(&observed, "apps"));
        let Share::Config(bundle) = share("apps", (&observed, &desired), SidecarFiles::default(), None, false) else {
            panic!("kept")
        };
        let content = String::from_utf8_lossy(&bundle.content);
        for words in [
            "gateway.api.provider.example",
            "sidecar.api.provider.example",
            "provider-of-gateway",
            "provider-of-sidecar",
        ] {
            assert!(content.contains(words), "the gateway lacks {words}");
        }
        assert!(!content.contains(v1::GATEWAY_FILE) && !content.contains("gateway.example"), "it passes nothing on");
        let all = of_each_delivery(&["Gateway"], at());
        assert!(!desired_state(&all, Timestamp::UNIX_EPOCH).counts(&all, "apps"));
    }

    #[test]
    fn without_a_gateway_a_route_for_one_goes_nowhere_and_says_so() {
        let observed = of_each_delivery(&["Gateway"], GatewayPlace::Nowhere);
        let files = files(&observed, Credentials::Deliver);
        assert!(!has(&files, HOST) && !has(&files, CREDENTIAL) && !files.contains_key(v1::GATEWAY_FILE), "{files:?}");
        let desired = desired_state(&observed, Timestamp::UNIX_EPOCH);
        let of = ResourceRef { kind: Kind::ModelRoute, name: ObjectName::new("apps", "gateway") };
        let conditions = desired.conditions.get(&of).unwrap();
        let of = |kind| conditions.iter().find(|condition| condition.kind == kind).unwrap();
        for kind in [ConditionType::Accepted, ConditionType::Ready] {
            assert_eq!((of(kind).status, of(kind).reason), (Status::False, "NoGateway"));
        }
        // In a gateway's own folder it is served like any other.
        let here = of_each_delivery(&["Gateway"], GatewayPlace::Here);
        assert!(has(&self::files(&here, Credentials::Gateway), HOST));
        assert!(!desired_state(&here, Timestamp::UNIX_EPOCH).passes_on(&here, "apps"));
    }

    #[test]
    fn what_is_too_much_for_a_secret_loses_new_keys_and_keeps_settings() {
        let mut observed = observed(6_000);
        let mut team = None;
        for max_users in [10, 5] {
            for object in observed.teams.values_mut() {
                let mut limited = (**object).clone();
                limited.spec.limits =
                    serde_json::from_value(serde_json::json!({"requestsPerMinute": max_users})).unwrap();
                *object = limited.into();
            }
            let desired = desired_state(&observed, Timestamp::UNIX_EPOCH);
            let Share::Config(bundle) = share("apps", (&observed, &desired), SidecarFiles::default(), None, false)
            else {
                panic!("kept")
            };
            assert!(bundle.is_cut && bundle.content.len() + "apps".len() <= CEILING, "{}", bundle.content.len());
            assert!(bundle.config.keys.len() > 1_000 && bundle.config.keys.len() < 6_000);
            assert!(bundle.config.keys.iter().any(|key| key.name.name() == "key-05999"), "the oldest stay");
            assert_ne!(
                team.replace(bundle.config.teams.clone()),
                Some(bundle.config.teams.clone()),
                "the limit of today"
            );
        }
        let few = self::observed(10);
        let desired = desired_state(&few, Timestamp::UNIX_EPOCH);
        let Share::Config(bundle) = share("apps", (&few, &desired), SidecarFiles::default(), None, false) else {
            panic!("kept")
        };
        assert!(!bundle.is_cut && bundle.config.keys.len() == 10);
    }

    #[test]
    fn keys_that_work_go_before_new_ones_whoever_carries_their_calls_out() {
        let now = Timestamp::UNIX_EPOCH;
        let many = observed(6_000);
        let made = desired_state(&many, now).config(&many, "apps", Credentials::Deliver, None);
        let contents = Contents::of(&made).unwrap();
        // The youngest are in force, and the oldest are new.
        let is_in = |key: &ObjectName| key.name() < "key-03000";
        let age = |kind, name: &ObjectName| many.age(kind, name);
        let files = ConfigFiles::make(made, contents, 1, None, now, is_in, age).unwrap();
        let held = (0..3_000).filter(|n| files.has(&ObjectName::new("apps", &format!("key-{n:05}")))).count();
        assert_eq!(held, 3_000);
        for are_whole in [true, false] {
            let sidecars = SidecarFiles { files: Some(&files), are_whole };
            let desired = desired_state(&many, now);
            let Share::Config(bundle) = share("apps", (&many, &desired), sidecars, None, false) else { panic!("kept") };
            let kept = bundle.config.keys.iter().filter(|key| key.name.name() < "key-03000").count();
            assert_eq!(kept, 3_000, "{are_whole}");
        }
    }

    /// Whether sidecars of `apps` count in its Teams, with these routes where its namespace has this label.
    fn counts(routes: &[&str], gateway: GatewayPlace, label: Option<&str>) -> bool {
        let mut observed = of_each_delivery(routes, gateway);
        let labels = label.map(|value| (DELIVERY_LABEL.to_owned(), value.to_owned())).into_iter().collect();
        observed.namespaces.insert("apps".to_owned(), labels);
        desired_state(&observed, Timestamp::UNIX_EPOCH).counts(&observed, "apps")
    }

    #[test]
    fn no_route_of_its_own_gives_a_namespace_its_teams_where_its_administrators_say_so() {
        assert!(counts(&["Gateway", "Sidecar"], at(), None));
        assert!(!counts(&["Gateway", "Sidecar"], at(), Some("Gateway")));
        assert!(!counts(&["Sidecar"], GatewayPlace::Nowhere, Some("Gateway")), "not in silence, where there is none");
        assert!(counts(&[], at(), None) && !counts(&[], at(), Some("Gateway")), "of a route to come");
        let mut observed = of_each_delivery(&["Sidecar"], at());
        observed.namespaces.insert("apps".to_owned(), [(DELIVERY_LABEL.to_owned(), "Gateway".to_owned())].into());
        let delivered = files(&observed, Credentials::Deliver);
        assert!(!has(&delivered, HOST) && !has(&delivered, CREDENTIAL), "{delivered:?}");
        assert!(delivered.contains_key(v1::GATEWAY_FILE), "its calls are passed on");
        observed.delivery =
            Arc::new(DeliverySetting { gateway: GatewayPlace::Nowhere, ..(*observed.delivery).clone() });
        let delivered = files(&observed, Credentials::Deliver);
        assert!(!has(&delivered, HOST) && !delivered.contains_key(v1::GATEWAY_FILE), "{delivered:?}");
    }

    #[test]
    fn a_route_that_is_wrong_gives_nobody_the_teams() {
        let mut observed = of_each_delivery(&["Gateway"], at());
        for object in observed.routes.values_mut() {
            let mut wrong = (**object).clone();
            wrong.spec.backends.clear();
            *object = wrong.into();
        }
        let desired = desired_state(&observed, Timestamp::UNIX_EPOCH);
        assert!(!desired.counts(&observed, "apps") && !desired.passes_on(&observed, "apps"));
    }

    #[test]
    fn a_ca_that_is_not_known_yet_stays_as_namespaces_have_it() {
        let unknown = || {
            let GatewayPlace::At(address) = at() else { panic!("there is one") };
            GatewayPlace::At(GatewayAddress { ca: GatewayCa::Unknown, ..address })
        };
        let mut observed = of_each_delivery(&["Gateway"], unknown());
        observed.delivered.files.insert(GATEWAY_CA_FILE.to_owned(), b"PEM of before".to_vec());
        let delivered = files(&observed, Credentials::Deliver);
        assert_eq!(delivered.get(GATEWAY_CA_FILE).map(String::as_str), Some("PEM of before"));
        let gateway = &delivered[v1::GATEWAY_FILE];
        assert!(gateway.contains(GATEWAY_CA_FILE), "{gateway}");
    }
}
