//! Networks that enlarge single pictures: reading their checkpoints, telling what they are, and running them.
//!
//! The way of the data: `checkpoint` reads named tensors from a file of any known format, `architecture` tells by their names
//! and shapes which network they are and makes a [`Network`] of them, a list of operations; `reference` runs it in the
//! plainest way. Nothing in a file is ever executed, and every size is checked before memory is taken.

mod architecture;
mod checkpoint;
mod network;
mod reference;
mod weights;

use std::path::Path;

pub use checkpoint::{Checkpoint, DType, Format, Tensor};
pub use network::{Border, Convolution, Input, Network, Node, Op, Value};
pub use reference::{Picture, run};

use crate::error::Result;

impl Network {
    /// The network that the tensors of a checkpoint make.
    ///
    /// # Errors
    /// [`crate::error::Kind::Input`] if they are of no known architecture, or not all and only those of one; the message
    /// lists what does not fit.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        architecture::detect(checkpoint)
    }

    /// Reads a network from a file: safetensors, PyTorch (zip and legacy), or ncnn.
    ///
    /// # Errors
    /// Those of [`Checkpoint::read`] and [`Network::of`], with the file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of(&Checkpoint::read(path)?).map_err(|error| error.file(path))
    }
}
