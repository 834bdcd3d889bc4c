//! Temporal error: what changes from frame to frame beyond motion, and should not.
//!
//! Differences of successive frames along the motion, as the warping error of Lai et al. (2018, "Learning blind video
//! temporal consistency", section 3.4), but against those of a guide: the truth, or without one the frames the result was
//! made from. By itself that error is least for what is most blurred; the truth of the usual test clips has more of it
//! than their bicubic enlargement. With `y` the result, `x` the guide, `v` the motion that is measured on it, `W` moving
//! by `v`, and `g`, `o` the change of light on it:
//!
//! ```text
//! against the truth       T = root mean square of (y_t - x_t) - g W (y_{t-1} - x_{t-1})
//! against the input       e = y_t - g W y_{t-1} - o,   f = x_t - g W x_{t-1} - o,   l = mean of f over 5 x 5 pixels
//!                         T = root of the mean over blocks of max(0, mean (e - l)^2 - mean (f - l)^2)
//! ```
//! Against the truth an error that moves with the scene costs nothing, wherever it is; one that changes, or stays while
//! the scene moves, does. Against the input only what the result adds to the alias and noise there is found. `l` is
//! what really changes in the scene, light and shade; where it is large something was covered or uncovered, or the
//! motion is wrong, and nothing is measured. Blocks are 8 x 8 pixels of the input. What the motion misses weighs more
//! in sharp results there: only results about as sharp as each other compare.

use ndarray::ArrayView2;
use rayon::prelude::*;
use std::ops::Range;

use crate::error::Result;
use crate::frame::{AxisMap, Plane};
use crate::kernels::CpuLevel;
use crate::kernels::warp::{Image, warp_row};
use crate::register::{Field, FieldDetail, Options, Prepared, Registrar};
use crate::resample::{Filter, Resampler};

/// Samples left and right of a row, as `warp_row` wants them.
const MARGIN: usize = 8;
/// Side of the window that tells light from alias, guide pixels; odd.
const WINDOW: usize = 5;
/// Change of the guide, beyond three deviations of its residual, that is still light: code values.
const LIGHT: f32 = 3.0;
/// Side of the blocks that alias and noise of the input are compared in, guide pixels.
const BLOCK: usize = 8;
/// Guides with more pixels are reduced by whole factors before motion is measured.
const GUIDE_PIXELS: usize = 1 << 20;
/// Steps of the histogram the median is read from, code values.
const STEP: f32 = 0.125;
/// Rows that one job moves.
const BAND: usize = 16;

/// What a result is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guide {
    /// The right frames, of the result's size.
    Truth,
    /// The frames it was made from, of any size.
    Input,
}

/// What was found between a frame and the one before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moved {
    /// Temporal error, code values; `None` for the first frame, at scene cuts, and where nothing could be compared.
    pub(super) error: Option<f64>,
    /// Length of the shift, guide pixels.
    pub(super) motion: Option<f64>,
    pub(super) confidence: Option<f64>,
}

/// Measures the temporal error of a result against a guide, frame by frame.
#[derive(Debug)]
pub(super) struct Temporal {
    registrar: Registrar,
    /// Makes the guide small enough, if it is not.
    reduce: Option<(Resampler, usize)>,
    /// What changes in the guide, enlarged to the result's size.
    enlarge: Resampler,
    maps: (AxisMap, AxisMap),
    kind: Guide,
    crop: usize,
    previous: Option<Before>,
    cpu: CpuLevel,
}

/// What is kept of the frame before.
struct Before {
    prepared: Prepared,
    guide: Plane,
    /// The result, or how far it is from the truth.
    result: Plane,
}

impl std::fmt::Debug for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Before").field("result", &self.result.dim()).finish_non_exhaustive()
    }
}

/// Motion and light between two frames of the guide.
struct Change<'a> {
    field: &'a Field,
    gain: f32,
    offset: f32,
}

impl Temporal {
    /// For guides of these sizes (rows, columns) and results of `result`.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) if a side is 0.
    pub(super) fn new(
        kind: Guide,
        guide: (usize, usize),
        result: (usize, usize),
        crop: usize,
        cpu: CpuLevel,
    ) -> Result<Self> {
        let factor = (1..).find(|f| (guide.0 / f) * (guide.1 / f) <= GUIDE_PIXELS).unwrap_or(1);
        let small = (guide.0.div_ceil(factor), guide.1.div_ceil(factor));
        let maps = |from: (usize, usize), to: (usize, usize)| {
            (AxisMap::centered(from.0, to.0), AxisMap::centered(from.1, to.1))
        };
        let resampler = |(y, x), filter| Resampler::new(y, x, filter, cpu);
        Ok(Self {
            registrar: Registrar::new(small.0, small.1, Options::default(), cpu)?,
            reduce: (factor > 1).then(|| (resampler(maps(guide, small), Filter::Bicubic), factor)),
            enlarge: resampler(maps(small, result), Filter::Bilinear),
            maps: maps(small, result),
            kind,
            crop,
            previous: None,
            cpu,
        })
    }

    /// Takes the luma of the next result and of its guide.
    pub(super) fn push(&mut self, mut result: Plane, guide: Plane) -> Result<Moved> {
        if self.kind == Guide::Truth {
            result -= &guide;
        }
        let guide = match &self.reduce {
            Some((resampler, _)) => {
                let mut small = Plane::zeros(resampler.output_size());
                resampler.resample(guide.view(), &mut small);
                small
            }
            None => guide,
        };
        let after = Before { prepared: self.registrar.prepare(guide.view())?, guide, result };
        let moved = self.previous.as_ref().map(|before| self.compare(before, &after));
        self.previous = Some(after);
        Ok(moved.unwrap_or_default())
    }

    fn compare(&self, before: &Before, after: &Before) -> Moved {
        let estimate = self.registrar.estimate(&before.prepared, &after.prepared);
        let factor = self.reduce.as_ref().map_or(1, |(_, factor)| *factor) as f64;
        let motion = (!estimate.scene_cut).then(|| estimate.motion.global().length() * factor);
        let moved = Moved { error: None, motion, confidence: Some(estimate.confidence) };
        if estimate.scene_cut {
            return moved;
        }
        let field = self.registrar.field(&before.prepared, &after.prepared, &estimate, FieldDetail::Normal);
        let (gain, offset) = self.registrar.brightness_under(&before.prepared, &after.prepared, &field);
        let change = Change { field: &field, gain: gain as f32, offset: offset as f32 };
        let error = match self.kind {
            Guide::Truth => {
                let change = Change { offset: 0.0, ..change };
                self.summed(&self.residual(&before.result, &after.result, &change, self.maps), None)
            }
            Guide::Input => self.against_input(before, after, &change),
        };
        Moved { error, ..moved }
    }

    fn against_input(&self, before: &Before, after: &Before, change: &Change<'_>) -> Option<f64> {
        let (rows, columns) = after.guide.dim();
        let still = (AxisMap::centered(rows, rows), AxisMap::centered(columns, columns));
        let mut small = self.residual(&before.guide, &after.guide, change, still);
        let light = light(&small);
        let mut large = Plane::zeros(after.result.dim());
        self.enlarge.resample(light.view(), &mut large);
        let mut difference = self.residual(&before.result, &after.result, change, self.maps);
        small -= &light;
        difference -= &large;
        self.summed(&difference, Some(&small))
    }

    /// `after` less `before` moved onto it; NaN where that looks outside. `maps` say how the field's grid lies on theirs.
    fn residual(&self, before: &Plane, after: &Plane, change: &Change<'_>, maps: (AxisMap, AxisMap)) -> Plane {
        let (height, width) = after.dim();
        let data = with_margins(before.view());
        let image = Image { data: &data, height, width, margin: MARGIN };
        let (down, right) = (maps.0.scale as f32, maps.1.scale as f32);
        let mut out = Plane::zeros((height, width));
        let Some(samples) = out.as_slice_mut() else { return out };
        samples.par_chunks_mut(BAND * width).enumerate().for_each(|(band, rows)| {
            let (mut dy, mut dx) = (vec![0.0; width], vec![0.0; width]);
            for (i, row) in rows.chunks_exact_mut(width).enumerate() {
                let y = band * BAND + i;
                let (at, from) = (maps.0.input_position(y as f64) as f32, maps.1.input_position(0.0) as f32);
                change.field.row(at, from, 1.0 / right, &mut dy, &mut dx);
                dy.iter_mut().for_each(|v| *v *= down);
                dx.iter_mut().for_each(|v| *v *= right);
                warp_row(self.cpu, row, &image, y, &dy, &dx, f32::NAN);
                for (moved, now) in row.iter_mut().zip(after.row(y)) {
                    *moved = now - (change.gain * *moved + change.offset);
                }
            }
        });
        out
    }

    /// Root mean square of what is known of `difference` inside the border, block by block less that of `allowed`, which
    /// is of the guide's size; `None` if nothing is known.
    fn summed(&self, difference: &Plane, allowed: Option<&Plane>) -> Option<f64> {
        let (down, across) = (&self.maps.0, &self.maps.1);
        let rows: Vec<(f64, u64)> = (0..down.input.div_ceil(BLOCK))
            .into_par_iter()
            .map(|i| {
                let mut total = (0.0, 0);
                for j in 0..across.input.div_ceil(BLOCK) {
                    let found = energy(difference, self.block(down, i), self.block(across, j));
                    let small = |k: usize, map: &AxisMap| k * BLOCK..((k + 1) * BLOCK).min(map.input);
                    let allowed = allowed.map_or((0.0, 1), |plane| energy(plane, small(i, down), small(j, across)));
                    if found.1 > 0 && allowed.1 > 0 {
                        let beyond = found.0 / found.1 as f64 - allowed.0 / allowed.1 as f64;
                        total = (total.0 + beyond.max(0.0) * found.1 as f64, total.1 + found.1);
                    }
                }
                total
            })
            .collect();
        let (sum, count) = rows.iter().fold((0.0, 0), |(s, n), (sum, count)| (s + sum, n + count));
        (count > 0).then(|| (sum / count as f64).sqrt())
    }

    /// Where block `k` of the guide lies on the result, inside the border.
    fn block(&self, map: &AxisMap, k: usize) -> Range<usize> {
        let edge = |k: usize| ((k * BLOCK).min(map.input) as f64 * map.scale).round() as usize;
        edge(k).max(self.crop)..edge(k + 1).min(map.output - self.crop)
    }
}

/// Sum of the squares of what is known of a block, and how many samples that is.
fn energy(plane: &Plane, rows: Range<usize>, columns: Range<usize>) -> (f64, u64) {
    let (mut sum, mut count) = (0.0f64, 0);
    for y in rows {
        let row = plane.row(y);
        for x in columns.clone() {
            let e = row[x];
            if e.is_finite() {
                sum += f64::from(e) * f64::from(e);
                count += 1;
            }
        }
    }
    (sum, count)
}

/// Rows with mirrored margins.
fn with_margins(plane: ArrayView2<'_, f32>) -> Vec<f32> {
    let (height, width) = plane.dim();
    let stride = width + 2 * MARGIN;
    let mut data = vec![0.0; height * stride];
    data.par_chunks_exact_mut(stride).zip(0..height).for_each(|(out, y)| {
        let row = plane.row(y);
        let mirrored = |i: isize| {
            let i = i.rem_euclid(2 * width as isize) as usize;
            row[if i < width { i } else { 2 * width - 1 - i }]
        };
        for k in 0..MARGIN {
            out[k] = mirrored(k as isize - MARGIN as isize);
            out[MARGIN + width + k] = mirrored((width + k) as isize);
        }
        out[MARGIN..MARGIN + width].iter_mut().zip(row).for_each(|(out, v)| *out = *v);
    });
    data
}

/// What changes in the guide beyond motion: means over windows of its residual; NaN where that is no change of light.
fn light(residual: &Plane) -> Plane {
    let limit = 3.0 * 1.4826 * median(residual) + LIGHT;
    let (height, width) = residual.dim();
    let reach = WINDOW / 2;
    // Sums of windows along the rows, then over the rows; places that look outside the picture count as unknown.
    let mut along = Plane::zeros((height, width));
    let mut out = Plane::zeros((height, width));
    ndarray::Zip::from(along.rows_mut()).and(residual.rows()).par_for_each(|mut out, row| {
        for x in 0..width {
            let window = x.saturating_sub(reach)..(x + reach + 1).min(width);
            let count = window.len() as f32;
            out[x] = window.map(|i| row[i]).sum::<f32>() / count;
        }
    });
    ndarray::Zip::indexed(out.rows_mut()).par_for_each(|y, mut out| {
        let window = y.saturating_sub(reach)..(y + reach + 1).min(height);
        let count = window.len() as f32;
        for x in 0..width {
            let mean = window.clone().map(|i| along[[i, x]]).sum::<f32>() / count;
            out[x] = if mean.abs() <= limit { mean } else { f32::NAN };
        }
    });
    out
}

/// Median of the absolute values that are known, to [`STEP`] / 2.
fn median(residual: &Plane) -> f32 {
    let mut counts = [0u64; 512];
    for value in residual.iter().filter(|v| v.is_finite()) {
        counts[((value.abs() / STEP) as usize).min(counts.len() - 1)] += 1;
    }
    let half = counts.iter().sum::<u64>() / 2;
    let mut below = 0;
    let bin = counts.iter().position(|count| {
        below += count;
        below > half
    });
    bin.map_or(0.0, |bin| (bin as f32 + 0.5) * STEP)
}
