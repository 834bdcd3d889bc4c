//! Comparing a frame with another one: their difference in one light, what of it is tolerated, and the confidence that is left.

use crate::kernels::levels;
use crate::kernels::splat::LANES;

/// Values of a row that share a cell in [`add_to_cells`] and [`scale_cells`].
pub(crate) const CELL: usize = 4;
/// Cells of a lane.
const CELLS: usize = LANES / CELL;

levels! {
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

    /// Adds the sum of every [`CELL`] `weights` (fewer at the end) to the one of `sums`, cells by rows and columns, that lies at its place in
    /// `seen` (rows, columns; in cells, rounded), if there is one.
    pub(crate) fn add_to_cells(sums: &mut [f32], weights: &[f32], seen: (&[f32], &[f32]), cells: (usize, usize)) {
        let (rows, columns) = (cells.0 as i32, cells.1 as i32);
        let parts = weights.chunks(LANES).zip(seen.0.chunks(CELLS).zip(seen.1.chunks(CELLS)));
        for (weights, (seen_rows, seen_columns)) in parts {
            let (mut lane, mut place) = ([0.0; LANES], [[-1.0; CELLS]; 2]);
            lane[..weights.len()].copy_from_slice(weights);
            place[0][..seen_rows.len()].copy_from_slice(seen_rows);
            place[1][..seen_columns.len()].copy_from_slice(seen_columns);
            // One more, so that rounding towards zero is rounding down.
            let [r, c] = place.map(|place| place.map(|p| (p + 1.5) as i32 - 1));
            for n in 0..CELLS {
                if (0..rows).contains(&r[n]) && (0..columns).contains(&c[n]) {
                    let [first, second, third, last] = lane.as_chunks::<CELL>().0[n];
                    sums[(r[n] * columns + c[n]) as usize] += first + second + third + last;
                }
            }
        }
    }

    /// Every [`CELL`] values of `row` (fewer at the end) times the one of `shares` that is theirs.
    pub(crate) fn scale_cells(row: &mut [f32], shares: &[f32]) {
        for (lane, shares) in row.chunks_mut(LANES).zip(shares.chunks(CELLS)) {
            if let (Some(lane), Some(shares)) = (lane.first_chunk_mut::<LANES>(), shares.first_chunk::<CELLS>()) {
                for (i, value) in lane.iter_mut().enumerate() {
                    *value *= shares[i / CELL];
                }
                continue;
            }
            for (i, value) in lane.iter_mut().enumerate() {
                *value *= shares[i / CELL];
            }
        }
    }

    /// Magnitudes of what the mask [1 -2 1; -2 4 -2; 1 -2 1] gives on the inner places of the middle one of three rows, which
    /// follow each other in `rows`.
    pub(crate) fn mask_response(out: &mut [f32], rows: &[f32]) {
        let (n, columns) = (out.len(), rows.len() / 3);
        let [above, here, below]: [&[f32]; 3] = std::array::from_fn(|k| &rows[k * columns..][..n + 2]);
        for x in 0..n {
            let above = above[x] - 2.0 * above[x + 1] + above[x + 2];
            let here = here[x] - 2.0 * here[x + 1] + here[x + 2];
            let below = below[x] - 2.0 * below[x + 1] + below[x + 2];
            out[x] = (above - 2.0 * here + below).abs();
        }
    }

    /// Magnitudes in steps of which `scale` make one: `|value| * scale` without its fraction, at most `last`; `last + 1` from the
    /// magnitude `unseen` on.
    pub(crate) fn magnitude_steps(steps: &mut [i32], values: &[f32], scale: f32, last: u16, unseen: f32) {
        let n = steps.len();
        let values = &values[..n];
        for x in 0..n {
            let magnitude = values[x].abs();
            // What is no number is the last step.
            let step = (magnitude * scale).min(f32::from(last)).max(0.0);
            // SAFETY: from 0 to `last`. `as` asks for each value whether it is a number and in range: ten times the time.
            let step = unsafe { step.to_int_unchecked::<i32>() };
            steps[x] = if magnitude < unseen { step } else { i32::from(last) + 1 };
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
    use crate::kernels::testing::{assert_same_at_every_level, bits, noise};

    /// Runs a kernel at a level on copies of the same rows and gives the bits of its output.
    fn run(level: CpuLevel, which: usize, n: usize) -> Vec<u32> {
        let (a, b, data) = (noise(1, n), noise(2, n), noise(3, n + 40));
        let mut out = noise(4, n);
        match which {
            0 => agreement(level, &mut out, &a),
            1 => matched_difference(level, &mut out, &a, 0.9, 2.0),
            2 => squared_detail(level, &mut out, &a),
            3 => inverse_tolerance(level, &mut out, &a, 1.0, 0.0625),
            4 => {
                out.extend(&b);
                let (sums, counts) = out.split_at_mut(n);
                add_near(level, sums, counts, &a, 128.0);
            }
            5 => squared_without(level, &mut out, &data),
            6 => {
                let rows = [a, b, data].map(|row| [&row[..n], &[1.0, 2.0]].concat()).concat();
                mask_response(level, &mut out, &rows);
            }
            7 => {
                let cells =
                    [noise(1, n), noise(2, n)].map(|places| places.iter().map(|p| p / 16.0).collect::<Vec<_>>());
                add_to_cells(level, &mut out, &noise(3, CELL * n), (&cells[0], &cells[1]), (1, n));
            }
            8 => scale_cells(level, &mut out, &a[..n.div_ceil(CELL)]),
            9 => {
                let mut steps = vec![0; n];
                magnitude_steps(level, &mut steps, &a, 32.0, 1000, 100.0);
                out = steps.iter().map(|step| *step as f32).collect();
            }
            _ => in_other_light(level, &mut out, &a, (0.9, 2.0), &data),
        }
        bits(&out)
    }

    #[test]
    fn every_level_gives_the_bits_of_the_baseline() {
        assert_same_at_every_level(11, run);
    }
}
