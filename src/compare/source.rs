//! Parts of videos, read as they are shown: turned upright, cropped, from one frame on.

use ndarray::s;

use crate::error::{Result, Stage};
use crate::frame::{Frame, PictureLayout};
use crate::kernels::CpuLevel;
use crate::media::{Damage, InputSpec, VideoInfo, VideoReader};

/// Where a part of a video begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Start {
    /// At its first frame.
    First,
    /// At the first frame at or after this many seconds.
    Seconds(f64),
    /// After that many frames.
    Frames(u64),
}

/// A part of a video.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) spec: InputSpec,
    pub(super) start: Start,
    /// Most frames; all that follow if not given.
    pub(super) frames: Option<u64>,
    /// Columns and rows that are kept, from the top left.
    pub(super) crop: Option<(usize, usize)>,
}

impl Part {
    /// A whole video.
    pub(super) fn whole(spec: InputSpec) -> Self {
        Self { spec, start: Start::First, frames: None, crop: None }
    }
}

/// The frames of a part, one after the other.
pub(super) struct Pictures {
    reader: VideoReader,
    layout: PictureLayout,
    crop: bool,
    left: u64,
}

impl Pictures {
    /// Opens a part; with `coding`, frames tell how strongly they were compressed.
    pub(super) fn open(part: &Part, coding: bool, threads: usize) -> Result<Self> {
        let open = if coding { VideoReader::open_with_coding } else { VideoReader::open };
        let mut reader = open(&part.spec, threads, CpuLevel::detect())?;
        match part.start {
            Start::First => {}
            Start::Seconds(seconds) => reader.start_at(seconds)?,
            Start::Frames(frames) => {
                for _ in 0..frames {
                    reader.next_frame()?;
                }
            }
        }
        let upright = reader.info().orientation.layout(&reader.info().layout);
        let layout = part.crop.map_or_else(|| upright.clone(), |(width, height)| upright.resized(width, height));
        let crop = layout != upright;
        Ok(Self { reader, layout, crop, left: part.frames.unwrap_or(u64::MAX) })
    }

    /// Layout of the frames.
    pub(super) fn layout(&self) -> &PictureLayout {
        &self.layout
    }

    /// What is known of the whole video.
    pub(super) fn info(&self) -> &VideoInfo {
        self.reader.info()
    }

    /// Ticks between two frames.
    pub(super) fn usual_step(&self) -> i64 {
        self.reader.usual_step()
    }

    /// Damage met so far.
    pub(super) fn damage(&self) -> Damage {
        self.reader.damage()
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let frame = self.reader.next_frame().map_err(|e| e.at(Stage::Decode, None))?;
        Ok(frame.map(|frame| self.fitted(frame)))
    }

    fn fitted(&self, mut frame: Frame) -> Frame {
        let turn = self.reader.info().orientation;
        if !turn.is_identity() {
            frame.planes.iter_mut().for_each(|plane| *plane = turn.turn(plane));
        }
        if self.crop {
            for (index, plane) in frame.planes.iter_mut().enumerate() {
                let (rows, columns) = self.layout.plane_size(index);
                *plane = plane.slice(s![..rows, ..columns]).to_owned();
            }
        }
        frame
    }
}
