//! The planes that metrics compare: luma in studio range and R'G'B', whatever the files hold.

use crate::color::{Coding, ColorDescription, Levels, studio_luma, ycbcr_to_rgb};
use crate::frame::{AxisMap, ColorFamily, Frame, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::resample::{Filter, Resampler};
use ndarray::Zip;

/// R'G'B' as they are compared: black 0, white 255.
const DISPLAY: Levels = Levels { black: 0.0, white: 255.0, gray: 128.0, chroma: 255.0 };

/// Weights of R, G and B in the luma that pictures of these layouts are compared by: those of the first one whose
/// file tells its matrix, else those of the first one's size.
pub(super) fn common_weights(layouts: &[&PictureLayout]) -> [f32; 3] {
    let told = layouts.iter().find_map(|layout| told_weights(&layout.color));
    told.or_else(|| layouts.first().map(|l| l.color.luma_weights(l.height))).unwrap_or([0.299, 0.587, 0.114])
}

/// The weights that the file itself tells.
fn told_weights(color: &ColorDescription) -> Option<[f32; 3]> {
    matches!(color.matrix, 1 | 4..=7 | 9 | 10).then(|| color.luma_weights(0))
}

/// Turns frames of one layout into the planes that are compared.
#[derive(Debug)]
pub(super) struct Lens {
    layout: PictureLayout,
    /// Of the luma that is compared, and of the file's own.
    weights: [f32; 3],
    own: [f32; 3],
    /// To chroma at full resolution; only where it is not.
    chroma: Option<Resampler>,
}

impl Lens {
    /// For frames of `layout`, whose luma is to have `weights`.
    pub(super) fn new(layout: &PictureLayout, weights: [f32; 3], cpu: CpuLevel) -> Self {
        let subsampled = layout.family == ColorFamily::YCbCr && layout.chroma_log2 != (0, 0);
        Self {
            layout: layout.clone(),
            weights,
            own: told_weights(&layout.color).unwrap_or(weights),
            chroma: subsampled.then(|| to_luma_grid(layout, cpu)),
        }
    }

    fn coding(&self) -> Coding {
        Coding { full: self.layout.color.is_full(self.layout.family), depth: self.layout.depth }
    }

    /// Luma in studio range on the 8-bit scale: 16 to 235.
    pub(super) fn luma(&self, frame: &Frame) -> Plane {
        let planes = &frame.planes;
        let coding = self.coding();
        match self.layout.family {
            ColorFamily::Rgb => studio_luma([&planes[0], &planes[1], &planes[2]], self.weights, coding),
            ColorFamily::YCbCr if self.own != self.weights => {
                let [r, g, b] = self.unclipped(frame);
                studio_luma([&r, &g, &b], self.weights, Coding { full: true, depth: 8 })
            }
            _ if coding.full => {
                let white = Levels::from(coding).white;
                Zip::from(&planes[0]).par_map_collect(|v| 16.0 + v * (219.0 / white))
            }
            _ => planes[0].clone(),
        }
    }

    /// R', G' and B' from 0 to 255, clipped as a display would; one plane for grey.
    pub(super) fn rgb(&self, frame: &Frame) -> Vec<Plane> {
        let mut planes = match self.layout.family {
            ColorFamily::YCbCr => self.unclipped(frame).into(),
            family => frame.planes[..if family == ColorFamily::Rgb { 3 } else { 1 }].to_vec(),
        };
        let levels = Levels::from(self.coding());
        let (black, gain) = match self.layout.family {
            ColorFamily::YCbCr => (0.0, 1.0),
            _ => (levels.black, 255.0 / levels.white),
        };
        for plane in &mut planes {
            plane.par_mapv_inplace(|v| ((v - black) * gain).clamp(0.0, 255.0));
        }
        planes
    }

    /// R', G' and B' of a Y'CbCr frame.
    fn unclipped(&self, frame: &Frame) -> [Plane; 3] {
        let mut y = frame.planes[0].clone();
        let [mut cb, mut cr] = [1, 2].map(|i| match &self.chroma {
            Some(resampler) => {
                let mut large = Plane::zeros(y.dim());
                resampler.resample(frame.planes[i].view(), &mut large);
                large
            }
            None => frame.planes[i].clone(),
        });
        ycbcr_to_rgb([y.view_mut(), cb.view_mut(), cr.view_mut()], self.own, self.coding().into(), DISPLAY);
        [y, cb, cr]
    }
}

/// Enlarges subsampled chroma to luma's grid, each sample from where the file says it lies.
fn to_luma_grid(layout: &PictureLayout, cpu: CpuLevel) -> Resampler {
    let (rows, columns) = layout.plane_size(1);
    let map = |input, output, log2: u8, site: f64| {
        let site = if log2 == 0 { 0.0 } else { site };
        AxisMap { input, output, scale: f64::from(1u32 << log2), origin: site }
    };
    let (x, y) = layout.chroma_log2;
    let vertical = map(rows, layout.height, y, layout.chroma_site.y);
    let horizontal = map(columns, layout.width, x, layout.chroma_site.x);
    Resampler::new(vertical, horizontal, Filter::Bicubic, cpu)
}
