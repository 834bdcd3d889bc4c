//! Between a video's planes and what networks take and make: R, G and B, or luma alone, 0 to 1, at full resolution.
//!
//! Chroma is brought to the pixels of luma and back with its site, colours are converted by the tagged matrix and range. A
//! network for luma gets studio luma divided by 255, as in the papers, and all else is interpolated (bicubic). Values outside
//! 0 to 1 are passed on both ways: super-whites are not lost here.

use ndarray::{Array3, ArrayViewMut2, Axis};
use rayon::prelude::*;

use crate::color::{Coding, Levels, rgb_to_ycbcr, ycbcr_to_rgb};
use crate::frame::{AxisMap, ColorFamily, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::refine::Input;
use crate::resample::{Filter, PictureResampler, Resampler};

/// What is the same on both ways.
#[derive(Debug, Clone)]
struct Way {
    family: ColorFamily,
    /// Of the video's samples.
    levels: Levels,
    input: Input,
    weights: [f32; 3],
}

/// From planes into a network.
#[derive(Debug)]
pub(super) struct Entrance {
    way: Way,
    /// Rows and columns that the network takes.
    taken: (usize, usize),
    /// Each plane at that size; alpha is not.
    planes: Vec<Resampler>,
    /// Planes on the way.
    between: Vec<Plane>,
}

/// From a network to planes.
#[derive(Debug)]
pub(super) struct Exit {
    way: Way,
    alpha: bool,
    /// The network's planes at the sizes of the output.
    planes: Vec<Resampler>,
    /// Planes that do not go through the network, from their size before it to that of the output.
    past: PictureResampler,
}

/// The ways of pictures laid out as `from` into a network, which takes `input` and makes pictures `scale` times as large, and from
/// it to pictures laid out as `to`. Matrices that are not told are those of videos of `rows` rows.
pub(super) fn ways(
    from: &PictureLayout,
    to: &PictureLayout,
    (input, scale): (Input, usize),
    rows: usize,
    cpu: CpuLevel,
) -> (Entrance, Exit) {
    let taken = if input == Input::EnlargedLuma { (to.height, to.width) } else { (from.height, from.width) };
    let made = (taken.0 * scale, taken.1 * scale);
    let enter = |plane| {
        let (down, across) = onto_pixels(from, plane, taken);
        Resampler::new(down, across, Filter::Bicubic, cpu)
    };
    let leave = |plane| {
        let (down, across) = onto_pixels(to, plane, made);
        Resampler::new(inverse(down), inverse(across), Filter::Bicubic, cpu)
    };
    let colours = from.plane_count() - usize::from(from.alpha);
    let coding = Coding { full: from.color.is_full(from.family), depth: from.depth };
    let weights = from.color.luma_weights(rows);
    let way = Way { family: from.family, levels: coding.into(), input, weights };
    // A network for luma takes no chroma, but needs R, G and B to find luma.
    let used = if input != Input::Rgb && from.family != ColorFamily::Rgb { 1 } else { colours };
    let entrance = Entrance { way: way.clone(), taken, planes: (0..used).map(enter).collect(), between: Vec::new() };
    let past = PictureResampler::new(from, to, Filter::Bicubic, cpu);
    (entrance, Exit { way, alpha: from.alpha, planes: (0..colours).map(leave).collect(), past })
}

/// Studio luma as networks take it.
fn network_luma() -> Levels {
    Levels::from(Coding { full: false, depth: 8 }).scaled(1.0 / 255.0)
}

impl Entrance {
    /// Rows and columns that the network takes.
    pub(super) fn taken(&self) -> (usize, usize) {
        self.taken
    }

    /// Writes a picture as the network takes it into `input`, `channels x rows x columns`.
    pub(super) fn enter(&mut self, planes: &[Plane], input: &mut Array3<f32>) {
        let Self { way, taken, planes: resamplers, between } = self;
        between.resize_with(resamplers.len(), || Plane::zeros(*taken));
        resamplers.par_iter().zip(planes).zip(&mut *between).for_each(|((resampler, plane), out)| {
            resampler.resample(plane.view(), out);
        });
        let luma = way.input != Input::Rgb;
        match (way.family, &mut between[..]) {
            (ColorFamily::YCbCr, [y, cb, cr]) => {
                ycbcr_to_rgb([y, cb, cr].map(|p| p.view_mut()), way.weights, way.levels, Levels::UNIT);
            }
            (ColorFamily::Rgb, [r, g, b]) if luma => {
                rgb_to_ycbcr([r, g, b].map(|p| p.view_mut()), way.weights, way.levels, network_luma());
            }
            (_, planes) => {
                let wanted = if luma { network_luma() } else { Levels::UNIT };
                planes.iter_mut().for_each(|plane| recode(plane.view_mut(), way.levels, wanted));
            }
        }
        for (n, mut out) in input.outer_iter_mut().enumerate() {
            // Grey is R, G and B alike.
            out.assign(&between[n.min(between.len() - 1)]);
        }
    }
}

impl Exit {
    /// Writes the network's result, which is used up, into `out`; `planes` is the picture that went in.
    pub(super) fn leave(&self, made: &mut Array3<f32>, planes: &[Plane], out: &mut [Plane]) {
        if self.way.input == Input::Rgb {
            self.leave_rgb(made, out)
        } else {
            self.leave_luma(made, planes, out)
        }
        if let (true, Some(alpha), Some(out)) = (self.alpha, planes.last(), out.last_mut()) {
            self.past.resample_plane(planes.len() - 1, alpha, out);
        }
    }

    fn leave_rgb(&self, made: &mut Array3<f32>, out: &mut [Plane]) {
        let Way { family, levels, weights, .. } = self.way;
        let mut planes = made.axis_iter_mut(Axis(0));
        let (Some(r), Some(g), Some(b)) = (planes.next(), planes.next(), planes.next()) else { return };
        match family {
            ColorFamily::Rgb => [r, g, b].into_iter().for_each(|plane| recode(plane, Levels::UNIT, levels)),
            ColorFamily::YCbCr | ColorFamily::Gray => rgb_to_ycbcr([r, g, b], weights, Levels::UNIT, levels),
        }
        let made = &*made;
        self.planes.par_iter().zip(out).enumerate().for_each(|(n, (resampler, out))| {
            resampler.resample(made.index_axis(Axis(0), n), out);
        });
    }

    fn leave_luma(&self, made: &mut Array3<f32>, planes: &[Plane], out: &mut [Plane]) {
        let Way { family, levels, weights, .. } = self.way;
        let own = if family == ColorFamily::Rgb { 0 } else { 1 };
        for plane in own..self.planes.len() {
            self.past.resample_plane(plane, &planes[plane], &mut out[plane]);
        }
        if own == 1 {
            recode(made.index_axis_mut(Axis(0), 0), network_luma(), levels);
            return self.planes[0].resample(made.index_axis(Axis(0), 0), &mut out[0]);
        }
        // Colours are interpolated as they are; then their luma becomes the network's.
        let mut luma = Plane::zeros(out[0].dim());
        self.planes[0].resample(made.index_axis(Axis(0), 0), &mut luma);
        if let [r, g, b, ..] = out {
            rgb_to_ycbcr([r.view_mut(), g.view_mut(), b.view_mut()], weights, levels, network_luma());
            r.assign(&luma);
            ycbcr_to_rgb([r.view_mut(), g.view_mut(), b.view_mut()], weights, network_luma(), levels);
        }
    }
}

/// How samples of plane `index` of `layout` lie on a grid of `rows x columns` pixels that shows the same picture.
fn onto_pixels(layout: &PictureLayout, index: usize, (rows, columns): (usize, usize)) -> (AxisMap, AxisMap) {
    let (log2_x, log2_y) = layout.plane_log2(index);
    let (rows_in, columns_in) = layout.plane_size(index);
    let map = |input, output: usize, luma: usize, log2: u8, site: f64| {
        let (scale, spacing) = (output as f64 / luma as f64, f64::from(1u32 << log2));
        let site = if log2 == 0 { 0.0 } else { site };
        // A sample i is at spacing*i + site on the luma grid; luma goes to scale*(p + 1/2) - 1/2.
        AxisMap { input, output, scale: scale * spacing, origin: scale * (site + 0.5) - 0.5 }
    };
    (
        map(rows_in, rows, layout.height, log2_y, layout.chroma_site.y),
        map(columns_in, columns, layout.width, log2_x, layout.chroma_site.x),
    )
}

/// The way back.
fn inverse(map: AxisMap) -> AxisMap {
    AxisMap { input: map.output, output: map.input, scale: 1.0 / map.scale, origin: -map.origin / map.scale }
}

/// Luma, or R, G or B, at other levels.
fn recode(mut plane: ArrayViewMut2<'_, f32>, from: Levels, to: Levels) {
    let factor = to.white / from.white;
    plane.par_mapv_inplace(|value| to.black + factor * (value - from.black));
}
