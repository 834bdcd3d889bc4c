//! What comparing frames needs of each of them, computed once for a frame and kept while it is in a window.
//!
//! Comparisons use slightly blurred luma (sigma 0.8): unblurred frames of a detailed scene differ by their aliasing,
//! which is the very signal that the reconstruction lives on.

use rayon::prelude::*;

use super::coding::blockiness;
use super::grid::mirrored;
use crate::frame::{CodingError, ColorFamily, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::kernels::observation::{squared_detail, weighted_sum};
use crate::kernels::warp::Image;

/// Mirrored samples on both sides of every row.
pub(super) const MARGIN: usize = 8;
/// Standard deviation and radius of the window that frames are compared on: of fine detail here and of differences in `confidence`.
pub(super) const WINDOW: (f32, i32) = (1.5, 3);
/// Rows of a task.
const ROWS: usize = 32;

/// A frame's luma as comparisons take it. 8 bytes a pixel.
#[derive(Debug, Clone)]
pub struct Appearance {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Blurred luma, rows with margins.
    pub(super) smooth: Vec<f32>,
    /// Local energy of what the blur took away, rows with margins of no meaning: there frames of one scene may differ by
    /// their aliasing.
    pub(super) detail: Vec<f32>,
    /// Noise as estimated from this frame alone, standard deviation on the 8-bit scale.
    pub(super) noise: f32,
    /// Expected error of coding, standard deviation on the 8-bit scale: as the decoder tells, else from visible blocks.
    pub(super) coding: f32,
}

impl Appearance {
    /// Of a frame with `planes` as in `layout`, and what its decoder told of its coding. O(pixels).
    pub fn new(planes: &[Plane], coding: Option<&CodingError>, layout: &PictureLayout, cpu: CpuLevel) -> Self {
        let (height, width) = planes[0].dim();
        let (stride, size) = (width + 2 * MARGIN, (height, width));
        let mut padded = vec![0.0; height * stride];
        let weights = layout.color.luma_weights(layout.height);
        padded.par_chunks_mut(stride).with_min_len(ROWS).enumerate().for_each(|(y, out)| {
            luma_row(planes, layout.family, weights, y, &mut out[MARGIN..MARGIN + width]);
            mirror(out, width);
        });
        let noise = spatial_noise(&padded, stride);
        let coding = coding.map_or_else(|| seen_blocks(planes, layout.family), |coding| coding.deviation);
        let (mut smooth, mut detail) = (vec![0.0; height * stride], vec![0.0; height * stride]);
        blur(cpu, &padded, &mut smooth, &gauss(0.8, 2), size);
        padded.par_chunks_mut(stride).zip(smooth.par_chunks(stride)).with_min_len(ROWS).for_each(|(sharp, smooth)| {
            squared_detail(cpu, sharp, smooth);
        });
        blur(cpu, &padded, &mut detail, &gauss(WINDOW.0, WINDOW.1), size);
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
fn seen_blocks(planes: &[Plane], family: ColorFamily) -> f32 {
    let (height, width) = planes[0].dim();
    match (family, planes[0].as_slice()) {
        (ColorFamily::YCbCr | ColorFamily::Gray, Some(luma)) => blockiness(luma, height, width),
        _ => 0.0,
    }
}

fn luma_row(planes: &[Plane], family: ColorFamily, [kr, kg, kb]: [f32; 3], y: usize, out: &mut [f32]) {
    let row = |plane: &Plane, x: usize| plane[[y, x]];
    match (family, planes[0].row(y).as_slice()) {
        (ColorFamily::Rgb, _) => {
            for (x, out) in out.iter_mut().enumerate() {
                *out = kr * row(&planes[0], x) + kg * row(&planes[1], x) + kb * row(&planes[2], x);
            }
        }
        (_, Some(luma)) => out.copy_from_slice(luma),
        (_, None) => out.iter_mut().enumerate().for_each(|(x, out)| *out = row(&planes[0], x)),
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

/// Separable blur with mirrored borders; all rows keep their margins.
pub(super) fn blur(cpu: CpuLevel, input: &[f32], out: &mut [f32], taps: &[f32], (rows, columns): (usize, usize)) {
    let (radius, stride) = (taps.len() / 2, columns + 2 * MARGIN);
    let rows_out = out.par_chunks_mut(stride).enumerate().with_min_len(ROWS);
    rows_out.for_each_init(
        || vec![0.0; stride],
        |row, (i, out)| {
            let mut lines = [0; 16];
            for (k, line) in lines[..taps.len()].iter_mut().enumerate() {
                *line = mirrored(i as isize + k as isize - radius as isize, rows) * stride;
            }
            weighted_sum(cpu, row, input, &lines[..taps.len()], taps, false);
            for (k, line) in lines[..taps.len()].iter_mut().enumerate() {
                *line = MARGIN - radius + k;
            }
            weighted_sum(cpu, &mut out[MARGIN..MARGIN + columns], row, &lines[..taps.len()], taps, false);
            mirror(out, columns);
        },
    );
}

/// Median of magnitudes, to 1/32, from a histogram.
pub(super) fn median(values: impl Iterator<Item = f32>) -> Option<f32> {
    let mut counts = [0u32; 2048];
    let mut total = 0u32;
    for value in values {
        counts[((value * 32.0) as usize).min(2047)] += 1;
        total += 1;
    }
    let mut below = 0;
    let bin = counts.iter().position(|count| {
        below += count;
        2 * below >= total
    });
    (total > 0).then_some((bin? as f32 + 0.5) / 32.0)
}

/// Noise from one frame: median response of the mask [1 -2 1; -2 4 -2; 1 -2 1] (Immerkaer 1996,
/// doi:10.1006/cviu.1996.0060) on every fourth row of a plane with margins.
fn spatial_noise(plane: &[f32], stride: usize) -> f32 {
    let rows = plane.len() / stride;
    let second = |i: usize, j: usize| {
        let at = i * stride + j;
        plane[at - 1] - 2.0 * plane[at] + plane[at + 1]
    };
    let response = |i: usize, j: usize| (second(i - 1, j) - 2.0 * second(i, j) + second(i + 1, j)).abs();
    let columns = MARGIN + 1..(stride - MARGIN - 1).max(MARGIN + 1);
    let sites = (1..rows.saturating_sub(1)).step_by(4).flat_map(|i| columns.clone().map(move |j| (i, j)));
    median(sites.map(|(i, j)| response(i, j))).map_or(0.0, |m| 1.4826 * m / 6.0)
}
