//! What a comparison found, as plain data: made by `compare`, kept as JSON, shown by the page.

use crate::metrics::Scores;
use serde::{Deserialize, Serialize};

/// All that was found about one input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// Program and version that made it.
    pub program: String,
    /// What was enlarged.
    pub input: Clip,
    /// Factor of the enlargement.
    pub scale: f64,
    /// One after the other: with a reference one; without, recovery tests and the real enlargement.
    pub tests: Vec<Test>,
    /// What to use, and why.
    pub advice: Advice,
    /// What else a reader should know: tests that could not be made, metrics that were not measured.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A video, for the head of the page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Clip {
    /// Name of the file without its folders.
    pub name: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Frames that were compared.
    pub frames: u64,
    /// Frames a second, mean.
    pub rate: f64,
    /// Codec and pixel format, for people.
    pub format: String,
}

/// What a test compares with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// A file that is right.
    Reference(String),
    /// The input itself, which was reduced first; says how, for people.
    Recovery(String),
    /// Nothing: the real enlargement, figures without a truth only.
    Nothing,
}

/// All methods on one task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Test {
    /// Short name: letters, digits, `-`; unique.
    pub key: String,
    /// Heading.
    pub title: String,
    /// What was done, a sentence or two.
    pub explanation: String,
    /// What results are compared with.
    pub truth: Truth,
    /// Size of the results, columns and rows.
    pub size: (usize, usize),
    /// In the order they were asked for.
    pub methods: Vec<MethodResult>,
    /// Whole pictures of chosen frames, all methods and the truth.
    pub shots: Vec<Shot>,
    /// Parts where methods differ most, best first.
    pub crops: Vec<Crop>,
}

/// What one method gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MethodResult {
    /// `map+builtin`, or the name of a candidate.
    pub name: String,
    /// How anyone can make it: a command line, or the file's name.
    pub command: String,
    /// Made by another program.
    pub external: bool,
    /// Means over all frames.
    pub mean: Scores,
    /// Lowest PSNR-Y of a frame.
    pub psnr_y_min: Option<f64>,
    /// Every frame.
    pub per_frame: Vec<FrameScores>,
    /// Frames a second, wall clock; `None` for files made before.
    pub frames_per_second: Option<f64>,
    /// Most memory held while it ran, bytes.
    pub peak_memory: Option<u64>,
    /// Why there is no result, if there is none; all figures are empty then.
    pub failed: Option<String>,
}

/// Figures of one frame.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FrameScores {
    /// Number of the frame, from 0.
    pub frame: u64,
    /// Quality.
    #[serde(flatten)]
    pub scores: Scores,
    /// Motion against the frame before, input pixels.
    pub motion: Option<f64>,
    /// Confidence of that motion, 0 to 1.
    pub confidence: Option<f64>,
    /// Share of the picture that comes from several frames, 0 to 1.
    pub multi_frame_share: Option<f64>,
}

/// One frame as all methods show it. Pictures are PNG or JPEG files in memory, all of `Test::size`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shot {
    /// Number of the frame, from 0.
    pub frame: u64,
    /// Method and picture; the truth, where there is one, is called `truth`, the input `input`.
    pub pictures: Vec<(String, Vec<u8>)>,
}

/// A part of a frame as all methods show it, enlarged for looking at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Crop {
    /// Number of the frame, from 0.
    pub frame: u64,
    /// Left, top, columns, rows, in pixels of the result.
    pub area: (usize, usize, usize, usize),
    /// As in [`Shot::pictures`], at the area's size.
    pub pictures: Vec<(String, Vec<u8>)>,
}

/// What a newcomer should do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Advice {
    /// The method to use.
    pub method: String,
    /// A command line that does it.
    pub command: String,
    /// Why, a sentence each, with the figures that say so.
    pub reasons: Vec<String>,
}
