//! `subpel motion`: the shift of every frame against the one before.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::values::{self, InputOptions};
use super::{Outcome, print_line, signals, text};
use crate::error::Result;
use crate::pipeline::{Control, FrameMotion, motion_file};

/// Print the shift, confidence and scene cut of every frame against the one before
///
/// What is at (x, y) in frame n-1 is at (x + dx, y + dy) in frame n: pixels of the input, +x right, +y down.
#[derive(Args, Debug)]
pub(super) struct Motion {
    /// Video to measure
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// One JSON object a line: frame, dx, dy, confidence, scene_cut
    #[arg(long)]
    json: bool,

    /// Threads; 0 is one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::threads)]
    threads: usize,

    #[command(flatten)]
    reading: InputOptions,
}

#[derive(Serialize)]
struct Line {
    frame: u64,
    dx: f64,
    dy: f64,
    confidence: f64,
    scene_cut: bool,
}

impl Motion {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let control = Arc::new(Control::default());
        signals::stop_on_signals(&control)?;
        let input = self.reading.spec(&self.input);
        if !self.json {
            print_line(out, "  frame      time        dx        dy  confidence")?;
        }
        let json = self.json;
        let damage = motion_file(&input, self.threads, &control, &mut |motion, seconds| {
            let line = if json { json_line(motion) } else { table_line(motion, seconds) };
            print_line(out, &line)
        })?;
        text::print_damage(&self.input, &damage);
        Ok(if damage.count > 0 { Outcome::Damaged } else { Outcome::Done })
    }
}

fn json_line(m: &FrameMotion) -> String {
    let exact = |v: f64| (v * 1e5).round() / 1e5;
    let line = Line {
        frame: m.frame,
        dx: exact(m.dx),
        dy: exact(m.dy),
        confidence: exact(m.confidence),
        scene_cut: m.scene_cut,
    };
    serde_json::to_string(&line).unwrap_or_default()
}

fn table_line(m: &FrameMotion, seconds: f64) -> String {
    let cut = if m.scene_cut { "  scene cut" } else { "" };
    format!("{:7} {seconds:9.3} {:9.3} {:9.3} {:11.3}{cut}", m.frame, m.dx, m.dy, m.confidence)
}
