//! Interpolation: planes and pictures at another size, from one frame alone.
//!
//! One separable polyphase resampler serves all filters and scales. Rows are resampled first, on as few of them as
//! there are in the input, into a band that stays in the cache; output rows are then weighted sums of the band's
//! rows. Bands are spread over the threads of rayon, and each output sample is the same sum in the same order
//! whatever band, thread or CPU level computes it. `docs/resampling.md` has equations, sources and measurements.

mod axis;
mod filter;
#[cfg(test)]
mod laws;
mod picture;

pub use filter::Filter;
pub use picture::PictureResampler;

use crate::frame::{AxisMap, Plane};
use crate::kernels::{
    CpuLevel,
    resampling::{LANES, weighted_rows},
};
use axis::Axis;
use ndarray::ArrayView2;
use rayon::prelude::*;
use std::cell::RefCell;

/// Samples of a band of resampled rows: 512 KiB, a quarter of a usual L2 cache.
const BAND_SAMPLES: usize = 128 << 10;

/// Columns summed over at a time, so that the rows of a window stay in L1 for the output rows that share them.
const TILE: usize = 1024;

thread_local! {
    /// The band and the scratch of its rows; grows to what the largest plane needs and stays.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Resamples planes of one size to another.
#[derive(Debug)]
pub struct Resampler {
    vertical: Axis,
    horizontal: Axis,
    band: usize,
    cpu: CpuLevel,
}

impl Resampler {
    /// Weights for planes of `vertical.input x horizontal.input` samples to `vertical.output x horizontal.output`.
    ///
    /// Costs O((rows + columns) * taps) time and memory, once.
    ///
    /// # Panics
    /// If a map has no input samples.
    pub fn new(vertical: AxisMap, horizontal: AxisMap, filter: Filter, cpu: CpuLevel) -> Self {
        let (vertical, horizontal) = (Axis::new(vertical, filter), Axis::new(horizontal, filter));
        let band = band_rows(&vertical, horizontal.taps.output());
        Self { vertical, horizontal, band, cpu }
    }

    /// Rows and columns of the planes it reads.
    pub fn input_size(&self) -> (usize, usize) {
        (self.vertical.taps.input(), self.horizontal.taps.input())
    }

    /// Rows and columns of the planes it writes.
    pub fn output_size(&self) -> (usize, usize) {
        (self.vertical.taps.output(), self.horizontal.taps.output())
    }

    /// Resamples `input` into `output`; every sample of `output` is written.
    ///
    /// A constant stays constant to rounding; values may leave the range of the input (bicubic and Lanczos ring).
    /// O(samples * taps) over the threads of the current rayon pool; allocates nothing once each thread has met
    /// the size, provided `output` is in row-major order, as planes are.
    ///
    /// # Panics
    /// If a size differs from [`Self::input_size`] or [`Self::output_size`].
    pub fn resample(&self, input: ArrayView2<'_, f32>, output: &mut Plane) {
        assert_eq!(input.dim(), self.input_size(), "rows and columns of the input differ from the map's");
        assert_eq!(output.dim(), self.output_size(), "rows and columns of the output differ from the map's");
        if self.vertical.is_identity() && self.horizontal.is_identity() {
            return output.assign(&input);
        }
        if output.is_empty() {
            return;
        }
        if output.as_slice().is_none() {
            let mut ordered = Plane::zeros(output.dim());
            self.resample(input, &mut ordered);
            return output.assign(&ordered);
        }
        let samples = self.band * output.ncols();
        if let Some(cells) = output.as_slice_mut() {
            cells.par_chunks_mut(samples).enumerate().for_each(|(i, out)| {
                SCRATCH.with_borrow_mut(|scratch| self.band(input, i * self.band, out, scratch));
            });
        }
    }

    /// Output rows from `first` on, as many as `out` holds.
    fn band(&self, input: ArrayView2<'_, f32>, first: usize, out: &mut [f32], scratch: &mut Vec<f32>) {
        let (taps, width) = (&self.vertical.taps, self.horizontal.taps.output());
        let rows = first..first + out.len() / width;
        let start = rows.clone().map(|o| taps.start(o)).min().unwrap_or(0);
        let end = rows.clone().map(|o| taps.start(o) + taps.count()).max().unwrap_or(start);
        let samples = (end - start) * width;
        let extra = self.horizontal.scratch();
        if scratch.len() < samples + extra {
            scratch.resize(samples + extra, 0.0);
        }
        let (band, extra) = scratch[..samples + extra].split_at_mut(samples);
        for (i, band) in band.chunks_mut(LANES * width).enumerate() {
            self.resample_rows(input, start + i * LANES, band, extra);
        }
        for left in (0..width).step_by(TILE) {
            let right = (left + TILE).min(width);
            for (o, out) in rows.clone().zip(out.chunks_exact_mut(width)) {
                let window = &band[(taps.start(o) - start) * width + left..];
                match taps.weights(o) {
                    [1.0] => out[left..right].copy_from_slice(&window[..right - left]),
                    weights => weighted_rows(self.cpu, &mut out[left..right], window, width, weights),
                }
            }
        }
    }

    /// Input rows from `first` on, up to [`LANES`] of them, resampled along the rows.
    fn resample_rows(&self, input: ArrayView2<'_, f32>, first: usize, out: &mut [f32], scratch: &mut [f32]) {
        let count = out.len() / self.horizontal.taps.output();
        let mut rows: [&[f32]; LANES] = [&[]; LANES];
        for (i, row) in rows.iter_mut().take(count).enumerate() {
            match input.row(first + i).to_slice() {
                Some(slice) => *row = slice,
                None => {
                    // Rows with gaps between samples: copied once, off the path that planes take.
                    let copy = input.slice(ndarray::s![first..first + count, ..]).as_standard_layout().into_owned();
                    let rows: Vec<&[f32]> = copy.rows().into_iter().filter_map(|row| row.to_slice()).collect();
                    return self.horizontal.rows(&rows, out, scratch, self.cpu);
                }
            }
        }
        self.horizontal.rows(&rows[..count], out, scratch, self.cpu);
    }
}

/// Output rows of a band: as many as keep its resampled rows within [`BAND_SAMPLES`].
fn band_rows(vertical: &Axis, width: usize) -> usize {
    let taps = &vertical.taps;
    let within = (BAND_SAMPLES / width.max(1)).saturating_sub(taps.count());
    (within * taps.output() / taps.input()).clamp(8, 256)
}
