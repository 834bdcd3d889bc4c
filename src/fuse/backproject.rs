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
//! Three families are parameters of it ([`Iteration`]): `MAP` as above; `IBP` without bounds and prior; `POCS`, whose
//! samples correct only what lies beyond their noise bound, in relaxed sweeps that also keep the range of values
//! (simultaneous projections onto convex sets: Stark and Oskoui 1989, doi:10.1364/JOSAA.6.001715).
//!
//! Every row of every pass is a pure function of what the pass before left, so results do not depend on threads.

use std::sync::Arc;

use rayon::prelude::*;

use super::enlarge::{Enlarger, lanczos};
use super::family::{Family, Technique};
use super::grid::{Grid, mirrored};
use super::keeping::Kept;
use super::lines::Lines;
use super::observe::{Lattice, Moved, Observation, Run};
use super::psf::Blur;
use super::reduce::Reducer;
use super::schedule::Schedule;
use super::sweep::{Optics, Scratch, Window};
use crate::cores::Pieces;
use crate::frame::{AxisMap, Plane};
use crate::kernels::CpuLevel;
use crate::kernels::observation::{chebyshev_step, inverse, limit};
use crate::kernels::splat::{LANES, Samples, back_project, predict, splat_weights};
use crate::kernels::taps::cubic;
use crate::register::Field;

/// What makes a family of the iteration.
#[derive(Debug)]
pub(super) struct Iteration {
    /// Whether residuals of neighbours are bounded, ever more tightly.
    robust: bool,
    /// Whether there is a prior.
    prior: bool,
    /// Whether samples are sets of values and the steps projections.
    sets: bool,
}

/// Robust, with a prior.
pub(super) const MAP: Iteration = Iteration { robust: true, prior: true, sets: false };
/// Back-projection alone.
pub(super) const IBP: Iteration = Iteration { robust: false, prior: false, sets: false };
/// Projections onto convex sets.
pub(super) const POCS: Iteration = Iteration { robust: false, prior: false, sets: true };
/// Relaxation of a sweep of projections, in (0, 2).
const RELAXATION: f32 = 1.8;
/// Spread of the vectors of a frame that moves as a whole, low-resolution luma pixels.
const WHOLE_SPREAD: f32 = 0.1;

/// One step of the iteration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Momentum, step.
    pub(super) gains: [f32; 2],
    /// Gain of the prior, most times that gain.
    prior: [f32; 2],
    dead: f32,
    bound: f32,
    /// Range that values are projected onto, if any.
    range: Option<(f32, f32)>,
}

impl Iteration {
    pub(super) fn steps(&self, schedule: &Schedule) -> Vec<Step> {
        let prior = if self.prior { schedule.prior } else { 0.0 };
        let dead = if self.sets { schedule.dead } else { 0.0 };
        let range = self.sets.then_some(schedule.range);
        let step = |((momentum, step), bound): ((f32, f32), f32)| {
            let (momentum, step) = if self.sets { (0.0, RELAXATION) } else { (momentum, step) };
            let bound = if self.robust { bound } else { f32::MAX };
            Step { gains: [momentum, step], prior: [prior, schedule.loosest], dead, bound, range }
        };
        schedule.steps().into_iter().zip(schedule.bounds()).map(step).collect()
    }
}

impl Family for Iteration {
    fn estimate(&self, solver: &mut Solver, seen: &[Samples<'_>], schedule: &Schedule) {
        solver.start(seen);
        for step in self.steps(schedule) {
            solver.correct(seen, step);
        }
    }
}

/// Solves planes of one geometry; keeps its buffers from frame to frame.
#[derive(Debug)]
pub(super) struct Solver {
    pub(super) optics: Optics,
    pub(super) maps: (AxisMap, AxisMap),
    pub(super) lattice: Lattice,
    pub(super) enlarger: Arc<Enlarger>,
    pub(super) reducer: Reducer,
    pub(super) observation: Observation,
    /// Motion of each frame in use as a whole, if it has one.
    pub(super) whole: Vec<Option<[f32; 2]>>,
    /// The estimate.
    pub(super) x: Lines,
    /// The estimate before it, and room for families that need none.
    pub(super) previous: Lines,
    inverse: Lines,
    /// Room for families that need it.
    pub(super) spare: Lines,
    pub(super) tasks: Vec<Scratch>,
    /// Frame that takes no part, if any.
    held: Option<usize>,
}

impl Solver {
    /// A solver for planes whose axes map as `maps` (vertical, horizontal; whole-number scales, outputs that are the
    /// inputs times the scale) and sit on luma as `lattice`.
    pub(super) fn new(maps: (AxisMap, AxisMap), lattice: Lattice, blur: Blur, cpu: CpuLevel) -> Self {
        let optics = Optics::new(maps, blur, cpu);
        let observation = Observation::new(maps, lattice, &optics.grid, cpu);
        let enlarger = Arc::new(Enlarger::new(maps, &optics.grid, 3, lanczos));
        let reducer = Reducer::new(maps, &optics.grid, optics.psf());
        let state = || Lines::new(optics.grid.len());
        let (x, previous, inverse) = (state(), state(), state());
        let (spare, tasks, whole, held) = (Lines::default(), Vec::new(), Vec::new(), None);
        Self { maps, lattice, enlarger, reducer, observation, whole, x, previous, inverse, spare, tasks, held, optics }
    }

    /// Takes the neighbours of the next solves.
    pub(super) fn observe(&mut self, neighbours: &[Moved<'_>]) {
        self.observation.aim(&self.optics.grid, neighbours);
        self.whole = vec![Some([0.0; 2])];
        self.whole.extend(neighbours.iter().map(|n| whole_motion(n.field)));
        self.measure_density();
    }

    /// Rows of a band when each task reads one.
    fn band(&mut self) -> usize {
        self.optics.ready(&mut self.tasks);
        self.optics.grid.height.div_ceil(self.tasks.len())
    }

    /// `inverse = 1 / max(sum_k A_k' w_k, floor)`, with a quarter of one frame's density as floor.
    fn measure_density(&mut self) {
        let floor = (0.25 / (self.maps.0.scale * self.maps.1.scale)) as f32;
        let Self { optics, observation, inverse: density, tasks, held, .. } = self;
        let work = |run: &Run, window: Window<'_>| {
            if *held == Some(run.frame) {
                return;
            }
            splat_weights(optics.cpu, &window.rows, observation.jobs(run), window.sums);
        };
        let finish = |_, row: &mut [f32], sums: &[f32]| inverse(optics.cpu, row, sums, floor);
        optics.sweep(observation, density, None, tasks, work, finish);
    }

    /// Reconstructs one plane from `seen`: the reference first, then the neighbours as given to [`Self::observe`].
    ///
    /// `kept` says what the picture keeps of its correction, on luma; `None` is all of it.
    pub(super) fn solve(&mut self, seen: &[Samples<'_>], schedule: Schedule, kept: Option<&Kept>, out: &mut Plane) {
        schedule.technique.family().estimate(self, seen, &schedule);
        // Before the first step the estimate has nothing to tell, and projections leave noise as it is.
        let tells = schedule.iterations > 0 && schedule.technique != Technique::Pocs;
        match kept {
            Some(kept) => self.unpack_in_part(seen[0].plane(), kept, tells, schedule.range, out),
            None => self.unpack(schedule.range, out),
        }
    }

    /// `x` is the reference interpolated: where all families start.
    pub(super) fn start(&mut self, seen: &[Samples<'_>]) {
        let enlarger = Arc::clone(&self.enlarger);
        self.enlarge(seen[0].plane(), &enlarger);
    }

    /// Leaves out frame `held` of those observed (0 is the reference) from the solves to come.
    pub(super) fn hold_out(&mut self, held: Option<usize>) {
        self.held = held;
        self.measure_density();
    }

    /// The first steps of [`Self::solve`] alone, for [`Self::predicted`].
    pub(super) fn draft(&mut self, seen: &[Samples<'_>], schedule: Schedule) {
        schedule.technique.family().estimate(self, seen, &schedule);
    }

    /// What the estimate foretells of every frame, and what each shows, in the reference's light: the reference first.
    ///
    /// Samples that take no part are the same in both.
    pub(super) fn predicted(&mut self, seen: &[Samples<'_>]) -> Vec<[Plane; 2]> {
        let (band, height) = (self.band(), self.optics.grid.height);
        let size = (self.maps.0.input, self.maps.1.input);
        let Self { optics, observation, x, tasks, .. } = self;
        let parts = tasks.par_iter_mut().take(height.div_ceil(band)).enumerate().map(|(n, scratch)| {
            let rows = n * band..((n + 1) * band).min(height);
            let (mut found, mut read) = (Vec::new(), Vec::new());
            let work = |run: &Run, window: Window<'_>| {
                let jobs = observation.jobs(run);
                read.resize(jobs.len(), [0.0; LANES]);
                predict(optics.cpu, &window.rows, jobs, window.picture, &mut read);
                for (job, read) in jobs.iter().zip(&read) {
                    // Jobs at the border of two bands are met in both.
                    if rows.contains(&(job.row.clamp(0, height as i32 - 1) as usize)) {
                        found.push((run.frame, job.at as usize, job.weight, *read));
                    }
                }
            };
            optics.read(observation, rows.clone(), x, scratch, work);
            found
        });
        let parts: Vec<Vec<_>> = parts.collect();
        let shown = |(frame, seen): (usize, &Samples<'_>)| {
            let shown = seen.plane();
            let mut foretold = shown.to_vec();
            for (_, at, weights, values) in parts.iter().flatten().filter(|(of, ..)| *of == frame) {
                for i in (0..LANES).filter(|i| weights[*i] > 0) {
                    foretold[at + i] = values[i];
                }
            }
            let planes = [foretold, shown.to_vec()];
            planes.map(|plane| Plane::from_shape_vec(size, plane).unwrap_or_else(|_| Plane::zeros(size)))
        };
        seen.par_iter().enumerate().map(shown).collect()
    }

    /// Sum of the squared errors of predicting frame `frame` of `seen`, each at most `bound`, by confidence, and the sum of
    /// those.
    pub(super) fn prediction_error(&mut self, seen: &[Samples<'_>], frame: usize, bound: f32) -> (f64, f64) {
        let (band, height) = (self.band(), self.optics.grid.height);
        let Self { optics, observation, x, tasks, .. } = self;
        let parts = tasks.par_iter_mut().take(height.div_ceil(band)).enumerate().map(|(n, scratch)| {
            let rows = n * band..((n + 1) * band).min(height);
            let (mut error, mut weight, mut read) = (0.0, 0.0, Vec::new());
            let work = |run: &Run, window: Window<'_>| {
                if run.frame != frame {
                    return;
                }
                let jobs = observation.jobs(run);
                read.resize(jobs.len(), [0.0; LANES]);
                predict(optics.cpu, &window.rows, jobs, window.picture, &mut read);
                for (job, read) in jobs.iter().zip(&read) {
                    // Jobs at the border of two bands are met in both.
                    if !rows.contains(&(job.row.clamp(0, height as i32 - 1) as usize)) {
                        continue;
                    }
                    let seen = seen[frame].lane(job.at);
                    for i in 0..LANES {
                        let (w, r) = (f64::from(job.weight[i]), (seen[i] - read[i]).clamp(-bound, bound));
                        error += w * f64::from(r * r);
                        weight += w;
                    }
                }
            };
            optics.read(observation, rows.clone(), x, scratch, work);
            (error, weight)
        });
        let parts: Vec<(f64, f64)> = parts.collect();
        parts.iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    /// A plane enlarged by bicubic interpolation alone.
    pub(super) fn enlarged(&mut self, plane: &[f32], range: (f32, f32), out: &mut Plane) {
        let enlarger = Enlarger::new(self.maps, &self.optics.grid, 2, cubic);
        self.enlarge(plane, &enlarger);
        self.unpack(range, out);
    }

    /// The estimate in natural order.
    pub(super) fn unpack(&self, (low, high): (f32, f32), out: &mut Plane) {
        let (cpu, grid, x, width) = (self.optics.cpu, &self.optics.grid, &self.x, out.ncols());
        if let Some(out) = out.as_slice_mut() {
            let rows = out.par_chunks_mut(width.max(1)).zip(x.par_chunks(grid.stride()));
            rows.with_min_len(16).rows_on_free_cores().for_each(|(out, row)| grid.unpack(cpu, row, out, low, high));
        }
    }

    /// The estimate is `plane`.
    pub(super) fn pack(&mut self, plane: &Plane) {
        let Self { optics, x, .. } = self;
        let rows = x.par_chunks_mut(optics.grid.stride()).zip(plane.outer_iter().into_par_iter());
        rows.with_min_len(16).rows_on_free_cores().for_each_init(Vec::new, |line, (row, samples)| {
            match samples.as_slice() {
                Some(samples) => optics.grid.pack(samples, row),
                None => {
                    line.clear();
                    line.extend(samples.iter().copied());
                    optics.grid.pack(line, row);
                }
            }
        });
    }

    /// The first estimate: `x` is the reference enlarged. The first step has no momentum and reads no `previous`.
    fn enlarge(&mut self, reference: &[f32], enlarger: &Enlarger) {
        let stride = self.optics.grid.stride();
        let Self { optics, x, .. } = self;
        x.par_chunks_mut(32 * stride).enumerate().on_free_cores().for_each_init(Vec::new, |row, (n, band)| {
            for (y, out) in band.chunks_exact_mut(stride).enumerate() {
                enlarger.row(optics.cpu, &optics.grid, reference, (0, 32 * n + y), out, row);
            }
        });
    }

    /// One step of the semi-iteration; the new estimate replaces `previous`, then the two change places.
    pub(super) fn correct(&mut self, seen: &[Samples<'_>], step: Step) {
        let stride = self.optics.grid.stride();
        // Every sample counts alike, so the fewer there are around a pixel the more the prior has to say.
        let full = (self.whole.len() as f64 / (self.maps.0.scale * self.maps.1.scale)) as f32;
        let prior = [step.prior[0], full, step.prior[1]];
        let Self { optics, observation, x, previous, inverse, tasks, held, .. } = self;
        let x = &x[..];
        let work = |run: &Run, window: Window<'_>| {
            if *held == Some(run.frame) {
                return;
            }
            let (jobs, samples) = (observation.jobs(run), &seen[run.frame]);
            // The reference is never wrong about itself; neighbours may be.
            let bound = if run.frame == 0 { f32::MAX } else { step.bound };
            back_project(optics.cpu, &window.rows, jobs, samples, window.picture, window.sums, (step.dead, bound));
        };
        let finish = |y: usize, row: &mut [f32], gradient: &[f32]| {
            step_row(optics, y, x, row, gradient, &inverse[y * stride..][..stride], (step, prior));
        };
        optics.sweep(observation, previous, Some(x), tasks, work, finish);
        std::mem::swap(&mut self.x, &mut self.previous);
    }
}

/// The motion (down, right) of a frame that moves as a whole: the median, if half of the nodes are near it.
fn whole_motion(field: &Field) -> Option<[f32; 2]> {
    let (rows, columns) = field.nodes();
    // A thousand nodes tell as much as all.
    let every = (rows * columns / 1000).max(1);
    let place = |n: usize| (field.position(n / columns), field.position(n % columns));
    let vectors: Vec<[f32; 2]> = (0..rows * columns).step_by(every).map(place).map(|(y, x)| field.at(y, x)).collect();
    let axis = |k: usize| middle(vectors.iter().map(|v| v[k]).collect());
    let motion = [axis(0), axis(1)];
    let spread = middle(vectors.iter().map(|v| (v[0] - motion[0]).abs().max((v[1] - motion[1]).abs())).collect());
    (spread <= WHOLE_SPREAD).then_some(motion)
}

/// The median; not a number if there is none.
fn middle(mut values: Vec<f32>) -> f32 {
    let at = values.len() / 2;
    if values.is_empty() { f32::NAN } else { *values.select_nth_unstable_by(at, f32::total_cmp).1 }
}

/// Row `y` of the new estimate, nearest margins filled, in place of the one before last.
fn step_row(
    optics: &Optics,
    y: usize,
    x: &[f32],
    row: &mut [f32],
    gradient: &[f32],
    inverse: &[f32],
    (step, prior): (Step, [f32; 3]),
) {
    let (grid, stride): (&Grid, usize) = (&optics.grid, optics.grid.stride());
    let start = |y: isize| mirrored(y, grid.height) * stride;
    let (up, here, down) = (start(y as isize - 1), y * stride, start(y as isize + 1));
    let length = grid.width / grid.phases;
    for phase in 0..grid.phases {
        let at = grid.slot(phase as isize);
        let (left, right) = (grid.slot(phase as isize - 1), grid.slot(phase as isize + 1));
        let rows = [here + at, here + left, here + right, up + at, down + at];
        let (gradient, inverse) = (&gradient[at..][..length], &inverse[at..][..length]);
        chebyshev_step(optics.cpu, &mut row[at..at + length], x, rows, gradient, inverse, (step.gains, prior));
        if let Some((low, high)) = step.range {
            limit(optics.cpu, &mut row[at..at + length], low, high);
        }
    }
    grid.fill_margins(row, 1);
}
