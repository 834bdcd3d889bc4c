//! Pictures as the algorithms see them: planar `f32`, in the file's own colour family, with exact time.
//!
//! One convention holds everywhere and is never converted silently:
//! - a plane is `height x width`, index `[row, column]`, row 0 on top;
//! - sample values are on the **8-bit scale**: the file's code value divided by `2^(depth - 8)`, so that thresholds
//!   mean the same at every depth, and packing at the same depth is exact;
//! - planes come in the order Y, Cb, Cr (or R, G, B, or grey), then alpha where there is one;
//! - pixel centres are at integer coordinates; +x is right, +y is down.
//!
//! What this file is not for: pixel formats of files (`media`), conversion between colour families (`color`).

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::color::ColorDescription;
use ndarray::{Array2, Zip};

/// One plane of samples, `height x width`, on the 8-bit scale.
pub type Plane = Array2<f32>;

/// What the planes of a frame mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorFamily {
    /// One plane of luma or grey.
    Gray,
    /// Y, Cb, Cr; Cb and Cr may be subsampled.
    YCbCr,
    /// R, G, B at full resolution.
    Rgb,
}

/// Where chroma samples sit, in units of the luma grid, measured from the first luma sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChromaSite {
    /// Horizontal position of the first chroma sample: 0 for co-sited with the left luma sample, 0.5 for between two.
    pub x: f64,
    /// Vertical position of the first chroma sample: 0 for co-sited with the top row, 0.5 for between two rows.
    pub y: f64,
}

/// Everything about a picture but its samples. All frames of one stream share one layout.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureLayout {
    /// Luma columns.
    pub width: usize,
    /// Luma rows.
    pub height: usize,
    /// Meaning of the planes.
    pub family: ColorFamily,
    /// Chroma subsampling as powers of two, (horizontal, vertical): (1, 1) is 4:2:0, (0, 0) is 4:4:4.
    pub chroma_log2: (u8, u8),
    /// Position of the chroma samples; meaningful only where chroma is subsampled.
    pub chroma_site: ChromaSite,
    /// Whether the last plane is alpha.
    pub alpha: bool,
    /// Bits of a sample in the file, 1 to 16 (32 for floating-point formats).
    pub depth: u8,
    /// Primaries, transfer, matrix and range.
    pub color: ColorDescription,
}

impl PictureLayout {
    /// Luma of a picture with these `planes`: the first one, or made of R, G and B. O(pixels), over the threads of the
    /// current pool.
    pub(crate) fn luma<'a>(&self, planes: &'a [Plane]) -> Cow<'a, Plane> {
        if self.family != ColorFamily::Rgb {
            return Cow::Borrowed(&planes[0]);
        }
        let [r, g, b] = self.color.luma_weights(self.height);
        let colours = Zip::from(&planes[0]).and(&planes[1]).and(&planes[2]);
        Cow::Owned(colours.par_map_collect(|red, green, blue| r * red + g * green + b * blue))
    }

    /// Grey, 8 bits, without alpha.
    #[cfg(test)]
    pub(crate) fn gray(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            family: ColorFamily::Gray,
            chroma_log2: (0, 0),
            chroma_site: ChromaSite { x: 0.0, y: 0.0 },
            alpha: false,
            depth: 8,
            color: ColorDescription::default(),
        }
    }

    /// 4:2:0 with chroma sited left, 8 bits, without alpha.
    #[cfg(test)]
    pub(crate) fn yuv420(width: usize, height: usize) -> Self {
        let chroma_site = ChromaSite { x: 0.0, y: 0.5 };
        Self { family: ColorFamily::YCbCr, chroma_log2: (1, 1), chroma_site, ..Self::gray(width, height) }
    }

    /// Number of planes, alpha included.
    pub fn plane_count(&self) -> usize {
        let color = if self.family == ColorFamily::Gray { 1 } else { 3 };
        color + usize::from(self.alpha)
    }

    /// Subsampling of plane `index` as powers of two, (horizontal, vertical).
    pub fn plane_log2(&self, index: usize) -> (u8, u8) {
        let chroma = self.family == ColorFamily::YCbCr && (index == 1 || index == 2);
        if chroma { self.chroma_log2 } else { (0, 0) }
    }

    /// Rows and columns of plane `index`; subsampled sizes are rounded up, as every codec does.
    pub fn plane_size(&self, index: usize) -> (usize, usize) {
        let (x, y) = self.plane_log2(index);
        let shrink = |size: usize, log2: u8| size.div_ceil(1 << log2);
        (shrink(self.height, y), shrink(self.width, x))
    }

    /// The same picture at another size.
    pub fn resized(&self, width: usize, height: usize) -> Self {
        Self { width, height, ..self.clone() }
    }

    /// How plane `index` of this layout maps to the same plane of `larger`, (vertical, horizontal).
    ///
    /// Luma is centre aligned; subsampled chroma keeps its site on both sides, so colour does not move against luma.
    pub fn plane_maps(&self, index: usize, larger: &PictureLayout) -> (AxisMap, AxisMap) {
        let (log2_x, log2_y) = self.plane_log2(index);
        let (rows_in, columns_in) = self.plane_size(index);
        let (rows_out, columns_out) = larger.plane_size(index);
        let map = |input, output, full_in: usize, full_out: usize, log2: u8, site: f64| {
            let scale = full_out as f64 / full_in as f64;
            let spacing = f64::from(1u32 << log2);
            let site = if log2 == 0 { 0.0 } else { site };
            // A sample i is at spacing*i + site on the luma grid; luma goes to scale*(p + 1/2) - 1/2.
            AxisMap { input, output, scale, origin: (scale * (site + 0.5) - 0.5 - site) / spacing }
        };
        (
            map(rows_in, rows_out, self.height, larger.height, log2_y, self.chroma_site.y),
            map(columns_in, columns_out, self.width, larger.width, log2_x, self.chroma_site.x),
        )
    }
}

/// How one axis of a small grid lies on a larger one: sample `i` of `input` sits at `scale * i + origin` of `output`.
///
/// Centre-aligned enlargement by `s` has `scale = s`, `origin = (s - 1) / 2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AxisMap {
    /// Samples of the small grid.
    pub input: usize,
    /// Samples of the large grid.
    pub output: usize,
    /// Output samples per input sample; below 1 for a reduction.
    pub scale: f64,
    /// Output position of input sample 0.
    pub origin: f64,
}

impl AxisMap {
    /// Centre-aligned map between two sizes.
    pub fn centered(input: usize, output: usize) -> Self {
        let scale = output as f64 / input as f64;
        Self { input, output, scale, origin: (scale - 1.0) / 2.0 }
    }

    /// Where output sample `o` lies on the input grid.
    pub fn input_position(&self, output: f64) -> f64 {
        (output - self.origin) / self.scale
    }

    /// Where input sample `i` lies on the output grid.
    pub fn output_position(&self, input: f64) -> f64 {
        self.scale * input + self.origin
    }
}

/// Data that came with a picture and goes out with it unread: captions, time codes, dynamic HDR metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedData {
    /// FFmpeg's number of the side data type.
    pub kind: i32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Rows and columns of luma that one number of [`CodingError::blocks`] is for.
pub const CODING_BLOCK: usize = 16;

/// How far a picture's luma is expected to be from what was compressed.
///
/// An expectation from the quantisers, for pictures with texture: smooth ones are coded better than it says.
#[derive(Debug, Clone, PartialEq)]
pub struct CodingError {
    /// Root mean square over the picture: standard deviation of the error of luma on the 8-bit scale, above 0.
    pub deviation: f32,
    /// The same for each block of 16 x 16 luma pixels ([`CODING_BLOCK`]), `ceil(height / 16) x ceil(width / 16)`; none
    /// if all blocks are alike.
    pub blocks: Option<Plane>,
}

/// One decoded or reconstructed picture.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Number of the frame in the stream, from 0, in presentation order.
    pub index: u64,
    /// Presentation time in ticks of the stream's time base.
    pub pts: i64,
    /// Ticks until the next frame where the file says so, else 0.
    pub duration: i64,
    /// The samples, in the order and sizes of the stream's [`PictureLayout`].
    pub planes: Vec<Plane>,
    /// What its compression has done to it, where the decoder tells; never of pictures that were made here.
    pub coding: Option<CodingError>,
    /// What else came with the picture.
    pub carried: Vec<CarriedData>,
}

/// Planes that one stage is done with, for another one of the same sizes.
///
/// A 1080p frame is 12 MB of `f32`: fresh memory for each costs as many page faults as the arithmetic on it. Clones
/// share the store; it keeps as many frames as it is told to, the rest is freed.
#[derive(Debug, Clone)]
pub struct PlanePool {
    spare: Arc<Mutex<Vec<Vec<Plane>>>>,
    most: usize,
}

impl PlanePool {
    /// A store for at most `most` frames.
    pub fn new(most: usize) -> Self {
        Self { spare: Arc::default(), most }
    }

    /// Planes of `layout` with any content: used ones if there are, else new.
    pub fn take(&self, layout: &PictureLayout) -> Vec<Plane> {
        let sizes = (0..layout.plane_count()).map(|i| layout.plane_size(i));
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |planes: &Vec<Plane>| planes.iter().map(|p| p.dim()).eq(sizes.clone());
        match spare.iter().position(fits) {
            Some(at) => spare.swap_remove(at),
            None => sizes.map(Array2::zeros).collect(),
        }
    }

    /// Hands planes over for reuse.
    pub fn give(&self, planes: Vec<Plane>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < self.most {
            spare.push(planes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(width: usize, height: usize, site: ChromaSite) -> PictureLayout {
        PictureLayout {
            width,
            height,
            family: ColorFamily::YCbCr,
            chroma_log2: (1, 1),
            chroma_site: site,
            alpha: false,
            depth: 8,
            color: ColorDescription::default(),
        }
    }

    #[test]
    fn odd_sizes_round_chroma_up() {
        let l = layout(7, 5, ChromaSite { x: 0.0, y: 0.5 });
        assert_eq!(l.plane_size(0), (5, 7), "luma");
        assert_eq!(l.plane_size(1), (3, 4), "chroma");
    }

    #[test]
    fn left_sited_chroma_stays_left_and_centred_chroma_stays_centred() {
        let small = layout(8, 8, ChromaSite { x: 0.0, y: 0.5 });
        let (y, x) = small.plane_maps(1, &small.resized(16, 16));
        // Left-sited: chroma 0 is at luma 0, which is at luma 0.5 of the output, chroma (0.5 - 0)/2.
        assert_eq!((x.scale, x.origin), (2.0, 0.25), "left");
        assert_eq!((y.scale, y.origin), (2.0, 0.5), "centred");
        let (y, x) = small.plane_maps(0, &small.resized(16, 16));
        assert_eq!((x.origin, y.origin), (0.5, 0.5), "luma is centre aligned");
    }

    #[test]
    fn a_pool_gives_back_planes_of_the_right_sizes_only() {
        let pool = PlanePool::new(1);
        let small = layout(7, 5, ChromaSite { x: 0.0, y: 0.5 });
        let mut planes = pool.take(&small);
        assert_eq!(planes[1].dim(), (3, 4), "new planes have the layout's sizes");
        planes[0][[0, 0]] = 7.0;
        pool.give(planes);
        assert_eq!(pool.take(&small.resized(8, 8))[0].dim(), (8, 8), "another size is new");
        assert_eq!(pool.take(&small)[0][[0, 0]], 7.0, "the same size is used again");
    }

    #[test]
    fn positions_are_inverse_to_each_other() {
        let map = AxisMap::centered(10, 23);
        for i in 0..10 {
            let there = map.output_position(f64::from(i));
            assert!((map.input_position(there) - f64::from(i)).abs() < 1e-12, "sample {i}");
        }
    }
}
