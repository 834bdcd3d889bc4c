//! Colour descriptions and the conversions between R'G'B' and Y'CbCr.
//!
//! Values follow the code points of ITU-T H.273 (the same numbers FFmpeg, Matroska and MP4 store), so that a
//! description read from a file can be written back unchanged, unknown values included.

use ndarray::{ArrayViewMut2, Zip};

use crate::frame::{ColorFamily, Plane};

/// Whether black and white are at 16 and 235 (limited) or 0 and 255 (full), on the 8-bit scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Range {
    /// Not said by the file: limited for Y'CbCr, full for RGB.
    #[default]
    Unspecified,
    /// Studio range.
    Limited,
    /// Full range.
    Full,
}

/// Colour as tagged in the file: H.273 code points and range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColorDescription {
    /// Colour primaries; 2 is unspecified.
    pub primaries: u8,
    /// Transfer characteristic; 2 is unspecified.
    pub transfer: u8,
    /// Matrix coefficients; 2 is unspecified, 0 is RGB.
    pub matrix: u8,
    /// Range of the samples.
    pub range: Range,
}

impl Default for ColorDescription {
    fn default() -> Self {
        Self { primaries: 2, transfer: 2, matrix: 2, range: Range::Unspecified }
    }
}

impl ColorDescription {
    /// Weights of R, G and B in luma (Kr, Kg, Kb of H.273 table 4).
    ///
    /// An unspecified matrix is taken as BT.601 below 720 rows and BT.709 from there, as players do.
    pub fn luma_weights(&self, height: usize) -> [f32; 3] {
        let (kr, kb) = match self.matrix {
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            5 | 6 => (0.299, 0.114),
            7 => (0.212, 0.087),
            9 | 10 => (0.2627, 0.0593),
            _ if height >= 720 => (0.2126, 0.0722),
            _ => (0.299, 0.114),
        };
        [kr, 1.0 - kr - kb, kb]
    }

    /// The matrix code to write beside samples converted with [`Self::luma_weights`].
    pub fn matrix_or_default(&self, height: usize) -> u8 {
        match self.matrix {
            1 | 4 | 5 | 6 | 7 | 9 | 10 => self.matrix,
            _ if height >= 720 => 1,
            _ => 6,
        }
    }

    /// Whether samples of `family` fill the whole range.
    pub fn is_full(&self, family: ColorFamily) -> bool {
        match self.range {
            Range::Full => true,
            Range::Limited => false,
            Range::Unspecified => family == ColorFamily::Rgb,
        }
    }
}

/// Offset of black and width of luma and chroma on the 8-bit scale for samples of `depth` bits.
///
/// Full range spans `2^depth - 1` code values, which is 255 only at 8 bits (1023/4 = 255.75 at 10).
pub(crate) fn span(full: bool, depth: u8) -> (f32, f32, f32) {
    if full {
        let codes = if depth >= 32 { 255.0 } else { ((1u64 << depth) - 1) as f32 / 2f32.powi(i32::from(depth) - 8) };
        (0.0, codes, codes)
    } else {
        (16.0, 219.0, 224.0)
    }
}

/// Samples of one picture kind: range and depth.
#[derive(Debug, Clone, Copy)]
pub struct Coding {
    /// Full range or studio range.
    pub full: bool,
    /// Bits of a sample.
    pub depth: u8,
}

/// Where samples lie: all that a conversion needs to know beside the matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// Value of black.
    pub black: f32,
    /// White less black, of luma or R, G and B.
    pub white: f32,
    /// Value of chroma where there is no colour.
    pub gray: f32,
    /// Largest less smallest value of chroma.
    pub chroma: f32,
}

impl Levels {
    /// R, G and B from 0 to 1.
    pub const UNIT: Self = Self { black: 0.0, white: 1.0, gray: 0.5, chroma: 1.0 };

    /// All levels times `factor`.
    #[must_use]
    pub fn scaled(self, factor: f32) -> Self {
        let Self { black, white, gray, chroma } = self;
        Self { black: factor * black, white: factor * white, gray: factor * gray, chroma: factor * chroma }
    }
}

impl From<Coding> for Levels {
    fn from(Coding { full, depth }: Coding) -> Self {
        let (black, white, chroma) = span(full, depth);
        Self { black, white, gray: 128.0, chroma }
    }
}

/// Converts R', G', B' planes (in place) to Y', Cb, Cr at the same resolution.
///
/// `weights` as from [`ColorDescription::luma_weights`]; H.273 equations 38 to 43. O(pixels) over the threads of the
/// current rayon pool, no allocation.
///
/// # Panics
/// If the planes differ in size.
pub fn rgb_to_ycbcr(planes: [ArrayViewMut2<'_, f32>; 3], weights: [f32; 3], from: Levels, to: Levels) {
    let [kr, kg, kb] = weights;
    let [r, g, b] = planes;
    let (blues, reds) = (to.chroma / (2.0 * (1.0 - kb)), to.chroma / (2.0 * (1.0 - kr)));
    let unit = 1.0 / from.white;
    Zip::from(r).and(g).and(b).par_for_each(|r, g, b| {
        let [red, green, blue] = [*r, *g, *b].map(|value| (value - from.black) * unit);
        let y = kr * red + kg * green + kb * blue;
        *r = to.black + to.white * y;
        *g = to.gray + blues * (blue - y);
        *b = to.gray + reds * (red - y);
    });
}

/// Converts Y', Cb, Cr planes of equal size (in place) to R', G', B'. The inverse of [`rgb_to_ycbcr`].
///
/// # Panics
/// If the planes differ in size.
pub fn ycbcr_to_rgb(planes: [ArrayViewMut2<'_, f32>; 3], weights: [f32; 3], from: Levels, to: Levels) {
    let [kr, kg, kb] = weights;
    let [y, cb, cr] = planes;
    let (unit, reds, blues) = (1.0 / from.white, 2.0 * (1.0 - kr) / from.chroma, 2.0 * (1.0 - kb) / from.chroma);
    let (green_reds, green_blues) = (kr / kg * reds, kb / kg * blues);
    Zip::from(y).and(cb).and(cr).par_for_each(|y, cb, cr| {
        let luma = (*y - from.black) * unit;
        let (blue, red) = (*cb - from.gray, *cr - from.gray);
        *y = to.black + to.white * (luma + reds * red);
        *cb = to.black + to.white * (luma - green_reds * red - green_blues * blue);
        *cr = to.black + to.white * (luma + blues * blue);
    });
}

/// Luma of R'G'B' planes, studio range 16 to 235 on the 8-bit scale, as quality measurements use it.
///
/// # Panics
/// If the planes differ in size.
pub fn studio_luma(rgb: [&Plane; 3], weights: [f32; 3], from: Coding) -> Plane {
    let (black, white, _) = span(from.full, from.depth);
    let [kr, kg, kb] = weights;
    Zip::from(rgb[0])
        .and(rgb[1])
        .and(rgb[2])
        .map_collect(|r, g, b| 16.0 + 219.0 * (kr * (r - black) + kg * (g - black) + kb * (b - black)) / white)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    #[test]
    fn known_colours_have_their_known_codes() {
        let (mut r, mut g, mut b) = (arr2(&[[255.0, 0.0]]), arr2(&[[255.0, 0.0]]), arr2(&[[255.0, 255.0]]));
        let full = Coding { full: true, depth: 8 };
        rgb_to_ycbcr(
            [r.view_mut(), g.view_mut(), b.view_mut()],
            [0.299, 0.587, 0.114],
            full.into(),
            Coding { full: false, depth: 8 }.into(),
        );
        assert!(
            (r[[0, 0]] - 235.0).abs() < 1e-3 && (g[[0, 0]] - 128.0).abs() < 1e-3,
            "white is {} {}",
            r[[0, 0]],
            g[[0, 0]]
        );
        assert!(
            (r[[0, 1]] - 40.966).abs() < 1e-2 && (g[[0, 1]] - 240.0).abs() < 1e-3,
            "blue is {} {}",
            r[[0, 1]],
            g[[0, 1]]
        );
    }

    #[test]
    fn conversion_and_its_inverse_give_the_input_back() {
        for matrix in [1, 5, 9] {
            for (full, depth) in [(true, 8), (false, 8), (true, 10), (false, 12)] {
                let weights = ColorDescription { matrix, ..Default::default() }.luma_weights(480);
                let before = [arr2(&[[3.0, 250.0, 90.5]]), arr2(&[[70.0, 1.0, 90.5]]), arr2(&[[200.0, 33.0, 90.5]])];
                let [mut a, mut b, mut c] = before.clone();
                let rgb = Coding { full: true, depth };
                rgb_to_ycbcr(
                    [a.view_mut(), b.view_mut(), c.view_mut()],
                    weights,
                    rgb.into(),
                    Coding { full, depth }.into(),
                );
                ycbcr_to_rgb(
                    [a.view_mut(), b.view_mut(), c.view_mut()],
                    weights,
                    Coding { full, depth }.into(),
                    rgb.into(),
                );
                for (x, y) in [&a, &b, &c].into_iter().zip(&before) {
                    assert!(x.iter().zip(y).all(|(p, q)| (p - q).abs() < 1e-3), "{x} is not {y}");
                }
            }
        }
    }
}
