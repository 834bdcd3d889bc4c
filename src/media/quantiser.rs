//! How strongly a picture was compressed: the quantisers a decoder exports, as an expected coding error.
//!
//! FFmpeg's decoders of H.264, VP9 and the MPEG-1, -2, -4 and H.263 family can say with which quantiser each block was
//! coded (`AV_CODEC_EXPORT_DATA_VIDEO_ENC_PARAMS`). Here that becomes a quantiser step and, by a law that was measured
//! for each family (docs/compression.md), the standard deviation of the error it leaves in luma. Pictures of other
//! codecs (HEVC, AV1, ProRes, pictures without loss) have no such data: `None`.
//!
//! The data has the layout of a C structure that the bindings do not hold, so it is read from its bytes, every place of
//! which is checked: nothing in it is believed.

use std::mem::{offset_of, size_of};

use ffmpeg_next::ffi;

use super::ffi::raw_enum;
use super::side_data::frame_bytes;
use crate::frame::{CODING_BLOCK, CodingError, Plane};

/// `AVVideoEncParams`: the head of the exported data; its blocks follow at `blocks_offset`.
#[repr(C)]
struct Head {
    nb_blocks: u32,
    blocks_offset: usize,
    block_size: usize,
    kind: i32,
    qp: i32,
    delta_qp: [[i32; 2]; 4],
}

/// `AVVideoBlockParams`: one block, in luma pixels from the top left of the visible picture.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Block {
    src_x: i32,
    src_y: i32,
    w: i32,
    h: i32,
    delta_qp: i32,
}

/// Values of `Head::kind`.
const VP9: i32 = 0;
const H264: i32 = 1;
const MPEG: i32 = 2;

/// Deviation of the coding error left by a quantiser step: `scale * step^power`, both on the 8-bit scale.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Law {
    scale: f64,
    power: f64,
}

/// A family of codecs and what its quantisers mean.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Family {
    H264,
    Vp9,
    /// MPEG-1 and MPEG-2: frequencies are weighted by matrices.
    Mpeg2,
    /// MPEG-4 part 2, H.263 and their relatives.
    Mpeg4,
}

impl Family {
    /// The family of data of `kind` from a decoder with FFmpeg's codec id `codec`.
    fn of(kind: i32, codec: i32) -> Option<Self> {
        use ffi::AVCodecID as Id;
        let two = [Id::AV_CODEC_ID_MPEG1VIDEO as i32, Id::AV_CODEC_ID_MPEG2VIDEO as i32];
        match kind {
            H264 => Some(Self::H264),
            VP9 => Some(Self::Vp9),
            MPEG if two.contains(&codec) => Some(Self::Mpeg2),
            MPEG => Some(Self::Mpeg4),
            _ => None,
        }
    }

    /// Measured on clips whose source is known; docs/compression.md has the numbers.
    fn law(self) -> Law {
        match self {
            Self::H264 => Law { scale: 0.55, power: 0.70 },
            Self::Vp9 => Law { scale: 0.67, power: 0.59 },
            Self::Mpeg2 => Law { scale: 0.61, power: 0.76 },
            Self::Mpeg4 => Law { scale: 0.77, power: 0.73 },
        }
    }

    /// Quantiser step of luma for samples of `depth` bits, on the 8-bit scale of an orthonormal transform.
    fn step(self, qp: i32, depth: u8) -> f64 {
        match self {
            // Exported with the offset of its depth: 6 steps of it are a factor of 2, as is one bit.
            Self::H264 => {
                let eight = (qp.clamp(0, 127) - 6 * (i32::from(depth.clamp(8, 14)) - 8)).min(51);
                (f64::from(eight - 4) / 6.0).exp2()
            }
            Self::Vp9 => vp9_step(qp),
            // Both are exported as the step: MPEG-2's quantiser_scale, twice MPEG-4's quantiser.
            Self::Mpeg2 | Self::Mpeg4 => f64::from(qp.clamp(1, 256)),
        }
    }

    /// Expected deviation of the coding error of a block with this quantiser, on the 8-bit scale.
    fn deviation(self, qp: i32, depth: u8) -> f32 {
        let Law { scale, power } = self.law();
        (scale * self.step(qp, depth).powf(power)) as f32
    }
}

/// VP9's step for a quantiser index: its table of AC steps at 8 bits, at every 32nd index and straight between them
/// (within 5 %, at other depths within 10 % above index 50), over the gain of 8 of its transform.
fn vp9_step(index: i32) -> f64 {
    const NODES: [f64; 9] = [4.0, 39.0, 71.0, 104.0, 176.0, 305.0, 550.0, 1007.0, 1855.0];
    let index = index.clamp(0, 255);
    let (node, part) = ((index / 32) as usize, f64::from(index % 32) / 32.0);
    (NODES[node] + part * (NODES[node + 1] - NODES[node])) / 8.0
}

/// The expected coding error of a decoded picture, if its decoder has told its quantisers.
///
/// `codec` is FFmpeg's codec id, `depth` the bits of a sample. Blocks are told only where they differ. The cost is that
/// of reading 20 bytes a block.
///
/// # Safety
/// `frame` is a decoded picture.
pub(super) unsafe fn coding_error(frame: *const ffi::AVFrame, codec: i32, depth: u8) -> Option<CodingError> {
    let kind = ffi::AVFrameSideDataType::AV_FRAME_DATA_VIDEO_ENC_PARAMS as i32;
    // SAFETY: by the caller's promise; the bytes are used up before this function returns.
    let (bytes, width, height) = unsafe { (frame_bytes(frame, kind)?, (*frame).width, (*frame).height) };
    let size = (usize::try_from(height).ok()?, usize::try_from(width).ok()?);
    let exported = Exported::read(bytes, codec, depth)?;
    exported.error_of(size)
}

/// Reads FFmpeg's codec id of an open decoder.
///
/// # Safety
/// `context` is a valid codec context.
pub(super) unsafe fn codec_id(context: *const ffi::AVCodecContext) -> i32 {
    // SAFETY: by the caller's promise.
    unsafe { raw_enum!(context, codec_id) }
}

/// Exported quantisers whose places in the data were checked.
struct Exported<'a> {
    family: Family,
    depth: u8,
    qp: i32,
    /// The blocks, `block_size` bytes each.
    blocks: std::slice::ChunksExact<'a, u8>,
}

impl<'a> Exported<'a> {
    /// Checks `bytes`; `None` if they are not what they should be or of no known family.
    fn read(bytes: &'a [u8], codec: i32, depth: u8) -> Option<Self> {
        let family = Family::of(int(bytes, offset_of!(Head, kind))?, codec)?;
        let qp = int(bytes, offset_of!(Head, qp))?;
        let count = usize::try_from(int(bytes, offset_of!(Head, nb_blocks))?).ok()?;
        if count == 0 {
            return Some(Self { family, depth, qp, blocks: [].chunks_exact(1) });
        }
        let start = size(bytes, offset_of!(Head, blocks_offset))?;
        let each = size(bytes, offset_of!(Head, block_size))?;
        if each < size_of::<Block>() {
            return None;
        }
        let blocks = bytes.get(start..start.checked_add(count.checked_mul(each)?)?)?;
        Some(Self { family, depth, qp, blocks: blocks.chunks_exact(each) })
    }

    /// The error of a picture of `(height, width)` luma pixels.
    fn error_of(self, (height, width): (usize, usize)) -> Option<CodingError> {
        let (rows, columns) = (height.div_ceil(CODING_BLOCK), width.div_ceil(CODING_BLOCK));
        if rows == 0 || columns == 0 {
            return None;
        }
        let square = |qp: i32| self.family.deviation(qp, self.depth).powi(2);
        let whole = square(self.qp);
        let mut told = Tally::new(rows, columns);
        // Neighbours often share a quantiser: the law is worked out where it changes.
        let (mut qp, mut here) = (self.qp, whole);
        for block in self.blocks.filter_map(Block::read) {
            let own = self.qp.saturating_add(block.delta_qp);
            if own != qp {
                (qp, here) = (own, square(own));
            }
            told.add(block, here);
        }
        let squares = told.means(whole);
        let (least, most) = squares.iter().fold((f32::MAX, 0f32), |(l, m), v| (l.min(*v), m.max(*v)));
        let mean = squares.iter().map(|v| f64::from(*v)).sum::<f64>() / squares.len() as f64;
        let blocks = (least < most).then(|| squares.mapv(f32::sqrt));
        Some(CodingError { deviation: mean.sqrt() as f32, blocks })
    }
}

impl Block {
    /// A block from its bytes.
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            src_x: int(bytes, offset_of!(Block, src_x))?,
            src_y: int(bytes, offset_of!(Block, src_y))?,
            w: int(bytes, offset_of!(Block, w))?,
            h: int(bytes, offset_of!(Block, h))?,
            delta_qp: int(bytes, offset_of!(Block, delta_qp))?,
        })
    }
}

/// Sums over the blocks of a picture's grid: of the squares, and of the pixels they are of.
struct Tally {
    squares: Plane,
    pixels: Plane,
}

impl Tally {
    fn new(rows: usize, columns: usize) -> Self {
        Self { squares: Plane::zeros((rows, columns)), pixels: Plane::zeros((rows, columns)) }
    }

    /// Counts `square` for the pixels of `block` within the grid.
    fn add(&mut self, block: Block, square: f32) {
        let (rows, columns) = self.squares.dim();
        for (row, high) in cells(block.src_y, block.h, rows) {
            for (column, wide) in cells(block.src_x, block.w, columns) {
                let pixels = (high * wide) as f32;
                self.squares[[row, column]] += pixels * square;
                self.pixels[[row, column]] += pixels;
            }
        }
    }

    /// The mean square in each block of the grid; `otherwise` where nothing was told.
    fn means(self, otherwise: f32) -> Plane {
        let mut squares = self.squares;
        squares.zip_mut_with(&self.pixels, |sum, count| *sum = if *count > 0.0 { *sum / count } else { otherwise });
        squares
    }
}

/// The cells of one axis of the grid that `[start, start + length)` touches, and how many pixels of each.
fn cells(start: i32, length: i32, count: usize) -> impl Iterator<Item = (usize, usize)> {
    let end = start.saturating_add(length.max(0));
    let [from, to] = [start, end].map(|at| usize::try_from(at).unwrap_or(0).min(count * CODING_BLOCK));
    (from / CODING_BLOCK..to.div_ceil(CODING_BLOCK)).map(move |cell| {
        let (first, last) = (from.max(cell * CODING_BLOCK), to.min((cell + 1) * CODING_BLOCK));
        (cell, last.saturating_sub(first))
    })
}

/// A 32-bit integer at `at`.
fn int(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(i32::from_ne_bytes)
}

/// A `size_t` at `at`.
fn size(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..at.checked_add(size_of::<usize>())?)?.try_into().ok().map(usize::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const H264_ID: i32 = ffi::AVCodecID::AV_CODEC_ID_H264 as i32;
    const HEAD: usize = size_of::<Head>();

    /// Exported data with quantiser `qp` and `blocks` of (x, y, width, height, difference), `spare` bytes after each.
    fn exported(kind: i32, qp: i32, blocks: &[[i32; 5]], spare: usize) -> Vec<u8> {
        let mut bytes = vec![0; HEAD];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(offset_of!(Head, nb_blocks), &(blocks.len() as u32).to_ne_bytes());
        put(offset_of!(Head, blocks_offset), &HEAD.to_ne_bytes());
        put(offset_of!(Head, block_size), &(size_of::<Block>() + spare).to_ne_bytes());
        put(offset_of!(Head, kind), &kind.to_ne_bytes());
        put(offset_of!(Head, qp), &qp.to_ne_bytes());
        for block in blocks {
            bytes.extend(block.iter().flat_map(|v| v.to_ne_bytes()));
            bytes.extend(vec![0; spare]);
        }
        bytes
    }

    fn error_of(bytes: &[u8], size: (usize, usize)) -> Option<CodingError> {
        Exported::read(bytes, H264_ID, 8)?.error_of(size)
    }

    #[test]
    fn a_picture_with_one_quantiser_has_one_error_and_no_blocks() {
        let error = error_of(&exported(H264, 28, &[], 0), (40, 50)).expect("an error");
        assert!((error.deviation - 0.55 * 16f32.powf(0.7)).abs() < 1e-4, "step 16 gives {}", error.deviation);
        assert_eq!(error.blocks, None);
    }

    #[test]
    fn blocks_lie_where_they_are_said_to_lie() {
        let blocks = [[0, 0, 16, 16, 0], [16, 0, 16, 16, 6], [32, 0, 16, 16, 0], [0, 16, 64, 64, -6]];
        let error = error_of(&exported(H264, 28, &blocks, 12), (20, 40)).expect("an error");
        let blocks = error.blocks.expect("blocks");
        let of = |step: f32| 0.55 * step.powf(0.7);
        let wanted = ndarray::arr2(&[[of(16.0), of(32.0), of(16.0)], [of(8.0), of(8.0), of(8.0)]]);
        assert!(blocks.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{blocks} is not {wanted}");
        let mean = (wanted.iter().map(|v| v * v).sum::<f32>() / 6.0).sqrt();
        assert!((error.deviation - mean).abs() < 1e-4, "{} is not {mean}", error.deviation);
    }

    #[test]
    fn small_blocks_are_averaged_over_their_pixels() {
        let blocks = [[0, 0, 8, 16, 0], [8, 0, 8, 8, 12]];
        let error = error_of(&exported(H264, 16, &blocks, 0), (16, 16)).expect("an error");
        let [low, high] = [16, 28].map(|qp| Family::H264.deviation(qp, 8).powi(2));
        let mean = ((2.0 * low + high) / 3.0).sqrt();
        assert!((error.deviation - mean).abs() < 1e-4, "{} is not {mean}", error.deviation);
    }

    #[test]
    fn more_bits_mean_smaller_steps_at_the_same_number() {
        let (eight, ten) = (Family::H264.step(28, 8), Family::H264.step(28, 10));
        assert!((eight - 16.0).abs() < 1e-9 && (ten - 4.0).abs() < 1e-9, "{eight} and {ten}");
    }

    #[test]
    fn a_larger_quantiser_never_means_a_smaller_error() {
        for family in [Family::H264, Family::Vp9, Family::Mpeg2, Family::Mpeg4] {
            let all: Vec<f32> = (-300..300).map(|qp| family.deviation(qp, 8)).collect();
            assert!(all.windows(2).all(|p| p[0] <= p[1]), "{family:?}");
            assert!(all.iter().all(|v| *v > 0.0 && *v < 500.0), "{family:?} ends at {:?}", all.last());
        }
    }

    #[test]
    fn data_that_contradicts_itself_is_not_used() {
        let good = exported(H264, 28, &[[0, 0, 16, 16, 1]; 3], 0);
        assert!(error_of(&good, (16, 16)).is_some(), "the whole");
        assert_eq!(error_of(&good[..good.len() - 1], (16, 16)), None, "a block cut short");
        assert_eq!(error_of(&good[..HEAD - 40], (16, 16)), None, "a head cut short");
        assert_eq!(error_of(&exported(77, 28, &[], 0), (16, 16)), None, "an unknown kind");
        assert_eq!(error_of(&exported(H264, 28, &[], 0), (0, 16)), None, "no picture");
        let with = |at: usize, value: usize| {
            let mut bytes = good.clone();
            bytes[at..at + size_of::<usize>()].copy_from_slice(&value.to_ne_bytes());
            error_of(&bytes, (16, 16))
        };
        for offset in [good.len(), usize::MAX, usize::MAX - 30] {
            assert_eq!(with(offset_of!(Head, blocks_offset), offset), None, "blocks at {offset}");
        }
        for each in [0, 19, 1 << 40, usize::MAX] {
            assert_eq!(with(offset_of!(Head, block_size), each), None, "{each} bytes a block");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_stop_the_program(
            kind in -1..3, qp: i32, blocks in prop::collection::vec(prop::array::uniform5(any::<i32>()), 0..9),
            spoilt in prop::collection::vec((0..HEAD, any::<u8>()), 0..4), codec: i32, depth: u8,
        ) {
            let mut bytes = exported(kind, qp, &blocks, 3);
            for (at, value) in spoilt {
                bytes[at] = value;
            }
            if let Some(error) = Exported::read(&bytes, codec, depth).and_then(|e| e.error_of((33, 50))) {
                prop_assert!(error.deviation.is_finite() && error.deviation > 0.0);
                prop_assert!(error.blocks.is_none_or(|b| b.dim() == (3, 4) && b.iter().all(|v| v.is_finite())));
            }
        }
    }
}
