//! The generator of SRGAN (Ledig et al. 2017, doi:10.1109/CVPR.2017.19), also known as SRResNet: residual blocks with batch
//! normalisation, then shuffles by two; the result is a hyperbolic tangent taken to 0 to 1.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Input, Network, Op, Value};
use super::super::weights::Weights;
use super::{axis, count};
use crate::error::Result;

pub(super) fn network(checkpoint: &Checkpoint) -> Option<Result<Network>> {
    let has = |key: &str| checkpoint.tensors.contains_key(key);
    (has("block1.0.weight") && has("block2.conv1.weight") && has("block2.bn1.running_var")).then(|| build(checkpoint))
}

fn build(checkpoint: &Checkpoint) -> Result<Network> {
    let blocks = count(checkpoint, |n| format!("block{}.conv1.weight", n + 2));
    let (tail, end) = (blocks + 2, blocks + 3);
    let ups = count(checkpoint, |n| format!("block{end}.{n}.conv.weight"));
    let mut weights = Weights::new(checkpoint, 3);
    let first = weights.convolve("block1.0", 0);
    let shallow = weights.slopes("block1.1.weight", first);
    let mut value = shallow;
    for block in 2..tail {
        value = residual_block(&mut weights, block, value);
    }
    let deep = weights.convolve(&format!("block{tail}.0"), value);
    let deep = weights.slopes(&format!("block{tail}.1.weight"), deep);
    value = weights.add(Op::Add(1.0), &[shallow, deep]);
    for up in 0..ups {
        let wide = weights.convolve(&format!("block{end}.{up}.conv"), value);
        let shuffled = weights.add(Op::Shuffle(2), &[wide]);
        value = weights.slopes(&format!("block{end}.{up}.prelu.weight"), shuffled);
    }
    let last = weights.convolve(&format!("block{end}.{ups}"), value);
    let bounded = weights.add(Op::Tanh, &[last]);
    weights.add(Op::Scale { factor: 0.5, offset: 0.5 }, &[bounded]);
    weights.ignore(|name| name.ends_with("num_batches_tracked"));
    let width = axis(checkpoint, "block1.0.weight", 0);
    weights.finish(format!("SRGAN, {width} features, {blocks} blocks"), Input::Rgb, 1 << ups.min(8), 1)
}

fn residual_block(weights: &mut Weights<'_>, block: usize, x: Value) -> Value {
    let name = |part: &str| format!("block{block}.{part}");
    let first = weights.convolve_normalized(&name("conv1"), &name("bn1"), x);
    let sloped = weights.slopes(&name("prelu.weight"), first);
    let second = weights.convolve_normalized(&name("conv2"), &name("bn2"), sloped);
    weights.add(Op::Add(1.0), &[x, second])
}
