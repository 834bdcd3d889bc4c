//! Progress: a bar on a terminal, plain lines otherwise, JSON lines on request. Reads counters, changes nothing.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::text::current_memory;
use crate::error::Stage;
use crate::pipeline::Control;

/// Ways of showing progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    /// A bar on a terminal, else plain lines
    Auto,
    /// A line every few seconds
    Plain,
    /// One JSON object a line on standard error
    Json,
    /// Nothing, and no closing summary
    None,
}

/// A running display; dropped, it is taken away.
pub(super) struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the display shows at one moment.
#[derive(Debug, Clone, PartialEq)]
struct Moment {
    done: u64,
    expected: u64,
    elapsed: Duration,
    /// Frames a second each stage could do alone.
    speeds: [f64; STAGES.len()],
    memory: Option<u64>,
}

const STAGES: [Stage; 6] = [Stage::Decode, Stage::Register, Stage::Fuse, Stage::Refine, Stage::Hold, Stage::Encode];

impl Progress {
    /// Shows `control`'s job until dropped.
    pub(super) fn start(mode: ProgressMode, control: &Arc<Control>) -> Self {
        let show: Box<dyn FnMut(&Moment) + Send> = match mode {
            ProgressMode::None => return Self { stop: None, thread: None },
            ProgressMode::Json => Box::new(|m| eprintln!("{}", m.json())),
            ProgressMode::Auto if std::io::stderr().is_terminal() => bar(),
            ProgressMode::Auto | ProgressMode::Plain => Box::new(|m| eprintln!("subpel: {}", m.plain())),
        };
        let interval = match mode {
            ProgressMode::Json => Duration::from_secs(1),
            ProgressMode::Auto if std::io::stderr().is_terminal() => Duration::from_millis(200),
            _ => Duration::from_secs(5),
        };
        let (stop, stopped) = channel();
        let control = Arc::clone(control);
        let start = Instant::now();
        let mut show = show;
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                show(&Moment::of(&control, start.elapsed()));
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A display that panicked has nothing to say any more.
            let _ = thread.join();
        }
    }
}

impl Moment {
    fn of(control: &Control, elapsed: Duration) -> Self {
        let speeds = STAGES.map(|stage| {
            let count = control.count(stage);
            count.frames as f64 / count.busy.as_secs_f64().max(1e-9)
        });
        Self {
            done: control.count(Stage::Encode).frames,
            expected: control.expected(),
            elapsed,
            speeds,
            memory: current_memory(),
        }
    }

    fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Seconds left, if the length and the rate are known.
    fn left(&self) -> Option<f64> {
        (self.expected > self.done && self.done > 0).then(|| (self.expected - self.done) as f64 / self.rate())
    }

    fn stage_text(&self) -> String {
        let fast = |speed: f64| if speed > 9999.0 { "-".to_owned() } else { format!("{speed:.1}") };
        // Most jobs have no network.
        let there = STAGES
            .iter()
            .zip(self.speeds)
            .filter(|(stage, speed)| !matches!(stage, Stage::Refine | Stage::Hold) || *speed > 0.0);
        there.map(|(stage, speed)| format!("{} {}", stage.name(), fast(speed))).collect::<Vec<_>>().join(" | ")
    }

    fn plain(&self) -> String {
        let of = if self.expected > 0 { format!(" of about {}", self.expected) } else { String::new() };
        let left = self.left().map_or(String::new(), |s| format!(", {} left", duration(s)));
        let memory = self.memory.map_or(String::new(), |m| format!(", {} MiB", m >> 20));
        format!("frame {}{of}, {:.2} fps ({}){left}{memory}", self.done, self.rate(), self.stage_text())
    }

    fn json(&self) -> String {
        let [decode, register, fuse, refine, hold, encode] = self.speeds.map(|s| (s * 100.0).round() / 100.0);
        serde_json::json!({
            "frame": self.done, "expected": self.expected, "seconds": self.elapsed.as_secs_f64(), "fps": self.rate(),
            "eta_seconds": self.left(), "memory_bytes": self.memory,
            "stage_fps": { "decode": decode, "register": register, "fuse": fuse, "refine": refine, "hold": hold, "encode": encode },
        })
        .to_string()
    }
}

/// A bar where the length is known, a counter where it is not.
fn bar() -> Box<dyn FnMut(&Moment) + Send> {
    let bar = ProgressBar::no_length();
    let style = |template: &str| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
    };
    bar.set_style(style("{spinner} {pos} frames {msg}"));
    let guard = ClearOnDrop(bar);
    Box::new(move |m| {
        let bar = &guard.0;
        if m.expected > 0 && bar.length() != Some(m.expected.max(m.done)) {
            bar.set_length(m.expected.max(m.done));
            bar.set_style(style("{bar:24} {pos}/{len} {msg}"));
        }
        bar.set_position(m.done);
        let left = m.left().map_or(String::new(), |s| format!(", {} left", duration(s)));
        let memory = m.memory.map_or(String::new(), |b| format!(", {} MiB", b >> 20));
        bar.set_message(format!("{:.2} fps ({}){left}{memory}", m.rate(), m.stage_text()));
        bar.tick();
    })
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Seconds as people say them.
pub(super) fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..=99 => format!("{s} s"),
        100..=5999 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_well_and_its_json_parses() {
        let m = Moment {
            done: 30,
            expected: 90,
            elapsed: Duration::from_secs(10),
            speeds: [100.0, 50.0, 4.0, 0.0, 0.0, 1e9],
            memory: Some(200 << 20),
        };
        assert_eq!(
            m.plain(),
            "frame 30 of about 90, 3.00 fps (decode 100.0 | register 50.0 | fuse 4.0 | encode -), 20 s left, 200 MiB",
            "plain"
        );
        let value: serde_json::Value = serde_json::from_str(&m.json()).expect("JSON");
        assert_eq!(value["eta_seconds"], 20.0, "time left");
    }

    #[test]
    fn durations_read_as_people_say_them() {
        assert_eq!(
            (duration(5.2), duration(125.0), duration(7260.0)),
            ("5 s".into(), "2 min 05 s".into(), "2 h 01 min".into()),
            "durations"
        );
    }
}
