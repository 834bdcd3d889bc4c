//! Networks that enlarge single pictures: reading their checkpoints, telling what they are, and running them.
//!
//! The way of the data: `checkpoint` reads named tensors from a file of any known format, `architecture` tells by their names
//! and shapes which network they are and makes a [`Network`] of them, a list of operations; `engine` runs it fast, `candle` on a
//! graphics card, `reference` in the plainest way; `runner` chooses and divides pictures that are too large. Nothing in a file is
//! ever executed, and every size is checked before memory is taken.

mod architecture;
mod candle;
mod checkpoint;
mod engine;
mod network;
mod reference;
mod runner;
mod settings;
mod weights;

use std::path::Path;

pub use candle::{Device, OnDevice};
pub use checkpoint::{Checkpoint, DType, Format, Tensor};
pub use engine::{Engine, Pair, Precision};
pub use network::{Border, Convolution, Input, Network, Node, Op, Value};
pub use reference::{Picture, run};
pub use runner::Runner;
pub use settings::{Settings, Tile};

use crate::error::{Error, Kind, Result};

/// Name of the network that is part of the program; a file of that name is read as `./builtin`.
pub const BUILTIN: &str = "builtin";

impl Checkpoint {
    /// The checkpoint of [`Network::builtin`].
    ///
    /// # Errors
    /// As for [`Network::builtin`].
    pub fn builtin() -> Result<Self> {
        Self::from_safetensors(include_bytes!("builtin.safetensors"))
    }

    /// The checkpoint of that name: `builtin`, or a file as for [`Checkpoint::read`].
    ///
    /// # Errors
    /// Those of [`Checkpoint::read`].
    pub fn named(name: &Path) -> Result<Self> {
        if name.as_os_str() == BUILTIN { Self::builtin() } else { Self::read(name) }
    }
}

impl Network {
    /// The network that the tensors of a checkpoint make; of several scales the largest, as [`Network::of_scale`].
    ///
    /// # Errors
    /// [`crate::error::Kind::Input`] if they are of no known architecture, or not all and only those of one, or no numbers; the
    /// message lists what does not fit.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        Self::of_scale(checkpoint, f64::INFINITY)
    }

    /// The network that the tensors of a checkpoint make. Where they hold one for each of several scales (MDSR), it is that of
    /// the smallest scale which is not less than `wanted`, or the largest if all are.
    ///
    /// # Errors
    /// Those of [`Network::of`].
    pub fn of_scale(checkpoint: &Checkpoint, wanted: f64) -> Result<Self> {
        let network = architecture::detect(checkpoint, wanted)?;
        let broken = checkpoint.tensors.iter().find(|(_, tensor)| tensor.values.iter().any(|value| !value.is_finite()));
        match broken {
            Some((name, _)) => Err(Error::new(Kind::Input, format!("tensor {name:?} has values that are no numbers"))),
            None => Ok(network),
        }
    }

    /// The network that is part of the program: Compact x4 with 24 features, trained by this project on pictures that a
    /// program has drawn (dead leaves: occluding shapes of all sizes), not on photographs.
    ///
    /// # Errors
    /// None that a test would not find.
    pub fn builtin() -> Result<Self> {
        Self::of(&Checkpoint::builtin()?)
    }

    /// The network of that name: `builtin`, or a file as for [`Network::read`].
    ///
    /// # Errors
    /// Those of [`Network::read`].
    pub fn named(name: &Path) -> Result<Self> {
        Self::of(&Checkpoint::named(name)?).map_err(|error| error.file(name))
    }

    /// Reads a network from a file: safetensors, PyTorch (zip and legacy), or ncnn.
    ///
    /// # Errors
    /// Those of [`Checkpoint::read`] and [`Network::of`], with the file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of(&Checkpoint::read(path)?).map_err(|error| error.file(path))
    }
}
