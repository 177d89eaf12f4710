//! Random lives of a sidecar: what is said, when, and what becomes of calls is the same by either walk.

use proptest::prelude::*;

use super::twins::{Sidecar, TwinCall};

#[derive(Clone, Debug)]
enum Step {
    Pause(u64),
    Call(TwinCall),
    End(usize, u64),
    GiveBack(usize),
    Owe(u8, u64),
    Send,
    Answer,
    Lose(bool),
    Restart(usize),
    LetGo,
}

/// One exchange and its answer, with a pause before each.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let versions = prop_oneof![Just(0b0010_1111_u8), Just(0b0111_1111), Just(0b0010_0100), any::<u8>()];
    let call = (0..5u8, 1..40u64, versions).prop_map(|(user, tokens, version)| TwinCall { user, tokens, version });
    let pause = prop_oneof![6 => 0..300u64, 3 => 300..3_000u64, 1 => 3_000..70_000u64];
    let step = prop_oneof![
        4 => pause.prop_map(Step::Pause),
        6 => call.prop_map(Step::Call),
        4 => (any::<usize>(), 0..60u64).prop_map(|(place, used)| Step::End(place, used)),
        1 => any::<usize>().prop_map(Step::GiveBack),
        1 => (0..5u8, 0..1_000u64).prop_map(|(user, money)| Step::Owe(user, money)),
        8 => Just(Step::Send),
        8 => Just(Step::Answer),
        1 => any::<bool>().prop_map(Step::Lose),
        1 => (0..4usize).prop_map(Step::Restart),
        1 => Just(Step::LetGo),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_over_what_is_dirty_finds_what_a_walk_over_all_finds(steps in steps()) {
        let mut twins = [Sidecar::new(false), Sidecar::new(true)];
        let (mut ms, mut run) = (5_000, 0);
        for step in steps {
            if let Step::Pause(pause) = step {
                ms += pause;
            }
            if let Step::Restart(_) = step {
                run += 1;
            }
            let found = twins.each_mut().map(|sidecar| {
                let said = match &step {
                    Step::Pause(_) => String::new(),
                    Step::Call(call) => sidecar.call(*call, ms),
                    Step::End(place, used) => {
                        sidecar.end(*place, *used, ms);
                        String::new()
                    }
                    Step::GiveBack(place) => {
                        sidecar.give_back(*place);
                        String::new()
                    }
                    Step::Owe(user, money) => {
                        sidecar.owe(*user, *money);
                        String::new()
                    }
                    Step::Send => sidecar.send(ms),
                    Step::Answer => {
                        sidecar.answer(run, ms);
                        String::new()
                    }
                    Step::Lose(arrived) => {
                        sidecar.lose(run, *arrived, ms);
                        String::new()
                    }
                    Step::Restart(lost) => {
                        sidecar.lose_tail(*lost);
                        String::new()
                    }
                    Step::LetGo => {
                        sidecar.let_go(ms);
                        String::new()
                    }
                };
                (said, sidecar.collect(), sidecar.due(ms), format!("{:?}", sidecar.session.pending))
            });
            let [by_dirty, by_all] = found;
            prop_assert_eq!(by_dirty, by_all, "{:?} at {}", step, ms);
        }
    }
}
