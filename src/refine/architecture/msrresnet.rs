//! MSRResNet of BasicSR, the generator of SRGAN (Ledig et al. 2017, doi:10.1109/CVPR.2017.19) without batch normalisation: residual
//! blocks, then shuffles, and the input enlarged by bilinear interpolation as a base.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Network, Op, Value};
use super::super::weights::Weights;
use super::{axis, count, input_of, shuffle_factor, unusual};
use crate::error::Result;

/// Slope of negative values outside of the blocks.
const SLOPE: f32 = 0.1;
/// Most shuffles; released networks have up to two.
const MOST_STEPS: usize = 3;

pub(super) fn network(checkpoint: &Checkpoint) -> Option<Result<Network>> {
    // EDSR in BasicSR's naming has the first and the last of its layers in common, and these blocks; EDVR has all but them.
    let names = ["conv_first", "body.0.conv1", "upconv1", "conv_hr"];
    let has = |name: &&str| checkpoint.tensors.contains_key(&format!("{name}.weight"));
    names.iter().all(has).then(|| build(checkpoint))
}

fn build(checkpoint: &Checkpoint) -> Result<Network> {
    let (width, channels) = (axis(checkpoint, "conv_first.weight", 0), axis(checkpoint, "conv_first.weight", 1));
    let blocks = count(checkpoint, |n| format!("body.{n}.conv1.weight"));
    let Some(input) = input_of(channels) else { return Err(unusual("MSRResNet", channels)) };
    let mut weights = Weights::new(checkpoint, channels);
    let mut value = leaky(&mut weights, "conv_first", 0);
    for block in 0..blocks {
        let inner = weights.convolve(&format!("body.{block}.conv1"), value);
        let inner = weights.add(Op::Relu, &[inner]);
        let inner = weights.convolve(&format!("body.{block}.conv2"), inner);
        value = weights.add(Op::Add(1.0), &[inner, value]);
    }
    let mut scale = 1;
    for step in 0..count(checkpoint, |n| format!("upconv{}.weight", n + 1)).min(MOST_STEPS) {
        let name = format!("upconv{}", step + 1);
        let factor = shuffle_factor(checkpoint, &name);
        let wide = weights.convolve(&name, value);
        let shuffled = weights.add(Op::Shuffle(factor), &[wide]);
        value = weights.add(Op::Leaky(SLOPE), &[shuffled]);
        scale *= factor;
    }
    let inner = leaky(&mut weights, "conv_hr", value);
    // Just before the convolution that it is added to, as it is large.
    let base = weights.add(Op::Bilinear(scale), &[0]);
    let last = weights.convolve("conv_last", inner);
    weights.add(Op::Add(1.0), &[last, base]);
    weights.finish(format!("MSRResNet, {width} features, {blocks} blocks"), input, scale, 1)
}

fn leaky(weights: &mut Weights<'_>, name: &str, from: Value) -> Value {
    let value = weights.convolve(name, from);
    weights.add(Op::Leaky(SLOPE), &[value])
}
