//! Rows of a picture that is being reconstructed: the update steps, and the way out.
//!
//! Reading and writing at sub-pixel positions is in `splat`, filters are in `filters`, comparing frames in `comparing`. The bits
//! are the same whatever the CPU level.

use std::array::{from_mut, from_ref};

use crate::kernels::ahead::fetch_ahead;
use crate::kernels::levels;
use crate::kernels::splat::LANES;

/// Sixteens of pixels from one that is done to the one that is fetched: 4 KiB, as the CPU by itself stops at every page.
const AHEAD: usize = 64;

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

/// [`chebyshev_step`] for `N` neighbouring pixels.
#[inline(always)]
fn step_lanes<const N: usize>(
    previous: &mut [f32; N],
    [x, left, right, up, down]: [&[f32; N]; 5],
    gradient: &[f32; N],
    inverse: &[f32; N],
    ([momentum, step], [prior, full, most]): ([f32; 2], [f32; 3]),
) {
    let mut new = [0.0; N];
    for i in 0..N {
        let c = x[i];
        let rough = (bounded(c, left[i]) + bounded(c, right[i])) + (bounded(c, up[i]) + bounded(c, down[i]));
        let carried = if momentum == 0.0 { 0.0 } else { momentum * (c - previous[i]) };
        let gain = prior * (full * inverse[i]).clamp(1.0, most);
        new[i] = (c + carried) + (step * inverse[i] * gradient[i] - gain * rough);
    }
    *previous = new;
}

levels! {
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
        let rows = at.map(|at| &data[at..][..n]);
        let (gradient, inverse) = (&gradient[..n], &inverse[..n]);
        let (lanes, rest) = previous.as_chunks_mut::<LANES>();
        let count = lanes.len();
        let row_lanes = rows.map(|row| &row.as_chunks::<LANES>().0[..count]);
        let [gradient_lanes, inverse_lanes] = [gradient, inverse].map(|row| &row.as_chunks::<LANES>().0[..count]);
        for (i, previous) in lanes.iter_mut().enumerate() {
            fetch_ahead(previous, AHEAD);
            fetch_ahead(&inverse_lanes[i], AHEAD);
            step_lanes(previous, row_lanes.map(|row| &row[i]), &gradient_lanes[i], &inverse_lanes[i], gains);
        }
        for (previous, i) in rest.iter_mut().zip(count * LANES..) {
            let x = rows.map(|row| from_ref(&row[i]));
            step_lanes(from_mut(previous), x, from_ref(&gradient[i]), from_ref(&inverse[i]), gains);
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

    /// `out = 1 / max(row, floor)`.
    pub(crate) fn inverse(out: &mut [f32], row: &[f32], floor: f32) {
        let n = out.len();
        let row = &row[..n];
        for x in 0..n {
            out[x] = 1.0 / row[x].max(floor);
        }
    }

    /// Adds to `plain` its difference to `x`, each value times its `share`.
    pub(crate) fn add_share(plain: &mut [f32], x: &[f32], share: &[f32]) {
        let n = plain.len();
        let (x, share) = (&x[..n], &share[..n]);
        for i in 0..n {
            plain[i] += share[i] * (x[i] - plain[i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CpuLevel;
    use crate::kernels::testing::{assert_same_at_every_level, bits, noise};

    /// Runs a kernel at a level on copies of the same rows and gives the bits of its output.
    fn run(level: CpuLevel, which: usize, n: usize) -> Vec<u32> {
        let (a, b, data) = (noise(1, n), noise(2, n), noise(3, n + 40));
        let mut out = noise(4, n);
        match which {
            0 => chebyshev_step(level, &mut out, &data, [4, 3, 5, 9, 0], &a, &b, ([0.3, 2.3], [0.1, 1.5, 4.0])),
            1 => inverse(level, &mut out, &a, 0.5),
            2 => limit(level, &mut out, 0.2, 0.7),
            3 => corrected(level, &mut out, &a, &b, &data),
            4 => in_order(level, &mut out, &noise(3, n + 60), &[0, 31, 57, 3][..1 + n % 4], 0.2, 0.8),
            5 => add_share(level, &mut out, &a, &b),
            _ => van_cittert(level, &mut out, &a, &b, &data),
        }
        bits(&out)
    }

    #[test]
    fn every_level_gives_the_bits_of_the_baseline() {
        assert_same_at_every_level(7, run);
    }
}
