//! What a container uses, read from its cgroup, with one set of units: bytes
//! and nanoseconds, on v1 and v2 alike. What a machine does not count is `None`.

use crate::runtime::read_json;
use crate::{Error, Result, Runtime};
use skep_agent_shim_api::{Cgroup, ShimRequest};
use skep_types::TaskId;
use std::fs;
use std::path::Path;

/// Nanoseconds of one tick in which v1 counts user and system time.
const TICK_NANOS: u64 = 10_000_000;

/// Use of resources since the container was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time, in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// The part of it outside of the kernel, in nanoseconds.
    pub cpu_user_nanos: Option<u64>,
    /// The part of it in the kernel, in nanoseconds.
    pub cpu_system_nanos: Option<u64>,
    /// Time in which the CPU limit held it back, in nanoseconds.
    pub cpu_throttled_nanos: Option<u64>,
    /// Memory without the page cache that can be dropped at once, in bytes.
    pub memory_bytes: Option<u64>,
    /// Limit of memory, in bytes; `None` when there is none.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processes killed for lack of memory.
    pub oom_kills: u64,
    /// Bytes read from block devices.
    pub block_read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub block_write_bytes: Option<u64>,
}

impl Runtime {
    /// What a container uses.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none or when it has ended.
    pub async fn stats(&self, task: &TaskId) -> Result<Stats> {
        let task = *task;
        self.blocking(move |runtime| {
            let bundle = runtime.existing(&task)?;
            let request: ShimRequest = read_json(&bundle.request())?;
            let cgroup = Cgroup::locate(&request.cgroup_path)
                .map_err(Error::file("find", &request.cgroup_path))?;
            if !cgroup.exists() {
                return Err(Error::NotFound(task));
            }
            Ok(read(&cgroup))
        })
        .await
    }
}

fn read(cgroup: &Cgroup) -> Stats {
    let mut stats = match cgroup.unified() {
        Some(dir) if cgroup.is_unified() => read_v2(dir),
        _ => read_v1(cgroup),
    };
    stats.oom_kills = cgroup.oom_kills();
    stats
}

fn read_v2(dir: &Path) -> Stats {
    let cpu = |key| field(dir, "cpu.stat", key).map(|micros| micros * 1000);
    let cache = field(dir, "memory.stat", "inactive_file").unwrap_or(0);
    Stats {
        cpu_nanos: cpu("usage_usec"),
        cpu_user_nanos: cpu("user_usec"),
        cpu_system_nanos: cpu("system_usec"),
        cpu_throttled_nanos: cpu("throttled_usec"),
        memory_bytes: number(dir, "memory.current").map(|used| used.saturating_sub(cache)),
        memory_limit_bytes: number(dir, "memory.max"),
        pids: number(dir, "pids.current"),
        oom_kills: 0,
        block_read_bytes: io_stat(dir, "rbytes="),
        block_write_bytes: io_stat(dir, "wbytes="),
    }
}

fn read_v1(cgroup: &Cgroup) -> Stats {
    let in_dir = |controller, read: &dyn Fn(&Path) -> Option<u64>| {
        cgroup.controller(controller).and_then(read)
    };
    let ticks = |key| {
        in_dir("cpuacct", &|dir| field(dir, "cpuacct.stat", key)).map(|ticks| ticks * TICK_NANOS)
    };
    let block = |kind| in_dir("blkio", &|dir| blkio(dir, kind));
    let cache = in_dir("memory", &|dir| {
        field(dir, "memory.stat", "total_inactive_file")
    });
    Stats {
        cpu_nanos: in_dir("cpuacct", &|dir| number(dir, "cpuacct.usage")),
        cpu_user_nanos: ticks("user"),
        cpu_system_nanos: ticks("system"),
        cpu_throttled_nanos: in_dir("cpu", &|dir| field(dir, "cpu.stat", "throttled_time")),
        memory_bytes: in_dir("memory", &|dir| number(dir, "memory.usage_in_bytes"))
            .map(|used| used.saturating_sub(cache.unwrap_or(0))),
        memory_limit_bytes: in_dir("memory", &|dir| number(dir, "memory.limit_in_bytes"))
            // v1 writes "none" as the largest multiple of a page.
            .filter(|limit| *limit < 1 << 62),
        pids: in_dir("pids", &|dir| number(dir, "pids.current")),
        oom_kills: 0,
        block_read_bytes: block("Read"),
        block_write_bytes: block("Write"),
    }
}

/// A file that holds one number; `max` is none.
fn number(dir: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

/// The number behind `key` in a file of lines `key number`.
fn field(dir: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(dir.join(file)).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        if name == key {
            value.trim().parse().ok()
        } else {
            None
        }
    })
}

/// The sum over all devices of one column of v2's io.stat.
fn io_stat(dir: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(dir.join("io.stat")).ok()?;
    Some(
        text.split_whitespace()
            .filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok())
            .sum(),
    )
}

/// The sum over all devices of one kind of v1's throttle counters.
fn blkio(dir: &Path, kind: &str) -> Option<u64> {
    let text = fs::read_to_string(dir.join("blkio.throttle.io_service_bytes")).ok()?;
    Some(
        text.lines()
            .filter_map(|line| {
                let mut words = line.split(' ').skip(1);
                if words.next()? == kind {
                    words.next()?.parse::<u64>().ok()
                } else {
                    None
                }
            })
            .sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_microseconds_become_nanoseconds() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text);
        write(
            "cpu.stat",
            "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
        )?;
        write("memory.current", "1000\n")?;
        write("memory.stat", "anon 600\ninactive_file 400\n")?;
        write("memory.max", "max\n")?;
        write(
            "io.stat",
            "8:0 rbytes=10 wbytes=20\n8:16 rbytes=1 wbytes=2\n",
        )?;
        let stats = read_v2(dir.path());
        assert_eq!(stats.cpu_nanos, Some(1_500_000));
        assert_eq!(stats.memory_bytes, Some(600));
        assert_eq!(stats.memory_limit_bytes, None);
        assert_eq!(stats.pids, None);
        assert_eq!(
            (stats.block_read_bytes, stats.block_write_bytes),
            (Some(11), Some(22))
        );
        Ok(())
    }
}
