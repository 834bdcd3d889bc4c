//! Reads a Compact network (SRVGGNetCompact) or an RRDBNet from ncnn's pair of files: the layers as text, their weights in
//! one run.
//!
//! Only what such networks consist of is read, and named as their PyTorch files name it. Of a Compact network that is
//! `body.N.weight` and `body.N.bias`, counting convolutions and activations in order; layers that carry no weights are passed
//! over, and connections between layers are not looked at. Any other layer is refused by name. Where layers are joined
//! (`Concat`) it has to be an RRDBNet (`ncnn_rrdb`), whose layers and connections are all compared.

use super::elements::{ByteOrder, DType, Layout, gather};
use super::tree::shown;
use super::{Budget, MAX_TENSORS, Tensor, damaged, ncnn_rrdb, within};
use crate::error::Result;
use std::collections::BTreeMap;

/// The longest text with layers, bytes.
pub(super) const MAX_PARAM: u64 = 1 << 20;
/// What precedes weights stored as fp16.
const TAG_HALF: u32 = 0x0130_6b47;
/// What precedes weights stored as fp32 (the other such tag is 0).
const TAG_SINGLE: u32 = 0x0002_c056;
/// What precedes weights stored as 8-bit integers.
const TAG_INT8: u32 = 0x000d_4b38;

/// Reads the layers in `param` with the weights in `bin`.
///
/// # Errors
/// `Kind::Input` where a layer is none of a network that is read, a file is damaged, or the two do not fit together.
pub(super) fn read(param: &[u8], bin: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    if param.len() as u64 > MAX_PARAM {
        return Err(damaged(format!("the .param is longer than {MAX_PARAM} bytes")));
    }
    let text = std::str::from_utf8(param).map_err(|e| damaged("the .param is not text").caused_by(e))?;
    let layers = layers(text)?.into_iter().map(Layer::parse).collect::<Result<Vec<_>>>()?;
    let joins = layers.iter().any(|layer| layer.kind == "Concat");
    let names = if joins { ncnn_rrdb::names(&layers)? } else { Vec::new() }.into_iter();
    let (weights, tensors) = (Weights { rest: bin }, BTreeMap::new());
    let mut network = Network { weights, joins, names, index: 0, tensors, bin: bin.len() };
    let mut budget = Budget::of_file(bin.len());
    for layer in &layers {
        let added = network.add(layer, &mut budget);
        added.map_err(|e| within(format!("layer '{}' of the .param cannot be read", shown(layer.name)), e))?;
    }
    match network.weights.rest.len() {
        0 => Ok(network.tensors),
        left => Err(damaged(format!("the .bin has {left} of {} bytes more than the layers use", network.bin))),
    }
}

/// The lines with layers, after the magic number and the counts.
fn layers(text: &str) -> Result<Vec<&str>> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines.next() != Some("7767517") {
        return Err(damaged("the .param does not begin with 7767517"));
    }
    let counts = lines.next().unwrap_or_default();
    let layers: Vec<&str> = lines.collect();
    let declared = counts.split_whitespace().next().and_then(|count| count.parse().ok());
    if declared != Some(layers.len()) {
        let (counts, have) = (shown(counts), layers.len());
        return Err(damaged(format!("the .param announces '{counts}' layers and blobs but lists {have} layers")));
    }
    Ok(layers)
}

/// One line: kind, name, values taken and made, and numbered parameters.
pub(super) struct Layer<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) takes: Vec<&'a str>,
    pub(super) makes: Vec<&'a str>,
    parameters: Vec<(i32, &'a str)>,
}

impl<'a> Layer<'a> {
    /// `kind name inputs outputs <input names> <output names> id=value ...`
    fn parse(line: &'a str) -> Result<Self> {
        let malformed = || damaged(format!("the line '{}' of the .param is malformed", shown(line)));
        let mut words = line.split_whitespace();
        let (kind, name) = words.next().zip(words.next()).ok_or_else(malformed)?;
        let mut count = || words.next().and_then(|word| word.parse::<usize>().ok()).ok_or_else(malformed);
        let (takes, makes) = (count()?, count()?);
        let mut blobs = |count: usize| {
            let names: Vec<&str> = words.by_ref().take(count).collect();
            if names.len() == count { Ok(names) } else { Err(malformed()) }
        };
        let (takes, makes) = (blobs(takes)?, blobs(makes)?);
        let parameter = |word: &'a str| {
            let (id, value) = word.split_once('=')?;
            Some((id.parse().ok()?, value))
        };
        let parameters = words.try_fold(Vec::new(), |mut all, word| {
            all.push(parameter(word)?);
            Some(all)
        });
        Ok(Self { kind, name, takes, makes, parameters: parameters.ok_or_else(malformed)? })
    }

    /// The numbers of a parameter, with their count before them if it is a list.
    pub(super) fn numbers(&self, id: i32) -> Option<Vec<f32>> {
        let (_, value) = self.parameters.iter().find(|(other, _)| *other == id)?;
        // What is no number equals none.
        Some(value.split(',').map(|number| number.parse().unwrap_or(f32::NAN)).collect())
    }

    /// An integer parameter, or its default.
    fn integer(&self, id: i32, default: i64) -> Result<i64> {
        let Some((_, value)) = self.parameters.iter().find(|(other, _)| *other == id) else { return Ok(default) };
        value.parse().map_err(|_| damaged(format!("parameter {id} is '{}', not an integer", shown(value))))
    }

    /// A size: not negative.
    fn size(&self, id: i32, default: i64) -> Result<usize> {
        let value = self.integer(id, default)?;
        usize::try_from(value).map_err(|_| damaged(format!("parameter {id} is {value}, not a size")))
    }

    /// Fails where a parameter is none of those that a Compact network has.
    fn require(&self, id: i32, default: i64, allowed: &[i64], what: &str) -> Result<()> {
        let value = self.integer(id, default)?;
        if allowed.contains(&value) {
            return Ok(());
        }
        Err(damaged(format!("{what} {value} is not read; known networks have {allowed:?}")))
    }
}

/// The tensors read so far.
struct Network<'a> {
    weights: Weights<'a>,
    /// Whether it is an RRDBNet.
    joins: bool,
    /// Of its next convolutions.
    names: std::vec::IntoIter<String>,
    /// Place of the next convolution or activation in `body`.
    index: usize,
    tensors: BTreeMap<String, Tensor>,
    /// Bytes of the whole .bin.
    bin: usize,
}

impl Network<'_> {
    fn add(&mut self, layer: &Layer<'_>, budget: &mut Budget) -> Result<()> {
        match layer.kind {
            "Convolution" => self.convolution(layer, budget),
            "PReLU" => self.prelu(layer, budget),
            "ReLU" => {
                self.index += 1;
                Ok(())
            }
            "Input" | "Split" | "Interp" | "PixelShuffle" | "BinaryOp" => Ok(()),
            "Concat" | "Eltwise" if self.joins => Ok(()),
            other => {
                let other = shown(other);
                Err(damaged(format!("layers of kind {other} are not read; only Compact networks and RRDBNets are")))
            }
        }
    }

    /// Weights are stored as in PyTorch: output, input, row, column.
    fn convolution(&mut self, layer: &Layer<'_>, budget: &mut Budget) -> Result<()> {
        let outputs = layer.size(0, 0)?;
        let width = layer.size(1, 0)?;
        let height = layer.size(11, i64::try_from(width).unwrap_or(i64::MAX))?;
        let count = layer.size(6, 0)?;
        let padding = i64::try_from(width / 2).unwrap_or(i64::MAX);
        layer.require(2, 1, &[1], "dilation")?;
        layer.require(3, 1, &[1], "stride")?;
        layer.require(4, 0, &[padding, -233, -234], "padding")?;
        layer.require(8, 0, &[0], "8-bit scaling")?;
        layer.require(9, 0, &[0, 1, 2], "activation")?;
        let per_input = outputs.checked_mul(width).and_then(|n| n.checked_mul(height)).filter(|&n| n > 0);
        let inputs = per_input
            .filter(|&n| count > 0 && count.is_multiple_of(n))
            .map(|n| count / n)
            .ok_or_else(|| damaged(format!("{count} weights do not make {outputs} kernels of {height} x {width}")))?;
        let place = self.names.next().unwrap_or_else(|| self.place());
        let (bytes, stored) = self.weights.tagged(count)?;
        self.insert(&format!("{place}.weight"), vec![outputs, inputs, height, width], stored, bytes, budget)?;
        if layer.integer(5, 0)? != 0 {
            let bytes = self.weights.take(outputs, DType::F32.size())?;
            self.insert(&format!("{place}.bias"), vec![outputs], DType::F32, bytes, budget)?;
        }
        // An activation that was merged into the convolution has a place of its own in PyTorch.
        self.index += if layer.integer(9, 0)? == 0 { 1 } else { 2 };
        Ok(())
    }

    fn prelu(&mut self, layer: &Layer<'_>, budget: &mut Budget) -> Result<()> {
        let slopes = layer.size(0, 0)?;
        let bytes = self.weights.take(slopes, DType::F32.size())?;
        self.insert(&format!("{}.weight", self.place()), vec![slopes], DType::F32, bytes, budget)?;
        self.index += 1;
        Ok(())
    }

    /// What the next convolution or activation of a Compact network is called.
    fn place(&self) -> String {
        format!("body.{}", self.index)
    }

    fn insert(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        stored: DType,
        bytes: &[u8],
        budget: &mut Budget,
    ) -> Result<()> {
        let layout = Layout::contiguous(shape)?;
        budget.take(layout.count())?;
        if self.tensors.len() >= MAX_TENSORS {
            return Err(damaged(format!("there are more than {MAX_TENSORS} tensors")));
        }
        let values = gather(&layout, stored, ByteOrder::Little, bytes)?;
        let tensor = Tensor { shape: layout.into_shape(), stored, values };
        self.tensors.insert(name.to_owned(), tensor);
        Ok(())
    }
}

/// What is left of the .bin.
struct Weights<'a> {
    rest: &'a [u8],
}

impl<'a> Weights<'a> {
    /// The bytes of `count` values of `size` bytes, raw.
    fn take(&mut self, count: usize, size: usize) -> Result<&'a [u8]> {
        let taken = count.checked_mul(size).and_then(|bytes| self.rest.split_at_checked(bytes));
        let (bytes, rest) = taken.ok_or_else(|| {
            damaged(format!(
                "{count} values of {size} bytes are wanted where the .bin has {} bytes left",
                self.rest.len()
            ))
        })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The bytes of `count` values after a tag that tells their type; fp16 fills up to a multiple of four bytes.
    fn tagged(&mut self, count: usize) -> Result<(&'a [u8], DType)> {
        let tag = self.take(4, 1)?.try_into().map(u32::from_le_bytes).unwrap_or_default();
        match tag {
            0 | TAG_SINGLE => Ok((self.take(count, 4)?, DType::F32)),
            TAG_HALF => {
                let bytes = self.take(count, 2)?;
                self.take(count % 2, 2)?;
                Ok((bytes, DType::F16))
            }
            TAG_INT8 => Err(damaged("its weights are 8-bit integers, which are not read")),
            _ => Err(damaged(format!("its weights begin with {tag:#010x}, which stands for no type that is read"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAM: &str = "7767517\n4 4\nInput in 0 1 data\nConvolution c 1 1 data a 0=1 1=1 4=0 5=1 6=3\n\
                         PReLU p 1 1 a b 0=1\nPixelShuffle s 1 1 b out 0=1\n";

    fn bin(tag: u32, weights: &[u8]) -> Vec<u8> {
        [&tag.to_le_bytes(), weights, &0.5_f32.to_le_bytes(), &0.25_f32.to_le_bytes()].concat()
    }

    fn refusal(param: &str, bin: &[u8]) -> String {
        format!("{:?}", read(param.as_bytes(), bin).expect_err("refused"))
    }

    #[test]
    fn both_types_of_weights_are_read() {
        let half: Vec<u8> = [1.0, 2.0, 3.0, 0.0].iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
        let single: Vec<u8> = [1.0_f32, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        for (tag, weights, stored) in
            [(TAG_HALF, &half, DType::F16), (0, &single, DType::F32), (TAG_SINGLE, &single, DType::F32)]
        {
            let tensors = read(PARAM.as_bytes(), &bin(tag, weights)).expect("network");
            let want = Tensor { shape: vec![1, 3, 1, 1], stored, values: vec![1.0, 2.0, 3.0] };
            assert_eq!(tensors["body.0.weight"], want, "tag {tag:#x}");
            assert_eq!(tensors["body.0.bias"].values, [0.5], "bias, tag {tag:#x}");
            assert_eq!(tensors["body.1.weight"].values, [0.25], "slope, tag {tag:#x}");
        }
    }

    #[test]
    fn merged_activations_keep_their_place() {
        let merged = PARAM.replace("6=3", "6=3 9=1");
        let tensors = read(merged.as_bytes(), &bin(0, &[0; 12])).expect("network");
        assert!(tensors.contains_key("body.2.weight"), "{:?}", tensors.keys());
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let whole = bin(0, &[0; 12]);
        let cases = [
            (PARAM.replace("PixelShuffle", "Deconvolution"), &whole[..], "Deconvolution"),
            (PARAM.replace("6=3", "6=3 3=2"), &whole, "stride 2"),
            (PARAM.replace("0=1 1=1", "0=2 1=1"), &whole, "3 weights do not make 2 kernels"),
            (PARAM.replace("0=1 1=1", "0=-1 1=1"), &whole, "not a size"),
            (PARAM.replace("6=3", "6=9223372036854775807"), &whole, "are wanted where the .bin has"),
            (PARAM.replace("4 4", "5 4"), &whole, "lists 4 layers"),
            (PARAM.replace("7767517", "7767516"), &whole, "7767517"),
            (PARAM.replace("PReLU p 1 1", "PReLU p 1 x"), &whole, "malformed"),
            (PARAM.replace("0=1\n", "0=1 =\n"), &whole, "malformed"),
            (PARAM.to_owned(), &whole[..20], "layer 'p'"),
            (PARAM.to_owned(), &[whole.as_slice(), &[0; 4]].concat(), "more than the layers use"),
        ];
        for (param, bin, word) in cases {
            assert!(refusal(&param, bin).contains(word), "{}", refusal(&param, bin));
        }
        assert!(refusal(PARAM, &bin(TAG_INT8, &[0; 12])).contains("8-bit"), "int8");
        assert!(refusal(PARAM, &bin(77, &[0; 12])).contains("0x0000004d"), "unknown tag");
    }
}
