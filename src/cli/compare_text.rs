//! What `subpel compare` says: progress, one screen for people, CSV for spreadsheets.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::progress::ProgressMode;
use crate::compare::{Moment, Watch};
use crate::error::{Error, Kind, Result};
use crate::metrics::Metric;
use crate::report::{Comparison, MethodResult, Test, Truth};

/// Columns of the screen.
const WIDTH: usize = 96;

/// A running display; dropped, it is taken away.
pub(super) struct Display {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Shows where `watch` is until dropped.
    pub(super) fn start(mode: ProgressMode, watch: &Arc<Watch>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let mut last = Moment::default();
        let mut show: Box<dyn FnMut(Moment) + Send> = match mode {
            ProgressMode::None => return Self { stop: None, thread: None },
            ProgressMode::Json => Box::new(|moment| eprintln!("{}", json(&moment))),
            ProgressMode::Auto if terminal => bar(),
            ProgressMode::Auto | ProgressMode::Plain => Box::new(move |moment| {
                if moment != last {
                    eprintln!("subpel: {}", plain(&moment));
                }
                last = moment;
            }),
        };
        let interval = match mode {
            ProgressMode::Json => Duration::from_secs(1),
            ProgressMode::Auto if terminal => Duration::from_millis(200),
            _ => Duration::from_secs(5),
        };
        let (stop, stopped) = channel();
        let watch = Arc::clone(watch);
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                show(watch.moment());
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A display that panicked has nothing to say any more.
            let _ = thread.join();
        }
    }
}

fn plain(moment: &Moment) -> String {
    let Moment { name, part, step: (step, steps), frames: (done, expected) } = moment;
    let place = if *steps > 0 { format!("[{step}/{steps}] ") } else { String::new() };
    let of = if *expected > 0 { format!(" of {expected}") } else { String::new() };
    let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
    format!("{place}{name}{part}, frame {done}{of}")
}

fn json(moment: &Moment) -> String {
    let Moment { name, part, step, frames } = moment;
    serde_json::json!({
        "step": step.0, "steps": step.1, "name": name, "part": part, "frame": frames.0, "expected": frames.1,
    })
    .to_string()
}

/// A bar of the steps, and words for the one that is running.
fn bar() -> Box<dyn FnMut(Moment) + Send> {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:16} {pos}/{len} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    let guard = ClearOnDrop(bar);
    Box::new(move |moment| {
        let bar = &guard.0;
        bar.set_length(moment.step.1 as u64);
        bar.set_position(moment.step.0 as u64);
        let Moment { name, part, frames: (done, expected), .. } = moment;
        let of = if expected > 0 { format!("/{expected}") } else { String::new() };
        bar.set_message(format!("{name}: {part} {done}{of}"));
        bar.tick();
    })
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// All of it on one screen: at most 24 lines of 96 columns.
pub(super) fn screen(comparison: &Comparison) -> Vec<String> {
    let input = &comparison.input;
    let size = comparison.tests.first().map_or((0, 0), |test| test.size);
    let last = comparison.tests.last().map_or(size, |test| test.size);
    let mut lines = vec![format!(
        "{}: {}x{}, {}, x{} to {}x{}; {} frames compared",
        input.name,
        input.width,
        input.height,
        input.format,
        short(comparison.scale),
        last.0,
        last.1,
        input.frames
    )];
    lines.push(String::new());
    lines.extend(table(comparison));
    lines.push(String::new());
    let advice = &comparison.advice;
    lines.push(format!("Use {}.", advice.method));
    for reason in &advice.reasons {
        lines.extend(wrapped(reason, "- ", "  "));
    }
    let notes = comparison.notes.iter().filter(|note| note.contains("not tested"));
    for note in notes {
        lines.extend(wrapped(note, "- ", "  "));
    }
    if !advice.command.is_empty() {
        lines.push(String::new());
        lines.push(format!("  {}", advice.command));
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Methods by tests, and what they cost.
fn table(comparison: &Comparison) -> Vec<String> {
    let names = all_names(comparison);
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(6, 22);
    let judged: Vec<&Test> = comparison.tests.iter().filter(|test| test.truth != Truth::Nothing).collect();
    let free = comparison.tests.iter().find(|test| test.truth == Truth::Nothing);
    let mut head = [format!("  {:widest$}", ""), format!("  {:widest$}", "method")];
    for test in &judged {
        head[0] += &format!("  {:>15}", heading(test));
        head[1] += &format!("  {:>15}", "PSNR-Y  SSIM-Y");
    }
    head[0] += "    fidelity  flicker   edges    speed  memory";
    head[1] += "          dB  of 255      px      fps     MiB";
    let mut lines = head.to_vec();
    for name in names {
        let mark = if name == comparison.advice.method { "*" } else { " " };
        let mut line = format!("{mark} {:widest$}", clipped(&name, widest));
        for test in &judged {
            let mean = result(test, &name).filter(|r| r.failed.is_none()).map(|r| r.mean);
            let figure = |value: Option<f64>, decimals: usize| value.map_or("-".into(), |v| format!("{v:.decimals$}"));
            let psnr = figure(mean.and_then(|m| m.psnr_y), 2);
            line += &format!("  {psnr:>7}  {:>6}", figure(mean.and_then(|m| m.ssim_y), 4));
        }
        // Where there is an enlargement, its costs are those of the real thing.
        let of = free.or(judged.last().copied()).and_then(|test| result(test, &name));
        line += &costs(of);
        let failed = comparison.tests.iter().filter_map(|test| result(test, &name)).find_map(|r| r.failed.as_ref());
        lines.push(match failed {
            Some(why) => clipped(&format!("{mark} {:widest$}  failed: {why}", clipped(&name, widest)), WIDTH),
            None => line,
        });
    }
    lines
}

fn costs(result: Option<&MethodResult>) -> String {
    let Some(result) = result else { return String::new() };
    let figure = |value: Option<f64>, decimals: usize| value.map_or("-".into(), |v| format!("{v:.decimals$}"));
    let mean = &result.mean;
    let memory = result.peak_memory.map_or("-".into(), |bytes| (bytes >> 20).to_string());
    let (fidelity, flicker) = (figure(mean.fidelity, 2), figure(mean.temporal, 2));
    let (edges, speed) = (figure(mean.edge_width, 2), figure(result.frames_per_second, 1));
    format!("    {fidelity:>8}  {flicker:>7}  {edges:>6}  {speed:>7}  {memory:>6}")
}

fn heading(test: &Test) -> &str {
    match test.key.as_str() {
        "recovery-coded" => "as coded",
        "recovery-bicubic" => "from bicubic",
        "recovery-gaussian" => "from Gaussian",
        _ => "reference",
    }
}

/// All who took part in any test, in the order they were asked for.
fn all_names(comparison: &Comparison) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    // The last test has files of other programs too.
    for method in comparison.tests.iter().rev().flat_map(|test| &test.methods) {
        if !names.contains(&method.name) {
            names.push(method.name.clone());
        }
    }
    names
}

fn result<'a>(test: &'a Test, name: &str) -> Option<&'a MethodResult> {
    test.methods.iter().find(|method| method.name == name)
}

/// 2 for 2.0, 1.5 for 1.5.
fn short(scale: f64) -> String {
    let text = format!("{scale:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(3)).chain("...".chars()).collect()
}

/// `text` in lines of the screen's width.
fn wrapped(text: &str, first: &str, rest: &str) -> Vec<String> {
    let mut lines = vec![first.to_owned()];
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            let begins = line.len() == first.len().max(rest.len()) && line.trim().len() <= first.trim().len();
            if line.chars().count() + word.chars().count() < WIDTH || begins {
                if !begins {
                    line.push(' ');
                }
                line.push_str(word);
                continue;
            }
        }
        lines.push(format!("{rest}{word}"));
    }
    lines
}

/// The comparison without the bytes of its pictures.
pub(super) fn without_pictures(comparison: &Comparison) -> Comparison {
    let mut bare = Comparison { tests: Vec::new(), ..comparison.clone() };
    for test in &comparison.tests {
        let shots = test.shots.iter().map(|shot| crate::report::Shot { frame: shot.frame, pictures: Vec::new() });
        let crops = test.crops.iter().map(|crop| crate::report::Crop {
            frame: crop.frame,
            area: crop.area,
            pictures: Vec::new(),
        });
        bare.tests.push(Test {
            key: test.key.clone(),
            title: test.title.clone(),
            explanation: test.explanation.clone(),
            truth: test.truth.clone(),
            size: test.size,
            methods: test.methods.clone(),
            shots: shots.collect(),
            crops: crops.collect(),
        });
    }
    bare
}

/// A line for every frame of every method in every test.
pub(super) fn csv(comparison: &Comparison, out: &mut dyn Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let mut head = vec!["test", "method", "frame"];
    head.extend(Metric::ALL.map(Metric::name));
    head.extend(["motion", "confidence", "multi_frame_share"]);
    let mut ended = writer.write_record(&head);
    for test in &comparison.tests {
        for method in &test.methods {
            for frame in &method.per_frame {
                let mut line = vec![test.key.clone(), method.name.clone(), frame.frame.to_string()];
                let figures = Metric::ALL.into_iter().map(|metric| frame.scores.get(metric));
                let figures = figures.chain([frame.motion, frame.confidence, frame.multi_frame_share]);
                line.extend(figures.map(|value| value.map_or_else(String::new, |v| format!("{v:.6}"))));
                ended = ended.and_then(|()| writer.write_record(&line));
            }
        }
    }
    match ended.map_err(std::io::Error::from).and_then(|()| writer.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::of_io(&e), "writing to standard output failed").caused_by(e))
        }
        _ => Ok(()),
    }
}
