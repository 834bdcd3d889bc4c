//! FSRCNN (Dong et al. 2016, doi:10.1007/978-3-319-46475-6_25) on luma: features are shrunk, mapped and expanded again at the
//! size of the input. Its last layer, a deconvolution in the paper, is a 1x1 convolution and a shuffle in these files.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Input, Network, Op};
use super::super::weights::Weights;
use super::{axis, count, square_root};
use crate::error::Result;

pub(super) fn network(checkpoint: &Checkpoint) -> Option<Result<Network>> {
    if !checkpoint.tensors.contains_key("last.bias") || !checkpoint.tensors.contains_key("prelu1.weight") {
        return None;
    }
    let layers = count(checkpoint, |n| format!("conv{}.weight", n + 1));
    let scale = square_root(axis(checkpoint, &format!("conv{layers}.weight"), 0))?;
    let mut weights = Weights::new(checkpoint, 1);
    for layer in 1..layers {
        let value = weights.convolve(&format!("conv{layer}"), weights.last());
        weights.slopes(&format!("prelu{layer}.weight"), value);
    }
    let last = weights.convolve(&format!("conv{layers}"), weights.last());
    weights.add_to_bias("last.bias");
    weights.add(Op::Shuffle(scale), &[last]);
    let (wide, narrow) = (axis(checkpoint, "conv1.weight", 0), axis(checkpoint, "conv2.weight", 0));
    let mapping = layers.saturating_sub(4);
    Some(weights.finish(format!("FSRCNN({wide}, {narrow}, {mapping})"), Input::Luma, scale, 1))
}
