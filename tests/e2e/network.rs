//! The networks of the node and of its pods: a test calls, or listens, as whoever is there. And what the node sees of a container.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Network(PathBuf);

impl Network {
    /// Where the kubelet is.
    pub fn of_node() -> Self {
        Self(PathBuf::from("/run/netns/vectoll"))
    }

    /// That of a pod, by one of its containers: its localhost is the sidecar's.
    pub fn of_container(id: &str) -> anyhow::Result<Self> {
        Ok(Self(process_of(id)?.join("ns/net")))
    }

    /// Work on a thread of its own in this network.
    pub fn spawn<T, F>(
        &self,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> anyhow::Result<JoinHandle<anyhow::Result<T>>>
    where
        T: Send + 'static,
        F: Future<Output = anyhow::Result<T>>,
    {
        let namespace = File::open(&self.0).with_context(|| format!("failed to open {}", self.0.display()))?;
        Ok(std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("failed to enter the network")?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work())
        }))
    }

    /// The same, waited for.
    pub fn run<T, F>(&self, work: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = anyhow::Result<T>>,
    {
        joined(self.spawn(work)?)
    }
}

pub fn joined<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    match thread.join() {
        Ok(outcome) => outcome,
        Err(_) => bail!("a thread panicked: see above"),
    }
}

/// The folder in /proc of a container's process, whose cgroup is named after the container.
pub fn process_of(id: &str) -> anyhow::Result<PathBuf> {
    let id = id.trim_start_matches("containerd://");
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let cgroup = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        if !id.is_empty() && cgroup.contains(id) {
            return Ok(process);
        }
    }
    bail!("the container {id} has no process")
}

/// Everything that a process has in memory.
pub fn memory_of(process: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};

    let maps = fs::read_to_string(process.join("maps"))?;
    let mut memory = File::open(process.join("mem"))?;
    let mut all = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let Some((begin, end)) = range.split_once('-') else { continue };
        let (begin, end) = (u64::from_str_radix(begin, 16)?, u64::from_str_radix(end, 16)?);
        // What is only mapped from the program's file, or belongs to the kernel, is not the process's own.
        if !rights.starts_with("rw") || line.ends_with("[vvar]") {
            continue;
        }
        memory.seek(SeekFrom::Start(begin))?;
        // A page that was given back meanwhile cannot be read: the others can.
        let _ = (&memory).take(end - begin).read_to_end(&mut all);
    }
    Ok(all)
}
