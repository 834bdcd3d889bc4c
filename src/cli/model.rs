//! `subpel model`: what is in a file of network weights.

use std::io::Write;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Outcome, print_line};
use crate::error::Result;
use crate::refine::{Checkpoint, Input, Network};

/// Look into files of network weights
///
/// Reads safetensors, PyTorch checkpoints (zip and legacy, state dict or whole module) and ncnn pairs. Nothing in a file is
/// ever run.
#[derive(Args, Debug)]
pub(super) struct Model {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    Info(Info),
}

/// Say which network a file holds, and what it costs
///
/// The architecture is told by names and shapes of the tensors; a file that does not fit is refused with a list of what is
/// missing, superfluous or of another shape.
#[derive(Args, Debug)]
struct Info {
    /// .safetensors, .pth, or .param or .bin of ncnn
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// One JSON object: format, architecture, scale, input, parameters, reach, multiplications_per_pixel
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Facts {
    format: String,
    stored: Vec<String>,
    architecture: String,
    /// `null` where the network takes pictures that are enlarged already, by any factor.
    scale: Option<usize>,
    input: &'static str,
    parameters: u64,
    reach: usize,
    multiplications_per_pixel: f64,
}

impl Model {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        let Action::Info(info) = self.action;
        let checkpoint = Checkpoint::read(&info.file)?;
        let network = Network::of(&checkpoint).map_err(|error| error.file(&info.file))?;
        let facts = Facts::of(&checkpoint, &network);
        let line = if info.json { serde_json::to_string(&facts).unwrap_or_default() } else { facts.plain() };
        print_line(out, &line)?;
        Ok(Outcome::Done)
    }
}

impl Facts {
    fn of(checkpoint: &Checkpoint, network: &Network) -> Self {
        let mut stored: Vec<String> = checkpoint.tensors.values().map(|tensor| tensor.stored.to_string()).collect();
        stored.sort();
        stored.dedup();
        let input = match network.input {
            Input::Rgb => "R, G and B",
            Input::Luma => "luma",
            Input::EnlargedLuma => "luma, enlarged by bicubic interpolation",
        };
        Self {
            format: checkpoint.format.to_string(),
            stored,
            architecture: network.name.clone(),
            scale: (network.input != Input::EnlargedLuma).then_some(network.scale),
            input,
            parameters: network.parameters(),
            reach: network.reach(),
            multiplications_per_pixel: network.multiplications(),
        }
    }

    fn plain(&self) -> String {
        let scale = self.scale.map_or("any, of what it is given".to_owned(), |scale| format!("x{scale}"));
        let size = ByteSize(4 * self.parameters).display().iec();
        [
            format!("architecture     {}", self.architecture),
            format!("scale            {scale}"),
            format!("input            {}", self.input),
            format!("parameters       {} ({size} as 32-bit numbers)", self.parameters),
            format!("stored as        {}, {}", self.format, self.stored.join(", ")),
            format!("reach            {} pixels of the input on each side", self.reach),
            format!("multiplications  {:.0} a pixel of the input", self.multiplications_per_pixel),
        ]
        .join("\n")
    }
}
