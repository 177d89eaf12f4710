//! A child process whose log is collected and that ends with its handle.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::log::Log;
use super::poll::{self, Ended};

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: Log,
}

impl Process {
    /// Starts it, on one CPU core only if asked, without input.
    pub fn spawn(name: &'static str, mut command: Command, core: Option<usize>) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = match core {
            None => command.spawn(),
            Some(core) => on_core(core, &mut command)?,
        };
        let mut child = spawned.with_context(|| format!("failed to start {}", command.get_program().display()))?;
        let log = Log::default();
        if let Some(stdout) = child.stdout.take() {
            log.collect(stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            log.collect(stderr);
        }
        Ok(Self { name, child, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// An error of type [`Ended`] if it runs no more.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().with_context(|| format!("failed to look after {}", self.name))? {
            None => Ok(()),
            Some(status) => Err(Ended { name: self.name.to_owned(), status }.into()),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).context("the process id is too large")?);
        kill(pid, signal).with_context(|| format!("failed to send {signal} to {}", self.name))
    }

    /// Waits for its end.
    pub async fn ended(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let Self { name, child, .. } = self;
        poll::until(&format!("the end of {name}"), deadline, async || Ok(child.try_wait()?)).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Children inherit the cores of the thread that starts them, so a thread of its own keeps ours as they are.
fn on_core(core: usize, command: &mut Command) -> anyhow::Result<std::io::Result<Child>> {
    std::thread::scope(|scope| {
        let spawning = scope.spawn(|| {
            pin_this_thread(core)?;
            anyhow::Ok(command.spawn())
        });
        spawning.join().map_err(|_| anyhow!("the thread that starts processes has panicked"))?
    })
}

/// Keeps the calling thread, and the threads it starts from now on, on one core.
pub fn pin_this_thread(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core).with_context(|| format!("there is no core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("failed to move to core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn output_is_collected_and_the_end_is_seen() {
        let mut process = Process::spawn("sh", shell("echo out; echo err >&2; exit 3"), None).unwrap();
        assert_eq!(process.ended(Duration::from_secs(10)).await.unwrap().code(), Some(3));
        poll::until("both lines", Duration::from_secs(10), async || {
            let text = process.log().text();
            Ok((text.contains("out\n") && text.contains("err\n")).then_some(()))
        })
        .await
        .unwrap();
        assert!(process.must_run().unwrap_err().downcast_ref::<Ended>().is_some());
    }

    #[test]
    fn dropping_it_ends_it() {
        let process = Process::spawn("sleep", shell("exec sleep 1000"), Some(0)).unwrap();
        let stat = format!("/proc/{}/stat", process.pid());
        assert!(std::fs::exists(&stat).unwrap());
        drop(process);
        assert!(!std::fs::exists(&stat).unwrap());
    }
}
