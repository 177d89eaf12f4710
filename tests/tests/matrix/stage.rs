//! Providers, a pair in front of them, and a caller.
//!
//! Vertex AI is the one provider that is not set up by manifests alone. Google's tokens come from Google's own servers, and the
//! sidecar asks no others: they are played by the test program `clouds`, in a network of its own. Here the config that the operator
//! wrote is given a fixed token in their place.

use std::path::Path;

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use serde_yaml::Value as Yaml;
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{api_key, file, key_value, on_top, resource, secret, team},
    native::{Account, Server},
    pair::{Pair, Setup},
    provider::Item,
};

use super::{
    money::Booked,
    rows::{Row, VERTEX, Vector},
};

pub struct Stage {
    pub pair: Pair,
    pub caller: Caller,
}

/// A provider that runs, and what it costs.
pub struct Played {
    pub server: Server,
    pub row: Row,
    /// Pico-USD a token: another one for each.
    pub price: u64,
}

/// Starts the providers.
pub async fn play(rows: Vec<Row>) -> anyhow::Result<Vec<Played>> {
    let mut played = Vec::new();
    for (price, mut row) in (20_000..).step_by(1_001).zip(rows) {
        let api = std::mem::replace(&mut row.api, Box::new(vectoll_tests::native::ollama::Ollama));
        played.push(Played { server: Server::start(api).await?, row, price });
    }
    Ok(played)
}

impl Played {
    /// A backend here; `more` goes on top.
    pub fn backend(&self, name: &str, more: Value) -> Value {
        let backend = json!({
            "name": name,
            "model": self.row.model,
            // A million tokens.
            "price": {"inputPerMillionTokens": format!("0.{:06}", self.price)},
            "tokens": {"encoding": "cl100k_base"},
        });
        on_top(on_top(backend, (self.row.settings)(&self.server.origin())), more)
    }

    pub fn secret(&self) -> Option<Value> {
        let Row { id, secret: entries, .. } = &self.row;
        (!entries.is_null()).then(|| secret("default", id, entries.clone()))
    }

    /// The account since the last time, in which there must be no violation.
    pub fn account(&self) -> Account {
        let account = self.server.take();
        assert_eq!(account.violations, Vec::<String>::new(), "{}", self.row.name);
        account
    }
}

pub fn route(name: &str, backends: &[Value], more: Value) -> Value {
    let spec = json!({
        "models": [name], "backends": backends,
        "retry": {"budgetPercent": 100}, "cooldown": {"failures": 0},
    });
    resource("ModelRoute", name, on_top(spec, more))
}

impl Stage {
    /// A pair with these routes and the providers' Secrets, a Team and an ApiKey with a budget.
    pub async fn start(played: &[Played], routes: Vec<Value>) -> anyhow::Result<Self> {
        let mut all = vec![team("search", json!({}))];
        all.extend(played.iter().filter_map(Played::secret));
        all.extend(routes);
        all.extend(api_key("alice", "search", json!({"budget": {"limit": "1000", "period": "Total"}})));
        let mut pair = Pair::operator_only(Setup::built()?, &[("all.yaml", file(all))]).await?;
        if played.iter().any(|played| played.row.id == "vertex") {
            // It would put the config right again.
            pair.stop_operator().await?;
            give_token(pair.config_dir())?;
        }
        pair.start_sidecar().await?;
        let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
        Ok(Self { pair, caller })
    }

    /// What is booked once nothing is under way any more.
    pub async fn booked(&self) -> anyhow::Result<Booked> {
        let metrics = self.pair.at_rest().await?;
        Ok(Booked::read(&metrics))
    }
}

/// Puts a fixed token in the place of Google's, in the config that the operator wrote.
fn give_token(config: &Path) -> anyhow::Result<()> {
    // Behind the links by which the operator swaps one config for another.
    let path = config.join("config.v1.yaml").canonicalize()?;
    std::fs::write(path.with_file_name("vertex-token"), VERTEX)?;
    let mut yaml: Yaml = serde_yaml::from_str(&std::fs::read_to_string(&path)?)?;
    ensure!(replace_auth(&mut yaml)? == 1, "there is one backend of Vertex AI");
    std::fs::write(&path, serde_yaml::to_string(&yaml)?)?;
    Ok(())
}

/// How many backends of Vertex AI were given the token.
fn replace_auth(yaml: &mut Yaml) -> anyhow::Result<usize> {
    match yaml {
        Yaml::Mapping(mapping) => {
            if mapping.get("api").is_some_and(|api| api.get("vertexAI").is_some()) {
                let auth = mapping.get_mut("auth").context("Vertex AI has no auth")?;
                *auth = serde_yaml::to_value(json!({"bearer": {"file": "vertex-token"}}))?;
                return Ok(1);
            }
            mapping.iter_mut().map(|(_, value)| replace_auth(value)).sum()
        }
        Yaml::Sequence(list) => list.iter_mut().map(replace_auth).sum(),
        Yaml::Tagged(tagged) => replace_auth(&mut tagged.value),
        Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::String(_) => Ok(0),
    }
}

/// Checks that an answer has the vectors of these items, as they are to be, in this order, to the bit.
#[track_caller]
pub fn has_vectors(answer: &Answer, items: &[Item], (vector, length): (Vector, usize), what: &str) {
    let data = answer.json["data"].as_array().unwrap();
    assert_eq!(data.len(), items.len(), "{what}");
    for (at, (found, item)) in data.iter().zip(items).enumerate() {
        assert_eq!(found["index"], at, "{what}");
        let bits: Vec<u32> = vector(item, length).into_iter().map(f32::to_bits).collect();
        assert!(bits_of(&found["embedding"]) == bits, "{what}: vector {at} is another one");
    }
}

/// A vector in either encoding.
fn bits_of(vector: &Value) -> Vec<u32> {
    if let Some(text) = vector.as_str() {
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        let (fours, rest) = bytes.as_chunks::<4>();
        assert!(rest.is_empty());
        return fours.iter().map(|four| u32::from_le_bytes(*four)).collect();
    }
    let numbers = vector.as_array().into_iter().flatten().filter_map(Value::as_f64);
    numbers.map(|number| (number as f32).to_bits()).collect()
}
