//! Everything beside the picture: sound, subtitles, attachments, covers and data, packets as they are.
//!
//! The source is opened a second time for this, and read just as far as the picture has been written. So memory stays
//! small however the source is interleaved, and no packet has to travel through the pipeline. What the container
//! cannot hold is converted (text subtitles, covers) or left out and reported by name.

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::ffi::{NO_TIME, Packet, c_string, check, copied, rational, raw_enum, rescale, set_raw_enum};
use super::open::{Input, InputSpec};
use super::probe::{StreamKind, codec_name, stream_kind, tag};
use super::reader::known_codec_id;
use super::subtitle::{SubtitleConverter, coding_for};
use crate::error::{Error, Kind, Result};

/// Microseconds, in which streams are put in order.
pub(super) const MICROSECONDS: ffi::AVRational = ffi::AVRational { num: 1, den: ffi::AV_TIME_BASE as c_int };

/// FFmpeg's least strict compliance.
pub(super) const EXPERIMENTAL: c_int = -2;

/// What happens to one stream of the source.
#[derive(Debug)]
struct Route {
    /// Number in the output.
    output: usize,
    converter: Option<SubtitleConverter>,
    last_dts: Option<i64>,
}

/// The second reading of the source, for what is copied.
#[derive(Debug)]
pub(super) struct CopiedStreams {
    input: Input,
    routes: Vec<Option<Route>>,
    packet: Packet,
    /// Packet that was read but is still ahead of the picture, and its time in microseconds.
    waiting: Option<i64>,
    ended: bool,
    /// Microseconds that the output's times are behind the source's.
    origin: i64,
    /// Microseconds of the source's time that are kept.
    range: (i64, i64),
    skipped: u64,
    /// Whether packets that an edit list hides would be heard in the output.
    drops_hidden: bool,
}

/// What was kept and what was not, in words.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Streams copied or converted.
    pub copied: Vec<String>,
    /// Streams and properties that the output lacks, with the reason.
    pub dropped: Vec<String>,
}

impl CopiedStreams {
    /// Opens the source again and adds a stream to `output` for each one to keep, the picture's by `add_picture`.
    ///
    /// # Safety
    /// `output` is a fresh output context.
    pub(super) unsafe fn plan(
        spec: &InputSpec,
        picture: usize,
        output: *mut ffi::AVFormatContext,
        kept: &mut Kept,
        mut add_picture: impl FnMut(*const ffi::AVStream, &[(i32, Vec<u8>)]) -> Result<()>,
    ) -> Result<Self> {
        let input = Input::open(spec)?;
        let mut routes = Vec::new();
        for (index, stream) in input.streams().iter().copied().enumerate() {
            // SAFETY: streams of the input just opened; `output` by the caller's promise.
            let route = unsafe {
                if index == picture {
                    add_picture(stream, &input.side_data(index))?;
                    None
                } else {
                    add_stream(&input, index, stream, output, kept)?
                }
            };
            if route.is_none() {
                // SAFETY: as above.
                unsafe { (*stream).discard = ffi::AVDiscard::AVDISCARD_ALL };
            }
            routes.push(route);
        }
        Ok(Self {
            input,
            routes,
            packet: Packet::new()?,
            waiting: None,
            ended: false,
            origin: 0,
            range: (i64::MIN, i64::MAX),
            skipped: 0,
            // SAFETY: a fresh context has its format.
            drops_hidden: !has_edit_lists(unsafe { (*output).oformat }),
        })
    }

    /// The source's context, for tags and chapters.
    pub(super) fn source(&self) -> *const ffi::AVFormatContext {
        self.input.as_ptr()
    }

    /// Whether times of the source are a running clock that the output should not keep.
    pub(super) fn has_running_clock(&self) -> bool {
        self.input.has_running_clock()
    }

    /// Takes `origin` from all times and keeps what lies in `range`; both in microseconds of the source.
    pub(super) fn cut(&mut self, origin: i64, range: (i64, i64)) {
        (self.origin, self.range) = (origin, range);
        if range.0 > i64::MIN {
            // A failed seek only means reading from the start; the range sorts the packets out.
            // SAFETY: the input is open.
            unsafe { ffi::avformat_seek_file(self.input.as_ptr(), -1, i64::MIN, range.0, range.0, 0) };
        }
    }

    /// Writes all packets up to `until` microseconds of the source's time.
    ///
    /// # Safety
    /// `output` is the context given to [`Self::plan`], its header written.
    pub(super) unsafe fn write_until(&mut self, until: i64, output: *mut ffi::AVFormatContext) -> Result<()> {
        while !self.ended {
            let Some(time) = self.ready()? else { return Ok(()) };
            if time > until {
                self.waiting = Some(time);
                return Ok(());
            }
            self.waiting = None;
            // SAFETY: by the caller's promise.
            unsafe { self.write(time, output)? };
        }
        Ok(())
    }

    /// Packets that could not be kept.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Time of the packet at hand, reading the next one if there is none; `None` at the end.
    fn ready(&mut self) -> Result<Option<i64>> {
        if let Some(time) = self.waiting {
            return Ok(Some(time));
        }
        loop {
            self.packet.clear();
            // SAFETY: context and packet are valid.
            let code = unsafe { ffi::av_read_frame(self.input.as_ptr(), self.packet.as_ptr()) };
            if code == super::ffi::AGAIN {
                continue;
            }
            // The picture's reader has met the same damage and reports it: here it is an end like any other.
            if code < 0 {
                self.ended = true;
                return Ok(None);
            }
            // SAFETY: the packet was filled; its stream exists.
            unsafe {
                let raw = self.packet.as_ptr();
                let index = (*raw).stream_index as usize;
                let Some(Some(route)) = self.routes.get(index) else { continue };
                let base = (*self.input.streams()[index]).time_base;
                let time = [(*raw).dts, (*raw).pts].into_iter().find(|t| *t != NO_TIME);
                let time = time.or_else(|| route.last_dts.map(|l| l + 1)).unwrap_or(0);
                return Ok(Some(rescale(time, base, MICROSECONDS)));
            }
        }
    }

    /// Writes the packet at hand.
    ///
    /// # Safety
    /// As for [`Self::write_until`].
    unsafe fn write(&mut self, time: i64, output: *mut ffi::AVFormatContext) -> Result<()> {
        if time < self.range.0 || time >= self.range.1 {
            return Ok(());
        }
        // SAFETY: the packet belongs to a routed stream; the output stream exists.
        unsafe {
            let raw = self.packet.as_ptr();
            let index = (*raw).stream_index as usize;
            let Some(Some(route)) = self.routes.get_mut(index) else { return Ok(()) };
            if let Some(converter) = &mut route.converter
                && !converter.convert(&self.packet)?
            {
                return Ok(());
            }
            let from = (*self.input.streams()[index]).time_base;
            if self.drops_hidden && is_hidden(raw, time, from) {
                return Ok(());
            }
            let target = *(*output).streams.add(route.output);
            retime(raw, from, (*target).time_base, self.origin, time, route);
            (*raw).stream_index = route.output as c_int;
            (*raw).pos = -1;
            let code = ffi::av_write_frame(output, raw);
            if code == ffi::AVERROR_INVALIDDATA || -code == libc::EINVAL {
                self.skipped += 1;
                return Ok(());
            }
            check(code, Kind::Io, || format!("writing stream {}", route.output)).map(drop)
        }
    }
}

/// Whether a container hides what lies before its start, so that nothing has to be left out.
pub(super) fn has_edit_lists(container: *const ffi::AVOutputFormat) -> bool {
    // SAFETY: formats of FFmpeg are static.
    let name = unsafe { copied((*container).name) };
    ["mov", "mp4", "3gp", "3g2", "ipod", "ismv", "psp", "f4v"].contains(&name.as_str())
}

/// Whether an edit list of the source hides a packet, which starts at `time` microseconds. The one that ends where the
/// shown part begins stays: decoders need it to begin.
///
/// # Safety
/// `packet` is valid, its times in units of `base`.
unsafe fn is_hidden(packet: *const ffi::AVPacket, time: i64, base: ffi::AVRational) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        let end = time.saturating_add(rescale((*packet).duration, base, MICROSECONDS));
        (*packet).flags & ffi::AV_PKT_FLAG_DISCARD != 0 && end < -1000
    }
}

/// Moves a packet's times to the output's clock; decoding times must increase, as every container demands.
///
/// # Safety
/// `packet` is valid.
unsafe fn retime(
    packet: *mut ffi::AVPacket,
    from: ffi::AVRational,
    to: ffi::AVRational,
    origin: i64,
    time: i64,
    route: &mut Route,
) {
    let shift = rescale(origin, MICROSECONDS, from);
    let moved = |t: i64| if t == NO_TIME { NO_TIME } else { rescale(t.saturating_sub(shift), from, to) };
    // SAFETY: by the caller's promise.
    unsafe {
        let fallback = rescale(time.saturating_sub(origin), MICROSECONDS, to);
        let pts = moved((*packet).pts);
        let mut dts = moved((*packet).dts);
        if dts == NO_TIME {
            dts = if pts == NO_TIME { fallback } else { pts };
        }
        if let Some(last) = route.last_dts {
            dts = dts.max(last);
        }
        route.last_dts = Some(dts);
        (*packet).dts = dts;
        (*packet).pts = if pts == NO_TIME { dts } else { pts.max(dts) };
        (*packet).duration = rescale((*packet).duration.max(0), from, to);
    }
}

/// Adds the output stream for one stream of the source, or reports why it cannot be kept.
///
/// # Safety
/// `stream` belongs to `input`; `output` is a fresh context.
unsafe fn add_stream(
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
                "nothing of it can be decoded, its rate is unknown"
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
unsafe fn describe(index: usize, stream: *const ffi::AVStream, kind: StreamKind) -> String {
    // SAFETY: by the caller's promise.
    unsafe {
        let kind = format!("{kind:?}").to_lowercase();
        let language = tag(stream, c"language").filter(|l| l != "und").map_or(String::new(), |l| format!(" ({l})"));
        format!("stream {index}, {kind} {}{language}", codec_name((*stream).codecpar))
    }
}

/// Codecs that a transport stream carries under their own name; FFmpeg's muxer does not tell.
const TRANSPORT: &[&str] = &[
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
unsafe fn holds(container: *const ffi::AVOutputFormat, parameters: *const ffi::AVCodecParameters) -> bool {
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
unsafe fn rewritten(input: &Input, stream: *const ffi::AVStream, container: *const ffi::AVOutputFormat) -> bool {
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
unsafe fn copy_description(
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
unsafe fn tag_fits(container: *const ffi::AVOutputFormat, parameters: *const ffi::AVCodecParameters) -> bool {
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
unsafe fn add_cover(stream: *const ffi::AVStream, output: *mut ffi::AVFormatContext) -> Result<()> {
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
