//! What is to be computed: steps, each of which makes one picture from earlier ones.
//!
//! Sizes are not known yet; `plan` lays the steps out for a size, `job` runs them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::isa::Isa;
use super::product::BLOCK;
use super::unit::ROWS;
use super::weights::{Kernel, Layer, Way};
use crate::kernels::CpuLevel;

/// A step, and the picture that it makes.
pub(crate) type StepId = usize;

/// A function of single numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Each {
    /// Negative values times a slope, one for each channel.
    Slopes(Vec<f32>),
    /// No negative values.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `factor * x + offset`.
    Scale {
        /// See above.
        factor: f32,
        /// See above.
        offset: f32,
    },
}

/// What a step does.
pub(super) enum Action {
    /// Takes the input.
    Input,
    /// Of all pictures but the residuals, which come last.
    Convolve(Box<Layer>),
    Each(Each),
    /// First picture times the factor, and the second.
    Add(f32),
    /// The first picture times the second, of one pixel.
    Multiply,
    Concat,
    Repeat(usize),
    Bilinear(usize),
    Shuffle(usize),
    Unshuffle(usize),
    /// The largest of each block of so many rows and columns.
    Pool(usize),
    Mean,
    /// Writes the result, shuffled by a factor, perhaps with the repeated input added.
    Output {
        shuffle: usize,
        base: bool,
    },
}

/// Which rows of a picture a group of rows needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The same, and so many around them.
    Around(usize),
    /// Row `y / r` for row `y`.
    Over(usize),
    /// The two rows that row `y` of a picture so many times as large lies between.
    Between(usize),
    /// Rows from `y * r` for row `y`.
    Times(usize),
    All,
}

impl Reading {
    /// Groups of rows, first and last, that group `group` of the reader needs of a picture with so many groups.
    pub(super) fn groups(self, group: usize, groups: usize) -> (usize, usize) {
        let (first, last) = (group * ROWS, group * ROWS + ROWS - 1);
        let (first, last) = match self {
            Self::Around(reach) => (first.saturating_sub(reach), last + reach),
            Self::Over(r) => (first / r, last / r),
            Self::Between(r) => (between(first, r).0, between(last, r).0 + 1),
            Self::Times(r) => (first * r, last * r + r - 1),
            Self::All => (0, usize::MAX - 1),
        };
        (first / ROWS, (last / ROWS).min(groups - 1))
    }
}

/// Where the middle of pixel `at` lies along an axis before it is enlarged by `r`: the pixel at or before it, not before the
/// first one, and the share of the next pixel.
pub(super) fn between(at: usize, r: usize) -> (usize, f32) {
    // Whole numbers, in parts of half a pixel of the result, so no CPU can round it to another row.
    let parts = (2 * at + 1).saturating_sub(r);
    (parts / (2 * r), (parts % (2 * r)) as f32 / (2 * r) as f32)
}

pub(super) struct Step {
    pub(super) action: Action,
    pub(super) takes: Vec<StepId>,
    /// Of the picture it makes.
    pub(super) channels: usize,
}

impl Step {
    pub(super) fn blocks(&self) -> usize {
        self.channels.div_ceil(BLOCK)
    }

    pub(super) fn layer(&self) -> Option<&Layer> {
        if let Action::Convolve(layer) = &self.action { Some(layer) } else { None }
    }

    /// Pictures that are convolved, if they are; the others are residuals.
    pub(super) fn sources(&self) -> usize {
        self.takes.len() - self.layer().map_or(0, |layer| layer.finish.residuals)
    }

    /// What it reads of its picture `n`.
    pub(super) fn reading(&self, n: usize) -> Reading {
        match &self.action {
            Action::Convolve(layer) if n < self.sources() => match layer.way {
                Way::Tiles { .. } => Reading::Around(1),
                Way::Direct { reach, .. } => Reading::Around(reach.0),
            },
            Action::Repeat(r) | Action::Shuffle(r) => Reading::Over(*r),
            Action::Bilinear(r) => Reading::Between(*r),
            Action::Unshuffle(r) | Action::Pool(r) => Reading::Times(*r),
            Action::Mean => Reading::All,
            Action::Multiply if n == 1 => Reading::All,
            _ => Reading::Around(0),
        }
    }

    /// Rows and columns of what it makes of pictures of such sizes.
    pub(super) fn size(&self, taken: &[(usize, usize)], input: (usize, usize)) -> (usize, usize) {
        let (rows, columns) = taken.first().copied().unwrap_or(input);
        let same = |sizes: &[(usize, usize)]| {
            assert!(sizes.iter().all(|size| *size == (rows, columns)), "pictures of one size are wanted: {sizes:?}");
        };
        match self.action {
            Action::Repeat(r) | Action::Bilinear(r) | Action::Shuffle(r) => (rows * r, columns * r),
            Action::Unshuffle(r) | Action::Pool(r) => (rows / r, columns / r),
            Action::Mean => (1, 1),
            Action::Multiply => {
                assert_eq!(taken[1], (1, 1), "the second picture has one pixel");
                (rows, columns)
            }
            _ => {
                same(taken);
                (rows, columns)
            }
        }
    }
}

/// Steps in an order in which they can be taken. The last one writes the result.
pub(crate) struct Program {
    /// No other program has it.
    pub(super) id: u64,
    pub(super) steps: Vec<Step>,
    isa: Isa,
    half: bool,
    /// Of the input.
    pub(super) channels: usize,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("steps", &self.steps.len()).field("isa", &self.isa).finish_non_exhaustive()
    }
}

impl Program {
    /// Without steps, for an input of so many channels. With `half`, products are of `bf16` where the CPU has them.
    pub(crate) fn new(cpu: CpuLevel, half: bool, channels: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, steps: Vec::new(), isa: Isa::of(cpu), half, channels }
    }

    /// Packs a convolution of pictures of so many channels.
    pub(crate) fn layer(&self, kernel: &Kernel<'_>, taken: &[usize]) -> Layer {
        Layer::new(kernel, taken, self.isa, self.half)
    }

    /// Channels of a picture.
    pub(crate) fn channels(&self, step: StepId) -> usize {
        self.steps[step].channels
    }

    /// Channels of the result.
    pub(crate) fn outputs(&self) -> usize {
        self.steps.last().map_or(0, |step| step.channels)
    }

    /// Bytes of all weights.
    pub(crate) fn weights(&self) -> usize {
        self.steps.iter().filter_map(Step::layer).map(Layer::bytes).sum()
    }

    /// The input as a picture.
    pub(crate) fn input(&mut self) -> StepId {
        self.push(Action::Input, &[], self.channels)
    }

    /// A convolution of `sources`, one after the other, with the residuals of the layer.
    pub(crate) fn convolve(&mut self, layer: Layer, sources: &[StepId], residuals: &[StepId]) -> StepId {
        let taken: Vec<usize> = sources.iter().map(|&step| self.channels(step)).collect();
        assert_eq!(layer.taken, taken, "channels that a convolution takes");
        assert_eq!(layer.finish.residuals, residuals.len(), "residuals of a convolution");
        let channels = layer.outputs;
        assert!(residuals.iter().all(|&step| self.channels(step) == channels), "channels of residuals");
        let takes: Vec<StepId> = sources.iter().chain(residuals).copied().collect();
        self.push(Action::Convolve(Box::new(layer)), &takes, channels)
    }

    /// A function of all numbers.
    pub(crate) fn each(&mut self, each: Each, of: StepId) -> StepId {
        let channels = self.channels(of);
        if let Each::Slopes(slopes) = &each {
            assert_eq!(slopes.len(), channels, "slopes");
        }
        self.push(Action::Each(each), &[of], channels)
    }

    /// `factor * a + b`.
    pub(crate) fn add(&mut self, factor: f32, a: StepId, b: StepId) -> StepId {
        assert_eq!(self.channels(a), self.channels(b), "channels of what is added");
        self.push(Action::Add(factor), &[a, b], self.channels(a))
    }

    /// `a * b`, where `b` has one pixel.
    pub(crate) fn multiply(&mut self, a: StepId, b: StepId) -> StepId {
        assert_eq!(self.channels(a), self.channels(b), "channels of what is multiplied");
        self.push(Action::Multiply, &[a, b], self.channels(a))
    }

    /// The channels of all.
    pub(crate) fn concat(&mut self, all: &[StepId]) -> StepId {
        let channels = all.iter().map(|&step| self.channels(step)).sum();
        self.push(Action::Concat, all, channels)
    }

    /// Every pixel `r x r` times.
    pub(crate) fn repeat(&mut self, r: usize, of: StepId) -> StepId {
        assert!(r > 0, "a factor");
        self.push(Action::Repeat(r), &[of], self.channels(of))
    }

    /// The largest of each block of `r x r` pixels.
    pub(crate) fn pool(&mut self, r: usize, of: StepId) -> StepId {
        assert!(r > 0, "a factor");
        self.push(Action::Pool(r), &[of], self.channels(of))
    }

    /// Enlarged `r` times along both axes by linear interpolation.
    pub(crate) fn bilinear(&mut self, r: usize, of: StepId) -> StepId {
        assert!(r > 0, "a factor");
        self.push(Action::Bilinear(r), &[of], self.channels(of))
    }

    /// Channels into blocks of `r x r` pixels.
    pub(crate) fn shuffle(&mut self, r: usize, of: StepId) -> StepId {
        let channels = self.channels(of);
        assert!(r > 0 && channels.is_multiple_of(r * r), "channels to be shuffled");
        self.push(Action::Shuffle(r), &[of], channels / (r * r))
    }

    /// The inverse of it.
    pub(crate) fn unshuffle(&mut self, r: usize, of: StepId) -> StepId {
        assert!(r > 0, "a factor");
        self.push(Action::Unshuffle(r), &[of], self.channels(of) * r * r)
    }

    /// The mean of each channel.
    pub(crate) fn mean(&mut self, of: StepId) -> StepId {
        self.push(Action::Mean, &[of], self.channels(of))
    }

    /// Writes the result: a picture, shuffled by `shuffle`, and the input repeated as often if `base` says so.
    pub(crate) fn output(&mut self, of: StepId, shuffle: usize, base: bool) {
        let channels = self.channels(of);
        assert!(shuffle > 0 && channels.is_multiple_of(shuffle * shuffle), "channels to be shuffled");
        assert!(!base || channels / (shuffle * shuffle) == self.channels, "channels of the input and the result");
        self.push(Action::Output { shuffle, base }, &[of], channels / (shuffle * shuffle));
    }

    fn push(&mut self, action: Action, takes: &[StepId], channels: usize) -> StepId {
        let last = self.steps.last();
        assert!(last.is_none_or(|step| !matches!(step.action, Action::Output { .. })), "nothing follows the output");
        assert!(takes.iter().all(|&step| step < self.steps.len()), "only earlier pictures are taken");
        self.steps.push(Step { action, takes: takes.to_vec(), channels });
        self.steps.len() - 1
    }
}
