//! Shift and add: non-uniform interpolation of the samples of all frames, then deblurring.
//!
//! The blurred picture `b` is interpolated from the samples where they lie, each spread over the large pixels around
//! its place by the quadratic B-spline (Elad and Hel-Or 2001, doi:10.1109/83.935034; Farsiu et al. 2004,
//! doi:10.1109/TIP.2004.834669). What is spread is how a sample differs from what there is, the interpolated reference
//! at first, so that holes stay filled with it and a second round brings back what the first has smoothed (successive
//! correction, Barnes 1964):
//!
//! `b <- b + S'(w (y - S b)) / max(S' w, floor)`, and then `x <- x + (b - H x)` from `x = b` (van Cittert 1931).
//!
//! Deblurring touches no samples, so nothing checks what it does: it takes one step;
//! more bring out noise and what is left of aliasing (a second: +0.2 to -0.6 dB on city and walk at x2).

use rayon::prelude::*;

use super::backproject::Solver;
use super::family::Family;
use super::observe::Run;
use super::psf::Psf;
use super::schedule::Schedule;
use super::sweep::{Optics, Window};
use crate::kernels::observation::{corrected, inverse, van_cittert};
use crate::kernels::splat::{Samples, back_project, splat_weights};

/// Rounds of interpolation.
const ROUNDS: usize = 2;
/// Steps of deblurring.
const STEPS: usize = 1;

/// See the file.
#[derive(Debug)]
pub(super) struct ShiftAdd;

impl Family for ShiftAdd {
    fn estimate(&self, solver: &mut Solver, seen: &[Samples<'_>], _: &Schedule) {
        solver.start(seen);
        solver.spare.resize(solver.x.len());
        // Without the filter the picture that samples read is the blurred one.
        let plain = solver.optics.with_filters([Psf::identity(), Psf::identity()]);
        spread_weights(solver, &plain);
        for _ in 0..ROUNDS {
            interpolate(solver, seen, &plain);
        }
        deblur(solver);
    }
}

/// `spare = 1 / max(S' w, floor)`, with a quarter of one frame's density as floor.
fn spread_weights(solver: &mut Solver, plain: &Optics) {
    let floor = (0.25 / (solver.maps.0.scale * solver.maps.1.scale)) as f32;
    let Solver { observation, spare, tasks, .. } = solver;
    let work = |run: &Run, window: Window<'_>| {
        splat_weights(plain.cpu, &window.rows, observation.jobs(run), window.sums);
    };
    let finish = |_, row: &mut [f32], sums: &[f32]| inverse(plain.cpu, row, sums, floor);
    plain.sweep(observation, spare, None, tasks, work, finish);
}

/// One round: `x + S'(w (y - S x)) * spare` replaces `x`.
fn interpolate(solver: &mut Solver, seen: &[Samples<'_>], plain: &Optics) {
    let stride = plain.grid.stride();
    let Solver { observation, x, previous, spare, tasks, .. } = solver;
    let (x, inverse) = (&x[..], &spare[..]);
    let work = |run: &Run, window: Window<'_>| {
        let (jobs, samples) = (observation.jobs(run), &seen[run.frame]);
        back_project(plain.cpu, &window.rows, jobs, samples, window.picture, window.sums, (0.0, f32::MAX));
    };
    let finish = |y: usize, row: &mut [f32], sums: &[f32]| {
        let here = y * stride..(y + 1) * stride;
        corrected(plain.cpu, row, &x[here.clone()], sums, &inverse[here]);
        plain.grid.fill_margins(row, 1);
    };
    plain.sweep(observation, previous, Some(x), tasks, work, finish);
    std::mem::swap(&mut solver.x, &mut solver.previous);
}

/// `x` from the blurred picture that it is.
fn deblur(solver: &mut Solver) {
    let stride = solver.optics.grid.stride();
    solver.previous.copy_from_slice(&solver.x);
    for _ in 0..STEPS {
        let Solver { optics, x, previous, spare, .. } = &mut *solver;
        spare.par_chunks_mut(stride).enumerate().with_min_len(16).for_each_init(
            || (vec![0.0; stride], vec![0.0; stride]),
            |(row, blurred), (y, out)| {
                optics.blurred(x, y, row, blurred);
                let here = y * stride..(y + 1) * stride;
                van_cittert(optics.cpu, out, &x[here.clone()], &previous[here], blurred);
                optics.grid.fill_margins(out, 1);
            },
        );
        std::mem::swap(&mut solver.x, &mut solver.spare);
    }
}
