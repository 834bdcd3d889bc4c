//! A file with the packets of one encoder, in NUT: what segments of a job are kept in, pictures or not.
//!
//! It holds no clock and no version: the same packets give the same bytes. What packets are is for others to say.

use std::path::Path;

use ffmpeg_next::ffi;

use super::container::{OutputContext, describe_picture};
use super::encoder::Encoder;
use super::ffi::{Dictionary, Packet, check, rational};
use super::info::VideoInfo;
use super::log;
use super::open::file_url;
use super::stream_copy::new_stream;
use crate::error::{Error, Kind, Result};

/// A file of packets in the making.
pub(super) struct PacketFile {
    output: OutputContext,
    written: u64,
}

impl PacketFile {
    /// Its container.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if this FFmpeg does not write it.
    pub(super) fn format() -> Result<*const ffi::AVOutputFormat> {
        // SAFETY: a valid string; formats are static.
        let format = unsafe { ffi::av_guess_format(c"nut".as_ptr(), std::ptr::null(), std::ptr::null()) };
        if format.is_null() {
            return Err(Error::new(Kind::Unavailable, "this FFmpeg does not write NUT, which segments are kept in"));
        }
        Ok(format)
    }

    /// Makes or empties `path` for what `encoder` makes of `source`, with times in ticks of `base`. What packets carry beside their
    /// bytes is kept if `side_data` says so, in a file that can only be read from its start.
    ///
    /// # Errors
    /// [`Kind::Create`] if it cannot be written.
    pub(super) fn create(
        path: &Path,
        encoder: &Encoder,
        source: &VideoInfo,
        base: ffi::AVRational,
        side_data: bool,
    ) -> Result<Self> {
        log::install();
        let output = OutputContext::new(Self::format()?, &file_url(path)?)?;
        let mut options = Dictionary::new();
        if side_data {
            // This makes it version 4 of the format, the first one that holds such data.
            options.set("syncpoints", "none")?;
        }
        // SAFETY: a fresh context and an open encoder.
        unsafe {
            (*output.0).flags |= ffi::AVFMT_FLAG_BITEXACT as std::ffi::c_int;
            // Times are written as they are, those of decoding before the first picture too.
            (*output.0).avoid_negative_ts = 0;
            let stream = new_stream(output.0)?;
            describe_picture(stream, encoder, source)?;
            (*stream).time_base = base;
            output.open_file()?;
            let code = ffi::avformat_write_header(output.0, &mut options.0);
            check(code, Kind::Create, || "beginning a segment".into())?;
        }
        Ok(Self { output, written: 0 })
    }

    /// Writes a packet whose times are in ticks of `base`.
    ///
    /// # Errors
    /// [`Kind::Io`] or [`Kind::Resource`] if writing failed.
    pub(super) fn write(&mut self, packet: &Packet, base: ffi::AVRational) -> Result<()> {
        let raw = packet.as_ptr();
        // SAFETY: a packet of the encoder; the context has one stream.
        unsafe {
            let stream = *(*self.output.0).streams;
            ffi::av_packet_rescale_ts(raw, base, (*stream).time_base);
            (*raw).stream_index = 0;
            check(ffi::av_write_frame(self.output.0, raw), Kind::Io, || "writing a segment".into())?;
        }
        self.written += 1;
        Ok(())
    }

    /// Ends the file. Returns the number of packets in it.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub(super) fn finish(self) -> Result<u64> {
        // SAFETY: the header is written.
        let code = unsafe { ffi::av_write_trailer(self.output.0) };
        check(code, Kind::Io, || "writing the end of a segment".into())?;
        self.output.close_file()?;
        Ok(self.written)
    }
}

/// Half the time between two frames of `source`, if it is known; else of cinema. For files in which times only serve who looks at them.
pub(super) fn half_frame(source: &VideoInfo) -> ffi::AVRational {
    let (num, den) = source.frame_rate;
    if (1..=i32::MAX / 2).contains(&num) && den > 0 { rational(den, 2 * num) } else { rational(1, 48) }
}
