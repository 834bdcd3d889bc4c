//! How a network is run: on what, how exactly, in tiles of what size.
//!
//! Only the settings; what obeys them is `runner`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};

/// Size of the pieces that pictures are refined in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tile {
    /// Whole pictures if they fit into memory, else the pieces that do with the least work.
    #[default]
    Auto,
    /// Rows and columns of the input that a piece answers for, without what it overlaps its neighbours by.
    Pixels(usize),
}

/// Smallest piece.
const LEAST_TILE: usize = 16;

impl FromStr for Tile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(pixels) if pixels >= LEAST_TILE => Ok(Self::Pixels(pixels)),
            _ => Err(Error::new(Kind::Usage, format!("tile {text:?} is neither auto nor {LEAST_TILE} pixels or more"))),
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
