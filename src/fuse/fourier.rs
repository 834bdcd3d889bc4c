//! Two-dimensional Fourier transforms of small and large grids, as `frequency` needs them.
//!
//! Spectra are stored column frequency by column frequency, each with all its row frequencies: after the transform of
//! rows the picture is turned once, and the transform of columns runs on contiguous numbers. Plans are the scalar ones
//! of RustFFT, whose bits are the same on every CPU.

use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftDirection, FftPlannerScalar};

use crate::kernels::sizes::fast_size;

/// Lines turned by one task at a time.
const TILE: usize = 16;

/// The smallest even `2^a 3^b 5^c` that is at least `n`.
pub(super) fn even_fast_size(n: usize) -> usize {
    2 * fast_size(n.div_ceil(2))
}

/// Transforms along the axes of grids of `rows x columns`.
pub(super) struct Transform {
    rows: usize,
    columns: usize,
    along_rows: Arc<dyn Fft<f32>>,
    along_columns: Arc<dyn Fft<f32>>,
}

impl Transform {
    pub(super) fn new(rows: usize, columns: usize, direction: FftDirection) -> Self {
        let mut planner = FftPlannerScalar::new();
        let along_rows = planner.plan_fft(columns, direction);
        let along_columns = planner.plan_fft(rows, direction);
        Self { rows, columns, along_rows, along_columns }
    }

    /// Spectrum (not scaled) of the real `picture`, `height x width`, with zeros below and to its right.
    pub(super) fn forward(&self, picture: &[f32], width: usize) -> Vec<Complex32> {
        let mut grid = vec![Complex32::default(); self.rows * self.columns];
        let height = picture.len() / width;
        let lines = grid.par_chunks_mut(self.columns).zip(picture.par_chunks(width)).take(height);
        lines.with_min_len(TILE).for_each(|(line, picture)| {
            line.iter_mut().zip(picture).for_each(|(z, v)| z.re = *v);
            self.along_rows.process(line);
        });
        let mut turned = turn(&grid, self.rows, self.columns);
        turned.par_chunks_mut(self.rows).with_min_len(TILE).for_each(|line| self.along_columns.process(line));
        turned
    }

    /// The grid (row by row, not scaled) of `spectrum`, whose columns beyond `used` are zero.
    pub(super) fn inverse(&self, mut spectrum: Vec<Complex32>, used: impl Fn(usize) -> bool + Sync) -> Vec<Complex32> {
        let columns = spectrum.par_chunks_mut(self.rows).enumerate().with_min_len(TILE);
        columns.for_each(|(x, line)| {
            if used(x) {
                self.along_columns.process(line);
            }
        });
        let mut grid = turn(&spectrum, self.columns, self.rows);
        drop(spectrum);
        grid.par_chunks_mut(self.columns).with_min_len(TILE).for_each(|line| self.along_rows.process(line));
        grid
    }
}

/// `rows x columns` numbers as `columns x rows`.
fn turn(grid: &[Complex32], rows: usize, columns: usize) -> Vec<Complex32> {
    let mut out = vec![Complex32::default(); grid.len()];
    out.par_chunks_mut(TILE * rows).enumerate().for_each(|(n, lines)| {
        for y in 0..rows {
            let row = &grid[y * columns + n * TILE..(y + 1) * columns];
            for (line, value) in lines.chunks_exact_mut(rows).zip(row) {
                line[y] = *value;
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_and_back_is_the_picture_and_a_wave_is_one_frequency() {
        let (rows, columns) = (20, 36);
        let wave = |y: usize, x: usize| {
            let turns = 3.0 * y as f64 / rows as f64 + 5.0 * x as f64 / columns as f64;
            (2.0 * std::f64::consts::PI * turns).cos() as f32
        };
        let picture: Vec<f32> = (0..rows * columns).map(|n| wave(n / columns, n % columns)).collect();
        let spectrum = Transform::new(rows, columns, FftDirection::Forward).forward(&picture, columns);
        for (n, z) in spectrum.iter().enumerate() {
            let at = (n % rows, n / rows);
            let want = if at == (3, 5) || at == (17, 31) { (rows * columns) as f32 / 2.0 } else { 0.0 };
            assert!((z.re - want).abs() < 1e-2 && z.im.abs() < 1e-2, "frequency {at:?}: {z}, not {want}");
        }
        let back = Transform::new(rows, columns, FftDirection::Inverse).inverse(spectrum, |_| true);
        for (n, (z, v)) in back.iter().zip(&picture).enumerate() {
            assert!((z.re / (rows * columns) as f32 - v).abs() < 1e-4, "pixel {n}: {z}, not {v}");
        }
    }

    #[test]
    fn sizes_are_even_smooth_and_large_enough() {
        for (n, want) in [(0, 2), (1, 2), (3, 4), (7, 8), (11, 12), (15, 16), (961, 972), (976, 1000)] {
            assert_eq!(even_fast_size(n), want, "for {n}");
        }
    }
}
