//! EDSR and MDSR (Lim et al. 2017, doi:10.1109/CVPRW.2017.151) and RCAN (Zhang et al. 2018, doi:10.1007/978-3-030-01234-2_18): residual
//! blocks without normalisation, RCAN's weighted channel by channel, then shuffles. In the naming of the authors' programs,
//! where colours are 0 to 255 and the mean is in the file, and for EDSR also in that of BasicSR, where it is not.

use super::super::checkpoint::Checkpoint;
use super::super::network::{Input, Network, Op, Value};
use super::super::weights::Weights;
use super::{axis, count, shuffle_factor};
use crate::error::Result;

/// Range of colours inside.
const RANGE: f32 = 255.0;
/// Mean of the training pictures (DIV2K), 0 to 1: R, G and B.
const MEAN: [f32; 3] = [0.4488, 0.4371, 0.4040];
/// Features from which the blocks of EDSR add a tenth of what they find, as the authors' large network does.
const LARGE: usize = 256;
/// Most shuffles; released networks have up to three.
const MOST_STEPS: usize = 4;

/// Of MDSR, which has some layers once for each scale, the network of the smallest scale not less than `wanted`.
pub(super) fn network(checkpoint: &Checkpoint, wanted: f64) -> Option<Result<Network>> {
    let has = |key: &str| checkpoint.tensors.contains_key(key);
    if has("head.0.weight") && has("pre_process.0.0.body.0.weight") {
        return Some(mdsr(checkpoint, wanted));
    }
    if has("body.0.body.0.body.0.weight") {
        return Some(rcan(checkpoint));
    }
    if has("head.0.weight") && has("body.0.body.2.weight") {
        return Some(edsr(checkpoint));
    }
    (has("conv_after_body.weight") && has("upsample.0.weight")).then(|| edsr_of_basicsr(checkpoint))
}

fn edsr(checkpoint: &Checkpoint) -> Result<Network> {
    let (blocks, width) =
        (count(checkpoint, |n| format!("body.{n}.body.0.weight")), axis(checkpoint, "head.0.weight", 0));
    let mut weights = Weights::new(checkpoint, 3);
    let shallow = head(&mut weights);
    let mut value = shallow;
    for block in 0..blocks {
        let name = |layer: usize| format!("body.{block}.body.{layer}");
        value = residual_block(&mut weights, &name(0), &name(2), share(width), value);
    }
    let deep = weights.convolve(&format!("body.{blocks}"), value);
    let deep = weights.add(Op::Add(1.0), &[deep, shallow]);
    let scale = tail(&mut weights, checkpoint, ["tail.0", "tail.1"], deep);
    weights.finish(format!("EDSR, {width} features, {blocks} blocks"), Input::Rgb, scale, 1)
}

fn edsr_of_basicsr(checkpoint: &Checkpoint) -> Result<Network> {
    let blocks = count(checkpoint, |n| format!("body.{n}.conv1.weight"));
    let width = axis(checkpoint, "conv_first.weight", 0);
    let mut weights = Weights::new(checkpoint, 3);
    let centered = weights.shift_colors(0, RANGE, MEAN.map(|mean| -RANGE * mean));
    let shallow = weights.convolve("conv_first", centered);
    let mut value = shallow;
    for block in 0..blocks {
        let name = |layer: usize| format!("body.{block}.conv{layer}");
        value = residual_block(&mut weights, &name(1), &name(2), share(width), value);
    }
    let deep = weights.convolve("conv_after_body", value);
    let deep = weights.add(Op::Add(1.0), &[deep, shallow]);
    let (large, scale) = enlarge(&mut weights, checkpoint, "upsample", deep);
    let last = weights.convolve("conv_last", large);
    weights.shift_colors(last, 1.0 / RANGE, MEAN);
    weights.finish(format!("EDSR, {width} features, {blocks} blocks"), Input::Rgb, scale, 1)
}

/// The layers `pre_process.S` and `upsample.S` are of one scale, all others of all of them.
fn mdsr(checkpoint: &Checkpoint, wanted: f64) -> Result<Network> {
    let has = |key: &str| checkpoint.tensors.contains_key(key);
    let upsample = |branch: usize| format!("upsample.{branch}");
    let branches: Vec<(usize, usize)> = (0..count(checkpoint, |n| format!("pre_process.{n}.0.body.0.weight")))
        .filter(|branch| has(&format!("{}.0.weight", upsample(*branch))))
        .map(|branch| (branch, shuffles(checkpoint, &upsample(branch)).iter().product()))
        .collect();
    let enough = branches.iter().filter(|(_, scale)| *scale as f64 >= wanted).min_by_key(|(_, scale)| *scale);
    let largest = || branches.iter().max_by_key(|(_, scale)| *scale);
    let chosen = enough.or_else(largest).map_or(0, |(branch, _)| *branch);
    let (blocks, width) =
        (count(checkpoint, |n| format!("body.{n}.body.0.weight")), axis(checkpoint, "head.0.weight", 0));
    let mut weights = Weights::new(checkpoint, 3);
    let mut shallow = head(&mut weights);
    for block in 0..2 {
        let name = |layer: usize| format!("pre_process.{chosen}.{block}.body.{layer}");
        shallow = residual_block(&mut weights, &name(0), &name(2), 1.0, shallow);
    }
    let mut value = shallow;
    for block in 0..blocks {
        let name = |layer: usize| format!("body.{block}.body.{layer}");
        value = residual_block(&mut weights, &name(0), &name(2), 1.0, value);
    }
    let deep = weights.convolve(&format!("body.{blocks}"), value);
    let deep = weights.add(Op::Add(1.0), &[deep, shallow]);
    let scale = tail(&mut weights, checkpoint, [&upsample(chosen), "tail.0"], deep);
    let others = branches.iter().map(|(branch, _)| *branch).filter(|branch| *branch != chosen);
    let unneeded: Vec<String> =
        others.flat_map(|branch| [format!("pre_process.{branch}."), format!("upsample.{branch}.")]).collect();
    weights.ignore(|name| unneeded.iter().any(|start| name.starts_with(start)));
    let mut scales: Vec<usize> = branches.iter().map(|(_, scale)| *scale).collect();
    scales.sort_unstable();
    let scales: Vec<String> = scales.iter().map(|scale| format!("x{scale}")).collect();
    let name = format!("MDSR, {width} features, {blocks} blocks, x{scale} of {}", scales.join(" "));
    weights.finish(name, Input::Rgb, scale, 1)
}

fn rcan(checkpoint: &Checkpoint) -> Result<Network> {
    let groups = count(checkpoint, |g| format!("body.{g}.body.0.body.0.weight"));
    let blocks = count(checkpoint, |b| format!("body.0.body.{b}.body.0.weight"));
    let width = axis(checkpoint, "head.0.weight", 0);
    let mut weights = Weights::new(checkpoint, 3);
    let shallow = head(&mut weights);
    let mut value = shallow;
    for group in 0..groups {
        let start = value;
        for block in 0..blocks {
            value = attention_block(&mut weights, &format!("body.{group}.body.{block}.body"), value);
        }
        value = weights.convolve(&format!("body.{group}.body.{blocks}"), value);
        value = weights.add(Op::Add(1.0), &[value, start]);
    }
    let deep = weights.convolve(&format!("body.{groups}"), value);
    let deep = weights.add(Op::Add(1.0), &[deep, shallow]);
    let scale = tail(&mut weights, checkpoint, ["tail.0", "tail.1"], deep);
    weights.finish(format!("RCAN, {width} features, {groups} groups of {blocks} blocks"), Input::Rgb, scale, 1)
}

/// Share of what a block of EDSR finds that is added to its input.
fn share(width: usize) -> f32 {
    if width >= LARGE { 0.1 } else { 1.0 }
}

/// Colours to 0 to 255 about their mean, and the first features.
fn head(weights: &mut Weights<'_>) -> Value {
    let wide = weights.add(Op::Scale { factor: RANGE, offset: 0.0 }, &[0]);
    let centered = weights.convolve("sub_mean", wide);
    weights.convolve("head.0", centered)
}

/// Enlarging and colours by the layers of these names, and their mean again; the scale.
fn tail(weights: &mut Weights<'_>, checkpoint: &Checkpoint, [ups, last]: [&str; 2], deep: Value) -> usize {
    let (large, scale) = enlarge(weights, checkpoint, ups, deep);
    let last = weights.convolve(last, large);
    let colors = weights.convolve("add_mean", last);
    weights.add(Op::Scale { factor: 1.0 / RANGE, offset: 0.0 }, &[colors]);
    scale
}

/// Convolutions `name.0`, `name.2`, ..., each with a shuffle; what they make, and the scale.
fn enlarge(weights: &mut Weights<'_>, checkpoint: &Checkpoint, name: &str, from: Value) -> (Value, usize) {
    let (mut value, mut scale) = (from, 1);
    for (step, factor) in shuffles(checkpoint, name).into_iter().enumerate() {
        let wide = weights.convolve(&format!("{name}.{}", 2 * step), value);
        value = weights.add(Op::Shuffle(factor), &[wide]);
        scale *= factor;
    }
    (value, scale)
}

/// Factors of the shuffles after convolutions `name.0`, `name.2`, ...
fn shuffles(checkpoint: &Checkpoint, name: &str) -> Vec<usize> {
    let steps = count(checkpoint, |n| format!("{name}.{}.weight", 2 * n)).min(MOST_STEPS);
    (0..steps).map(|step| shuffle_factor(checkpoint, &format!("{name}.{}", 2 * step))).collect()
}

fn residual_block(weights: &mut Weights<'_>, first: &str, second: &str, share: f32, x: Value) -> Value {
    let inner = weights.convolve(first, x);
    let inner = weights.add(Op::Relu, &[inner]);
    let inner = weights.convolve(second, inner);
    weights.add(Op::Add(share), &[inner, x])
}

/// A residual block whose channels are weighted by what their means say.
fn attention_block(weights: &mut Weights<'_>, name: &str, x: Value) -> Value {
    let inner = weights.convolve(&format!("{name}.0"), x);
    let inner = weights.add(Op::Relu, &[inner]);
    let inner = weights.convolve(&format!("{name}.2"), inner);
    let mean = weights.add(Op::Mean, &[inner]);
    let few = weights.convolve(&format!("{name}.3.conv_du.0"), mean);
    let few = weights.add(Op::Relu, &[few]);
    let gains = weights.convolve(&format!("{name}.3.conv_du.2"), few);
    let gains = weights.add(Op::Sigmoid, &[gains]);
    let weighted = weights.add(Op::Multiply, &[inner, gains]);
    weights.add(Op::Add(1.0), &[weighted, x])
}
