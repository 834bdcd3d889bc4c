//! A convolution as the kernels take it: weights in the order in which they are used, and what happens to the sums.

use super::isa::Isa;
use super::memory::Arena;
use super::product::{BLOCK, Group, Step, tile_pixels};
use super::transform::PLACES;

/// Pixels along an axis that a unit of direct convolution makes, at most.
pub(super) const DIRECT_PIXELS: usize = 48;
/// Tiles of a unit. Weights stream from the cache once for each, and what a unit makes of 64 channels still fits into L2; half as
/// many are 2 to 8 % slower, 40 are 15 % slower with the 192 channels of a dense block.
const TILES: usize = 24;
/// Below this many channels the transforms of a tile cost more than they save.
const FEW_CHANNELS: usize = 4;

/// What is done to a sum after the bias is added.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Activation {
    /// Nothing.
    None,
    /// No negative values.
    Relu,
    /// Negative values times a slope, one for each channel.
    Slopes(Vec<f32>),
}

/// A convolution with stride 1, and what is fused with it.
#[derive(Debug, Clone)]
pub(crate) struct Kernel<'a> {
    /// Rows and columns, both odd.
    pub(crate) sides: (usize, usize),
    /// Output channel, input channel, row, column.
    pub(crate) weights: &'a [f32],
    /// One for each output channel, or none.
    pub(crate) bias: &'a [f32],
    /// Output channels.
    pub(crate) outputs: usize,
    /// Whether the nearest pixel lies outside, not zeros.
    pub(crate) repeated: bool,
    /// After the bias.
    pub(crate) activation: Activation,
    /// Then times each of these, and the next residual is added.
    pub(crate) factors: Vec<f32>,
}

/// What is done to the sums; vectors have whole blocks.
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) bias: Vec<f32>,
    pub(super) slopes: Vec<f32>,
    pub(super) activation: u8,
    pub(super) factors: [f32; 2],
    pub(super) residuals: usize,
}

/// [`Finish::activation`] of none.
pub(super) const NONE: u8 = 0;
/// See above.
pub(super) const RELU: u8 = 1;
/// See above.
pub(super) const SLOPES: u8 = 2;

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By Winograd's transform.
    Tiles {
        /// Tiles of a unit at most.
        most: usize,
    },
    /// As its definition says.
    Direct {
        /// Rows and columns around a pixel.
        reach: (usize, usize),
        /// See [`Kernel::repeated`].
        repeated: bool,
    },
}

/// A convolution ready to run.
pub(crate) struct Layer {
    /// Channels of the pictures taken.
    pub(super) taken: Vec<usize>,
    /// Channels made.
    pub(super) outputs: usize,
    pub(super) isa: Isa,
    pub(super) way: Way,
    /// Blocks taken and made.
    pub(super) blocks: (usize, usize),
    pub(super) steps: Vec<Step>,
    pub(super) groups: Vec<Group>,
    pub(super) weights: Arena,
    /// Numbers of the weights of one place.
    pub(super) weights_place: usize,
    /// Numbers from a block of pixels to the next, and from a place (a row, if direct) to the next.
    pub(super) from: (usize, usize),
    /// The same of sums.
    pub(super) sums: (usize, usize),
    pub(super) finish: Finish,
}

impl Layer {
    /// Packs a kernel that takes pictures of so many channels, one after the other; products in `bf16` if wanted and there.
    pub(super) fn new(kernel: &Kernel<'_>, taken: &[usize], isa: Isa, half: bool) -> Self {
        let counts: Vec<usize> = taken.iter().flat_map(|&channels| blocks_of(channels)).collect();
        let inputs: usize = taken.iter().sum();
        let (rows, columns) = kernel.sides;
        assert!(rows % 2 == 1 && columns % 2 == 1, "sides of a kernel are odd");
        assert_eq!(kernel.weights.len(), kernel.outputs * inputs * rows * columns, "weights of a convolution");
        let is_small = kernel.sides == (3, 3) && !kernel.repeated;
        let made = kernel.outputs.div_ceil(BLOCK);
        let mut layer = Self {
            taken: taken.to_vec(),
            outputs: kernel.outputs,
            isa,
            way: Way::Direct { reach: (rows / 2, columns / 2), repeated: kernel.repeated },
            blocks: (counts.len(), made),
            steps: Vec::new(),
            groups: Vec::new(),
            weights: Arena::new(0),
            weights_place: 0,
            from: (0, 0),
            sums: (0, 0),
            finish: finish(kernel),
        };
        if is_small && inputs > FEW_CHANNELS {
            layer.way = Way::Tiles { most: TILES };
            layer.isa = isa.halved().filter(|_| half).unwrap_or(isa);
            layer.pack_tiles(kernel, &counts, TILES);
        } else {
            layer.pack_direct(kernel, &counts);
        }
        layer
    }

    /// Numbers of scratch memory that a unit needs: pixels, then sums.
    pub(super) fn scratch(&self) -> (usize, usize) {
        let places = if let Way::Direct { reach, .. } = self.way { 4 + 2 * reach.0 } else { PLACES };
        let pixels = match self.way {
            Way::Tiles { .. } => places * self.from.1,
            Way::Direct { .. } => self.blocks.0 * self.from.0,
        };
        (pixels + 64, places.max(4) * self.sums.1 + 64)
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        4 * self.weights.floats()
    }

    fn pack_tiles(&mut self, kernel: &Kernel<'_>, counts: &[usize], most: usize) {
        let block = most * BLOCK;
        // Not a multiple of 4 KiB, or the places of a tile would share a few lines of the cache.
        self.from = (block, counts.len() * block + BLOCK);
        self.sums = (block, self.blocks.1 * block + BLOCK);
        let offset = |n: usize| n * block;
        self.steps = counts.iter().enumerate().map(|(n, &count)| Step { offset: offset(n), count }).collect();
        let inputs: usize = counts.iter().sum();
        let all = kernel.outputs * inputs;
        let mut places = vec![0f32; PLACES * all];
        for (n, weights) in kernel.weights.chunks_exact(9).enumerate() {
            let transformed = super::transform::kernel(weights);
            transformed.iter().enumerate().for_each(|(place, value)| places[place * all + n] = *value as f32);
        }
        let at = |place: usize, output: usize, input: usize| places[place * all + output * inputs + input];
        self.pack(kernel.outputs, PLACES, at);
    }

    fn pack_direct(&mut self, kernel: &Kernel<'_>, counts: &[usize]) {
        let (rows, columns) = kernel.sides;
        let row = (DIRECT_PIXELS + columns - 1) * BLOCK;
        self.from = (row * (4 + rows - 1), row);
        self.sums = (DIRECT_PIXELS * BLOCK, self.blocks.1 * DIRECT_PIXELS * BLOCK + BLOCK);
        let mut names = Vec::new();
        let mut first = 0;
        for (block, &count) in counts.iter().enumerate() {
            for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                self.steps.push(Step { offset: block * self.from.0 + y * row + x * BLOCK, count });
                names.extend((first..first + count).map(|input| (input * rows + y) * columns + x));
            }
            first += count;
        }
        let each = first * rows * columns;
        self.pack(kernel.outputs, 1, |_, output, n| kernel.weights[output * each + names[n]]);
    }

    /// Weights of `at(place, output, n)`, where `n` counts all channels of all steps.
    fn pack(&mut self, outputs: usize, places: usize, at: impl Fn(usize, usize, usize) -> f32) {
        let lines = lines(&self.steps, self.is_half());
        self.groups = groups(self.blocks.1, self.isa.vector(), lines.len());
        self.weights_place = self.blocks.1 * BLOCK * lines.len();
        let mut values = vec![0f32; places * self.weights_place];
        for (place, values) in values.chunks_exact_mut(self.weights_place.max(1)).enumerate() {
            for group in &self.groups {
                let (width, first) = (group.blocks * BLOCK, group.first * BLOCK);
                for (to, line) in values[group.weights..].chunks_exact_mut(width).zip(&lines) {
                    for (to, output) in to.iter_mut().zip(first..outputs) {
                        *to = match *line {
                            Line::Single(n) => at(place, output, n),
                            Line::Pair(n) => pair(at(place, output, n), at(place, output, n + 1)),
                            Line::Half(n) => pair(at(place, output, n), 0.0),
                        };
                    }
                }
            }
        }
        self.weights = Arena::of(&values);
    }

    fn is_half(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.isa == Isa::Avx512Half;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }
}

/// What a line of weights is for.
enum Line {
    /// One channel.
    Single(usize),
    /// Two, in `bf16`.
    Pair(usize),
    /// One that has no second.
    Half(usize),
}

/// The lines of the weights of one place.
fn lines(steps: &[Step], halved: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut first = 0;
    for step in steps {
        let end = first + step.count;
        if halved {
            lines.extend((first..end).step_by(2).map(|n| if n + 1 < end { Line::Pair(n) } else { Line::Half(n) }));
        } else {
            lines.extend((first..end).map(Line::Single));
        }
        first = end;
    }
    lines
}

/// Channels of the blocks of a picture.
pub(super) fn blocks_of(channels: usize) -> impl Iterator<Item = usize> {
    (0..channels.div_ceil(BLOCK)).map(move |block| (channels - block * BLOCK).min(BLOCK))
}

/// Output blocks in near-equal groups of at most four, or one by one where vectors are short.
fn groups(blocks: usize, vector: usize, lines: usize) -> Vec<Group> {
    let most = if vector == BLOCK { 4 } else { 1 };
    let mut groups = Vec::new();
    let mut first = 0;
    while first < blocks {
        let left = blocks - first;
        let taken = left.div_ceil(left.div_ceil(most));
        groups.push(Group { first, blocks: taken, weights: first * BLOCK * lines });
        first += taken;
    }
    debug_assert!(groups.iter().all(|group| tile_pixels(vector, group.blocks) > 0));
    groups
}

fn finish(kernel: &Kernel<'_>) -> Finish {
    let whole = |values: &[f32]| {
        let mut values = values.to_vec();
        assert!(values.is_empty() || values.len() == kernel.outputs, "one number for each channel");
        values.resize(kernel.outputs.next_multiple_of(BLOCK), 0.0);
        values
    };
    let (activation, slopes) = match &kernel.activation {
        Activation::None => (NONE, whole(&[])),
        Activation::Relu => (RELU, whole(&[])),
        Activation::Slopes(slopes) => (SLOPES, whole(slopes)),
    };
    assert!(kernel.factors.len() <= 2, "at most two residuals");
    let mut factors = [0.0; 2];
    factors[..kernel.factors.len()].copy_from_slice(&kernel.factors);
    Finish { bias: whole(kernel.bias), slopes, activation, factors, residuals: kernel.factors.len() }
}

/// Two numbers rounded to `bf16` (to even), in the bits of one `f32`.
fn pair(low: f32, high: f32) -> f32 {
    let rounded = |x: f32| {
        let bits = x.to_bits();
        bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16
    };
    f32::from_bits(rounded(low) | rounded(high) << 16)
}
