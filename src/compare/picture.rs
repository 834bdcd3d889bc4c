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
const TO_BT709: [[f32; 3]; 3] = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]];
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
            light =
                TO_BT709.map(|row| row.iter().zip(light).map(|(weight, value)| weight * value).sum::<f32>().max(0.0));
        }
        let most = light.iter().copied().fold(1e-6, f32::max);
        let compressed = most * (1.0 + most / (BRIGHTEST * BRIGHTEST)) / (1.0 + most);
        light.map(|value| byte(255.0 * (value * compressed / most).min(1.0).powf(1.0 / GAMMA)))
    }
}

impl Rgb {
    /// Luma of a pixel, BT.601, full range.
    pub(super) fn luma(&self, x: usize, y: usize) -> f64 {
        let at = 3 * (y * self.size.0 + x);
        let [r, g, b] = [0, 1, 2].map(|i| f64::from(self.samples[at + i]));
        0.299 * r + 0.587 * g + 0.114 * b
    }

    /// The part of `size` whose top left pixel is at `from`.
    pub(super) fn part(&self, (left, top): (usize, usize), size: (usize, usize)) -> Self {
        let rows = (top..top + size.1).flat_map(|y| {
            let at = 3 * (y * self.size.0 + left);
            &self.samples[at..at + 3 * size.0]
        });
        Self { size, samples: rows.copied().collect() }
    }

    /// Enlarged to `size` without anything new: the nearest pixel.
    pub(super) fn enlarged(&self, size: (usize, usize)) -> Self {
        let nearest = |at: usize, from: usize, to: usize| (2 * at + 1) * from / (2 * to);
        let mut samples = Vec::with_capacity(3 * size.0 * size.1);
        for y in 0..size.1 {
            let row = 3 * self.size.0 * nearest(y, self.size.1, size.1);
            for x in 0..size.0 {
                let at = row + 3 * nearest(x, self.size.0, size.0);
                samples.extend_from_slice(&self.samples[at..at + 3]);
            }
        }
        Self { size, samples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::{ColorDescription, Range};
    use crate::frame::ChromaSite;

    fn developed(family: ColorFamily, color: ColorDescription, depth: u8, pixel: &[f32]) -> [u8; 3] {
        let site = ChromaSite { x: 0.0, y: 0.5 };
        let layout = PictureLayout {
            width: 4,
            height: 2,
            family,
            chroma_log2: (0, 0),
            chroma_site: site,
            alpha: false,
            depth,
            color,
        };
        let planes = pixel.iter().map(|value| ndarray::Array2::from_elem((2, 4), *value)).collect();
        let frame = Frame { index: 0, pts: 0, duration: 1, planes, coding: None, carried: Vec::new() };
        let picture = Developer::new(&layout).develop(&frame);
        assert_eq!((picture.size, picture.samples.len()), ((4, 2), 24), "size");
        [0, 1, 2].map(|i| picture.samples[21 + i])
    }

    #[test]
    fn colours_follow_the_tags() {
        let tagged = |matrix, range| ColorDescription { matrix, range, ..ColorDescription::default() };
        // White, and the blue of BT.601 and of BT.709 (H.273), in studio range; grey at full range; R, G and B.
        let of = |color, pixel: &[f32]| developed(ColorFamily::YCbCr, color, 8, pixel);
        assert_eq!(of(tagged(6, Range::Limited), &[235.0, 128.0, 128.0]), [255, 255, 255], "white");
        assert_eq!(of(tagged(6, Range::Limited), &[40.966, 240.0, 109.787]), [0, 0, 255], "blue of BT.601");
        assert_eq!(of(tagged(1, Range::Limited), &[31.812, 240.0, 117.732]), [0, 0, 255], "blue of BT.709");
        assert_eq!(of(tagged(1, Range::Full), &[100.0, 128.0, 128.0]), [100, 100, 100], "full range");
        let rgb = developed(ColorFamily::Rgb, ColorDescription::default(), 8, &[1.0, 2.0, 250.0]);
        assert_eq!(rgb, [1, 2, 250], "R, G and B");
        let grey = developed(ColorFamily::Gray, tagged(2, Range::Limited), 8, &[16.0]);
        assert_eq!(grey, [0, 0, 0], "grey");
    }

    #[test]
    fn bright_light_is_compressed_and_black_stays_black() {
        let pq = ColorDescription { primaries: 9, transfer: 16, matrix: 9, range: Range::Limited };
        let grey = |y: f32| developed(ColorFamily::YCbCr, pq, 10, &[y, 128.0, 128.0]);
        // Signal 0.5807 is 203 cd/m2, reference white; 0.7518 is 1000 cd/m2.
        let [black, white, bright] = [16.0, 16.0 + 219.0 * 0.5807, 16.0 + 219.0 * 0.7518].map(grey);
        assert!(black.iter().all(|v| *v <= 1), "black is {black:?}");
        assert!(white.iter().all(|v| (185..205).contains(v)), "white is {white:?}");
        assert!(bright.iter().all(|v| *v >= 253), "the brightest is {bright:?}");
    }

    #[test]
    fn parts_and_enlargements_have_the_right_pixels() {
        let picture = Rgb { size: (3, 2), samples: (0..18).collect() };
        assert_eq!(picture.part((1, 1), (2, 1)).samples, [12, 13, 14, 15, 16, 17], "a part");
        let large = picture.enlarged((6, 4));
        assert_eq!(&large.samples[..9], [0, 1, 2, 0, 1, 2, 3, 4, 5], "nearest");
        assert_eq!(picture.enlarged((3, 2)), picture, "the same size");
    }
}
