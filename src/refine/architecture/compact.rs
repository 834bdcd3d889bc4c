//! Compact (SRVGGNetCompact), the small networks of Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833): convolutions with
//! learnt slopes at the size of the input, one shuffle at the end, and the input repeated as a base.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Network, Op};
use super::super::weights::Weights;
use super::{axis, input_of, square_root, unusual};
use crate::error::Result;

pub(super) fn network(checkpoint: &Checkpoint) -> Option<Result<Network>> {
    let rank = |key: &str| checkpoint.tensors.get(key).map(|tensor| tensor.shape.len());
    (rank("body.0.weight") == Some(4) && rank("body.1.weight") == Some(1)).then(|| build(checkpoint))
}

fn build(checkpoint: &Checkpoint) -> Result<Network> {
    let numbers = checkpoint.tensors.keys().filter_map(|key| key.strip_prefix("body.")?.strip_suffix(".weight"));
    // Numbers in names are not to be believed: no network has more layers than tensors.
    let most = 2 * checkpoint.tensors.len();
    let last: usize = numbers.filter_map(|number| number.parse().ok()).filter(|last| *last <= most).max().unwrap_or(0);
    let (width, taken) = (axis(checkpoint, "body.0.weight", 0), axis(checkpoint, "body.0.weight", 1));
    let made = axis(checkpoint, &format!("body.{last}.weight"), 0);
    let Some(input) = input_of(taken) else { return Err(unusual("Compact", taken)) };
    let Some(scale) = made.checked_div(taken).and_then(square_root).filter(|_| made.is_multiple_of(taken)) else {
        return Err(unusual("Compact", made));
    };
    let mut weights = Weights::new(checkpoint, taken);
    let mut value = 0;
    for layer in (0..last).step_by(2) {
        let convolved = weights.convolve(&format!("body.{layer}"), value);
        value = weights.slopes(&format!("body.{}.weight", layer + 1), convolved);
    }
    value = weights.convolve(&format!("body.{last}"), value);
    if scale > 1 {
        value = weights.add(Op::Shuffle(scale), &[value]);
    }
    let base = weights.add(Op::Repeat(scale), &[0]);
    weights.add(Op::Add(1.0), &[value, base]);
    let inner = (last / 2).saturating_sub(1);
    weights.finish(format!("Compact, {width} features, {inner} convolutions"), input, scale, 1)
}
