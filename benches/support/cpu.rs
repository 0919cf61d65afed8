//! Processor time and memory of processes, from /proc.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use nix::unistd::{SysconfVar, sysconf};

/// What a process has used so far, its ended children included if it waited for them.
///
/// # Errors
/// There is no such process.
pub(crate) fn used(pid: u32) -> anyhow::Result<Duration> {
    let stat = Stat::of(pid)?;
    ticks(stat.own + stat.ended_children)
}

/// What a process and its children have used so far, ended ones included:
/// PostgreSQL has a process for each connection.
///
/// # Errors
/// There is no such process.
pub(crate) fn used_by_family(parent: u32) -> anyhow::Result<Duration> {
    let head = Stat::of(parent)?;
    let mut sum = head.own + head.ended_children;
    for entry in fs::read_dir("/proc")? {
        let pid = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        // One that has ended meanwhile is counted with the next look.
        let stat = pid.and_then(|pid: u32| Stat::of(pid).ok());
        if let Some(stat) = stat.filter(|stat| stat.parent == parent) {
            sum += stat.own + stat.ended_children;
        }
    }
    ticks(sum)
}

/// Memory of a process that is in use and not on disk, in bytes.
///
/// # Errors
/// There is no such process.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kib.context("/proc has no VmRSS")? * 1_024)
}

/// The fields of /proc/PID/stat that matter here; times in clock ticks.
struct Stat {
    parent: u32,
    own: u64,
    ended_children: u64,
}

impl Stat {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is a name in parentheses, which may hold anything.
        let (_, rest) = text
            .rsplit_once(") ")
            .context("/proc/PID/stat has no name")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |place: usize| -> anyhow::Result<u64> {
            let field = fields.get(place).context("/proc/PID/stat is short")?;
            Ok(field.parse()?)
        };
        // proc(5) counts from 1, and the first here is its third.
        Ok(Self {
            parent: number(1)?.try_into()?,
            own: number(11)? + number(12)?,
            ended_children: number(13)? + number(14)?,
        })
    }
}

fn ticks(count: u64) -> anyhow::Result<Duration> {
    let per_s = sysconf(SysconfVar::CLK_TCK)?.context("the system has no clock tick")?;
    Ok(Duration::from_secs_f64(count as f64 / per_s as f64))
}
