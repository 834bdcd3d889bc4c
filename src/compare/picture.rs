//! Pictures for people: frames as 8-bit R'G'B' of a usual display, and files of them.
//!
//! Colours are converted with the matrix and range of the file. What is left is shown as it is: primaries are taken for
//! those of the display, which is right for BT.709 and close for BT.601. High dynamic range (PQ and HLG) goes to linear
//! light, is compressed by `x (1 + x / w^2) / (1 + x)` (Reinhard 2002, equation 4, on the largest of R, G and B, so that
//! hues stay; x is 1 at 203 cd/m2, the reference white of ITU-R BT.2408, and w is 1000 cd/m2), and is coded by BT.1886's
//! inverse with gamma 2.4; wide primaries (BT.2020) are converted to those of BT.709 on the way.

use rayon::prelude::*;

use super::measure_planes::Lens;
use crate::frame::{ColorFamily, Frame, PictureLayout};
use crate::kernels::CpuLevel;
use crate::light::Light;

/// A picture, three bytes a pixel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rgb {
    /// Columns and rows.
    pub(super) size: (usize, usize),
    pub(super) samples: Vec<u8>,
}

/// Turns frames of one layout into pictures.
#[derive(Debug)]
pub(super) struct Developer {
    lens: Lens,
    /// The way to linear light, of high dynamic range.
    light: Option<Light>,
    wide: bool,
}

/// BT.2020 to BT.709 in linear light (ITU-R BT.2087, M2 inverted).
const TO_BT709: [[f32; 3]; 3] =
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]];
/// The brightest light that is told from white, of reference white 1.
const BRIGHTEST: f32 = 1000.0 / 203.0;
const GAMMA: f32 = 2.4;

impl Developer {
    /// For frames of `layout`.
    pub(super) fn new(layout: &PictureLayout) -> Self {
        let color = &layout.color;
        let bright = matches!(color.transfer, 16 | 18);
        Self {
            lens: Lens::new(layout, color.luma_weights(layout.height), CpuLevel::detect()),
            // R'G'B' from 0 to 255, whatever the file's own are.
            light: bright.then(|| Light::new(color, ColorFamily::Rgb, 8)),
            wide: color.primaries == 9,
        }
    }

    /// The picture of a frame.
    pub(super) fn develop(&self, frame: &Frame) -> Rgb {
        let mut planes = self.lens.rgb(frame);
        if let Some(light) = &self.light {
            planes.iter_mut().filter_map(|plane| plane.as_slice_mut()).for_each(|samples| light.to_linear(samples));
        }
        let (rows, columns) = planes[0].dim();
        let mut samples = vec![0; 3 * rows * columns];
        let last = planes.len() - 1;
        samples.par_chunks_mut(3 * columns).enumerate().for_each(|(y, row)| {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let value = |i: usize| planes[i.min(last)][[y, x]];
                pixel.copy_from_slice(&self.shown([value(0), value(1), value(2)]));
            }
        });
        Rgb { size: (columns, rows), samples }
    }

    /// A pixel on the display.
    fn shown(&self, pixel: [f32; 3]) -> [u8; 3] {
        let byte = |value: f32| (value + 0.5).clamp(0.0, 255.0) as u8;
        if self.light.is_none() {
            return pixel.map(byte);
        }
        let mut light = pixel.map(|value| value / 255.0);
        if self.wide {
            light = TO_BT709.map(|row| row.iter().zip(light).map(|(weight, value)| weight * value).sum::<f32>().max(0.0));
        }
        let most = light.iter().copied().fold(1e-6, f32::max);
        let compressed = most * (1.0 + most / (BRIGHTEST * BRIGHTEST)) / (1.0 + most);
        light.map(|value| byte(255.0 * (value * compressed / most).min(1.0).powf(1.0 / GAMMA)))
    }
}
