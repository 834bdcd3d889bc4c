//! A network as a list of operations on pictures: what the architectures make of a checkpoint, and all that executors know.
//!
//! A picture has channels, rows and columns. Every operation makes one new picture from earlier ones, so the list is its
//! own order of execution. Batch normalisation is not among the operations: at inference it is a factor and an offset,
//! which the architectures fold into the convolution before it.
//!
//! What is not here: names in files (`weights`), arithmetic (`reference`, `candle`).

use crate::error::{Error, Kind, Result};

/// What a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// R, G and B, 0 to 1.
    Rgb,
    /// Luma alone, 0 to 1.
    Luma,
    /// Luma that bicubic interpolation (Keys, a = -1/2) has already brought to the size of the result.
    EnlargedLuma,
}

/// What a convolution reads outside its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// Zeros.
    Zeros,
    /// The nearest pixel.
    Repeated,
}

/// A convolution with stride 1 that keeps the size of its picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// Channels taken.
    pub inputs: usize,
    /// Channels made.
    pub outputs: usize,
    /// Rows and columns of the kernel, both odd.
    pub kernel: (usize, usize),
    /// Output channel, input channel, row, column; correlation, as all networks have it.
    pub weights: Vec<f32>,
    /// One for each output channel, or none.
    pub bias: Vec<f32>,
    /// What lies outside.
    pub border: Border,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// See [`Convolution`].
    Convolve(Convolution),
    /// Negative values times a slope, one for each channel.
    Slopes(Vec<f32>),
    /// Negative values times this.
    Leaky(f32),
    /// No negative values.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The mean of each channel, as a picture of one pixel.
    Mean,
    /// The first picture times the second, which has the same channels and one pixel.
    Multiply,
    /// `factor * x + offset`.
    Scale {
        /// See above.
        factor: f32,
        /// See above.
        offset: f32,
    },
    /// First picture times the factor, and the second.
    Add(f32),
    /// The channels of all pictures, one after the other.
    Concat,
    /// Every pixel repeated so many times along both axes.
    Repeat(usize),
    /// So many times the rows and columns, interpolated linearly between the middles of pixels; outside of those of the
    /// outermost ones their values (PyTorch's `bilinear` with `align_corners=False`).
    Bilinear(usize),
    /// Channels `r * r` for one, their pixels as blocks of `r x r` (Shi et al. 2016, doi:10.1109/CVPR.2016.207).
    Shuffle(usize),
    /// The inverse of it.
    Unshuffle(usize),
    /// The largest of each block of `r x r` pixels.
    Pool(usize),
}

/// Where a picture comes from: 0 is the network's input, `n + 1` the result of operation `n`.
pub type Value = usize;

/// An operation and what it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// Pictures taken, all made before.
    pub takes: Vec<Value>,
}

/// A whole network; its last operation makes the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Name of the architecture, with what its checkpoint says of width and depth.
    pub name: String,
    /// What it takes.
    pub input: Input,
    /// Pixels along each axis of the result for one of the input; 0 where the result is no picture but features of one.
    pub scale: usize,
    /// The sides of the input have to be multiples of this; mirrored pixels fill them up.
    pub multiple: usize,
    /// Operations, each after those that it takes.
    pub nodes: Vec<Node>,
}

impl Input {
    /// Channels of the picture.
    pub fn channels(self) -> usize {
        if self == Self::Rgb { 3 } else { 1 }
    }

    /// Fails unless a network with this input, and this [`Network::multiple`], takes a picture of `size`: channels, rows,
    /// columns.
    pub(super) fn check(self, multiple: usize, size: (usize, usize, usize)) -> Result<()> {
        let (channels, rows, columns) = size;
        let fits = |side: usize| side > 0 && side.is_multiple_of(multiple);
        if channels == self.channels() && fits(rows) && fits(columns) {
            return Ok(());
        }
        let wanted = self.channels();
        let message =
            format!("{channels} channels of {columns}x{rows} for a network that takes {wanted}, by {multiple}");
        Err(Error::new(Kind::Usage, message))
    }
}

impl Network {
    /// Numbers that were learnt.
    pub fn parameters(&self) -> u64 {
        let of = |node: &Node| match &node.op {
            Op::Convolve(convolution) => convolution.weights.len() + convolution.bias.len(),
            Op::Slopes(slopes) => slopes.len(),
            _ => 0,
        };
        self.nodes.iter().map(|node| of(node) as u64).sum()
    }

    /// Multiplications with weights for each pixel of the input.
    pub fn multiplications(&self) -> f64 {
        let sizes = self.sizes();
        let of = |(n, node): (usize, &Node)| match &node.op {
            Op::Convolve(convolution) => convolution.weights.len() as f64 * sizes[n + 1].powi(2),
            _ => 0.0,
        };
        self.nodes.iter().enumerate().map(of).sum()
    }

    /// How far a pixel of the input can change the result, in pixels of the input: what tiles have to overlap. `None` if it
    /// changes all of it.
    pub fn reach(&self) -> Option<usize> {
        if self.nodes.iter().any(|node| node.op == Op::Mean) {
            return None;
        }
        let sizes = self.sizes();
        let mut reach = vec![0.0f64];
        for (n, node) in self.nodes.iter().enumerate() {
            let from = node.takes.iter().map(|&value| reach[value]).fold(0.0, f64::max);
            let own = match &node.op {
                Op::Convolve(Convolution { kernel: (rows, columns), .. }) => {
                    (rows.max(columns) / 2) as f64 / sizes[n + 1]
                }
                Op::Unshuffle(factor) | Op::Pool(factor) => (factor - 1) as f64 / sizes[node.takes[0]],
                Op::Bilinear(_) => 1.0 / sizes[node.takes[0]],
                _ => 0.0,
            };
            reach.push(from + own);
        }
        Some(reach[self.nodes.len()].ceil() as usize)
    }

    /// Bytes for each pixel of the input that the largest convolution takes when it unfolds what it reads, as candle does.
    pub(super) fn unfolded_bytes(&self) -> u64 {
        let sizes = self.sizes();
        let of = |(n, node): (usize, &Node)| match &node.op {
            Op::Convolve(Convolution { inputs, outputs, kernel, .. }) => {
                (inputs * kernel.0 * kernel.1 + inputs + outputs) as f64 * 4.0 * sizes[n + 1].powi(2)
            }
            _ => 0.0,
        };
        self.nodes.iter().enumerate().map(of).fold(0.0, f64::max).ceil() as u64
    }

    /// For every operation the values that no later one takes: an executor drops them after it.
    pub(super) fn last_uses(&self) -> Vec<Vec<Value>> {
        let mut last = vec![None; self.nodes.len() + 1];
        for (n, node) in self.nodes.iter().enumerate() {
            node.takes.iter().for_each(|&value| last[value] = Some(n));
        }
        let mut ending = vec![Vec::new(); self.nodes.len()];
        for (value, last) in last.into_iter().enumerate() {
            if let Some(n) = last {
                ending[n].push(value);
            }
        }
        ending
    }

    /// Pixels along an axis of every value, for one of the input.
    fn sizes(&self) -> Vec<f64> {
        let mut sizes = vec![1.0];
        for node in &self.nodes {
            let from: f64 = sizes[node.takes[0]];
            sizes.push(match node.op {
                Op::Repeat(factor) | Op::Bilinear(factor) | Op::Shuffle(factor) => from * factor as f64,
                Op::Unshuffle(factor) | Op::Pool(factor) => from / factor as f64,
                Op::Mean => 0.0,
                _ => from,
            });
        }
        sizes
    }
}
