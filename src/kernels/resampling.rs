//! Weighted sums of neighbouring samples, the whole arithmetic of resampling.
//!
//! One kernel serves both directions: a vertical pass adds rows that lie `stride` apart, a horizontal pass with an
//! integer scale adds shifted copies of one row (`stride` 1) for each output phase and interleaves the phases. For
//! any other horizontal scale, [`LANES`] rows are transposed so that one vector holds one column of all of them.
//!
//! Every sum starts with its first product and goes on in ascending order of samples, in all kernels alike, so that
//! which of them computes an output never shows in its bits.

use super::{levels, taps::Taps};
use std::slice;

/// Rows side by side in the transposed kernels: one AVX-512 vector.
pub(crate) const LANES: usize = 16;

levels! {
    /// `out[x] = sum over k of weights[k] * rows[k * stride + x]`.
    ///
    /// O(len * taps), no allocation. Panics if `rows` is shorter than that or `weights` is empty.
    pub(crate) fn weighted_rows(out: &mut [f32], rows: &[f32], stride: usize, weights: &[f32]) {
        match weights.len() {
            2 => sum_rows::<2, false>(out, rows, stride, weights),
            4 => sum_rows::<4, false>(out, rows, stride, weights),
            6 => sum_rows::<6, false>(out, rows, stride, weights),
            8 => sum_rows::<8, false>(out, rows, stride, weights),
            11 => sum_rows::<11, false>(out, rows, stride, weights),
            _ => sum_many_rows(out, rows, stride, weights),
        }
    }

    /// Interleaves `factor` rows of equal length, one behind the other in `phases`: `out[i * factor + r]` is sample
    /// `i` of row `r`.
    ///
    /// Panics if the lengths of `out` and `phases` differ or are no multiple of `factor`.
    pub(crate) fn interleave(out: &mut [f32], phases: &[f32], factor: usize) {
        assert!(out.len() == phases.len() && out.len().is_multiple_of(factor), "phases do not fill the row");
        match factor {
            1 => out.copy_from_slice(phases),
            2 => interleave_fixed::<2>(out, phases),
            3 => interleave_fixed::<3>(out, phases),
            4 => interleave_fixed::<4>(out, phases),
            _ => {
                let length = out.len() / factor;
                for (i, group) in out.chunks_exact_mut(factor).enumerate() {
                    for (r, sample) in group.iter_mut().enumerate() {
                        *sample = phases[r * length + i];
                    }
                }
            }
        }
    }

    /// Weighted sums along an axis whose samples are groups of [`LANES`] values: `out` holds `taps.output()` groups,
    /// `input` holds `taps.input()` groups.
    ///
    /// Panics if the lengths differ from that.
    pub(crate) fn weighted_groups(out: &mut [f32], input: &[f32], taps: &Taps) {
        assert!(out.len() == taps.output() * LANES && input.len() == taps.input() * LANES, "sizes differ from the taps");
        for (o, group) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let window = input[taps.start(o) * LANES..].as_chunks::<LANES>().0;
            *group = sum_groups(window, taps.weights(o));
        }
    }

    /// Transposes: `groups[x * LANES + lane]` is sample `x` of `rows[lane]`.
    ///
    /// Lanes beyond the last row (at most [`LANES`] are taken) keep what they held. Panics if `rows` is too short.
    pub(crate) fn to_groups(groups: &mut [f32], rows: &[&[f32]]) {
        let groups = groups.as_chunks_mut::<LANES>().0;
        for (tile, groups) in groups.chunks_mut(LANES).enumerate() {
            for (lane, row) in rows.iter().take(LANES).enumerate() {
                let row = &row[tile * LANES..][..groups.len()];
                for (group, sample) in groups.iter_mut().zip(row) {
                    group[lane] = *sample;
                }
            }
        }
    }

    /// The inverse of [`to_groups`] into rows of `width` samples, one behind the other in `rows`.
    ///
    /// Panics if `groups` holds fewer than `width` groups.
    pub(crate) fn from_groups(rows: &mut [f32], width: usize, groups: &[f32]) {
        let groups = &groups.as_chunks::<LANES>().0[..width];
        for (tile, groups) in groups.chunks(LANES).enumerate() {
            for (lane, row) in rows.chunks_exact_mut(width).take(LANES).enumerate() {
                let row = &mut row[tile * LANES..][..groups.len()];
                for (sample, group) in row.iter_mut().zip(groups) {
                    *sample = group[lane];
                }
            }
        }
    }
}

/// The sum of `N` rows, or the sum so far plus `N` rows; the rows and weights stay in registers.
#[inline(always)]
fn sum_rows<const N: usize, const ADD: bool>(out: &mut [f32], rows: &[f32], stride: usize, weights: &[f32]) {
    let length = out.len();
    let mut row: [&[f32]; N] = [&[]; N];
    let mut weight = [0.0; N];
    for k in 0..N {
        row[k] = &rows[k * stride..][..length];
        weight[k] = weights[k];
    }
    for x in 0..length {
        let first = weight[0] * row[0][x];
        let mut sum = if ADD { out[x] + first } else { first };
        for k in 1..N {
            sum += weight[k] * row[k][x];
        }
        out[x] = sum;
    }
}

/// Any number of rows, four at a time and in the same order as all at once.
#[inline(always)]
fn sum_many_rows(out: &mut [f32], rows: &[f32], stride: usize, weights: &[f32]) {
    assert!(!weights.is_empty(), "a sum has at least one term");
    sum_rows::<1, false>(out, rows, stride, weights);
    let (fours, rest) = weights[1..].as_chunks::<4>();
    for (i, four) in fours.iter().enumerate() {
        sum_rows::<4, true>(out, &rows[(1 + 4 * i) * stride..], stride, four);
    }
    for (i, one) in rest.iter().enumerate() {
        sum_rows::<1, true>(out, &rows[(weights.len() - rest.len() + i) * stride..], stride, slice::from_ref(one));
    }
}

/// [`interleave`] of a fixed number of rows, which the compiler turns into shuffles.
#[inline(always)]
fn interleave_fixed<const N: usize>(out: &mut [f32], phases: &[f32]) {
    let length = out.len() / N;
    let mut row: [&[f32]; N] = [&[]; N];
    for (r, row) in row.iter_mut().enumerate() {
        *row = &phases[r * length..][..length];
    }
    let out = &mut out.as_chunks_mut::<N>().0[..length];
    for i in 0..length {
        for r in 0..N {
            out[i][r] = row[r][i];
        }
    }
}

/// One weighted sum of groups.
#[inline(always)]
fn sum_groups(window: &[[f32; LANES]], weights: &[f32]) -> [f32; LANES] {
    let mut sum = [0.0; LANES];
    for (k, (group, weight)) in window.iter().zip(weights).enumerate() {
        for lane in 0..LANES {
            let product = weight * group[lane];
            sum[lane] = if k == 0 { product } else { sum[lane] + product };
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{CpuLevel, taps::cubic};

    /// Values of every size and sign, the extremes of `f32` and both zeros among them.
    fn noise(seed: u32, length: usize) -> Vec<f32> {
        let special = [0.0, -0.0, 1e30, -1e30, f32::MIN_POSITIVE, 1e-40, 255.0, -1.0];
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        (0..length)
            .map(|_| match next() % 16 {
                i @ 0..8 => special[i as usize],
                _ => (next() % 65536) as f32 / 256.0,
            })
            .collect()
    }

    /// Bits, so that NaN (from infinities of opposite sign) and the two zeros compare as they are.
    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|v| if v.is_nan() { u32::MAX } else { v.to_bits() }).collect()
    }

    /// Runs `kernel` for all levels into the middle of guarded cells and compares the whole buffer.
    fn compare(length: usize, label: &str, kernel: impl Fn(CpuLevel, &mut [f32])) {
        for start in 0..4 {
            let before = noise(7, start + length + 8);
            let run = |level| {
                let mut cells = before.clone();
                kernel(level, &mut cells[start..start + length]);
                cells
            };
            let want = run(CpuLevel::SCALAR);
            assert_eq!(bits(&want[..start]), bits(&before[..start]), "{label}: cells before");
            assert_eq!(bits(&want[start + length..]), bits(&before[start + length..]), "{label}: cells after");
            for level in CpuLevel::available() {
                assert_eq!(bits(&run(level)), bits(&want), "{label}, {level:?}, length {length}, start {start}");
            }
        }
    }

    #[test]
    fn sums_of_rows_are_equal_at_every_level() {
        for length in 0..=67 {
            for count in [1, 2, 3, 4, 5, 6, 7, 8, 11, 12] {
                for stride in [1, length + 3] {
                    let (rows, weights) = (noise(1, count * stride + length + 3), noise(2, count));
                    compare(length, &format!("{count} rows, stride {stride}"), |level, out| {
                        weighted_rows(level, out, &rows[3..], stride, &weights);
                    });
                }
            }
        }
    }

    #[test]
    fn sums_of_rows_are_the_sums_in_order_bit_for_bit() {
        for count in 1..=13 {
            let (rows, weights) = (noise(3, count * 40), noise(4, count));
            let mut got = vec![9.0; 40];
            weighted_rows(CpuLevel::SCALAR, &mut got, &rows, 40, &weights);
            let want: Vec<f32> = (0..40)
                .map(|x| (1..count).fold(weights[0] * rows[x], |sum, k| sum + weights[k] * rows[k * 40 + x]))
                .collect();
            assert_eq!(bits(&got), bits(&want), "{count} rows");
        }
    }

    #[test]
    fn interleaving_is_equal_at_every_level_and_exact() {
        for factor in 1..=6 {
            for length in 0..=67 {
                let phases = noise(5, length * factor);
                compare(length * factor, &format!("factor {factor}"), |level, out| {
                    interleave(level, out, &phases, factor)
                });
                let mut got = vec![0.0; phases.len()];
                interleave(CpuLevel::SCALAR, &mut got, &phases, factor);
                let want: Vec<f32> = (0..got.len()).map(|o| phases[o % factor * length + o / factor]).collect();
                assert_eq!(bits(&got), bits(&want), "factor {factor}, length {length}");
            }
        }
    }

    #[test]
    fn sums_of_groups_are_equal_at_every_level_and_equal_to_sums_of_rows() {
        for output in 1..=67 {
            let positions: Vec<f64> = (0..output).map(|o| f64::from(o) * 0.7 - 1.0).collect();
            let taps = Taps::new(20, &positions, 2.0, cubic);
            let input = noise(6, 20 * LANES);
            let length = positions.len() * LANES;
            compare(length, "groups", |level, out| weighted_groups(level, out, &input, &taps));
            let mut got = vec![0.0; length];
            weighted_groups(CpuLevel::SCALAR, &mut got, &input, &taps);
            for (o, group) in got.chunks(LANES).enumerate() {
                let mut want = [0.0; LANES];
                weighted_rows(CpuLevel::SCALAR, &mut want, &input[taps.start(o) * LANES..], LANES, taps.weights(o));
                assert_eq!(bits(group), bits(&want), "output {o}");
            }
        }
    }

    #[test]
    fn transposing_there_and_back_is_equal_at_every_level_and_exact() {
        for width in 0..=67 {
            for count in [1, 5, LANES] {
                let samples = noise(8, width * count + 1);
                let rows: Vec<&[f32]> = (0..count).map(|r| &samples[r * width..][..width]).collect();
                compare(width * LANES, "to groups", |level, out| to_groups(level, out, &rows));
                let mut groups = vec![0.0; width * LANES];
                to_groups(CpuLevel::SCALAR, &mut groups, &rows);
                if width > 0 {
                    compare(width * count, "from groups", |level, out| from_groups(level, out, width, &groups));
                    let mut back = vec![0.0; width * count];
                    from_groups(CpuLevel::SCALAR, &mut back, width, &groups);
                    assert_eq!(bits(&back), bits(&samples[..width * count]), "width {width}, {count} rows");
                }
            }
        }
    }
}
