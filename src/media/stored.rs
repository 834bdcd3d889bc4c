//! Pictures on their way to an encoder, kept in a file: losslessly, one by one, exactly as the encoder is to be fed.
//!
//! The file is NUT with FFV1, huffyuv's variant of FFmpeg, or raw pictures: the first of those that hold the pixel format
//! without loss. Its times serve who looks at it; the order of its pictures is what counts here.

use std::path::{Path, PathBuf};

use ffmpeg_next::ffi;

use super::decoder::{discard_others, open_decoder, picture_stream};
use super::encoder::{Encoder, EncoderSpec};
use super::encoder_setup::Container;
use super::ffi::{AGAIN, Codec, Packet, Picture, error_text};
use super::info::VideoInfo;
use super::log;
use super::open::{Input, InputSpec};
use super::packet_file::PacketFile;
use super::packing::{Packed, Packer, Packing};
use super::pixel::{Native, PixelFormat};
use crate::error::{Error, Kind, Result};
use crate::frame::{PictureLayout, Plane};
use crate::kernels::CpuLevel;

/// How pictures are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// FFV1, version 3, every picture by itself, with check sums: smallest.
    Small,
    /// Huffman codes of differences: 3 to 4 times the size, a seventh of the time to write, half of that to read
    /// (measured at 1080p).
    Fast,
}

/// A file of pictures in the making.
pub struct StoredWriter {
    file: PacketFile,
    encoder: Encoder,
    /// From the form of the pictures to that of the file; `None` where they are the same.
    detour: Option<Detour>,
    first: Option<i64>,
    path: PathBuf,
}

impl std::fmt::Debug for StoredWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Between two pixel formats that hold the same samples.
#[derive(Debug)]
struct Detour {
    from: Native,
    layout: PictureLayout,
    planes: Vec<Plane>,
    cpu: CpuLevel,
}

impl Detour {
    fn new(from: Native, layout: PictureLayout, cpu: CpuLevel) -> Self {
        let planes = (0..layout.plane_count()).map(|i| Plane::zeros(layout.plane_size(i))).collect();
        Self { from, layout, planes, cpu }
    }

    /// The samples of a picture.
    ///
    /// # Safety
    /// `frame` holds a picture of the format and size that this was made for.
    unsafe fn read(&mut self, frame: *const ffi::AVFrame) -> &[Plane] {
        // SAFETY: by the caller's promise.
        unsafe { self.from.unpack(frame, &self.layout, &mut self.planes, self.cpu) };
        &self.planes
    }
}

/// Encoders that may keep pictures, with their options, the preferred one first.
fn candidates(keeping: Keeping) -> Vec<(&'static str, &'static [(&'static str, &'static str)])> {
    let small: (_, &[_]) = ("ffv1", &[("level", "3"), ("g", "1"), ("slicecrc", "1")]);
    let fast: (_, &[_]) = ("ffvhuff", &[]);
    let any: (_, &[_]) = ("rawvideo", &[]);
    match keeping {
        Keeping::Small => vec![small, any],
        Keeping::Fast => vec![fast, small, any],
    }
}

impl StoredWriter {
    /// Makes or empties `path` for pictures that `packing` makes of frames of `source`.
    ///
    /// # Errors
    /// [`Kind::Create`] if it cannot be written; [`Kind::Unavailable`] if no encoder holds such pictures.
    pub fn create(
        path: &Path,
        packing: &Packing,
        source: &VideoInfo,
        keeping: Keeping,
        threads: usize,
        cpu: CpuLevel,
    ) -> Result<Self> {
        let make = || {
            log::install();
            let (native, layout) = (packing.native(), packing.packed_layout());
            let told = VideoInfo { hdr: Vec::new(), format: native.format, ..source.clone() };
            let container = Container { format: PacketFile::format()?, path, pipe: false };
            let encoder = open_exact(native, &layout, &told, &container, keeping, threads, cpu)?;
            let detour =
                (encoder.native().format != native.format).then(|| Detour::new(native.clone(), layout.clone(), cpu));
            let file = PacketFile::create(path, &encoder, &told, encoder.time_base(), false)?;
            Ok(Self { file, encoder, detour, first: None, path: path.to_owned() })
        };
        make().map_err(|e: Error| e.file(path))
    }

    /// Writes the next picture, shown at `pts` ticks of the source.
    ///
    /// # Errors
    /// [`Kind::Io`] or [`Kind::Resource`] if writing failed.
    pub fn write(&mut self, picture: &Packed, pts: i64) -> Result<()> {
        self.write_picture(picture, pts).map_err(|e| e.file(&self.path))
    }

    fn write_picture(&mut self, picture: &Packed, pts: i64) -> Result<()> {
        let time = pts.saturating_sub(*self.first.get_or_insert(pts));
        match &mut self.detour {
            None => {
                // Its tags would stay with the picture, which goes to another encoder too.
                // SAFETY: a picture of ours.
                let own = unsafe { Packed::of(picture.as_ptr())? };
                self.encoder.send(&own, &[], time)?;
            }
            Some(detour) => {
                // SAFETY: packed in the form that the detour was made for.
                let planes = unsafe { detour.read(picture.as_ptr()) };
                let own = self.encoder.pack(planes)?;
                self.encoder.send(&own, &[], time)?;
            }
        }
        self.write_packets()
    }

    fn write_packets(&mut self) -> Result<()> {
        let base = self.encoder.time_base();
        while let Some(packet) = self.encoder.receive()? {
            self.file.write(&packet, base)?;
        }
        Ok(())
    }

    /// Ends the file. Returns the number of pictures in it.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn finish(mut self) -> Result<u64> {
        let ended = self.encoder.finish().and_then(|()| self.write_packets());
        ended.and_then(|()| self.file.finish()).map_err(|e| e.file(&self.path))
    }
}

/// The first encoder that keeps pictures of `native` as they are.
fn open_exact(
    native: &Native,
    layout: &PictureLayout,
    source: &VideoInfo,
    container: &Container<'_>,
    keeping: Keeping,
    threads: usize,
    cpu: CpuLevel,
) -> Result<Encoder> {
    let mut refusal = None;
    for (name, options) in candidates(keeping) {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let spec = EncoderSpec {
            codec: Some(name.to_owned()),
            options,
            pixel_format: (name == "rawvideo").then(|| native.format.name()),
            // Frames that are encoded side by side come out late and hold memory; slices do neither.
            threads: if name == "ffv1" { threads } else { 1 },
            ..EncoderSpec::default()
        };
        match Encoder::open(&spec, container, source, layout, cpu) {
            Ok(encoder) if holds(encoder.native(), native) => return Ok(encoder),
            Ok(_) => {}
            Err(error) => refusal = Some(error),
        }
    }
    let message = format!("pictures in {} cannot be kept without loss", native.format.name());
    let error = Error::new(Kind::Unavailable, message).hint("take another --pix-fmt, or upscale without segments");
    Err(match refusal {
        Some(cause) => error.caused_by(cause),
        None => error,
    })
}

/// Whether `file` holds what `picture` holds, sample by sample.
fn holds(file: &Native, picture: &Native) -> bool {
    let alike = (file.family, file.chroma_log2, file.depth) == (picture.family, picture.chroma_log2, picture.depth);
    alike && (file.alpha || !picture.alpha)
}

/// Reads a file of pictures, one after the other.
pub struct StoredReader {
    input: Input,
    decoder: Codec,
    packet: Packet,
    picture: Picture,
    detour: Option<(Detour, Packer)>,
    draining: bool,
    wanted: (PixelFormat, std::ffi::c_int, std::ffi::c_int),
    path: PathBuf,
}

impl std::fmt::Debug for StoredReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StoredReader {
    /// Opens a file of pictures that `packing` has made. `threads` of 0 lets FFmpeg choose.
    ///
    /// # Errors
    /// [`Kind::Input`] if it is not such a file.
    pub fn open(path: &Path, packing: &Packing, threads: usize, cpu: CpuLevel) -> Result<Self> {
        Self::open_file(path, Some(packing), threads, cpu).map_err(|e| e.file(path))
    }

    /// The same for looking at it: pictures come in the format of the file.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_any(path: &Path, cpu: CpuLevel) -> Result<Self> {
        Self::open_file(path, None, 0, cpu).map_err(|e| e.file(path))
    }

    fn open_file(path: &Path, packing: Option<&Packing>, threads: usize, cpu: CpuLevel) -> Result<Self> {
        let spec = InputSpec { max_pixels: i32::MAX as u64, ..InputSpec::local(path) };
        let input = Input::open(&spec)?;
        let stream = picture_stream(&input)?;
        discard_others(&input, stream);
        // SAFETY: the stream belongs to the open input.
        let (decoder, wanted) = unsafe {
            let parameters = (*input.streams()[stream]).codecpar;
            let decoder = open_decoder(input.streams()[stream], threads, spec.max_pixels, false)?;
            (decoder, (PixelFormat((*parameters).format), (*parameters).width, (*parameters).height))
        };
        let detour = match packing {
            None => None,
            Some(packing) => way_back(wanted, packing, cpu)?,
        };
        let (packet, picture) = (Packet::new()?, Picture::new()?);
        Ok(Self { input, decoder, packet, picture, detour, draining: false, wanted, path: path.to_owned() })
    }

    /// The next picture, or `None` after the last one.
    ///
    /// # Errors
    /// [`Kind::Input`] if the file is not as it was written.
    pub fn next_picture(&mut self) -> Result<Option<Packed>> {
        self.next_packed().map_err(|e| e.file(&self.path))
    }

    fn next_packed(&mut self) -> Result<Option<Packed>> {
        loop {
            // SAFETY: decoder and frame are valid; receive drops what the frame held.
            match unsafe { ffi::avcodec_receive_frame(self.decoder.as_ptr(), self.picture.as_ptr()) } {
                0 => return self.packed().map(Some),
                AGAIN if !self.draining => self.feed()?,
                ffi::AVERROR_EOF => return Ok(None),
                code => return Err(unreadable(code)),
            }
        }
    }

    fn feed(&mut self) -> Result<()> {
        // SAFETY: context and packet are valid.
        let code = unsafe { ffi::av_read_frame(self.input.as_ptr(), self.packet.as_ptr()) };
        let packet = match code {
            0.. => self.packet.as_ptr().cast_const(),
            ffi::AVERROR_EOF => {
                self.draining = true;
                std::ptr::null()
            }
            _ => return Err(unreadable(code)),
        };
        // SAFETY: the decoder is open; the packet is valid or null for the end.
        let sent = unsafe { ffi::avcodec_send_packet(self.decoder.as_ptr(), packet) };
        self.packet.clear();
        if sent < 0 && sent != ffi::AVERROR_EOF { Err(unreadable(sent)) } else { Ok(()) }
    }

    /// The decoded picture in the form that was written.
    fn packed(&mut self) -> Result<Packed> {
        let raw = self.picture.as_ptr();
        // SAFETY: the picture was decoded just now.
        unsafe {
            if (PixelFormat((*raw).format), (*raw).width, (*raw).height) != self.wanted {
                return Err(foreign(PixelFormat((*raw).format)));
            }
            match &mut self.detour {
                None => Packed::of(raw),
                Some((detour, back)) => back.pack(detour.read(raw)),
            }
        }
    }
}

/// From pictures of a file to those that `packing` makes; `None` if they are the same.
fn way_back(
    (format, width, height): (PixelFormat, std::ffi::c_int, std::ffi::c_int),
    packing: &Packing,
    cpu: CpuLevel,
) -> Result<Option<(Detour, Packer)>> {
    let (native, layout) = (packing.native(), packing.packed_layout());
    if (width, height) != (layout.width as std::ffi::c_int, layout.height as std::ffi::c_int) {
        return Err(foreign(format));
    }
    if format == native.format {
        return Ok(None);
    }
    let from = format.native().filter(|kept| holds(kept, native)).ok_or_else(|| foreign(format))?;
    let layout = PictureLayout { alpha: from.alpha, ..layout };
    let back = Packer::new(native.clone(), &layout, cpu)?;
    Ok(Some((Detour::new(from, layout, cpu), back)))
}

fn foreign(format: PixelFormat) -> Error {
    Error::new(Kind::Input, format!("holds other pictures than were kept ({})", format.name()))
}

fn unreadable(code: std::ffi::c_int) -> Error {
    let kind = super::ffi::error_kind(code, Kind::Input);
    Error::new(kind, format!("a picture of it cannot be read: {}", error_text(code)))
}

/// Versions of FFmpeg's libraries, of which pictures and bytes may depend: name and number.
pub fn library_versions() -> Vec<(&'static str, String)> {
    let words = |number: u32| format!("{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    // SAFETY: pure functions.
    unsafe {
        vec![
            ("avcodec", words(ffi::avcodec_version())),
            ("avformat", words(ffi::avformat_version())),
            ("avutil", words(ffi::avutil_version())),
            ("swscale", words(ffi::swscale_version())),
        ]
    }
}
