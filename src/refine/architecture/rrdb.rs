//! RRDBNet, the generator of ESRGAN (Wang et al. 2018, arXiv:1809.00219) and Real-ESRGAN (Wang et al. 2021,
//! arXiv:2107.10833, which reduces its input by pixel-unshuffle for x2 and x1), in the four namings that are around, and with
//! the additional 1x1 convolutions of ESRGAN+ (Rakotonirina and Rasoanaivo 2020, arXiv:2001.08073).

use super::super::checkpoint::Checkpoint;
use super::super::network::{Network, Op, Value};
use super::super::weights::Weights;
use super::{axis, count, input_of, unusual};
use crate::error::Result;

/// Slope of negative values.
const SLOPE: f32 = 0.2;
/// Share of what a block finds that is added to its input.
const RESIDUAL: f32 = 0.2;
/// Most steps of enlarging by two.
const MOST_STEPS: usize = 3;

/// Names of the layers.
struct Names {
    first: String,
    /// Of block n, dense block k (from 1) and convolution j (from 1).
    dense: fn(usize, usize, usize) -> String,
    /// The 1x1 convolution of ESRGAN+ in block n, dense block k.
    bypass: Option<fn(usize, usize) -> String>,
    trunk: String,
    /// One for each enlargement by two.
    ups: Vec<String>,
    inner: String,
    last: String,
}

pub(super) fn network(checkpoint: &Checkpoint) -> Option<Result<Network>> {
    Some(build(checkpoint, &names(checkpoint)?))
}

fn names(checkpoint: &Checkpoint) -> Option<Names> {
    let has = |key: &str| checkpoint.tensors.contains_key(key);
    let ups = |name: &str| {
        let steps = (1..=MOST_STEPS).map(|n| format!("{name}{n}"));
        steps.take_while(|step| has(&format!("{step}.weight"))).collect()
    };
    if has("body.0.rdb1.conv1.weight") {
        return Some(Names {
            first: "conv_first".into(),
            dense: |n, k, j| format!("body.{n}.rdb{k}.conv{j}"),
            bypass: None,
            trunk: "conv_body".into(),
            ups: ups("conv_up"),
            inner: "conv_hr".into(),
            last: "conv_last".into(),
        });
    }
    if has("RRDB_trunk.0.RDB1.conv1.weight") {
        return Some(Names {
            first: "conv_first".into(),
            dense: |n, k, j| format!("RRDB_trunk.{n}.RDB{k}.conv{j}"),
            bypass: None,
            trunk: "trunk_conv".into(),
            ups: ups("upconv"),
            inner: "HRconv".into(),
            last: "conv_last".into(),
        });
    }
    has("model.1.sub.0.RDB1.conv1.0.weight").then(|| sequential(checkpoint))
}

/// The first release: layers numbered through, with one convolution every three for each enlargement.
fn sequential(checkpoint: &Checkpoint) -> Names {
    let blocks = count(checkpoint, |n| format!("model.1.sub.{n}.RDB1.conv1.0.weight"));
    let mut layers =
        (0..3 * MOST_STEPS + 5).rev().filter(|n| checkpoint.tensors.contains_key(&format!("model.{n}.weight")));
    let steps = layers.next().unwrap_or(4).saturating_sub(4) / 3;
    let bypass = checkpoint.tensors.contains_key("model.1.sub.0.RDB1.conv1x1.weight");
    Names {
        first: "model.0".into(),
        dense: |n, k, j| format!("model.1.sub.{n}.RDB{k}.conv{j}.0"),
        bypass: if bypass { Some(|n, k| format!("model.1.sub.{n}.RDB{k}.conv1x1")) } else { None },
        trunk: format!("model.1.sub.{blocks}"),
        ups: (1..=steps).map(|step| format!("model.{}", 3 * step)).collect(),
        inner: format!("model.{}", 3 * steps + 2),
        last: format!("model.{}", 3 * steps + 4),
    }
}

fn build(checkpoint: &Checkpoint, names: &Names) -> Result<Network> {
    let first = format!("{}.weight", names.first);
    let (width, taken) = (axis(checkpoint, &first, 0), axis(checkpoint, &first, 1));
    let made = axis(checkpoint, &format!("{}.weight", names.last), 0);
    let blocks = count(checkpoint, |n| format!("{}.weight", (names.dense)(n, 1, 1)));
    let reduction = match taken.checked_div(made) {
        Some(4) => 2,
        Some(16) => 4,
        _ => 1,
    };
    let kind = if names.bypass.is_some() { "ESRGAN+" } else { "RRDBNet" };
    let channels = taken / (reduction * reduction);
    let Some(input) = input_of(channels) else { return Err(unusual(kind, channels)) };
    let mut weights = Weights::new(checkpoint, channels);
    let start = if reduction > 1 { weights.add(Op::Unshuffle(reduction), &[0]) } else { 0 };
    let shallow = weights.convolve(&names.first, start);
    let mut value = shallow;
    for block in 0..blocks {
        value = residual_block(&mut weights, names, block, value);
    }
    let deep = weights.convolve(&names.trunk, value);
    value = weights.add(Op::Add(1.0), &[deep, shallow]);
    for up in &names.ups {
        let enlarged = weights.add(Op::Repeat(2), &[value]);
        value = leaky(&mut weights, up, enlarged);
    }
    let inner = leaky(&mut weights, &names.inner, value);
    weights.convolve(&names.last, inner);
    let scale = 1usize << names.ups.len();
    if !scale.is_multiple_of(reduction) {
        return Err(unusual(kind, taken));
    }
    weights.finish(format!("{kind}, {width} features, {blocks} blocks"), input, scale / reduction, reduction)
}

/// Three dense blocks, and what goes past them.
fn residual_block(weights: &mut Weights<'_>, names: &Names, block: usize, x: Value) -> Value {
    let inner = (1..=3).fold(x, |value, k| dense_block(weights, names, (block, k), value));
    weights.add(Op::Add(RESIDUAL), &[inner, x])
}

/// Five convolutions, each of all that was made before.
fn dense_block(weights: &mut Weights<'_>, names: &Names, (block, k): (usize, usize), x: Value) -> Value {
    let mut made = vec![x];
    for j in 1..=4 {
        let all = joined(weights, &made);
        let mut value = leaky(weights, &(names.dense)(block, k, j), all);
        match (names.bypass, j) {
            (Some(bypass), 2) => {
                let past = weights.convolve(&bypass(block, k), x);
                value = weights.add(Op::Add(1.0), &[value, past]);
            }
            (Some(_), 4) => value = weights.add(Op::Add(1.0), &[value, made[2]]),
            _ => {}
        }
        made.push(value);
    }
    let all = joined(weights, &made);
    let last = weights.convolve(&(names.dense)(block, k, 5), all);
    weights.add(Op::Add(RESIDUAL), &[last, x])
}

fn joined(weights: &mut Weights<'_>, values: &[Value]) -> Value {
    if let [one] = values { *one } else { weights.add(Op::Concat, values) }
}

fn leaky(weights: &mut Weights<'_>, name: &str, from: Value) -> Value {
    let value = weights.convolve(name, from);
    weights.add(Op::Leaky(SLOPE), &[value])
}
