//! Between a video's planes and what networks take and make: R, G and B, or luma alone, 0 to 1, at full resolution.
//!
//! Chroma is brought to the pixels of luma and back with its site, colours are converted by the tagged matrix and range. A
//! network for luma gets studio luma divided by 255, as in the papers, and all else is interpolated (bicubic). Values outside
//! 0 to 1 are passed on both ways: super-whites are not lost here.

use ndarray::{Array3, ArrayViewMut2, Axis, Zip};
use rayon::prelude::*;

use crate::color::{Coding, rgb_to_ycbcr, span, ycbcr_to_rgb};
use crate::frame::{AxisMap, ColorFamily, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::refine::Input;
use crate::resample::{Filter, PictureResampler, Resampler};

/// Code value of white in what networks take.
const WHITE: f32 = 255.0;
/// Samples of R, G and B as networks take them, before the division by [`WHITE`].
const NETWORK_RGB: Coding = Coding { full: true, depth: 8 };
/// Luma as networks take it, before that division.
const NETWORK_LUMA: Coding = Coding { full: false, depth: 8 };

/// The way of pictures laid out as `from` into a network and of its results into pictures laid out as `to`.
#[derive(Debug)]
pub(super) struct NetworkPicture {
    from: PictureLayout,
    input: Input,
    /// Rows and columns that the network takes.
    taken: (usize, usize),
    weights: [f32; 3],
    /// Each plane of `from` at the size that is taken; alpha is not.
    enter: Vec<Resampler>,
    /// The network's planes at the sizes of `to`.
    leave: Vec<Resampler>,
    /// Planes that do not go through the network, from their size in `from` to that in `to`.
    past: PictureResampler,
    /// Planes on the way.
    between: Vec<Plane>,
}

impl NetworkPicture {
    /// For a network that takes `input` and makes pictures `scale` times as large. Default matrices are those of pictures of
    /// `source` rows.
    pub(super) fn new(
        from: &PictureLayout,
        to: &PictureLayout,
        (input, scale): (Input, usize),
        source: usize,
        cpu: CpuLevel,
    ) -> Self {
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
        Self {
            enter: (0..colours).map(enter).collect(),
            leave: (0..colours).map(leave).collect(),
            past: PictureResampler::new(from, to, Filter::Bicubic, cpu),
            weights: from.color.luma_weights(source),
            between: Vec::new(),
            from: from.clone(),
            input,
            taken,
        }
    }

    /// Rows and columns that the network takes.
    pub(super) fn taken(&self) -> (usize, usize) {
        self.taken
    }

    fn coding(&self) -> Coding {
        Coding { full: self.from.color.is_full(self.from.family), depth: self.from.depth }
    }

    /// Writes a picture as the network takes it into `input`, `channels x rows x columns`.
    pub(super) fn enter(&mut self, planes: &[Plane], input: &mut Array3<f32>) {
        let luma = self.input != Input::Rgb;
        let used = if luma && self.from.family != ColorFamily::Rgb { 1 } else { self.enter.len() };
        let coding = self.coding();
        let mut pixels = self.take_between(used, self.taken);
        for ((resampler, plane), out) in self.enter.iter().zip(planes).zip(&mut pixels) {
            resampler.resample(plane.view(), out);
        }
        match (self.from.family, &mut pixels[..]) {
            (ColorFamily::YCbCr, [y, cb, cr]) => {
                ycbcr_to_rgb([y, cb, cr].map(|p| p.view_mut()), self.weights, coding, NETWORK_RGB)
            }
            (ColorFamily::Rgb, [r, g, b]) if luma => {
                rgb_to_ycbcr([r, g, b].map(|p| p.view_mut()), self.weights, coding, NETWORK_LUMA)
            }
            (family, planes) => {
                let wanted = if family == ColorFamily::Rgb || !luma { NETWORK_RGB } else { NETWORK_LUMA };
                planes.iter_mut().for_each(|plane| recode(plane, coding, wanted));
            }
        }
        for (mut out, n) in input.outer_iter_mut().zip(0..) {
            // Grey is R, G and B alike.
            Zip::from(&mut out).and(&pixels[n.min(pixels.len() - 1)]).par_for_each(|out, value| *out = value / WHITE);
        }
        self.between = pixels;
    }

    /// Writes the network's result into `out`, laid out as `to`; `planes` is the picture that went in.
    pub(super) fn leave(&mut self, made: &mut Array3<f32>, planes: &[Plane], out: &mut [Plane]) {
        made.par_mapv_inplace(|value| WHITE * value);
        if self.input == Input::Rgb {
            self.leave_rgb(made, out)
        } else {
            self.leave_luma(made, planes, out)
        }
        if let (true, Some(alpha), Some(out)) = (self.from.alpha, planes.last(), out.last_mut()) {
            self.past.resample_plane(self.from.plane_count() - 1, alpha, out);
        }
    }

    fn leave_rgb(&mut self, made: &mut Array3<f32>, out: &mut [Plane]) {
        let coding = self.coding();
        let mut planes = made.axis_iter_mut(Axis(0));
        let (Some(r), Some(g), Some(b)) = (planes.next(), planes.next(), planes.next()) else { return };
        match self.from.family {
            ColorFamily::Rgb => {
                [r, g, b].into_iter().for_each(|mut plane| recode_view(&mut plane, NETWORK_RGB, coding))
            }
            ColorFamily::YCbCr | ColorFamily::Gray => rgb_to_ycbcr([r, g, b], self.weights, NETWORK_RGB, coding),
        }
        let made = &*made;
        self.leave.par_iter().zip(out).enumerate().for_each(|(n, (resampler, out))| {
            resampler.resample(made.index_axis(Axis(0), n), out);
        });
    }

    fn leave_luma(&mut self, made: &mut Array3<f32>, planes: &[Plane], out: &mut [Plane]) {
        let coding = self.coding();
        if self.from.family != ColorFamily::Rgb {
            recode_view(&mut made.index_axis_mut(Axis(0), 0), NETWORK_LUMA, coding);
            self.leave[0].resample(made.index_axis(Axis(0), 0), &mut out[0]);
            for plane in 1..self.leave.len() {
                self.past.resample_plane(plane, &planes[plane], &mut out[plane]);
            }
            return;
        }
        // Colours are interpolated as they are; then their luma becomes the network's.
        for plane in 0..3 {
            self.past.resample_plane(plane, &planes[plane], &mut out[plane]);
        }
        let mut luma = self.take_between(1, out[0].dim());
        self.leave[0].resample(made.index_axis(Axis(0), 0), &mut luma[0]);
        if let [r, g, b, ..] = out {
            rgb_to_ycbcr([r.view_mut(), g.view_mut(), b.view_mut()], self.weights, coding, NETWORK_LUMA);
            r.assign(&luma[0]);
            ycbcr_to_rgb([r.view_mut(), g.view_mut(), b.view_mut()], self.weights, NETWORK_LUMA, coding);
        }
        self.between = luma;
    }

    /// So many planes of a size, used ones if there are.
    fn take_between(&mut self, count: usize, size: (usize, usize)) -> Vec<Plane> {
        let mut planes = std::mem::take(&mut self.between);
        planes.retain(|plane| plane.dim() == size);
        planes.resize_with(count, || Plane::zeros(size));
        planes
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

fn recode(plane: &mut Plane, from: Coding, to: Coding) {
    recode_view(&mut plane.view_mut(), from, to);
}

/// Luma, or R, G or B, of one range and depth as another.
fn recode_view(plane: &mut ArrayViewMut2<'_, f32>, from: Coding, to: Coding) {
    let (black, white, _) = span(from.full, from.depth);
    let (foot, luma, _) = span(to.full, to.depth);
    let factor = luma / white;
    plane.par_mapv_inplace(|value| foot + factor * (value - black));
}
