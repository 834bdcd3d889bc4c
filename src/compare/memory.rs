//! Most memory that this process has held since a moment, where the system tells (Linux).

use std::fs;

/// Begins to watch; before it, earlier needs count too.
pub(super) fn forget_peak() {
    // Where it cannot be written, peak() tells of the whole life of the process.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Most memory held since [`forget_peak`], bytes.
pub(super) fn peak() -> Option<u64> {
    told_by("/proc/self/status")
}

/// Most memory that a running child has held, bytes.
pub(super) fn peak_of(process: u32) -> Option<u64> {
    told_by(&format!("/proc/{process}/status"))
}

fn told_by(path: &str) -> Option<u64> {
    let status = fs::read_to_string(path).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
