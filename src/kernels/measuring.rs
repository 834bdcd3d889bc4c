//! Sums over pairs of rows, for PSNR and SSIM.
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
                totals[lane] += f64::from(ratio([p[lane], q[lane], squares[lane], products[lane]], c1, c2));
            }
        }
        for x in body..n {
            totals[x - body] += f64::from(ratio([p[x], q[x], squares[x], products[x]], c1, c2));
        }
        in_order(totals)
    }
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
}
