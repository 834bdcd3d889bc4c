//! The manifest: what a job is to do, in one file that workers everywhere read and nobody changes.

use serde::{Deserialize, Serialize};

use super::params::{KnownBlur, Params};
use super::publish::{canonical, hash_text};
use super::source::Source;
use crate::error::{Error, Kind, Result};
use crate::media::{Damage, EncoderSpec, Keeping, Orientation, OutputSpec, PackedForm, library_versions};
use crate::pipeline::{Found, Scenes};

/// Version of the manifest's form.
pub(super) const SCHEMA: u32 = 1;
/// Counts up whenever the pixels change that the same options make of the same input.
const ALGORITHM: u32 = 2;
/// Most bytes of a manifest.
pub(super) const MOST_BYTES: u64 = 64 << 20;
/// Most frames of a job.
pub(super) const MOST_FRAMES: u64 = 10_000_000;
/// Most segments of a job.
pub(super) const MOST_SEGMENTS: usize = 100_000;

/// What a job is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form, 1.
    pub schema: u32,
    /// Who made it, and whose results may be put together.
    pub tool: Tool,
    /// The input.
    pub source: Source,
    /// Number of frames.
    pub frames: u64,
    /// Hashes of `frames.idx` and `frames.side`.
    pub index: [String; 2],
    /// Whether every frame has a time of its own in the file, later than the one before: then frames can be found by it.
    pub timed: bool,
    /// The options.
    pub params: Params,
    /// Blurs that were measured: first frame of each scene, and the blur.
    pub blurs: Vec<(u64, KnownBlur)>,
    /// Frames at which a scene begins, where the plan has looked for them.
    pub cuts: Option<Vec<u64>>,
    /// Frames on each side of a segment that it needs.
    pub overlap: u64,
    /// What becomes of the frames.
    pub delivery: Delivery,
    /// First frame of each segment and the one after its last.
    pub segments: Vec<(u64, u64)>,
    /// What was wrong with the input.
    pub found: Findings,
}

/// A program, as far as pixels depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Version of this program.
    pub version: String,
    /// Counts up whenever pixels change.
    pub algorithm: u32,
    /// Versions of FFmpeg's libraries.
    pub ffmpeg: Vec<(String, String)>,
}

impl Tool {
    /// This program.
    pub fn this() -> Self {
        let ffmpeg = library_versions().into_iter().map(|(name, version)| (name.to_owned(), version)).collect();
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), algorithm: ALGORITHM, ffmpeg }
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        let ffmpeg: Vec<String> = self.ffmpeg.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!("subpel {} (algorithm {}, {})", self.version, self.algorithm, ffmpeg.join(", "))
    }
}

/// How frames are kept and written in the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Extension of the file that segments are joined to: it decides pixel format and rotation.
    pub container: String,
    /// Encoder; the container's usual one if `None`.
    pub codec: Option<String>,
    /// Constant quality.
    pub crf: Option<f32>,
    /// Further options of the encoder.
    pub encoder_options: Vec<(String, String)>,
    /// Pixel format that was asked for.
    pub pixel_format: Option<String>,
    /// Threads of the encoder; 0 lets it choose.
    pub threads: usize,
    /// Whether it is an error if anything beside the picture cannot be kept.
    pub strict: bool,
    /// Pixel format of the pictures that are kept, and how they are turned: mirrored, clockwise quarter turns.
    pub form: (String, bool, u8),
    /// `small` or `fast`: how the pictures of segments are kept, see [`Keeping`]. `encoded`: segments are encoded by themselves.
    pub keeping: String,
}

/// What [`Delivery::keeping`] says where segments are encoded by themselves.
const ENCODED: &str = "encoded";
/// Threads of an encoder for one segment, if not told otherwise: what it gives depends on their number with some encoders, and so may
/// not depend on the machine.
const THREADS_OF_PART: usize = 4;

impl Delivery {
    /// The same with each segment encoded by itself.
    #[must_use]
    pub fn in_parts(self) -> Self {
        let threads = if self.threads == 0 { THREADS_OF_PART } else { self.threads };
        Self { keeping: ENCODED.to_owned(), threads, ..self }
    }

    /// Whether segments are encoded by themselves.
    pub fn is_in_parts(&self) -> bool {
        self.keeping == ENCODED
    }

    /// The output that segments are encoded for by themselves; where it will lie is not known.
    pub(super) fn of_parts(&self) -> OutputSpec {
        self.output(std::path::Path::new(&format!("joined.{}", self.container)), true)
    }

    /// The output at `path`.
    pub fn output(&self, path: &std::path::Path, overwrite: bool) -> OutputSpec {
        OutputSpec {
            path: path.to_owned(),
            overwrite,
            strict: self.strict,
            encoder: EncoderSpec {
                codec: self.codec.clone(),
                crf: self.crf,
                options: self.encoder_options.clone(),
                pixel_format: self.pixel_format.clone(),
                threads: self.threads,
                in_parts: self.is_in_parts(),
            },
        }
    }

    /// What frames are made into.
    pub(super) fn packed(&self) -> PackedForm {
        let (pixel_format, mirrored, quarter_turns) = self.form.clone();
        PackedForm { pixel_format, turn: Orientation { mirrored, quarter_turns } }
    }

    pub(super) fn keeping(&self) -> Keeping {
        if self.keeping == "fast" { Keeping::Fast } else { Keeping::Small }
    }
}

/// What was wrong with the input, as [`Found`] tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Findings {
    /// Damaged places.
    pub damage: u64,
    /// The first ones in words.
    pub notes: Vec<String>,
    /// Frames without a time.
    pub untimed: u64,
    /// Frames whose time had to move.
    pub moved: u64,
    /// Frames of another size or format than the first.
    pub converted: u64,
}

impl From<&Found> for Findings {
    fn from(found: &Found) -> Self {
        let (untimed, moved) = found.repaired_times;
        let Damage { count, notes } = found.damage.clone();
        Self { damage: count, notes, untimed, moved, converted: found.converted_frames }
    }
}

impl From<&Findings> for Found {
    fn from(found: &Findings) -> Self {
        Self {
            damage: Damage { count: found.damage, notes: found.notes.clone() },
            repaired_times: (found.untimed, found.moved),
            converted_frames: found.converted,
        }
    }
}

impl Manifest {
    /// Refuses what no plan of this version can say.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::new(Kind::Input, format!("is no manifest of this program: {what}")));
        if self.schema != SCHEMA {
            return Err(Error::new(Kind::Mismatch, format!("has form {}, this program reads {SCHEMA}", self.schema))
                .hint("take the version that planned it"));
        }
        if self.frames == 0 || self.frames > MOST_FRAMES {
            return wrong("number of frames");
        }
        if self.segments.is_empty() || self.segments.len() > MOST_SEGMENTS {
            return wrong("number of segments");
        }
        let mut next = 0;
        for &(first, end) in &self.segments {
            if first != next || end <= first {
                return wrong("segments that do not follow each other");
            }
            next = end;
        }
        if next != self.frames {
            return wrong("segments that are not all of the video");
        }
        let ascending = |numbers: Vec<u64>| {
            numbers.windows(2).all(|pair| pair[0] < pair[1]) && numbers.last().is_none_or(|last| *last < self.frames)
        };
        let cuts = self.cuts.clone().unwrap_or_default();
        if !ascending(self.blurs.iter().map(|b| b.0).collect()) || !ascending(cuts) {
            return wrong("scenes that do not follow each other");
        }
        let sound = |blur: &KnownBlur| match blur {
            KnownBlur::Gaussian(sigma) => (0.1..=1.0).contains(sigma),
            KnownBlur::Usual | KnownBlur::Cubic => true,
        };
        if !self.blurs.iter().map(|(_, blur)| blur).chain(&self.params.blur).all(sound) {
            return wrong("a blur");
        }
        let name = &self.delivery.container;
        if name.is_empty() || name.len() > 16 || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return wrong("the container");
        }
        if !["small", "fast", ENCODED].contains(&self.delivery.keeping.as_str()) {
            return wrong("how segments are kept");
        }
        if self.overlap > 30 || self.delivery.form.2 > 3 {
            return wrong("a number that is too large");
        }
        self.params.check()
    }

    /// Hash of everything that decides the content of segments. Where files lie and when they were changed does not.
    pub(super) fn content(&self) -> Result<String> {
        let Delivery { container, codec, crf, encoder_options, threads, form, keeping, .. } = &self.delivery;
        let coded = self.delivery.is_in_parts().then_some((container, codec, crf, encoder_options, threads));
        let delivery = (form, keeping, coded);
        let parts = (&self.tool, &self.source.blake3, &self.index, &self.params, &self.blurs, self.overlap, delivery);
        Ok(hash_text(&canonical(&parts)?))
    }

    /// What was found of the video's scenes.
    pub(super) fn scenes(&self) -> Scenes {
        let blurs = self.blurs.iter().map(|(first, blur)| (*first, (*blur).into())).collect();
        Scenes { cuts: self.cuts.clone().unwrap_or_default(), blurs }
    }
}
