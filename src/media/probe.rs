//! What is in a file: container, streams, chapters, tags. Reads headers, decodes nothing.

use std::ffi::CStr;

use ffmpeg_next::ffi;
use serde::Serialize;

use super::ffi::{NO_TIME, copied, entries_of, raw_enum};
use super::open::{Input, InputSpec};
use super::pixel::PixelFormat;
use crate::error::Result;

/// Kinds of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// Moving pictures.
    Video,
    /// A still picture such as a cover.
    Picture,
    /// Sound.
    Audio,
    /// Subtitles.
    Subtitle,
    /// A file inside the file, such as a font.
    Attachment,
    /// Anything else.
    Data,
}

/// One stream as the container describes it.
#[derive(Debug, Clone, Serialize)]
pub struct StreamInfo {
    /// Number in the container.
    pub index: usize,
    /// Kind.
    pub kind: StreamKind,
    /// FFmpeg's name of the codec.
    pub codec: String,
    /// Language tag, if any.
    pub language: Option<String>,
    /// Title tag, if any.
    pub title: Option<String>,
    /// Size and format of pictures, or rate and channels of sound, in words.
    pub details: String,
    /// Average frames a second of a video stream, 0 if unknown.
    pub frame_rate: f64,
}

/// A container as a whole.
#[derive(Debug, Clone, Serialize)]
pub struct MediaInfo {
    /// FFmpeg's name of the container.
    pub container: String,
    /// Seconds, if the container says so.
    pub duration: Option<f64>,
    /// Streams in the container's order.
    pub streams: Vec<StreamInfo>,
    /// Number of chapters.
    pub chapters: usize,
    /// Tags of the container.
    pub tags: Vec<(String, String)>,
}

impl MediaInfo {
    /// Reads the headers of `spec`.
    ///
    /// # Errors
    /// [`crate::Kind::Input`] if FFmpeg cannot read it or it is not allowed.
    pub fn probe(spec: &InputSpec) -> Result<Self> {
        Ok(Self::of(&Input::open(spec)?))
    }

    pub(super) fn of(input: &Input) -> Self {
        let context = input.as_ptr();
        // SAFETY: the context is open while `input` lives.
        let (duration, chapters, tags) =
            unsafe { ((*context).duration, (*context).nb_chapters as usize, entries_of((*context).metadata)) };
        Self {
            container: input.format_name(),
            duration: (duration != NO_TIME && duration > 0).then(|| duration as f64 / f64::from(ffi::AV_TIME_BASE)),
            // SAFETY: as above, for its streams.
            streams: input.streams().iter().map(|s| unsafe { stream_info(*s) }).collect(),
            chapters,
            tags,
        }
    }
}

/// The kind of a stream.
///
/// # Safety
/// `stream` is valid.
pub(super) unsafe fn stream_kind(stream: *const ffi::AVStream) -> StreamKind {
    // SAFETY: by the caller's promise.
    unsafe {
        let still = (*stream).disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0;
        match raw_enum!((*stream).codecpar, codec_type) {
            0 if still => StreamKind::Picture,
            0 => StreamKind::Video,
            1 => StreamKind::Audio,
            3 => StreamKind::Subtitle,
            4 => StreamKind::Attachment,
            _ => StreamKind::Data,
        }
    }
}

/// FFmpeg's name of a stream's codec.
///
/// # Safety
/// `parameters` is valid.
pub(super) unsafe fn codec_name(parameters: *const ffi::AVCodecParameters) -> String {
    // SAFETY: by the caller's promise; the descriptor is looked up by number and static.
    unsafe {
        let id = raw_enum!(parameters, codec_id);
        let mut descriptor: *const ffi::AVCodecDescriptor = std::ptr::null();
        loop {
            descriptor = ffi::avcodec_descriptor_next(descriptor);
            if descriptor.is_null() {
                return "unknown".to_owned();
            }
            if raw_enum!(descriptor, id) == id {
                return copied((*descriptor).name);
            }
        }
    }
}

/// A tag of a stream.
///
/// # Safety
/// `stream` is valid.
pub(super) unsafe fn tag(stream: *const ffi::AVStream, key: &CStr) -> Option<String> {
    // SAFETY: by the caller's promise; an entry's value is a string.
    unsafe {
        let entry = ffi::av_dict_get((*stream).metadata, key.as_ptr(), std::ptr::null(), 0);
        (!entry.is_null()).then(|| copied((*entry).value))
    }
}

/// # Safety
/// `stream` is valid.
unsafe fn stream_info(stream: *const ffi::AVStream) -> StreamInfo {
    // SAFETY: by the caller's promise.
    unsafe {
        let p = (*stream).codecpar;
        let kind = stream_kind(stream);
        let details = match kind {
            StreamKind::Video | StreamKind::Picture => {
                format!("{}x{} {}", (*p).width, (*p).height, PixelFormat((*p).format).name())
            }
            StreamKind::Audio => format!("{} Hz, {} channels", (*p).sample_rate, (*p).channels),
            StreamKind::Attachment => tag(stream, c"filename").unwrap_or_default(),
            StreamKind::Subtitle | StreamKind::Data => String::new(),
        };
        let rate = (*stream).avg_frame_rate;
        StreamInfo {
            index: (*stream).index as usize,
            kind,
            codec: codec_name(p),
            language: tag(stream, c"language"),
            title: tag(stream, c"title"),
            details,
            frame_rate: if rate.den > 0 { f64::from(rate.num) / f64::from(rate.den) } else { 0.0 },
        }
    }
}
