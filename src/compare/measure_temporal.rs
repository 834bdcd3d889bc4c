//! Temporal error: what changes from frame to frame beyond motion.
//!
//! The warping error of Lai et al. (2018, "Learning blind video temporal consistency", section 3.4), with motion that
//! is measured on the frames the result was made from (the guide), so that all results of one input are judged by the
//! same motion. With `x` the guide, `y` the result, `v` the guide's motion and `W` moving by it:
//!
//! ```text
//! e(q) = y_t(q) - g W y_{t-1}(q) - o        g, o: change of light in the guide
//! l(q) = mean over 5 x 5 pixels of x_t - g W x_{t-1} - o
//! T    = root mean square of e - l where |l| <= 3 m + 3        m: 1.48 times the median of |x_t - g W x_{t-1} - o|
//! ```
//! `l` is what really changes in the scene: light and shade, taken off; where it is large, something was covered or
//! uncovered, or the motion is wrong, and nothing is measured. The mean over 5 x 5 pixels leaves out the alias and the
//! noise of the guide, which a good result need not share.

use ndarray::ArrayView2;
use rayon::prelude::*;

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
/// Guides with more pixels are reduced by whole factors before motion is measured.
const GUIDE_PIXELS: usize = 1 << 20;
/// Steps of the histogram the median is read from, code values.
const STEP: f32 = 0.125;
/// Rows that one job measures.
const BAND: usize = 16;

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
    crop: usize,
    previous: Option<Before>,
    cpu: CpuLevel,
}

/// What is kept of the frame before.
struct Before {
    prepared: Prepared,
    guide: Plane,
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
    /// For guides and results of these sizes (rows, columns).
    pub(super) fn new(guide: (usize, usize), result: (usize, usize), crop: usize, cpu: CpuLevel) -> Result<Self> {
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
            crop,
            previous: None,
            cpu,
        })
    }

    /// Takes the luma of the next result and of its guide; without a guide the result is its own.
    pub(super) fn push(&mut self, result: Plane, guide: Option<Plane>) -> Result<Moved> {
        let guide = guide.unwrap_or_else(|| result.clone());
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
        let (rows, columns) = after.guide.dim();
        let still = (AxisMap::centered(rows, rows), AxisMap::centered(columns, columns));
        let residual = self.residual(&before.guide, &after.guide, &change, still);
        let light = light(&residual);
        let mut large = Plane::zeros(after.result.dim());
        self.enlarge.resample(light.view(), &mut large);
        let difference = self.residual(&before.result, &after.result, &change, self.maps);
        Moved { error: self.root_mean_square(&difference, &large), ..moved }
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

    /// Root mean square of `difference - light` inside the border, where both are known; `None` if that is nowhere.
    fn root_mean_square(&self, difference: &Plane, light: &Plane) -> Option<f64> {
        let (height, width) = difference.dim();
        let (rows, columns) = (self.crop..height - self.crop, self.crop..width - self.crop);
        let bands: Vec<(f64, u64)> = (rows.start..rows.end)
            .into_par_iter()
            .step_by(BAND)
            .map(|top| {
                let (mut sum, mut count) = (0.0, 0);
                for y in top..(top + BAND).min(rows.end) {
                    let (row, light) = (difference.row(y), light.row(y));
                    for x in columns.clone() {
                        let e = row[x] - light[x];
                        if e.is_finite() {
                            sum += f64::from(e) * f64::from(e);
                            count += 1;
                        }
                    }
                }
                (sum, count)
            })
            .collect();
        let (sum, count) = bands.iter().fold((0.0, 0), |(s, n), (sum, count)| (s + sum, n + count));
        (count > 0).then(|| (sum / count as f64).sqrt())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: (usize, usize) = (72, 96);
    const SCALE: usize = 2;

    /// A smooth scene, seen by a camera that moves by `(0.4, -0.3)` pixels of the guide a frame.
    fn scene(size: (usize, usize), scale: f64, t: usize) -> Plane {
        Plane::from_shape_fn(size, |(y, x)| {
            let (y, x) = ((y as f64 + 0.5) / scale - 0.5, (x as f64 + 0.5) / scale - 0.5);
            let (y, x) = (y + 0.3 * t as f64, x - 0.4 * t as f64);
            let waves = (0.31 * x + 0.11 * y).sin() + (0.23 * y - 0.13 * x).sin() + (0.09 * x * 0.7 + 0.29 * y).cos();
            (120.0 + 30.0 * waves) as f32
        })
    }

    /// Temporal errors of `frames` results that `made` makes of (scene at twice the size, number).
    fn errors(frames: usize, guide: impl Fn(usize) -> Plane, made: impl Fn(Plane, usize) -> Plane) -> Vec<f64> {
        let large = (GUIDE.0 * SCALE, GUIDE.1 * SCALE);
        let mut temporal = Temporal::new(GUIDE, large, 8, CpuLevel::detect()).expect("sizes are fine");
        let found: Vec<Moved> = (0..frames)
            .map(|t| temporal.push(made(scene(large, 2.0, t), t), Some(guide(t))).expect("samples are finite"))
            .collect();
        assert_eq!((found[0].error, found[0].motion), (None, None), "nothing is before the first frame");
        let motion = found[1].motion.expect("a shift");
        assert!((motion - 0.5).abs() < 0.02, "motion of {motion}, not 0.5");
        found[1..].iter().map(|moved| moved.error.expect("an error")).collect()
    }

    fn plain(t: usize) -> Plane {
        scene(GUIDE, 1.0, t)
    }

    #[test]
    fn what_moves_as_the_input_does_has_no_error() {
        for error in errors(4, plain, |large, _| large) {
            assert!(error < 0.1, "{error}");
        }
    }

    #[test]
    fn flicker_of_known_amplitude_is_found() {
        let sign = |t: usize| if t.is_multiple_of(2) { 1.0 } else { -1.0 };
        for amplitude in [0.5f32, 2.0, 6.0] {
            let want = 2.0 * f64::from(amplitude);
            for error in errors(4, plain, |large, t| large + amplitude * sign(t)) {
                assert!((error - want).abs() < 0.05 * want, "flicker of {amplitude}: {error}, not {want}");
            }
            // Flicker of half of the columns: half of the energy.
            let striped = |mut large: Plane, t| {
                for ((_, x), v) in large.indexed_iter_mut() {
                    *v += if (x / 24) % 2 == 0 { amplitude * sign(t) } else { 0.0 };
                }
                large
            };
            let want = want / 2f64.sqrt();
            for error in errors(4, plain, striped) {
                assert!((error - want).abs() < 0.1 * want, "stripes of {amplitude}: {error}, not {want}");
            }
        }
    }

    #[test]
    fn light_that_changes_in_the_input_too_is_no_error() {
        let light = |t: usize| [0.0f32, 5.0, -4.0, 9.0][t];
        for error in errors(4, |t| plain(t) + light(t), |large, t| large + light(t)) {
            assert!(error < 0.2, "{error}");
        }
        for (t, error) in errors(4, |t| plain(t) + light(t), |large, _| large).into_iter().enumerate() {
            let want = f64::from((light(t + 1) - light(t)).abs());
            assert!((error - want).abs() < 0.1 * want, "light that is missing: {error}, not {want}");
        }
    }

    #[test]
    fn what_is_covered_and_uncovered_is_left_out() {
        // A square of another texture moves four pixels a frame over the scene.
        let with_square = |mut plane: Plane, scale: f64, t: usize| {
            let left = 20.0 + 4.0 * t as f64;
            for ((y, x), v) in plane.indexed_iter_mut() {
                let (y, x) = ((y as f64 + 0.5) / scale - 0.5, (x as f64 + 0.5) / scale - 0.5);
                if (20.0..44.0).contains(&y) && (left..left + 24.0).contains(&x) {
                    *v = (120.0 + 40.0 * ((x - left) * 0.5).sin() * (y * 0.4).cos()) as f32;
                }
            }
            plane
        };
        let found = errors(3, |t| with_square(plain(t), 1.0, t), |large, t| with_square(large, 2.0, t));
        let ignoring = {
            let (a, b) =
                (with_square(scene((144, 192), 2.0, 0), 2.0, 0), with_square(scene((144, 192), 2.0, 1), 2.0, 1));
            (a - b).mapv(|d| d * d).mean().map_or(0.0, f32::sqrt)
        };
        for error in found {
            assert!(error < 0.25 * f64::from(ignoring), "{error}; without motion {ignoring}");
        }
    }

    #[test]
    fn threads_do_not_change_the_result() {
        let measure = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| errors(2, plain, |large, t| large + t as f32))
        };
        assert_eq!(measure(1), measure(3), "1 and 3 threads");
    }
}
