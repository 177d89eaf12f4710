//! CPU time and memory of a process with its children.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::Context;
use nix::time::ClockId;
use nix::unistd::Pid;
use serde::Serialize;

/// Memory in bytes; of several processes the sum, pages that they share counted for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub resident: u64,
    /// At its highest (`VmHWM`).
    pub highest: u64,
}

/// CPU time used so far by `pid` and its living descendants, of threads that have ended too, by their clocks (`clock_getcpuclockid(3)`).
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let mut sum = Duration::ZERO;
    for pid in family(pid)? {
        let raw = i32::try_from(pid).context("the process id is too large")?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(raw)).and_then(ClockId::now);
        sum += Duration::from(clock.with_context(|| format!("process {pid} has ended"))?);
    }
    Ok(sum)
}

/// Memory of `pid` and its living descendants.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let mut memory = Memory::default();
    for pid in family(pid)? {
        let status =
            fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} has ended"))?;
        memory.resident += status_bytes(&status, "VmRSS:").context("no VmRSS in /proc")?;
        memory.highest += status_bytes(&status, "VmHWM:").context("no VmHWM in /proc")?;
    }
    Ok(memory)
}

/// Bytes as MiB.
pub fn mebibytes(bytes: u64) -> f64 {
    let kibibytes = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
    f64::from(kibibytes) / 1024.0
}

fn family(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("failed to read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(parent) = parent(pid)? {
            parents.push((pid, parent));
        }
    }
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(family)
}

/// Nothing if there is no such process.
fn parent(pid: u32) -> anyhow::Result<Option<u32>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => parse_parent(&text).with_context(|| format!("failed to understand {text:?}")).map(Some),
        // ESRCH is what a process answers that ends while it is read.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read /proc/{pid}/stat")),
    }
}

/// See `proc_pid_stat(5)`: after the name in parentheses, which may hold anything, field 4 is the parent.
fn parse_parent(text: &str) -> Option<u32> {
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn status_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        assert_eq!(parse_parent("12 (a) b (c) S 7 12 12 0 -1 4194304 1 2 3 4 150 50 9 9 20 0 1 0 5 6 7"), Some(7));
        assert_eq!(status_bytes("Name:\tx\nVmHWM:\t    12 kB\nVmRSS:\t    10 kB\n", "VmRSS:"), Some(10 << 10));
    }

    #[test]
    fn work_is_seen_as_cpu_time() {
        let pid = std::process::id();
        let (before, begun) = (cpu_time(pid).unwrap(), Instant::now());
        while begun.elapsed() < Duration::from_secs(5) && cpu_time(pid).unwrap() < before + Duration::from_millis(5) {
            black_box((0..10_000_u64).map(black_box).sum::<u64>());
        }
        assert!(cpu_time(pid).unwrap() >= before + Duration::from_millis(5));
        let memory = memory(pid).unwrap();
        assert!(memory.resident > 1 << 20 && memory.highest >= memory.resident);
    }
}
