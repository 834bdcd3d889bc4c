//! Turns the tensors of a checkpoint into a network, and says exactly what does not fit.
//!
//! An architecture asks for its layers by name; what is missing or has another shape is collected, and so is what nobody
//! asked for. So a checkpoint that is nearly right gives one error that lists everything, not the first trouble.
//!
//! What is not here: which names make which network (`architecture`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::checkpoint::{Checkpoint, Tensor, shown};
use super::network::{Border, Convolution, Input, Network, Node, Op, Value};
use crate::error::{Error, Kind, Result};

/// Names listed in a message before the rest is counted.
const LISTED: usize = 8;
/// Most channels that a layer may have, and most rows and columns of a kernel.
const MOST_CHANNELS: usize = 4096;
/// See [`MOST_CHANNELS`].
const MOST_KERNEL: usize = 31;

/// A network in the making, and the tensors it is made of.
#[derive(Debug)]
pub(super) struct Weights<'a> {
    tensors: &'a BTreeMap<String, Tensor>,
    used: BTreeSet<&'a str>,
    wrong: Troubles,
    /// All operations; none more once something is wrong, as there will be no network.
    nodes: Vec<Node>,
    /// Channels of every value; unknown behind layers that are missing, where nothing more is complained of.
    channels: Vec<Option<usize>>,
}

impl<'a> Weights<'a> {
    /// For a network that takes `channels` channels.
    pub(super) fn new(checkpoint: &'a Checkpoint, channels: usize) -> Self {
        let tensors = &checkpoint.tensors;
        let (used, wrong) = (BTreeSet::new(), Troubles::default());
        Self { tensors, used, wrong, nodes: Vec::new(), channels: vec![Some(channels)] }
    }

    /// The last value made.
    pub(super) fn last(&self) -> Value {
        self.channels.len() - 1
    }

    /// Adds an operation without weights.
    pub(super) fn add(&mut self, op: Op, takes: &[Value]) -> Value {
        let from = self.channels[takes[0]];
        let channels = match op {
            Op::Concat => takes.iter().map(|&value| self.channels[value]).sum(),
            Op::Shuffle(factor) => from.and_then(|from| self.shuffled(from, factor)),
            Op::Unshuffle(factor) => from.map(|from| from * factor * factor),
            _ => from,
        };
        if let (Op::Add(_) | Op::Multiply, [a, b]) = (&op, takes)
            && let (Some(a), Some(b)) = (self.channels[*a], self.channels[*b])
            && a != b
        {
            self.wrong.push(format!("{a} and {b} channels are to be joined one by one"));
        }
        self.push(op, takes, channels)
    }

    /// Channels left of `from` by a shuffle.
    fn shuffled(&mut self, from: usize, factor: usize) -> Option<usize> {
        if !from.is_multiple_of(factor * factor) {
            self.wrong.push(format!("{from} channels cannot be shuffled into blocks of {factor} x {factor}"));
            return None;
        }
        Some(from / (factor * factor))
    }

    /// Adds the convolution `name` of the last value, or of `from`.
    pub(super) fn convolve(&mut self, name: &str, from: Value) -> Value {
        match self.convolution(name, self.channels[from]) {
            Some(convolution) => self.push_convolution(convolution, from),
            None => self.push(Op::Relu, &[from], None),
        }
    }

    /// Adds the convolution `name`, followed by the batch normalisation `norm` (with the usual epsilon of 1e-5).
    pub(super) fn convolve_normalized(&mut self, name: &str, norm: &str, from: Value) -> Value {
        let Some(mut convolution) = self.convolution(name, self.channels[from]) else {
            return self.push(Op::Relu, &[from], None);
        };
        let n = convolution.outputs;
        let parts = ["weight", "bias", "running_mean", "running_var"];
        let [gain, shift, mean, variance] = parts.map(|part| self.vector(&format!("{norm}.{part}"), Some(n)));
        convolution.bias.resize(n, 0.0);
        let each = convolution.weights.len() / n;
        for channel in 0..n {
            let factor = gain[channel] / (variance[channel] + 1e-5).sqrt();
            convolution.weights[channel * each..][..each].iter_mut().for_each(|w| *w *= factor);
            convolution.bias[channel] = (convolution.bias[channel] - mean[channel]) * factor + shift[channel];
        }
        self.push_convolution(convolution, from)
    }

    /// Adds the slopes `name` of negative values: one for each channel, or one for all.
    pub(super) fn slopes(&mut self, name: &str, from: Value) -> Value {
        let channels = self.channels[from];
        let one = self.tensors.get(name).is_some_and(|tensor| tensor.values.len() == 1);
        let slopes = match channels {
            Some(channels) if one => vec![self.vector(name, Some(1))[0]; channels],
            _ => self.vector(name, channels),
        };
        self.push(Op::Slopes(slopes), &[from], channels)
    }

    /// Adds `factor * x + offset` with an offset for each of R, G and B.
    pub(super) fn shift_colors(&mut self, from: Value, factor: f32, offsets: [f32; 3]) -> Value {
        let weights = (0..9).map(|n| if n % 4 == 0 { factor } else { 0.0 }).collect();
        let bias = offsets.to_vec();
        let kernel = (1, 1);
        let convolution = Convolution { inputs: 3, outputs: 3, kernel, weights, bias, border: Border::Zeros };
        if self.channels[from].is_some_and(|channels| channels != 3) {
            self.wrong.push("colours are wanted where there are not three channels".to_owned());
        }
        self.push_convolution(convolution, from)
    }

    /// Makes all convolutions read the nearest pixel where they look outside.
    pub(super) fn repeat_borders(&mut self) {
        for node in &mut self.nodes {
            if let Op::Convolve(convolution) = &mut node.op {
                convolution.border = Border::Repeated;
            }
        }
    }

    /// Adds `name` to the bias of the last operation, a convolution with one output for all of them.
    pub(super) fn add_to_bias(&mut self, name: &str) {
        let value = self.vector(name, Some(1))[0];
        if let Some(Node { op: Op::Convolve(convolution), .. }) = self.nodes.last_mut() {
            convolution.bias.resize(convolution.outputs, 0.0);
            convolution.bias.iter_mut().for_each(|bias| *bias += value);
        }
    }

    /// Marks tensors as known that inference does not need.
    pub(super) fn ignore(&mut self, is_unneeded: impl Fn(&str) -> bool) {
        self.used.extend(self.tensors.keys().map(String::as_str).filter(|name| is_unneeded(name)));
    }

    /// The finished network.
    ///
    /// # Errors
    /// [`Kind::Input`] with the tensors that are missing, have another shape, or belong to no layer, or if the result has not
    /// the channels of the input.
    pub(super) fn finish(mut self, name: String, input: Input, scale: usize, multiple: usize) -> Result<Network> {
        let wanted = input.channels();
        if let Some(made) = self.channels.last().copied().flatten().filter(|made| *made != wanted) {
            self.wrong.push(format!("it makes {made} channels of pictures with {wanted}"));
        }
        self.complete(name, input, scale, multiple)
    }

    /// The finished network, where its result is no picture but features of R, G and B.
    ///
    /// # Errors
    /// As for [`Self::finish`].
    pub(super) fn finish_features(self, name: String, multiple: usize) -> Result<Network> {
        self.complete(name, Input::Rgb, 0, multiple)
    }

    fn complete(self, name: String, input: Input, scale: usize, multiple: usize) -> Result<Network> {
        let mut extra = Troubles::default();
        self.tensors.keys().filter(|key| !self.used.contains(key.as_str())).for_each(|key| extra.push(shown(key)));
        let mut troubles = Vec::new();
        if self.wrong.count > 0 {
            troubles.push(self.wrong.to_string());
        }
        if extra.count > 0 {
            troubles.push(format!("not part of this architecture: {extra}"));
        }
        if !troubles.is_empty() {
            let message = format!("looks like {name}, but does not fit: {}", troubles.join("; "));
            return Err(Error::new(Kind::Input, message));
        }
        Ok(Network { name, input, scale, multiple, nodes: self.nodes })
    }

    fn push(&mut self, op: Op, takes: &[Value], channels: Option<usize>) -> Value {
        if self.wrong.count == 0 {
            self.nodes.push(Node { op, takes: takes.to_vec() });
        }
        self.channels.push(channels);
        self.last()
    }

    fn push_convolution(&mut self, convolution: Convolution, from: Value) -> Value {
        let outputs = Some(convolution.outputs);
        self.push(Op::Convolve(convolution), &[from], outputs)
    }

    /// The convolution `name` of `inputs` channels, of any number if that is unknown; `None` if it is missing or has another
    /// shape.
    fn convolution(&mut self, name: &str, inputs: Option<usize>) -> Option<Convolution> {
        let (key, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let Some(tensor) = self.get(&key) else {
            self.know(&bias);
            return None;
        };
        let side = |side: usize| side % 2 == 1 && side <= MOST_KERNEL;
        let shape = match tensor.shape[..] {
            [outputs, taken, rows, columns] if side(rows) && side(columns) => Some((outputs, taken, (rows, columns))),
            _ => None,
        };
        let fits = |(outputs, taken, _): &(usize, usize, _)| {
            (1..=MOST_CHANNELS).contains(outputs) && *taken == inputs.unwrap_or(*taken)
        };
        let Some((outputs, inputs, kernel)) = shape.filter(fits) else {
            let wanted = inputs.map_or_else(String::new, |inputs| format!(" of {inputs} input channels"));
            self.wrong.push(format!("{key} has shape {:?}, wanted is a convolution{wanted}", tensor.shape));
            self.know(&bias);
            return None;
        };
        let bias = if self.tensors.contains_key(&bias) { self.vector(&bias, Some(outputs)) } else { Vec::new() };
        Some(Convolution { inputs, outputs, kernel, weights: tensor.values.clone(), bias, border: Border::Zeros })
    }

    /// The tensor `key` of `length` numbers, or of any number if that is unknown; zeros if it is not like that.
    fn vector(&mut self, key: &str, length: Option<usize>) -> Vec<f32> {
        let zeros = || vec![0.0; length.unwrap_or(0)];
        let Some(tensor) = self.get(key) else { return zeros() };
        match length {
            Some(length) if tensor.values.len() != length => {
                self.wrong.push(format!("{key} has shape {:?}, wanted are {length} numbers", tensor.shape));
                zeros()
            }
            _ => tensor.values.clone(),
        }
    }

    fn get(&mut self, key: &str) -> Option<&'a Tensor> {
        let tensor = self.know(key);
        if tensor.is_none() {
            self.wrong.push(format!("{key} is missing"));
        }
        tensor
    }

    /// The tensor `key`, if there is one, which now belongs to a layer.
    fn know(&mut self, key: &str) -> Option<&'a Tensor> {
        let (key, tensor) = self.tensors.get_key_value(key)?;
        self.used.insert(key);
        Some(tensor)
    }
}

/// The first few, and how many more.
#[derive(Debug, Default)]
struct Troubles {
    first: Vec<String>,
    count: usize,
}

impl Troubles {
    fn push(&mut self, trouble: String) {
        self.count += 1;
        if self.first.len() < LISTED {
            self.first.push(trouble);
        }
    }
}

impl fmt::Display for Troubles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join(", "))?;
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
