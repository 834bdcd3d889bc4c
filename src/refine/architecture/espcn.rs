//! ESPCN (Shi et al. 2016, doi:10.1109/CVPR.2016.207): convolutions of luma at its own size and one shuffle.
//!
//! Files do not say which functions come between. Those of the releases that are around are taken: rectifiers, and where there are
//! three layers a hyperbolic tangent at the end (the paper has tangents between them); four layers are those of PyTorch's
//! tutorial on sub-pixel networks.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Input, Network, Op};
use super::super::weights::Weights;
use super::{axis, count, square_root};
use crate::error::Result;

pub(super) fn network(checkpoint: &Checkpoint) -> Option<Result<Network>> {
    let layers = count(checkpoint, |n| format!("conv{}.weight", n + 1));
    let scale = square_root(axis(checkpoint, &format!("conv{layers}.weight"), 0)).filter(|scale| *scale > 1)?;
    let is_ours = (3..=4).contains(&layers) && axis(checkpoint, "conv1.weight", 1) == 1;
    is_ours.then(|| {
        let mut weights = Weights::new(checkpoint, 1);
        for layer in 1..layers {
            let value = weights.convolve(&format!("conv{layer}"), weights.last());
            weights.add(Op::Relu, &[value]);
        }
        let last = weights.convolve(&format!("conv{layers}"), weights.last());
        let shuffled = weights.add(Op::Shuffle(scale), &[last]);
        if layers == 3 {
            weights.add(Op::Tanh, &[shuffled]);
        }
        let width = axis(checkpoint, "conv1.weight", 0);
        weights.finish(format!("ESPCN, {width} features, {layers} layers"), Input::Luma, scale, 1)
    })
}
