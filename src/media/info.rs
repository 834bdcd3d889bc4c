//! What is known of a video's picture before and after it is read.

use std::path::PathBuf;

use super::open::InputSpec;
use super::orientation::Orientation;
use super::pixel::PixelFormat;
use crate::frame::{ColorFamily, PictureLayout};

/// What is known of the picture's stream before its first frame is used.
#[derive(Debug, Clone)]
pub struct VideoInfo {
    /// The file.
    pub path: PathBuf,
    /// Number of the stream in the container.
    pub stream: usize,
    /// Name of its codec.
    pub codec: String,
    /// Size, sampling, depth and colour of every frame.
    pub layout: PictureLayout,
    /// FFmpeg's name of the pixel format.
    pub pixel_format: String,
    /// Seconds per tick of the frames' times, as numerator and denominator.
    pub time_base: (i32, i32),
    /// Average frames a second, numerator and denominator; (0, 1) if unknown.
    pub frame_rate: (i32, i32),
    /// Width of a pixel over its height; (0, 1) if unknown.
    pub sample_aspect: (i32, i32),
    /// How the pictures are to be turned for display.
    pub orientation: Orientation,
    /// Frames in the stream as the container estimates them, 0 if it does not.
    pub frames_estimated: u64,
    /// Whether the first frames are flagged as interlaced.
    pub interlaced: bool,
    /// FFmpeg's number of the chroma location.
    pub(super) chroma_location: i32,
    /// FFmpeg's number of the pixel format.
    pub(super) format: PixelFormat,
    /// Mastering display and light level, as (frame side data type, bytes).
    pub(super) hdr: Vec<(i32, Vec<u8>)>,
}

impl VideoInfo {
    /// Seconds of `ticks`.
    pub fn seconds(&self, ticks: i64) -> f64 {
        ticks as f64 * f64::from(self.time_base.0) / f64::from(self.time_base.1.max(1))
    }
}

/// What was found wrong while reading.
#[derive(Debug, Clone, Default)]
pub struct Damage {
    /// Damaged places, as far as they were counted.
    pub count: u64,
    /// The first ones in words.
    pub notes: Vec<String>,
}

impl Damage {
    const KEPT: usize = 5;

    pub(super) fn note(&mut self, text: String) {
        self.count += 1;
        if self.notes.len() < Self::KEPT && !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }
}

impl VideoInfo {
    /// Before the first picture is decoded.
    pub(super) fn unknown(spec: &InputSpec, stream: usize) -> Self {
        let layout = PictureLayout {
            width: 0,
            height: 0,
            family: ColorFamily::Gray,
            chroma_log2: (0, 0),
            chroma_site: crate::frame::ChromaSite { x: 0.0, y: 0.5 },
            alpha: false,
            depth: 8,
            color: Default::default(),
        };
        Self {
            path: spec.path.clone(),
            stream,
            codec: String::new(),
            layout,
            pixel_format: String::new(),
            time_base: (1, 1),
            frame_rate: (0, 1),
            sample_aspect: (0, 1),
            orientation: Orientation::default(),
            frames_estimated: 0,
            interlaced: false,
            chroma_location: 0,
            format: PixelFormat(-1),
            hdr: Vec::new(),
        }
    }
}
