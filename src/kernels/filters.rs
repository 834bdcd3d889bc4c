//! Filters as sums of slices, each times one number: rows of a picture on the way down, shifted slices of a row along it.
//!
//! All sums run in the order of the terms, whatever the CPU level, so that the bits are the same everywhere.

use crate::kernels::ahead::fetch_far_ahead;
use crate::kernels::levels;
use crate::kernels::splat::LANES;

/// Slices that a filter reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slices<'a> {
    pub(crate) data: &'a [f32],
    /// Where each starts.
    pub(crate) from: &'a [usize],
    /// Numbers of each.
    pub(crate) length: usize,
    /// How far behind the last slices those lie that are new to the next filter, if they may come from memory; else 0.
    pub(crate) ahead: usize,
}

/// Sums `N` slices of `data` into `out`, on top of what is there if `add`.
#[inline(always)]
fn sum<const N: usize>(out: &mut [f32], data: &[f32], offsets: &[usize], weights: &[f32], add: bool) {
    let n = out.len();
    let rows: [&[f32]; N] = std::array::from_fn(|k| &data[offsets[k]..][..n]);
    let weights: [f32; N] = std::array::from_fn(|k| weights[k]);
    for x in 0..n {
        let mut total = if add { out[x] } else { 0.0 };
        for k in 0..N {
            total += weights[k] * rows[k][x];
        }
        out[x] = total;
    }
}

/// See [`weighted_sum`].
#[inline(always)]
fn add_up(out: &mut [f32], data: &[f32], offsets: &[usize], weights: &[f32], add: bool) {
    assert_eq!(offsets.len(), weights.len(), "one weight a slice");
    if offsets.is_empty() && !add {
        out.fill(0.0);
    }
    let (mut add, mut k) = (add, 0);
    while k < offsets.len() {
        let (o, w) = (&offsets[k..], &weights[k..]);
        let terms = if o.len() == 9 { 9 } else { o.len().min(8) };
        match terms {
            9 => sum::<9>(out, data, o, w, add),
            8 => sum::<8>(out, data, o, w, add),
            7 => sum::<7>(out, data, o, w, add),
            6 => sum::<6>(out, data, o, w, add),
            5 => sum::<5>(out, data, o, w, add),
            4 => sum::<4>(out, data, o, w, add),
            3 => sum::<3>(out, data, o, w, add),
            2 => sum::<2>(out, data, o, w, add),
            _ => sum::<1>(out, data, o, w, add),
        }
        (add, k) = (true, k + terms);
    }
}

/// [`filter_across`] for `P` slices, `T` taps and so `N = P + T - 1` slices to read, sixteen places at a time: each is loaded once
/// for all sums that it is part of.
#[inline(always)]
fn across<const P: usize, const T: usize, const N: usize>(
    out: &mut [f32],
    to: &[usize],
    slices: &Slices<'_>,
    taps: &[f32],
) {
    const { assert!(N == P + T - 1 && N <= 16, "as many slices as are written out below") };
    let Slices { data, from, length, ahead } = *slices;
    let rows: [&[f32]; N] = std::array::from_fn(|j| &data[from[j]..][..length]);
    let taps: [f32; T] = std::array::from_fn(|k| taps[k]);
    let whole = length - length % LANES;
    for start in (0..whole).step_by(LANES) {
        if ahead > 0 {
            for row in &rows[T - 1..] {
                fetch_far_ahead(&row[start], ahead);
            }
        }
        let mut totals = [[0.0f32; LANES]; P];
        // Written out, as the compiler would not: then each weight stands for itself, and sums stay in registers.
        macro_rules! add {
            ($($j:literal)*) => {$(
                if $j < N {
                    let values: [f32; LANES] = std::array::from_fn(|i| rows[$j][start..start + LANES][i]);
                    for p in 0..P {
                        if $j >= p && $j - p < T {
                            for i in 0..LANES {
                                totals[p][i] += taps[$j - p] * values[i];
                            }
                        }
                    }
                }
            )*};
        }
        add!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for p in 0..P {
            out[to[p] + start..][..LANES].copy_from_slice(&totals[p]);
        }
    }
    for (p, to) in to.iter().enumerate() {
        for x in whole..length {
            let mut total = 0.0;
            for k in 0..T {
                total += taps[k] * rows[p + k][x];
            }
            out[to + x] = total;
        }
    }
}

levels! {
    /// `out[x] = sum over k of weights[k] * data[offsets[k] + x]`; on top of `out` if `add`.
    ///
    /// Panics if a slice leaves `data`. O(terms * out), no allocation; up to nine terms a pass over `out`.
    pub(crate) fn weighted_sum(out: &mut [f32], data: &[f32], offsets: &[usize], weights: &[f32], add: bool) {
        add_up(out, data, offsets, weights, add);
    }

    /// A filter across slices, be they rows of a picture or the phases of a row: `out[to[p] + x]` becomes the sum over `k` of
    /// `taps[k] * data[from[p + k] + x]`, for `x` below `length`.
    ///
    /// Panics if a slice leaves `data` or `out`, or `from` is not as long as `to` and `taps` together, less one.
    pub(crate) fn filter_across(out: &mut [f32], to: &[usize], slices: &Slices<'_>, taps: &[f32]) {
        assert_eq!(slices.from.len() + 1, to.len() + taps.len(), "a slice for each distance");
        match (to.len(), taps.len()) {
            (2, 3) => across::<2, 3, 4>(out, to, slices, taps),
            (3, 3) => across::<3, 3, 5>(out, to, slices, taps),
            (4, 3) => across::<4, 3, 6>(out, to, slices, taps),
            (2, 5) => across::<2, 5, 6>(out, to, slices, taps),
            (3, 5) => across::<3, 5, 7>(out, to, slices, taps),
            (4, 5) => across::<4, 5, 8>(out, to, slices, taps),
            (2, 7) => across::<2, 7, 8>(out, to, slices, taps),
            (3, 7) => across::<3, 7, 9>(out, to, slices, taps),
            (4, 7) => across::<4, 7, 10>(out, to, slices, taps),
            (2, 9) => across::<2, 9, 10>(out, to, slices, taps),
            (3, 9) => across::<3, 9, 11>(out, to, slices, taps),
            (4, 9) => across::<4, 9, 12>(out, to, slices, taps),
            (2, 11) => across::<2, 11, 12>(out, to, slices, taps),
            (3, 11) => across::<3, 11, 13>(out, to, slices, taps),
            (4, 11) => across::<4, 11, 14>(out, to, slices, taps),
            (2, 13) => across::<2, 13, 14>(out, to, slices, taps),
            (3, 13) => across::<3, 13, 15>(out, to, slices, taps),
            (4, 13) => across::<4, 13, 16>(out, to, slices, taps),
            _ => {
                for (p, to) in to.iter().enumerate() {
                    let Slices { data, from, length, .. } = *slices;
                    add_up(&mut out[*to..][..length], data, &from[p..][..taps.len()], taps, false);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CpuLevel;
    use crate::kernels::testing::{assert_same_at_every_level, bits, noise};

    #[test]
    fn every_level_gives_the_bits_of_the_baseline() {
        let summed: fn(CpuLevel, usize) -> Vec<u32> = |level, n| {
            let (data, mut out) = (noise(3, n + 40), noise(4, n));
            let (offsets, weights): (Vec<usize>, Vec<f32>) =
                (0..n % 19).map(|k| (2 * k, 0.3 - 0.07 * k as f32)).unzip();
            weighted_sum(level, &mut out, &data, &offsets, &weights, n.is_multiple_of(2));
            bits(&out)
        };
        let filtered: fn(CpuLevel, usize) -> Vec<u32> = |level, n| {
            let (slices, taps) = (1 + n % 4, noise(5, [3, 5, 7, 9, 13][n % 5]));
            let (data, mut out) = (noise(3, 2 * n + 90), vec![0.0; slices * (n + 5)]);
            let from: Vec<usize> = (0..slices + taps.len() - 1).map(|j| n * (j % 2) + 3 * j).collect();
            let to: Vec<usize> = (0..slices).map(|p| p * (n + 5)).collect();
            filter_across(level, &mut out, &to, &Slices { data: &data, from: &from, length: n, ahead: n % 3 }, &taps);
            bits(&out)
        };
        assert_same_at_every_level(2, |level, kernel, n| [summed, filtered][kernel](level, n));
    }

    #[test]
    fn a_filter_across_slices_is_the_weighted_sum_of_each_window() {
        let data = noise(3, 2000);
        for (slices, taps) in (1..=4).flat_map(|slices| (1..=17).map(move |taps| (slices, taps))) {
            let (length, taps) = (37, noise(taps as u32, taps));
            let from: Vec<usize> = (0..slices + taps.len() - 1).map(|j| 61 * j + j % 3).collect();
            let to: Vec<usize> = (0..slices).map(|p| p * (length + 1)).collect();
            let mut out = vec![0.0; slices * (length + 1)];
            filter_across(
                CpuLevel::SCALAR,
                &mut out,
                &to,
                &Slices { data: &data, from: &from, length, ahead: 0 },
                &taps,
            );
            for (p, to) in to.iter().enumerate() {
                let mut wanted = vec![0.0; length];
                weighted_sum(CpuLevel::SCALAR, &mut wanted, &data, &from[p..][..taps.len()], &taps, false);
                assert_eq!(bits(&wanted), bits(&out[*to..][..length]), "slice {p} of {slices}, {} taps", taps.len());
            }
        }
    }

    #[test]
    fn a_weighted_sum_is_the_sum_of_its_terms() {
        let data = noise(9, 64);
        let (offsets, weights) = ([0, 3, 17, 5, 40, 2, 2, 30, 11], [0.5, -1.0, 2.0, 0.25, 1.5, 0.1, 0.2, -0.4, 3.0]);
        let mut out = vec![1.0; 20];
        weighted_sum(CpuLevel::SCALAR, &mut out, &data, &offsets, &weights, true);
        for (x, got) in out.iter().enumerate() {
            let want: f32 = 1.0 + offsets.iter().zip(weights).map(|(o, w)| w * data[o + x]).sum::<f32>();
            assert!((got - want).abs() < 1e-2, "sample {x}: {got}, not {want}");
        }
    }
}
