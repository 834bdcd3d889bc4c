//! How one stream of the source is carried over: whether the container holds it, its description, its tags, its cover.

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::copied::Route;
use super::decoder::known_codec_id;
use super::ffi::{c_string, check, copied, rational, raw_enum, set_raw_enum};
use super::open::Input;
use super::probe::{StreamKind, codec_name, stream_kind, tag};
use super::subtitle::{SubtitleConverter, coding_for};
use crate::error::{Error, Kind, Result};

/// Microseconds, in which streams are put in order.
pub(super) const MICROSECONDS: ffi::AVRational = ffi::AVRational { num: 1, den: ffi::AV_TIME_BASE as c_int };

/// FFmpeg's least strict compliance.
pub(super) const EXPERIMENTAL: c_int = -2;

/// What was kept and what was not, in words.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Streams copied or converted.
    pub copied: Vec<String>,
    /// Streams and properties that the output lacks, with the reason.
    pub dropped: Vec<String>,
}

/// Whether a container hides what lies before its start, so that nothing has to be left out.
pub(super) fn has_edit_lists(container: *const ffi::AVOutputFormat) -> bool {
    // SAFETY: formats of FFmpeg are static.
    let name = unsafe { copied((*container).name) };
    ["mov", "mp4", "3gp", "3g2", "ipod", "ismv", "psp", "f4v"].contains(&name.as_str())
}

/// Adds the output stream for one stream of the source, or reports why it cannot be kept.
///
/// # Safety
/// `stream` belongs to `input`; `output` is a fresh context.
pub(super) unsafe fn add_stream(
    input: &Input,
    index: usize,
    stream: *const ffi::AVStream,
    output: *mut ffi::AVFormatContext,
    kept: &mut Kept,
) -> Result<Option<Route>> {
    // SAFETY: by the caller's promise.
    unsafe {
        let kind = stream_kind(stream);
        let name = describe(index, stream, kind);
        let container = (*output).oformat;
        let matroska = copied((*container).name).split(',').any(|n| n == "matroska");
        let reason = match kind {
            StreamKind::Picture if matroska => {
                add_cover(stream, output)?;
                kept.copied.push(name);
                return Ok(None);
            }
            StreamKind::Picture if copied((*container).name) == "mov" => "this container keeps no cover",
            StreamKind::Attachment if !matroska => "this container holds no attachments",
            StreamKind::Data if rewritten(input, stream, container) => {
                kept.copied.push(format!("{name} (written anew)"));
                return Ok(None);
            }
            StreamKind::Attachment if tag(stream, c"filename").is_none() => "the attachment has no name",
            StreamKind::Audio if (*(*stream).codecpar).sample_rate <= 0 => {
                "its sample rate is unknown, none of it was met at the start"
            }
            _ if kind == StreamKind::Attachment || holds(container, (*stream).codecpar) => {
                let target = new_stream(output)?;
                copy_description(stream, target, container)?;
                kept.copied.push(name);
                return Ok(Some(Route { output: (*target).index as usize, converter: None, last_dts: None }));
            }
            StreamKind::Subtitle => match coding_for(stream, container) {
                Some(coding) => {
                    let target = new_stream(output)?;
                    copy_description(stream, target, container)?;
                    let converter = SubtitleConverter::open(stream, coding, (*target).codecpar)?;
                    kept.copied.push(format!("{name} as {}", codec_name((*target).codecpar)));
                    return Ok(Some(Route {
                        output: (*target).index as usize,
                        converter: Some(converter),
                        last_dts: None,
                    }));
                }
                None => "this container cannot hold it and it is no text",
            },
            _ => "this container cannot hold it",
        };
        kept.dropped.push(format!("{name}: {reason}"));
        Ok(None)
    }
}

/// A stream in words: "stream 2, audio aac (eng)".
///
/// # Safety
/// `stream` is valid.
pub(super) unsafe fn describe(index: usize, stream: *const ffi::AVStream, kind: StreamKind) -> String {
    // SAFETY: by the caller's promise.
    unsafe {
        let kind = format!("{kind:?}").to_lowercase();
        let language = tag(stream, c"language").filter(|l| l != "und").map_or(String::new(), |l| format!(" ({l})"));
        format!("stream {index}, {kind} {}{language}", codec_name((*stream).codecpar))
    }
}

/// Codecs that a transport stream carries under their own name; FFmpeg's muxer does not tell.
pub(super) const TRANSPORT: &[&str] = &[
    "mpeg2video",
    "h264",
    "hevc",
    "mpeg4",
    "mp1",
    "mp2",
    "mp3",
    "aac",
    "aac_latm",
    "ac3",
    "eac3",
    "dts",
    "truehd",
    "opus",
    "pcm_bluray",
    "s302m",
    "dvb_subtitle",
    "dvb_teletext",
    "scte_35",
    "timed_id3",
];

/// Whether the container can hold packets of this codec. What FFmpeg calls experimental in MP4 (FLAC, TrueHD) has been
/// specified since, and is better kept than lost.
///
/// # Safety
/// Both pointers are valid.
pub(super) unsafe fn holds(container: *const ffi::AVOutputFormat, parameters: *const ffi::AVCodecParameters) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        let Ok(id) = known_codec_id(parameters) else { return false };
        match ffi::avformat_query_codec(container, id, EXPERIMENTAL) {
            answer @ 0.. => answer == 1,
            _ if copied((*container).name) == "mpegts" => TRANSPORT.contains(&codec_name(parameters).as_str()),
            _ => matches!(raw_enum!(parameters, codec_type), 0 | 1),
        }
    }
}

/// Data streams that the muxer makes itself from chapters or from the time code tag.
///
/// # Safety
/// `stream` belongs to `input`, `container` is FFmpeg's own.
pub(super) unsafe fn rewritten(
    input: &Input,
    stream: *const ffi::AVStream,
    container: *const ffi::AVOutputFormat,
) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        let four = (*(*stream).codecpar).codec_tag.to_le_bytes();
        let chapters = (&four == b"text" || &four == b"sbtl") && (*input.as_ptr()).nb_chapters > 0;
        let into_mov = copied((*container).name).split(',').any(|n| n == "mov" || n == "mp4");
        chapters || (&four == b"tmcd" && into_mov)
    }
}

/// # Safety
/// `output` is a fresh context.
pub(super) unsafe fn new_stream(output: *mut ffi::AVFormatContext) -> Result<*mut ffi::AVStream> {
    // SAFETY: by the caller's promise.
    let stream = unsafe { ffi::avformat_new_stream(output, std::ptr::null()) };
    if stream.is_null() {
        return Err(Error::new(Kind::Resource, "no memory for a stream"));
    }
    Ok(stream)
}

/// Copies parameters, tags, disposition and side data.
///
/// # Safety
/// `from` belongs to an open input, `to` to a fresh output of `container`.
pub(super) unsafe fn copy_description(
    from: *const ffi::AVStream,
    to: *mut ffi::AVStream,
    container: *const ffi::AVOutputFormat,
) -> Result<()> {
    // SAFETY: by the caller's promise.
    unsafe {
        let doing = || "copying a stream's description".to_owned();
        check(ffi::avcodec_parameters_copy((*to).codecpar, (*from).codecpar), Kind::Resource, doing)?;
        if !tag_fits(container, (*to).codecpar) {
            (*(*to).codecpar).codec_tag = 0;
        }
        (*to).time_base = (*from).time_base;
        (*to).disposition = (*from).disposition;
        (*to).avg_frame_rate = (*from).avg_frame_rate;
        (*to).r_frame_rate = (*from).r_frame_rate;
        (*to).sample_aspect_ratio = (*from).sample_aspect_ratio;
        copy_tags((*from).metadata, &mut (*to).metadata, is_stale_stream_tag)
    }
}

/// Whether a codec tag means the same codec in the output container.
///
/// # Safety
/// Both are valid.
pub(super) unsafe fn tag_fits(
    container: *const ffi::AVOutputFormat,
    parameters: *const ffi::AVCodecParameters,
) -> bool {
    // SAFETY: by the caller's promise; tables are static.
    unsafe {
        let table = (*container).codec_tag;
        !table.is_null()
            && raw_enum!(parameters, codec_id) == ffi::av_codec_get_id(table, (*parameters).codec_tag) as i32
    }
}

/// Tags that described the old coding of a stream.
pub(super) fn is_stale_stream_tag(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    ["BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS", "SOURCE_ID"]
        .iter()
        .any(|s| key.starts_with(s))
}

/// Copies the entries whose key is not left out.
///
/// # Safety
/// `from` is null or valid; `to` points to a dictionary that FFmpeg frees.
pub(super) unsafe fn copy_tags(
    from: *const ffi::AVDictionary,
    to: *mut *mut ffi::AVDictionary,
    leave_out: fn(&str) -> bool,
) -> Result<()> {
    // SAFETY: by the caller's promise; FFmpeg copies both strings.
    unsafe {
        for (key, value) in super::ffi::entries_of(from).into_iter().filter(|(k, _)| !leave_out(k)) {
            let (key, value) = (c_string(&key)?, c_string(&value)?);
            check(ffi::av_dict_set(to, key.as_ptr(), value.as_ptr(), 0), Kind::Resource, || "copying tags".into())?;
        }
    }
    Ok(())
}

/// Matroska keeps covers as attachments named `cover`.
///
/// # Safety
/// `stream` is an attached picture of an open input; `output` a fresh context.
pub(super) unsafe fn add_cover(stream: *const ffi::AVStream, output: *mut ffi::AVFormatContext) -> Result<()> {
    // SAFETY: by the caller's promise: an attached picture has its packet; the copy is padded as FFmpeg wants.
    unsafe {
        let picture = &(*stream).attached_pic;
        let size = usize::try_from(picture.size).unwrap_or(0);
        let extra = ffi::av_mallocz(size + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast::<u8>();
        if extra.is_null() {
            return Err(Error::new(Kind::Resource, "no memory for a cover"));
        }
        std::ptr::copy_nonoverlapping(picture.data, extra, size);
        let target = new_stream(output)?;
        let parameters = (*target).codecpar;
        set_raw_enum!(parameters, codec_type, ffi::AVMediaType::AVMEDIA_TYPE_ATTACHMENT as i32);
        set_raw_enum!(parameters, codec_id, raw_enum!((*stream).codecpar, codec_id));
        ((*parameters).extradata, (*parameters).extradata_size) = (extra, size as c_int);
        let png = codec_name((*stream).codecpar) == "png";
        let (name, mime) = if png { (c"cover.png", c"image/png") } else { (c"cover.jpg", c"image/jpeg") };
        copy_tags((*stream).metadata, &mut (*target).metadata, is_stale_stream_tag)?;
        let set = |key: &std::ffi::CStr, value: &std::ffi::CStr| {
            ffi::av_dict_set(
                &mut (*target).metadata,
                key.as_ptr(),
                value.as_ptr(),
                ffi::AV_DICT_DONT_OVERWRITE as c_int,
            )
        };
        check(set(c"filename", name).min(set(c"mimetype", mime)), Kind::Resource, || "naming a cover".into())?;
        (*target).time_base = rational(1, 1000);
    }
    Ok(())
}
