//! Messages on standard error: one error with its causes and remedy, notes, and the closing summary.

use std::error::Error as _;

use crate::error::Error;
use crate::fuse::Held;
use crate::media::Damage;
use crate::pipeline::{AloneCounts, EnlargePlan, MemoryPlan, Summary};

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
    let (from, middle, to) = (&plan.from, &plan.middle, &plan.to);
    let refined = plan.refine.as_ref().map_or(String::new(), |refine| {
        let held = if refine.consistency > 0 { ", held to the frames" } else { "" };
        format!(" to {}x{}, {}{held}", middle.width, middle.height, refine.network.name)
    });
    format!("{}x{} -> {}x{}, {}{window}{refined}", from.width, from.height, to.width, to.height, plan.method)
}

/// A memory plan in one line.
pub(super) fn memory_line(memory: &MemoryPlan) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let network = if memory.network > 0 { format!(", network {}", mib(memory.network)) } else { String::new() };
    format!(
        "about {} MiB (frames in the window {}, solver {}{network}, waiting between stages {}, codecs {}), whatever the length",
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
        lines.push(format!("{:.1} neighbours used for a frame; blur {}", summary.neighbours, blurs(summary)));
        lines.extend(alone_line(&summary.alone));
        lines.push(match summary.scene_cuts.len() {
            0 => "no scene cuts".to_owned(),
            n => format!("{n} scene cuts, at frames {}", first_numbers(&summary.scene_cuts)),
        });
    }
    if let Some(Held { before, after }) = summary.held {
        lines.push(format!(
            "reduced as the camera would, the network's luma is {:.1} dB from the input, held to it {:.1} dB",
            decibels(before),
            decibels(after)
        ));
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

/// PSNR of a mean squared difference on the 8-bit scale; at most 99.9.
fn decibels(error: f64) -> f64 {
    if error.is_finite() { (10.0 * (255.0f64.powi(2) / error).log10()).min(99.9) } else { 0.0 }
}

/// The blurs undone, as `--psf` takes them.
fn blurs(summary: &Summary) -> String {
    let names: Vec<String> = summary.blurs.iter().take(12).map(|b| b.to_string()).collect();
    let rest = if summary.blurs.len() > names.len() { ", ..." } else { "" };
    if names.is_empty() { "not undone".to_owned() } else { names.join(", ") + rest }
}

/// The frames that were made from themselves alone, and why; `None` if there are none.
fn alone_line(alone: &AloneCounts) -> Option<String> {
    let reasons = [
        (alone.no_neighbours, "without neighbours"),
        (alone.cut, "between two cuts"),
        (alone.repeated, "repeated without change"),
        (alone.unlike, "unlike their neighbours"),
    ];
    let told: Vec<String> = reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    (!told.is_empty()).then(|| format!("{} frames from themselves alone: {}", alone.total(), told.join(", ")))
}

/// The closing summary as one JSON object in one line.
pub(super) fn json_summary(summary: &Summary) -> String {
    let AloneCounts { no_neighbours, cut, repeated, unlike } = summary.alone;
    serde_json::json!({ "summary": {
        "frames": summary.written.frames, "bytes": summary.written.bytes,
        "seconds": summary.elapsed.as_secs_f64(), "peak_memory_bytes": peak_memory(),
        "width": summary.plan.to.width, "height": summary.plan.to.height,
        "method": summary.plan.method.name(), "window": summary.plan.window,
        "encoder": summary.encoding.0, "pixel_format": summary.encoding.1,
        "multi_frame_share": summary.multi_frame_share, "neighbours": summary.neighbours, "noise": summary.noise,
        "blurs": summary.blurs.iter().map(|b| b.to_string()).collect::<Vec<_>>(),
        "frames_alone": {
            "no_neighbours": no_neighbours, "cut": cut, "repeated": repeated, "unlike": unlike,
        },
        "scene_cuts": summary.scene_cuts, "kept": summary.written.kept.copied, "dropped": summary.written.kept.dropped,
        "network": summary.plan.refine.as_ref().map(|refine| &refine.network.name),
        "consistency_psnr": summary.held.map(|held| [decibels(held.before), decibels(held.after)]),
        "damage": summary.damage.count,
    } })
    .to_string()
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
