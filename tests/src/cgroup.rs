//! A bound on a program's memory, as a container has it: a cgroup of its own, of whichever version this machine has.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, ensure};

const ROOT: &str = "/sys/fs/cgroup";

/// A memory cgroup. Dropped, it is removed; its processes must have ended by then.
#[derive(Debug)]
pub struct MemoryGroup {
    path: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl MemoryGroup {
    /// One of at most so many bytes. It takes root, and a memory controller.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let first = Path::new(ROOT).join("memory");
        let (root, version) = if first.is_dir() { (first, Version::One) } else { (PathBuf::from(ROOT), Version::Two) };
        if version == Version::Two {
            let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            ensure!(
                controllers.split_whitespace().any(|one| one == "memory"),
                "missing: a memory controller of cgroups at {ROOT} (the tests bound the sidecar's memory by one)"
            );
            fs::write(root.join("cgroup.subtree_control"), "+memory")
                .context("failed to have groups below with a memory controller (run the tests as root)")?;
        }
        let path = root.join(format!("vectoll-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path)
            .with_context(|| format!("failed to make the cgroup {} (run the tests as root)", path.display()))?;
        let group = Self { path, version };
        let limit = match version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        fs::write(group.path.join(limit), bytes.to_string()).context("failed to set a limit on memory")?;
        Ok(group)
    }

    /// A line for a shell that puts it, and what it becomes, into the group.
    pub fn enter(&self) -> String {
        format!("echo $$ > {}", self.path.join("cgroup.procs").display())
    }

    /// How many processes were ended because there was no memory for them.
    pub fn killed(&self) -> anyhow::Result<u64> {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(self.path.join(file))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.with_context(|| format!("{file} does not count `oom_kill`"))?.trim().parse().context("not a number")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A process that was ended leaves its group a moment later.
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
