//! Tests that the model's two directions are adjoint to each other, `<A x, u> = <x, A' u>`, for every kind of motion,
//! scale, size and point-spread function, that what a frame sees is where it should be, and that the filter of the reference
//! (`reduce`) sees the same.

use super::observe::{Lattice, Moved, Observation, Run};
use super::psf::Blur;
use super::reduce::Reducer;
use super::shares::Shares;
use super::sweep::{Optics, Scratch, Window};
use crate::frame::AxisMap;
use crate::kernels::CpuLevel;
use crate::kernels::splat::{LANES, Samples, back_project, predict};
use crate::register::{Field, Shift};

fn noise(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / 65536.0 - 128.0
    };
    (0..n).map(next).collect()
}

/// A geometry with one neighbour.
struct Case {
    optics: Optics,
    observation: Observation,
    maps: (AxisMap, AxisMap),
    input: (usize, usize),
    width: usize,
}

const PLAIN: Lattice = Lattice { spacing: (1.0, 1.0), site: (0.0, 0.0) };

impl Case {
    fn new(input: (usize, usize), scale: (usize, usize), blur: Blur, lattice: Lattice, field: &Field) -> Self {
        let mut maps = (AxisMap::centered(input.0, input.0 * scale.0), AxisMap::centered(input.1, input.1 * scale.1));
        // Chroma that sits left keeps its site.
        maps.1.origin -= f64::from(lattice.spacing.1 - 1.0) * 0.25;
        let optics = Optics::new(maps, blur, CpuLevel::SCALAR);
        let mut observation = Observation::new(maps, lattice, &optics.grid, CpuLevel::SCALAR);
        let weights: Vec<f32> = (0..input.0 * input.1).map(|n| (n * 7 % 11) as f32 / 10.0).collect();
        observation.aim(&optics.grid, &[Moved { field, weights: &weights }]);
        Self { optics, observation, maps, input, width: maps.1.output }
    }

    /// `x` in the grid's order.
    fn packed(&self, x: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.optics.grid.len()];
        for (row, x) in packed.chunks_mut(self.optics.grid.stride()).zip(x.chunks(self.width)) {
            self.optics.grid.pack(x, row);
        }
        packed
    }

    /// What each job of the window reads of `x`, by chunk and job.
    fn forward(&self, x: &[f32], rows: std::ops::Range<usize>) -> Vec<(usize, usize, [f32; LANES])> {
        let packed = self.packed(x);
        let mut seen = Vec::new();
        let work = |run: &Run, window: Window<'_>| {
            let mut out = vec![[0.0; LANES]; run.jobs.len()];
            predict(CpuLevel::SCALAR, &window.rows, self.observation.jobs(run), window.picture, &mut out);
            seen.extend(out.into_iter().enumerate().map(|(n, lane)| (run.chunk, run.jobs.start + n, lane)));
        };
        self.optics.read(&self.observation, rows, &packed, &mut Scratch::default(), work);
        seen
    }

    /// `A' w u`, the samples of all frames being `u`, filled in at first `stretches` places at once, the last one first.
    fn adjoint(&mut self, u: &[Vec<f32>], stretches: usize) -> Vec<f32> {
        let seen: Vec<_> = u.iter().map(|plane| Samples::new(plane)).collect();
        let work = |run: &Run, window: Window<'_>| {
            // Of a picture of zeros the residuals are the samples.
            let (jobs, zeros) = (self.observation.jobs(run), vec![0.0; window.sums.len()]);
            let samples = &seen[run.frame];
            back_project(CpuLevel::SCALAR, &window.rows, jobs, samples, &zeros, window.sums, (0.0, f32::MAX));
        };
        let finish = |_, row: &mut [f32], sums: &[f32]| row.copy_from_slice(sums);
        let (grid, scratch) = (&self.optics.grid, &mut Scratch::default());
        let mut packed = vec![0.0; grid.len()];
        let shares = Shares::new(&mut packed, grid.stride());
        let mut begun: Vec<_> = (0..stretches).map_while(|_| shares.begin()).collect();
        while let Some(stretch) = begun.pop().or_else(|| shares.begin()) {
            self.optics.fill(&self.observation, stretch, None, scratch, &work, &finish);
        }
        let mut out = vec![0.0; grid.height * self.width];
        for (row, out) in packed.chunks(grid.stride()).zip(out.chunks_mut(self.width)) {
            grid.unpack(CpuLevel::SCALAR, row, out, f32::MIN, f32::MAX);
        }
        out
    }

    /// Both sides of the identity for random pictures, and the size of their terms.
    fn identity(&mut self) -> (f64, f64, f64) {
        let (h, w) = self.input;
        let rows = self.optics.grid.height;
        let x = noise(1, rows * self.width);
        let u = [noise(2, h * w), noise(3, h * w)];
        let back = self.adjoint(&u, 1);
        let right: f64 = x.iter().zip(&back).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let (mut left, mut size) = (0.0, 0.0);
        for (chunk, job, read) in self.forward(&x, 0..rows) {
            let run = Run { frame: 0, chunk, jobs: job..job + 1 };
            let job = &self.observation.jobs(&run)[0];
            let samples = &u[usize::from(!self.observation.is_reference(&run))][job.at as usize..];
            for i in (0..LANES).filter(|i| job.weight[*i] > 0) {
                let weight = f64::from(job.weight[i]) / 255.0;
                let term = weight * f64::from(read[i]) * f64::from(samples[i]);
                left += term;
                size += term.abs();
            }
        }
        (left, right, size)
    }
}

#[test]
fn the_filter_of_the_reference_reads_what_its_samples_read() {
    for input in [(12, 17), (1, 1), (1, 9), (5, 33), (40, 20)] {
        for scale in [(1, 1), (2, 2), (3, 3), (4, 4), (4, 2)] {
            for (blur, lattice) in [
                (Blur::Usual, PLAIN),
                (Blur::Cubic, PLAIN),
                (Blur::Gaussian(0.5), Lattice { spacing: (2.0, 2.0), site: (0.5, 0.0) }),
            ] {
                let case = Case::new(input, scale, blur, lattice, &fields(input.0, input.1)[0]);
                let Optics { cpu, ref grid, .. } = case.optics;
                let x = noise(1, grid.height * case.width);
                let (reducer, packed) = (Reducer::new(case.maps, grid, case.optics.psf()), case.packed(&x));
                let (mut scratch, mut rows) = (vec![0.0; grid.stride()], vec![0.0; input.0 * input.1]);
                for (y, row) in rows.chunks_mut(input.1).enumerate() {
                    reducer.row(cpu, grid, &packed, y, &mut scratch, row);
                }
                let mut compared = 0;
                for (chunk, job, read) in case.forward(&x, 0..grid.height) {
                    let run = Run { frame: 0, chunk, jobs: job..job + 1 };
                    let job = &case.observation.jobs(&run)[0];
                    let reference = case.observation.is_reference(&run);
                    for i in (0..LANES).filter(|i| reference && job.weight[*i] > 0) {
                        let (filtered, read) = (rows[job.at as usize + i], read[i]);
                        let close = (filtered - read).abs() < 2.0;
                        assert!(close, "{input:?} by {scale:?}, {blur:?}, {lattice:?}: {filtered} not {read}");
                        compared += 1;
                    }
                }
                assert_eq!(compared, input.0 * input.1);
            }
        }
    }
}

/// Fields of every kind: shifts within and beyond the picture, and one that differs from pixel to pixel.
fn fields(height: usize, width: usize) -> Vec<Field> {
    let shifts = [(0.0, 0.0), (0.3, -0.71), (-2.4, 1.9), (6.5, -5.25), (0.5, 0.5)];
    let mut all: Vec<Field> = shifts.iter().map(|&(dy, dx)| Field::uniform(height, width, Shift { dx, dy })).collect();
    all.push(Field::from_fn(height, width, 4, |y, x| [0.05 * x - 0.6, 1.3 - 0.08 * y + 0.3 * (x * 0.9).sin()]));
    all
}

#[test]
fn the_adjoint_identity_holds_for_every_scale_size_motion_and_blur() {
    let sizes = [(12, 17), (9, 7), (9, 40), (1, 1), (1, 9), (3, 2), (5, 33), (40, 20)];
    for input in sizes {
        for scale in [(1, 1), (2, 2), (3, 3), (4, 4), (1, 3), (4, 2)] {
            for (blur, lattice) in [
                (Blur::Gaussian(0.1), PLAIN),
                (Blur::Gaussian(0.36), PLAIN),
                (Blur::Cubic, PLAIN),
                (Blur::Gaussian(0.5), Lattice { spacing: (2.0, 2.0), site: (0.5, 0.0) }),
            ] {
                for field in fields(input.0, input.1) {
                    let mut case = Case::new(input, scale, blur, lattice, &field);
                    let (left, right, size) = case.identity();
                    assert!(
                        (left - right).abs() <= 1e-5 * size + 1e-3,
                        "{input:?} by {scale:?}, {blur:?}, {lattice:?}, {field:?}: {left} and {right}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_picture_is_the_same_wherever_tasks_begin() {
    for (height, stretches) in [(16, vec![2]), (60, vec![2, 3, 4]), (150, vec![2, 3, 5, 10])] {
        for field in fields(height, 24) {
            let mut case = Case::new((height, 24), (2, 2), Blur::default(), PLAIN, &field);
            let u = [noise(2, height * 24), noise(3, height * 24)];
            let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let whole = bits(&case.adjoint(&u, 1));
            for &stretches in &stretches {
                assert_eq!(whole, bits(&case.adjoint(&u, stretches)), "{height} rows in {stretches} stretches");
            }
        }
    }
}

#[test]
fn a_frame_sees_the_blurred_scene_where_its_field_says() {
    // A wave of low frequency, whose blurred version is known.
    let (input, scale, sigma) = ((40, 48), 2, 0.35);
    let (fx, fy) = (0.9f64, 0.4f64);
    let wave = |y: f64, x: f64| (fx * x + fy * y).sin() * 100.0;
    let field = Field::from_fn(40, 48, 4, |y, x| [0.02 * x - 0.4, 0.7 - 0.03 * y]);
    let case = Case::new(input, (scale, scale), Blur::Gaussian(sigma), PLAIN, &field);
    let place = |i: usize| (i as f64 - 0.5) / 2.0;
    let x: Vec<f32> = (0..80 * 96).map(|n| wave(place(n / 96), place(n % 96)) as f32).collect();
    let damp = (-0.5 * sigma * sigma * (fx * fx + fy * fy)).exp();
    let mut compared = 0;
    for (chunk, job, read) in case.forward(&x, 0..80) {
        let run = Run { frame: 0, chunk, jobs: job..job + 1 };
        let job = &case.observation.jobs(&run)[0];
        let at = job.at as usize;
        for i in (0..LANES).filter(|&i| job.weight[i] > 0) {
            let (q, p) = (at / 48, at % 48 + i);
            let v = if case.observation.is_reference(&run) { [0.0; 2] } else { field.at(q as f32, p as f32) };
            let (y, x) = (q as f64 + f64::from(v[0]), p as f64 + f64::from(v[1]));
            if (3.0..36.0).contains(&y) && (3.0..44.0).contains(&x) {
                let wanted = damp * wave(y, x);
                assert!((f64::from(read[i]) - wanted).abs() < 2.0, "({q}, {p}): {} not {wanted}", read[i]);
                compared += 1;
            }
        }
    }
    assert!(compared > 1500, "{compared} samples compared");
}
