//! Making videos smaller, so that enlarging them has a known answer, and coding them as they were coded before.
//!
//! The small frame's pixel i lies at `scale * i + (scale - 1) / 2` of the large one. BI is antialiased cubic interpolation
//! (Keys, a = -1/2, stretched by the scale), as MATLAB's imresize; BD a Gaussian of 0.4 small pixels sampled there. Planes
//! are reduced as the file stores them (chroma keeps its site) and rounded to the file's own depth.

use std::path::Path;

use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::source::{Part, Pictures};
use super::watch::Watch;
use crate::error::{Error, Kind, Result};
use crate::frame::{Frame, PictureLayout, Plane};
use crate::kernels::{CpuLevel, resampling::weighted_rows, taps::Taps};
use crate::media::{Cut, EncoderSpec, InputSpec, Orientation, Origin, OutputSpec, VideoWriter};
use crate::resample::{Filter, PictureResampler};

/// Standard deviation of the Gaussian, and its reach, in pixels of the small frame.
const SIGMA: f64 = 0.4;
const REACH: f64 = 4.0 * SIGMA;

/// How frames are made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    /// Antialiased cubic interpolation.
    Cubic,
    /// A Gaussian, sampled.
    Gaussian,
}

/// What is known of a video that was written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Copied {
    pub(super) frames: u64,
    /// Expected coding error of what it was made of, standard deviation of luma on the 8-bit scale, mean over the frames
    /// whose decoder tells.
    pub(super) coding: Option<f64>,
}

/// Reduces pictures of one layout.
pub(super) struct Reducer {
    by: By,
    to: PictureLayout,
}

enum By {
    Nothing,
    Cubic(PictureResampler),
    Gaussian(Vec<[Taps; 2]>),
}

impl Reducer {
    /// From `from` to the size of `to`; no change without a reduction.
    pub(super) fn new(from: &PictureLayout, to: &PictureLayout, reduction: Option<Reduction>) -> Self {
        let cpu = CpuLevel::detect();
        let by = match reduction {
            None => By::Nothing,
            Some(Reduction::Cubic) => By::Cubic(PictureResampler::new(from, to, Filter::Bicubic, cpu)),
            Some(Reduction::Gaussian) => {
                By::Gaussian((0..from.plane_count()).map(|index| gaussian(from, to, index)).collect())
            }
        };
        Self { by, to: to.clone() }
    }

    /// The small picture.
    pub(super) fn reduce(&self, frame: Frame) -> Frame {
        let planes = match &self.by {
            By::Nothing => return frame,
            By::Cubic(resampler) => {
                let mut small = resampler.allocate();
                resampler.resample(&frame.planes, &mut small);
                small
            }
            By::Gaussian(taps) => frame.planes.iter().zip(taps).map(|(plane, taps)| both_axes(plane, taps)).collect(),
        };
        Frame { planes, coding: None, ..frame }
    }
}

/// Vertical and horizontal weights of plane `index`.
fn gaussian(from: &PictureLayout, to: &PictureLayout, index: usize) -> [Taps; 2] {
    let (vertical, horizontal) = from.plane_maps(index, to);
    [vertical, horizontal].map(|map| {
        let per_pixel = 1.0 / map.scale;
        let positions: Vec<f64> = (0..map.output).map(|o| map.input_position(o as f64)).collect();
        let sigma = SIGMA * per_pixel;
        Taps::new(map.input, &positions, REACH * per_pixel, |x| (-0.5 * (x / sigma).powi(2)).exp())
    })
}

fn both_axes(plane: &Plane, [vertical, horizontal]: &[Taps; 2]) -> Plane {
    let lines = rows(plane.view(), vertical);
    rows(lines.t(), horizontal).t().as_standard_layout().into_owned()
}

/// Weighted sums of rows.
fn rows(plane: ArrayView2<'_, f32>, taps: &Taps) -> Plane {
    let (cpu, plane) = (CpuLevel::detect(), plane.as_standard_layout());
    let width = plane.ncols();
    let mut out = Plane::zeros((taps.output(), width));
    if let (Some(samples), Some(cells)) = (plane.as_slice(), out.as_slice_mut()) {
        cells.par_chunks_exact_mut(width).enumerate().for_each(|(o, row)| {
            weighted_rows(cpu, row, &samples[taps.start(o) * width..], width, taps.weights(o));
        });
    }
    out
}

/// Writes `part`, reduced to `size` (columns, rows) if a reduction is given, to `path`.
///
/// # Errors
/// Those of reading and writing, and of a comparison that was asked to stop.
pub(super) fn write(
    part: &Part,
    path: &Path,
    (size, reduction): ((usize, usize), Option<Reduction>),
    encoder: EncoderSpec,
    watch: &Watch,
) -> Result<Copied> {
    let mut pictures = Pictures::open(part, true, encoder.threads)?;
    let from = pictures.layout().clone();
    let to = from.resized(size.0, size.1);
    let reducer = Reducer::new(&from, &to, reduction);
    // Pictures are upright here already.
    let mut info = pictures.info().clone();
    info.orientation = Orientation::default();
    let output = OutputSpec { encoder, overwrite: true, ..OutputSpec::file(path) };
    let mut writer: Option<VideoWriter> = None;
    let (mut frames, mut told, mut sum) = (0, 0u64, 0.0);
    while let Some(frame) = pictures.next()? {
        watch.frame()?;
        if let Some(coding) = &frame.coding {
            told += 1;
            sum += f64::from(coding.deviation);
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                // A pipe has nothing beside its picture: sound and the rest stay behind.
                let alone = InputSpec::local("-");
                let cut = Some(Cut { first: frame.pts, end: i64::MAX });
                let (step, cpu) = (pictures.usual_step(), CpuLevel::detect());
                let origin = Origin { input: &alone, source: &info, layout: &reducer.to, cut, usual_step: step };
                writer.insert(VideoWriter::create(&output, &origin, None, cpu)?)
            }
        };
        writer.write(&reducer.reduce(frame))?;
        frames += 1;
    }
    match writer {
        Some(writer) => writer.finish(frames)?,
        None => return Err(Error::new(Kind::Input, "has no frame to compare").file(&part.spec.path)),
    };
    Ok(Copied { frames, coding: (told > 0).then(|| sum / told as f64) })
}
