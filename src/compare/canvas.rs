//! Frames of different layouts on one picture: brought to its colour family, placed side by side, in strips, or as
//! differences.

use ndarray::s;

use super::measure_planes::Lens;
use crate::color::{Coding, Levels, rgb_to_ycbcr};
use crate::frame::{AxisMap, ColorFamily, Frame, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::resample::{Filter, Resampler};

/// Levels of R'G'B' between conversions.
const DISPLAY: Levels = Levels { black: 0.0, white: 255.0, gray: 128.0, chroma: 255.0 };

/// Where samples of a layout lie.
pub(super) fn levels(layout: &PictureLayout) -> Levels {
    Coding { full: layout.color.is_full(layout.family), depth: layout.depth }.into()
}

/// Brings frames of one layout to another of the same size; alpha is dropped.
pub(super) struct Fitter {
    way: Way,
    planes: usize,
}

enum Way {
    Same,
    ThroughRgb(Box<Detour>),
}

struct Detour {
    lens: Lens,
    to: PictureLayout,
    chroma: Option<Resampler>,
}

impl Fitter {
    /// From `from` to `to`, which has no alpha.
    pub(super) fn new(from: &PictureLayout, to: &PictureLayout) -> Self {
        let cpu = CpuLevel::detect();
        let weights = |layout: &PictureLayout| layout.color.luma_weights(layout.height);
        let alike = from.family == to.family
            && from.chroma_log2 == to.chroma_log2
            && levels(from) == levels(to)
            && weights(from) == weights(to);
        let subsampled = to.family == ColorFamily::YCbCr && to.chroma_log2 != (0, 0);
        let way = if alike {
            Way::Same
        } else {
            let chroma = subsampled.then(|| chroma_reduction(to, cpu));
            let lens = Lens::new(from, weights(from), cpu);
            Way::ThroughRgb(Box::new(Detour { lens, to: to.clone(), chroma }))
        };
        Self { way, planes: to.plane_count() }
    }

    /// The planes of a frame in the other layout.
    pub(super) fn fit(&self, frame: Frame) -> Vec<Plane> {
        match &self.way {
            Way::Same => frame.planes.into_iter().take(self.planes).collect(),
            Way::ThroughRgb(by) => converted(by.lens.rgb(&frame), &by.to, by.chroma.as_ref()),
        }
    }
}

/// From chroma of luma's size to chroma where the layout has it.
fn chroma_reduction(to: &PictureLayout, cpu: CpuLevel) -> Resampler {
    let (rows, columns) = to.plane_size(1);
    let map = |input, output, log2: u8, site: f64| {
        let spacing = f64::from(1u32 << log2);
        let site = if log2 == 0 { 0.0 } else { site };
        AxisMap { input, output, scale: 1.0 / spacing, origin: -site / spacing }
    };
    let vertical = map(to.height, rows, to.chroma_log2.1, to.chroma_site.y);
    let horizontal = map(to.width, columns, to.chroma_log2.0, to.chroma_site.x);
    Resampler::new(vertical, horizontal, Filter::Bicubic, cpu)
}

/// R'G'B' (or grey) from 0 to 255 as planes of `to`.
fn converted(mut rgb: Vec<Plane>, to: &PictureLayout, chroma: Option<&Resampler>) -> Vec<Plane> {
    if rgb.len() == 1 {
        rgb = vec![rgb[0].clone(), rgb[0].clone(), rgb.remove(0)];
    }
    let target = levels(to);
    if to.family == ColorFamily::Rgb {
        let gain = target.white / DISPLAY.white;
        rgb.iter_mut().for_each(|plane| plane.mapv_inplace(|v| target.black + gain * v));
        return rgb;
    }
    if let [r, g, b] = &mut rgb[..] {
        let weights = to.color.luma_weights(to.height);
        rgb_to_ycbcr([r.view_mut(), g.view_mut(), b.view_mut()], weights, DISPLAY, target);
    }
    for (index, plane) in rgb.iter_mut().enumerate().skip(1) {
        if let Some(resampler) = chroma {
            let mut small = Plane::zeros(to.plane_size(index));
            resampler.resample(plane.view(), &mut small);
            *plane = small;
        }
    }
    rgb.truncate(to.plane_count());
    rgb
}

/// A black picture.
pub(super) fn black(layout: &PictureLayout) -> Vec<Plane> {
    let levels = levels(layout);
    let plane = |index: usize| {
        let chroma = layout.family == ColorFamily::YCbCr && index > 0;
        Plane::from_elem(layout.plane_size(index), if chroma { levels.gray } else { levels.black })
    };
    (0..layout.plane_count()).map(plane).collect()
}

/// Copies columns `from..to` (of luma) of a picture of the same layout or smaller to the same place of `canvas`.
pub(super) fn strip(canvas: &mut [Plane], layout: &PictureLayout, picture: &[Plane], (from, to): (usize, usize)) {
    for (index, (out, plane)) in canvas.iter_mut().zip(picture).enumerate() {
        let log2 = layout.plane_log2(index).0;
        let (from, to) = ((from >> log2).min(plane.ncols()), to.div_ceil(1 << log2).min(plane.ncols()));
        let rows = plane.nrows().min(out.nrows());
        out.slice_mut(s![..rows, from..to]).assign(&plane.slice(s![..rows, from..to]));
    }
}

/// Puts a picture onto `canvas` with its top left at (column, row), which chroma divides.
pub(super) fn place(canvas: &mut [Plane], layout: &PictureLayout, picture: &[Plane], (left, top): (usize, usize)) {
    for (index, (out, plane)) in canvas.iter_mut().zip(picture).enumerate() {
        let (log2_x, log2_y) = layout.plane_log2(index);
        let (left, top) = (left >> log2_x, top >> log2_y);
        let (rows, columns) = (plane.nrows().min(out.nrows() - top), plane.ncols().min(out.ncols() - left));
        out.slice_mut(s![top..top + rows, left..left + columns]).assign(&plane.slice(s![..rows, ..columns]));
    }
}

/// `gain` times what a picture differs from `base`, about mid grey.
pub(super) fn difference(picture: &mut [Plane], base: &[Plane], layout: &PictureLayout, gain: f32) {
    let levels = levels(layout);
    for (index, (plane, base)) in picture.iter_mut().zip(base).enumerate() {
        let chroma = layout.family == ColorFamily::YCbCr && index > 0;
        let middle = if chroma { levels.gray } else { levels.black + 0.5 * levels.white };
        plane.zip_mut_with(base, |value, base| *value = middle + gain * (*value - base));
    }
}
