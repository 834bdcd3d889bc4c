//! Going to a place in a video: by the container's index where it has one, by decoding from the start where not.

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::info::Damage;
use super::log;
use super::reader::VideoReader;
use crate::error::Result;

impl VideoReader {
    /// Goes to the first frame at or after `seconds` after the first one. Where the container has an index, decoding
    /// begins at the key frame before it.
    ///
    /// # Errors
    /// As for [`Self::next_frame`].
    pub fn start_at(&mut self, seconds: f64) -> Result<()> {
        let first = self.picture_time().unwrap_or(0);
        let (num, den) = self.info.time_base;
        let target = first.saturating_add((seconds * f64::from(den) / f64::from(num.max(1))).round() as i64);
        if self.sequence.is_empty() && self.input.seek_before(self.info.stream as c_int, target) {
            self.restart();
            let landed = self.decode()?.then(|| self.picture_time()).flatten();
            // An index that lies: from the start, then.
            if landed.is_none_or(|time| time > target) && self.input.seek_before(self.info.stream as c_int, first) {
                self.restart();
            } else {
                self.has_picture = true;
            }
        }
        while self.has_picture || self.decode()? {
            let time = self.picture_time().unwrap_or_else(|| self.clock.place(None));
            self.has_picture = time >= target;
            if self.has_picture {
                break;
            }
        }
        // What was wrong before the first frame that is wanted is not wrong with what is wanted.
        self.damage = Damage::default();
        self.errors_seen = log::input_errors().0;
        Ok(())
    }

    /// Makes the decoder ready for packets from another place.
    fn restart(&mut self) {
        // SAFETY: the decoder is open.
        unsafe { ffi::avcodec_flush_buffers(self.decoder.as_ptr()) };
        self.draining = false;
        self.has_picture = false;
    }

    /// Goes by the container's index to the last key frame at or before `time`, in ticks of the stream. `false` if it has no
    /// index to do so by, or there is more than one file: nothing has changed then. What is decoded next need not be
    /// whole, and an index may lie: who calls this has to know what to find.
    pub fn go_before(&mut self, time: i64) -> bool {
        let gone = self.sequence.is_empty() && self.input.seek_before(self.info.stream as c_int, time);
        if gone {
            self.restart();
        }
        gone
    }
}
