//! How a network is run: on what, how exactly, in tiles of what size.
//!
//! Only the settings; what obeys them is `runner`.

use std::fmt;
use std::str::FromStr;

use super::candle::Device;
use super::engine::Precision;
use crate::error::{Error, Kind};

/// How a network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Where: [`Device::Cpu`] is the engine of this project, other devices are candle's.
    pub device: Device,
    /// How numbers are multiplied on the processor; devices take `f32`.
    pub precision: Precision,
    /// Pieces that pictures are refined in.
    pub tile: Tile,
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(Error::new(Kind::Usage, format!("precision {text:?} is not one of f32, bf16"))),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if *self == Self::F32 { "f32" } else { "bf16" })
    }
}

/// Size of the pieces that pictures are refined in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tile {
    /// Whole pictures if they fit into memory, else the pieces that do with the least work.
    #[default]
    Auto,
    /// Rows and columns of the input that a piece answers for, without what it overlaps its neighbours by.
    Pixels(usize),
}

/// Smallest and largest piece.
const TILES: std::ops::RangeInclusive<usize> = 16..=65536;

impl FromStr for Tile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(pixels) if TILES.contains(&pixels) => Ok(Self::Pixels(pixels)),
            _ => {
                let (least, most) = TILES.into_inner();
                Err(Error::new(Kind::Usage, format!("tile {text:?} is neither auto nor {least} to {most} pixels")))
            }
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Pixels(pixels) => pixels.fmt(f),
        }
    }
}
