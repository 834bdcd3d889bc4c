//! The decoder of a video's picture: which stream, opened with which limits.

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::ffi::{Codec, Dictionary, check, raw_enum};
use super::open::{Input, InputSpec};
use super::probe::{StreamKind, codec_name, stream_kind};
use crate::error::{Error, Kind, Result};
use crate::frame::PictureLayout;

/// Ticks a picture is shown, 0 if unknown. The field's name differs between versions of FFmpeg; ffmpeg-next knows.
///
/// # Safety
/// `frame` is a valid frame.
pub(super) unsafe fn duration_of(frame: *mut ffi::AVFrame) -> i64 {
    // ffmpeg-next's wrapper frees what it wraps when dropped, owned or not: it must not be dropped.
    // SAFETY: by the caller's promise.
    let wrapped = std::mem::ManuallyDrop::new(unsafe { ffmpeg_next::frame::Frame::wrap(frame) });
    wrapped.packet().duration.max(0)
}

/// Whether a picture is flagged as two fields.
///
/// # Safety
/// `frame` is a valid frame.
pub(super) unsafe fn is_interlaced(frame: *mut ffi::AVFrame) -> bool {
    // SAFETY: by the caller's promise; not dropped, as above.
    std::mem::ManuallyDrop::new(unsafe { ffmpeg_next::frame::Video::wrap(frame) }).is_interlaced()
}

/// The stream to enlarge: the first video that is not a cover picture.
pub(super) fn picture_stream(input: &Input) -> Result<usize> {
    // SAFETY: streams of an open input.
    let kinds: Vec<StreamKind> = input.streams().iter().map(|s| unsafe { stream_kind(*s) }).collect();
    let first = |wanted| kinds.iter().position(|k| *k == wanted);
    first(StreamKind::Video).or_else(|| if kinds.len() == 1 { first(StreamKind::Picture) } else { None }).ok_or_else(
        || {
            let found = if kinds.is_empty() {
                "it has no streams".to_owned()
            } else {
                format!("its {} streams hold none", kinds.len())
            };
            Error::new(Kind::Input, format!("there is no video in it: {found}")).file(input.path())
        },
    )
}

/// Lets the demuxer skip what this reader does not decode.
pub(super) fn discard_others(input: &Input, keep: usize) {
    for (index, stream) in input.streams().iter().enumerate() {
        if index != keep {
            // SAFETY: a stream of the open input.
            unsafe { (**stream).discard = ffi::AVDiscard::AVDISCARD_ALL };
        }
    }
}

/// A decoder of `stream`, which exports how strongly pictures were compressed if `coding` is asked for (`quantiser`).
///
/// # Safety
/// `stream` belongs to an open input.
pub(super) unsafe fn open_decoder(
    stream: *const ffi::AVStream,
    threads: usize,
    max_pixels: u64,
    coding: bool,
) -> Result<Codec> {
    // SAFETY: by the caller's promise; every object is checked before use.
    unsafe {
        let parameters = (*stream).codecpar;
        let codec = ffi::avcodec_find_decoder(known_codec_id(parameters)?);
        if codec.is_null() {
            return Err(Error::new(
                Kind::Unavailable,
                format!("this FFmpeg has no decoder for {}", codec_name(parameters)),
            ));
        }
        let decoder = Codec::new(codec)?;
        let context = decoder.as_ptr();
        check(ffi::avcodec_parameters_to_context(context, parameters), Kind::Input, || {
            "reading the codec's parameters".into()
        })?;
        (*context).pkt_timebase = (*stream).time_base;
        (*context).framerate = (*stream).avg_frame_rate;
        (*context).thread_count = threads as c_int;
        if coding {
            (*context).export_side_data |= ffi::AV_CODEC_EXPORT_DATA_VIDEO_ENC_PARAMS;
            // With threads for frames, FFmpeg 5.1's H.264 and MPEG-4 decoders export the quantisers of the next picture in
            // order of display while another thread may still be decoding it: they would differ from run to run.
            // (Threads for slices are no way out: they hide damage.)
            if matches!((*codec).id, ffi::AVCodecID::AV_CODEC_ID_H264 | ffi::AVCodecID::AV_CODEC_ID_MPEG4) {
                (*context).thread_count = 1;
            }
        }
        let mut options = Dictionary::new();
        options.set("max_pixels", &max_pixels.to_string())?;
        check(ffi::avcodec_open2(context, codec, &mut options.0), Kind::Input, || {
            format!("opening the {} decoder", codec_name(parameters))
        })?;
        Ok(decoder)
    }
}

/// The codec id of a stream as FFmpeg's enum, if this build knows it.
///
/// # Safety
/// `parameters` is valid.
pub(super) unsafe fn known_codec_id(parameters: *const ffi::AVCodecParameters) -> Result<ffi::AVCodecID> {
    // SAFETY: by the caller's promise. An id without a description is never read as an enum; a described one is in the
    // enum as long as the library that is loaded is not newer than the headers this was built against.
    unsafe {
        if raw_enum!(parameters, codec_id) == 0 || codec_name(parameters) == "unknown" {
            return Err(Error::new(Kind::Input, "the codec of its video is not known to FFmpeg"));
        }
        Ok((*parameters).codec_id)
    }
}

pub(super) fn check_size(layout: &PictureLayout, spec: &InputSpec) -> Result<()> {
    let pixels = layout.width as u64 * layout.height as u64;
    if pixels == 0 || pixels > spec.max_pixels {
        return Err(Error::new(
            Kind::Input,
            format!("its pictures are {}x{}, the limit is {} pixels", layout.width, layout.height, spec.max_pixels),
        )
        .hint("--max-pixels raises the limit")
        .file(&spec.path));
    }
    Ok(())
}

/// Frames as the container counts them, or its duration times the rate.
///
/// # Safety
/// Both pointers belong to one open input.
pub(super) unsafe fn estimated_frames(context: *const ffi::AVFormatContext, stream: *const ffi::AVStream) -> u64 {
    // SAFETY: by the caller's promise.
    unsafe {
        if (*stream).nb_frames > 0 {
            return (*stream).nb_frames as u64;
        }
        let rate = (*stream).avg_frame_rate;
        let seconds = (*context).duration;
        if seconds <= 0 || rate.num <= 0 || rate.den <= 0 {
            return 0;
        }
        (seconds as f64 / f64::from(ffi::AV_TIME_BASE) * f64::from(rate.num) / f64::from(rate.den)).round() as u64
    }
}
