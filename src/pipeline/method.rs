//! Methods of enlarging, and presets: one table of what each sets.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};
use crate::fuse::Technique;
use crate::register::FieldDetail;
use crate::resample::Filter;

/// How a picture is enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Passes frames on as they are, at x1.
    None,
    /// Interpolation of one frame.
    Interpolate(Filter),
    /// Reconstruction from several frames.
    Fuse(Technique),
}

impl Method {
    /// All methods, in the order of `--help`.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::Interpolate(Filter::Nearest),
        Self::Interpolate(Filter::Bilinear),
        Self::Interpolate(Filter::Bicubic),
        Self::Interpolate(Filter::Lanczos),
        Self::Fuse(Technique::Frequency),
        Self::Fuse(Technique::ShiftAdd),
        Self::Fuse(Technique::Ibp),
        Self::Fuse(Technique::Map),
        Self::Fuse(Technique::Pocs),
    ];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Interpolate(Filter::Nearest) => "nearest",
            Self::Interpolate(Filter::Bilinear) => "bilinear",
            Self::Interpolate(Filter::Bicubic) => "bicubic",
            Self::Interpolate(Filter::Lanczos) => "lanczos",
            Self::Fuse(technique) => technique.name(),
        }
    }

    /// Whether several frames are used, so that their motion has to be measured.
    pub fn is_multi_frame(self) -> bool {
        matches!(self, Self::Fuse(_))
    }
}

impl Default for Method {
    fn default() -> Self {
        Self::Fuse(Technique::default())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|m| m.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|m| m.name()).collect();
            Error::new(Kind::Usage, format!("method {text:?} is not one of {}", names.join(", ")))
        })
    }
}

/// How much time may be spent on a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// Fewest frames and iterations.
    Fast,
    /// What pays.
    #[default]
    Balanced,
    /// As good as it gets.
    Best,
}

/// What a preset sets for one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresetTable {
    /// Frames used on each side.
    pub window: usize,
    /// Steps of `ibp`, `map` and `pocs`.
    pub iterations: usize,
    /// How finely motion is measured.
    pub detail: FieldDetail,
    /// Whether motion is corrected by what a draft of each picture foretells of its neighbours.
    pub drafts: bool,
}

impl Preset {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::Best => "best",
        }
    }

    /// The one table of presets, for a scale (the larger of both axes).
    ///
    /// | preset | motion | frames on each side (steps) up to x2 | up to x3 | above |
    /// |---|---|---|---|---|
    /// | fast | coarse | 1 (3) | 1 (5) | 2 (6) |
    /// | balanced | normal | 2 (7) | 4 (16) | 7 (24) |
    /// | best | fine | 3 (8) | 5 (20) | 9 (32) |
    ///
    /// `balanced` above x2, and `best`, make a draft of every picture first and correct motion by it.
    ///
    /// More frames bring samples between those at hand, and less noise; more steps bring out what they show, until
    /// errors are fitted instead (docs/reconstruction.md).
    pub fn table(self, scale: f64) -> PresetTable {
        let column = if scale <= 2.0 {
            0
        } else if scale <= 3.0 {
            1
        } else {
            2
        };
        let (frames_and_steps, detail) = match self {
            Self::Fast => ([(1, 3), (1, 5), (2, 6)], FieldDetail::Coarse),
            Self::Balanced => ([(2, 7), (4, 16), (7, 24)], FieldDetail::Normal),
            Self::Best => ([(3, 8), (5, 20), (9, 32)], FieldDetail::Fine),
        };
        let (window, iterations) = frames_and_steps[column];
        let drafts = match self {
            Self::Fast => false,
            Self::Balanced => column > 0,
            Self::Best => true,
        };
        PresetTable { window, iterations, detail, drafts }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let all = [Self::Fast, Self::Balanced, Self::Best];
        all.into_iter()
            .find(|p| p.name() == text)
            .ok_or_else(|| Error::new(Kind::Usage, format!("preset {text:?} is not one of fast, balanced, best")))
    }
}
