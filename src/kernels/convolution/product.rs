//! The inner loop of all convolutions: sums over channels for a few pixels and output channels at a time, held in registers.
//!
//! A sum runs over the channels in the order of the steps, from zero, one fused multiplication each; how pixels and output
//! channels are grouped changes nothing in it. With products of `bf16` two channels are multiplied at a time.

#![allow(clippy::needless_range_loop, reason = "loops over several arrays in registers read best with an index")]

use std::marker::PhantomData;

use super::isa::for_each_isa;
use super::simd::Simd;

/// Channels of a block, in which pictures and weights are stored.
pub(crate) const BLOCK: usize = 16;

/// A run of channels: where it starts, from the first pixel's start, and how many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) offset: usize,
    pub(super) count: usize,
}

/// Blocks of output channels that are computed together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// The first of them.
    pub(super) first: usize,
    /// How many, 1 to 4.
    pub(super) blocks: usize,
    /// Where their weights start.
    pub(super) weights: usize,
}

/// Products of pixels and weights at several places, each with its own weights or all with the same.
#[derive(Debug)]
pub(super) struct Products<'a> {
    pub(super) steps: &'a [Step],
    pub(super) groups: &'a [Group],
    pub(super) pixels: usize,
    pub(super) places: usize,
    /// The first pixel; pixels are [`BLOCK`] numbers apart.
    pub(super) from: *const f32,
    /// Numbers from a place to the next.
    pub(super) from_place: usize,
    pub(super) weights: *const f32,
    /// See above.
    pub(super) weights_place: usize,
    /// Sums: block of channels, pixel, channel.
    pub(super) sums: *mut f32,
    /// See above.
    pub(super) sums_place: usize,
    /// Numbers from a block of sums to the next.
    pub(super) sums_block: usize,
}

/// Numbers that are multiplied, and how.
pub(super) trait Kind {
    type Vector: Simd;
    /// What pixels are stored as.
    type Number: Copy;

    /// # Safety
    /// `N` numbers can be written at `p`.
    unsafe fn put(vector: Self::Vector, p: *mut Self::Number);

    /// Sums for `P` pixels and `O` vectors of channels.
    ///
    /// # Safety
    /// The CPU has the instructions; all pixels, weights and sums that the steps name are there.
    unsafe fn tile<const P: usize, const O: usize>(
        from: *const Self::Number,
        steps: &[Step],
        weights: *const f32,
        sums: *mut f32,
        sums_block: usize,
    );
}

/// Products in `f32`.
pub(super) struct Single<V>(PhantomData<V>);

impl<V: Simd> Kind for Single<V> {
    type Vector = V;
    type Number = f32;

    #[inline(always)]
    unsafe fn put(vector: V, p: *mut f32) {
        // SAFETY: what the caller says.
        unsafe { vector.store(p) }
    }

    #[inline(always)]
    unsafe fn tile<const P: usize, const O: usize>(
        from: *const f32,
        steps: &[Step],
        mut weights: *const f32,
        sums: *mut f32,
        sums_block: usize,
    ) {
        // SAFETY: the caller says that the CPU has the instructions and that all is there.
        unsafe {
            let zero = V::splat(0.0);
            let mut acc = [[zero; O]; P];
            for step in steps {
                let from = from.add(step.offset);
                for k in 0..step.count {
                    let mut w = [zero; O];
                    for o in 0..O {
                        w[o] = V::load(weights.add(o * V::N));
                    }
                    for p in 0..P {
                        let x = V::splat(*from.add(p * BLOCK + k));
                        for o in 0..O {
                            acc[p][o] = x.fma(w[o], acc[p][o]);
                        }
                    }
                    weights = weights.add(O * V::N);
                }
            }
            for p in 0..P {
                for o in 0..O {
                    let at = o * V::N / BLOCK * sums_block + p * BLOCK + o * V::N % BLOCK;
                    acc[p][o].store(sums.add(at));
                }
            }
        }
    }
}

/// Products of `bf16`, summed in `f32` (AVX512_BF16).
#[cfg(target_arch = "x86_64")]
pub(super) struct Half;

#[cfg(target_arch = "x86_64")]
impl Kind for Half {
    type Vector = super::simd::Sixteen;
    type Number = u16;

    #[inline(always)]
    unsafe fn put(vector: Self::Vector, p: *mut u16) {
        use std::arch::x86_64::{__m256bh, __m256i, _mm256_storeu_si256, _mm512_cvtneps_pbh};
        // SAFETY: what the caller says; both types are 32 bytes without meaning of their own.
        unsafe {
            let rounded = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(vector.0));
            _mm256_storeu_si256(p.cast(), rounded);
        }
    }

    #[inline(always)]
    unsafe fn tile<const P: usize, const O: usize>(
        from: *const u16,
        steps: &[Step],
        mut weights: *const f32,
        sums: *mut f32,
        sums_block: usize,
    ) {
        use std::arch::x86_64::{
            __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
            _mm512_setzero_si512, _mm512_storeu_ps,
        };
        // SAFETY: the caller says that the CPU has the instructions and that all is there; the transmuted types are 64 bytes
        // without meaning of their own.
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); O]; P];
            for step in steps {
                let from = from.add(step.offset);
                for pair in 0..step.count.div_ceil(2) {
                    let mut w = [_mm512_setzero_si512(); O];
                    for o in 0..O {
                        w[o] = _mm512_loadu_si512(weights.add(o * BLOCK).cast());
                    }
                    for p in 0..P {
                        let both = from.add(p * BLOCK + 2 * pair).cast::<i32>().read_unaligned();
                        let x = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(both));
                        for o in 0..O {
                            let w = std::mem::transmute::<__m512i, __m512bh>(w[o]);
                            acc[p][o] = _mm512_dpbf16_ps(acc[p][o], x, w);
                        }
                    }
                    weights = weights.add(O * BLOCK);
                }
            }
            for p in 0..P {
                for o in 0..O {
                    _mm512_storeu_ps(sums.add(o * sums_block + p * BLOCK), acc[p][o]);
                }
            }
        }
    }
}

/// Pixels of a register tile for groups of so many blocks.
#[inline(always)]
pub(super) const fn tile_pixels(vector: usize, blocks: usize) -> usize {
    match (vector, blocks) {
        (16, 4) => 6,
        (16, 3) => 8,
        (16, _) => 12,
        _ => 6,
    }
}

for_each_isa! {
    /// Fills the sums of all places.
    ///
    /// # Safety
    /// All that `products` names is there, and nobody else uses the sums.
    pub(super) unsafe fn multiply(products: &Products<'_>) = multiply_as;
}

#[inline(always)]
unsafe fn multiply_as<K: Kind>(products: &Products<'_>) {
    let from = products.from.cast::<K::Number>();
    for place in 0..products.places {
        for group in products.groups {
            let most = tile_pixels(K::Vector::N, group.blocks);
            let mut pixel = 0;
            while pixel < products.pixels {
                // Near-equal runs, so that none is left with a single pixel.
                let left = products.pixels - pixel;
                let pixels = left.div_ceil(left.div_ceil(most));
                // SAFETY: what the caller says; `run` stays within the pixels and the group.
                unsafe {
                    let from = from.add(place * products.from_place + pixel * BLOCK);
                    let weights = products.weights.add(place * products.weights_place + group.weights);
                    let sums = products.sums.add(place * products.sums_place + pixel * BLOCK);
                    run::<K>(products, group, pixels, (from, weights, sums.add(group.first * products.sums_block)));
                }
                pixel += pixels;
            }
        }
    }
}

/// One register tile of whatever size.
#[inline(always)]
unsafe fn run<K: Kind>(
    products: &Products<'_>,
    group: &Group,
    pixels: usize,
    (from, weights, sums): (*const K::Number, *const f32, *mut f32),
) {
    macro_rules! tile {
        ($vectors:literal: $($pixels:literal)*) => {
            match pixels {
                // SAFETY: what the caller says.
                $($pixels => unsafe {
                    K::tile::<$pixels, $vectors>(from, products.steps, weights, sums, products.sums_block);
                },)*
                _ => unreachable!("more pixels than a register tile has"),
            }
        };
    }
    match (K::Vector::N, group.blocks) {
        (16, 1) => tile!(1: 1 2 3 4 5 6 7 8 9 10 11 12),
        (16, 2) => tile!(2: 1 2 3 4 5 6 7 8 9 10 11 12),
        (16, 3) => tile!(3: 1 2 3 4 5 6 7 8),
        (16, _) => tile!(4: 1 2 3 4 5 6),
        (8, _) => tile!(2: 1 2 3 4 5 6),
        _ => tile!(4: 1 2 3 4 5 6),
    }
}
