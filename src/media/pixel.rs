//! Pixel formats: what FFmpeg's frames hold, as planes of `f32` and back.
//!
//! Works from FFmpeg's own format descriptors, so planar, semi-planar and packed formats of 8 to 16 bits, either
//! byte order, go through the same few loops. Formats whose samples are not whole bytes (palettes, 1-bit, 565,
//! Bayer, hardware surfaces, floating point) are first converted by swscale to the nearest format that has them.

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::ffi::{copied, raw_enum};
use crate::color::{ColorDescription, Range};
use crate::error::{Error, Kind, Result};
use crate::frame::{ChromaSite, ColorFamily, PictureLayout, Plane};
use crate::kernels::{CpuLevel, samples};

/// A pixel format by FFmpeg's number: kept as an integer, since a newer library may know more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PixelFormat(pub(super) i32);

/// Where one component's samples are.
#[derive(Debug, Clone, Copy)]
struct Component {
    plane: usize,
    step: usize,
    offset: usize,
    shift: u32,
}

/// A format whose samples this module reads and writes itself.
#[derive(Debug, Clone)]
pub(super) struct Native {
    pub(super) format: PixelFormat,
    pub(super) family: ColorFamily,
    pub(super) chroma_log2: (u8, u8),
    pub(super) alpha: bool,
    pub(super) depth: u8,
    big_endian: bool,
    /// Plane order of [`crate::frame`].
    components: Vec<Component>,
    /// Number of FFmpeg's planes.
    planes: usize,
}

impl PixelFormat {
    /// FFmpeg's enum value, if the headers this was built against have it.
    pub(super) fn raw(self) -> Result<ffi::AVPixelFormat> {
        let unknown = || Error::new(Kind::Input, format!("pixel format {} is newer than this program", self.0));
        self.descriptor().ok_or_else(unknown)?;
        // SAFETY: `descriptor` has compared the number with the enum's range.
        Ok(unsafe { std::mem::transmute::<i32, ffi::AVPixelFormat>(self.0) })
    }

    fn descriptor(self) -> Option<&'static ffi::AVPixFmtDescriptor> {
        let known = 0..ffi::AVPixelFormat::AV_PIX_FMT_NB as i32;
        if !known.contains(&self.0) {
            return None;
        }
        // SAFETY: the value is one of the enum's; descriptors are static.
        unsafe { ffi::av_pix_fmt_desc_get(std::mem::transmute::<i32, ffi::AVPixelFormat>(self.0)).as_ref() }
    }

    /// FFmpeg's name.
    pub(super) fn name(self) -> String {
        // SAFETY: names are static strings.
        self.descriptor().map_or_else(|| format!("format {}", self.0), |d| unsafe { copied(d.name) })
    }

    /// The format with this name.
    pub(super) fn find(name: &str) -> Result<Self> {
        let text = super::ffi::c_string(name)?;
        // SAFETY: a valid string.
        let found = Self(unsafe { ffi::av_get_pix_fmt(text.as_ptr()) } as i32);
        if found.descriptor().is_none() {
            return Err(Error::new(Kind::Usage, format!("pixel format {name:?} is not known to FFmpeg"))
                .hint("`ffmpeg -pix_fmts` lists them"));
        }
        Ok(found)
    }

    pub(super) fn is_rgb(self) -> bool {
        let flags = (ffi::AV_PIX_FMT_FLAG_RGB | ffi::AV_PIX_FMT_FLAG_PAL) as u64;
        self.descriptor().is_some_and(|d| d.flags & flags != 0)
    }

    /// The old full-range formats (`yuvj420p`), which mean the plain format with full range.
    fn is_full_by_name(self) -> bool {
        self.name().starts_with("yuvj")
    }

    /// How to read and write this format here, or `None` if swscale has to convert it first.
    pub(super) fn native(self) -> Option<Native> {
        let d = self.descriptor()?;
        let odd = ffi::AV_PIX_FMT_FLAG_PAL
            | ffi::AV_PIX_FMT_FLAG_BITSTREAM
            | ffi::AV_PIX_FMT_FLAG_HWACCEL
            | ffi::AV_PIX_FMT_FLAG_BAYER
            | ffi::AV_PIX_FMT_FLAG_FLOAT;
        if d.flags & odd as u64 != 0 || self.name().starts_with("xyz") {
            return None;
        }
        let used = &d.comp[..usize::from(d.nb_components)];
        let depth = used[0].depth;
        let bytes = if depth > 8 { 2 } else { 1 };
        let whole = used.iter().all(|c| {
            c.depth == depth
                && (depth > 8 || c.shift == 0)
                && c.shift + depth <= 8 * bytes
                && c.step >= bytes
                && c.offset % bytes == 0
        });
        if !(8..=16).contains(&depth) || !whole {
            return None;
        }
        let alpha = d.flags & ffi::AV_PIX_FMT_FLAG_ALPHA as u64 != 0;
        let family = match (used.len() - usize::from(alpha), d.flags & ffi::AV_PIX_FMT_FLAG_RGB as u64 != 0) {
            (1, _) => ColorFamily::Gray,
            (_, true) => ColorFamily::Rgb,
            (_, false) => ColorFamily::YCbCr,
        };
        let chroma_log2 = if family == ColorFamily::YCbCr { (d.log2_chroma_w, d.log2_chroma_h) } else { (0, 0) };
        Some(Native {
            format: self,
            family,
            chroma_log2,
            alpha,
            depth: depth as u8,
            big_endian: d.flags & ffi::AV_PIX_FMT_FLAG_BE as u64 != 0,
            planes: used.iter().map(|c| c.plane as usize + 1).max().unwrap_or(1),
            components: used
                .iter()
                .map(|c| Component {
                    plane: c.plane as usize,
                    step: c.step as usize,
                    offset: c.offset as usize,
                    shift: c.shift as u32,
                })
                .collect(),
        })
    }

    /// The format to convert to where [`Self::native`] is `None`: nothing is lost that 16 bits can hold.
    pub(super) fn nearest_native(self) -> Result<Native> {
        if let Some(native) = self.native() {
            return Ok(native);
        }
        let unusable = || Error::new(Kind::Input, format!("pixel format {} cannot be read", self.name()));
        let d = self.descriptor().ok_or_else(unusable)?;
        if d.flags & ffi::AV_PIX_FMT_FLAG_HWACCEL as u64 != 0 {
            return Err(unusable());
        }
        let depth = d.comp[..usize::from(d.nb_components)].iter().map(|c| c.depth).max().unwrap_or(8);
        let alpha = d.flags & ffi::AV_PIX_FMT_FLAG_ALPHA as u64 != 0;
        let gray = d.nb_components <= 2 && d.flags & (ffi::AV_PIX_FMT_FLAG_RGB | ffi::AV_PIX_FMT_FLAG_PAL) as u64 == 0;
        let name = match (gray, depth > 8, alpha) {
            (true, false, false) => "gray",
            (true, true, false) => "gray16le",
            (true, false, true) => "ya8",
            (true, true, true) => "ya16le",
            (false, false, false) => "rgb24",
            (false, true, false) => "gbrp16le",
            (false, false, true) => "rgba",
            (false, true, true) => "gbrap16le",
        };
        Self::find(name)?.native().ok_or_else(unusable)
    }
}

impl Native {
    /// The layout of a picture of this format, with the colour tags of `frame`.
    ///
    /// # Safety
    /// `frame` is a valid decoded frame.
    pub(super) unsafe fn layout(&self, frame: *const ffi::AVFrame) -> PictureLayout {
        // SAFETY: by the caller's promise.
        unsafe {
            let range = match raw_enum!(frame, color_range) {
                1 => Range::Limited,
                2 => Range::Full,
                _ if PixelFormat((*frame).format).is_full_by_name() => Range::Full,
                _ => Range::Unspecified,
            };
            let code = |value: i32| u8::try_from(value).unwrap_or(2);
            PictureLayout {
                width: (*frame).width as usize,
                height: (*frame).height as usize,
                family: self.family,
                chroma_log2: self.chroma_log2,
                chroma_site: chroma_site(raw_enum!(frame, chroma_location), self.chroma_log2),
                alpha: self.alpha,
                depth: self.depth,
                color: ColorDescription {
                    primaries: code(raw_enum!(frame, color_primaries)),
                    transfer: code(raw_enum!(frame, color_trc)),
                    matrix: code(raw_enum!(frame, colorspace)),
                    range,
                },
            }
        }
    }

    /// Reads the frame's samples into `planes`, whose sizes are those of `layout`.
    ///
    /// # Safety
    /// `frame` holds a picture of this format and of `layout`'s size.
    pub(super) unsafe fn unpack(
        &self,
        frame: *const ffi::AVFrame,
        layout: &PictureLayout,
        planes: &mut [Plane],
        cpu: CpuLevel,
    ) {
        let scale = 2f32.powi(8 - i32::from(self.depth));
        for (index, (component, plane)) in self.components.iter().zip(planes).enumerate() {
            let (_, columns) = layout.plane_size(index);
            for (y, mut row) in plane.rows_mut().into_iter().enumerate() {
                let Some(row) = row.as_slice_mut() else { continue };
                // SAFETY: the picture has this row, of at least (columns - 1) * step + sample bytes.
                let bytes = unsafe { self.row(frame, component, y, columns) };
                match (self.depth, component.step) {
                    (8, 1) => samples::widen_bytes(cpu, bytes, row),
                    (8, step) => {
                        row.iter_mut().zip(bytes.iter().step_by(step)).for_each(|(out, b)| *out = f32::from(*b))
                    }
                    (_, 2) if !self.big_endian => samples::widen_words(cpu, bytes, component.shift, scale, row),
                    (_, step) => {
                        for (out, b) in row.iter_mut().zip(bytes.chunks(step)) {
                            let pair = [b[0], b[1]];
                            let word =
                                if self.big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
                            *out = f32::from(word >> component.shift) * scale;
                        }
                    }
                }
            }
        }
    }

    /// Writes `planes`, rounded and clamped, into the frame's buffers.
    ///
    /// # Safety
    /// `frame` holds a writable picture of this format and of `layout`'s size.
    pub(super) unsafe fn pack(
        &self,
        planes: &[Plane],
        layout: &PictureLayout,
        frame: *mut ffi::AVFrame,
        cpu: CpuLevel,
    ) {
        let top = ((1u32 << self.depth) - 1) as f32;
        let scale = 2f32.powi(i32::from(self.depth) - 8);
        if self.components.len() < 4 && self.components.iter().any(|c| c.step == 4 && self.depth == 8) {
            // SAFETY: as for the components below; the padding byte of bgr0 and the like is written as zero.
            unsafe { self.clear(frame, layout) };
        }
        for (index, (component, plane)) in self.components.iter().zip(planes).enumerate() {
            let (_, columns) = layout.plane_size(index);
            for (y, row) in plane.rows().into_iter().enumerate() {
                let Some(row) = row.as_slice() else { continue };
                // SAFETY: as in `unpack`, and writable by the caller's promise.
                let bytes = unsafe { self.row_mut(frame, component, y, columns) };
                match (self.depth, component.step) {
                    (8, 1) => samples::narrow_bytes(cpu, row, bytes),
                    (8, step) => bytes
                        .iter_mut()
                        .step_by(step)
                        .zip(row)
                        .for_each(|(out, v)| *out = samples::code(*v, 255.0) as u8),
                    (_, 2) if !self.big_endian => samples::narrow_words(cpu, row, component.shift, scale, top, bytes),
                    (_, step) => {
                        for (out, v) in bytes.chunks_mut(step).zip(row) {
                            let word = (samples::code(v * scale, top) as u16) << component.shift;
                            let pair = if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
                            out[..2].copy_from_slice(&pair);
                        }
                    }
                }
            }
        }
    }

    /// The bytes of one component's row, from its first sample to its last.
    ///
    /// # Safety
    /// `frame` holds a picture of this format with that row and `columns` samples in it, nobody writes to it while the
    /// result is used.
    unsafe fn row<'a>(&self, frame: *const ffi::AVFrame, component: &Component, y: usize, columns: usize) -> &'a [u8] {
        // SAFETY: by the caller's promise.
        unsafe { std::slice::from_raw_parts(row_start(frame, component, y), self.row_length(component, columns)) }
    }

    /// The same to write to.
    ///
    /// # Safety
    /// As for [`Self::row`], and the picture is writable: nobody else reads it while the result is used.
    unsafe fn row_mut<'a>(
        &self,
        frame: *mut ffi::AVFrame,
        component: &Component,
        y: usize,
        columns: usize,
    ) -> &'a mut [u8] {
        // SAFETY: by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(row_start(frame, component, y), self.row_length(component, columns)) }
    }

    fn row_length(&self, component: &Component, columns: usize) -> usize {
        (columns - 1) * component.step + if self.depth > 8 { 2 } else { 1 }
    }

    /// Zeroes the picture of a packed format, padding included.
    ///
    /// # Safety
    /// As for [`Self::pack`].
    unsafe fn clear(&self, frame: *mut ffi::AVFrame, layout: &PictureLayout) {
        let pixel = Component { offset: 0, ..self.components[0] };
        for y in 0..layout.height {
            // SAFETY: a packed row holds width * step bytes and is writable.
            unsafe { row_start(frame, &pixel, y).write_bytes(0, layout.width * pixel.step) };
        }
    }

    /// Formats with planes of their own for each component.
    pub(super) fn is_planar(&self) -> bool {
        self.planes == self.components.len()
    }
}

/// First byte of a component's row.
///
/// # Safety
/// `frame` holds a picture with that component and row; a negative stride (bottom-up pictures) is a valid offset too.
unsafe fn row_start(frame: *const ffi::AVFrame, component: &Component, y: usize) -> *mut u8 {
    // SAFETY: by the caller's promise.
    unsafe {
        let stride = (*frame).linesize[component.plane] as isize;
        (*frame).data[component.plane].offset(y as isize * stride).add(component.offset)
    }
}

/// Site of the first chroma sample for FFmpeg's chroma location; unspecified is left, as MPEG-2 and later have it.
fn chroma_site(location: c_int, chroma_log2: (u8, u8)) -> ChromaSite {
    let (x, y) = match location {
        2 => (0.5, 0.5), // centre: MPEG-1, JPEG
        3 => (0.0, 0.0), // top left
        4 => (0.5, 0.0), // top
        5 => (0.0, 1.0), // bottom left
        6 => (0.5, 1.0), // bottom
        _ => (0.0, 0.5), // left, and what players assume where nothing is said
    };
    // 4:1:1 and 4:1:0 have chroma four luma samples apart; "between" is then at 1.5.
    let widen = |site: f64, log2: u8| {
        if log2 > 1 && site == 0.5 {
            1.5
        } else if log2 == 0 {
            0.0
        } else {
            site
        }
    };
    ChromaSite { x: widen(x, chroma_log2.0), y: widen(y, chroma_log2.1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_formats_are_read_as_they_are() {
        for (name, family, log2, alpha, depth) in [
            ("yuv420p", ColorFamily::YCbCr, (1, 1), false, 8),
            ("yuvj422p", ColorFamily::YCbCr, (1, 0), false, 8),
            ("nv12", ColorFamily::YCbCr, (1, 1), false, 8),
            ("p010le", ColorFamily::YCbCr, (1, 1), false, 10),
            ("yuyv422", ColorFamily::YCbCr, (1, 0), false, 8),
            ("yuva444p12le", ColorFamily::YCbCr, (0, 0), true, 12),
            ("gray16be", ColorFamily::Gray, (0, 0), false, 16),
            ("ya8", ColorFamily::Gray, (0, 0), true, 8),
            ("bgr0", ColorFamily::Rgb, (0, 0), false, 8),
            ("gbrp10le", ColorFamily::Rgb, (0, 0), false, 10),
            ("rgba64be", ColorFamily::Rgb, (0, 0), true, 16),
        ] {
            let native =
                PixelFormat::find(name).expect(name).native().unwrap_or_else(|| panic!("{name} is not native"));
            assert_eq!(
                (native.family, native.chroma_log2, native.alpha, native.depth),
                (family, log2, alpha, depth),
                "{name}"
            );
        }
    }

    #[test]
    fn odd_formats_have_a_native_one_to_go_to() {
        for (name, want) in [
            ("pal8", "rgba"),
            ("monow", "gray"),
            ("rgb565le", "rgb24"),
            ("gbrpf32le", "gbrp16le"),
            ("x2rgb10le", "gbrp16le"),
        ] {
            let format = PixelFormat::find(name).expect(name);
            assert!(format.native().is_none(), "{name} has no whole bytes");
            assert_eq!(format.nearest_native().expect(name).format.name(), want, "{name}");
        }
    }
}
