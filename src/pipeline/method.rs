//! Methods of enlarging, and presets: one table of what each sets.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};
use crate::resample::Filter;

/// How a picture is enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Passes frames on as they are, at x1.
    None,
    /// Interpolation of one frame.
    Interpolate(Filter),
    /// Iterative back-projection of several frames (Irani and Peleg 1991).
    Ibp,
}

impl Method {
    /// All methods, in the order of `--help`.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Interpolate(Filter::Nearest),
        Self::Interpolate(Filter::Bilinear),
        Self::Interpolate(Filter::Bicubic),
        Self::Interpolate(Filter::Lanczos),
        Self::Ibp,
    ];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Interpolate(Filter::Nearest) => "nearest",
            Self::Interpolate(Filter::Bilinear) => "bilinear",
            Self::Interpolate(Filter::Bicubic) => "bicubic",
            Self::Interpolate(Filter::Lanczos) => "lanczos",
            Self::Ibp => "ibp",
        }
    }

    /// Whether several frames are used, so that their motion has to be measured.
    pub fn is_multi_frame(self) -> bool {
        self == Self::Ibp
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
    /// Iterations of back-projection.
    pub iterations: usize,
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
    /// | preset | frames on each side | steps up to x2 | steps above |
    /// |---|---|---|---|
    /// | fast | 1 | 3 | 4 |
    /// | balanced | 2 | 4 | 5 |
    /// | best | 2 | 5 | 6 |
    ///
    /// More frames bring samples between those at hand, and less noise; with one shift a frame a third one on each
    /// side agrees in too small a part of the picture and cost 0.1 dB (city, x2). More steps sharpen until errors are
    /// fitted instead of detail (docs/reconstruction.md).
    pub fn table(self, scale: f64) -> PresetTable {
        let (window, iterations) = match self {
            Self::Fast => (1, 3),
            Self::Balanced => (2, 4),
            Self::Best => (2, 5),
        };
        PresetTable { window, iterations: iterations + usize::from(scale > 2.0) }
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
