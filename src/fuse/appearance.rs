//! What comparing frames needs of each of them, computed once for a frame and kept while it is in a window.
//!
//! Comparisons use slightly blurred luma (sigma 0.8): unblurred frames of a detailed scene differ by their aliasing,
//! which is the very signal that the reconstruction lives on.

use std::borrow::Cow;

use rayon::prelude::*;

use super::coding::blockiness;
use super::grid::mirrored;
use crate::cores::Pieces;
use crate::frame::{CodingError, ColorFamily, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::kernels::comparing::{magnitude_steps, mask_response, squared_detail};
use crate::kernels::filters::weighted_sum;
use crate::kernels::warp::Image;

/// Mirrored samples on both sides of every row.
pub(super) const MARGIN: usize = 8;
/// Standard deviation and radius of the window that frames are compared on: of fine detail here and of differences in `confidence`.
pub(super) const WINDOW: (f32, i32) = (1.5, 3);
/// Rows of a task.
const ROWS: usize = 32;
/// Rows of squares that are kept at a time: at least as many as a window is high.
const RING: usize = 2 * WINDOW.1 as usize + 2;

/// A frame's luma as comparisons take it. 8 bytes a pixel.
#[derive(Debug, Clone)]
pub struct Appearance {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Blurred luma, rows with margins.
    pub(super) smooth: Vec<f32>,
    /// Local energy of what the blur took away: there frames of one scene may differ by their aliasing.
    pub(super) detail: Vec<f32>,
    /// Noise as estimated from this frame alone, standard deviation on the 8-bit scale.
    pub(super) noise: f32,
    /// Expected error of coding, standard deviation on the 8-bit scale: as the decoder tells, else from visible blocks.
    pub(super) coding: f32,
}

impl Appearance {
    /// Of a frame with `planes` as in `layout`, and what its decoder told of its coding. O(pixels).
    pub fn new(planes: &[Plane], coding: Option<&CodingError>, layout: &PictureLayout, cpu: CpuLevel) -> Self {
        let size @ (height, width) = planes[0].dim();
        let luma = layout.luma(planes);
        let luma = luma.as_slice().map_or_else(|| luma.iter().copied().collect(), Cow::Borrowed);
        let noise = spatial_noise(cpu, &luma, width);
        let coding = coding.map_or_else(|| seen_blocks(&luma, layout.family, size), |coding| coding.deviation);
        let smooth = smoothed(cpu, &luma, &gauss(0.8, 2), size);
        let detail = energy(cpu, &luma, &smooth, size);
        Self { height, width, smooth, detail, noise, coding }
    }

    /// Floats of a row.
    pub(super) fn stride(&self) -> usize {
        self.width + 2 * MARGIN
    }

    /// The blurred luma, to be read at sub-pixel positions.
    pub(super) fn image(&self) -> Image<'_> {
        Image { data: &self.smooth, height: self.height, width: self.width, margin: MARGIN }
    }
}

/// Error of coding by the blocks that can be seen; codecs with such blocks code luma, not R, G and B.
fn seen_blocks(luma: &[f32], family: ColorFamily, (height, width): (usize, usize)) -> f32 {
    match family {
        ColorFamily::YCbCr | ColorFamily::Gray => blockiness(luma, height, width),
        ColorFamily::Rgb => 0.0,
    }
}

/// Weights of a Gaussian at -radius..=radius.
pub(super) fn gauss(sigma: f32, radius: i32) -> Vec<f32> {
    let raw: Vec<f32> = (-radius..=radius).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let total: f32 = raw.iter().sum();
    raw.iter().map(|w| w / total).collect()
}

/// Mirrors the ends of a row with margins.
pub(super) fn mirror(row: &mut [f32], columns: usize) {
    for k in 1..=MARGIN {
        row[MARGIN - k] = row[MARGIN + mirrored(-(k as isize), columns)];
        row[MARGIN + columns + k - 1] = row[MARGIN + mirrored((columns + k - 1) as isize, columns)];
    }
}

/// Separable blur of `luma` (without margins) with mirrored borders; the rows of the result have margins.
fn smoothed(cpu: CpuLevel, luma: &[f32], taps: &[f32], (rows, columns): (usize, usize)) -> Vec<f32> {
    let stride = columns + 2 * MARGIN;
    let mut out = vec![0.0; rows * stride];
    out.par_chunks_mut(stride).enumerate().with_min_len(ROWS).rows_on_free_cores().for_each_init(
        || vec![0.0; stride],
        |row, (i, out)| {
            let start = |y| mirrored(y, rows) * columns;
            along_columns(cpu, &mut row[MARGIN..MARGIN + columns], luma, taps, i, start);
            mirror(row, columns);
            along_row(cpu, &mut out[MARGIN..MARGIN + columns], row, taps);
            mirror(out, columns);
        },
    );
    out
}

/// The squares of what `smooth` lacks of `luma`, blurred.
fn energy(cpu: CpuLevel, luma: &[f32], smooth: &[f32], size @ (rows, columns): (usize, usize)) -> Vec<f32> {
    let stride = columns + 2 * MARGIN;
    let mut out = vec![0.0; rows * columns];
    let square = |(): &mut (), y: usize, squares: &mut [f32]| {
        squares.copy_from_slice(&luma[y * columns..][..columns]);
        squared_detail(cpu, squares, &smooth[y * stride + MARGIN..][..columns]);
    };
    over_windows(cpu, &mut out, size, square, |(), _, _| ());
    out
}

/// Fills `out` with the rows of squares that `square` writes, blurred over [`WINDOW`] with mirrored borders; `finish` gets each row
/// of the result. Both get the number of the row, and scratch.
///
/// The squares live in a ring of rows: what they are blurred from never leaves the cache.
pub(super) fn over_windows<S: Default>(
    cpu: CpuLevel,
    out: &mut [f32],
    (rows, columns): (usize, usize),
    square: impl Fn(&mut S, usize, &mut [f32]) + Sync,
    finish: impl Fn(&mut S, usize, &mut [f32]) + Sync,
) {
    let (taps, radius) = (gauss(WINDOW.0, WINDOW.1), WINDOW.1 as usize);
    let scratch = || (vec![0.0; RING * columns], vec![0.0; columns + 2 * MARGIN], S::default());
    let bands = out.par_chunks_mut(ROWS * columns).enumerate().on_free_cores();
    bands.for_each_init(scratch, |(ring, row, scratch), (band, out)| {
        let mut ready = (band * ROWS).saturating_sub(radius);
        for (i, out) in (band * ROWS..).zip(out.chunks_exact_mut(columns)) {
            let needed = (i + radius + 1).min(rows);
            for y in ready..needed {
                square(scratch, y, &mut ring[y % RING * columns..][..columns]);
            }
            ready = needed;
            let start = |y| mirrored(y, rows) % RING * columns;
            along_columns(cpu, &mut row[MARGIN..MARGIN + columns], ring, &taps, i, start);
            mirror(row, columns);
            along_row(cpu, out, row, &taps);
            finish(scratch, i, out);
        }
    });
}

/// Sum of the rows around row `y`, each times its tap; `start` says where a row begins in `data`.
fn along_columns(cpu: CpuLevel, out: &mut [f32], data: &[f32], taps: &[f32], y: usize, start: impl Fn(isize) -> usize) {
    let mut lines = [0; 16];
    let first = y as isize - (taps.len() / 2) as isize;
    for (line, y) in lines.iter_mut().zip(first..first + taps.len() as isize) {
        *line = start(y);
    }
    weighted_sum(cpu, out, data, &lines[..taps.len()], taps, false);
}

/// What a row with margins is between them, blurred.
fn along_row(cpu: CpuLevel, out: &mut [f32], row: &[f32], taps: &[f32]) {
    let mut places = [0; 16];
    for (place, at) in places[..taps.len()].iter_mut().zip(MARGIN - taps.len() / 2..) {
        *place = at;
    }
    weighted_sum(cpu, out, row, &places[..taps.len()], taps, false);
}

/// Steps of 1/32 that magnitudes are counted in; the last one has all larger ones.
const STEPS: usize = 2048;
/// What is at least as large is of no pixel that is seen, and is not counted.
pub(super) const LARGEST: f32 = 1e4;

/// Magnitudes, counted. Those of neighbours are alike, and a count waits for the one before if it is the same: there are four of
/// each step, and one of what is not counted.
pub(super) struct Magnitudes([[u32; STEPS + 1]; 4]);

impl Magnitudes {
    pub(super) fn new() -> Self {
        Self([[0; STEPS + 1]; 4])
    }

    /// Counts the magnitudes of some more values.
    pub(super) fn add(&mut self, cpu: CpuLevel, values: &[f32]) {
        let mut steps = [0; 256];
        for values in values.chunks(steps.len()) {
            let steps = &mut steps[..values.len()];
            magnitude_steps(cpu, steps, values, 32.0, STEPS as u16 - 1, LARGEST);
            let (whole, rest) = steps.as_chunks::<4>();
            for four in whole {
                self.0.iter_mut().zip(four).for_each(|(counts, step)| counts[*step as usize] += 1);
            }
            rest.iter().for_each(|step| self.0[0][*step as usize] += 1);
        }
    }

    /// These and `others`.
    pub(super) fn and(mut self: Box<Self>, others: Box<Self>) -> Box<Self> {
        self.0.as_flattened_mut().iter_mut().zip(others.0.as_flattened()).for_each(|(count, other)| *count += other);
        self
    }

    /// The middle one; `None` if there are none.
    pub(super) fn median(&self) -> Option<f32> {
        let count = |step: usize| self.0.iter().map(|counts| counts[step]).sum::<u32>();
        let total: u32 = (0..STEPS).map(count).sum();
        let mut below = 0;
        let step = (0..STEPS).find(|step| {
            below += count(*step);
            2 * below >= total
        });
        (total > 0).then_some((step? as f32 + 0.5) / 32.0)
    }
}

/// Noise from one frame: median response of the mask [1 -2 1; -2 4 -2; 1 -2 1] (Immerkaer 1996,
/// doi:10.1006/cviu.1996.0060) on every fourth row of a plane of so many columns.
fn spatial_noise(cpu: CpuLevel, plane: &[f32], columns: usize) -> f32 {
    let rows = if columns > 2 { plane.len() / columns } else { 0 };
    let mut responses = vec![0.0; columns.saturating_sub(2)];
    let mut magnitudes = Magnitudes::new();
    for above in (0..rows.saturating_sub(2)).step_by(4) {
        mask_response(cpu, &mut responses, &plane[above * columns..][..3 * columns]);
        magnitudes.add(cpu, &responses);
    }
    magnitudes.median().map_or(0.0, |m| 1.4826 * m / 6.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_magnitude_is_that_of_sorting() {
        let cpu = CpuLevel::detect();
        for length in [1, 2, 15, 300, 1001] {
            let mut values: Vec<f32> = (0..length).map(|i| (i as f32 * 0.618).fract() * 200.0 - 100.0).collect();
            // Some of no pixel, one that is beyond the last step, one that is no number.
            values.iter_mut().step_by(7).skip(1).for_each(|value| *value = -1e6);
            values.extend([5000.0, f32::NAN]);
            let mut steps: Vec<usize> =
                values.iter().map(|v| v.abs()).filter(|v| *v < LARGEST).map(|v| (32.0 * v) as usize).collect();
            steps.sort_unstable();
            let middle = steps[(steps.len() - 1) / 2].min(STEPS - 1);
            let (first, second) = values.split_at(length / 3);
            let counted = |values: &[f32]| {
                let mut magnitudes = Box::new(Magnitudes::new());
                magnitudes.add(cpu, values);
                magnitudes
            };
            let found = counted(first).and(counted(second)).median();
            assert_eq!(found, Some((middle as f32 + 0.5) / 32.0), "{length} values");
        }
        assert_eq!(Magnitudes::new().median(), None);
    }
}
