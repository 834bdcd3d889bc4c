//! Pictures as encoders are fed with them: planes of `f32` rounded into a pixel format.
//!
//! What is not here: which format (`format_choice`), and what a format looks like in memory (`pixel`).

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::convert::Converter;
use super::ffi::{Picture, check};
use super::format_choice::{needs_full, planar_of, sws_matrix};
use super::orientation::Orientation;
use super::pixel::{Native, PixelFormat};
use crate::color::Range;
use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, Frame, PictureLayout, Plane};
use crate::kernels::CpuLevel;

/// A picture in the pixel format of an encoder: samples alone, without time, tags or side data.
#[derive(Debug)]
pub struct Packed(Picture);

impl Packed {
    pub(super) fn as_ptr(&self) -> *mut ffi::AVFrame {
        self.0.as_ptr()
    }

    /// The samples of `frame`, which are shared, and nothing else of it: an encoder obeys much of what a decoder tells.
    ///
    /// # Safety
    /// `frame` holds a picture in buffers of its own.
    pub(super) unsafe fn of(frame: *const ffi::AVFrame) -> Result<Self> {
        let bare = Picture::new()?;
        let raw = bare.as_ptr();
        // SAFETY: by the caller's promise; a picture has at most as many buffers as `buf` has places.
        unsafe {
            ((*raw).format, (*raw).width, (*raw).height) = ((*frame).format, (*frame).width, (*frame).height);
            (*raw).data = (*frame).data;
            (*raw).linesize = (*frame).linesize;
            for (mine, theirs) in (*raw).buf.iter_mut().zip((*frame).buf).filter(|(_, theirs)| !theirs.is_null()) {
                *mine = ffi::av_buffer_ref(theirs);
                if mine.is_null() {
                    return Err(Error::new(Kind::Resource, "no memory for a picture"));
                }
            }
        }
        Ok(Self(bare))
    }

    /// Its samples, row after row and plane after plane without gaps, in place of what `bytes` held.
    ///
    /// # Errors
    /// [`Kind::Bug`] if this FFmpeg cannot tell their number.
    pub fn samples_into(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let raw = self.as_ptr();
        let unknown = || "counting the bytes of a picture".to_owned();
        // SAFETY: a picture in buffers of its own; `bytes` is as long as FFmpeg wants it.
        unsafe {
            let format = PixelFormat((*raw).format).raw()?;
            let size = ffi::av_image_get_buffer_size(format, (*raw).width, (*raw).height, 1);
            bytes.resize(check(size, Kind::Bug, unknown)? as usize, 0);
            let data = (*raw).data.as_ptr().cast::<*const u8>();
            let (lines, width, height) = ((*raw).linesize.as_ptr(), (*raw).width, (*raw).height);
            let code = ffi::av_image_copy_to_buffer(bytes.as_mut_ptr(), size, data, lines, format, width, height, 1);
            check(code, Kind::Bug, unknown).map(drop)
        }
    }
}

/// Rounds planes into one pixel format.
#[derive(Debug)]
pub(super) struct Packer {
    native: Native,
    layout: PictureLayout,
    intermediate: Option<(Native, Converter)>,
    picture: Picture,
    staging: Picture,
    cpu: CpuLevel,
}

impl Packer {
    /// For planes of `layout`.
    pub(super) fn new(native: Native, layout: &PictureLayout, cpu: CpuLevel) -> Result<Self> {
        let intermediate =
            if packs_directly(&native, layout) { None } else { Some((planar_of(layout)?, Converter::new()?)) };
        let (picture, staging) = (Picture::new()?, Picture::new()?);
        Ok(Self { native, layout: layout.clone(), intermediate, picture, staging, cpu })
    }

    pub(super) fn native(&self) -> &Native {
        &self.native
    }

    pub(super) fn layout(&self) -> &PictureLayout {
        &self.layout
    }

    /// A picture in the pixel format holding `planes`.
    pub(super) fn pack(&mut self, planes: &[Plane]) -> Result<Packed> {
        let Some((planar, converter)) = &mut self.intermediate else {
            prepare(&self.picture, &self.native, &self.layout)?;
            let stored = stored_planes(planes, &self.layout, &self.native);
            let stored_layout = PictureLayout {
                chroma_log2: self.native.chroma_log2,
                family: self.native.family,
                ..self.layout.clone()
            };
            // SAFETY: prepared just now, in this format and size.
            return unsafe {
                self.native.pack(&stored, &stored_layout, self.picture.as_ptr(), self.cpu);
                Packed::of(self.picture.as_ptr())
            };
        };
        prepare(&self.staging, planar, &self.layout)?;
        // SAFETY: as above.
        unsafe {
            planar.pack(planes, &self.layout, self.staging.as_ptr(), self.cpu);
            let full_in = self.layout.color.is_full(self.layout.family);
            let full_out = needs_full(&self.native)
                || if self.native.family == ColorFamily::Rgb { true } else { self.layout.color.range == Range::Full };
            let out = converter.convert(
                self.staging.as_ptr(),
                self.native.format,
                self.layout.width,
                self.layout.height,
                [full_in, full_out],
                sws_matrix(&self.layout),
            )?;
            Packed::of(out)
        }
    }
}

/// Whether planes of `layout` can be stored as they are, apart from depth and a missing alpha or chroma.
fn packs_directly(native: &Native, layout: &PictureLayout) -> bool {
    let same_family =
        native.family == layout.family || (layout.family == ColorFamily::Gray && native.family == ColorFamily::YCbCr);
    let same_chroma = native.chroma_log2 == layout.chroma_log2 || layout.family == ColorFamily::Gray;
    let range_ok = !needs_full(native) || layout.color.range == Range::Full;
    same_family && same_chroma && range_ok
}

/// From finished frames to pictures as one output's encoder takes them: turned where the container cannot say how they
/// are to be shown, and rounded into its pixel format.
#[derive(Debug)]
pub struct Packing {
    turn: Orientation,
    packer: Packer,
}

impl Packing {
    /// For frames of `layout` that are turned by `turn` and stored as `pixel_format`.
    ///
    /// # Errors
    /// [`Kind::Input`] if this FFmpeg does not have the format; [`Kind::Usage`] if this program cannot write it.
    pub fn new(layout: &PictureLayout, turn: Orientation, pixel_format: &str, cpu: CpuLevel) -> Result<Self> {
        let unknown = || Error::new(Kind::Usage, format!("pixel format {pixel_format} cannot be written by subpel"));
        let native = PixelFormat::find(pixel_format)?.native().ok_or_else(unknown)?;
        Ok(Self { turn, packer: Packer::new(native, &turn.layout(layout), cpu)? })
    }

    /// The picture of `frame`.
    ///
    /// # Errors
    /// [`Kind::Resource`] if memory ran out.
    pub fn pack(&mut self, frame: &Frame) -> Result<Packed> {
        let turn = self.turn;
        turned_planes(frame, turn, |planes| self.packer.pack(planes))
    }

    /// What pictures look like once they are packed: the layout of the frames, turned, with the family, sampling and depth
    /// of the format. Samples that were read with it are packed as they were.
    pub(super) fn packed_layout(&self) -> PictureLayout {
        packed_layout(self.packer.native(), self.packer.layout())
    }

    pub(super) fn native(&self) -> &Native {
        self.packer.native()
    }
}

/// The layout of pictures of `native` that were planes of `layout`.
pub(super) fn packed_layout(native: &Native, layout: &PictureLayout) -> PictureLayout {
    let mut packed = PictureLayout {
        family: native.family,
        chroma_log2: native.chroma_log2,
        alpha: native.alpha,
        depth: native.depth,
        ..layout.clone()
    };
    if needs_full(native) {
        packed.color.range = Range::Full;
    }
    packed
}

/// Runs `each` on the planes of `frame`, turned.
pub(super) fn turned_planes<T>(frame: &Frame, turn: Orientation, each: impl FnOnce(&[Plane]) -> T) -> T {
    if turn.is_identity() {
        return each(&frame.planes);
    }
    let turned: Vec<Plane> = frame.planes.iter().map(|p| turn.turn(p)).collect();
    each(&turned)
}

/// Makes `picture` a writable picture of this format and size, reusing its buffers if nobody else holds them.
fn prepare(picture: &Picture, native: &Native, layout: &PictureLayout) -> Result<()> {
    let frame = picture.as_ptr();
    // SAFETY: a valid frame of ours.
    let code = unsafe {
        if (*frame).data[0].is_null() || ffi::av_frame_is_writable(frame) == 0 {
            picture.clear();
            (*frame).format = native.format.0;
            (*frame).width = layout.width as c_int;
            (*frame).height = layout.height as c_int;
            ffi::av_frame_get_buffer(frame, 0)
        } else {
            0
        }
    };
    check(code, Kind::Resource, || "getting memory for a picture".into()).map(drop)
}

/// Drops all side data of a frame.
///
/// # Safety
/// `frame` is valid.
pub(super) unsafe fn remove_side_data(frame: *mut ffi::AVFrame) {
    // SAFETY: by the caller's promise; removing a type shrinks the list.
    unsafe {
        let mut left = (*frame).nb_side_data;
        while left > 0 {
            ffi::av_frame_remove_side_data(frame, (*(*(*frame).side_data)).type_);
            let now = (*frame).nb_side_data;
            if now == left {
                break;
            }
            left = now;
        }
    }
}

/// The planes in the order and number the format stores: alpha added or left out, grey given neutral chroma, full
/// range stretched where the depth changes.
fn stored_planes<'a>(planes: &'a [Plane], layout: &PictureLayout, native: &Native) -> std::borrow::Cow<'a, [Plane]> {
    let gain = depth_gain(layout, native.depth);
    let to_color = layout.family == ColorFamily::Gray && native.family != ColorFamily::Gray;
    if gain == 1.0 && !to_color && layout.alpha == native.alpha {
        return planes.into();
    }
    let colors = layout.plane_count() - usize::from(layout.alpha);
    let mut stored: Vec<Plane> = planes[..colors].iter().map(|p| p * gain).collect();
    if to_color {
        let chroma =
            PictureLayout { family: native.family, chroma_log2: native.chroma_log2, alpha: false, ..layout.clone() };
        stored.extend((1..3).map(|i| Plane::from_elem(chroma.plane_size(i), 128.0)));
    }
    if native.alpha {
        let opaque = || Plane::from_elem((layout.height, layout.width), 256.0);
        stored.push(if layout.alpha { &planes[colors] * gain } else { opaque() });
    }
    stored.into()
}

/// Factor for full-range samples when `2^depth - 1` codes become another number of codes.
fn depth_gain(layout: &PictureLayout, depth: u8) -> f32 {
    if depth == layout.depth || !layout.color.is_full(layout.family) {
        return 1.0;
    }
    let top = |depth: u8| ((1u32 << depth) - 1) as f32 / 2f32.powi(i32::from(depth) - 8);
    top(depth) / top(layout.depth.min(16))
}
