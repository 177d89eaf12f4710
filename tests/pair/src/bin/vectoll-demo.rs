//! `make demo`.

use vectoll_pair::demo::{Narrator, run};

struct Terminal;

impl Narrator for Terminal {
    #[expect(clippy::print_stdout, reason = "the demo is for looking at")]
    fn say(&mut self, line: &str) {
        println!("{line}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    run(&mut Terminal).await
}
