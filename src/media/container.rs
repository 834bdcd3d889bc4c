//! The output container: its format, its file, its streams, tags and chapters.

use std::ffi::CStr;

use ffmpeg_next::ffi;

use super::copied::{CopiedStreams, SecondReading};
use super::encoder::Encoder;
use super::ffi::{Dictionary, c_string, check, copied, known, rational, rescale};
use super::info::VideoInfo;
use super::side_data::{DISPLAY_MATRIX, add_to_stream, hdr_packet_kind};
use super::stream_copy::{EXPERIMENTAL, Kept, MICROSECONDS, copy_tags, is_stale_stream_tag, new_stream};
use super::writer::{Cut, OutputSpec};
use crate::error::{Error, Kind, Result};

/// An owned output context; closing it closes the file under it.
pub(super) struct OutputContext(pub(super) *mut ffi::AVFormatContext);

// SAFETY: owned by this value alone.
unsafe impl Send for OutputContext {}

impl OutputContext {
    pub(super) fn new(format: *const ffi::AVOutputFormat, url: &CStr) -> Result<Self> {
        let mut context = std::ptr::null_mut();
        // SAFETY: a static format and a valid string.
        let code = unsafe { ffi::avformat_alloc_output_context2(&mut context, format, std::ptr::null(), url.as_ptr()) };
        check(code, Kind::Resource, || "preparing the container".into())?;
        // y4m above 8 bits and FLAC in MP4 are "experimental" to this FFmpeg.
        // SAFETY: made just now.
        unsafe { (*context).strict_std_compliance = EXPERIMENTAL };
        Ok(Self(context))
    }

    /// Opens the file, unless the format opens its files itself.
    pub(super) fn open_file(&self) -> Result<()> {
        // SAFETY: the context is valid; its url was set when it was made.
        unsafe {
            if (*(*self.0).oformat).flags & ffi::AVFMT_NOFILE != 0 {
                return Ok(());
            }
            // The file is new and empty. A file that was cut to nothing is written to disk as it is closed (ext4), while nothing
            // else can be done: 14 ms for 75 MB.
            let mut options = Dictionary::new();
            options.set("truncate", "0")?;
            let code = ffi::avio_open2(
                &mut (*self.0).pb,
                (*self.0).url,
                ffi::AVIO_FLAG_WRITE,
                std::ptr::null(),
                &mut options.0,
            );
            check(code, Kind::Create, || "opening the output".into()).map(drop)
        }
    }

    /// Bytes of the file that are written.
    pub(super) fn position(&self) -> u64 {
        // SAFETY: the context is valid, and so is its file if there is one.
        unsafe { (*self.0).pb.as_ref().map_or(0, |file| file.pos.max(0) as u64) }
    }

    /// Flushes and closes the file.
    pub(super) fn close_file(&self) -> Result<()> {
        // SAFETY: as above; closing sets the pointer to null.
        unsafe {
            if (*(*self.0).oformat).flags & ffi::AVFMT_NOFILE != 0 {
                return Ok(());
            }
            check(ffi::avio_closep(&mut (*self.0).pb), Kind::Io, || "closing the output".into()).map(drop)
        }
    }
}

impl Drop for OutputContext {
    fn drop(&mut self) {
        // A failure here has nobody left to hear it: the output was given up or is closed already.
        let _ = self.close_file();
        // SAFETY: owned and freed once.
        unsafe { ffi::avformat_free_context(self.0) };
    }
}

/// The container for the output's name.
pub(super) fn find_format(spec: &OutputSpec) -> Result<*const ffi::AVOutputFormat> {
    let (name, url) = if spec.is_pipe() {
        (Some(c_string("yuv4mpegpipe")?), None)
    } else {
        (None, Some(super::open::file_url(&spec.path)?))
    };
    let pointer = |s: &Option<std::ffi::CString>| s.as_ref().map_or(std::ptr::null(), |s| s.as_ptr());
    // SAFETY: valid strings or null; formats are static.
    let format = unsafe { ffi::av_guess_format(pointer(&name), pointer(&url), std::ptr::null()) };
    if format.is_null() {
        let hint = "name it .mkv, .mp4, .mov, .webm, .nut, or %04d.png for a sequence";
        return Err(Error::new(Kind::Usage, "no container is known for this name").hint(hint).file(&spec.path));
    }
    // SAFETY: not null.
    let (name, makes_files) = unsafe { (copied((*format).name), (*format).flags & ffi::AVFMT_NOFILE != 0) };
    if makes_files && name != "image2" {
        return Err(Error::new(Kind::Usage, format!("{name} is made of several files, which subpel does not write"))
            .hint("write one file, and split it with FFmpeg")
            .file(&spec.path));
    }
    Ok(format)
}

/// Adds all streams in the source's order, tags and chapters. Returns what is to be copied, if anything, and the number
/// of the picture's stream.
///
/// # Safety
/// `output` is fresh, `encoder` open.
pub(super) unsafe fn add_streams(
    output: &OutputContext,
    encoder: &Encoder,
    again: Option<SecondReading>,
    source: &VideoInfo,
    upright: bool,
    cut: Option<Cut>,
    kept: &mut Kept,
) -> Result<(Option<CopiedStreams>, usize)> {
    // SAFETY: by the caller's promise.
    unsafe {
        let raw = output.0;
        let mut stream = 0;
        let mut add_picture = |old: *const ffi::AVStream, side_data: &[(i32, Vec<u8>)]| -> Result<()> {
            let target = new_stream(raw)?;
            stream = (*target).index as usize;
            describe_picture(target, encoder, source)?;
            if !old.is_null() {
                (*target).disposition = (*old).disposition;
                copy_tags((*old).metadata, &mut (*target).metadata, is_stale_picture_tag)?;
            }
            for (kind, bytes) in picture_side_data(side_data, source, upright) {
                add_to_stream(target, kind, &bytes)?;
            }
            Ok(())
        };
        let Some(again) = again.filter(|_| (*(*raw).oformat).video_codec as i32 != 0) else {
            add_picture(std::ptr::null(), &[])?;
            return Ok((None, stream));
        };
        let name = copied((*(*raw).oformat).name);
        if name.starts_with("image2") || name == "yuv4mpegpipe" || name == "rawvideo" {
            // Containers of pictures alone: what else there was is reported by name.
            add_picture(std::ptr::null(), &[])?;
            let others = again.media_info().streams.into_iter().filter(|s| s.index != source.stream);
            kept.dropped.extend(
                others.map(|s| format!("stream {}, {:?} {}: {name} holds pictures only", s.index, s.kind, s.codec)),
            );
            return Ok((None, stream));
        }
        let copied = CopiedStreams::plan(again, source.stream, raw, kept, add_picture)?;
        copy_tags((*copied.source()).metadata, &mut (*raw).metadata, is_stale_tag)?;
        copy_chapters(copied.source(), raw, kept_part(&copied, source, cut))?;
        Ok((Some(copied), stream))
    }
}

/// # Safety
/// `target` is a fresh stream, `encoder` open.
pub(super) unsafe fn describe_picture(target: *mut ffi::AVStream, encoder: &Encoder, source: &VideoInfo) -> Result<()> {
    // SAFETY: by the caller's promise.
    unsafe {
        let context = encoder.as_ptr();
        check(ffi::avcodec_parameters_from_context((*target).codecpar, context), Kind::Resource, || {
            "describing the picture".into()
        })?;
        (*target).time_base = (*context).time_base;
        (*target).sample_aspect_ratio = (*context).sample_aspect_ratio;
        let (num, den) = source.frame_rate;
        (*target).avg_frame_rate = rational(num, den.max(1));
    }
    Ok(())
}

/// Side data for the picture's stream: HDR, rotation (unless the pictures are turned), spherical and stereo layout.
pub(super) fn picture_side_data(
    of_stream: &[(i32, Vec<u8>)],
    source: &VideoInfo,
    upright: bool,
) -> Vec<(i32, Vec<u8>)> {
    use ffi::AVPacketSideDataType as T;
    let kept = [T::AV_PKT_DATA_STEREO3D as i32, T::AV_PKT_DATA_SPHERICAL as i32, T::AV_PKT_DATA_ICC_PROFILE as i32];
    let wanted = |kind: i32| kept.contains(&kind) || (kind == DISPLAY_MATRIX && !upright);
    let hdr = source.hdr.iter().filter_map(|(kind, bytes)| Some((hdr_packet_kind(*kind)?, bytes.clone())));
    of_stream.iter().filter(|(kind, _)| wanted(*kind)).cloned().chain(hdr).collect()
}

/// Tags of the container that describe the old file.
pub(super) fn is_stale_tag(key: &str) -> bool {
    ["major_brand", "minor_version", "compatible_brands", "encoder", "duration"]
        .contains(&key.to_ascii_lowercase().as_str())
}

/// Tags of the picture's stream that describe the old coding.
pub(super) fn is_stale_picture_tag(key: &str) -> bool {
    is_stale_stream_tag(key) || ["encoder", "vendor_id", "rotate"].contains(&key.to_ascii_lowercase().as_str())
}

/// Microseconds of the source that the output shows: from its time 0 to its end.
fn kept_part(copied: &CopiedStreams, source: &VideoInfo, cut: Option<Cut>) -> (i64, i64) {
    let base = rational(source.time_base.0, source.time_base.1);
    match cut {
        Some(cut) => (rescale(cut.first, base, MICROSECONDS), rescale(cut.end, base, MICROSECONDS)),
        // SAFETY: the second reading is open.
        None if copied.has_running_clock() => (known(unsafe { (*copied.source()).start_time }).unwrap_or(0), i64::MAX),
        None => (0, i64::MAX),
    }
}

/// Copies the chapters that lie between `start` and `end` microseconds, with their tags; `start` becomes 0.
///
/// # Safety
/// Both contexts are valid, the output's header not written.
pub(super) unsafe fn copy_chapters(
    from: *const ffi::AVFormatContext,
    to: *mut ffi::AVFormatContext,
    (start, end): (i64, i64),
) -> Result<()> {
    // SAFETY: by the caller's promise; FFmpeg frees the array and its entries with the context.
    unsafe {
        let count = (*from).nb_chapters as usize;
        if count == 0 {
            return Ok(());
        }
        let none = || Error::new(Kind::Resource, "no memory for chapters");
        let list = ffi::av_calloc(count, size_of::<*mut ffi::AVChapter>()).cast::<*mut ffi::AVChapter>();
        if list.is_null() {
            return Err(none());
        }
        (*to).chapters = list;
        for i in 0..count {
            let old = *(*from).chapters.add(i);
            let base = (*old).time_base;
            let (first, last) = (rescale((*old).start, base, MICROSECONDS), rescale((*old).end, base, MICROSECONDS));
            if last <= start && start > 0 || first >= end {
                continue;
            }
            let new = ffi::av_mallocz(size_of::<ffi::AVChapter>()).cast::<ffi::AVChapter>();
            if new.is_null() {
                return Err(none());
            }
            *list.add((*to).nb_chapters as usize) = new;
            (*to).nb_chapters += 1;
            let moved = |time: i64| time.saturating_sub(rescale(start, MICROSECONDS, base));
            ((*new).id, (*new).time_base) = ((*old).id, base);
            ((*new).start, (*new).end) = (moved((*old).start), moved((*old).end));
            if first < start {
                (*new).start = 0;
            }
            if last > end {
                (*new).end = moved(rescale(end, MICROSECONDS, base));
            }
            copy_tags((*old).metadata, &mut (*new).metadata, |_| false)?;
        }
    }
    Ok(())
}
