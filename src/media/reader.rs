//! Reading: packets of the picture's stream, decoded and drained, as frames with exact times.
//!
//! Any error that is not the end is told from it: damaged packets are noted and skipped, the rest is read on, and the
//! notes decide the exit code at the end. A picture whose size or format changes in mid-stream is converted to the
//! first one's and noted.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi;

use super::clock::Clock;
use super::convert::Converter;
use super::decoder::{
    check_size, discard_others, duration_of, estimated_frames, is_interlaced, open_decoder, picture_stream,
};
use super::ffi::{AGAIN, Codec, NO_TIME, Packet, Picture, error_text, rational, raw_enum, rescale};
use super::info::{Damage, VideoInfo};
use super::log;
use super::open::{Input, InputSpec, sequence_files};
use super::orientation::Orientation;
use super::pixel::{Native, PixelFormat};
use super::probe::{MediaInfo, codec_name};
use super::quantiser::{codec_id, coding_error};
use super::side_data::{DISPLAY_MATRIX, carried_data, hdr_data};
use super::unread::Unread;
use crate::error::{Error, Kind, Result};
use crate::frame::{CodingError, Frame, PlanePool};
use crate::kernels::CpuLevel;

/// Pictures that a decoder may fail to give, one after the other, after the last packet: more than its threads hold.
const FEW_WHILE_DRAINING: u64 = 256;

/// What a file says of a frame, before anything is made good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Presentation time in ticks of the stream, if it has one.
    pub time: Option<i64>,
    /// Whether it can be decoded without those before it.
    pub key: bool,
}

/// Decodes the picture's stream of a file, frame by frame, in presentation order.
#[derive(Debug)]
pub struct VideoReader {
    pub(super) input: Input,
    pub(super) decoder: Codec,
    packet: Packet,
    picture: Picture,
    converter: Converter,
    native: Native,
    pub(super) info: VideoInfo,
    pub(super) clock: Clock,
    cpu: CpuLevel,
    next_index: u64,
    pub(super) draining: bool,
    pub(super) has_picture: bool,
    pub(super) damage: Damage,
    size_changes: u64,
    pub(super) errors_seen: u64,
    pool: PlanePool,
    /// Packets of the picture's stream that were read, and where the last one ended in the file.
    packets: u64,
    last_end: i64,
    /// Numbers of a picture sequence's files.
    pub(super) sequence: Vec<u64>,
    /// Width, height, pixel format and pixel aspect of the picture before and of the first one.
    shape: Option<[i32; 5]>,
    first_shape: Option<[i32; 5]>,
}

impl VideoReader {
    /// Opens `spec` and decodes its first frame. `threads` of 0 lets FFmpeg choose.
    ///
    /// # Errors
    /// [`Kind::Input`] if there is no video in it or none of it can be decoded, or its size is above the limit.
    pub fn open(spec: &InputSpec, threads: usize, cpu: CpuLevel) -> Result<Self> {
        Unread::open(spec, threads, cpu, false)?.read()
    }

    /// The same, and each frame tells how strongly it was compressed where its decoder can ([`Frame::coding`]); some
    /// decoders then use fewer threads.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_with_coding(spec: &InputSpec, threads: usize, cpu: CpuLevel) -> Result<Self> {
        Unread::open(spec, threads, cpu, true)?.read()
    }

    /// Everything but what the first picture tells: see [`Unread`].
    pub(super) fn unread(spec: &InputSpec, threads: usize, cpu: CpuLevel, coding: bool) -> Result<Self> {
        let errors_seen = log::input_errors().0;
        let input = Input::open(spec)?;
        let stream = picture_stream(&input)?;
        // SAFETY: the stream belongs to the open input.
        let decoder = unsafe { open_decoder(input.streams()[stream], threads, spec.max_pixels, coding) }
            .map_err(|e| e.file(&spec.path))?;
        discard_others(&input, stream);
        let mut reader = Self {
            info: VideoInfo::unknown(spec, stream),
            input,
            decoder,
            packet: Packet::new()?,
            picture: Picture::new()?,
            converter: Converter::new()?,
            native: PixelFormat::find("gray")?.nearest_native()?,
            clock: Clock::new(1),
            cpu,
            next_index: 0,
            draining: false,
            has_picture: false,
            damage: Damage::default(),
            size_changes: 0,
            errors_seen,
            pool: PlanePool::new(0),
            packets: 0,
            shape: None,
            first_shape: None,
            last_end: 0,
            sequence: if spec.is_sequence() {
                sequence_files(&spec.path).into_iter().map(|(number, _)| number).collect()
            } else {
                Vec::new()
            },
        };
        // SAFETY: the stream belongs to the open input.
        let base = unsafe { (*reader.input.streams()[stream]).time_base };
        reader.info.time_base = if base.num > 0 && base.den > 0 { (base.num, base.den) } else { (1, 90_000) };
        Ok(reader)
    }

    /// What is known of the stream.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// Takes memory for frames from `pool`, to which their user gives it back.
    pub fn use_pool(&mut self, pool: PlanePool) {
        self.pool = pool;
    }

    /// Time of the next frame, if it is decoded and has one.
    pub fn position(&self) -> Option<i64> {
        if self.has_picture { self.picture_time() } else { None }
    }

    /// The container as a whole.
    pub fn media_info(&self) -> MediaInfo {
        MediaInfo::of(&self.input)
    }

    /// The next frame, or `None` after the last one.
    ///
    /// # Errors
    /// [`Kind::Io`] if reading failed; [`Kind::Resource`] if memory ran out. Damage is not an error: see
    /// [`Self::damage`].
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        Ok(self.next_told()?.map(|(frame, _)| frame))
    }

    /// The same with what the file itself says of the frame.
    ///
    /// # Errors
    /// As for [`Self::next_frame`].
    pub fn next_told(&mut self) -> Result<Option<(Frame, Told)>> {
        if !self.has_picture && !self.decode()? {
            return Ok(None);
        }
        self.has_picture = false;
        let told = Told { time: self.picture_time(), key: self.picture_is_key() };
        Ok(Some((self.take_frame(told.time)?, told)))
    }

    /// Damage met so far, including what FFmpeg reported only in words.
    pub fn damage(&self) -> Damage {
        let mut damage = self.damage.clone();
        if self.clock.moved() > 0 {
            damage.note(format!("{} frames have a time that is not after the one before", self.clock.moved()));
        }
        let (errors, last) = log::input_errors();
        if errors > self.errors_seen {
            damage.note(format!("after frame {}: {last}", self.next_index.saturating_sub(1)));
        }
        damage
    }

    /// Frames that had no time in the file, and frames whose time was not after the one before.
    pub fn repaired_times(&self) -> (u64, u64) {
        (self.clock.synthesised(), self.clock.moved())
    }

    /// Frames whose size or format differed from the first one's and were converted to it.
    pub fn converted_frames(&self) -> u64 {
        self.size_changes
    }

    /// Position of the current picture in the file's own ticks.
    pub(super) fn picture_time(&self) -> Option<i64> {
        // SAFETY: the frame is valid.
        let time = unsafe { (*self.picture.as_ptr()).best_effort_timestamp };
        (time != NO_TIME).then_some(time)
    }

    /// Whether the current picture can be decoded without those before it.
    fn picture_is_key(&mut self) -> bool {
        // SAFETY: the frame is valid; it is not dropped, as it is owned here.
        let wrapped = std::mem::ManuallyDrop::new(unsafe { ffmpeg_next::frame::Frame::wrap(self.picture.as_ptr()) });
        wrapped.is_key()
    }

    /// Decodes one picture into `self.picture`; false at the end of the stream.
    pub(super) fn decode(&mut self) -> Result<bool> {
        let damaged_before = self.damage.count;
        loop {
            // SAFETY: decoder and frame are valid; receive drops what the frame held.
            let code = unsafe { ffi::avcodec_receive_frame(self.decoder.as_ptr(), self.picture.as_ptr()) };
            match code {
                0 => {
                    self.note_picture_damage();
                    return Ok(true);
                }
                AGAIN => self.feed()?,
                ffi::AVERROR_EOF => return Ok(false),
                _ if -code == libc::ENOMEM => return Err(self.failed(code, "decoding")),
                _ => {
                    self.damage.note(format!(
                        "a picture after frame {} could not be decoded: {}",
                        self.next_index,
                        error_text(code)
                    ));
                    if !self.draining {
                        self.feed()?;
                    } else if self.damage.count > FEW_WHILE_DRAINING + damaged_before {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Sends the decoder its next packet, or the end of the stream.
    fn feed(&mut self) -> Result<()> {
        loop {
            // SAFETY: context and packet are valid.
            let code = unsafe { ffi::av_read_frame(self.input.as_ptr(), self.packet.as_ptr()) };
            if code == AGAIN {
                continue;
            }
            if code < 0 {
                if code != ffi::AVERROR_EOF {
                    if matches!(-code, libc::ENOMEM) {
                        return Err(self.failed(code, "reading"));
                    }
                    self.damage.note(format!("reading stopped after frame {}: {}", self.next_index, error_text(code)));
                }
                self.note_missing_end();
                self.draining = true;
                return self.send(ptr::null());
            }
            // SAFETY: the packet was filled above.
            let ours = unsafe { (*self.packet.as_ptr()).stream_index as usize == self.info.stream };
            if ours {
                self.packets += 1;
                // SAFETY: as above.
                self.last_end = unsafe { (*self.packet.as_ptr()).pos + i64::from((*self.packet.as_ptr()).size) };
                self.note_contradicting_times();
            }
            let sent = if ours { self.send(self.packet.as_ptr()) } else { Ok(()) };
            self.packet.clear();
            if ours {
                return sent;
            }
        }
    }

    /// Inputs whose demuxers take a picture cut short, or a hole in a sequence, for the end.
    fn note_missing_end(&mut self) {
        // SAFETY: the context is open; a demuxer without a file of its own has none here.
        let position = unsafe {
            let file = (*self.input.as_ptr()).pb;
            if file.is_null() { -1 } else { ffi::avio_seek(file, 0, libc::SEEK_CUR) }
        };
        if self.input.format_name() == "yuv4mpegpipe" && position > self.last_end {
            self.damage.note(format!("picture {} is cut short", self.packets));
        }
        let pictures = self.sequence.len() as u64;
        if pictures > self.packets {
            let next = self.sequence[self.packets as usize];
            let read = self.packets;
            self.damage
                .note(format!("only {read} of {pictures} pictures of the sequence were read, not number {next}"));
        }
    }

    /// No codec reorders pictures over a minute and more than 32 pictures: then one of a packet's times is wrong.
    fn note_contradicting_times(&mut self) {
        // SAFETY: the packet was just filled.
        let (pts, dts) = unsafe { ((*self.packet.as_ptr()).pts, (*self.packet.as_ptr()).dts) };
        if pts == NO_TIME || dts == NO_TIME {
            return;
        }
        let apart = self.info.seconds(pts.saturating_sub(dts)).abs();
        if apart > 60f64.max(32.0 * self.info.seconds(self.clock.step())) {
            self.damage.note(format!("a packet after frame {} has times {apart:.0} s apart", self.next_index));
        }
    }

    fn send(&mut self, packet: *const ffi::AVPacket) -> Result<()> {
        // SAFETY: the decoder is open; the packet is valid or null for the end.
        let code = unsafe { ffi::avcodec_send_packet(self.decoder.as_ptr(), packet) };
        match code {
            0.. | AGAIN | ffi::AVERROR_EOF => Ok(()),
            _ if -code == libc::ENOMEM => Err(self.failed(code, "decoding")),
            _ => {
                self.damage.note(format!("a packet after frame {} is damaged: {}", self.next_index, error_text(code)));
                Ok(())
            }
        }
    }

    fn failed(&self, code: c_int, doing: &str) -> Error {
        let message = format!("{doing} failed: {}", error_text(code));
        Error::new(super::ffi::error_kind(code, Kind::Io), message).file(self.input.path())
    }

    /// Notes what the decoder has said about the pictures up to this one. Its flags tell the same without words, but
    /// under frame threads they are also set on sound pictures of two fields: words are believed first.
    fn note_picture_damage(&mut self) {
        let (errors, last) = log::input_errors();
        if errors > self.errors_seen {
            self.errors_seen = errors;
            self.damage.note(format!("near frame {}: {last}", self.next_index));
        }
        // SAFETY: the frame was just filled.
        let flags = unsafe { (*self.picture.as_ptr()).decode_error_flags };
        if !log::COLLECTS && flags != 0 {
            self.damage.note(format!("frame {} is damaged and was concealed", self.next_index));
        }
    }

    /// The decoded picture as planes.
    fn take_frame(&mut self, told: Option<i64>) -> Result<Frame> {
        let pts = self.clock.place(told);
        let layout = &self.info.layout;
        let mut planes = self.pool.take(layout);
        let raw = self.picture.as_ptr();
        // SAFETY: the picture was decoded; `as_first` gives one of the first picture's format and size.
        let (carried, coding, duration) = unsafe {
            let frame = self.as_first(raw)?;
            self.native.unpack(frame, &self.info.layout, &mut planes, self.cpu);
            (carried_data(raw), self.coding_of(raw), duration_of(raw))
        };
        let index = self.next_index;
        self.next_index += 1;
        Ok(Frame { index, pts, duration, planes, coding, carried })
    }

    /// How strongly the picture was compressed. Of one that was fitted to another size only the mean is kept.
    ///
    /// # Safety
    /// `frame` is a decoded picture.
    unsafe fn coding_of(&self, frame: *const ffi::AVFrame) -> Option<CodingError> {
        let layout = &self.info.layout;
        // SAFETY: by the caller's promise; the decoder is open.
        let (coding, width, height) = unsafe {
            let codec = codec_id(self.decoder.as_ptr());
            (coding_error(frame, codec, layout.depth)?, (*frame).width as usize, (*frame).height as usize)
        };
        let blocks = coding.blocks.filter(|_| (width, height) == (layout.width, layout.height));
        Some(CodingError { blocks, ..coding })
    }

    /// The picture in the first picture's native format and size, converted if need be.
    ///
    /// # Safety
    /// `frame` is a decoded picture.
    unsafe fn as_first(&mut self, frame: *mut ffi::AVFrame) -> Result<*const ffi::AVFrame> {
        let (width, height) = (self.info.layout.width, self.info.layout.height);
        // SAFETY: by the caller's promise.
        unsafe {
            let same_size = (*frame).width as usize == width && (*frame).height as usize == height;
            let same_format = (*frame).format == self.info.format.0;
            self.size_changes += u64::from(!same_size || !same_format);
            self.note_other_shape(frame);
            if same_size && (*frame).format == self.native.format.0 {
                return Ok(frame);
            }
            let full = self.info.layout.color.is_full(self.native.family);
            let matrix = raw_enum!(frame, colorspace);
            let height_of_first = height;
            let matrix = if matrix == 2 { if height_of_first >= 720 { 1 } else { 5 } } else { matrix };
            let full_in = match raw_enum!(frame, color_range) {
                0 => full,
                range => range == 2,
            };
            self.converter.convert(frame, self.native.format, width, height, [full_in, full], matrix)
        }
    }

    /// Notes where pictures begin to have another size, format or shape of pixels than the first one.
    ///
    /// # Safety
    /// `frame` is a decoded picture.
    unsafe fn note_other_shape(&mut self, frame: *const ffi::AVFrame) {
        // SAFETY: by the caller's promise.
        let (width, height, format, aspect) =
            unsafe { ((*frame).width, (*frame).height, (*frame).format, (*frame).sample_aspect_ratio) };
        let shape = [width, height, format, aspect.num, aspect.den];
        let before = self.shape.replace(shape);
        let first = *self.first_shape.get_or_insert(shape);
        if before.is_none_or(|b| b == shape) || shape == first {
            return;
        }
        let words = |s: [i32; 5]| format!("{}x{} {}, pixels {}:{}", s[0], s[1], PixelFormat(s[2]).name(), s[3], s[4]);
        let (index, now, then) = (self.next_index, words(shape), words(first));
        self.damage
            .note(format!("from frame {index} pictures are {now}, not {then} as the first; they were fitted to it"));
    }

    /// Decodes the first picture and fixes layout, times and everything else that is told by it.
    pub(super) fn learn_from_first_picture(&mut self, spec: &InputSpec) -> Result<()> {
        if !self.decode()? {
            let why = self.damage().notes.first().map_or(String::new(), |n| format!(" ({n})"));
            return Err(Error::new(Kind::Input, format!("no frame of its video can be decoded{why}")).file(&spec.path));
        }
        self.has_picture = true;
        let stream = self.input.streams()[self.info.stream];
        // SAFETY: the stream belongs to the open input and the picture was decoded.
        unsafe {
            let frame = self.picture.as_ptr();
            let format = PixelFormat((*frame).format);
            self.native = format.nearest_native()?;
            self.info.format = format;
            self.info.pixel_format = format.name();
            self.info.layout = self.native.layout(frame);
            check_size(&self.info.layout, spec)?;
            self.info.codec = codec_name((*stream).codecpar);
            let guessed = ffi::av_guess_frame_rate(self.input.as_ptr(), stream, frame);
            self.info.frame_rate = if guessed.num > 0 && guessed.den > 0 { (guessed.num, guessed.den) } else { (0, 1) };
            let aspect = ffi::av_guess_sample_aspect_ratio(self.input.as_ptr(), stream, frame);
            self.info.sample_aspect = if aspect.num > 0 && aspect.den > 0 { (aspect.num, aspect.den) } else { (0, 1) };
            self.info.frames_estimated = estimated_frames(self.input.as_ptr(), stream);
            self.info.interlaced = is_interlaced(frame);
            self.info.chroma_location = raw_enum!(frame, chroma_location);
            self.info.hdr = hdr_data(&self.input, self.info.stream, frame);
        }
        let matrix = self.input.side_data(self.info.stream).into_iter().find(|(kind, _)| *kind == DISPLAY_MATRIX);
        self.info.orientation = matrix.map_or(Orientation::default(), |(_, bytes)| Orientation::from_matrix(&bytes));
        self.clock = Clock::new(self.frame_step());
        Ok(())
    }

    /// Ticks between two frames at the average rate; 1 where no rate is known.
    fn frame_step(&self) -> i64 {
        let (num, den) = self.info.frame_rate;
        if num == 0 {
            return 1;
        }
        let (tick_num, tick_den) = self.info.time_base;
        rescale(1, rational(den, num), rational(tick_num, tick_den)).max(1)
    }

    /// Ticks between two frames at the average rate, as used for frames without a time.
    pub fn usual_step(&self) -> i64 {
        self.clock.step()
    }
}
