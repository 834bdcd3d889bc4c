//! Text subtitles from one coding to another, where the container cannot hold what the source has.

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::decoder::known_codec_id;
use super::ffi::{Codec, NO_TIME, Packet, check, rational};
use super::probe::codec_name;
use crate::error::{Error, Kind, Result};

/// Largest coded subtitle: FFmpeg's own tool has the same limit.
const LARGEST: usize = 1 << 20;

/// Text codings in the order of preference where the source's own does not fit.
const CODINGS: [ffi::AVCodecID; 4] = [
    ffi::AVCodecID::AV_CODEC_ID_SUBRIP,
    ffi::AVCodecID::AV_CODEC_ID_MOV_TEXT,
    ffi::AVCodecID::AV_CODEC_ID_WEBVTT,
    ffi::AVCodecID::AV_CODEC_ID_ASS,
];

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    /// It holds the converted text.
    Done,
    /// It held no text.
    Empty,
    /// It could not be read or written.
    Failed,
}

/// Decodes text subtitles and codes them again.
#[derive(Debug)]
pub(super) struct SubtitleConverter {
    decoder: Codec,
    encoder: Codec,
    buffer: Vec<u8>,
}

/// The text coding that `container` holds and this FFmpeg can write, if `stream` is text.
///
/// # Safety
/// `stream` belongs to an open input, `container` is FFmpeg's own.
pub(super) unsafe fn coding_for(
    stream: *const ffi::AVStream,
    container: *const ffi::AVOutputFormat,
) -> Option<ffi::AVCodecID> {
    // SAFETY: by the caller's promise; descriptors and codecs are static.
    unsafe {
        let id = known_codec_id((*stream).codecpar).ok()?;
        let descriptor = ffi::avcodec_descriptor_get(id);
        let text = !descriptor.is_null() && (*descriptor).props & ffi::AV_CODEC_PROP_TEXT_SUB as c_int != 0;
        let usable = |id: &ffi::AVCodecID| {
            ffi::avformat_query_codec(container, *id, 0) == 1 && !ffi::avcodec_find_encoder(*id).is_null()
        };
        if !text || ffi::avcodec_find_decoder(id).is_null() {
            return None;
        }
        CODINGS.into_iter().find(usable)
    }
}

impl SubtitleConverter {
    /// Opens both codecs and describes the result in `parameters`.
    ///
    /// # Safety
    /// `stream` belongs to an open input; `parameters` to a fresh stream of the output.
    pub(super) unsafe fn open(
        stream: *const ffi::AVStream,
        coding: ffi::AVCodecID,
        parameters: *mut ffi::AVCodecParameters,
    ) -> Result<Self> {
        // SAFETY: by the caller's promise; objects are checked before use.
        unsafe {
            let source = (*stream).codecpar;
            let doing = || format!("converting {} subtitles", codec_name(source));
            let codec = ffi::avcodec_find_decoder(known_codec_id(source)?);
            let decoder = Codec::new(codec)?;
            check(ffi::avcodec_parameters_to_context(decoder.as_ptr(), source), Kind::Input, doing)?;
            (*decoder.as_ptr()).pkt_timebase = (*stream).time_base;
            check(ffi::avcodec_open2(decoder.as_ptr(), codec, std::ptr::null_mut()), Kind::Input, doing)?;
            let codec = ffi::avcodec_find_encoder(coding);
            let encoder = Codec::new(codec)?;
            (*encoder.as_ptr()).time_base = rational(1, 1000);
            copy_header(decoder.as_ptr(), encoder.as_ptr())?;
            check(ffi::avcodec_open2(encoder.as_ptr(), codec, std::ptr::null_mut()), Kind::Unavailable, doing)?;
            check(ffi::avcodec_parameters_from_context(parameters, encoder.as_ptr()), Kind::Resource, doing)?;
            Ok(Self { decoder, encoder, buffer: vec![0; LARGEST] })
        }
    }

    /// Converts one packet in place.
    pub(super) fn convert(&mut self, packet: &Packet) -> Result<Conversion> {
        // SAFETY: an all-zero AVSubtitle is an empty one; contexts and packet are valid.
        unsafe {
            let mut subtitle: ffi::AVSubtitle = std::mem::zeroed();
            let mut got = 0;
            let code = ffi::avcodec_decode_subtitle2(self.decoder.as_ptr(), &mut subtitle, &mut got, packet.as_ptr());
            if code < 0 || got == 0 {
                return Ok(if code < 0 { Conversion::Failed } else { Conversion::Empty });
            }
            let result = self.encode(&mut subtitle, packet);
            ffi::avsubtitle_free(&mut subtitle);
            result
        }
    }

    /// # Safety
    /// `subtitle` was decoded just now.
    unsafe fn encode(&mut self, subtitle: &mut ffi::AVSubtitle, packet: &Packet) -> Result<Conversion> {
        // SAFETY: by the caller's promise; the buffer's size is given and the new packet holds what is copied.
        unsafe {
            subtitle.end_display_time = subtitle.end_display_time.saturating_sub(subtitle.start_display_time);
            subtitle.start_display_time = 0;
            let size = ffi::avcodec_encode_subtitle(
                self.encoder.as_ptr(),
                self.buffer.as_mut_ptr(),
                LARGEST as c_int,
                subtitle,
            );
            if size < 0 {
                return Ok(Conversion::Failed);
            }
            let raw = packet.as_ptr();
            let (pts, dts, duration, stream, flags) =
                ((*raw).pts, (*raw).dts, (*raw).duration, (*raw).stream_index, (*raw).flags);
            packet.clear();
            check(ffi::av_new_packet(raw, size), Kind::Resource, || "no memory for a subtitle".into())?;
            std::ptr::copy_nonoverlapping(self.buffer.as_ptr(), (*raw).data, size as usize);
            ((*raw).pts, (*raw).dts, (*raw).duration) = (if pts == NO_TIME { dts } else { pts }, dts, duration);
            ((*raw).stream_index, (*raw).flags) = (stream, flags | ffi::AV_PKT_FLAG_KEY);
            Ok(Conversion::Done)
        }
    }
}

/// Encoders of text need the decoder's ASS header.
///
/// # Safety
/// Both contexts are valid, the encoder not opened.
unsafe fn copy_header(decoder: *const ffi::AVCodecContext, encoder: *mut ffi::AVCodecContext) -> Result<()> {
    // SAFETY: by the caller's promise; the copy has one more byte for the terminator, and FFmpeg frees it.
    unsafe {
        let size = usize::try_from((*decoder).subtitle_header_size).unwrap_or(0);
        if (*decoder).subtitle_header.is_null() || size == 0 {
            return Ok(());
        }
        let copy = ffi::av_mallocz(size + 1).cast::<u8>();
        if copy.is_null() {
            return Err(Error::new(Kind::Resource, "no memory for a subtitle header"));
        }
        std::ptr::copy_nonoverlapping((*decoder).subtitle_header, copy, size);
        (*encoder).subtitle_header = copy;
        (*encoder).subtitle_header_size = size as c_int;
        Ok(())
    }
}
