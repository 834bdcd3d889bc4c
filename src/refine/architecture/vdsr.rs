//! VDSR (Kim et al. 2016, doi:10.1109/CVPR.2016.182): twenty convolutions that find what enlarged luma lacks.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Input, Network, Op};
use super::super::weights::Weights;
use super::count;
use crate::error::Result;

pub(super) fn network(checkpoint: &Checkpoint) -> Option<Result<Network>> {
    let layers = count(checkpoint, |n| format!("residual_layer.{n}.conv.weight"));
    (layers > 0).then(|| {
        let mut weights = Weights::new(checkpoint, 1);
        let inner = (0..layers).map(|n| format!("residual_layer.{n}.conv"));
        for name in std::iter::once("input".to_owned()).chain(inner) {
            let value = weights.convolve(&name, weights.last());
            weights.add(Op::Relu, &[value]);
        }
        let found = weights.convolve("output", weights.last());
        weights.add(Op::Add(1.0), &[found, 0]);
        weights.finish(format!("VDSR, {} layers", layers + 2), Input::EnlargedLuma, 1, 1)
    })
}
