//! A video that is open and not read: what its stream says of its pictures, so that what is to become of them can be prepared while
//! the first one is decoded.
//!
//! What a stream says may be wrong; the picture that is decoded ([`VideoReader`]) has the last word.

use super::decoder::check_size;
use super::ffi::{Picture, raw_enum, set_raw_enum};
use super::open::InputSpec;
use super::pixel::PixelFormat;
use super::reader::VideoReader;
use crate::error::Result;
use crate::frame::PictureLayout;
use crate::kernels::CpuLevel;

/// A video that is open, its streams known, before its first picture is decoded.
#[derive(Debug)]
pub(crate) struct Unread {
    reader: VideoReader,
    spec: InputSpec,
}

impl Unread {
    /// Opens `spec`, so that frames tell how strongly they were compressed if `coding` says so. Otherwise as
    /// [`VideoReader::open`].
    pub(crate) fn open(spec: &InputSpec, threads: usize, cpu: CpuLevel, coding: bool) -> Result<Self> {
        Ok(Self { reader: VideoReader::unread(spec, threads, cpu, coding)?, spec: spec.clone() })
    }

    /// What the stream says of its pictures, if it does. It may be wrong.
    pub(crate) fn told(&self) -> Option<PictureLayout> {
        let stream = self.reader.input.streams()[self.reader.info.stream];
        let told = Picture::new().ok()?;
        // SAFETY: the stream belongs to the open input; the frame is valid and has no samples, nor are they asked for.
        let layout = unsafe {
            let (parameters, frame) = ((*stream).codecpar, told.as_ptr());
            if (*parameters).width <= 0 || (*parameters).height <= 0 {
                return None;
            }
            ((*frame).width, (*frame).height) = ((*parameters).width, (*parameters).height);
            (*frame).format = (*parameters).format;
            set_raw_enum!(frame, color_range, raw_enum!(parameters, color_range));
            set_raw_enum!(frame, color_primaries, raw_enum!(parameters, color_primaries));
            set_raw_enum!(frame, color_trc, raw_enum!(parameters, color_trc));
            set_raw_enum!(frame, colorspace, raw_enum!(parameters, color_space));
            set_raw_enum!(frame, chroma_location, raw_enum!(parameters, chroma_location));
            PixelFormat((*frame).format).nearest_native().ok()?.layout(frame)
        };
        check_size(&layout, &self.spec).is_ok().then_some(layout)
    }

    /// Decodes the first picture.
    pub(crate) fn read(mut self) -> Result<VideoReader> {
        self.reader.learn_from_first_picture(&self.spec)?;
        Ok(self.reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_a_stream_says_of_its_pictures_is_what_they_are() {
        for (format, bytes) in [("420jpeg", 192), ("420mpeg2", 192), ("444p10", 768), ("mono", 128), ("422", 256)] {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            write!(file, "YUV4MPEG2 W16 H8 F25:1 Ip A1:1 C{format}\nFRAME\n").expect("a header");
            file.write_all(&vec![7; bytes]).expect("a picture");
            let spec = InputSpec::local(file.path());
            let unread = Unread::open(&spec, 1, CpuLevel::detect(), false).expect("opened");
            let told = unread.told();
            let reader = unread.read().expect("read");
            assert_eq!(told.as_ref(), Some(&reader.info().layout), "{format}");
            let small = InputSpec { max_pixels: 100, ..spec };
            let unread = Unread::open(&small, 1, CpuLevel::detect(), false);
            assert_eq!(unread.ok().and_then(|unread| unread.told()), None, "{format}: more pixels than allowed");
        }
    }
}
