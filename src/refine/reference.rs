//! Runs a network in the plainest way: the definition that faster executors are compared with.
//!
//! Sums run over input channels, then rows, then columns of a kernel, in f32, so the result is the same whatever the number of
//! threads. Memory: all values that are still needed.

use ndarray::{Array3, Axis, s};
use rayon::prelude::*;

use super::network::{Border, Convolution, Network, Op};
use crate::error::{Error, Kind, Result};

/// Channels, rows, columns.
pub type Picture = Array3<f32>;

/// The result of `network` for `input`, `channels x rows x columns`.
///
/// # Errors
/// [`Kind::Usage`] if the channels are not the network's, a side is 0, or not a multiple of [`Network::multiple`].
pub fn run(network: &Network, input: &Picture) -> Result<Picture> {
    network.input.check(network.multiple, input.dim())?;
    let mut values: Vec<Option<Picture>> = vec![Some(input.clone())];
    for (node, ending) in network.nodes.iter().zip(network.last_uses()) {
        let taken: Vec<&Picture> = node.takes.iter().filter_map(|&value| values[value].as_ref()).collect();
        let made = apply(&node.op, &taken);
        ending.into_iter().for_each(|value| values[value] = None);
        values.push(Some(made));
    }
    values.pop().flatten().ok_or_else(|| Error::new(Kind::Bug, "a network without operations"))
}

fn apply(op: &Op, taken: &[&Picture]) -> Picture {
    let first = taken[0];
    match op {
        Op::Convolve(convolution) => convolve(convolution, first),
        Op::Slopes(slopes) => {
            let mut out = first.clone();
            for (mut plane, slope) in out.outer_iter_mut().zip(slopes) {
                plane.mapv_inplace(|v| if v < 0.0 { slope * v } else { v });
            }
            out
        }
        Op::Leaky(slope) => first.mapv(|v| if v < 0.0 { slope * v } else { v }),
        Op::Relu => first.mapv(|v| v.max(0.0)),
        Op::Tanh => first.mapv(f32::tanh),
        Op::Sigmoid => first.mapv(|v| 1.0 / (1.0 + (-v).exp())),
        Op::Mean => {
            let pixels = (first.dim().1 * first.dim().2) as f64;
            let mean = |c: usize| first.index_axis(Axis(0), c).iter().map(|v| f64::from(*v)).sum::<f64>() / pixels;
            Picture::from_shape_fn((first.dim().0, 1, 1), |(c, ..)| mean(c) as f32)
        }
        Op::Multiply => first * taken[1],
        Op::Scale { factor, offset } => first.mapv(|v| factor * v + offset),
        Op::Add(factor) => first.mapv(|v| factor * v) + taken[1],
        Op::Concat => concat(taken),
        Op::Repeat(factor) => {
            let (channels, rows, columns) = first.dim();
            let size = (channels, rows * factor, columns * factor);
            Picture::from_shape_fn(size, |(c, y, x)| first[[c, y / factor, x / factor]])
        }
        Op::Bilinear(factor) => bilinear(first, *factor),
        Op::Shuffle(r) => {
            let (channels, rows, columns) = first.dim();
            let size = (channels / (r * r), rows * r, columns * r);
            Picture::from_shape_fn(size, |(c, y, x)| first[[c * r * r + y % r * r + x % r, y / r, x / r]])
        }
        Op::Pool(r) => {
            let (channels, rows, columns) = first.dim();
            let block = |c, y: usize, x: usize| first.slice(s![c, y * r..y * r + r, x * r..x * r + r]);
            let largest = |(c, y, x): (usize, usize, usize)| block(c, y, x).iter().copied().fold(f32::MIN, f32::max);
            Picture::from_shape_fn((channels, rows / r, columns / r), largest)
        }
        Op::Unshuffle(r) => {
            let (channels, rows, columns) = first.dim();
            let size = (channels * r * r, rows / r, columns / r);
            let from = |(c, y, x): (usize, usize, usize)| [c / (r * r), y * r + c % (r * r) / r, x * r + c % r];
            Picture::from_shape_fn(size, |at| first[from(at)])
        }
    }
}

fn bilinear(picture: &Picture, factor: usize) -> Picture {
    let (channels, rows, columns) = picture.dim();
    // The two pixels that a position lies between, and the share of the second.
    let between = |at: usize, n: usize| {
        let position = ((at as f64 + 0.5) / factor as f64 - 0.5).clamp(0.0, (n - 1) as f64);
        let first = position.floor();
        (first as usize, (first as usize + 1).min(n - 1), (position - first) as f32)
    };
    Picture::from_shape_fn((channels, rows * factor, columns * factor), |(c, y, x)| {
        let ((above, below, down), (left, right, across)) = (between(y, rows), between(x, columns));
        let line = |y: usize| (1.0 - across) * picture[[c, y, left]] + across * picture[[c, y, right]];
        (1.0 - down) * line(above) + down * line(below)
    })
}

fn concat(taken: &[&Picture]) -> Picture {
    let (_, rows, columns) = taken[0].dim();
    let channels = taken.iter().map(|picture| picture.dim().0).sum();
    let mut out = Picture::zeros((channels, rows, columns));
    let planes = taken.iter().flat_map(|picture| picture.outer_iter());
    out.outer_iter_mut().zip(planes).for_each(|(mut out, plane)| out.assign(&plane));
    out
}

fn convolve(convolution: &Convolution, input: &Picture) -> Picture {
    let (height, width) = convolution.kernel;
    let framed = framed(input, (height / 2, width / 2), convolution.border);
    let (_, rows, columns) = input.dim();
    let mut out = Picture::zeros((convolution.outputs, rows, columns));
    let each = convolution.inputs * height * width;
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(channel, mut out)| {
        out.fill(convolution.bias.get(channel).copied().unwrap_or(0.0));
        let kernels = convolution.weights[channel * each..][..each].chunks_exact(height * width);
        for (plane, kernel) in framed.outer_iter().zip(kernels) {
            for (k, weight) in kernel.iter().enumerate() {
                let seen = plane.slice(s![k / width..k / width + rows, k % width..k % width + columns]);
                out.scaled_add(*weight, &seen);
            }
        }
    });
    out
}

/// A picture with a frame of so many rows and columns around it.
fn framed(picture: &Picture, (height, width): (usize, usize), border: Border) -> Picture {
    let (channels, rows, columns) = picture.dim();
    Picture::from_shape_fn((channels, rows + 2 * height, columns + 2 * width), |(c, y, x)| {
        let inside = (height..height + rows).contains(&y) && (width..width + columns).contains(&x);
        let nearest = |at: usize, frame: usize, n: usize| at.saturating_sub(frame).min(n - 1);
        match border {
            Border::Zeros if !inside => 0.0,
            _ => picture[[c, nearest(y, height, rows), nearest(x, width, columns)]],
        }
    })
}
