//! SRCNN (Dong et al. 2016, doi:10.1109/TPAMI.2015.2439281): three convolutions of enlarged luma,
//! which look outside as the authors' program does: at the nearest pixel.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Input, Network, Op};
use super::super::weights::Weights;
use super::axis;
use crate::error::Result;

pub(super) fn network(checkpoint: &Checkpoint) -> Option<Result<Network>> {
    let kernel = |n: usize| axis(checkpoint, &format!("conv{n}.weight"), 2);
    let is_ours = kernel(1) == 9 && axis(checkpoint, "conv3.weight", 0) == 1 && kernel(4) == 0;
    is_ours.then(|| {
        let mut weights = Weights::new(checkpoint, 1);
        for name in ["conv1", "conv2"] {
            let value = weights.convolve(name, weights.last());
            weights.add(Op::Relu, &[value]);
        }
        weights.convolve("conv3", weights.last());
        weights.repeat_borders();
        weights.finish(format!("SRCNN {}-{}-{}", kernel(1), kernel(2), kernel(3)), Input::EnlargedLuma, 1, 1)
    })
}
