//! Pictures from one pixel format or size to another by swscale, where a format is not read or written natively or a
//! video changes its format in mid-stream.

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::ffi::Picture;
use super::pixel::PixelFormat;
use crate::error::{Error, Kind, Result};

/// Where a decoded picture has a format that is not read natively: swscale to the nearest one that is.
#[derive(Debug)]
pub(super) struct Converter {
    context: *mut ffi::SwsContext,
    key: (c_int, c_int, i32, c_int, c_int, i32),
    colors: ([bool; 2], c_int),
    output: Picture,
}

// SAFETY: the context is owned by this value alone.
unsafe impl Send for Converter {}

impl Converter {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            context: std::ptr::null_mut(),
            key: (0, 0, -1, 0, 0, -1),
            colors: ([false; 2], -1),
            output: Picture::new()?,
        })
    }

    /// Converts `frame` to `format` at `width x height`; colour tags and time are copied.
    ///
    /// # Safety
    /// `frame` is a valid picture.
    pub(super) unsafe fn convert(
        &mut self,
        frame: *const ffi::AVFrame,
        format: PixelFormat,
        width: usize,
        height: usize,
        full: [bool; 2],
        matrix: c_int,
    ) -> Result<*const ffi::AVFrame> {
        let failed = |what: &str| Error::new(Kind::Resource, format!("converting pixel formats: {what}"));
        // SAFETY: `frame` is valid by the caller's promise; the output frame is ours.
        unsafe {
            let source = PixelFormat((*frame).format);
            let key = ((*frame).width, (*frame).height, source.0, width as c_int, height as c_int, format.0);
            let colors = (full, matrix);
            if self.context.is_null() || key != self.key || colors != self.colors {
                ffi::sws_freeContext(self.context);
                self.context = std::ptr::null_mut();
                // Exact paths drop the low bits of short samples (565) instead of filling them: same-size RGB goes
                // through the plain unpacking.
                let exact =
                    ffi::SWS_BICUBIC | ffi::SWS_ACCURATE_RND | ffi::SWS_FULL_CHR_H_INT | ffi::SWS_FULL_CHR_H_INP;
                let unpacks = (key.0, key.1) == (key.3, key.4) && source.is_rgb() && format.is_rgb();
                let flags = if unpacks { ffi::SWS_POINT } else { exact };
                self.context = ffi::sws_getContext(
                    key.0,
                    key.1,
                    source.raw()?,
                    key.3,
                    key.4,
                    format.raw()?,
                    flags,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    std::ptr::null(),
                );
                if self.context.is_null() {
                    return Err(failed(&format!("no path from {} to {}", source.name(), format.name())));
                }
                self.key = key;
                self.colors = colors;
                let table = ffi::sws_getCoefficients(matrix);
                // A refusal (formats without a matrix) leaves the defaults, which are right for them.
                let _ = ffi::sws_setColorspaceDetails(
                    self.context,
                    table,
                    full[0].into(),
                    table,
                    full[1].into(),
                    0,
                    1 << 16,
                    1 << 16,
                );
            }
            let out = self.output.as_ptr();
            ffi::av_frame_unref(out);
            (*out).width = width as c_int;
            (*out).height = height as c_int;
            (*out).format = format.0;
            if ffi::av_frame_get_buffer(out, 0) < 0 || ffi::av_frame_copy_props(out, frame) < 0 {
                return Err(failed("no memory"));
            }
            let source_data = (*frame).data.as_ptr().cast::<*const u8>();
            let done = ffi::sws_scale(
                self.context,
                source_data,
                (*frame).linesize.as_ptr(),
                0,
                (*frame).height,
                (*out).data.as_ptr(),
                (*out).linesize.as_ptr(),
            );
            if done <= 0 {
                return Err(failed("swscale gave no picture"));
            }
            Ok(out)
        }
    }
}

impl Drop for Converter {
    fn drop(&mut self) {
        // SAFETY: owned; freeing null is allowed.
        unsafe { ffi::sws_freeContext(self.context) };
    }
}
