#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

const ONE_FAILURE: Cooldown = Cooldown { failures: 1, seconds: 30 };
const NOW: Duration = Duration::from_secs(1);

struct World {
    scraped: prometheus::Registry,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let scraped = prometheus::Registry::new();
        let registry = Registry::new(BackendMetrics::register(&scraped).unwrap());
        Self { scraped, registry }
    }

    /// The gauges that are told, by backend.
    fn told(&self) -> Vec<(String, bool)> {
        let families = self.scraped.gather();
        let gauges = families.iter().filter(|family| family.name() == "vectoll_backend_cooldown");
        let gauges = gauges.flat_map(prometheus::proto::MetricFamily::get_metric);
        gauges
            .map(|gauge| (gauge.get_label().first().unwrap().value().to_owned(), gauge.get_gauge().get_value() > 0.0))
            .collect()
    }

    fn of(&self, label: &str, settings: u64) -> Arc<Health> {
        self.registry.of(&label.into(), settings)
    }
}

fn attempt(health: &Arc<Health>) -> Attempt {
    health.begin(NOW, true).unwrap()
}

fn told(label: &str, cooling: bool) -> (String, bool) {
    (label.to_owned(), cooling)
}

#[test]
fn a_backend_that_left_the_config_has_no_cooldown_although_calls_are_under_way_there() {
    let world = World::new();
    let (gone, stays) = (world.of("gone", 0), world.of("stays", 0));
    assert_eq!(world.told(), [], "a config that is read is not in force");
    world.registry.put_in_force([&gone, &stays].into_iter());
    let under_way = attempt(&gone);
    attempt(&gone).failed(FailureKind::Down, "failed", ONE_FAILURE, NOW);
    assert_eq!(world.told(), [told("gone", true), told("stays", false)]);
    world.registry.put_in_force([&stays].into_iter());
    assert_eq!(world.told(), [told("stays", false)]);
    under_way.served("served", NOW);
    attempt(&gone).failed(FailureKind::Down, "failed", ONE_FAILURE, NOW);
    assert_eq!(world.told(), [told("stays", false)]);
    // It comes back while a call is still there: it is what it was.
    world.registry.put_in_force([&world.of("gone", 0), &stays].into_iter());
    assert_eq!(world.told(), [told("gone", true), told("stays", false)]);
}

#[test]
fn settings_that_are_refused_take_nothing_from_those_in_force() {
    let world = World::new();
    let in_force = world.of("one", 0);
    world.registry.put_in_force([&in_force].into_iter());
    attempt(&in_force).failed(FailureKind::Down, "failed", ONE_FAILURE, NOW);
    drop(world.of("one", 1));
    assert_eq!(world.told(), [told("one", true)]);
    assert!(Arc::ptr_eq(&in_force, &world.of("one", 0)));
    // With other settings it begins anew, and what still runs under the old ones says nothing of it.
    let after = world.of("one", 1);
    world.registry.put_in_force([&after].into_iter());
    assert_eq!(world.told(), [told("one", false)]);
    attempt(&in_force).served("served", NOW);
    attempt(&in_force).failed(FailureKind::Down, "failed", ONE_FAILURE, NOW);
    assert_eq!(world.told(), [told("one", false)]);
}

#[test]
fn a_cooldown_that_is_switched_off_is_over() {
    let world = World::new();
    let health = world.of("one", 0);
    world.registry.put_in_force([&health].into_iter());
    attempt(&health).failed(FailureKind::Down, "failed", ONE_FAILURE, NOW);
    assert_eq!(world.told(), [told("one", true)]);
    attempt(&health).failed(FailureKind::Down, "failed", Cooldown { failures: 0, seconds: 30 }, NOW);
    assert_eq!(world.told(), [told("one", false)]);
}

#[test]
fn time_that_was_spent_on_the_caller_is_not_the_backends() {
    let world = World::new();
    let health = world.of("one", 0);
    let mut served = attempt(&health);
    served.waited(Duration::from_secs(50));
    let end = NOW + Duration::from_secs(52);
    served.served("served", end);
    let (average, under_way) = health.pace(end);
    assert_eq!(under_way, 0);
    assert!((average.unwrap() - 2.0).abs() < 1e-9, "{average:?}");
}

#[test]
fn a_refusal_is_no_fast_answer_and_one_for_a_name_says_nothing_at_all() {
    let world = World::new();
    let health = world.of("one", 0);
    world.registry.put_in_force([&health].into_iter());
    attempt(&health).served("served", NOW + Duration::from_secs(2));
    let average = |health: &Arc<Health>| health.pace(NOW + Duration::from_secs(2)).0.unwrap();
    let before = average(&health);
    attempt(&health).refused("refused", NOW + Duration::from_secs(2));
    attempt(&health).passed_by("refused");
    assert!((average(&health) - before).abs() < 1e-9);
    assert_eq!(health.pace(NOW).1, 0);
    // The cooldown goes on after a name that is not known there, and ends with a call that was at fault itself.
    attempt(&health).failed(FailureKind::Down, "failed", ONE_FAILURE, NOW);
    let later = NOW + Duration::from_secs(31);
    health.begin(later, false).unwrap().passed_by("refused");
    assert_eq!(world.told(), [told("one", true)]);
    health.begin(later, false).unwrap().refused("refused", later);
    assert_eq!(world.told(), [told("one", false)]);
}
