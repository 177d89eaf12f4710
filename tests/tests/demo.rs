//! `make demo`, on the programs that ship: each of its steps fails where it does not show what it should.

use vectoll_tests::demo::{Narrator, run};

#[derive(Default)]
struct Lines(Vec<String>);

impl Narrator for Lines {
    fn say(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }
}

#[tokio::test]
async fn the_demo_shows_what_it_should() {
    let mut lines = Lines::default();
    let ended = run(&mut lines).await;
    let said = lines.0.join("\n");
    assert!(ended.is_ok(), "{ended:?}\n{said}");
    assert!(said.matches('✓').count() >= 8, "{said}");
}
