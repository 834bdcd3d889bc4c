//! Two-dimensional Fourier transforms of real windows.
//!
//! Plans are the scalar ones of RustFFT on purpose: its vector plans round differently from CPU to CPU, and the
//! frames that reach this file are small. Two real rows are packed into one complex row.

use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftDirection, FftPlannerScalar};

/// Half of the spectrum of a real picture: column frequencies `0..=columns / 2`, for each all row frequencies.
pub(super) type Spectrum = Vec<Complex32>;

/// Transforms of real pictures of one size.
pub(super) struct RealFft {
    rows: usize,
    columns: usize,
    along_rows: [Arc<dyn Fft<f32>>; 2],
    along_columns: [Arc<dyn Fft<f32>>; 2],
}

impl RealFft {
    /// Plans for `rows x columns`.
    pub(super) fn new(planner: &mut FftPlannerScalar<f32>, rows: usize, columns: usize) -> Self {
        let mut both = |n| [FftDirection::Forward, FftDirection::Inverse].map(|d| planner.plan_fft(n, d));
        Self { rows, columns, along_rows: both(columns), along_columns: both(rows) }
    }

    /// Rows of the pictures.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the pictures.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The spectrum of `picture`, row after row; not scaled.
    pub(super) fn forward(&self, picture: &[f32]) -> Spectrum {
        let (rows, n, half) = (self.rows, self.columns, self.columns / 2 + 1);
        let mut spectrum = vec![Complex32::default(); half * rows];
        let mut line = vec![Complex32::default(); n];
        let mut scratch = vec![Complex32::default(); self.along_rows[0].get_inplace_scratch_len()];
        for y in (0..rows).step_by(2) {
            let second = picture.get((y + 1) * n..(y + 2) * n);
            for (x, z) in line.iter_mut().enumerate() {
                *z = Complex32::new(picture[y * n + x], second.map_or(0.0, |row| row[x]));
            }
            self.along_rows[0].process_with_scratch(&mut line, &mut scratch);
            for k in 0..half {
                let (z, mirror) = (line[k], line[(n - k) % n].conj());
                let difference = (z - mirror) * 0.5;
                spectrum[k * rows + y] = (z + mirror) * 0.5;
                if second.is_some() {
                    spectrum[k * rows + y + 1] = Complex32::new(difference.im, -difference.re);
                }
            }
        }
        self.along_columns[0].process(&mut spectrum);
        spectrum
    }

    /// The picture of a `spectrum`, times the number of its pixels.
    pub(super) fn inverse(&self, mut spectrum: Spectrum) -> Vec<f32> {
        let (rows, n, half) = (self.rows, self.columns, self.columns / 2 + 1);
        self.along_columns[1].process(&mut spectrum);
        let mut picture = vec![0.0; rows * n];
        let mut line = vec![Complex32::default(); n];
        let mut scratch = vec![Complex32::default(); self.along_rows[1].get_inplace_scratch_len()];
        for y in (0..rows).step_by(2) {
            for k in 0..half {
                let first = spectrum[k * rows + y];
                let second = if y + 1 < rows { spectrum[k * rows + y + 1] } else { Complex32::default() };
                // A mirrored frequency holds the conjugates of both rows.
                line[(n - k) % n] = first.conj() + Complex32::i() * second.conj();
                line[k] = first + Complex32::i() * second;
            }
            self.along_rows[1].process_with_scratch(&mut line, &mut scratch);
            for (x, z) in line.iter().enumerate() {
                picture[y * n + x] = z.re;
                if y + 1 < rows {
                    picture[(y + 1) * n + x] = z.im;
                }
            }
        }
        picture
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    #[test]
    fn the_spectrum_is_that_of_the_plain_formula_and_comes_back() {
        for (rows, columns) in [(1, 1), (1, 6), (5, 1), (4, 6), (5, 9), (3, 8)] {
            let picture: Vec<f32> = (0..rows * columns).map(|i| ((i * i * 7 + 3 * i) % 23) as f32).collect();
            let fft = RealFft::new(&mut FftPlannerScalar::new(), rows, columns);
            let spectrum = fft.forward(&picture);
            for k in 0..=columns / 2 {
                for l in 0..rows {
                    let (mut re, mut im) = (0.0, 0.0);
                    for y in 0..rows {
                        for x in 0..columns {
                            let angle = -TAU * ((k * x) as f64 / columns as f64 + (l * y) as f64 / rows as f64);
                            re += f64::from(picture[y * columns + x]) * angle.cos();
                            im += f64::from(picture[y * columns + x]) * angle.sin();
                        }
                    }
                    let got = spectrum[k * rows + l];
                    let error = (f64::from(got.re) - re).hypot(f64::from(got.im) - im);
                    assert!(error < 1e-3, "{rows}x{columns} at {k}, {l}: {got} is not {re} {im}");
                }
            }
            let scale = (rows * columns) as f32;
            for (a, b) in fft.inverse(spectrum).iter().zip(&picture) {
                assert!((a / scale - b).abs() < 1e-4, "{rows}x{columns}: {} is not {b}", a / scale);
            }
        }
    }
}
