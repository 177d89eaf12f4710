//! CPU time and memory of a process with its children, from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

/// Memory in bytes; of several processes the sum, pages that they share counted for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub resident: u64,
    /// At its highest (`VmHWM`).
    pub highest: u64,
}

struct Stat {
    parent: u32,
    ticks: u64,
}

/// CPU time used so far by `pid` and its living descendants, of threads that have ended too: `utime + stime`, in steps of 10 ms.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    /// `USER_HZ`, which Linux keeps at 100 on all its architectures but one that is gone.
    const TICKS_PER_SECOND: u64 = 100;
    let mut ticks = 0;
    for pid in family(pid)? {
        ticks += stat(pid)?.with_context(|| format!("process {pid} has ended"))?.ticks;
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
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

fn family(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("failed to read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(stat) = stat(pid)? {
            parents.push((pid, stat.parent));
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
fn stat(pid: u32) -> anyhow::Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => parse_stat(&text).with_context(|| format!("failed to understand {text:?}")).map(Some),
        // ESRCH is what a process answers that ends while it is read.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read /proc/{pid}/stat")),
    }
}

/// See `proc_pid_stat(5)`: after the name in parentheses, which may hold anything, field 4 is the parent, 14 and 15 the times.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u64 = fields.nth(9)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Stat { parent, ticks: user + system })
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
        let stat = parse_stat("12 (a) b (c) S 7 12 12 0 -1 4194304 1 2 3 4 150 50 9 9 20 0 1 0 5 6 7").unwrap();
        assert_eq!((stat.parent, stat.ticks), (7, 200));
        assert_eq!(status_bytes("Name:\tx\nVmHWM:\t    12 kB\nVmRSS:\t    10 kB\n", "VmRSS:"), Some(10 << 10));
    }

    #[test]
    fn work_is_seen_as_cpu_time() {
        let pid = std::process::id();
        let (before, begun) = (cpu_time(pid).unwrap(), Instant::now());
        while begun.elapsed() < Duration::from_secs(5) && cpu_time(pid).unwrap() < before + Duration::from_millis(50) {
            black_box((0..10_000_u64).map(black_box).sum::<u64>());
        }
        assert!(cpu_time(pid).unwrap() >= before + Duration::from_millis(50));
        let memory = memory(pid).unwrap();
        assert!(memory.resident > 1 << 20 && memory.highest >= memory.resident);
    }
}
