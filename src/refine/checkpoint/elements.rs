//! Numbers as checkpoints store them: their types, their conversion to f32 and the gathering of strided tensors.
//!
//! Knows bytes, shapes and strides; nothing of files, names or containers.

use super::damaged;
use crate::error::{Error, Kind, Result};
use half::{bf16, f16};
use std::fmt;

/// The most axes a tensor may have; convolutions need four or five.
const MAX_RANK: usize = 8;

/// How the values of a tensor are stored in the file. Integer tensors (counters of training) are left out on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    /// IEEE 754 half precision, 2 bytes.
    F16,
    /// The upper half of a single, 2 bytes.
    BF16,
    /// IEEE 754 single precision, 4 bytes.
    F32,
    /// IEEE 754 double precision, 8 bytes; rounded to the nearest single on reading.
    F64,
}

impl DType {
    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl std::str::FromStr for DType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::F16, Self::BF16, Self::F32, Self::F64];
        let wrong = || Error::new(Kind::Usage, format!("type {text:?} is not one of f16, bf16, f32, f64"));
        all.into_iter().find(|dtype| dtype.to_string() == text).ok_or_else(wrong)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// The type of a storage: values we read, or integers of which only the size matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Real(DType),
    Integer { size: usize },
}

impl Element {
    /// Bytes of one value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Real(dtype) => dtype.size(),
            Self::Integer { size } => size,
        }
    }
}

/// Which byte of a stored value comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// Where in its storage a tensor lies; counted in values, not bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    count: usize,
}

impl Layout {
    /// The layout of a tensor in C order that starts its storage.
    pub(super) fn contiguous(shape: Vec<usize>) -> Result<Self> {
        let strides = c_strides(&shape);
        Self::new(0, shape, strides)
    }

    /// Any layout with non-negative strides. Nothing is allocated for the values yet.
    ///
    /// # Errors
    /// `Kind::Input` for more than 8 axes, axes and strides that differ in number, or more values than can be counted.
    pub(super) fn new(offset: usize, shape: Vec<usize>, strides: Vec<usize>) -> Result<Self> {
        if shape.len() > MAX_RANK {
            return Err(damaged(format!("a tensor has {} axes; at most {MAX_RANK} are read", shape.len())));
        }
        if shape.len() != strides.len() {
            return Err(damaged(format!("a tensor has {} axes but {} strides", shape.len(), strides.len())));
        }
        let count = if shape.contains(&0) {
            Some(0)
        } else {
            shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length))
        };
        let count = count.ok_or_else(|| damaged(format!("the shape {shape:?} has more values than can be counted")))?;
        Ok(Self { offset, shape, strides, count })
    }

    /// The number of values.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Fails unless every value lies within a storage of `stored` values.
    pub(super) fn check_within(&self, stored: usize) -> Result<()> {
        let inside = match self.furthest() {
            Some(furthest) => self.count == 0 || furthest < stored,
            None => false,
        };
        if inside {
            return Ok(());
        }
        Err(damaged(format!(
            "shape {:?} with strides {:?} from value {} reaches outside its storage of {stored} values",
            self.shape, self.strides, self.offset
        )))
    }

    /// The index of the value furthest from the start of the storage; `None` where it cannot be counted.
    fn furthest(&self) -> Option<usize> {
        self.shape.iter().zip(&self.strides).try_fold(self.offset, |index, (&length, &stride)| {
            index.checked_add(length.saturating_sub(1).checked_mul(stride)?)
        })
    }

    /// Whether the values lie one after the other in C order; axes of length 1 may have any stride.
    fn is_contiguous(&self) -> bool {
        let dense = c_strides(&self.shape);
        self.shape
            .iter()
            .zip(self.strides.iter().zip(&dense))
            .all(|(&length, (have, want))| length == 1 || have == want)
    }

    /// The shape, giving the layout up.
    pub(super) fn into_shape(self) -> Vec<usize> {
        self.shape
    }
}

/// The strides of C order; they saturate where the shape cannot be counted, which [`Layout::new`] refuses.
fn c_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// Gathers a tensor from the bytes of its storage into C order as f32.
///
/// The layout must have passed [`Layout::check_within`] for as many values as `storage` holds; a storage that is
/// shorter all the same is reported as damaged.
pub(super) fn gather(layout: &Layout, dtype: DType, order: ByteOrder, storage: &[u8]) -> Result<Vec<f32>> {
    let short = || damaged("a storage is shorter than its tensors need");
    let mut values = Vec::new();
    values.try_reserve_exact(layout.count).map_err(|cause| {
        Error::new(Kind::Resource, format!("no memory for a tensor of {} values", layout.count)).caused_by(cause)
    })?;
    if layout.count == 0 {
        return Ok(values);
    }
    let size = dtype.size();
    let read = reader(dtype, order);
    if layout.is_contiguous() {
        let start = layout.offset.checked_mul(size).ok_or_else(short)?;
        let length = layout.count.checked_mul(size).ok_or_else(short)?;
        let bytes = storage.get(start..).and_then(|rest| rest.get(..length)).ok_or_else(short)?;
        values.extend(bytes.chunks_exact(size).map(read));
        return Ok(values);
    }
    for index in Indices::of(layout) {
        let start = index.checked_mul(size).ok_or_else(short)?;
        let bytes = storage.get(start..).and_then(|rest| rest.get(..size)).ok_or_else(short)?;
        values.push(read(bytes));
    }
    Ok(values)
}

/// The storage indices of a tensor's values in C order.
struct Indices<'a> {
    layout: &'a Layout,
    position: Vec<usize>,
    index: usize,
    left: usize,
}

impl<'a> Indices<'a> {
    fn of(layout: &'a Layout) -> Self {
        Self { layout, position: vec![0; layout.shape.len()], index: layout.offset, left: layout.count }
    }

    /// Moves to the next position, the last axis fastest. The walk never leaves the checked bounds.
    fn advance(&mut self) {
        for axis in (0..self.position.len()).rev() {
            let (length, stride) = (self.layout.shape[axis], self.layout.strides[axis]);
            if self.position[axis] + 1 < length {
                self.position[axis] += 1;
                self.index += stride;
                return;
            }
            self.index -= self.position[axis] * stride;
            self.position[axis] = 0;
        }
    }
}

impl Iterator for Indices<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let index = self.index;
        if self.left > 0 {
            self.advance();
        }
        Some(index)
    }
}

/// The conversion of one stored value, given exactly its bytes, to f32.
fn reader(dtype: DType, order: ByteOrder) -> fn(&[u8]) -> f32 {
    match (dtype, order) {
        (DType::F16, ByteOrder::Little) => |b| f16::from_le_bytes(fixed(b)).to_f32(),
        (DType::F16, ByteOrder::Big) => |b| f16::from_be_bytes(fixed(b)).to_f32(),
        (DType::BF16, ByteOrder::Little) => |b| bf16::from_le_bytes(fixed(b)).to_f32(),
        (DType::BF16, ByteOrder::Big) => |b| bf16::from_be_bytes(fixed(b)).to_f32(),
        (DType::F32, ByteOrder::Little) => |b| f32::from_le_bytes(fixed(b)),
        (DType::F32, ByteOrder::Big) => |b| f32::from_be_bytes(fixed(b)),
        (DType::F64, ByteOrder::Little) => |b| f64::from_le_bytes(fixed(b)) as f32,
        (DType::F64, ByteOrder::Big) => |b| f64::from_be_bytes(fixed(b)) as f32,
    }
}

/// The slice as an array; every caller cuts slices of exactly `N` bytes, anything else would read as zero.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn singles(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn strided_tensors_come_out_in_c_order() {
        let storage = singles(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let transposed = Layout::new(1, vec![3, 2], vec![1, 3]).expect("layout");
        transposed.check_within(7).expect("inside");
        let values = gather(&transposed, DType::F32, ByteOrder::Little, &storage).expect("values");
        assert_eq!(values, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0], "transposed, from value 1");
        let repeated = Layout::new(2, vec![3], vec![0]).expect("layout");
        assert_eq!(gather(&repeated, DType::F32, ByteOrder::Little, &storage).expect("values"), [2.0; 3], "stride 0");
        let scalar = Layout::contiguous(vec![]).expect("layout");
        assert_eq!(gather(&scalar, DType::F32, ByteOrder::Little, &storage).expect("values"), [0.0], "no axis");
    }

    #[test]
    fn every_type_and_order_is_converted() {
        let one = Layout::contiguous(vec![1]).expect("layout");
        let cases: [(DType, Vec<u8>); 4] = [
            (DType::F16, f16::from_f32(-1.5).to_le_bytes().to_vec()),
            (DType::BF16, bf16::from_f32(-1.5).to_le_bytes().to_vec()),
            (DType::F32, (-1.5_f32).to_le_bytes().to_vec()),
            (DType::F64, (-1.5_f64).to_le_bytes().to_vec()),
        ];
        for (dtype, mut bytes) in cases {
            assert_eq!(gather(&one, dtype, ByteOrder::Little, &bytes).expect("little"), [-1.5], "{dtype:?} little");
            bytes.reverse();
            assert_eq!(gather(&one, dtype, ByteOrder::Big, &bytes).expect("big"), [-1.5], "{dtype:?} big");
        }
    }

    #[test]
    fn layouts_outside_their_storage_are_refused() {
        let outside = [
            (0, vec![2, 3], vec![3, 1], 5),
            (1, vec![2, 3], vec![3, 1], 6),
            (0, vec![2], vec![usize::MAX], 6),
            (usize::MAX, vec![2], vec![1], 6),
            (0, vec![1 << 40], vec![1 << 40], 6),
        ];
        for (offset, shape, strides, stored) in outside {
            let layout = Layout::new(offset, shape, strides).expect("countable");
            assert!(layout.check_within(stored).is_err(), "{layout:?} in {stored}");
        }
        assert!(Layout::contiguous(vec![1 << 40, 1 << 40]).is_err(), "product overflow");
        assert!(Layout::contiguous(vec![1; 9]).is_err(), "nine axes");
        assert!(Layout::new(0, vec![2, 3], vec![1]).is_err(), "a stride is missing");
        let empty = Layout::contiguous(vec![1 << 40, 0, 1 << 40]).expect("empty");
        assert_eq!(empty.count(), 0, "a zero axis empties any shape");
    }
}
