//! `subpel model`: what is in files of network weights, and other files made of them.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Outcome, print_line};
use crate::error::{Error, Kind, Result};
use crate::refine::{Checkpoint, DType, Input, Network, Picture, run};

/// Rows and columns of the test picture: a multiple of all that networks ask for.
const SIDE: usize = 32;

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
    Verify(Verify),
    Convert(Convert),
    Blend(Blend),
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

/// Run a network on a test picture and see that all is finite
///
/// With --against the largest difference of the results of both is printed, for example before and after a conversion.
#[derive(Args, Debug)]
struct Verify {
    /// Network to run
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Second file of the same network
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// Write the network of a file as safetensors
#[derive(Args, Debug)]
struct Convert {
    /// File of any format that is read
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// File to write
    #[arg(value_name = "OUT")]
    output: PathBuf,

    #[command(flatten)]
    writing: Writing,
}

/// Mix the weights of two networks of one architecture (network interpolation)
#[derive(Args, Debug)]
struct Blend {
    /// First network
    #[arg(value_name = "A")]
    first: PathBuf,

    /// Second network
    #[arg(value_name = "B")]
    second: PathBuf,

    /// File to write
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Share of B, 0 to 1
    #[arg(long, value_name = "F", default_value_t = 0.5)]
    share: f64,

    #[command(flatten)]
    writing: Writing,
}

/// How weights are written.
#[derive(Args, Debug)]
struct Writing {
    /// f16, bf16, f32 or f64; as stored if not given
    #[arg(long = "type", value_name = "T")]
    stored: Option<DType>,

    /// Replace a file that exists
    #[arg(long)]
    overwrite: bool,
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
    /// `null` where a pixel of the input changes all of the result.
    reach: Option<usize>,
    multiplications_per_pixel: f64,
}

impl Model {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Outcome> {
        match self.action {
            Action::Info(info) => info.run(out)?,
            Action::Verify(verify) => verify.run(out)?,
            Action::Convert(Convert { input, output, writing }) => {
                writing.write(&checked(&input)?.0, &output)?;
            }
            Action::Blend(Blend { first, second, output, share, writing }) => {
                let (a, b) = (checked(&first)?.0, checked(&second)?.0);
                writing.write(&a.blended(&b, share)?, &output)?;
            }
        }
        Ok(Outcome::Done)
    }
}

/// A file's weights and the network they make.
fn checked(path: &Path) -> Result<(Checkpoint, Network)> {
    let checkpoint = Checkpoint::named(path)?;
    let network = Network::of(&checkpoint).map_err(|error| error.file(path))?;
    Ok((checkpoint, network))
}

impl Writing {
    fn write(&self, checkpoint: &Checkpoint, output: &Path) -> Result<()> {
        checkpoint.write(output, self.stored, self.overwrite)
    }
}

impl Info {
    fn run(self, out: &mut dyn Write) -> Result<()> {
        let (checkpoint, network) = checked(&self.file)?;
        let facts = Facts::of(&checkpoint, &network);
        let line = if self.json { serde_json::to_string(&facts).unwrap_or_default() } else { facts.plain() };
        print_line(out, &line).map(drop)
    }
}

impl Verify {
    fn run(self, out: &mut dyn Write) -> Result<()> {
        let (_, network) = checked(&self.file)?;
        let result = probed(&network).map_err(|error| error.file(&self.file))?;
        let (low, high) = result.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        let (_, rows, columns) = result.dim();
        let name = &network.name;
        print_line(out, &format!("{name}: {columns}x{rows} made of {SIDE}x{SIDE}, values {low:.3} to {high:.3}"))?;
        let Some(against) = self.against else { return Ok(()) };
        let (_, other) = checked(&against)?;
        let second = probed(&other).map_err(|error| error.file(&against))?;
        if second.dim() != result.dim() {
            let message = format!("{} makes another size of {SIDE}x{SIDE} than {name}", other.name);
            return Err(Error::new(Kind::Mismatch, message).file(&against));
        }
        let off = result.iter().zip(&second).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        print_line(out, &format!("largest difference {off:.2e} of values 0 to 1")).map(drop)
    }
}

/// What a network makes of the test picture: waves of several lengths, an edge, and a flat part.
///
/// # Errors
/// [`Kind::Input`] if a value is infinite or no number.
fn probed(network: &Network) -> Result<Picture> {
    let size = (network.input.channels(), SIDE, SIDE);
    let picture = Picture::from_shape_fn(size, |(c, y, x)| {
        let (y, x) = (y as f32, x as f32);
        let wave = (0.1 * x * y / SIDE as f32 + c as f32).sin() * (0.9 * x - 0.4 * y).cos();
        if x < 8.0 { 0.25 } else { (0.5 + 0.3 * wave + if x + y > 44.0 { 0.2 } else { -0.2 }).clamp(0.0, 1.0) }
    });
    let result = run(network, &picture)?;
    if let Some(value) = result.iter().find(|value| !value.is_finite()) {
        return Err(Error::new(Kind::Input, format!("the network makes {value} of a plain picture")));
    }
    Ok(result)
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
        let scale = match self.scale {
            None => "any, of what it is given".to_owned(),
            Some(0) => "none: it makes features".to_owned(),
            Some(scale) => format!("x{scale}"),
        };
        let reach = |reach| format!("{reach} pixels of the input on each side");
        let reach = self.reach.map_or("the whole picture".to_owned(), reach);
        let size = ByteSize(4 * self.parameters).display().iec();
        [
            format!("architecture     {}", self.architecture),
            format!("scale            {scale}"),
            format!("input            {}", self.input),
            format!("parameters       {} ({size} as 32-bit numbers)", self.parameters),
            format!("stored as        {}, {}", self.format, self.stored.join(", ")),
            format!("reach            {reach}"),
            format!("multiplications  {:.0} a pixel of the input", self.multiplications_per_pixel),
        ]
        .join("\n")
    }
}
