//! Sub-pixel refinement: iteratively re-weighted Gauss-Newton steps on shift, gain and offset together.
//!
//! The method is that of Lucas and Kanade (1981) in the additive form of Baker and Matthews (2004), with the mean
//! gradient of both frames, Tukey's biweight and its scale taken from the median absolute deviation of the residuals.
//! The moving frame is brought to the reference's grid by six-point Lagrange interpolation; as the shift is the same
//! for all pixels, that is one set of weights along each axis.

use rayon::prelude::*;

use crate::cores::Pieces;
use crate::kernels::CpuLevel;
use crate::kernels::registration::{Brightness, NORMAL_SUMS, NormalRow, NormalSums, accumulate_normal, energy_row};
use crate::kernels::resampling::weighted_rows;

use super::prepare::{Level, sample_step};
use super::rank::{median, median_magnitude};
use super::trust::{BlockEnergy, Trust};

/// Pixels left out at each border: interpolation and gradient reach that far, and smoothing has mirrored there.
pub(super) const MARGIN: usize = 4;
/// Rows of one task; part of the definition of the result, as sums of tasks are added in order.
const BAND: usize = 16;
/// Residuals looked at for their median.
const SAMPLES: usize = 8192;
/// Tukey's constant for 95 % efficiency, times the factor from median absolute deviation to standard deviation.
const TUKEY: f64 = 4.685 * 1.4826;
/// Smallest scale of residuals, grey levels: rounding to 8 bits, after smoothing.
const SMALLEST_SCALE: f64 = 0.1;
/// Gains that are a change of light.
const GAINS: std::ops::Range<f64> = 0.1..10.0;
/// Damping of the shift, squared grey levels per pixel: keeps it still along edges that do not tell it.
const DAMPING: f64 = 1e-3;

/// Shift in pixels of the level at hand, and brightness: moving = gain * (reference - centre) + level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct State {
    pub(super) dx: f64,
    pub(super) dy: f64,
    pub(super) gain: f64,
    pub(super) level: f64,
    pub(super) center: f64,
}

impl State {
    /// `moving - (gain * (reference - centre) + level)` of a pair (reference, moving).
    pub(super) fn residual(&self) -> impl Fn((&f32, &f32)) -> f32 + use<> {
        let (gain, base) = (self.gain as f32, (self.level - self.gain * self.center) as f32);
        move |(reference, moving)| moving - gain * reference - base
    }

    /// The same in pixels of a level `2^log2` times smaller.
    pub(super) fn at_level(self, log2: usize) -> Self {
        let factor = 0.5f64.powi(log2 as i32);
        Self { dx: self.dx * factor, dy: self.dy * factor, ..self }
    }
}

/// The part of the reference that the moving frame shows too, and where each pixel of it lies there.
struct Overlap {
    x: [usize; 2],
    y: [usize; 2],
    /// Whole pixels of the shift, (column, row).
    whole: [i64; 2],
    taps: [[f32; 6]; 2],
}

/// Weights of six-point Lagrange interpolation at `t` (0 to 1) between the third and the fourth of six samples.
fn lagrange(t: f64) -> [f32; 6] {
    std::array::from_fn(|k| {
        let node = k as f64 - 2.0;
        let others = (0..6).filter(|&j| j != k).map(|j| j as f64 - 2.0);
        others.map(|other| (t - other) / (node - other)).product::<f64>() as f32
    })
}

/// Corresponding pixels of both frames, scattered over their overlap.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    pub(super) reference: Vec<f32>,
    pub(super) moving: Vec<f32>,
}

impl Sample {
    /// What `state` leaves of each, in place of the moving frame's pixels.
    pub(super) fn residuals(&mut self, state: &State) -> &mut [f32] {
        let residual = state.residual();
        self.moving.iter_mut().zip(&self.reference).for_each(|(m, r)| *m = residual((r, m)));
        &mut self.moving
    }
}

/// Two levels of equal size to be aligned.
pub(super) struct Aligner<'a> {
    pub(super) cpu: CpuLevel,
    pub(super) reference: &'a Level,
    pub(super) moving: &'a Level,
    /// Every how many rows are used.
    pub(super) row_step: usize,
    /// Where the frames were found to move otherwise, if that is known already.
    pub(super) trust: Option<(&'a Trust, usize)>,
}

/// Buffers for one row.
struct RowBuffers {
    column: Vec<f32>,
    warped: Vec<f32>,
    slope: Vec<f32>,
    trust: Vec<f32>,
}

impl RowBuffers {
    fn new(n: usize) -> Self {
        Self { column: vec![0.0; n + 7], warped: vec![0.0; n + 2], slope: vec![0.0; n], trust: vec![1.0; n] }
    }
}

impl Aligner<'_> {
    /// Refines `state` by at most `iterations` steps, until a step is shorter than `tolerance` pixels.
    ///
    /// Gives `None` where the frames do not overlap, the shift runs off by more than `leash` pixels, or the gain leaves
    /// [`GAINS`]: then the moving frame was explained by a constant.
    pub(super) fn refine(&self, start: State, iterations: usize, tolerance: f64, leash: f64) -> Option<State> {
        let (mut state, mut sample) = (start, Sample::default());
        for iteration in 0..iterations {
            let overlap = self.overlap(&state)?;
            self.sample(&overlap, SAMPLES, &mut sample);
            let residuals = sample.residuals(&state);
            let middle = median(residuals);
            if iteration == 0 {
                state.level += f64::from(middle);
            }
            residuals.iter_mut().for_each(|r| *r = (*r - middle).abs());
            let scale = f64::from(median(residuals)).max(SMALLEST_SCALE);
            let step = solve(&self.normal_sums(&overlap, &state, TUKEY * scale))?;
            let length = step[0].hypot(step[1]);
            let shorten = 1f64.min(1.0 / length.max(1e-12));
            state.dx += step[0] * shorten;
            state.dy += step[1] * shorten;
            state.gain -= step[2];
            state.level -= step[3];
            if (state.dx - start.dx).hypot(state.dy - start.dy) > leash || !GAINS.contains(&state.gain) {
                return None;
            }
            if length < tolerance {
                break;
            }
        }
        Some(state)
    }

    /// Pairs of corresponding pixels under `state`, about `count` of them; none where the frames do not overlap.
    pub(super) fn pairs(&self, state: &State, count: usize) -> Sample {
        let mut sample = Sample::default();
        if let Some(overlap) = self.overlap(state) {
            self.sample(&overlap, count, &mut sample);
        }
        sample
    }

    fn overlap(&self, state: &State) -> Option<Overlap> {
        let axis = |n: usize, d: f64| {
            let (whole, n, m) = (d.floor() as i64, n as i64, MARGIN as i64);
            let (first, end) = (m.max(m - whole), (n - m).min(n - m - 1 - whole));
            (end > first).then_some(([first as usize, end as usize], whole, lagrange(d - d.floor())))
        };
        let (x, whole_x, taps_x) = axis(self.reference.columns, state.dx)?;
        let (y, whole_y, taps_y) = axis(self.reference.rows, state.dy)?;
        Some(Overlap { x, y, whole: [whole_x, whole_y], taps: [taps_x, taps_y] })
    }

    /// The moving frame from where the rows `-3..=4` around row `y` of the reference begin, each `n + 7` columns wide.
    fn source_rows(&self, overlap: &Overlap, y: usize) -> &[f32] {
        let [column, row] = [overlap.x[0] as i64 + overlap.whole[0] - 3, y as i64 + overlap.whole[1] - 3];
        &self.moving.pixels[row as usize * self.moving.columns + column as usize..]
    }

    /// About `count` pairs, in place of those that were in `sample`.
    fn sample(&self, overlap: &Overlap, count: usize, sample: &mut Sample) {
        let n = overlap.x[1] - overlap.x[0];
        let (stride, step) = (self.moving.columns, sample_step(n * (overlap.y[1] - overlap.y[0]), count));
        let (mut column, mut warped) = (vec![0.0; n + 7], vec![0.0; n + 2]);
        let most = n.div_ceil(step) * (overlap.y[1] - overlap.y[0]).div_ceil(step);
        for values in [&mut sample.reference, &mut sample.moving] {
            values.clear();
            values.reserve(most);
        }
        for y in (overlap.y[0]..overlap.y[1]).step_by(step) {
            weighted_rows(self.cpu, &mut column, &self.source_rows(overlap, y)[stride..], stride, &overlap.taps[1]);
            weighted_rows(self.cpu, &mut warped, &column, 1, &overlap.taps[0]);
            // The first column changes from row to row, so that the grid does not beat with a pattern.
            let start = (y * 7) % step;
            let reference = &self.reference.row(y)[overlap.x[0]..overlap.x[1]];
            sample.reference.extend(reference.iter().skip(start).step_by(step));
            sample.moving.extend(warped[1..n + 1].iter().skip(start).step_by(step));
        }
    }

    /// The normal equations over the whole overlap, weights vanishing at `cutoff`.
    fn normal_sums(&self, overlap: &Overlap, state: &State, cutoff: f64) -> [f64; NORMAL_SUMS] {
        let light = brightness(state, cutoff);
        let rows: Vec<usize> = (overlap.y[0]..overlap.y[1]).step_by(self.row_step).collect();
        let buffers = || RowBuffers::new(overlap.x[1] - overlap.x[0]);
        let sums = |buffers: &mut RowBuffers, rows: &[usize]| self.band_sums(overlap, rows, &light, buffers);
        let bands: Vec<[f64; NORMAL_SUMS]> = rows.par_chunks(BAND).on_free_cores().map_init(buffers, sums).collect();
        let mut total = [0.0; NORMAL_SUMS];
        for band in &bands {
            total.iter_mut().zip(band).for_each(|(t, b)| *t += b);
        }
        total
    }

    fn band_sums(
        &self,
        overlap: &Overlap,
        rows: &[usize],
        light: &Brightness,
        buffers: &mut RowBuffers,
    ) -> [f64; NORMAL_SUMS] {
        let mut total = [0.0; NORMAL_SUMS];
        for &y in rows {
            if let Some((trust, log2)) = self.trust {
                trust.fill_row(&mut buffers.trust, overlap.x[0], y, log2);
            }
            let mut sums = NormalSums::new();
            accumulate_normal(self.cpu, &mut sums, &self.warped_row(overlap, y, buffers), light);
            total.iter_mut().zip(sums.totals()).for_each(|(t, s)| *t += s);
        }
        total
    }

    /// Row `y` of the reference, and the moving frame brought onto it.
    fn warped_row<'b>(&'b self, overlap: &Overlap, y: usize, buffers: &'b mut RowBuffers) -> NormalRow<'b> {
        let [left, right] = overlap.x;
        let (source, stride, taps) = (self.source_rows(overlap, y), self.moving.columns, &overlap.taps[1]);
        // Half the difference between interpolation one row below and one row above.
        let slope_taps: [f32; 8] = std::array::from_fn(|k| {
            let (below, above) = (if k >= 2 { taps[k - 2] } else { 0.0 }, if k < 6 { taps[k] } else { 0.0 });
            0.5 * (below - above)
        });
        weighted_rows(self.cpu, &mut buffers.column, &source[stride..], stride, taps);
        weighted_rows(self.cpu, &mut buffers.warped, &buffers.column, 1, &overlap.taps[0]);
        weighted_rows(self.cpu, &mut buffers.column, source, stride, &slope_taps);
        weighted_rows(self.cpu, &mut buffers.slope, &buffers.column[1..], 1, &overlap.taps[0]);
        NormalRow {
            above: &self.reference.row(y - 1)[left..right],
            reference: &self.reference.row(y)[left - 1..right + 1],
            below: &self.reference.row(y + 1)[left..right],
            warped: &buffers.warped,
            slope: &buffers.slope,
            trust: &buffers.trust,
        }
    }

    /// Where the frames agree under `state`; `None` where they do not overlap.
    pub(super) fn trust(&self, state: &State) -> Option<Trust> {
        let overlap = self.overlap(state)?;
        let n = overlap.x[1] - overlap.x[0];
        let (mut squares, mut lengths, mut buffers) = (vec![0.0; n], vec![0.0; n], RowBuffers::new(n));
        let mut energy = BlockEnergy::new(self.reference.rows, self.reference.columns);
        let light = brightness(state, 1.0);
        for y in overlap.y[0]..overlap.y[1] {
            let row = self.warped_row(&overlap, y, &mut buffers);
            energy_row(self.cpu, &mut squares, &mut lengths, &row, &light);
            energy.add_row(&squares, &lengths, overlap.x[0], y);
        }
        let mut sample = Sample::default();
        self.sample(&overlap, SAMPLES, &mut sample);
        let scale = f64::from(median_magnitude(sample.residuals(state))).max(SMALLEST_SCALE);
        Some(energy.trust(1.4826 * scale))
    }
}

fn brightness(state: &State, cutoff: f64) -> Brightness {
    Brightness {
        gain: state.gain as f32,
        level: state.level as f32,
        center: state.center as f32,
        inverse_cutoff: (1.0 / cutoff) as f32,
    }
}

/// The step (dx, dy, -gain, -level) that the normal equations ask for; `None` where they have no solution.
fn solve(s: &[f64; NORMAL_SUMS]) -> Option<[f64; 4]> {
    let damping = DAMPING * s[9];
    let mut m = [
        [s[0] + damping, s[1], s[3], s[6], -s[10]],
        [s[1], s[2] + damping, s[4], s[7], -s[11]],
        [s[3], s[4], s[5] + damping, s[8], -s[12]],
        [s[6], s[7], s[8], s[9], -s[13]],
    ];
    // Gauss-Jordan without pivoting: the matrix is symmetric and positive definite. The level is eliminated first.
    for p in [3, 2, 1, 0] {
        let pivot = m[p][p];
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        m[p].iter_mut().for_each(|v| *v /= pivot);
        let row = m[p];
        for other in (0..4).filter(|&q| q != p) {
            let factor = m[other][p];
            m[other].iter_mut().zip(row).for_each(|(v, r)| *v -= factor * r);
        }
    }
    Some(m.map(|row| row[4]))
}
