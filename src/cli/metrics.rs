//! `subpel metrics`: how far one video is from another.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::scores::{Columns, Report, csv};
use super::values::InputOptions;
use super::{Outcome, print_line, text};
use crate::compare::measure::{
    MeasureOptions, Measurer, fit_niqe, read_niqe_model, vmaf_is_there, write_niqe_model, write_whole,
};
use crate::error::{Error, Kind, Result};
use crate::frame::{Frame, PictureLayout};
use crate::kernels::CpuLevel;
use crate::media::{Damage, VideoInfo, VideoReader, is_sequence_pattern};
use crate::metrics::Metric;

/// PSNR, SSIM, MS-SSIM and more of A against B, frame by frame and mean
///
/// A is what is judged, B what is right; without B, figures that need no truth. Luma is in studio range, peak 255: the
/// file's own Y, or Y of RGB by the tagged matrix. Identical frames count as 99 dB. What was not measured is left out.
/// docs/metrics.md defines every figure.
#[derive(Args, Debug)]
#[command(after_help = METRICS_HELP)]
pub(super) struct Metrics {
    /// Video to judge
    #[arg(value_name = "A", required_unless_present = "fit_niqe")]
    result: Option<PathBuf>,

    /// Video that is right
    #[arg(value_name = "B")]
    truth: Option<PathBuf>,

    /// What A was made from, at its own size: for fidelity and temporal error
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// What to measure, with commas between, or 'all'; see below
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    metrics: Vec<String>,

    /// Pixels left out at each border
    #[arg(long, value_name = "N", default_value_t = 0)]
    crop: usize,

    /// One JSON object: frames, a mean for each metric, psnr_y_min, worst, per_frame
    #[arg(long)]
    json: bool,

    /// A line a frame with commas between, and a heading; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "fit_niqe")]
    csv: Option<PathBuf>,

    /// What natural pictures are like, for NIQE
    #[arg(long, value_name = "MODEL")]
    niqe_model: Option<PathBuf>,

    /// Make a NIQE model of natural pictures (or videos) that are sharp and unspoilt
    #[arg(long, value_name = "PICTURE", num_args = 1.., requires = "output", conflicts_with_all = ["result", "input", "metrics", "niqe_model"])]
    fit_niqe: Vec<PathBuf>,

    /// Where --fit-niqe writes the model
    #[arg(short, long, value_name = "MODEL", requires = "fit_niqe")]
    output: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long)]
    overwrite: bool,

    #[command(flatten)]
    reading: InputOptions,
}

const METRICS_HELP: &str = "\
Metrics:
  psnr_y psnr_rgb ssim_y ms_ssim_y   how far A is from B
  vmaf                               the same as people see it; by the system's ffmpeg with libvmaf, only if asked for
  fidelity                           how far A, reduced again, is from --input
  temporal                           what changes from frame to frame beyond motion, against --input or else B
  edge_width                         how sharp A is
  niqe                               how natural A looks; with --niqe-model
All but vmaf are measured if not told otherwise, as far as there is what they compare with.";

/// The videos, read side by side.
struct Videos {
    result: VideoReader,
    truth: Option<VideoReader>,
    input: Option<VideoReader>,
}

impl Metrics {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let cpu = CpuLevel::detect();
        let Some(result) = &self.result else { return self.fit(out, cpu) };
        if self.json && self.csv_on_stdout() {
            return Err(Error::new(Kind::Usage, "--json and --csv - both want standard output"));
        }
        let options = self.options()?;
        let open = |path: &PathBuf| VideoReader::open(&self.reading.spec(path), 0, cpu);
        let videos = Videos {
            result: open(result)?,
            truth: self.truth.as_ref().map(open).transpose()?,
            input: self.input.as_ref().map(open).transpose()?,
        };
        let kept = self.csv.as_ref().filter(|_| !self.overwrite && !self.csv_on_stdout());
        if let Some(csv) = kept.filter(|path| path.symlink_metadata().is_ok()) {
            return Err(Error::new(Kind::Create, "exists already").hint("--overwrite replaces it").file(csv));
        }
        let measurer = self.measurer(&videos, options, cpu)?;
        let told = measurer.notes().iter().filter(|_| !self.metrics.is_empty());
        told.chain(measurer.warnings()).for_each(|note| text::print_warning(note));
        self.measure(videos, measurer, out)
    }

    fn csv_on_stdout(&self) -> bool {
        self.csv.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    fn options(&self) -> Result<MeasureOptions> {
        let niqe = self.niqe_model.as_deref().map(read_niqe_model).transpose()?.map(Arc::new);
        let mut options = MeasureOptions { crop: self.crop, niqe, ..Default::default() };
        match &self.metrics[..] {
            [] => {}
            [all] if all == "all" => {
                options.metrics = Metric::ALL.to_vec();
                // Asked for by name it is missed; as one of all it need not be there.
                options.metrics.retain(|metric| *metric != Metric::Vmaf || vmaf_is_there());
            }
            names => {
                options.metrics = names.iter().map(|name| name.trim().parse()).collect::<Result<_>>()?;
                options.metrics.iter().try_for_each(|metric| self.check(*metric))?;
            }
        }
        Ok(options)
    }

    /// Whether there is what a metric that was asked for compares with.
    fn check(&self, metric: Metric) -> Result<()> {
        let needs = match metric {
            Metric::Fidelity if self.input.is_none() => "--input, the video that A was made from",
            Metric::Niqe if self.niqe_model.is_none() => "--niqe-model, which --fit-niqe makes",
            Metric::Temporal if self.input.is_none() && self.truth.is_none() => "--input or B, to know the motion",
            _ if metric.needs_truth() && self.truth.is_none() => "B, the video that is right",
            _ => return Ok(()),
        };
        Err(Error::new(Kind::Usage, format!("--metrics {} needs {needs}", metric.name())))
    }

    fn measurer(&self, videos: &Videos, options: MeasureOptions, cpu: CpuLevel) -> Result<Measurer> {
        let layout = |reader: &VideoReader| reader.info().layout.clone();
        let (result, truth, input) =
            (layout(&videos.result), videos.truth.as_ref().map(layout), videos.input.as_ref().map(layout));
        if let Some(truth) = &truth {
            self.check_sizes(&result, truth)?;
        }
        Measurer::new(&result, truth.as_ref(), input.as_ref(), options, cpu)
    }

    fn check_sizes(&self, a: &PictureLayout, b: &PictureLayout) -> Result<()> {
        let (Some(result), Some(truth)) = (&self.result, &self.truth) else { return Ok(()) };
        if (a.width, a.height) == (b.width, b.height) {
            return Ok(());
        }
        let message = format!("is {}x{}, but {} is {}x{}", a.width, a.height, truth.display(), b.width, b.height);
        let error = Error::new(Kind::Input, message).file(result);
        Err(error.hint("videos are compared at the same size; what A was made from is given as --input"))
    }

    /// Measures all frames and prints what was found.
    fn measure(&self, mut videos: Videos, mut measurer: Measurer, out: &mut dyn Write) -> Result<Outcome> {
        let columns = Columns::new(measurer.measured());
        let to_stdout = self.csv_on_stdout();
        let mut report = Report::default();
        let mut times = Times::new(&videos);
        while let Some((result, truth, input)) = self.next(&mut videos, report.frames())? {
            if let Some(warning) = truth.as_ref().and_then(|truth| times.differ(&result, truth)) {
                text::print_warning(&warning);
            }
            report.push(measurer.push(&result, truth.as_ref(), input.as_ref())?.scores);
        }
        report.finish(measurer.finish()?);
        if let Some(path) = self.csv.as_deref().filter(|_| !to_stdout) {
            write_whole(path, csv(&columns, &report).as_bytes(), self.overwrite)?;
        }
        let text = match (self.json, to_stdout) {
            (true, _) => report.json(),
            (false, true) => csv(&columns, &report).trim_end().to_owned(),
            (false, false) => columns.table(&report),
        };
        print_line(out, &text)?;
        Ok(self.outcome(&videos))
    }

    /// The next frame of all videos; `None` at their common end.
    #[allow(clippy::type_complexity, reason = "one frame of each video")]
    fn next(&self, videos: &mut Videos, so_far: u64) -> Result<Option<(Frame, Option<Frame>, Option<Frame>)>> {
        let result = videos.result.next_frame()?;
        let next = |reader: &mut Option<VideoReader>, path: &Option<PathBuf>| {
            let (Some(reader), Some(path), Some(own)) = (reader, path, &self.result) else { return Ok(None) };
            match (reader.next_frame()?, &result) {
                (Some(_), None) => Err(lengths_differ(path, own, so_far)),
                (None, Some(_)) => Err(lengths_differ(own, path, so_far)),
                (frame, _) => Ok(frame),
            }
        };
        let (truth, input) = (next(&mut videos.truth, &self.truth)?, next(&mut videos.input, &self.input)?);
        Ok(result.map(|result| (result, truth, input)))
    }

    fn outcome(&self, videos: &Videos) -> Outcome {
        let readers = [Some(&videos.result), videos.truth.as_ref(), videos.input.as_ref()];
        let damaged: Vec<(&PathBuf, Damage)> = [&self.result, &self.truth, &self.input]
            .into_iter()
            .zip(readers)
            .filter_map(|(path, reader)| Some((path.as_ref()?, reader?.damage())))
            .collect();
        damaged.iter().for_each(|(path, damage)| text::print_damage(path, damage));
        if damaged.iter().any(|(_, damage)| damage.count > 0) { Outcome::Damaged } else { Outcome::Done }
    }

    fn fit(&self, out: &mut dyn Write, cpu: CpuLevel) -> Result<Outcome> {
        let Some(output) = &self.output else {
            return Err(Error::new(Kind::Usage, "--fit-niqe needs -o MODEL"));
        };
        let inputs: Vec<_> = self.fit_niqe.iter().map(|path| self.reading.spec(path)).collect();
        let model = fit_niqe(&inputs, cpu)?;
        write_niqe_model(&model, output, self.overwrite)?;
        let line = format!("{} pictures, {} sharp patches of 96x96", model.pictures, model.patches);
        print_line(out, &line).map(|_| Outcome::Done)
    }
}

fn lengths_differ(long: &Path, short: &Path, common: u64) -> Error {
    Error::new(Kind::Input, format!("has only {common} frames, {} has more", long.display())).file(short)
}

/// Whether frames that are compared are shown at the same time, from the first ones on.
struct Times {
    /// Information of both videos; none once it was said, and for pictures, whose times mean nothing.
    pair: Option<(VideoInfo, VideoInfo)>,
    first: Option<(f64, f64)>,
}

impl Times {
    fn new(videos: &Videos) -> Self {
        let timed = |info: &VideoInfo| !is_sequence_pattern(&info.path) && info.frame_rate.0 > 0;
        let (result, truth) = (videos.result.info(), videos.truth.as_ref().map(VideoReader::info));
        let pair = truth.filter(|truth| timed(truth) && timed(result)).map(|truth| (result.clone(), truth.clone()));
        Self { pair, first: None }
    }

    /// The first time they are further apart than half a frame.
    fn differ(&mut self, result: &Frame, truth: &Frame) -> Option<String> {
        let (a, b) = self.pair.as_ref()?;
        let times = (a.seconds(result.pts), b.seconds(truth.pts));
        let first = *self.first.get_or_insert(times);
        let (at, other) = (times.0 - first.0, times.1 - first.1);
        let frame = f64::from(b.frame_rate.1) / f64::from(b.frame_rate.0.max(1));
        if (at - other).abs() <= 0.5 * frame {
            return None;
        }
        let number = result.index;
        self.pair = None;
        Some(format!(
            "frames are compared in order, but frame {number} of A is shown at {at:.3} s, of B at {other:.3} s"
        ))
    }
}
