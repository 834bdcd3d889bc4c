//! Segments encoded by themselves: packets of the output's own encoder, kept until they are joined.
//!
//! Each part begins with a new encoder, so nothing in it refers to another one, and its first picture can be decoded alone. In the file a
//! packet's time is twice the number of its picture, and one more where no other picture needs it, which NUT cannot say. Which times
//! pictures have in the output is known where they are joined ([`VideoWriter`]).

use std::collections::VecDeque;
use std::ffi::c_int;
use std::path::{Path, PathBuf};

use ffmpeg_next::ffi;

use super::container::find_format;
use super::decoder::picture_stream;
use super::encoder::Encoder;
use super::ffi::{Packet, check, error_kind, error_text, known, raw_enum, rescale};
use super::info::VideoInfo;
use super::open::Input;
use super::packed_form::open_encoder;
use super::packet_file::{PacketFile, half_frame};
use super::packing::Packed;
use super::seam::Seams;
use super::side_data::packet_side_data;
use super::writer::{OutputSpec, VideoWriter};
use crate::error::{Error, Kind, Result};
use crate::frame::{Frame, PictureLayout};
use crate::kernels::CpuLevel;

/// Most pictures between the places of one in coded and in shown order; standards allow 16.
pub const MOST_DELAY: usize = 32;
/// What is added to a picture's number to be its time in the file, so that it lies behind the time of decoding, which is not negative in
/// NUT.
const LEAD: i64 = MOST_DELAY as i64;
/// No other picture needs this one.
const DISPOSABLE: c_int = ffi::AV_PKT_FLAG_DISPOSABLE as c_int;

/// A file of encoded pictures in the making.
pub struct EncodedWriter {
    file: PacketFile,
    encoder: Encoder,
    /// Ticks of the file.
    base: ffi::AVRational,
    /// Time of the first frame, ticks of the source.
    first: Option<i64>,
    /// Times at which pictures were sent that have not come back, and their numbers.
    waiting: VecDeque<(i64, i64)>,
    sent: i64,
    coded: i64,
    delay: usize,
    path: PathBuf,
}

impl std::fmt::Debug for EncodedWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodedWriter").field("path", &self.path).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl EncodedWriter {
    /// Makes or empties `path` for pictures of frames of `layout` from `source`, encoded as `output` says.
    ///
    /// # Errors
    /// [`Kind::Create`] if it cannot be written; those of the encoder, as for [`VideoWriter::create`].
    pub fn create(
        path: &Path,
        output: &OutputSpec,
        source: &VideoInfo,
        layout: &PictureLayout,
        cpu: CpuLevel,
    ) -> Result<Self> {
        let (encoder, _) = open_encoder(output, find_format(output)?, source, layout, cpu)?;
        let base = half_frame(source);
        let file = PacketFile::create(path, &encoder, source, base, true).map_err(|e| e.file(path))?;
        let waiting = VecDeque::new();
        Ok(Self { file, encoder, base, first: None, waiting, sent: 0, coded: 0, delay: 0, path: path.to_owned() })
    }

    /// Tries out, in a file at `path`, whether what the encoder of `output` makes can be kept.
    ///
    /// # Errors
    /// Those of the encoder; [`Kind::Usage`] if it cannot.
    pub fn try_out(
        path: &Path,
        output: &OutputSpec,
        source: &VideoInfo,
        layout: &PictureLayout,
        cpu: CpuLevel,
    ) -> Result<()> {
        let (encoder, _) = open_encoder(output, find_format(output)?, source, layout, cpu)?;
        let base = half_frame(source);
        let kept = PacketFile::create(path, &encoder, source, base, true).and_then(|mut file| {
            file.write(&some_packet()?, base)?;
            file.finish()
        });
        kept.and_then(|_| EncodedReader::open(path, source)?.check(&encoder)).map_err(|e| {
            if e.kind() == Kind::Resource {
                return e.file(path);
            }
            let message = format!("encoder {} makes packets that segments cannot be kept in", encoder.name());
            Error::new(Kind::Usage, message)
                .hint("take another --codec, or leave out --encode-per-segment")
                .caused_by(e)
        })
    }

    /// Encodes the next picture, packed as the output's [`crate::media::PackedForm`] says; of `frame` time and carried data are used.
    ///
    /// # Errors
    /// Those of the encoder; [`Kind::Io`] or [`Kind::Resource`] if writing failed.
    pub fn write(&mut self, picture: &Packed, frame: &Frame) -> Result<()> {
        let time = frame.pts.saturating_sub(*self.first.get_or_insert(frame.pts));
        let sent = self.encoder.send(picture, &frame.carried, time);
        let ticks = sent.map_err(|e| e.file(&self.path))?;
        self.waiting.push_back((ticks, self.sent));
        self.sent += 1;
        self.write_packets().map_err(|e| e.file(&self.path))
    }

    fn write_packets(&mut self) -> Result<()> {
        while let Some(packet) = self.encoder.receive()? {
            let raw = packet.as_ptr();
            // SAFETY: the packet was filled by the encoder.
            unsafe {
                refuse_side_data(raw)?;
                if self.coded == 0 {
                    // Decoded so long before it is shown: the pictures that are shown in as long a time.
                    let early = known((*raw).dts).map_or(0, |dts| (*raw).pts.saturating_sub(dts));
                    self.delay =
                        self.waiting.iter().filter(|(ticks, _)| (1..=early).contains(&(ticks - (*raw).pts))).count();
                }
                let place = self.waiting.iter().position(|(ticks, _)| *ticks == (*raw).pts);
                let Some((_, number)) = place.and_then(|at| self.waiting.remove(at)) else {
                    return Err(alone("gives pictures other times than they had"));
                };
                let late = self.coded - number;
                if late > LEAD {
                    return Err(alone("reorders more pictures than any standard allows"));
                }
                self.delay = self.delay.max(usize::try_from(late).unwrap_or(0));
                let shown = 2 * (number + LEAD) + i64::from((*raw).flags & DISPOSABLE != 0);
                ((*raw).pts, (*raw).dts, (*raw).duration) = (shown, 2 * self.coded, 2);
            }
            self.coded += 1;
            self.file.write(&packet, self.base)?;
        }
        Ok(())
    }

    /// Ends the file. Returns the number of pictures in it, and the most pictures between the places of one in coded and in shown order.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn finish(mut self) -> Result<(u64, usize)> {
        let ended = self.encoder.finish().and_then(|()| self.write_packets());
        let written = ended.and_then(|()| self.file.finish()).map_err(|e| e.file(&self.path))?;
        Ok((written, self.delay))
    }
}

/// An encoder that cannot work by itself on a part.
fn alone(what: &str) -> Error {
    Error::new(Kind::Unavailable, format!("this encoder {what}, which segments encoded by themselves cannot have"))
        .hint("take another --codec, or leave out --encode-per-segment")
}

/// A packet of nothing: files are read up to their first one when they are opened.
fn some_packet() -> Result<Packet> {
    let packet = Packet::new()?;
    let raw = packet.as_ptr();
    // SAFETY: a fresh packet, which is given memory that is then written.
    unsafe {
        check(ffi::av_new_packet(raw, 1), Kind::Resource, || "getting memory for a packet".into())?;
        *(*raw).data = 0;
        ((*raw).pts, (*raw).dts, (*raw).flags) = (0, 0, ffi::AV_PKT_FLAG_KEY as c_int);
    }
    Ok(packet)
}

/// Refuses what NUT does not keep of a packet, rather than losing it in silence.
///
/// # Safety
/// `packet` is valid.
unsafe fn refuse_side_data(packet: *const ffi::AVPacket) -> Result<()> {
    use ffi::AVPacketSideDataType as T;
    // Parameters, alpha beside VP8 and VP9; what the encoder says of its work changes no picture.
    let kept = [T::AV_PKT_DATA_NEW_EXTRADATA as i32, T::AV_PKT_DATA_MATROSKA_BLOCKADDITIONAL as i32];
    let harmless = [T::AV_PKT_DATA_QUALITY_STATS as i32, T::AV_PKT_DATA_CPB_PROPERTIES as i32];
    // SAFETY: by the caller's promise.
    let mut kinds = unsafe { packet_side_data(packet) }.map(|(kind, _)| kind);
    match kinds.find(|kind| !kept.contains(kind) && !harmless.contains(kind)) {
        None => Ok(()),
        Some(kind) => Err(alone(&format!("keeps data beside its packets (kind {kind})"))),
    }
}

/// FFmpeg's writer of NUT puts the number of an addition (alpha) before data that begin with it already. Takes one of both away.
///
/// # Safety
/// `packet` was read from a file.
unsafe fn mend_addition(packet: *mut ffi::AVPacket) -> Result<()> {
    let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_MATROSKA_BLOCKADDITIONAL;
    // SAFETY: by the caller's promise; new data of a kind takes the place of the old.
    unsafe {
        let added = packet_side_data(packet).find(|(k, _)| *k == kind as i32);
        // No frame of VP8 or VP9 begins with such a number.
        let Some((_, bytes)) = added.filter(|(_, b)| b.len() >= 16 && b[..8] == b[8..16]) else { return Ok(()) };
        let once = bytes[8..].to_vec();
        let place = ffi::av_packet_new_side_data(packet, kind, once.len());
        if place.is_null() {
            return Err(Error::new(Kind::Resource, "no memory for a packet"));
        }
        std::ptr::copy_nonoverlapping(once.as_ptr(), place, once.len());
    }
    Ok(())
}

/// Reads what [`EncodedWriter`] has written.
pub struct EncodedReader {
    input: Input,
    stream: usize,
    packet: Packet,
    base: ffi::AVRational,
    path: PathBuf,
}

impl std::fmt::Debug for EncodedReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodedReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl EncodedReader {
    /// Opens a file of encoded pictures from `source`.
    ///
    /// # Errors
    /// [`Kind::Input`] if it is no such file.
    pub fn open(path: &Path, source: &VideoInfo) -> Result<Self> {
        let input = Input::open_packets(path)?;
        let stream = picture_stream(&input)?;
        if input.streams().len() != 1 {
            return Err(Error::new(Kind::Input, "holds more than pictures").file(path));
        }
        Ok(Self { input, stream, packet: Packet::new()?, base: half_frame(source), path: path.to_owned() })
    }

    /// Number of the picture in the next packet, counted from 0; `None` after the last one.
    fn next_number(&mut self) -> Result<Option<usize>> {
        self.packet.clear();
        // SAFETY: context, packet and stream are valid.
        unsafe {
            let code = ffi::av_read_frame(self.input.as_ptr(), self.packet.as_ptr());
            if code == ffi::AVERROR_EOF {
                return Ok(None);
            }
            if code < 0 {
                let message = format!("a packet of it cannot be read: {}", error_text(code));
                return Err(Error::new(error_kind(code, Kind::Input), message));
            }
            mend_addition(self.packet.as_ptr())?;
            let stream = self.input.streams()[self.stream];
            let raw = self.packet.as_ptr();
            let time = rescale((*raw).pts, (*stream).time_base, self.base);
            (*raw).flags |= if time & 1 == 1 { DISPOSABLE } else { 0 };
            let wrong = || Error::new(Kind::Input, "holds a packet of no picture");
            usize::try_from((time >> 1).saturating_sub(LEAD)).map(Some).map_err(|_| wrong())
        }
    }

    /// Refuses packets that a file begun with `encoder` does not describe.
    fn check(&self, encoder: &Encoder) -> Result<()> {
        // SAFETY: both are open; parameters of a stream are valid as long as it is.
        let same = unsafe {
            let (told, mine) = ((*self.input.streams()[self.stream]).codecpar, encoder.as_ptr());
            let bytes = |data: *const u8, size: c_int| match usize::try_from(size) {
                Ok(size) if !data.is_null() => std::slice::from_raw_parts(data, size),
                _ => &[],
            };
            raw_enum!(told, codec_id) == raw_enum!(mine, codec_id)
                && ((*told).width, (*told).height) == ((*mine).width, (*mine).height)
                && bytes((*told).extradata, (*told).extradata_size) == bytes((*mine).extradata, (*mine).extradata_size)
        };
        if same { Ok(()) } else { Err(Self::foreign()) }
    }

    fn foreign() -> Error {
        Error::new(Kind::Mismatch, "was encoded by another encoder, or with other options, than are used here")
            .hint("join with the program and the FFmpeg that made the segments, or make them again")
    }

    /// Parameters that the last packet brings, for encoders that know them only then.
    fn parameters(&self) -> Option<Vec<u8>> {
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA as i32;
        // SAFETY: the packet was read just now.
        unsafe { packet_side_data(self.packet.as_ptr()) }.find(|(k, _)| *k == kind).map(|(_, bytes)| bytes.to_vec())
    }
}

impl VideoWriter {
    /// Refuses a part that was not encoded as this output would.
    ///
    /// # Errors
    /// [`Kind::Mismatch`].
    pub fn check_part(&self, part: &EncodedReader) -> Result<()> {
        part.check(&self.encoder).map_err(|e| e.file(&part.path))
    }

    /// Prepares for parts that were encoded by themselves, with at most `delay` pictures between the places of one in coded and in
    /// shown order.
    pub fn begin_parts(&mut self, delay: usize) {
        self.seams = Some(Seams::new(delay, self.usual_ticks()));
    }

    /// Writes the next pictures from `part`, after [`Self::begin_parts`]. `frames` are those that it holds; time and duration are used.
    ///
    /// # Errors
    /// [`Kind::Input`] if `part` is damaged or holds other pictures; [`Kind::Mismatch`] if it was encoded in another way; those of
    /// [`Self::write`].
    pub fn write_encoded(&mut self, part: &mut EncodedReader, frames: &[Frame]) -> Result<()> {
        let Some(first) = frames.first() else { return Ok(()) };
        self.check_part(part)?;
        self.start_at(first.pts);
        let none = || Error::new(Kind::Bug, "parts are written to an output that was not prepared for them");
        let mut seams = self.seams.take().ok_or_else(none)?;
        seams.begin(frames.iter().map(|frame| self.span(frame))).map_err(|e| e.file(&self.path))?;
        loop {
            let next = part.next_number().map_err(|e| e.file(&part.path))?;
            let Some(number) = next else { break };
            let times = seams.next(number).map_err(|e| e.file(&part.path))?;
            if let Some(parameters) = part.parameters()
                && *seams.parameters.get_or_insert_with(|| parameters.clone()) != parameters
            {
                return Err(EncodedReader::foreign().file(&part.path));
            }
            let raw = part.packet.as_ptr();
            // SAFETY: a packet that was read just now.
            unsafe { ((*raw).pts, (*raw).dts, (*raw).duration) = (times.shown, times.decoded, times.lasting) };
            self.write_packet(&part.packet)?;
        }
        seams.end().map_err(|e| e.file(&part.path))?;
        self.seams = Some(seams);
        self.sent += frames.len() as u64;
        Ok(())
    }
}
