//! The arithmetic of Winograd's F(4x4, 3x3) (Lavin and Gray 2016, doi:10.1109/CVPR.2016.435; Winograd 1980): tiles of 6 x 6
//! pixels, products in 36 places instead of 9 for each of 16 pixels.
//!
//! The points are 0, +-sqrt(1/2), +-sqrt 2 and infinity instead of the usual 0, +-1, +-2: the matrices are better
//! conditioned, and rounding errors are half as large, smaller than those of a plain sum. The kernels are transformed in `f64`
//! and rounded once.

use super::simd::Simd;

/// Places of a tile along an axis.
pub(super) const TILE: usize = 6;
/// Pixels that a tile makes along an axis.
pub(super) const MADE: usize = 4;
/// Places of a tile.
pub(super) const PLACES: usize = TILE * TILE;

/// The square roots of 1/2 and 2.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// See [`A`].
const B: f32 = std::f32::consts::SQRT_2;

/// The constants of both transforms in vectors; `a^2 b^2` is 1.
#[derive(Clone, Copy)]
pub(super) struct Points<V> {
    a: V,
    b: V,
    a2: V,
    b2: V,
    a3: V,
    b3: V,
    sum: V,
}

impl<V: Simd> Points<V> {
    /// # Safety
    /// The CPU has the instructions of `V`.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        // SAFETY: what the caller says.
        let [a, b, a2, b2, a3, b3, sum] = [A, B, 0.5, 2.0, 0.5 * A, 2.0 * B, 2.5].map(
            #[inline(always)]
            |x| unsafe { V::splat(x) },
        );
        Self { a, b, a2, b2, a3, b3, sum }
    }

    /// Pixels along an axis into places.
    #[inline(always)]
    pub(super) fn split(&self, d: [V; TILE]) -> [V; TILE] {
        let first = self.sum.fnma(d[2], d[0].add(d[4]));
        let last = self.sum.fnma(d[3], d[1].add(d[5]));
        let (even, odd) = (self.b2.fnma(d[2], d[4]), self.b2.fnma(d[1], d[3]));
        let (wide_even, wide_odd) = (self.a2.fnma(d[2], d[4]), self.a2.fnma(d[1], d[3]));
        [
            first,
            self.a.fma(odd, even),
            self.a.fnma(odd, even),
            self.b.fma(wide_odd, wide_even),
            self.b.fnma(wide_odd, wide_even),
            last,
        ]
    }

    /// Places along an axis into pixels.
    #[inline(always)]
    pub(super) fn join(&self, m: [V; TILE]) -> [V; MADE] {
        let (s1, d1) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (s2, d2) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(s1).add(s2),
            self.a.fma(d1, self.b.mul(d2)),
            self.a2.fma(s1, self.b2.mul(s2)),
            self.a3.fma(d1, self.b3.fma(d2, m[5])),
        ]
    }
}

/// A kernel of 3 x 3 weights in all places.
pub(super) fn kernel(weights: &[f32]) -> [f64; PLACES] {
    let (a, b) = (0.5f64.sqrt(), 2.0f64.sqrt());
    let (near, far) = (2.0 * 0.5 * (0.5 - 2.0), 2.0 * 2.0 * (2.0 - 0.5));
    let rows: [[f64; 3]; TILE] = [
        [1.0, 0.0, 0.0],
        [1.0 / near, a / near, 0.5 / near],
        [1.0 / near, -a / near, 0.5 / near],
        [1.0 / far, b / far, 2.0 / far],
        [1.0 / far, -b / far, 2.0 / far],
        [0.0, 0.0, 1.0],
    ];
    let along = |y: usize, j: usize| (0..3).map(|x| f64::from(weights[3 * y + x]) * rows[j][x]).sum::<f64>();
    let half: [[f64; TILE]; 3] = std::array::from_fn(|y| std::array::from_fn(|j| along(y, j)));
    std::array::from_fn(|place| (0..3).map(|y| half[y][place % TILE] * rows[place / TILE][y]).sum())
}
