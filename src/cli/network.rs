//! Options of a network after the method, and what they are made into.

use std::path::PathBuf;

use clap::Args;

use super::values;
use crate::error::Result;
use crate::pipeline::DEFAULT_CONSISTENCY;
use crate::refine::{Device, Precision, Tile};
use crate::segment::{ModelFile, RefineParams};

/// A network, and how it is run.
#[derive(Args, Debug)]
pub(super) struct NetworkArgs {
    /// Network that pictures go through after the method: builtin, or a .safetensors, .pth or ncnn .bin file; of several
    /// scales in one file the smallest that suffices for F (2 with --size)
    #[arg(long, value_name = "MODEL", help_heading = "Network")]
    refine: Option<PathBuf>,

    /// Scale that the method reaches before the network [default: what the network leaves to do, at least 1]
    #[arg(long, value_name = "F", value_parser = values::factor, requires = "refine", help_heading = "Network")]
    fuse_scale: Option<f64>,

    /// Back-projection steps that hold the network's pictures to the frames, 0 to 100; 0 is off. With several frames 4 are
    /// as many as the preset takes for a reconstruction
    #[arg(long, value_name = "N", value_parser = values::steps, default_value_t = DEFAULT_CONSISTENCY, requires = "refine", help_heading = "Network")]
    consistency: usize,

    /// Network interpolation: that share A of a second checkpoint of the same shape, 0 to 1
    #[arg(long, value_name = "A=MODEL", value_parser = values::share, requires = "refine", help_heading = "Network")]
    blend: Option<(f64, PathBuf)>,

    /// Where the network runs: cpu, cuda, cuda:N or metal (as far as the program was built for them)
    #[arg(long, value_name = "NAME", default_value_t, requires = "refine", help_heading = "Network")]
    device: Device,

    /// How numbers are multiplied on the CPU: f32, or bf16, faster where the CPU has it and several codes off at worst
    #[arg(long, value_name = "f32|bf16", default_value_t, requires = "refine", help_heading = "Network")]
    precision: Precision,

    /// Pieces that pictures are refined in, pixels of the network's input; auto takes as few as memory allows
    #[arg(long, value_name = "PX|auto", default_value_t, requires = "refine", help_heading = "Network")]
    tile: Tile,
}

impl NetworkArgs {
    /// As plain data, its weights hashed; `None` if no network is asked for.
    pub(super) fn params(&self) -> Result<Option<RefineParams>> {
        let Some(model) = &self.refine else { return Ok(None) };
        Ok(Some(RefineParams {
            model: ModelFile::of(model)?,
            blend: self.blend.as_ref().map(|(share, other)| Ok((*share, ModelFile::of(other)?))).transpose()?,
            fuse_scale: self.fuse_scale,
            consistency: self.consistency,
            device: self.device.to_string(),
            precision: self.precision.to_string(),
            tile: self.tile.to_string(),
        }))
    }
}
