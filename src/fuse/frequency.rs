//! Aliases told apart in the Fourier domain, for frames that move as a whole.
//!
//! A frequency of a frame is the sum of the `s x s` frequencies of the large picture that sampling makes alike, each
//! times the blur's response and a phase that follows from the frame's shift (Tsai and Huang 1984; registration and
//! use of real frames in Vandewalle et al. 2006, doi:10.1155/ASP/2006/71459). With several shifts they can be solved
//! for. Here the unknown is the *correction* `e` of the interpolated reference: per low-resolution frequency the
//! smallest `e` that explains the residuals `r`,
//!
//! `min_e sum_k w_k |r_k - a_k e|^2 + mu |e|^2`,  `e = A^H (A A^H + mu)^-1 r` with rows `sqrt(w_k) a_k`.
//!
//! Residuals fade to zero at the borders and where a pixel is not trusted or moves otherwise than its frame, and so
//! does the correction: no border needs a mirror that would not move with the frame. The system is as large as there
//! are frames, its matrix the product of one for rows and one for columns. With fewer than two usable frames, or at x1,
//! `ibp` does the work.

use std::f64::consts::PI;

use rayon::prelude::*;
use rustfft::FftDirection;
use rustfft::num_complex::Complex32;

use super::backproject::{IBP, Solver};
use super::family::Family;
use super::fourier::{Transform, even_fast_size};
use super::observe::BAND;
use super::psf::Psf;
use super::schedule::Schedule;
use crate::frame::AxisMap;
use crate::kernels::splat::{FRACTION, Job, LANES, Rows, Samples, WEIGHT, predict};

/// Low-resolution pixels over which the correction fades towards the borders.
const FADE: f64 = 4.0;
/// Zeros beside the residuals: the blur must not reach around.
const PADDING: usize = 16;
/// Distance from its frame's motion at which a sample counts no more, low-resolution pixels.
const ASTRAY: f32 = 0.25;
/// Mean weight below which a frame is left out.
const LEAST_WEIGHT: f64 = 0.25;
/// Regularisation for each unit of the schedule's lambda.
const REGULARISATION: f64 = 0.1;

/// See the file.
#[derive(Debug)]
pub(super) struct Frequency;

/// What a frame shows beyond the interpolated reference.
struct Evidence {
    /// Motion (down, right) in luma pixels.
    motion: [f32; 2],
    /// Weighted residuals, as large as the plane.
    residuals: Vec<f32>,
    /// Mean weight.
    weight: f64,
}

impl Family for Frequency {
    fn estimate(&self, solver: &mut Solver, seen: &[Samples<'_>], schedule: &Schedule) {
        let scales = [solver.maps.0, solver.maps.1].map(|map| map.scale as usize);
        let evidence = if scales == [1, 1] { Vec::new() } else { gather(solver, seen) };
        if evidence.len() < 2 {
            return IBP.estimate(solver, seen, schedule);
        }
        let system = System::new(solver, &evidence, REGULARISATION * schedule.lambda);
        let correction = system.solve(&evidence, solver.maps.1.input);
        add(solver, &correction, system.axes[1].large());
    }
}

/// The evidence of all usable frames against the interpolated reference, left in `x`.
fn gather(solver: &mut Solver, seen: &[Samples<'_>]) -> Vec<Evidence> {
    if solver.whole.iter().flatten().count() < 2 {
        return Vec::new();
    }
    solver.start(seen);
    let stride = solver.optics.grid.stride();
    let Solver { optics, x, previous, .. } = &mut *solver;
    previous.par_chunks_mut(stride).enumerate().with_min_len(16).for_each_init(
        || vec![0.0; stride],
        |row, (y, out)| {
            optics.blurred(x, y, row, out);
            optics.grid.fill_margins(out, 4);
        },
    );
    let solver = &*solver;
    let frames = solver.whole.iter().enumerate().take(seen.len());
    let moved = frames.filter_map(|(frame, motion)| Some(measure(solver, &seen[frame], frame, (*motion)?)));
    moved.filter(|evidence| evidence.weight >= LEAST_WEIGHT).collect()
}

/// Residuals of one frame, in tasks of `BAND` rows.
fn measure(solver: &Solver, samples: &Samples<'_>, frame: usize, motion: [f32; 2]) -> Evidence {
    let (map_y, map_x) = solver.maps;
    let columns = map_x.input;
    let fade = [fade(map_y.input), fade(columns)];
    let lattice = solver.lattice.spacing;
    // Where a sample is in its cell of the grid if it moves as the frame does.
    let shift = [motion[0] / lattice.0 * map_y.scale as f32, motion[1] / lattice.1 * map_x.scale as f32];
    let expected = [shift[0] + map_y.origin as f32, shift[1] + map_x.origin as f32];
    let mut residuals = vec![0.0; map_y.input * columns];
    let bands = residuals.par_chunks_mut(BAND * columns).enumerate();
    let sums: Vec<f64> = bands
        .map_init(Vec::new, |read, (band, out)| {
            let jobs = solver.observation.rows_of(frame, band);
            read.resize(jobs.len(), [0.0; LANES]);
            let grid = &solver.optics.grid;
            let rows = Rows { stride: grid.stride(), height: grid.height, mask: usize::MAX, taps: &grid.taps };
            predict(solver.optics.cpu, &rows, jobs, &solver.previous, read);
            let mut sum = 0.0;
            for (job, read) in jobs.iter().zip(&*read) {
                let (start, values) = (job.at as usize, samples.lane(job.at));
                let (row, column) = (start / columns, start % columns);
                for i in (0..LANES).filter(|i| job.weight[*i] > 0) {
                    let place = placed(solver, job, i);
                    let wanted = [
                        expected[0] + row as f32 * map_y.scale as f32,
                        expected[1] + (column + i) as f32 * map_x.scale as f32,
                    ];
                    let astray = [
                        (place[0] - wanted[0]) / map_y.scale as f32 / ASTRAY,
                        (place[1] - wanted[1]) / map_x.scale as f32 / ASTRAY,
                    ];
                    let near = (1.0 - astray[0] * astray[0] - astray[1] * astray[1]).max(0.0);
                    let weight = f32::from(job.weight[i]) / WEIGHT * near;
                    sum += f64::from(weight);
                    let faded = weight * fade[0][row] * fade[1][column + i];
                    out[start + i - band * BAND * columns] = faded * (values[i] - read[i]);
                }
            }
            sum
        })
        .collect();
    let weight = sums.iter().sum::<f64>() / (map_y.input * columns) as f64;
    Evidence { motion, residuals, weight }
}

/// Row and column of the grid that sample `i` of a job looks at.
fn placed(solver: &Solver, job: &Job, i: usize) -> [f32; 2] {
    let grid = &solver.optics.grid;
    let first = grid.column_of(usize::from(job.phase), job.place as usize + i);
    let inside = [job.fy[i], job.fx[i]].map(|f| 0.5 + f32::from(f) / FRACTION);
    [job.row as f32 + inside[0], first as f32 + inside[1]]
}

/// Weights that fade towards both ends of `n` samples.
fn fade(n: usize) -> Vec<f32> {
    let weight = |i: usize| {
        let inside = (i.min(n - 1 - i) as f64 + 0.5) / FADE;
        (0.5 - 0.5 * (PI * inside.min(1.0)).cos()) as f32
    };
    (0..n).map(weight).collect()
}

/// One axis of the problem: how the frequencies of all frames follow from those of the large picture.
struct Axis {
    /// Frequencies of a padded frame.
    size: usize,
    scale: usize,
    /// Responses, frame by frame, `size * scale` frequencies each.
    responses: Vec<Vec<Complex32>>,
    /// `sum_m a_k conj(a_l)` of each low frequency: `frames x frames` numbers, frequency by frequency.
    products: Vec<Complex32>,
}

impl Axis {
    /// For `map` and the frames' `shifts`, low-resolution samples.
    fn new(map: AxisMap, psf: &Psf, shifts: &[f64]) -> Self {
        let (size, scale) = (even_fast_size(map.input + PADDING), map.scale as usize);
        let large = size * scale;
        let blur: Vec<f64> = (0..large).map(|n| psf.response(signed(n, large))).collect();
        let response = |shift: &f64| -> Vec<Complex32> {
            let place = map.scale * shift + map.origin;
            let value = |n: usize| {
                // Half a cycle a pixel has no phase that a shift could turn.
                let blur = if 2 * n == large { 0.0 } else { blur[n] };
                let (sin, cos) = (2.0 * PI * signed(n, large) * place).sin_cos();
                Complex32::new((blur * cos) as f32, (blur * sin) as f32)
            };
            (0..large).map(value).collect()
        };
        let responses: Vec<Vec<Complex32>> = shifts.iter().map(response).collect();
        let product = |f: usize, k: usize, l: usize| -> Complex32 {
            (0..scale).map(|m| responses[k][f + m * size] * responses[l][f + m * size].conj()).sum()
        };
        let frames = shifts.len();
        let products =
            (0..size * frames * frames).map(|n| product(n / (frames * frames), n / frames % frames, n % frames));
        Self { size, scale, products: products.collect(), responses }
    }

    /// Frequencies of the large picture.
    fn large(&self) -> usize {
        self.size * self.scale
    }

    /// Products of low frequency `f`.
    fn products(&self, f: usize) -> &[Complex32] {
        let n = self.responses.len().pow(2);
        &self.products[f * n..(f + 1) * n]
    }
}

/// Cycles a pixel of frequency `n` of `size`, -1/2 to 1/2.
fn signed(n: usize, size: usize) -> f64 {
    let n = n as f64 / size as f64;
    if n > 0.5 { n - 1.0 } else { n }
}

/// The systems of all frequencies.
struct System {
    /// Vertical, horizontal.
    axes: [Axis; 2],
    /// Roots of the frames' weights, whose squares sum to 1.
    roots: Vec<f32>,
    mu: f32,
}

impl System {
    fn new(solver: &Solver, evidence: &[Evidence], mu: f64) -> Self {
        let (spacing, psf) = (solver.lattice.spacing, solver.optics.psf());
        let shifts = |k: usize, spacing: f32| -> Vec<f64> {
            evidence.iter().map(|e| f64::from(e.motion[k] / spacing)).collect()
        };
        let axes = [
            Axis::new(solver.maps.0, psf[0], &shifts(0, spacing.0)),
            Axis::new(solver.maps.1, psf[1], &shifts(1, spacing.1)),
        ];
        let total: f64 = evidence.iter().map(|e| e.weight).sum();
        let roots = evidence.iter().map(|e| (e.weight / total).sqrt() as f32).collect();
        Self { axes, roots, mu: mu as f32 }
    }

    /// The correction of the large picture, its real parts, rows of `axes[1].large()` numbers.
    fn solve(&self, evidence: &[Evidence], width: usize) -> Vec<Complex32> {
        let [rows, columns] = [&self.axes[0], &self.axes[1]];
        let unmixed = self.unmix(evidence, width);
        let (frames, large) = (self.roots.len(), rows.large());
        let scale = 1.0 / (rows.size * columns.size) as f32;
        let half = columns.size / 2;
        // The picture is real: half of the column frequencies stand for all, and all but the first and last for two.
        let mut spectrum = vec![Complex32::default(); large * columns.large()];
        spectrum.par_chunks_mut(large).enumerate().for_each(|(x, line)| {
            let low = x % columns.size;
            if low > half {
                return;
            }
            let twice = if low == 0 || low == half { scale } else { 2.0 * scale };
            let along: Vec<Complex32> = columns.responses.iter().map(|r| r[x].conj() * twice).collect();
            let solved = &unmixed[low * rows.size * frames..][..rows.size * frames];
            for (y, out) in line.iter_mut().enumerate() {
                let solved = &solved[y % rows.size * frames..][..frames];
                let term = |k: usize| along[k] * rows.responses[k][y].conj() * solved[k];
                *out = (0..frames).map(term).sum();
            }
        });
        let inverse = Transform::new(large, columns.large(), FftDirection::Inverse);
        inverse.inverse(spectrum, |x| x % columns.size <= half)
    }

    /// `sqrt(w) (A A^H + mu)^-1 sqrt(w) r` of each low frequency: by column frequency (half of them), row frequency,
    /// frame.
    fn unmix(&self, evidence: &[Evidence], width: usize) -> Vec<Complex32> {
        let [rows, columns] = [&self.axes[0], &self.axes[1]];
        let forward = Transform::new(rows.size, columns.size, FftDirection::Forward);
        let spectra: Vec<Vec<Complex32>> = evidence.iter().map(|e| forward.forward(&e.residuals, width)).collect();
        let frames = self.roots.len();
        let mut out = vec![Complex32::default(); (columns.size / 2 + 1) * rows.size * frames];
        out.par_chunks_mut(rows.size * frames).enumerate().for_each_init(
            || vec![Complex32::default(); frames * frames],
            |matrix, (x, line)| {
                for (y, right) in line.chunks_exact_mut(frames).enumerate() {
                    for (k, right) in right.iter_mut().enumerate() {
                        *right = spectra[k][x * rows.size + y] * self.roots[k];
                    }
                    self.fill(matrix, rows.products(y), columns.products(x));
                    solve_hermitian(matrix, right);
                    right.iter_mut().zip(&self.roots).for_each(|(z, root)| *z *= root);
                }
            },
        );
        out
    }

    /// `A A^H + mu` from the products of both axes.
    fn fill(&self, matrix: &mut [Complex32], rows: &[Complex32], columns: &[Complex32]) {
        let frames = self.roots.len();
        for k in 0..frames {
            for l in 0..=k {
                let n = k * frames + l;
                matrix[n] = rows[n] * columns[n] * (self.roots[k] * self.roots[l]);
            }
            matrix[k * frames + k].re += self.mu;
        }
    }
}

/// Solves a Hermitian positive definite system in place by Cholesky's method; only the lower half of `matrix` is read.
fn solve_hermitian(matrix: &mut [Complex32], right: &mut [Complex32]) {
    let n = right.len();
    for k in 0..n {
        for l in 0..=k {
            let mut value = matrix[k * n + l];
            for j in 0..l {
                value -= matrix[k * n + j] * matrix[l * n + j].conj();
            }
            matrix[k * n + l] = if l == k {
                Complex32::new(value.re.max(1e-9).sqrt(), 0.0)
            } else {
                value * (1.0 / matrix[l * n + l].re)
            };
        }
        let mut value = right[k];
        for j in 0..k {
            value -= matrix[k * n + j] * right[j];
        }
        right[k] = value * (1.0 / matrix[k * n + k].re);
    }
    for k in (0..n).rev() {
        let mut value = right[k];
        for j in k + 1..n {
            value -= matrix[j * n + k].conj() * right[j];
        }
        right[k] = value * (1.0 / matrix[k * n + k].re);
    }
}

/// Adds a correction, `width` numbers a row, to the estimate.
fn add(solver: &mut Solver, correction: &[Complex32], width: usize) {
    let Solver { optics, x, .. } = solver;
    let grid = &optics.grid;
    let rows = x.par_chunks_mut(grid.stride()).zip(correction.par_chunks(width));
    rows.with_min_len(16).for_each(|(row, correction)| {
        for phase in 0..grid.phases {
            let slots = &mut row[grid.slot(phase as isize)..][..grid.width / grid.phases];
            for (slot, value) in slots.iter_mut().zip(correction[phase..].iter().step_by(grid.phases)) {
                *slot += value.re;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hermitian_system_is_solved() {
        let n = 4;
        let entry = |k: usize, l: usize| {
            let (a, b) = (((k * 7 + l * 3) % 5) as f32 * 0.3, ((k * 5 + l) % 7) as f32 * 0.2);
            Complex32::new(a, b)
        };
        // B B^H + 1 is positive definite.
        let product = |k: usize, l: usize| -> Complex32 {
            let sum: Complex32 = (0..n).map(|j| entry(k, j) * entry(l, j).conj()).sum();
            if k == l { sum + 1.0 } else { sum }
        };
        let want: Vec<Complex32> = (0..n).map(|k| Complex32::new(k as f32 - 1.0, 2.0 - 0.7 * k as f32)).collect();
        let mut right: Vec<Complex32> = (0..n).map(|k| (0..n).map(|l| product(k, l) * want[l]).sum()).collect();
        let mut matrix: Vec<Complex32> = (0..n * n).map(|i| product(i / n, i % n)).collect();
        solve_hermitian(&mut matrix, &mut right);
        for (got, want) in right.iter().zip(&want) {
            assert!((got - want).norm() < 1e-4, "{got}, not {want}");
        }
    }
}
