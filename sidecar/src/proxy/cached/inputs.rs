//! A call's texts, each once, and what there is of them.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
};

use crate::{
    cache::{Cache, CacheFill, Follow, Key, Lookup, Of, Vector},
    call::Call,
    policy::Route,
    refusal::Refusal,
};
use vectoll_api::request::Input;

pub(super) struct Inputs {
    /// Each text once.
    pub(super) texts: Arc<Vec<String>>,
    /// For each input, which text it is.
    order: Vec<usize>,
    keys: Vec<Key>,
    vectors: Vec<Option<Vector>>,
    /// Those that are this call's to ask for.
    pub(super) missing: Vec<(usize, CacheFill)>,
    /// Those that other calls ask for.
    pub(super) follows: Vec<(usize, Follow)>,
}

/// What a call says beyond OpenAI's fields, in whatever order it says it; empty: nothing.
fn in_one_way(call: &Call) -> String {
    let fields: BTreeMap<&str, &str> = call.request.others().collect();
    if fields.is_empty() { String::new() } else { serde_json::to_string(&fields).unwrap_or_default() }
}

impl Inputs {
    /// Reads a call's texts and looks for all of them.
    pub(super) fn lookup(call: &Call, route: &Route, cache: &Arc<Cache>) -> Result<Self, Refusal> {
        let all = match call.request.input()? {
            Input::Texts(all) => all,
            Input::Tokens(_) => Vec::new(),
        };
        let input_type = call.request.input_type.unwrap_or(route.manner.input_type);
        let team = &call.caller.key().team.uid;
        let provider_input_type = call.request.provider_specific.input_type.as_deref();
        let extensions = in_one_way(call);
        let (model, dimensions, extensions) = (&*call.model, call.request.dimensions, extensions.as_str());
        let of = Of { team, model, dimensions, input_type, provider_input_type, extensions };
        let mut places: HashMap<Key, usize> = HashMap::with_capacity(all.len());
        let (mut texts, mut keys, mut order) = (Vec::new(), Vec::new(), Vec::with_capacity(all.len()));
        for text in all {
            let key = of.key(&text);
            order.push(match places.entry(key) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    texts.push(text.into_owned());
                    keys.push(key);
                    *new.insert(texts.len() - 1)
                }
            });
        }
        let vectors = vec![None; texts.len()];
        let (missing, follows) = (Vec::new(), Vec::new());
        let mut inputs = Self { texts: Arc::new(texts), order, keys, vectors, missing, follows };
        inputs.look_for(0..inputs.keys.len(), cache);
        Ok(inputs)
    }

    /// Looks for texts: all of them at first, and then for those that another call did not get.
    pub(super) fn look_for(&mut self, places: impl IntoIterator<Item = usize>, cache: &Arc<Cache>) {
        for place in places {
            let Some(key) = self.keys.get(place) else { continue };
            match cache.lookup(*key) {
                Lookup::Hit(vector) => self.put(place, vector),
                Lookup::Lead(lead) => self.missing.push((place, CacheFill::Lead(lead))),
                Lookup::Follow(follow) => self.follows.push((place, follow)),
            }
        }
    }

    /// Asks for all that others ask for, too.
    pub(super) fn follow_nobody(&mut self, cache: &Arc<Cache>) {
        for (place, _) in std::mem::take(&mut self.follows) {
            self.missing.extend(self.keys.get(place).map(|key| (place, cache.alone(*key))));
        }
    }

    /// All texts, whatever there is of them.
    pub(super) fn anew(&self, cache: &Arc<Cache>) -> Vec<(usize, CacheFill)> {
        self.keys.iter().enumerate().map(|(place, key)| (place, cache.alone(*key))).collect()
    }

    /// A text has its vector.
    pub(super) fn put(&mut self, place: usize, vector: Vector) {
        if let Some(slot) = self.vectors.get_mut(place) {
            *slot = Some(vector);
        }
    }

    /// How many inputs there are.
    pub(super) fn number(&self) -> usize {
        self.order.len()
    }

    /// The vectors in the order of the inputs; none, if one is missing.
    pub(super) fn all(&self) -> Option<Vec<Vector>> {
        self.order.iter().map(|place| self.vectors.get(*place)?.clone()).collect()
    }
}
