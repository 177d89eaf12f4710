//! Where something was measured, and with what: no names of hosts, no paths.

use std::{fs, path::Path, process::Command};

use serde::Serialize;

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// CPU cores.
    pub cores: usize,
    /// The model of its CPU.
    pub cpu: String,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// The kernel's version, without what its builder calls it.
    pub kernel: String,
    /// The architecture.
    pub architecture: &'static str,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let field =
            |name: &str| info.lines().find(|line| line.starts_with(name))?.split_once(": ").map(|(_, text)| text);
        let memory = read("/proc/meminfo");
        let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
        Self {
            cores: read("/proc/stat").lines().filter(|line| is_core(line)).count(),
            // Arm names none.
            cpu: field("model name").or_else(|| field("CPU part")).unwrap_or("unknown").trim().to_owned(),
            memory_mib: total.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() >> 10,
            kernel: read("/proc/sys/kernel/osrelease").split('.').take(2).collect::<Vec<_>>().join("."),
            architecture: std::env::consts::ARCH,
        }
    }
}

/// A line of a core, and not of all.
fn is_core(line: &str) -> bool {
    line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// What a program says to an argument, in one line.
pub fn version(program: impl AsRef<Path>, argument: &str) -> Option<String> {
    let output = Command::new(program.as_ref()).arg(argument).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(|line| line.trim().to_owned())
}

/// The commit of the checkout, with a mark if it has changes.
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changes.is_empty() { commit } else { format!("{commit} with changes") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_mib > 0 && !machine.kernel.is_empty(), "{machine:?}");
        assert!(is_core("cpu0 1 2") && !is_core("cpu  1 2") && !is_core("ctxt 1"));
    }

    #[test]
    fn a_program_that_is_missing_has_no_version() {
        assert_eq!(version("/nowhere/at-all", "--version"), None);
        assert_eq!(version("echo", "one"), Some("one".to_owned()));
    }
}
