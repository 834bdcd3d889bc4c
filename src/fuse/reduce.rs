//! What the observation model foretells of the reference: a plane, blurred and sampled where the reference's samples lie.
//!
//! The reference does not move, so all its samples lie alike between the pixels of the grid, and `D H` is one filter along each axis.
//! It gives what `Solver::predicted` reads sample by sample, but for the rounding of weights there, in a small part of the time.

use super::grid::{Grid, mirrored};
use super::psf::Psf;
use crate::frame::AxisMap;
use crate::kernels::CpuLevel;
use crate::kernels::filters::weighted_sum;

/// The filters of `D H` for a reference on one grid.
#[derive(Debug)]
pub(super) struct Reducer {
    /// Large rows from one sample to the next.
    step: usize,
    /// Distance of the first tap from the large row of which that of sample 0 is counted, and the taps.
    down: (isize, Vec<f32>),
    /// Where the slices start of which the samples of a row are sums, and their weights.
    along: (Vec<usize>, Vec<f32>),
    /// Columns that are read beyond the picture.
    reach: usize,
    /// Low-resolution columns.
    width: usize,
}

impl Reducer {
    /// For planes whose axes map as `maps` (vertical, horizontal; whole-number scales), seen through `psf` (vertical, horizontal).
    pub(super) fn new(maps: (AxisMap, AxisMap), grid: &Grid, psf: [&Psf; 2]) -> Self {
        let down = filter(psf[0], maps.0.origin);
        let (first, weights) = filter(psf[1], maps.1.origin);
        let columns = first..first + weights.len() as isize;
        let before = -columns.start;
        let after = columns.end - grid.phases as isize;
        let along = (columns.map(|x| grid.slot(x)).collect(), weights);
        Self { step: maps.0.scale as usize, down, along, reach: before.max(after).max(0) as usize, width: maps.1.input }
    }

    /// Columns beyond the picture that rows of a grid for `psf` must have room for.
    pub(super) fn reach(psf: &Psf) -> usize {
        psf.radius() + 2
    }

    /// What row `y` of the reference would show of `picture`; `row` is scratch of one row of the grid.
    pub(super) fn row(&self, cpu: CpuLevel, grid: &Grid, picture: &[f32], y: usize, row: &mut [f32], out: &mut [f32]) {
        let (first, weights) = &self.down;
        let top = (y * self.step) as isize + first;
        let start = |k: usize| mirrored(top + k as isize, grid.height) * grid.stride();
        let starts: Vec<usize> = (0..weights.len()).map(start).collect();
        weighted_sum(cpu, row, picture, &starts, weights, false);
        grid.fill_margins(row, self.reach);
        weighted_sum(cpu, &mut out[..self.width], row, &self.along.0, &self.along.1, false);
    }
}

/// First tap and taps of `psf` and the quadratic B-spline centred at `origin` together.
fn filter(psf: &Psf, origin: f64) -> (isize, Vec<f32>) {
    let radius = psf.radius() as isize;
    let spline = |distance: f64| match distance.abs() {
        d if d <= 0.5 => 0.75 - d * d,
        d if d < 1.5 => 0.5 * (1.5 - d) * (1.5 - d),
        _ => 0.0,
    };
    let read: Vec<(isize, f64)> = (origin as isize - 2..=origin as isize + 3)
        .map(|pixel| (pixel, spline(pixel as f64 - origin)))
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    let first = read[0].0 - radius;
    let mut taps = vec![0.0; read.len() + 2 * radius as usize];
    for (n, (_, weight)) in read.iter().enumerate() {
        for (sum, tap) in taps[n..].iter_mut().zip(psf.taps()) {
            *sum += (weight * f64::from(*tap)) as f32;
        }
    }
    (first, taps)
}
