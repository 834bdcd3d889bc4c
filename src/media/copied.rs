//! Everything beside the picture: sound, subtitles, attachments, covers and data, packets as they are.
//!
//! The source is opened a second time for this, and read just as far as the picture has been written. So memory stays
//! small however the source is interleaved, and no packet has to travel through the pipeline. What the container
//! cannot hold is converted (text subtitles, covers) or left out and reported by name.

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::ffi::{NO_TIME, Packet, check, error_text, rescale};
use super::log;
use super::open::{Input, InputSpec};
use super::probe::MediaInfo;
use super::stream_copy::{Kept, MICROSECONDS, add_stream, has_edit_lists};
use super::subtitle::{Conversion, SubtitleConverter};
use crate::error::{Kind, Result};

/// What happens to one stream of the source.
#[derive(Debug)]
pub(super) struct Route {
    /// Number in the output.
    pub(super) output: usize,
    pub(super) converter: Option<SubtitleConverter>,
    pub(super) last_dts: Option<i64>,
}

/// A source that is opened a second time, for what is copied from it.
#[derive(Debug)]
pub struct SecondReading(Input);

impl SecondReading {
    /// Opens `spec` again; `None` for what cannot be read twice, or has nothing but pictures.
    ///
    /// # Errors
    /// As for [`super::VideoReader::open`].
    pub fn open(spec: &InputSpec) -> Option<Result<Self>> {
        // The first reading tells what is wrong with the file.
        let open = || log::repeating(|| Input::open(spec).map(Self));
        (!spec.is_pipe() && !spec.is_sequence()).then(open)
    }

    /// The container as a whole.
    pub(super) fn media_info(&self) -> MediaInfo {
        MediaInfo::of(&self.0)
    }
}

/// What is copied, read as far as the picture has been written.
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
    unreadable: u64,
    late: u64,
    trouble: Option<String>,
    /// Whether packets that an edit list hides would be heard in the output.
    drops_hidden: bool,
}

impl CopiedStreams {
    /// Adds a stream to `output` for each one of the source to keep, the picture's by `add_picture`.
    ///
    /// # Safety
    /// `output` is a fresh output context.
    pub(super) unsafe fn plan(
        SecondReading(input): SecondReading,
        picture: usize,
        output: *mut ffi::AVFormatContext,
        kept: &mut Kept,
        mut add_picture: impl FnMut(*const ffi::AVStream, &[(i32, Vec<u8>)]) -> Result<()>,
    ) -> Result<Self> {
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
            unreadable: 0,
            late: 0,
            trouble: None,
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
            // Without an index it is read from the start; the range sorts the packets out.
            self.input.seek_before(-1, range.0);
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

    /// What was lost while copying, in words.
    pub(super) fn losses(&self) -> Vec<String> {
        let counted = [
            (self.skipped, "packets that the container refused"),
            (self.unreadable, "subtitles that could not be converted"),
            (self.late, "packets of streams that begin in mid-file"),
        ];
        let counted = counted.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
        counted.chain(self.trouble.iter().map(|t| format!("what follows a read error: {t}"))).collect()
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
            if code < 0 {
                self.trouble = (code != ffi::AVERROR_EOF).then(|| error_text(code));
                self.ended = true;
                return Ok(None);
            }
            // SAFETY: the packet was filled; its stream exists.
            unsafe {
                let raw = self.packet.as_ptr();
                let index = (*raw).stream_index as usize;
                let Some(Some(route)) = self.routes.get(index) else {
                    self.late += u64::from(index >= self.routes.len());
                    continue;
                };
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
        // SAFETY: the packet belongs to a routed stream; the output stream exists.
        unsafe {
            let raw = self.packet.as_ptr();
            let index = (*raw).stream_index as usize;
            let Some(Some(route)) = self.routes.get_mut(index) else { return Ok(()) };
            let stream = self.input.streams()[index];
            let still = (*stream).disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0;
            let time = if still { self.origin } else { time };
            if time < self.range.0 || time >= self.range.1 {
                return Ok(());
            }
            if still {
                ((*raw).pts, (*raw).dts) = (NO_TIME, NO_TIME);
            }
            if let Some(converter) = &mut route.converter {
                match converter.convert(&self.packet)? {
                    Conversion::Done => {}
                    Conversion::Empty => return Ok(()),
                    Conversion::Failed => {
                        self.unreadable += 1;
                        return Ok(());
                    }
                }
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
