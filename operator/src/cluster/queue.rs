//! What is to be done, and in which order: what ends something before the mass of what is new, and namespaces in turn. Pure.

use std::collections::{BTreeMap, VecDeque};

use super::plan::{Action, MAX_PER_RECONCILE, Target};

/// Actions of the mass that may wait to be carried out. What is planned and not carried out was planned for nothing, and takes memory.
pub(super) const MAX_MASS: usize = 4 * MAX_PER_RECONCILE;

/// The actions of one kind of urgency, by namespace.
#[derive(Debug, Default)]
struct Lanes {
    by_namespace: BTreeMap<String, VecDeque<Action>>,
    /// Whose turn it is.
    turn: VecDeque<String>,
    count: usize,
}

/// All that is to be done.
#[derive(Debug, Default)]
pub(super) struct Queue {
    first: Lanes,
    /// Without them the kubelet takes up to a minute to take a config to its pods. They may be very many, so they are no more than half of
    /// the mass, and no less.
    touches: Lanes,
    rest: Lanes,
    /// Whether the last one of the mass was a touch.
    touched: bool,
}

impl Lanes {
    fn put(&mut self, namespace: &str, actions: Vec<Action>) {
        self.drop(namespace);
        if !actions.is_empty() {
            self.count += actions.len();
            self.by_namespace.insert(namespace.to_owned(), actions.into());
            if !self.turn.iter().any(|waiting| waiting == namespace) {
                self.turn.push_back(namespace.to_owned());
            }
        }
    }

    fn drop(&mut self, namespace: &str) {
        if let Some(gone) = self.by_namespace.remove(namespace) {
            self.count -= gone.len();
        }
    }

    /// The first action that may be done now, of the namespace that has waited longest for its turn.
    fn take(&mut self, may: &impl Fn(&Target) -> bool) -> Option<Action> {
        for _ in 0..self.turn.len() {
            let namespace = self.turn.pop_front()?;
            let Some(lane) = self.by_namespace.get_mut(&namespace) else { continue };
            let found = lane.iter().position(|action| may(&action.target())).and_then(|at| lane.remove(at));
            if lane.is_empty() {
                self.by_namespace.remove(&namespace);
            } else {
                self.turn.push_back(namespace);
            }
            if let Some(action) = found {
                self.count -= 1;
                return Some(action);
            }
        }
        None
    }
}

impl Queue {
    /// What is to be done in a namespace, in place of what was to be done there before.
    pub(super) fn put(&mut self, namespace: &str, first: Vec<Action>, rest: Vec<Action>) {
        let (touches, rest) = rest.into_iter().partition(|action| matches!(action, Action::Touch { .. }));
        self.first.put(namespace, first);
        self.touches.put(namespace, touches);
        self.rest.put(namespace, rest);
    }

    /// The next action that nothing may wait behind, of those whose target may be touched now.
    pub(super) fn take_first(&mut self, may: impl Fn(&Target) -> bool) -> Option<Action> {
        self.first.take(&may)
    }

    /// The next of the others: touches of pods and the rest in turn.
    pub(super) fn take_rest(&mut self, may: impl Fn(&Target) -> bool) -> Option<Action> {
        let lanes =
            if self.touched { [&mut self.rest, &mut self.touches] } else { [&mut self.touches, &mut self.rest] };
        let action = lanes.into_iter().find_map(|lane| lane.take(&may))?;
        self.touched = matches!(action, Action::Touch { .. });
        Some(action)
    }

    /// How many actions of the mass wait.
    pub(super) fn mass(&self) -> usize {
        self.touches.count + self.rest.count
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.first.count + self.mass()
    }

    /// Whether a target is waited for.
    pub(super) fn has(&self, target: &Target) -> bool {
        let lanes = [&self.first, &self.touches, &self.rest];
        let mut of = lanes.into_iter().filter_map(|lanes| lanes.by_namespace.get(target.namespace())).flatten();
        of.any(|action| action.target() == *target)
    }

    /// Another replica acts now.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use vectoll_config::{ObjectName, Uid};

    use super::*;
    use crate::{
        cluster::status::NewStatus,
        observed_state::{Kind, ResourceRef},
    };

    fn touch(namespace: &str, pod: &str) -> Action {
        Action::Touch { pod: ObjectName::new(namespace, pod), uid: Uid::new(pod), generation: 1 }
    }

    fn taken(queue: &mut Queue, may: impl Fn(&Target) -> bool + Copy) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(action) = queue.take_first(may).or_else(|| queue.take_rest(may)) {
            if let Target::Pod(name) = action.target() {
                names.push(name.to_string());
            }
        }
        names
    }

    #[test]
    fn namespaces_take_turns_and_what_is_urgent_goes_first() {
        let mut queue = Queue::default();
        queue.put("many", vec![], (0..3).map(|n| touch("many", &n.to_string())).collect());
        queue.put("few", vec![touch("few", "urgent")], vec![touch("few", "a")]);
        assert_eq!((queue.len(), queue.mass()), (5, 4));
        assert_eq!(taken(&mut queue, |_| true), ["few/urgent", "many/0", "few/a", "many/1", "many/2"]);
        assert_eq!((queue.len(), queue.mass()), (0, 0));
    }

    #[test]
    fn pods_are_touched_in_turn_with_the_mass_of_statuses() {
        let report = |n: usize| {
            let status = NewStatus { patch: serde_json::Value::Null, conditions: Vec::new() };
            let of = ResourceRef { kind: Kind::ApiKey, name: ObjectName::new("flood", &n.to_string()) };
            Action::Report { of, uid: Uid::new("key"), version: 1, status, turns: Vec::new() }
        };
        let mut queue = Queue::default();
        queue.put("flood", vec![], (0..1_000).map(report).collect());
        queue.put("apps", vec![], vec![touch("apps", "a"), touch("apps", "b")]);
        let words: Vec<&str> = (0..5).filter_map(|_| queue.take_rest(|_| true)).map(|action| action.word()).collect();
        assert_eq!(words, ["touch_pod", "report_status", "touch_pod", "report_status", "report_status"]);
        queue.put("pods", vec![], (0..1_000).map(|n| touch("pods", &n.to_string())).collect());
        let words: Vec<&str> = (0..4).filter_map(|_| queue.take_rest(|_| true)).map(|action| action.word()).collect();
        assert_eq!(words, ["touch_pod", "report_status", "touch_pod", "report_status"], "nor do they hold statuses up");
    }

    #[test]
    fn a_new_plan_takes_the_place_of_the_one_before_and_what_may_not_be_touched_stays() {
        let mut queue = Queue::default();
        queue.put("apps", vec![], vec![touch("apps", "old")]);
        queue.put("apps", vec![], vec![touch("apps", "busy"), touch("apps", "free")]);
        let is_free = |target: &Target| *target != Target::Pod(ObjectName::new("apps", "busy"));
        assert_eq!(taken(&mut queue, is_free), ["apps/free"]);
        assert!(queue.has(&Target::Pod(ObjectName::new("apps", "busy"))));
        queue.put("apps", vec![], vec![]);
        assert_eq!(queue.len(), 0);
        assert_eq!(taken(&mut queue, |_| true), Vec::<String>::new());
    }
}
