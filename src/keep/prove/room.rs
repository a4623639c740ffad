//! How much memory the control group of this process has left.
//!
//! Owns the look at the files of the system. Promises a figure only where there is a limit. A
//! container that runs out of memory loses all of its processes, so a proof must stay below what is
//! left, whatever the configuration allows. Never changes anything.

use std::path::Path;

use crate::engine::files::read_regular_file;

/// Files of the system are short.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// The bytes that a process may take: those configured, or less where less is left.
pub(super) fn within_room(configured: u64) -> u64 {
    memory_room().map_or(configured, |room| configured.min(room / 10 * 9))
}

/// The bytes that this process's control group may still take; `None` without a limit.
fn memory_room() -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    // Version 2 has one line, `0::/path`.
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = Path::new(MOUNT).join(path);
    room(&read(&folder.join("memory.max"))?, &read(&folder.join("memory.stat"))?)
}

fn read(path: &Path) -> Option<String> {
    String::from_utf8(read_regular_file(path, FILE_BYTES_MAX).ok()?).ok()
}

/// Cached pages of files are given back when memory is short, so only `anon` is taken.
fn room(limit: &str, statistics: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let taken = statistics.lines().find_map(|line| line.strip_prefix("anon "))?;
    Some(limit.saturating_sub(taken.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_gives_a_figure() {
        assert_eq!(room("1000\n", "anon 300\nfile 600\n"), Some(700));
        assert_eq!(room("1000\n", "anon 1300\nfile 600\n"), Some(0));
        assert_eq!(room("max\n", "anon 300\n"), None);
        assert_eq!(room("1000\n", "file 600\n"), None);
    }
}
