//! `subpel compare`: several methods side by side on one video.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::compare_text::{self, Display};
use super::progress::ProgressMode;
use super::values::{self, InputOptions};
use super::{Outcome, print_line, signals, text};
use crate::compare::measure::MeasureOptions;
use crate::compare::{Contender, DEFAULT_CROP, Request, VideoLayout, VideoRequest, Watch, compare};
use crate::error::{Error, Kind, Result};
use crate::media::{EncoderSpec, OutputSpec};
use crate::metrics::{Metric, NiqeModel};
use crate::pipeline::Preset;
use crate::report::{self, Comparison};

/// Compare methods on one video, in figures, pictures and a page
///
/// With --reference, IN enlarged is compared with it. Without, IN itself is made smaller and recovered, so that it is its own
/// truth, and the real enlargement is measured by what needs none. Long videos are then judged on three excerpts. Results are
/// kept in the temporary folder while it runs, without loss.
#[derive(Args, Debug)]
pub(super) struct Compare {
    /// Video to enlarge
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// What the enlarged video should be, frame by frame: IN times the scale
    #[arg(long, value_name = "HR")]
    reference: Option<PathBuf>,

    /// Methods to compare, fusion or fusion+model: none, nearest, bilinear, bicubic, lanczos, frequency, shift-add, ibp, map
    /// or pocs; builtin or a file of network weights [default: bicubic,lanczos,map,none+builtin,map+builtin]
    #[arg(short, long, value_name = "M,...", value_delimiter = ',')]
    methods: Option<Vec<Contender>>,

    /// Take part with a file that any program has made of IN; may be repeated
    #[arg(long, value_name = "NAME=FILE", value_parser = values::pair)]
    candidate: Vec<(String, String)>,

    /// Take part with what a program makes: its words, run without a shell, {in} and {out} replaced by files (the latter an
    /// .mkv to write); may be repeated
    #[arg(long, value_name = "NAME=TOOL {in} {out}", value_parser = values::pair)]
    command: Vec<(String, String)>,

    /// Factor for width and height, 1 to 8, fractions allowed [default: that of the reference, or 2]
    #[arg(short, long, value_name = "F", value_parser = values::factor)]
    scale: Option<f64>,

    /// fast, balanced or best
    #[arg(short, long, value_name = "P", default_value_t = Preset::Balanced)]
    preset: Preset,

    /// Frames to compare, from number A (0 is the first) up to, but without, B; either may be left out
    #[arg(long, value_name = "A:B", value_parser = frames)]
    frames: Option<Range<u64>>,

    /// Pixels left out at each border of results
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CROP, help_heading = "Measuring")]
    crop: usize,

    /// Metrics to measure, by their names in JSON [default: all but vmaf]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Measuring")]
    metrics: Option<Vec<Metric>>,

    /// Model of natural pictures for NIQE, as from subpel metrics --fit-niqe
    #[arg(long, value_name = "FILE", help_heading = "Measuring")]
    niqe: Option<PathBuf>,

    /// Write a page with pictures and plots, one file of HTML
    #[arg(long, value_name = "PAGE.html", help_heading = "Output")]
    report: Option<PathBuf>,

    /// Write a video of the methods beside each other, with the sound of IN
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    video: Option<PathBuf>,

    /// split (one picture, a strip of each), side-by-side, or difference (from the truth or the first method, amplified)
    #[arg(long, value_name = "LAYOUT", default_value_t, requires = "video", help_heading = "Output")]
    video_layout: VideoLayout,

    /// Write everything that was measured as JSON; - is standard output, instead of the table
    #[arg(long, value_name = "FILE|-", help_heading = "Output")]
    json: Option<PathBuf>,

    /// Print the figures of every frame as CSV, instead of the table
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    csv: bool,

    /// Keep results in this folder, and take those that are there already
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    keep: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long, help_heading = "Output")]
    overwrite: bool,

    #[command(flatten)]
    reading: InputOptions,

    /// Threads; 0 is one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::threads)]
    threads: usize,

    /// How to show progress
    #[arg(long, value_enum, value_name = "MODE", default_value_t = ProgressMode::Auto)]
    progress: ProgressMode,
}

/// `a:b`, `a:` or `:b`.
fn frames(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?} is not A:B with A below B, such as 100:150");
    let (from, to) = text.split_once(':').ok_or_else(wrong)?;
    let number = |part: &str, otherwise: u64| if part.is_empty() { Ok(otherwise) } else { part.parse() };
    let range = number(from, 0).map_err(|_| wrong())?..number(to, u64::MAX).map_err(|_| wrong())?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

impl Compare {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let request = self.request()?;
        self.check_outputs()?;
        let watch = Arc::new(Watch::default());
        signals::stop_on_signals(watch.control())?;
        let display = Display::start(self.progress, &watch);
        let findings = compare(&request, &watch);
        drop(display);
        let findings = findings?;
        let comparison = &findings.comparison;
        if let Some(path) = &self.report {
            whole_file(path, self.overwrite, &mut |file| report::page(comparison, file))?;
        }
        if let Some(path) = &self.json {
            self.json(comparison, path, out)?;
        }
        if self.csv {
            compare_text::csv(comparison, out)?;
        } else if self.json.as_deref() != Some(Path::new("-")) {
            for line in compare_text::screen(comparison) {
                if !print_line(out, &line)? {
                    break;
                }
            }
        }
        text::print_damage(&request.input.path, &findings.damage);
        Ok(if findings.damage.count > 0 { Outcome::Damaged } else { Outcome::Done })
    }

    fn request(&self) -> Result<Request> {
        let mut contenders = self.methods.clone().unwrap_or_else(Contender::usual);
        for (name, file) in &self.candidate {
            contenders.push(Contender::file(name, Path::new(file))?);
        }
        for (name, line) in &self.command {
            contenders.push(Contender::command(name, line)?);
        }
        let mut measure = MeasureOptions { crop: self.crop, ..MeasureOptions::default() };
        if let Some(metrics) = &self.metrics {
            measure.metrics.clone_from(metrics);
        }
        if let Some(path) = &self.niqe {
            measure.niqe = Some(Arc::new(niqe_model(path)?));
        }
        let video = self.video.as_ref().map(|path| VideoRequest {
            output: OutputSpec {
                overwrite: self.overwrite,
                encoder: EncoderSpec { threads: self.threads, ..EncoderSpec::default() },
                ..OutputSpec::file(path)
            },
            layout: self.video_layout,
        });
        Ok(Request {
            reference: self.reference.as_ref().map(|path| self.reading.spec(path)),
            contenders,
            scale: self.scale,
            preset: self.preset,
            frames: self.frames.clone(),
            measure,
            keep: self.keep.clone(),
            overwrite: self.overwrite,
            pictures: self.report.is_some(),
            video,
            threads: self.threads,
            ..Request::new(self.reading.spec(&self.input))
        })
    }

    /// Refuses before an hour of work what would be refused after it.
    fn check_outputs(&self) -> Result<()> {
        let input = Some(self.input.as_path());
        let files = [self.report.as_ref(), self.video.as_ref(), self.json.as_ref().filter(|p| p.as_os_str() != "-")];
        for (i, path) in files.iter().enumerate() {
            let Some(path) = path else { continue };
            OutputSpec { overwrite: self.overwrite, ..OutputSpec::file(path) }.check(input)?;
            if files[..i].iter().flatten().any(|other| other == path) {
                return Err(Error::new(Kind::Usage, "two outputs have this name").file(path));
            }
        }
        Ok(())
    }

    fn json(&self, comparison: &Comparison, path: &Path, out: &mut dyn Write) -> Result<()> {
        let bare = compare_text::without_pictures(comparison);
        let failed = |e: serde_json::Error| Error::new(Kind::Io, "writing JSON failed").caused_by(e).file(path);
        if path.as_os_str() == "-" {
            let line = serde_json::to_string(&bare).map_err(failed)?;
            return print_line(out, &line).map(drop);
        }
        whole_file(path, self.overwrite, &mut |file| serde_json::to_writer(file, &bare).map_err(failed))
    }
}

/// Reads a model of natural pictures.
fn niqe_model(path: &Path) -> Result<NiqeModel> {
    let bytes = std::fs::read(path)
        .map_err(|e| Error::new(Kind::Input, "a model of natural pictures cannot be read").caused_by(e).file(path))?;
    let model: NiqeModel = serde_json::from_slice(&bytes)
        .map_err(|e| Error::new(Kind::Input, "is no model of natural pictures").caused_by(e).file(path))?;
    model.validate().map_err(|e| e.file(path))?;
    Ok(model)
}

/// Writes a file that appears when it is whole.
fn whole_file(path: &Path, overwrite: bool, write: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<()> {
    let failed = |e: std::io::Error| Error::new(Kind::of_io(&e), "cannot be written").caused_by(e).file(path);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let part = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(folder);
    let part = part.map_err(|e| Error::new(Kind::Create, "cannot be created").caused_by(e).file(path))?;
    let mut buffered = BufWriter::new(part.as_file());
    write(&mut buffered)?;
    buffered.flush().map_err(failed)?;
    drop(buffered);
    readable(part.as_file());
    let moved = if overwrite { part.persist(path) } else { part.persist_noclobber(path) };
    moved.map(drop).map_err(|e| failed(e.error))
}

/// Temporary files are private; a result is a file as any other.
fn readable(file: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What cannot be opened up can still be read by who made it.
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = file;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_frames_are_read() {
        assert_eq!(frames("3:7"), Ok(3..7), "both ends");
        assert_eq!(frames(":7"), Ok(0..7), "from the start");
        assert_eq!(frames("3:"), Ok(3..u64::MAX), "to the end");
        for wrong in ["", "5", "7:3", "3:3", "a:b", "-1:4"] {
            assert!(frames(wrong).is_err(), "{wrong:?}");
        }
    }
}
