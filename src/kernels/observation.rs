//! Row kernels of the reconstruction: weighted sums of rows, residuals, the update step and confidence.
//!
//! With one shift for the whole frame every pass of the observation model, of its adjoint and of a blur is a sum of
//! a few contiguous slices, each times one number (`weighted_sum`): vertical passes sum rows, horizontal passes sum
//! shifted slices of a row stored phase by phase. Only scales that are no whole number need `banded`. All sums run in
//! the order of the terms, whatever the CPU level, so that the bits are the same everywhere.

use crate::kernels::levels;

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

/// [`banded`] for windows of `N` samples: the same sums in the same order, without a loop in the loop.
#[inline(always)]
fn windows<const N: usize>(out: &mut [f32], input: &[f32], start: &[u32], weights: &[f32], add: bool) {
    let (weights, _) = weights.as_chunks::<N>();
    for ((out, &start), weights) in out.iter_mut().zip(start).zip(weights) {
        let Some((window, _)) = input[start as usize..].split_first_chunk::<N>() else {
            panic!("a window of {N} from {start} leaves {} samples", input.len())
        };
        let mut total = if add { *out } else { 0.0 };
        for k in 0..N {
            total += weights[k] * window[k];
        }
        *out = total;
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
    /// Panics if a slice leaves `data`. O(terms * out), no allocation; eight terms a pass over `out`.
    pub(crate) fn weighted_sum(out: &mut [f32], data: &[f32], offsets: &[usize], weights: &[f32], add: bool) {
        assert_eq!(offsets.len(), weights.len(), "one weight a slice");
        if offsets.is_empty() && !add {
            out.fill(0.0);
        }
        let mut add = add;
        let mut k = 0;
        while k < offsets.len() {
            let (o, w) = (&offsets[k..], &weights[k..]);
            k += match o.len() {
                8.. => { sum::<8>(out, data, o, w, add); 8 }
                6.. => { sum::<6>(out, data, o, w, add); 6 }
                4.. => { sum::<4>(out, data, o, w, add); 4 }
                2.. => { sum::<2>(out, data, o, w, add); 2 }
                _ => { sum::<1>(out, data, o, w, add); 1 }
            };
            add = true;
        }
    }

    /// `out[i] (+)= sum over k of weights[count * i + k] * input[start[i] + k]`: bands that differ from sample to sample.
    ///
    /// Panics if a window leaves `input`. O(count * out), no allocation.
    pub(crate) fn banded(out: &mut [f32], input: &[f32], start: &[u32], weights: &[f32], count: usize, add: bool) {
        match count {
            4 => windows::<4>(out, input, start, weights, add),
            5 => windows::<5>(out, input, start, weights, add),
            6 => windows::<6>(out, input, start, weights, add),
            8 => windows::<8>(out, input, start, weights, add),
            _ => for ((out, &start), weights) in out.iter_mut().zip(start).zip(weights.chunks_exact(count)) {
                let mut total = if add { *out } else { 0.0 };
                for (sample, weight) in input[start as usize..][..count].iter().zip(weights) {
                    total += weight * sample;
                }
                *out = total;
            },
        }
    }

    /// Turns a prediction into a weighted residual: `row = weight * clamp(gain * seen + offset - row, +-bound)`.
    ///
    /// This is the residual times its Huber weight. Panics if the rows differ in length.
    pub(crate) fn residual(row: &mut [f32], seen: &[f32], weight: &[f32], gain: f32, offset: f32, bound: f32) {
        let n = row.len();
        let (seen, weight) = (&seen[..n], &weight[..n]);
        for x in 0..n {
            row[x] = weight[x] * (gain * seen[x] + offset - row[x]).clamp(-bound, bound);
        }
    }

    /// One Chebyshev step with a total-variation prior, in place of the estimate before last.
    ///
    /// `previous = x + momentum*(x - previous) + step*inverse*gradient - prior * sum over 4 neighbours of
    /// clamp(x - neighbour, +-1)`; without momentum `previous` is not read. `at` holds where the rows of x, its left, right, upper and lower neighbour start in
    /// `data`. Panics if a slice leaves `data`.
    pub(crate) fn chebyshev_step(
        previous: &mut [f32], data: &[f32], at: [usize; 5], gradient: &[f32], inverse: &[f32], gains: [f32; 3],
    ) {
        let n = previous.len();
        let [x, left, right, up, down] = at.map(|at| &data[at..][..n]);
        let (gradient, inverse) = (&gradient[..n], &inverse[..n]);
        let [momentum, step, prior] = gains;
        for i in 0..n {
            let c = x[i];
            let rough = (bounded(c, left[i]) + bounded(c, right[i])) + (bounded(c, up[i]) + bounded(c, down[i]));
            let carried = if momentum == 0.0 { 0.0 } else { momentum * (c - previous[i]) };
            previous[i] = (c + carried) + (step * inverse[i] * gradient[i] - prior * rough);
        }
    }

    /// `row = 1 / max(row, floor)`.
    pub(crate) fn inverse(row: &mut [f32], floor: f32) {
        for value in row {
            *value = 1.0 / value.max(floor);
        }
    }

    /// Weight of a sample whose smoothed difference to the reference is `difference`, in place.
    ///
    /// `clamp(1.5 exp(-d^2 t) - 0.2, 0, 1)` with `t` the inverse of the tolerated variance and
    /// `exp(-q) = (1 - min(q, 3)/16)^16`, which needs no function of the C library.
    pub(crate) fn agreement(difference: &mut [f32], tolerance: &[f32]) {
        let n = difference.len();
        let tolerance = &tolerance[..n];
        for x in 0..n {
            let q = (difference[x] * difference[x] * tolerance[x]).min(3.0);
            let e = 1.0 - q * (1.0 / 16.0);
            let e = e * e;
            let e = e * e;
            let e = e * e;
            difference[x] = (1.5 * (e * e) - 0.2).clamp(0.0, 1.0);
        }
    }

    /// `out[x] = |gain * seen[x] + offset - out[x]|`.
    pub(crate) fn absolute_difference(out: &mut [f32], seen: &[f32], gain: f32, offset: f32) {
        let n = out.len();
        let seen = &seen[..n];
        for x in 0..n {
            out[x] = (gain * seen[x] + offset - out[x]).abs();
        }
    }

    /// `out[x] = (in[x] - 128)^2`: squares about mid-grey, so that a variance keeps its digits.
    pub(crate) fn squares(out: &mut [f32], input: &[f32]) {
        let n = out.len();
        let input = &input[..n];
        for x in 0..n {
            out[x] = (input[x] - 128.0) * (input[x] - 128.0);
        }
    }

    /// Inverse of the tolerated squared difference: `mean = 1 / (floor + share * max(square - (mean - 128)^2, 0))`.
    pub(crate) fn inverse_tolerance(mean: &mut [f32], square: &[f32], floor: f32, share: f32) {
        let n = mean.len();
        let square = &square[..n];
        for x in 0..n {
            let m = mean[x] - 128.0;
            mean[x] = 1.0 / (floor + share * (square[x] - m * m).max(0.0));
        }
    }

    /// `out[x] = min(out[x], a[x], b[x])`.
    pub(crate) fn minimum_of_three(out: &mut [f32], a: &[f32], b: &[f32]) {
        let n = out.len();
        let (a, b) = (&a[..n], &b[..n]);
        for x in 0..n {
            out[x] = out[x].min(a[x]).min(b[x]);
        }
    }

    /// `row[x] = clamp((row[x] - zero) * slope, 0, 1)`.
    pub(crate) fn ramp(row: &mut [f32], zero: f32, slope: f32) {
        for value in row {
            *value = ((*value - zero) * slope).clamp(0.0, 1.0);
        }
    }

    /// `row[x] = row[x] * factor[x]`.
    pub(crate) fn multiply(row: &mut [f32], factor: &[f32]) {
        let n = row.len();
        let factor = &factor[..n];
        for x in 0..n {
            row[x] *= factor[x];
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
        let start: Vec<u32> = (0..n).map(|i| i as u32).collect();
        match which {
            0 => weighted_sum(level, &mut out, &data, &offsets, &weights, n.is_multiple_of(2)),
            1 => banded(level, &mut out, &data, &start, &noise(5, 9 * n), 4 + n % 5, n.is_multiple_of(2)),
            2 => residual(level, &mut out, &a, &b, 1.1, -3.0, 6.0),
            3 => chebyshev_step(level, &mut out, &data, [4, 3, 5, 9, 0], &a, &b, [0.3, 2.3, 0.1]),
            4 => inverse(level, &mut out, 0.5),
            5 => agreement(level, &mut out, &a),
            6 => absolute_difference(level, &mut out, &a, 0.9, 2.0),
            7 => squares(level, &mut out, &a),
            8 => inverse_tolerance(level, &mut out, &a, 1.0, 0.0625),
            9 => minimum_of_three(level, &mut out, &a, &b),
            10 => ramp(level, &mut out, 16.0, 0.01),
            _ => multiply(level, &mut out, &a),
        }
        bits(&out)
    }

    #[test]
    fn every_level_gives_the_bits_of_the_baseline() {
        for level in CpuLevel::available() {
            for which in 0..12 {
                for n in 0..70 {
                    assert_eq!(run(CpuLevel::SCALAR, which, n), run(level, which, n), "{level:?}, kernel {which}, {n}");
                }
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
