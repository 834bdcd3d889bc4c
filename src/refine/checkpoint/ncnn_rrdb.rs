//! Tells an RRDBNet in ncnn's list of layers by what they take from one another, and names its convolutions.
//!
//! The layers are written down in a form of their own, in which it does not matter how values are called, handed to several
//! layers (`Split`), or whether slopes and shares are layers or parts of others. That list has to be the one of an RRDBNet with
//! as many blocks and steps of enlargement, operation for operation; so no other network is taken for one.

use std::collections::HashMap;

use super::damaged;
use super::ncnn::Layer;
use super::tree::shown;
use crate::error::Result;

/// Slope of negative values, and share of what a block finds that is added to its input.
const FIFTH: f32 = 0.2;

/// What is done with values: 0 is the input, `n + 1` what step `n` makes.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Convolve(usize),
    Leaky(usize),
    Join(Vec<usize>),
    /// A fifth of the first and all of the second.
    AddFifth(usize, usize),
    /// Both, the smaller number first.
    Add(usize, usize),
    /// Every pixel twice along both axes.
    Double(usize),
}

/// A value, or a fifth of it.
#[derive(Debug, Clone, Copy)]
enum Held {
    All(usize),
    Fifth(usize),
}

/// Names of the convolutions among `layers` in their order, as BasicSR names them.
///
/// # Errors
/// `Kind::Input` with the first layer that an RRDBNet has not at that place.
pub(super) fn names(layers: &[Layer<'_>]) -> Result<Vec<String>> {
    let count = |kind: &str| layers.iter().filter(|layer| layer.kind == kind).count();
    // Each of the three dense blocks of a block joins four times.
    let (wanted, names) = network(count("Concat") / 12, count("Interp"));
    let mut found = Found::default();
    for layer in layers {
        let before = found.steps.len();
        let fits = found.add(layer).is_some() && wanted.get(before..found.steps.len()) == found.steps.get(before..);
        if !fits {
            return Err(damaged(format!(
                "layer '{}' of the .param, {}, is not what an RRDBNet has there; only Compact networks and RRDBNets are read",
                shown(layer.name),
                shown(layer.kind)
            )));
        }
    }
    if found.steps.len() < wanted.len() {
        return Err(damaged("the .param ends before the layers of an RRDBNet are complete"));
    }
    Ok(names)
}

/// The steps and the names of the convolutions of an RRDBNet.
fn network(blocks: usize, doublings: usize) -> (Vec<Step>, Vec<String>) {
    let mut names = Vec::new();
    let mut steps = Vec::new();
    let mut push = |step: Step| {
        steps.push(step);
        steps.len()
    };
    let mut named = |name: String, from: usize| {
        names.push(name);
        Step::Convolve(from)
    };
    let first = push(named("conv_first".to_owned(), 0));
    let mut value = first;
    for block in 0..blocks {
        let start = value;
        for dense in 1..=3 {
            let mut made = vec![value];
            for layer in 1..=5 {
                let from = if layer == 1 { value } else { push(Step::Join(made.clone())) };
                let convolved = push(named(format!("body.{block}.rdb{dense}.conv{layer}"), from));
                made.push(if layer < 5 { push(Step::Leaky(convolved)) } else { convolved });
            }
            value = push(Step::AddFifth(made[5], value));
        }
        value = push(Step::AddFifth(value, start));
    }
    let deep = push(named("conv_body".to_owned(), value));
    value = push(Step::Add(first, deep));
    for step in 1..=doublings {
        let large = push(Step::Double(value));
        let convolved = push(named(format!("conv_up{step}"), large));
        value = push(Step::Leaky(convolved));
    }
    let convolved = push(named("conv_hr".to_owned(), value));
    let inner = push(Step::Leaky(convolved));
    push(named("conv_last".to_owned(), inner));
    (steps, names)
}

/// What the layers so far do.
#[derive(Default)]
struct Found<'a> {
    steps: Vec<Step>,
    values: HashMap<&'a str, Held>,
}

impl<'a> Found<'a> {
    /// `None` if the layer is nothing that can be part of an RRDBNet.
    fn add(&mut self, layer: &Layer<'a>) -> Option<()> {
        let is = |id: i32, default: f32, wanted: f32| layer.numbers(id).unwrap_or_else(|| vec![default]) == [wanted];
        match (layer.kind, &layer.takes[..], &layer.makes[..]) {
            ("Input", [], [made]) if self.values.is_empty() => self.hold(made, Held::All(0)),
            ("Split", [from], made) => {
                let held = self.values.get(from).copied()?;
                made.iter().try_for_each(|made| self.hold(made, held))
            }
            ("Convolution", [from], [made]) => {
                let step = Step::Convolve(self.whole(from)?);
                match layer.numbers(9).as_deref() {
                    None | Some([0.0]) => self.push(step, made),
                    Some([2.0]) if layer.numbers(-23310).as_deref() == Some(&[1.0, FIFTH]) => {
                        self.steps.push(step);
                        self.push(Step::Leaky(self.steps.len()), made)
                    }
                    _ => None,
                }
            }
            ("ReLU", [from], [made]) if is(0, 0.0, FIFTH) => self.push(Step::Leaky(self.whole(from)?), made),
            ("Concat", from, [made]) if is(0, 0.0, 0.0) => {
                let joined = from.iter().map(|from| self.whole(from)).collect::<Option<_>>()?;
                self.push(Step::Join(joined), made)
            }
            // Sizes that are written out, 3 and 4, would go before the factors.
            ("Interp", [from], [made])
                if is(0, 0.0, 1.0) && is(1, 1.0, 2.0) && is(2, 1.0, 2.0) && is(3, 0.0, 0.0) && is(4, 0.0, 0.0) =>
            {
                self.push(Step::Double(self.whole(from)?), made)
            }
            ("Eltwise", [a, b], [made]) if is(0, 0.0, 1.0) => {
                let (a, b) = (self.whole(a)?, self.whole(b)?);
                let step = match layer.numbers(-23301).as_deref() {
                    None => Step::Add(a.min(b), a.max(b)),
                    Some([2.0, FIFTH, 1.0]) => Step::AddFifth(a, b),
                    Some([2.0, 1.0, FIFTH]) => Step::AddFifth(b, a),
                    _ => return None,
                };
                self.push(step, made)
            }
            ("BinaryOp", [from], [made]) if is(0, 0.0, 2.0) && is(1, 0.0, 1.0) && is(2, 0.0, FIFTH) => {
                let value = self.whole(from)?;
                self.hold(made, Held::Fifth(value))
            }
            ("BinaryOp", [a, b], [made]) if is(0, 0.0, 0.0) && is(1, 0.0, 0.0) => {
                let step = match (self.values.get(a).copied()?, self.values.get(b).copied()?) {
                    (Held::All(a), Held::All(b)) => Step::Add(a.min(b), a.max(b)),
                    (Held::Fifth(a), Held::All(b)) | (Held::All(b), Held::Fifth(a)) => Step::AddFifth(a, b),
                    (Held::Fifth(_), Held::Fifth(_)) => return None,
                };
                self.push(step, made)
            }
            _ => None,
        }
    }

    /// The number of a value that is taken as it is.
    fn whole(&self, name: &str) -> Option<usize> {
        if let Some(Held::All(value)) = self.values.get(name) { Some(*value) } else { None }
    }

    fn push(&mut self, step: Step, made: &'a str) -> Option<()> {
        self.steps.push(step);
        self.hold(made, Held::All(self.steps.len()))
    }

    /// A name stands for one value.
    fn hold(&mut self, name: &'a str, held: Held) -> Option<()> {
        self.values.insert(name, held).is_none().then_some(())
    }
}
