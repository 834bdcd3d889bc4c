//! Messages on standard error: one error with its causes and remedy, notes, and the closing summary.

use std::error::Error as _;

use crate::error::Error;
use crate::media::Damage;
use crate::pipeline::{EnlargePlan, MemoryPlan, Summary};

/// Prints what failed, where, why, and what to do.
pub(super) fn print_error(error: &Error) {
    eprintln!("subpel: error: {error}");
    let mut cause = error.source();
    while let Some(c) = cause {
        eprintln!("  caused by: {c}");
        cause = c.source();
    }
    if let Some(remedy) = error.remedy() {
        eprintln!("  try: {remedy}");
    }
}

/// Prints something the user should know though the work goes on.
pub(super) fn print_warning(text: &str) {
    eprintln!("subpel: warning: {text}");
}

/// Prints where the input was damaged, if it was.
pub(super) fn print_damage(path: &std::path::Path, damage: &Damage) {
    if damage.count > 0 {
        let more = damage.count.saturating_sub(damage.notes.len() as u64);
        let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
        print_warning(&format!(
            "{}: the input is damaged: {}{rest}; the output holds all that decodes",
            path.display(),
            damage.notes.join("; ")
        ));
    }
}

/// What will be done, in one line.
pub(super) fn plan_line(plan: &EnlargePlan) -> String {
    let window = if plan.window > 0 { format!(", {} frames each", 2 * plan.window + 1) } else { String::new() };
    format!("{}x{} -> {}x{}, {}{window}", plan.from.width, plan.from.height, plan.to.width, plan.to.height, plan.method)
}

/// A memory plan in one line.
pub(super) fn memory_line(memory: &MemoryPlan) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    format!(
        "about {} MiB (frames in the window {}, solver {}, waiting between stages {}, codecs {}), whatever the length",
        mib(memory.total()),
        mib(memory.window),
        mib(memory.solver),
        mib(memory.channels),
        mib(memory.codecs)
    )
}

/// The closing summary, several lines.
pub(super) fn summary(summary: &Summary) -> String {
    let written = &summary.written;
    let fps = written.frames as f64 / summary.elapsed.as_secs_f64().max(1e-9);
    let mut lines = vec![format!(
        "{} frames, {}, {} {}, {:.1} s ({fps:.1} frames a second){}",
        written.frames,
        plan_line(&summary.plan),
        summary.encoding.0,
        summary.encoding.1,
        summary.elapsed.as_secs_f64(),
        peak_memory().map_or(String::new(), |m| format!(", {} MiB at most", m.div_ceil(1 << 20)))
    )];
    if summary.plan.window > 0 {
        lines.push(format!(
            "{:.0} % of the picture comes from several frames, the rest from single ones; noise about {:.1} of 255",
            100.0 * summary.multi_frame_share,
            summary.noise
        ));
        lines.push(match summary.scene_cuts.len() {
            0 => "no scene cuts".to_owned(),
            n => format!("{n} scene cuts, at frames {}", first_numbers(&summary.scene_cuts)),
        });
    }
    if !written.kept.copied.is_empty() {
        lines.push(format!("kept: {}", written.kept.copied.join("; ")));
    }
    if !written.kept.dropped.is_empty() {
        lines.push(format!("NOT kept: {}", written.kept.dropped.join("; ")));
    }
    let (made, moved) = summary.repaired_times;
    if made > 0 {
        lines.push(format!("{made} frames had no time in the file and follow at the usual distance"));
    }
    if moved > 0 {
        lines.push(format!("{moved} frames had a time that was not after the one before and were moved behind it"));
    }
    lines.join("\n")
}

fn first_numbers(numbers: &[u64]) -> String {
    let shown: Vec<String> = numbers.iter().take(12).map(u64::to_string).collect();
    let rest = if numbers.len() > shown.len() { ", ..." } else { "" };
    shown.join(", ") + rest
}

/// Most memory this process has held, bytes, where the system tells.
pub(super) fn peak_memory() -> Option<u64> {
    memory_field("VmHWM:")
}

/// Memory this process holds now, bytes, where the system tells.
pub(super) fn current_memory() -> Option<u64> {
    memory_field("VmRSS:")
}

fn memory_field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
