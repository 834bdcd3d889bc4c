//! Sums over rows and pairs of rows, for PSNR, SSIM and NIQE.
//!
//! Sums are kept in [`LANES`] independent `f64` totals, sample `x` in total `x % LANES`, and added in order at the
//! end: that order, not the width of a vector, defines the result.

use super::levels;

/// Independent totals of a sum.
const LANES: usize = 16;

/// Means of the samples are taken about this value: near the middle of the scale, squares lose fewer bits.
const CENTRE: f32 = 128.0;

levels! {
    /// Sum of `(a[x] - b[x])^2`, in `f64`. Panics if the lengths differ.
    pub(crate) fn squared_difference(a: &[f32], b: &[f32]) -> f64 {
        assert_eq!(a.len(), b.len(), "rows of unequal length");
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        let mut totals = [0.0; LANES];
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                let d = f64::from(a[lane]) - f64::from(b[lane]);
                totals[lane] += d * d;
            }
        }
        for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
            let d = f64::from(*a) - f64::from(*b);
            totals[lane] += d * d;
        }
        in_order(totals)
    }

    /// What SSIM averages, four rows one behind the other in `out`: `p`, `q`, `p^2 + q^2` and `p q`, where `p` and `q`
    /// are `a` and `b` less 128.
    ///
    /// Panics if `out` is not four times as long as `a` and `b`.
    pub(crate) fn moments(out: &mut [f32], a: &[f32], b: &[f32]) {
        let n = a.len();
        assert!(b.len() == n && out.len() == 4 * n, "rows of unequal length");
        let (first, second) = out.split_at_mut(2 * n);
        let (p, q) = first.split_at_mut(n);
        let (squares, products) = second.split_at_mut(n);
        for x in 0..n {
            p[x] = a[x] - CENTRE;
            q[x] = b[x] - CENTRE;
            squares[x] = p[x] * p[x] + q[x] * q[x];
            products[x] = p[x] * q[x];
        }
    }

    /// Sum of the structural similarity over the positions of one row of averaged [`moments`], with the constants
    /// `c1` and `c2`. Panics if the length is no multiple of 4.
    pub(crate) fn similarity(averages: &[f32], c1: f32, c2: f32) -> f64 {
        summed(averages, |of| ratio(of, c1, c2))
    }

    /// Sum of the contrast and structure part of [`similarity`] alone. Panics if the length is no multiple of 4.
    pub(crate) fn contrast(averages: &[f32], c2: f32) -> f64 {
        summed(averages, |of| structure(of, c2))
    }

    /// `v` less [`CENTRE`] and its square, one row behind the other in `out`. Panics if `out` is not twice as long.
    pub(crate) fn powers(out: &mut [f32], v: &[f32]) {
        assert!(out.len() == 2 * v.len(), "rows of unequal length");
        let (first, second) = out.split_at_mut(v.len());
        for ((p, s), v) in first.iter_mut().zip(second).zip(v) {
            *p = *v - CENTRE;
            *s = *p * *p;
        }
    }

    /// Samples less their local mean over their local deviation plus 1, from averaged [`powers`]: `out[x] = (v[x] - m) /
    /// (d + 1)`, deviations beside. Panics if lengths differ.
    pub(crate) fn normalise(out: &mut [f32], deviations: &mut [f32], v: &[f32], averages: &[f32]) {
        let n = v.len();
        assert!(out.len() == n && deviations.len() == n && averages.len() == 2 * n, "rows of unequal length");
        let (means, squares) = averages.split_at(n);
        for x in 0..n {
            deviations[x] = (squares[x] - means[x] * means[x]).abs().sqrt();
            out[x] = ((v[x] - CENTRE) - means[x]) / (deviations[x] + 1.0);
        }
    }

    /// What an asymmetric generalised Gaussian is fitted to, of the products `a[x] b[x]`: sums of the squares of negative
    /// and of positive ones and of absolute values, then how many are negative and positive. Panics if lengths differ.
    pub(crate) fn sides_of_products(a: &[f32], b: &[f32]) -> [f64; 5] {
        assert_eq!(a.len(), b.len(), "rows of unequal length");
        sides(a, b)
    }
}

/// Sum of `each` over the positions of one row of averaged `moments`. Panics if the length is no multiple of 4.
#[inline(always)]
fn summed(averages: &[f32], each: impl Fn([f32; 4]) -> f32) -> f64 {
    assert!(averages.len().is_multiple_of(4), "four rows expected");
    let n = averages.len() / 4;
    let (first, second) = averages.split_at(2 * n);
    let ((p, q), (squares, products)) = (first.split_at(n), second.split_at(n));
    let body = n - n % LANES;
    let mut totals = [0.0; LANES];
    for start in (0..body).step_by(LANES) {
        let row = |row: &[f32]| -> [f32; LANES] { std::array::from_fn(|lane| row[start + lane]) };
        let (p, q, squares, products) = (row(p), row(q), row(squares), row(products));
        for lane in 0..LANES {
            totals[lane] += f64::from(each([p[lane], q[lane], squares[lane], products[lane]]));
        }
    }
    for x in body..n {
        totals[x - body] += f64::from(each([p[x], q[x], squares[x], products[x]]));
    }
    in_order(totals)
}

/// Equation 13 of Wang et al. (2004) from averages about [`CENTRE`], which leaves variances as they are.
#[inline(always)]
fn ratio([p, q, squares, products]: [f32; 4], c1: f32, c2: f32) -> f32 {
    let (mean_a, mean_b) = (p + CENTRE, q + CENTRE);
    let variances = squares - (p * p + q * q);
    let covariance = products - p * q;
    ((2.0 * (mean_a * mean_b) + c1) * (2.0 * covariance + c2))
        / ((mean_a * mean_a + mean_b * mean_b + c1) * (variances + c2))
}

/// The second factor of equation 13 alone.
#[inline(always)]
fn structure([p, q, squares, products]: [f32; 4], c2: f32) -> f32 {
    (2.0 * (products - p * q) + c2) / (squares - (p * p + q * q) + c2)
}

/// Sums are `f32` within [`FEW`] samples of a lane, beyond that `f64`.
#[inline(always)]
fn sides(a: &[f32], b: &[f32]) -> [f64; 5] {
    const FEW: usize = 8 * LANES;
    let mut totals = [0.0; 5];
    for (a, b) in a.chunks(FEW).zip(b.chunks(FEW)) {
        let mut sums = [[0.0f32; LANES]; 5];
        let ((blocks_a, rest_a), (blocks_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in blocks_a.iter().zip(blocks_b) {
            add_sides(&mut sums, a, b);
        }
        let (mut last_a, mut last_b) = ([0.0; LANES], [0.0; LANES]);
        last_a[..rest_a.len()].copy_from_slice(rest_a);
        last_b[..rest_b.len()].copy_from_slice(rest_b);
        add_sides(&mut sums, &last_a, &last_b);
        for (total, sums) in totals.iter_mut().zip(&sums) {
            *total += sums.iter().map(|v| f64::from(*v)).sum::<f64>();
        }
    }
    totals
}

#[inline(always)]
fn add_sides(sums: &mut [[f32; LANES]; 5], a: &[f32; LANES], b: &[f32; LANES]) {
    for lane in 0..LANES {
        let v = a[lane] * b[lane];
        let (low, high) = (if v < 0.0 { v } else { 0.0 }, if v > 0.0 { v } else { 0.0 });
        sums[0][lane] += low * low;
        sums[1][lane] += high * high;
        sums[2][lane] += high - low;
        sums[3][lane] += if v < 0.0 { 1.0 } else { 0.0 };
        sums[4][lane] += if v > 0.0 { 1.0 } else { 0.0 };
    }
}

#[inline(always)]
fn in_order(totals: [f64; LANES]) -> f64 {
    totals.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CpuLevel;

    fn noise(seed: u32, length: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        let special = [0.0, -0.0, 255.0, 1e15, -1e15, 1e-40];
        (0..length)
            .map(|_| special.get(next() as usize % 32).copied().unwrap_or((next() % 65536) as f32 / 256.0))
            .collect()
    }

    #[test]
    fn sums_are_equal_at_every_level() {
        for length in 0..=67 {
            for start in 0..4 {
                let (a, b) = (noise(1, start + length), noise(2, start + length));
                let (a, b) = (&a[start..], &b[start..]);
                let averages = noise(3, 4 * length + start);
                let want = squared_difference(CpuLevel::SCALAR, a, b);
                let similar = similarity(CpuLevel::SCALAR, &averages[start..], 6.5, 58.5);
                let naive: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
                assert!((want - naive).abs() <= 1e-12 * naive, "length {length}: {want}, not {naive}");
                for level in CpuLevel::available() {
                    let got = squared_difference(level, a, b);
                    assert_eq!(got.to_bits(), want.to_bits(), "{level:?}, length {length}, start {start}");
                    let got = similarity(level, &averages[start..], 6.5, 58.5);
                    assert_eq!(got.to_bits(), similar.to_bits(), "{level:?}, length {length}, start {start}");
                    let got = contrast(level, &averages[start..], 58.5);
                    let want = contrast(CpuLevel::SCALAR, &averages[start..], 58.5);
                    assert_eq!(got.to_bits(), want.to_bits(), "{level:?}, length {length}, start {start}");
                }
            }
        }
    }

    #[test]
    fn moments_are_equal_at_every_level_and_leave_their_neighbours() {
        for length in 0..=67 {
            for start in 0..4 {
                let (a, b) = (noise(4, start + length), noise(5, start + length));
                let before = noise(6, start + 4 * length + 8);
                let run = |level| {
                    let mut cells = before.clone();
                    moments(level, &mut cells[start..start + 4 * length], &a[start..], &b[start..]);
                    cells.iter().map(|v| v.to_bits()).collect::<Vec<u32>>()
                };
                let want = run(CpuLevel::SCALAR);
                let guard = start + 4 * length;
                assert!(want[guard..].iter().zip(&before[guard..]).all(|(got, was)| *got == was.to_bits()), "guard");
                for level in CpuLevel::available() {
                    assert_eq!(run(level), want, "{level:?}, length {length}, start {start}");
                }
            }
        }
    }

    #[test]
    fn parts_of_niqe_are_equal_at_every_level() {
        for length in [0, 1, 15, 16, 96, 127, 128, 300] {
            let (a, b): (Vec<f32>, Vec<f32>) = (0..length).map(|i| ((i as f32).sin(), (i as f32 * 0.7).cos())).unzip();
            let naive = a.iter().zip(&b).map(|(a, b)| a * b);
            let want = sides_of_products(CpuLevel::SCALAR, &a, &b);
            let low: f64 = naive.clone().filter(|v| *v < 0.0).map(|v| f64::from(v).powi(2)).sum();
            let high = naive.clone().filter(|v| *v > 0.0).count();
            assert!((want[0] - low).abs() < 1e-5 * low.max(1.0) && want[4] == high as f64, "{want:?}");
            let run = |level| {
                let (mut rows, mut out, mut spread) = (vec![0.0; 2 * length], vec![0.0; length], vec![0.0; length]);
                powers(level, &mut rows, &a);
                normalise(level, &mut out, &mut spread, &b, &rows);
                [rows, out, spread].concat().iter().map(|v| v.to_bits()).collect::<Vec<u32>>()
            };
            for level in CpuLevel::available() {
                let got = sides_of_products(level, &a, &b);
                assert_eq!(got.map(f64::to_bits), want.map(f64::to_bits), "{level:?}, length {length}");
                assert_eq!(run(level), run(CpuLevel::SCALAR), "{level:?}, length {length}");
            }
        }
    }
}
