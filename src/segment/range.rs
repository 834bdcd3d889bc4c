//! Exactly the frames that a segment needs, out of the whole input, each held against the index.
//!
//! A seek goes to the second key frame before the first frame wanted: pictures before the first key frame of an open group
//! are lost or broken after a jump into it. Frames are told by their times in the file, never counted; where one is not what
//! the index says, all is decoded from the start, which is how the index was made.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use super::index::{Record, Records, hash_of, key_before};
use super::job::SegmentJob;
use super::receipt::Reading;
use crate::error::{Error, Kind, Result, Stage};
use crate::frame::{Frame, PlanePool};
use crate::kernels::CpuLevel;
use crate::media::{InputSpec, Told, VideoReader};
use crate::pipeline::{Control, EnlargeOptions, open_for};

/// How frames have been found so far; may be looked at while they are read.
#[derive(Debug, Default)]
pub(super) struct ReadingSeen(AtomicU8);

impl ReadingSeen {
    fn set(&self, reading: Reading) {
        self.0.store(reading as u8, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Reading {
        [Reading::Linear, Reading::Seek, Reading::Fallback][usize::from(self.0.load(Ordering::Relaxed))]
    }
}

/// Where frames come from.
pub(super) struct Opening<'a> {
    pub(super) job: &'a SegmentJob,
    pub(super) input: &'a InputSpec,
    pub(super) options: &'a EnlargeOptions,
    pub(super) threads: usize,
    pub(super) cpu: CpuLevel,
}

impl Opening<'_> {
    /// A reader at the first frame of the job.
    pub(super) fn open(&self) -> Result<VideoReader> {
        let mut reader = open_for(self.options, self.input, self.threads, self.cpu)?;
        if let Some(seconds) = self.job.manifest().params.start {
            reader.start_at(seconds)?;
        }
        Ok(reader)
    }

    fn folder(&self) -> &Path {
        self.job.folder()
    }
}

/// Frames of a range, in order.
pub(super) struct RangeReader<'a> {
    opening: Opening<'a>,
    reader: VideoReader,
    records: Records,
    /// Number of the next frame.
    next: u64,
    /// Frame that was found while looking for the first one.
    found: Option<(Frame, Told)>,
    pool: PlanePool,
    seen: &'a ReadingSeen,
    control: &'a Control,
}

impl<'a> RangeReader<'a> {
    /// Those from `first` to before `end`, in planes of `pool`; `reader` is at the first frame of the job.
    pub(super) fn open(
        opening: Opening<'a>,
        reader: VideoReader,
        (first, end): (u64, u64),
        pool: PlanePool,
        seen: &'a ReadingSeen,
        control: &'a Control,
    ) -> Result<Self> {
        let records = Records::open(opening.folder(), first, end)?;
        let mut range = Self { opening, reader, records, next: first, found: None, pool, seen, control };
        range.reader.use_pool(range.pool.clone());
        range.go_to_first()?;
        Ok(range)
    }

    /// Goes to the first frame, by the container's index if that is of use.
    fn go_to_first(&mut self) -> Result<()> {
        self.seen.set(Reading::Linear);
        let timed = self.opening.job.manifest().timed;
        let key = if timed { key_before(self.opening.folder(), self.next)? } else { None };
        let Some((key, time)) = key else { return self.skip_to_next() };
        let wanted = Records::open(self.opening.folder(), self.next, self.next + 1)?.next_record()?;
        let Some(wanted) = wanted.and_then(|record| record.told).filter(|_| key > 0) else {
            return self.skip_to_next();
        };
        if !self.reader.go_before(time) {
            return self.skip_to_next();
        }
        self.seen.set(Reading::Seek);
        while let Some((frame, told)) = self.next_told()? {
            match told.time {
                Some(time) if time < wanted => self.pool.give(frame.planes),
                _ => {
                    self.found = Some((frame, told));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn next_told(&mut self) -> Result<Option<(Frame, Told)>> {
        if self.control.is_stopped() {
            return Err(self.control.interruption());
        }
        self.reader.next_told()
    }

    /// Decodes what lies before the next frame, from the start.
    fn skip_to_next(&mut self) -> Result<()> {
        for _ in 0..self.next {
            let Some((frame, _)) = self.next_told()? else { break };
            self.pool.give(frame.planes);
        }
        Ok(())
    }

    /// The next frame, with number and times as in the index.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>> {
        let Some(record) = self.records.next_record()? else { return Ok(None) };
        let mut candidate = self.candidate()?;
        if !candidate.as_ref().is_some_and(|(frame, told)| is(frame, *told, &record))
            && self.seen.get() == Reading::Seek
        {
            self.seen.set(Reading::Fallback);
            self.reader = self.opening.open()?;
            self.reader.use_pool(self.pool.clone());
            self.skip_to_next()?;
            candidate = self.candidate()?;
        }
        let index = self.next;
        match candidate {
            Some((frame, told)) if is(&frame, told, &record) => {
                self.next += 1;
                Ok(Some(Frame { index, pts: record.pts, duration: record.duration, ..frame }))
            }
            other => {
                let what = if other.is_some() { "is decoded to another picture or time" } else { "cannot be decoded" };
                Err(Error::new(Kind::Mismatch, format!("this frame {what} than when the video was planned"))
                    .hint("the input has changed, or another decoder reads it: plan anew")
                    .file(&self.opening.input.path)
                    .at(Stage::Decode, Some(index)))
            }
        }
    }

    fn candidate(&mut self) -> Result<Option<(Frame, Told)>> {
        match self.found.take() {
            Some(found) => Ok(Some(found)),
            None => self.next_told(),
        }
    }
}

/// Whether a frame is the one that was indexed. Its duration may differ where it was guessed from the frames before.
fn is(frame: &Frame, told: Told, record: &Record) -> bool {
    told.time == record.told && hash_of(frame) == record.hash
}
