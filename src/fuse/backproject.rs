//! Iterative back-projection of planes that share one geometry (luma, or both chroma planes).
//!
//! The estimate `x` of the high-resolution plane is corrected by what the frames show and it does not explain:
//!
//! `g(x) = sum_k A_k' (w_k * clamp(y_k - A_k x, +-bound)) / max(sum_k A_k' w_k, floor)`
//!
//! which is the back-projection of Irani and Peleg (1991), doi:10.1016/1049-9652(91)90045-L, with confidences `w_k`
//! and normalised by their density, so that its spectrum lies in [0, 1] whatever the number of frames. The steps are
//! those of the Chebyshev semi-iteration for the interval [lambda, 1] (Golub and Varga 1961, doi:10.1007/BF01386013):
//! modes that the frames determine less than `lambda` are left less corrected, which is the regularisation, together
//! with a mild total-variation term.
//!
//! Every row of every pass is a pure function of what the pass before left, so results do not depend on threads.

use std::borrow::Cow;
use std::sync::Arc;

use rayon::prelude::*;

use super::enlarge::{Enlarger, lanczos};
use super::grid::{Grid, mirrored};
use super::observe::{Observation, Scratch};
use super::psf::Psf;
use crate::frame::{AxisMap, Plane};
use crate::kernels::CpuLevel;
use crate::kernels::observation::{chebyshev_step, inverse, residual};
use crate::kernels::taps::cubic;

/// Parameters of one solve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Steps.
    pub(super) iterations: usize,
    /// Lower end of the spectrum that is solved for, in (0, 1).
    pub(super) lambda: f64,
    /// Gain of the prior, 8-bit scale a step.
    pub(super) prior: f32,
    /// Largest residual that counts in full, 8-bit scale.
    pub(super) bound: f32,
    /// Range of the result.
    pub(super) range: (f32, f32),
}

impl Schedule {
    /// (momentum, step) of each iteration.
    fn steps(&self) -> Vec<(f32, f32)> {
        let (center, radius) = ((1.0 + self.lambda) / 2.0, (1.0 - self.lambda) / 2.0);
        let sigma = center / radius;
        let mut rho = 1.0 / sigma;
        let mut steps = vec![(0.0, (1.0 / center) as f32)];
        while steps.len() < self.iterations {
            let next = 1.0 / (2.0 * sigma - rho);
            steps.push(((next * rho) as f32, (2.0 * next / radius) as f32));
            rho = next;
        }
        steps.truncate(self.iterations);
        steps
    }
}

/// One frame's samples of a plane and how to bring them to the reference's light: `gain * sample + offset`.
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    pub(super) samples: Cow<'a, [f32]>,
    pub(super) gain: f32,
    pub(super) offset: f32,
}

/// What a pass may read: the geometry, the frames' models and where the planes of all frames lie.
struct Model<'a> {
    cpu: CpuLevel,
    grid: &'a Grid,
    frames: &'a [Observation],
    /// Floats from one row of a frame to the next row of the same frame, and to the same row of the next frame.
    stride: (usize, usize),
}

impl Model<'_> {
    /// Row `y` of `sum_k A_k' u_k`, into `scratch.row`.
    fn project(&self, u: &[f32], y: usize, out: &mut [f32], scratch: &mut Scratch) {
        out.fill(0.0);
        for (k, frame) in self.frames.iter().enumerate() {
            frame.project(self.cpu, self.grid, (u, k * self.stride.1, self.stride.0), y, out, scratch);
        }
        self.grid.fold_margins(out);
    }
}

/// Buffers of one task.
#[derive(Debug, Clone, Default)]
struct Task {
    scratch: Scratch,
    gradient: Vec<f32>,
}

/// Solves planes of one geometry; keeps its buffers from frame to frame.
#[derive(Debug)]
pub(super) struct Solver {
    cpu: CpuLevel,
    grid: Grid,
    size: (usize, usize),
    maps: (AxisMap, AxisMap),
    psf: [Psf; 2],
    enlarger: Arc<Enlarger>,
    /// The reference, then the neighbours in use.
    frames: Vec<Observation>,
    count: usize,
    /// Confidences and weighted residuals of all frames, row by row: `[row][frame][column]`.
    weights: Vec<f32>,
    residuals: Vec<f32>,
    x: Vec<f32>,
    previous: Vec<f32>,
    inverse: Vec<f32>,
    tasks: Vec<Task>,
}

impl Solver {
    /// A solver for planes whose axes map as `maps` (vertical, horizontal); `sigma` in low-resolution samples.
    pub(super) fn new(maps: (AxisMap, AxisMap), sigma: f64, cpu: CpuLevel) -> Self {
        let psf = [Psf::new(sigma * maps.0.scale), Psf::new(sigma * maps.1.scale)];
        let phases = if maps.1.scale.fract() == 0.0 { maps.1.scale as usize } else { 1 };
        let grid = Grid::new(maps.1.output, maps.0.output, phases, psf[1].taps());
        let mut reference = Observation::new(maps, &psf);
        reference.aim(&grid, (0.0, 0.0));
        let size = (maps.0.input, maps.1.input);
        let enlarger = Arc::new(Enlarger::new(maps, &grid, 3, lanczos));
        let new = Vec::new;
        Self {
            cpu,
            size,
            maps,
            psf,
            enlarger,
            frames: vec![reference],
            count: 1,
            weights: new(),
            residuals: new(),
            x: vec![0.0; grid.len()],
            previous: vec![0.0; grid.len()],
            inverse: vec![0.0; grid.len()],
            tasks: Vec::new(),
            grid,
        }
    }

    /// Takes the frames of the next solves: the reference, and neighbours with their shifts (vertical, horizontal, in
    /// samples of this plane) and confidences (`rows x columns` of this plane).
    pub(super) fn observe(&mut self, neighbours: &[((f64, f64), &[f32])]) {
        let (rows, columns) = self.size;
        self.count = 1 + neighbours.len();
        while self.frames.len() < self.count {
            self.frames.push(Observation::new(self.maps, &self.psf));
        }
        for (frame, (shift, _)) in self.frames[1..].iter_mut().zip(neighbours) {
            frame.aim(&self.grid, *shift);
        }
        let count = self.count;
        self.weights.resize(rows * count * columns, 0.0);
        self.residuals.resize(rows * count * columns, 0.0);
        self.weights.par_chunks_mut(count * columns).with_min_len(16).enumerate().for_each(|(i, weights)| {
            let (reference, others) = weights.split_at_mut(columns);
            reference.fill(1.0);
            for (weights, (_, confidence)) in others.chunks_exact_mut(columns).zip(neighbours) {
                weights.copy_from_slice(&confidence[i * columns..][..columns]);
            }
        });
        self.measure_density();
    }

    /// Rows of a chunk when `rows` rows are shared by all tasks.
    fn chunk(&mut self, rows: usize) -> usize {
        let tasks = (4 * rayon::current_num_threads()).clamp(1, rows.max(1));
        self.tasks.resize_with(tasks.max(self.tasks.len()), Task::default);
        rows.div_ceil(tasks).max(1)
    }

    /// `inverse = 1 / max(sum_k A_k' w_k, floor)`, with a quarter of one frame's density as floor.
    fn measure_density(&mut self) {
        let chunk = self.chunk(self.grid.height);
        let (stride, area) = (self.grid.stride(), self.maps.0.scale * self.maps.1.scale);
        let Self { cpu, grid, frames, count, size, weights, inverse: density, tasks, .. } = self;
        let model = model(*cpu, grid, &frames[..*count], size.1);
        density.par_chunks_mut(chunk * stride).zip(tasks).enumerate().for_each(|(n, (band, task))| {
            for (y, row) in band.chunks_exact_mut(stride).enumerate() {
                model.project(weights, n * chunk + y, row, &mut task.scratch);
                inverse(*cpu, row, (0.25 / area) as f32);
            }
        });
    }

    /// Reconstructs one plane from `seen`: the reference first, then the neighbours as given to [`Self::observe`].
    pub(super) fn solve(&mut self, seen: &[Seen<'_>], schedule: Schedule) -> Plane {
        let enlarger = Arc::clone(&self.enlarger);
        self.enlarge(&seen[0].samples, &enlarger);
        for (momentum, step) in schedule.steps() {
            self.compare(seen, schedule.bound);
            self.correct([momentum, step, schedule.prior]);
        }
        self.unpack(schedule.range)
    }

    /// A plane enlarged by bicubic interpolation alone.
    pub(super) fn enlarged(&mut self, plane: &[f32], range: (f32, f32)) -> Plane {
        let enlarger = Enlarger::new(self.maps, &self.grid, 2, cubic);
        self.enlarge(plane, &enlarger);
        self.unpack(range)
    }

    /// The estimate in natural order.
    fn unpack(&self, (low, high): (f32, f32)) -> Plane {
        let mut out = Plane::zeros((self.grid.height, self.grid.width));
        let (grid, x) = (&self.grid, &self.x);
        if let Some(out) = out.as_slice_mut() {
            let rows = out.par_chunks_mut(grid.width).zip(x.par_chunks(grid.stride()));
            rows.with_min_len(16).for_each(|(out, row)| grid.unpack(row, out, low, high));
        }
        out
    }

    /// The first estimate: `x` is the reference enlarged. The first step has no momentum and reads no `previous`.
    fn enlarge(&mut self, reference: &[f32], enlarger: &Enlarger) {
        let chunk = self.chunk(self.grid.height);
        let stride = self.grid.stride();
        let Self { cpu, grid, x, tasks, .. } = self;
        x.par_chunks_mut(chunk * stride).zip(tasks).enumerate().for_each(|(n, (band, task))| {
            for (y, row) in band.chunks_exact_mut(stride).enumerate() {
                enlarger.row(*cpu, grid, reference, n * chunk + y, row, &mut task.scratch);
            }
        });
    }

    /// `residuals = w_k * clamp(y_k - A_k x, +-bound)` of all frames.
    fn compare(&mut self, seen: &[Seen<'_>], bound: f32) {
        let chunk = self.chunk(self.size.0);
        let Self { cpu, grid, frames, count, size, weights, residuals, x, tasks, .. } = self;
        let model = model(*cpu, grid, &frames[..*count], size.1);
        let (columns, row_stride) = (size.1, model.stride.0);
        let bands = residuals.par_chunks_mut(chunk * row_stride).zip(weights.par_chunks(chunk * row_stride));
        bands.zip(tasks).enumerate().for_each(|(n, ((band, weights), task))| {
            let rows = band.chunks_exact_mut(columns).zip(weights.chunks_exact(columns));
            for (at, (row, weight)) in rows.enumerate() {
                let (i, k) = (n * chunk + at / model.frames.len(), at % model.frames.len());
                let (frame, valid) = (&model.frames[k], model.frames[k].columns());
                if !frame.rows().contains(&i) {
                    continue;
                }
                frame.predict(*cpu, grid, x, i, row, &mut task.scratch);
                // The reference is never wrong about itself; neighbours may be.
                let bound = if k == 0 { f32::MAX } else { bound };
                let Seen { samples, gain, offset } = &seen[k];
                let (row, samples) = (&mut row[valid.clone()], &samples[i * columns..][valid.clone()]);
                residual(*cpu, row, samples, &weight[valid], *gain, *offset, bound);
            }
        });
    }

    /// One step of the semi-iteration; the new estimate replaces `previous`, then the two change places.
    fn correct(&mut self, gains: [f32; 3]) {
        let chunk = self.chunk(self.grid.height);
        let stride = self.grid.stride();
        let Self { cpu, grid, frames, count, size, residuals, x, previous, inverse, tasks, .. } = self;
        let model = model(*cpu, grid, &frames[..*count], size.1);
        previous.par_chunks_mut(chunk * stride).zip(tasks).enumerate().for_each(|(n, (band, task))| {
            let Task { scratch, gradient } = task;
            gradient.resize(stride, 0.0);
            for (at, row) in band.chunks_exact_mut(stride).enumerate() {
                let y = n * chunk + at;
                model.project(residuals, y, gradient, scratch);
                step_row(&model, y, x, row, gradient, &inverse[y * stride..][..stride], gains);
            }
        });
        std::mem::swap(&mut self.x, &mut self.previous);
    }
}

fn model<'a>(cpu: CpuLevel, grid: &'a Grid, frames: &'a [Observation], columns: usize) -> Model<'a> {
    Model { cpu, grid, frames, stride: (frames.len() * columns, columns) }
}

/// Row `y` of the new estimate, margins filled, in place of the one before last.
fn step_row(
    model: &Model<'_>,
    y: usize,
    x: &[f32],
    row: &mut [f32],
    gradient: &[f32],
    inverse: &[f32],
    gains: [f32; 3],
) {
    let (grid, stride) = (model.grid, model.grid.stride());
    let start = |y: isize| mirrored(y, grid.height) * stride;
    let (up, here, down) = (start(y as isize - 1), y * stride, start(y as isize + 1));
    for phase in 0..grid.phases.min(grid.width) {
        let at = grid.slot(phase as isize);
        let length = (grid.width - phase).div_ceil(grid.phases);
        let (left, right) = (grid.slot(phase as isize - 1), grid.slot(phase as isize + 1));
        let rows = [here + at, here + left, here + right, up + at, down + at];
        let (gradient, inverse) = (&gradient[at..][..length], &inverse[at..][..length]);
        chebyshev_step(model.cpu, &mut row[at..at + length], x, rows, gradient, inverse, gains);
    }
    grid.fill_margins(row);
}
