//! Writing: the container with the enlarged picture in the place of the old one and everything else as it was.

use std::path::{Path, PathBuf};

use ffmpeg_next::ffi;

use super::container::{OutputContext, add_streams, find_format};
use super::copied::{CopiedStreams, SecondReading};
use super::encoder::{Encoder, EncoderSpec};
use super::ffi::{Dictionary, Packet, check, copied, error_text, known, rational, rescale};
use super::info::VideoInfo;
use super::log;
use super::open::InputSpec;
use super::orientation::Orientation;
use super::packed_form::{PackedForm, open_encoder};
use super::packing::{Packed, turned_planes};
use super::seam::Seams;
use super::stream_copy::{Kept, MICROSECONDS};
use super::target::{self, Target};
use crate::error::{Error, Kind, Result};
use crate::frame::{Frame, PictureLayout, PlanePool};
use crate::kernels::CpuLevel;

/// Where and how to write.
#[derive(Debug, Clone)]
pub struct OutputSpec {
    /// A file, a numbered sequence, or `-` for y4m on standard output.
    pub path: PathBuf,
    /// Whether an existing file may be replaced.
    pub overwrite: bool,
    /// Whether it is an error if something beside the picture cannot be kept.
    pub strict: bool,
    /// The picture's encoding.
    pub encoder: EncoderSpec,
}

impl OutputSpec {
    /// A file with the defaults of its container.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), overwrite: false, strict: false, encoder: EncoderSpec::default() }
    }

    /// Whether this is standard output.
    pub fn is_pipe(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// Whether the container is the same as that of another output.
    ///
    /// # Errors
    /// [`Kind::Usage`] for names of which no container is known.
    pub fn is_like(&self, other: &Self) -> Result<bool> {
        Ok(find_format(self)? == find_format(other)?)
    }

    /// Refuses early what cannot end well: the input itself, or an existing file.
    ///
    /// # Errors
    /// [`Kind::Usage`] or [`Kind::Create`], as the words say.
    pub fn check(&self, input: Option<&Path>) -> Result<()> {
        if self.is_pipe() { Ok(()) } else { target::check(&self.path, input, self.overwrite) }
    }
}

/// What a finished output holds.
#[derive(Debug, Clone)]
pub struct Written {
    /// Frames of the picture.
    pub frames: u64,
    /// Size in bytes; 0 for a pipe.
    pub bytes: u64,
    /// Streams copied and dropped.
    pub kept: Kept,
}

/// An output in the making; dropped before [`VideoWriter::finish`] it leaves nothing behind.
pub struct VideoWriter {
    output: OutputContext,
    pub(super) encoder: Encoder,
    copied: Option<CopiedStreams>,
    kept: Kept,
    target: Target,
    pub(super) path: PathBuf,
    stream: usize,
    source_base: ffi::AVRational,
    origin: Option<i64>,
    running_clock: bool,
    cut: Option<Cut>,
    /// Where the last frame ends, in ticks of the encoder's clock.
    end: i64,
    turn: Orientation,
    usual_step: i64,
    durations: std::collections::VecDeque<(i64, i64)>,
    pub(super) sent: u64,
    written: u64,
    single: bool,
    strict: bool,
    /// Where pictures come encoded, in parts.
    pub(super) seams: Option<Seams>,
}

impl std::fmt::Debug for VideoWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VideoWriter").field("path", &self.path).field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// What an output is made from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The source, which is read a second time for what is copied.
    pub input: &'a InputSpec,
    /// What is known of it.
    pub source: &'a VideoInfo,
    /// The pictures that are written, before they are turned.
    pub layout: &'a PictureLayout,
    /// The part that is wanted; everything if `None`.
    pub cut: Option<Cut>,
    /// Usual time between two frames, ticks of the source.
    pub usual_step: i64,
}

/// What part of the source is wanted, in ticks of its picture; everything if `None`.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Time of the first frame wanted.
    pub first: i64,
    /// Time at which the last frame wanted ends, as far as it is known beforehand.
    pub end: i64,
}

impl VideoWriter {
    /// Opens the output for what comes from `origin`. It is made in `folder`, on the output's own file system, until it is whole; beside
    /// the output if `None`.
    ///
    /// # Errors
    /// [`Kind::Create`] if it cannot be created or, with `strict`, would lack something; [`Kind::Unavailable`] or
    /// [`Kind::Usage`] for the encoder; see [`OutputSpec::check`].
    pub fn create(spec: &OutputSpec, origin: &Origin<'_>, folder: Option<&Path>, cpu: CpuLevel) -> Result<Self> {
        Self::create_from(spec, origin, SecondReading::open(origin.input), folder, cpu)
    }

    /// The same where the source has been opened for it, or could not be.
    ///
    /// # Errors
    /// As for [`Self::create`], and what `again` holds.
    pub fn create_from(
        spec: &OutputSpec,
        origin: &Origin<'_>,
        again: Option<Result<SecondReading>>,
        folder: Option<&Path>,
        cpu: CpuLevel,
    ) -> Result<Self> {
        let Origin { input, source, layout, cut, usual_step } = *origin;
        log::install();
        spec.check((!input.is_pipe()).then_some(input.path.as_path()))?;
        let format = find_format(spec)?;
        let target = Target::create(&spec.path, folder, spec.overwrite)?;
        let output = OutputContext::new(format, &target.url()?)?;
        let (encoder, turn) = open_encoder(spec, format, source, layout, cpu)?;
        let mut kept = Kept { dropped: encoder.losses(), ..Kept::default() };
        // SAFETY: a fresh output context and the opened encoder.
        let (copied, stream) =
            unsafe { add_streams(&output, &encoder, again.transpose()?, source, !turn.is_identity(), cut, &mut kept)? };
        if !turn.is_identity() {
            kept.copied.push("display rotation, by turning the pictures".into());
        }
        refuse_if_strict(&spec.path, spec.strict, &kept)?;
        let running_clock = copied.as_ref().is_some_and(CopiedStreams::has_running_clock);
        let mut writer = Self {
            output,
            encoder,
            copied,
            kept,
            target,
            path: spec.path.clone(),
            stream,
            source_base: rational(source.time_base.0, source.time_base.1),
            origin: None,
            running_clock,
            cut,
            end: 0,
            turn,
            usual_step,
            durations: Default::default(),
            sent: 0,
            written: 0,
            single: false,
            strict: spec.strict,
            seams: None,
        };
        writer.write_header(format).map_err(|e| e.file(&spec.path))?;
        Ok(writer)
    }

    /// Name of the encoder.
    pub fn encoder_name(&self) -> &str {
        self.encoder.name()
    }

    /// Name of the pixel format that is written.
    pub fn pixel_format(&self) -> String {
        self.encoder.pixel_format()
    }

    /// What frames are made into before they are encoded.
    pub fn form(&self) -> PackedForm {
        PackedForm { pixel_format: self.encoder.native().format.name(), turn: self.turn }
    }

    /// Writes the next picture and all that belongs before it.
    ///
    /// # Errors
    /// [`Kind::Io`] or [`Kind::Resource`] if writing failed, the encoder's own errors, both with the file's name.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        let picture = self.pack(frame)?;
        self.write_packed(&picture, frame)
    }

    /// [`Self::write`] for a frame that nobody needs any more: its planes go to `spare` as soon as they are packed, so that what waits
    /// for the encoder or the disk is a quarter as large.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn write_once(&mut self, mut frame: Frame, spare: &PlanePool) -> Result<()> {
        let picture = self.pack(&frame)?;
        spare.give(std::mem::take(&mut frame.planes));
        self.write_packed(&picture, &frame)
    }

    fn pack(&mut self, frame: &Frame) -> Result<Packed> {
        turned_planes(frame, self.turn, |planes| self.encoder.pack(planes)).map_err(|e| e.file(&self.path))
    }

    /// The same for a picture that was packed as [`Self::form`] says; of `frame` time and carried data are used.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn write_packed(&mut self, picture: &Packed, frame: &Frame) -> Result<()> {
        self.write_frame(picture, frame).map_err(|e| e.file(&self.path))
    }

    /// Ends the streams, closes the file and gives it its name. `frames` is the number that should be in it.
    ///
    /// # Errors
    /// As for [`Self::write`]; [`Kind::Bug`] if the output does not hold `frames` pictures.
    pub fn finish(mut self, frames: u64) -> Result<Written> {
        let path = self.path.clone();
        self.end_streams().map_err(|e| e.file(&path))?;
        if self.sent != frames || self.written != frames {
            return Err(Error::new(
                Kind::Bug,
                format!("{frames} frames were read, {} encoded and {} written", self.sent, self.written),
            )
            .file(&path));
        }
        if self.encoder.lost_times() {
            self.kept.dropped.push("the times of a variable frame rate: this container only counts frames".into());
        }
        // What was found out only while writing counts as much as what was known before.
        refuse_if_strict(&path, self.strict, &self.kept)?;
        let bytes = self.target.publish()?;
        Ok(Written { frames, bytes, kept: self.kept })
    }

    fn write_frame(&mut self, picture: &Packed, frame: &Frame) -> Result<()> {
        if self.single && self.sent == 1 {
            return Err(Error::new(Kind::Usage, "is one picture, but the input has several")
                .hint("name a sequence such as out-%04d.png, or take --frames 1"));
        }
        let origin = self.start_at(frame.pts);
        let span = self.span(frame);
        self.durations.push_back(span);
        self.encoder.send(picture, &frame.carried, frame.pts.saturating_sub(origin))?;
        self.sent += 1;
        self.write_packets()
    }

    /// Time and duration of a frame in the output, ticks of the encoder's clock.
    pub(super) fn span(&mut self, frame: &Frame) -> (i64, i64) {
        let time = frame.pts.saturating_sub(self.origin.unwrap_or(0));
        let duration = if frame.duration > 0 { frame.duration } else { self.usual_step };
        let ticks = |time: i64| rescale(time, self.source_base, self.encoder.time_base());
        let (shown, lasting) = (ticks(time), ticks(duration));
        self.end = self.end.max(shown.saturating_add(lasting));
        (shown, lasting)
    }

    /// The usual time of a picture in ticks of the encoder's clock.
    pub(super) fn usual_ticks(&self) -> i64 {
        rescale(self.usual_step, self.source_base, self.encoder.time_base())
    }

    /// Fixes, at the first frame, what is taken from all times.
    pub(super) fn start_at(&mut self, first: i64) -> i64 {
        if let Some(origin) = self.origin {
            return origin;
        }
        let first_us = rescale(first, self.source_base, MICROSECONDS);
        let start_us = if self.cut.is_some() {
            first_us
        } else if self.running_clock {
            // SAFETY: the second reading is open where there is a running clock.
            let start = self.copied.as_ref().map(|c| unsafe { (*c.source()).start_time }).and_then(known);
            start.unwrap_or(first_us)
        } else {
            0
        };
        if let Some(copied) = &mut self.copied {
            copied.cut(start_us, if self.cut.is_some() { (first_us, i64::MAX) } else { (i64::MIN, i64::MAX) });
        }
        let origin = if self.cut.is_some() { first } else { rescale(start_us, MICROSECONDS, self.source_base) };
        self.origin = Some(origin);
        origin
    }

    /// Writes what the encoder has finished.
    fn write_packets(&mut self) -> Result<()> {
        loop {
            let Some(packet) = self.encoder.receive()? else { return Ok(()) };
            self.write_packet(&packet)?;
        }
    }

    /// Writes a packet of the picture after the copied ones that come before it. Its times are in ticks of the encoder.
    pub(super) fn write_packet(&mut self, packet: &Packet) -> Result<()> {
        let base = self.encoder.time_base();
        let raw = packet.as_ptr();
        // SAFETY: the packet holds a coded picture; context and streams are open.
        unsafe {
            let time = known((*raw).dts).or(known((*raw).pts)).unwrap_or(0);
            if let Some(copied) = &mut self.copied {
                let origin_us = rescale(self.origin.unwrap_or(0), self.source_base, MICROSECONDS);
                copied.write_until(rescale(time, base, MICROSECONDS).saturating_add(origin_us), self.output.0)?;
            }
            if (*raw).duration == 0 {
                let at = self.durations.iter().position(|(t, _)| *t == (*raw).pts);
                (*raw).duration = at.and_then(|i| self.durations.remove(i)).map_or(0, |(_, d)| d);
            }
            // Frames leave the encoder in decoding order: what is older than the reordering depth is not asked for.
            while self.durations.len() > 512 {
                self.durations.pop_front();
            }
            let target = *(*self.output.0).streams.add(self.stream);
            ffi::av_packet_rescale_ts(raw, base, (*target).time_base);
            (*raw).stream_index = self.stream as std::ffi::c_int;
            // Packets come here in order already. FFmpeg's own interleaving would hold up to ten seconds of
            // them back for a stream that is silent, without a limit in bytes.
            let code = ffi::av_write_frame(self.output.0, raw);
            check(code, Kind::Io, || format!("writing frame {}", self.written))?;
        }
        self.target.hand_on(self.output.position());
        self.written += 1;
        Ok(())
    }

    fn end_streams(&mut self) -> Result<()> {
        // An encoder that has seen no picture has nothing to end, and some then wait for ever.
        if self.sent > 0 && self.seams.is_none() {
            self.encoder.finish()?;
            self.write_packets()?;
        }
        let until = if self.cut.is_some() { self.end_of_cut() } else { i64::MAX };
        // SAFETY: the header is written and all streams exist.
        unsafe {
            if let Some(copied) = &mut self.copied {
                copied.write_until(until, self.output.0)?;
                self.kept.dropped.extend(copied.losses());
            }
            check(ffi::av_write_trailer(self.output.0), Kind::Io, || "writing the end of the file".into())?;
        }
        self.output.close_file()
    }

    /// Microseconds of the source at which an excerpt's last frame ends.
    fn end_of_cut(&self) -> i64 {
        let origin = rescale(self.origin.unwrap_or(0), self.source_base, MICROSECONDS);
        rescale(self.end, self.encoder.time_base(), MICROSECONDS).saturating_add(origin)
    }

    fn write_header(&mut self, format: *const ffi::AVOutputFormat) -> Result<()> {
        self.output.open_file()?;
        let mut options = Dictionary::new();
        // SAFETY: a static format.
        let name = unsafe { copied((*format).name) };
        if name == "image2" && matches!(self.target, Target::File { .. }) {
            options.set("update", "1")?;
            self.single = true;
        }
        if name == "image2" && matches!(self.target, Target::Sequence { .. }) {
            options.set("start_number", "1")?;
        }
        // SAFETY: streams are complete and the file is open.
        let code = unsafe { ffi::avformat_write_header(self.output.0, &mut options.0) };
        if code >= 0 {
            return Ok(());
        }
        let said = log::last_message().map_or(String::new(), |m| format!(" ({m})"));
        let kind = super::ffi::error_kind(code, Kind::Create);
        Err(Error::new(kind, format!("container {name} refused the streams: {}{said}", error_text(code)))
            .hint("another container, such as .mkv, may hold them"))
    }
}

fn refuse_if_strict(path: &Path, strict: bool, kept: &Kept) -> Result<()> {
    if !strict || kept.dropped.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Create, format!("would lack {}", kept.dropped.join("; ")))
        .hint("another container, such as .mkv, may hold it; without --strict it is left out")
        .file(path))
}
