//! Measuring results frame by frame: which planes are compared, what is kept from frame to frame.
//!
//! A [`Measurer`] takes the frames of one result in order, each with the frame that is right (the truth) and the one it
//! was made from (the input) where there are such, and gives their [`Scores`]. It keeps one frame at most.
//! docs/metrics.md has the definition, source and limits of every metric. What is not here: arithmetic on planes
//! (`metrics`), reading files, printing.

use std::sync::Arc;

use ndarray::{ArrayView2, s};

use super::measure_planes::{Lens, common_weights};
use super::measure_temporal::{Guide, Moved, Temporal};
use super::measure_vmaf::Vmaf;
use crate::error::{Error, Kind, Result};
use crate::frame::{AxisMap, Frame, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::metrics::{self, Metric, NiqeModel, Scores};
use crate::resample::{Filter, Resampler};

pub use super::measure_files::{fit_niqe, read_niqe_model, write_niqe_model, write_whole};
pub use super::measure_means::Means;
pub use super::measure_vmaf::vmaf_is_there;

/// PSNR of identical planes, as tables have it.
pub const IDENTICAL: f64 = 99.0;

/// What to measure.
#[derive(Debug, Clone)]
pub struct MeasureOptions {
    /// Which metrics; those that cannot be measured are left out, with a note. Default: all but VMAF.
    pub metrics: Vec<Metric>,
    /// Pixels of the result left out at each border. Default: 0.
    pub crop: usize,
    /// What NIQE compares with; without it NIQE is not measured.
    pub niqe: Option<Arc<NiqeModel>>,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        let metrics = Metric::ALL.into_iter().filter(|metric| *metric != Metric::Vmaf).collect();
        Self { metrics, crop: 0, niqe: None }
    }
}

/// What was found of one frame.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measured {
    /// Its figures, but for VMAF, which comes at the end.
    pub scores: Scores,
    /// How far the picture moved since the frame before, pixels of the frames that motion is measured on (the truth,
    /// else the input); `None` for the first frame and where temporal error is not asked for.
    pub motion: Option<f64>,
    /// Confidence of that motion, 0 to 1.
    pub confidence: Option<f64>,
}

/// A picture and how it is looked at.
#[derive(Debug)]
struct Side {
    lens: Lens,
    layout: PictureLayout,
}

/// Measures the frames of one result, in order.
#[derive(Debug)]
pub struct Measurer {
    options: MeasureOptions,
    result: Side,
    truth: Option<Side>,
    input: Option<Side>,
    reduction: Option<Resampler>,
    temporal: Option<Temporal>,
    vmaf: Option<Vmaf>,
    notes: Vec<String>,
    warnings: Vec<String>,
    cpu: CpuLevel,
}

impl Measurer {
    /// For frames of these layouts. Truth and result must have the same size; the input may have any.
    ///
    /// # Errors
    /// [`Kind::Input`] if result and truth differ in size; [`Kind::Usage`] if nothing is left inside the border.
    pub fn new(
        result: &PictureLayout,
        truth: Option<&PictureLayout>,
        input: Option<&PictureLayout>,
        options: MeasureOptions,
        cpu: CpuLevel,
    ) -> Result<Self> {
        check_sizes(result, truth, options.crop)?;
        let layouts: Vec<&PictureLayout> = truth.into_iter().chain([result]).chain(input).collect();
        let weights = common_weights(&layouts);
        let side = |layout: &PictureLayout| Side { lens: Lens::new(layout, weights, cpu), layout: layout.clone() };
        let mut measurer = Self {
            result: side(result),
            truth: truth.map(side),
            input: input.map(side),
            reduction: input.map(|input| reduction(result, input, cpu)),
            temporal: None,
            vmaf: None,
            notes: Vec::new(),
            warnings: transfer_warning(&layouts).into_iter().collect(),
            options,
            cpu,
        };
        measurer.start_temporal()?;
        measurer.start_vmaf()?;
        measurer.note_what_is_missing();
        Ok(measurer)
    }

    /// Metrics that were asked for and are not measured though there is what they compare with, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Why the figures may mislead.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The metrics that are measured, in the order of tables.
    pub fn measured(&self) -> Vec<Metric> {
        Metric::ALL.into_iter().filter(|metric| self.asks(*metric) && self.obstacle(*metric).is_none()).collect()
    }

    /// Measures the next frame of the result.
    ///
    /// # Errors
    /// [`Kind::Bug`] if a truth or input was announced and is not given; [`Kind::Input`] if a sample is not finite.
    pub fn push(&mut self, result: &Frame, truth: Option<&Frame>, input: Option<&Frame>) -> Result<Measured> {
        let look = |side: &Option<Side>, frame: Option<&Frame>, what: &str| match (side, frame) {
            (Some(side), Some(frame)) => Ok(Some(side.lens.luma(frame))),
            (Some(_), None) => Err(Error::new(Kind::Bug, format!("frame {} came without its {what}", result.index))),
            (None, _) => Ok(None),
        };
        let (luma, truth_luma) = (self.result.lens.luma(result), look(&self.truth, truth, "truth")?);
        let input_luma = look(&self.input, input, "input")?;
        let mut scores = Scores { edge_width: None, ..Default::default() };
        let inner = inside(&luma, self.options.crop);
        if let (Some(truth), Some(plane)) = (truth, &truth_luma) {
            self.against_truth(&mut scores, (result, truth), (inner, inside(plane, self.options.crop)))?;
        }
        if let Some(input) = input_luma.as_ref().filter(|_| self.asks(Metric::Fidelity)) {
            scores.fidelity = Some(self.fidelity(&luma, input)?);
        }
        if self.asks(Metric::EdgeWidth) {
            scores.edge_width = metrics::edge_width(inner);
        }
        if let Some(model) = self.options.niqe.as_ref().filter(|_| self.asks(Metric::Niqe)) {
            scores.niqe = metrics::niqe(inner, model);
        }
        if let (Some(vmaf), Some(truth)) = (&mut self.vmaf, &truth_luma) {
            vmaf.push(inner, inside(truth, self.options.crop))?;
        }
        let moved = match (&mut self.temporal, truth_luma.or(input_luma)) {
            (Some(temporal), Some(guide)) => temporal.push(luma, guide)?,
            _ => Moved::default(),
        };
        scores.temporal = moved.error;
        Ok(Measured { scores, motion: moved.motion, confidence: moved.confidence })
    }

    /// Ends the measurement: VMAF of every frame, where it was measured.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the program that measures it failed, with what it said.
    pub fn finish(self) -> Result<Option<Vec<f64>>> {
        self.vmaf.map(Vmaf::finish).transpose()
    }

    fn asks(&self, metric: Metric) -> bool {
        self.options.metrics.contains(&metric)
    }

    fn against_truth(
        &self,
        scores: &mut Scores,
        (result, truth): (&Frame, &Frame),
        (a, b): (ArrayView2<'_, f32>, ArrayView2<'_, f32>),
    ) -> Result<()> {
        if self.asks(Metric::PsnrY) {
            scores.psnr_y = Some(metrics::psnr(a, b)?.min(IDENTICAL));
        }
        if let Some(side) = self.truth.as_ref().filter(|_| self.asks(Metric::PsnrRgb)) {
            let (p, q) = (self.result.lens.rgb(result), side.lens.rgb(truth));
            scores.psnr_rgb = Some(self.psnr_rgb(&p, &q)?.min(IDENTICAL));
        }
        if self.asks(Metric::MsSsimY) {
            let similarity = metrics::similarities(a, b)?;
            scores.ms_ssim_y = similarity.multi_scale;
            scores.ssim_y = Some(similarity.single_scale).filter(|_| self.asks(Metric::SsimY));
        } else if self.asks(Metric::SsimY) {
            scores.ssim_y = Some(metrics::ssim(a, b)?);
        }
        Ok(())
    }

    /// Grey has one plane, which stands for all three.
    fn psnr_rgb(&self, a: &[Plane], b: &[Plane]) -> Result<f64> {
        let count = a.len().max(b.len());
        let mut sum = 0.0;
        for i in 0..count {
            let [p, q] = [a, b].map(|planes| inside(&planes[i.min(planes.len() - 1)], self.options.crop));
            sum += metrics::mean_squared_error(p, q)?;
        }
        Ok(metrics::decibels(sum / count as f64))
    }

    fn fidelity(&self, luma: &Plane, input: &Plane) -> Result<f64> {
        let Some(reduction) = &self.reduction else { return Ok(IDENTICAL) };
        let mut small = Plane::zeros(reduction.output_size());
        reduction.resample(luma.view(), &mut small);
        // At least one sample is left, however small the input is.
        let most = (small.nrows().min(small.ncols()) - 1) / 2;
        let crop = (self.options.crop * small.ncols()).div_ceil(luma.ncols()).min(most);
        Ok(metrics::psnr(inside(&small, crop), inside(input, crop))?.min(IDENTICAL))
    }

    fn start_temporal(&mut self) -> Result<()> {
        let truth = self.truth.as_ref().map(|side| (Guide::Truth, side));
        let guide = truth.or(self.input.as_ref().map(|side| (Guide::Input, side)));
        if let Some((kind, side)) = guide.filter(|_| self.asks(Metric::Temporal)) {
            let size = |layout: &PictureLayout| (layout.height, layout.width);
            let (from, to) = (size(&side.layout), size(&self.result.layout));
            self.temporal = Some(Temporal::new(kind, from, to, self.options.crop, self.cpu)?);
        }
        Ok(())
    }

    fn start_vmaf(&mut self) -> Result<()> {
        if !self.asks(Metric::Vmaf) || self.truth.is_none() {
            return Ok(());
        }
        let sides = [Some(&self.result), self.truth.as_ref()];
        let deep = sides.into_iter().flatten().any(|side| side.layout.depth > 8);
        let (width, height, border) = (self.result.layout.width, self.result.layout.height, 2 * self.options.crop);
        match Vmaf::start((height - border, width - border), deep)? {
            Ok(vmaf) => self.vmaf = Some(vmaf),
            Err(why) => self.notes.push(why),
        }
        Ok(())
    }

    fn note_what_is_missing(&mut self) {
        let missing = Metric::ALL.into_iter().filter(|metric| self.asks(*metric));
        let notes = missing.filter_map(|m| self.obstacle(m).filter(|why| !why.is_empty()).map(|why| (m, why)));
        let notes: Vec<String> = notes.map(|(m, why)| format!("{} is not measured: {why}", m.label())).collect();
        self.notes.extend(notes);
    }

    /// Why a metric cannot be measured; empty if that was said already or goes without saying.
    fn obstacle(&self, metric: Metric) -> Option<&'static str> {
        let shorter = self.result.layout.width.min(self.result.layout.height) - 2 * self.options.crop;
        match metric {
            _ if metric.needs_truth() && self.truth.is_none() => Some(""),
            Metric::MsSsimY if shorter < metrics::MS_SSIM_SIDE => {
                Some("it needs 176 pixels on each side, inside the border")
            }
            Metric::Fidelity if self.input.is_none() => Some(""),
            Metric::Temporal if self.temporal.is_none() => Some(""),
            Metric::Niqe if self.options.niqe.is_none() => Some(""),
            Metric::Niqe if shorter < metrics::NIQE_PATCH => Some("it needs 96 pixels on each side, inside the border"),
            Metric::Vmaf if self.vmaf.is_none() => Some(""),
            _ => None,
        }
    }
}

/// The plane without a border of `crop` samples.
fn inside(plane: &Plane, crop: usize) -> ArrayView2<'_, f32> {
    plane.slice(s![crop..plane.nrows() - crop, crop..plane.ncols() - crop])
}

/// From the result's size to the input's: cubic, antialiased, centre aligned (BI of the literature).
fn reduction(result: &PictureLayout, input: &PictureLayout, cpu: CpuLevel) -> Resampler {
    let vertical = AxisMap::centered(result.height, input.height);
    Resampler::new(vertical, AxisMap::centered(result.width, input.width), Filter::Bicubic, cpu)
}

fn check_sizes(result: &PictureLayout, truth: Option<&PictureLayout>, crop: usize) -> Result<()> {
    let (width, height) = (result.width, result.height);
    if let Some(truth) = truth.filter(|truth| (truth.width, truth.height) != (width, height)) {
        let message = format!("the result is {width}x{height}, the truth is {}x{}", truth.width, truth.height);
        return Err(Error::new(Kind::Input, message).hint("videos are compared at the same size"));
    }
    if crop >= width.min(height).div_ceil(2) {
        return Err(Error::new(Kind::Usage, format!("--crop {crop} leaves nothing of {width}x{height}")));
    }
    Ok(())
}

/// Files whose code values mean different light: nothing is converted, and figures are of the codes.
fn transfer_warning(layouts: &[&PictureLayout]) -> Option<String> {
    // PQ and HLG against each other or anything else; the transfers of standard range are all but the same curve.
    let kind = |transfer: u8| if matches!(transfer, 16 | 18) { transfer } else { 0 };
    let first = layouts.first().map(|layout| layout.color.transfer)?;
    let other = layouts.iter().map(|layout| layout.color.transfer).find(|other| kind(*other) != kind(first))?;
    let name = |transfer| match transfer {
        16 => "PQ",
        18 => "HLG",
        _ => "standard range",
    };
    let (first, other) = (name(first), name(other));
    Some(format!("the pictures differ in transfer, {first} and {other}: code values are compared, not light"))
}
