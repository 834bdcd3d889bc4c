//! Row kernels of the reconstruction: weighted sums of rows, the update step and confidence.
//!
//! Filters with the same weights everywhere are sums of a few contiguous slices, each times one number
//! (`weighted_sum`): vertical passes sum rows, horizontal passes sum shifted slices of a row stored phase by phase.
//! Reading and writing at sub-pixel positions is in `splat`. All sums run in the order of the terms, whatever the CPU
//! level, so that the bits are the same everywhere.

use crate::kernels::levels;
use crate::kernels::splat::LANES;

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
    data: &[f32],
    from: &[usize],
    length: usize,
    taps: &[f32],
) {
    let rows: [&[f32]; N] = std::array::from_fn(|j| &data[from[j]..][..length]);
    let taps: [f32; T] = std::array::from_fn(|k| taps[k]);
    let whole = length - length % LANES;
    for start in (0..whole).step_by(LANES) {
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

/// [`in_order`] for `P` phases.
#[inline(always)]
fn woven<const P: usize>(out: &mut [f32], row: &[f32], starts: &[usize], low: f32, high: f32) {
    let (groups, rest) = out.as_chunks_mut::<P>();
    let phases: [&[f32]; P] = std::array::from_fn(|p| &row[starts[p]..][..groups.len()]);
    for (i, group) in groups.iter_mut().enumerate() {
        for p in 0..P {
            group[p] = phases[p][i].clamp(low, high);
        }
    }
    for (p, out) in rest.iter_mut().enumerate() {
        *out = row[starts[p] + groups.len()].clamp(low, high);
    }
}

/// Distance of `value` to its neighbour, at most 1 either way: the derivative of the Huber function.
#[inline(always)]
fn bounded(center: f32, neighbour: f32) -> f32 {
    (center - neighbour).clamp(-1.0, 1.0)
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
    pub(crate) fn filter_across(
        out: &mut [f32], to: &[usize], data: &[f32], from: &[usize], length: usize, taps: &[f32],
    ) {
        assert_eq!(from.len() + 1, to.len() + taps.len(), "a slice for each distance");
        match (to.len(), taps.len()) {
            (2, 3) => across::<2, 3, 4>(out, to, data, from, length, taps),
            (3, 3) => across::<3, 3, 5>(out, to, data, from, length, taps),
            (4, 3) => across::<4, 3, 6>(out, to, data, from, length, taps),
            (2, 5) => across::<2, 5, 6>(out, to, data, from, length, taps),
            (3, 5) => across::<3, 5, 7>(out, to, data, from, length, taps),
            (4, 5) => across::<4, 5, 8>(out, to, data, from, length, taps),
            (2, 7) => across::<2, 7, 8>(out, to, data, from, length, taps),
            (3, 7) => across::<3, 7, 9>(out, to, data, from, length, taps),
            (4, 7) => across::<4, 7, 10>(out, to, data, from, length, taps),
            (2, 9) => across::<2, 9, 10>(out, to, data, from, length, taps),
            (3, 9) => across::<3, 9, 11>(out, to, data, from, length, taps),
            (4, 9) => across::<4, 9, 12>(out, to, data, from, length, taps),
            (2, 11) => across::<2, 11, 12>(out, to, data, from, length, taps),
            (3, 11) => across::<3, 11, 13>(out, to, data, from, length, taps),
            (4, 11) => across::<4, 11, 14>(out, to, data, from, length, taps),
            (2, 13) => across::<2, 13, 14>(out, to, data, from, length, taps),
            (3, 13) => across::<3, 13, 15>(out, to, data, from, length, taps),
            (4, 13) => across::<4, 13, 16>(out, to, data, from, length, taps),
            _ => {
                for (p, to) in to.iter().enumerate() {
                    add_up(&mut out[*to..][..length], data, &from[p..][..taps.len()], taps, false);
                }
            }
        }
    }

    /// One Chebyshev step with a total-variation prior, in place of the estimate before last.
    ///
    /// `previous = x + momentum*(x - previous) + step*inverse*gradient - gain * sum over 4 neighbours of
    /// clamp(x - neighbour, +-1)`, where `gain` is `prior * clamp(full * inverse, 1, most)`; without momentum `previous` is
    /// not read. `gains` are (momentum, step) and (prior, full density, most). `at` holds where the rows of x, its left,
    /// right, upper and lower neighbour start in `data`. Panics if a slice leaves `data`.
    pub(crate) fn chebyshev_step(
        previous: &mut [f32], data: &[f32], at: [usize; 5], gradient: &[f32], inverse: &[f32],
        gains: ([f32; 2], [f32; 3]),
    ) {
        let n = previous.len();
        let [x, left, right, up, down] = at.map(|at| &data[at..][..n]);
        let (gradient, inverse) = (&gradient[..n], &inverse[..n]);
        let ([momentum, step], [prior, full, most]) = gains;
        for i in 0..n {
            let c = x[i];
            let rough = (bounded(c, left[i]) + bounded(c, right[i])) + (bounded(c, up[i]) + bounded(c, down[i]));
            let carried = if momentum == 0.0 { 0.0 } else { momentum * (c - previous[i]) };
            let gain = prior * (full * inverse[i]).clamp(1.0, most);
            previous[i] = (c + carried) + (step * inverse[i] * gradient[i] - gain * rough);
        }
    }

    /// `row` within `low..=high`. Panics if that is no range.
    pub(crate) fn limit(row: &mut [f32], low: f32, high: f32) {
        for value in row {
            *value = value.clamp(low, high);
        }
    }

    /// `out = x + inverse * sums`: weighted means added, `inverse` being 1 / the sums of their weights.
    pub(crate) fn corrected(out: &mut [f32], x: &[f32], sums: &[f32], inverse: &[f32]) {
        let n = out.len();
        let (x, sums, inverse) = (&x[..n], &sums[..n], &inverse[..n]);
        for i in 0..n {
            out[i] = x[i] + inverse[i] * sums[i];
        }
    }

    /// One step of deblurring: `out = x + (seen - blurred)`, `blurred` being `x` blurred.
    pub(crate) fn van_cittert(out: &mut [f32], x: &[f32], seen: &[f32], blurred: &[f32]) {
        let n = out.len();
        let (x, seen, blurred) = (&x[..n], &seen[..n], &blurred[..n]);
        for i in 0..n {
            out[i] = x[i] + (seen[i] - blurred[i]);
        }
    }

    /// The first `out.len()` columns of a row that lies phase by phase, each phase from its place in `starts`, in natural order and
    /// limited to `low..=high`.
    ///
    /// Panics if a phase leaves `row` or there are not 1 to 4.
    pub(crate) fn in_order(out: &mut [f32], row: &[f32], starts: &[usize], low: f32, high: f32) {
        match starts.len() {
            1 => woven::<1>(out, row, starts, low, high),
            2 => woven::<2>(out, row, starts, low, high),
            3 => woven::<3>(out, row, starts, low, high),
            4 => woven::<4>(out, row, starts, low, high),
            phases => panic!("{phases} phases, not 1 to 4"),
        }
    }

    /// `row = 1 / max(row, floor)`.
    pub(crate) fn inverse(row: &mut [f32], floor: f32) {
        for value in row {
            *value = 1.0 / value.max(floor);
        }
    }

    /// Weight of a sample whose mean squared difference to the reference is `difference`, in place.
    ///
    /// `clamp(1.5 exp(-d t) - 0.2, 0, 1)` with `t` the inverse of the tolerated variance and
    /// `exp(-q) = (1 - min(q, 3)/16)^16`, which needs no function of the C library.
    pub(crate) fn agreement(difference: &mut [f32], tolerance: &[f32]) {
        let n = difference.len();
        let tolerance = &tolerance[..n];
        for x in 0..n {
            let q = (difference[x] * tolerance[x]).min(3.0);
            let e = 1.0 - q * (1.0 / 16.0);
            let e = e * e;
            let e = e * e;
            let e = e * e;
            difference[x] = (1.5 * (e * e) - 0.2).clamp(0.0, 1.0);
        }
    }

    /// `out[x] = gain * seen[x] + offset - out[x]`.
    pub(crate) fn matched_difference(out: &mut [f32], seen: &[f32], gain: f32, offset: f32) {
        let n = out.len();
        let seen = &seen[..n];
        for x in 0..n {
            out[x] = gain * seen[x] + offset - out[x];
        }
    }

    /// `out = gain * seen + offset - glow`, the glow being linear over each sixteen samples: `glow` has what it is at the first
    /// of every sixteen and one beyond the last. `light` is (gain, offset).
    ///
    /// Panics if `glow` is too short.
    pub(crate) fn in_other_light(out: &mut [f32], seen: &[f32], light: (f32, f32), glow: &[f32]) {
        let (gain, offset) = light;
        let n = out.len();
        let (outs, seens) = (out.chunks_mut(LANES), seen[..n].chunks(LANES));
        for (k, (out, seen)) in outs.zip(seens).enumerate() {
            let (start, slope) = (offset - glow[k], (glow[k + 1] - glow[k]) / LANES as f32);
            if let (Some(out), Some(seen)) = (out.first_chunk_mut::<LANES>(), seen.first_chunk::<LANES>()) {
                let mut lane = *seen;
                for (i, value) in lane.iter_mut().enumerate() {
                    *value = gain * *value + (start - slope * i as f32);
                }
                *out = lane;
                continue;
            }
            for (i, (out, seen)) in out.iter_mut().zip(seen).enumerate() {
                *out = gain * seen + (start - slope * i as f32);
            }
        }
    }

    /// `row = (row - glow)^2`, `glow` as for [`in_other_light`].
    pub(crate) fn squared_without(row: &mut [f32], glow: &[f32]) {
        for (k, part) in row.chunks_mut(LANES).enumerate() {
            let (start, slope) = (glow[k], (glow[k + 1] - glow[k]) / LANES as f32);
            if let Some(part) = part.first_chunk_mut::<LANES>() {
                let mut lane = *part;
                for (i, value) in lane.iter_mut().enumerate() {
                    let rest = *value - (start + slope * i as f32);
                    *value = rest * rest;
                }
                *part = lane;
                continue;
            }
            for (i, value) in part.iter_mut().enumerate() {
                let rest = *value - (start + slope * i as f32);
                *value = rest * rest;
            }
        }
    }

    /// Adds to `plain` its difference to `x` in part: `alone` of it where `open` is 0, all where it is 1.
    pub(crate) fn add_share(plain: &mut [f32], x: &[f32], open: &[f32], alone: f32) {
        let n = plain.len();
        let (x, open) = (&x[..n], &open[..n]);
        for i in 0..n {
            let share = alone + (1.0 - alone) * open[i];
            plain[i] += share * (x[i] - plain[i]);
        }
    }

    /// Adds each value that is nearer to zero than `bound` to its sum, and one to its count.
    pub(crate) fn add_near(sums: &mut [f32], counts: &mut [f32], row: &[f32], bound: f32) {
        let n = row.len();
        let (sums, counts) = (&mut sums[..n], &mut counts[..n]);
        for x in 0..n {
            let near = if row[x].abs() < bound { 1.0 } else { 0.0 };
            sums[x] += near * row[x];
            counts[x] += near;
        }
    }

    /// What a blur took away, squared: `sharp = (sharp - smooth)^2`.
    pub(crate) fn squared_detail(sharp: &mut [f32], smooth: &[f32]) {
        let n = sharp.len();
        let smooth = &smooth[..n];
        for x in 0..n {
            let detail = sharp[x] - smooth[x];
            sharp[x] = detail * detail;
        }
    }

    /// Inverse of the tolerated squared difference: `out = 1 / (floor + share * detail)`.
    pub(crate) fn inverse_tolerance(out: &mut [f32], detail: &[f32], floor: f32, share: f32) {
        let n = out.len();
        let detail = &detail[..n];
        for x in 0..n {
            out[x] = 1.0 / (floor + share * detail[x]);
        }
    }

}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CpuLevel;

    fn noise(seed: u32, n: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / 65536.0
        };
        (0..n).map(next).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    /// Runs a kernel at a level on copies of the same rows and gives the bits of its output.
    fn run(level: CpuLevel, which: usize, n: usize) -> Vec<u32> {
        let (a, b, data) = (noise(1, n), noise(2, n), noise(3, n + 40));
        let mut out = noise(4, n);
        let (offsets, weights): (Vec<usize>, Vec<f32>) = (0..n % 19).map(|k| (2 * k, 0.3 - 0.07 * k as f32)).unzip();
        match which {
            0 => weighted_sum(level, &mut out, &data, &offsets, &weights, n.is_multiple_of(2)),
            1 => chebyshev_step(level, &mut out, &data, [4, 3, 5, 9, 0], &a, &b, ([0.3, 2.3], [0.1, 1.5, 4.0])),
            2 => inverse(level, &mut out, 0.5),
            3 => agreement(level, &mut out, &a),
            4 => matched_difference(level, &mut out, &a, 0.9, 2.0),
            5 => squared_detail(level, &mut out, &a),
            6 => inverse_tolerance(level, &mut out, &a, 1.0, 0.0625),
            7 => limit(level, &mut out, 0.2, 0.7),
            8 => corrected(level, &mut out, &a, &b, &data),
            9 => {
                let (phases, taps) = (1 + n % 4, [3, 5, 7, 9, 13][n % 5]);
                let (data, taps) = (noise(3, 2 * n + 90), noise(5, taps));
                let from: Vec<usize> = (0..phases + taps.len() - 1).map(|j| n * (j % 2) + 3 * j).collect();
                let to: Vec<usize> = (0..phases).map(|p| p * (n + 5)).collect();
                out.resize(phases * (n + 5), 0.0);
                filter_across(level, &mut out, &to, &data, &from, n, &taps);
            }
            10 => {
                let (starts, row) = ([0, 31, 57, 3], noise(3, n + 60));
                in_order(level, &mut out, &row, &starts[..1 + n % 4], 0.2, 0.8);
            }
            11 => {
                let mut counts = noise(6, n);
                add_near(level, &mut out, &mut counts, &a, 0.5);
                out.extend(counts);
            }
            12 => add_share(level, &mut out, &a, &b, 0.3),
            13 => squared_without(level, &mut out, &data),
            14 => in_other_light(level, &mut out, &a, (0.9, 2.0), &data),
            _ => van_cittert(level, &mut out, &a, &b, &data),
        }
        bits(&out)
    }

    #[test]
    fn every_level_gives_the_bits_of_the_baseline() {
        for level in CpuLevel::available() {
            for which in 0..16 {
                for n in 0..70 {
                    assert_eq!(run(CpuLevel::SCALAR, which, n), run(level, which, n), "{level:?}, kernel {which}, {n}");
                }
            }
        }
    }

    #[test]
    fn a_filter_across_slices_is_the_weighted_sum_of_each_window() {
        let data = noise(3, 2000);
        for (slices, taps) in (1..=4).flat_map(|slices| (1..=17).map(move |taps| (slices, taps))) {
            let (length, taps) = (37, noise(taps as u32, taps));
            let from: Vec<usize> = (0..slices + taps.len() - 1).map(|j| 61 * j + j % 3).collect();
            let to: Vec<usize> = (0..slices).map(|p| p * (length + 1)).collect();
            let mut out = vec![0.0; slices * (length + 1)];
            filter_across(CpuLevel::SCALAR, &mut out, &to, &data, &from, length, &taps);
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
