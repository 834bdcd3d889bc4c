//! The first layers of VGG19 (Simonyan and Zisserman 2015, arXiv:1409.1556), up to any of its convolutions before the activation:
//! features of a picture, by which perceptual losses (Johnson et al. 2016, doi:10.1007/978-3-319-46475-6_43) compare pictures. Not a
//! network that enlarges.
//!
//! Files say nothing of what pictures have to be. Weights that came from Caffe take R, G and B from 0 to 255 less their means in
//! ImageNet, which is what is assumed here; those of torchvision were trained on other numbers and are not told apart.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Network, Op};
use super::super::weights::Weights;
use super::axis;
use crate::error::Result;

/// Convolutions of each of the five blocks; a maximum over 2 x 2 pixels comes after each block.
const BLOCKS: [usize; 5] = [2, 2, 4, 4, 4];
/// Means of R, G and B over ImageNet, of 255.
const MEANS: [f32; 3] = [123.68, 116.779, 103.939];

pub(super) fn network(checkpoint: &Checkpoint) -> Option<Result<Network>> {
    let first = (axis(checkpoint, "features.0.weight", 0), axis(checkpoint, "features.0.weight", 1));
    (first == (64, 3) && checkpoint.tensors.contains_key("features.2.weight")).then(|| build(checkpoint))
}

fn build(checkpoint: &Checkpoint) -> Result<Network> {
    let mut weights = Weights::new(checkpoint, 3);
    let mut value = weights.shift_colors(0, 255.0, MEANS.map(|mean| -mean));
    let (mut layer, mut last, mut pools) = (0, String::new(), 0);
    'blocks: for (block, convolutions) in BLOCKS.into_iter().enumerate() {
        for n in 0..convolutions {
            if !checkpoint.tensors.contains_key(&format!("features.{layer}.weight")) {
                break 'blocks;
            }
            if !last.is_empty() {
                value = weights.add(Op::Relu, &[value]);
            }
            if n == 0 && block > 0 {
                value = weights.add(Op::Pool(2), &[value]);
                pools += 1;
            }
            value = weights.convolve(&format!("features.{layer}"), value);
            last = format!("conv{}_{}", block + 1, n + 1);
            layer += 2;
        }
        layer += 1;
    }
    weights.finish_features(format!("VGG19 to {last}"), 1 << pools)
}
