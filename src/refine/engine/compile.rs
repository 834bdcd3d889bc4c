//! From operations to steps: what follows a convolution and nobody else needs becomes part of it, joined channels are read where
//! they are, and the end of a network is written straight into the result.

use rayon::prelude::*;

use super::super::network::{Border, Convolution, Network, Op, Value};
use crate::kernels::CpuLevel;
use crate::kernels::convolution::{Activation, Each, Kernel, Layer, Program, StepId};

/// Residuals that are added at the end of a convolution, at most.
const MOST_RESIDUALS: usize = 2;

/// A convolution and what is fused with it.
struct Chain<'a> {
    convolution: &'a Convolution,
    /// What it takes.
    from: Value,
    activation: Activation,
    /// Factors of what came before, and values that are added.
    residuals: Vec<(f32, Value)>,
    /// The last operation that is part of it.
    end: usize,
    /// The others.
    nodes: Vec<usize>,
}

/// How a network ends.
struct End {
    /// What is written.
    value: Value,
    shuffle: usize,
    base: bool,
    /// Operations that are part of it.
    nodes: Vec<usize>,
}

/// The steps of a network; products of `bf16` if `half`.
pub(super) fn compile(network: &Network, half: bool, cpu: CpuLevel) -> Program {
    let nodes = &network.nodes;
    let users = users(network);
    let end = end(network, &users);
    let mut is_part = vec![false; nodes.len()];
    end.nodes.iter().for_each(|&node| is_part[node] = true);
    let mut chains: Vec<Chain<'_>> = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        if let Op::Convolve(convolution) = &node.op
            && (!users[n + 1].is_empty() || n + 1 == end.value)
        {
            let chain = chain(network, &users, &is_part, convolution, n, end.value);
            chain.nodes.iter().for_each(|&node| is_part[node] = true);
            chains.push(chain);
        }
    }
    let mut steps = Steps::new(network, Program::new(cpu, half, network.input.channels()));
    let pack = |chain: &Chain<'_>| steps.program.layer(&chain.kernel(), &steps.taken(chain.from));
    let layers: Vec<Layer> = chains.par_iter().map(pack).collect();
    let mut packed: Vec<Option<(Chain<'_>, Layer)>> = (0..nodes.len()).map(|_| None).collect();
    for (chain, layer) in chains.into_iter().zip(layers) {
        let at = chain.end;
        packed[at] = Some((chain, layer));
    }
    for n in 0..nodes.len() {
        let is_used = !users[n + 1].is_empty() || n + 1 == end.value;
        match packed[n].take() {
            Some((chain, layer)) => steps.convolve(&chain, layer),
            None if !is_part[n] && is_used => steps.plain(n),
            None => {}
        }
    }
    let value = steps.single(end.value);
    steps.program.output(value, end.shuffle, end.base);
    steps.program
}

/// The operations that take each value, among those that the result needs.
fn users(network: &Network) -> Vec<Vec<usize>> {
    let mut users = vec![Vec::new(); network.nodes.len() + 1];
    let last = network.nodes.len();
    for (n, node) in network.nodes.iter().enumerate().rev() {
        if n + 1 == last || !users[n + 1].is_empty() {
            node.takes.iter().for_each(|&value| users[value].push(n));
        }
    }
    users
}

/// Finds shuffles and repeated inputs at the end.
fn end(network: &Network, users: &[Vec<usize>]) -> End {
    let last = network.nodes.len();
    let mut end = End { value: last, shuffle: 1, base: false, nodes: Vec::new() };
    let made_by = |value: Value| value.checked_sub(1).map(|n| (n, &network.nodes[n]));
    if let Some((n, node)) = made_by(last)
        && node.op == Op::Add(1.0)
        && let Some((repeat, repeated)) = made_by(node.takes[1])
        && let Op::Repeat(factor) = repeated.op
        && repeated.takes[0] == 0
        && users[repeat + 1].len() == 1
    {
        let shuffled = made_by(node.takes[0]).filter(|(m, _)| users[m + 1].len() == 1);
        match shuffled {
            Some((m, inner)) if inner.op == Op::Shuffle(factor) => {
                end = End { value: inner.takes[0], shuffle: factor, base: true, nodes: vec![n, repeat, m] };
            }
            _ if factor == 1 => end = End { value: node.takes[0], shuffle: 1, base: true, nodes: vec![n, repeat] },
            _ => {}
        }
    } else if let Some((n, node)) = made_by(last)
        && let Op::Shuffle(factor) = node.op
    {
        end = End { value: node.takes[0], shuffle: factor, base: false, nodes: vec![n] };
    }
    end
}

/// What can be fused with the convolution of node `n`.
fn chain<'a>(
    network: &'a Network,
    users: &[Vec<usize>],
    is_part: &[bool],
    convolution: &'a Convolution,
    n: usize,
    result: Value,
) -> Chain<'a> {
    let from = network.nodes[n].takes[0];
    let mut chain =
        Chain { convolution, from, activation: Activation::None, residuals: Vec::new(), end: n, nodes: Vec::new() };
    loop {
        let value = chain.end + 1;
        let &[user] = users[value].as_slice() else { return chain };
        if is_part[user] || value == result {
            return chain;
        }
        let node = &network.nodes[user];
        let is_bare = chain.activation == Activation::None && chain.residuals.is_empty();
        match &node.op {
            Op::Slopes(slopes) if is_bare => chain.activation = Activation::Slopes(slopes.clone()),
            Op::Leaky(slope) if is_bare => chain.activation = Activation::Slopes(vec![*slope; convolution.outputs]),
            Op::Relu if is_bare => chain.activation = Activation::Relu,
            Op::Add(factor) if chain.residuals.len() < MOST_RESIDUALS => match node.takes[..] {
                // The other value has to be there before; of two convolutions the later one takes the sum.
                [own, other] if own == value && other < value => chain.residuals.push((*factor, other)),
                [other, own] if own == value && other < value && *factor == 1.0 => chain.residuals.push((1.0, other)),
                _ => return chain,
            },
            _ => return chain,
        }
        chain.nodes.push(chain.end);
        chain.end = user;
    }
}

impl Chain<'_> {
    fn kernel(&self) -> Kernel<'_> {
        Kernel {
            sides: self.convolution.kernel,
            weights: &self.convolution.weights,
            bias: &self.convolution.bias,
            outputs: self.convolution.outputs,
            repeated: self.convolution.border == Border::Repeated,
            activation: self.activation.clone(),
            factors: self.residuals.iter().map(|(factor, _)| *factor).collect(),
        }
    }
}

/// A program in the making.
struct Steps<'a> {
    network: &'a Network,
    program: Program,
    /// The step that makes each value.
    made: Vec<Option<StepId>>,
    /// Channels of each value.
    channels: Vec<usize>,
}

impl<'a> Steps<'a> {
    fn new(network: &'a Network, program: Program) -> Self {
        let mut channels = vec![network.input.channels()];
        for node in &network.nodes {
            let from = channels[node.takes[0]];
            channels.push(match &node.op {
                Op::Convolve(convolution) => convolution.outputs,
                Op::Concat => node.takes.iter().map(|&value| channels[value]).sum(),
                Op::Shuffle(r) => from / (r * r),
                Op::Unshuffle(r) => from * r * r,
                _ => from,
            });
        }
        Self { network, program, made: vec![None; network.nodes.len() + 1], channels }
    }

    /// The values whose channels, one after the other, are those of `value`.
    fn parts(&self, value: Value) -> Vec<Value> {
        match value.checked_sub(1).map(|n| &self.network.nodes[n]) {
            Some(node) if node.op == Op::Concat => node.takes.iter().flat_map(|&value| self.parts(value)).collect(),
            _ => vec![value],
        }
    }

    /// Channels of the parts of a value.
    fn taken(&self, value: Value) -> Vec<usize> {
        self.parts(value).iter().map(|&part| self.channels[part]).collect()
    }

    /// The step that makes a value; the input and joined channels are made when they are first asked for.
    fn single(&mut self, value: Value) -> StepId {
        if let Some(step) = self.made[value] {
            return step;
        }
        let step = if value == 0 {
            self.program.input()
        } else {
            let parts: Vec<StepId> = self.parts(value).into_iter().map(|part| self.single(part)).collect();
            self.program.concat(&parts)
        };
        self.made[value] = Some(step);
        step
    }

    fn convolve(&mut self, chain: &Chain<'_>, layer: Layer) {
        let sources: Vec<StepId> = self.parts(chain.from).into_iter().map(|part| self.single(part)).collect();
        let residuals: Vec<StepId> = chain.residuals.iter().map(|(_, value)| self.single(*value)).collect();
        self.made[chain.end + 1] = Some(self.program.convolve(layer, &sources, &residuals));
    }

    /// An operation that is a step of its own.
    fn plain(&mut self, n: usize) {
        let node = &self.network.nodes[n];
        if node.op == Op::Concat {
            return;
        }
        let takes: Vec<StepId> = node.takes.iter().map(|&value| self.single(value)).collect();
        let first = takes[0];
        let program = &mut self.program;
        let step = match &node.op {
            Op::Convolve(_) | Op::Concat => unreachable!("these were dealt with"),
            Op::Slopes(slopes) => program.each(Each::Slopes(slopes.clone()), first),
            Op::Leaky(slope) => program.each(Each::Slopes(vec![*slope; self.channels[n + 1]]), first),
            Op::Relu => program.each(Each::Relu, first),
            Op::Tanh => program.each(Each::Tanh, first),
            Op::Sigmoid => program.each(Each::Sigmoid, first),
            Op::Scale { factor, offset } => program.each(Each::Scale { factor: *factor, offset: *offset }, first),
            Op::Mean => program.mean(first),
            Op::Multiply => program.multiply(first, takes[1]),
            Op::Add(factor) => program.add(*factor, first, takes[1]),
            Op::Repeat(r) => program.repeat(*r, first),
            Op::Bilinear(r) => program.bilinear(*r, first),
            Op::Shuffle(r) => program.shuffle(*r, first),
            Op::Unshuffle(r) => program.unshuffle(*r, first),
            Op::Pool(r) => program.pool(*r, first),
        };
        self.made[n + 1] = Some(step);
    }
}
