//! Rows of registration: reduction by two, and the sums of the robust normal equations.
//!
//! Sums over pixels are kept in [`LANES`] partial sums, lane `i` taking every sixteenth pixel, so that the order of
//! the additions is part of the definition and is the same at every CPU level.

use super::levels;

/// Partial sums of one row sum.
pub(crate) const LANES: usize = 16;

/// Number of different sums in the normal equations of shift, gain and offset.
pub(crate) const NORMAL_SUMS: usize = 14;

/// Partial sums of the normal equations, in the order written by [`accumulate_normal`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NormalSums {
    lanes: [[f32; LANES]; NORMAL_SUMS],
}

impl NormalSums {
    /// All zero.
    pub(crate) fn new() -> Self {
        Self { lanes: [[0.0; LANES]; NORMAL_SUMS] }
    }

    /// The sums, lanes added in ascending order.
    pub(crate) fn totals(&self) -> [f64; NORMAL_SUMS] {
        self.lanes.map(|lanes| lanes.iter().map(|&v| f64::from(v)).sum())
    }
}

/// How brightness goes from the reference to the moving frame, and from where a residual is an outlier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Brightness {
    /// Moving = gain * (reference - centre) + level.
    pub(crate) gain: f32,
    /// Value of the moving frame where the reference has `center`.
    pub(crate) level: f32,
    /// A value in the middle of the reference, to keep the sums small.
    pub(crate) center: f32,
    /// One over the residual from which Tukey's weight is zero.
    pub(crate) inverse_cutoff: f32,
}

/// One row of both frames, as [`accumulate_normal`] takes it. `n` pixels are summed.
pub(crate) struct NormalRow<'a> {
    /// Reference row above, `n`.
    pub(crate) above: &'a [f32],
    /// Reference row, `n + 2`: one pixel more on each side.
    pub(crate) reference: &'a [f32],
    /// Reference row below, `n`.
    pub(crate) below: &'a [f32],
    /// Moving frame brought to the reference's grid, `n + 2`.
    pub(crate) warped: &'a [f32],
    /// Its vertical derivative, `n`.
    pub(crate) slope: &'a [f32],
    /// Weight of each pixel beside that of its residual, `n`.
    pub(crate) trust: &'a [f32],
}

type Lane = [f32; LANES];

/// The sixteen pixels of a row from `start`.
#[inline(always)]
fn lane(row: &[f32], start: usize) -> Lane {
    let mut lane = [0.0; LANES];
    lane.copy_from_slice(&row[start..start + LANES]);
    lane
}

#[inline(always)]
fn add(sum: &mut Lane, a: &Lane, b: &Lane) {
    for i in 0..LANES {
        sum[i] += a[i] * b[i];
    }
}

#[inline(always)]
fn product(a: &Lane, b: &Lane) -> Lane {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        out[i] = a[i] * b[i];
    }
    out
}

/// The last pixels of a row, from `start`, followed by zeros so that they fill whole lanes.
struct Tail([[f32; LANES + 2]; 6]);

impl Tail {
    #[inline(always)]
    fn new(row: &NormalRow<'_>, start: usize) -> Self {
        let mut tail = [[0.0; LANES + 2]; 6];
        let rows = [row.above, row.reference, row.below, row.warped, row.slope, row.trust];
        for (out, row) in tail.iter_mut().zip(rows) {
            let rest = &row[start..];
            out[..rest.len()].copy_from_slice(rest);
        }
        Self(tail)
    }

    #[inline(always)]
    fn row(&self) -> NormalRow<'_> {
        let [above, reference, below, warped, slope, trust] = &self.0;
        NormalRow { above, reference, below, warped, slope, trust }
    }
}

/// Residual, gradient along x and y (means of both frames) and centred reference value of sixteen pixels.
#[inline(always)]
fn linearized(row: &NormalRow<'_>, s: usize, light: &Brightness) -> [Lane; 4] {
    let (left, mid, right) = (lane(row.reference, s), lane(row.reference, s + 1), lane(row.reference, s + 2));
    let (above, below) = (lane(row.above, s), lane(row.below, s));
    let (moved_left, moved, moved_right) = (lane(row.warped, s), lane(row.warped, s + 1), lane(row.warped, s + 2));
    let (slope, gain) = (lane(row.slope, s), 0.25 * light.gain);
    let [mut residual, mut gx, mut gy, mut value] = [[0.0; LANES]; 4];
    for i in 0..LANES {
        value[i] = mid[i] - light.center;
        residual[i] = moved[i] - light.gain * value[i] - light.level;
        gx[i] = gain * (right[i] - left[i]) + 0.25 * (moved_right[i] - moved_left[i]);
        gy[i] = gain * (below[i] - above[i]) + 0.5 * slope[i];
    }
    [residual, gx, gy, value]
}

/// Adds sixteen pixels to the normal equations.
#[inline(always)]
fn accumulate_lane(sums: &mut [Lane; NORMAL_SUMS], row: &NormalRow<'_>, s: usize, light: &Brightness) {
    let [residual, gx, gy, value] = linearized(row, s, light);
    let mut weight = lane(row.trust, s);
    for i in 0..LANES {
        let u = residual[i] * light.inverse_cutoff;
        let inside = (1.0 - u * u).max(0.0);
        weight[i] *= inside * inside;
    }
    let (wx, wy, wa) = (product(&weight, &gx), product(&weight, &gy), product(&weight, &value));
    let one = [1.0; LANES];
    add(&mut sums[0], &wx, &gx);
    add(&mut sums[1], &wx, &gy);
    add(&mut sums[2], &wy, &gy);
    add(&mut sums[3], &wx, &value);
    add(&mut sums[4], &wy, &value);
    add(&mut sums[5], &wa, &value);
    add(&mut sums[6], &wx, &one);
    add(&mut sums[7], &wy, &one);
    add(&mut sums[8], &wa, &one);
    add(&mut sums[9], &weight, &one);
    add(&mut sums[10], &wx, &residual);
    add(&mut sums[11], &wy, &residual);
    add(&mut sums[12], &wa, &residual);
    add(&mut sums[13], &weight, &residual);
}

levels! {
    /// `out[i]` is the mean of the 2 x 2 pixels `2 i, 2 i + 1` of the two rows.
    ///
    /// # Panics
    /// If a row is shorter than `2 * out.len()`.
    pub(crate) fn halve_rows(out: &mut [f32], top: &[f32], bottom: &[f32]) {
        let (top, bottom) = (top[..2 * out.len()].as_chunks::<2>().0, bottom[..2 * out.len()].as_chunks::<2>().0);
        for ((o, t), b) in out.iter_mut().zip(top).zip(bottom) {
            *o = 0.25 * ((t[0] + t[1]) + (b[0] + b[1]));
        }
    }

    /// Adds a row to the normal equations of a shift (dx, dy), a gain and a level: with the residual
    /// `r = warped - gain * a - level`, `a = reference - center`, the weight `w = trust (1 - (r / cutoff)^2)^2` (Tukey) and the
    /// mean gradient `g` of both frames, the sums of `w gx gx, w gx gy, w gy gy, w gx a, w gy a, w a a, w gx, w gy,
    /// w a, w, w gx r, w gy r, w a r, w r`.
    ///
    /// # Panics
    /// If the slices of `row` differ from the lengths given there.
    pub(crate) fn accumulate_normal(sums: &mut NormalSums, row: &NormalRow<'_>, light: &Brightness) {
        row.check();
        let mut lanes = sums.lanes;
        let body = row.slope.len() - row.slope.len() % LANES;
        for s in (0..body).step_by(LANES) {
            accumulate_lane(&mut lanes, row, s, light);
        }
        if body < row.slope.len() {
            // Pixels behind the end have no trust and add nothing.
            accumulate_lane(&mut lanes, &Tail::new(row, body).row(), 0, light);
        }
        sums.lanes = lanes;
    }

    /// Squared residual and squared length of the mean gradient of each pixel of a row; `trust` is not looked at.
    ///
    /// # Panics
    /// If the slices of `row` differ from the lengths given there, or the outputs are shorter than `row.slope`.
    pub(crate) fn energy_row(residual: &mut [f32], gradient: &mut [f32], row: &NormalRow<'_>, light: &Brightness) {
        row.check();
        let n = row.slope.len();
        let body = n - n % LANES;
        let tail = Tail::new(row, body);
        for s in (0..n).step_by(LANES) {
            let [r, gx, gy, _] =
                if s < body { linearized(row, s, light) } else { linearized(&tail.row(), 0, light) };
            let count = LANES.min(n - s);
            let (xx, yy) = (product(&gx, &gx), product(&gy, &gy));
            for i in 0..count {
                residual[s + i] = r[i] * r[i];
                gradient[s + i] = xx[i] + yy[i];
            }
        }
    }
}

impl NormalRow<'_> {
    #[inline(always)]
    fn check(&self) {
        let n = self.slope.len();
        let short = [self.above, self.below, self.trust];
        assert!(short.iter().all(|row| row.len() == n), "rows above and below and trust have {n} pixels");
        assert!(self.reference.len() == n + 2 && self.warped.len() == n + 2, "middle rows have {n} + 2 pixels");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CpuLevel;

    fn noise(seed: u32, n: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).max(1);
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / 65_536.0 - 128.0
        };
        (0..n).map(next).collect()
    }

    #[test]
    fn every_level_gives_the_bits_of_the_scalar_one_at_every_length() {
        let light = Brightness { gain: 0.9, level: 3.0, center: 7.0, inverse_cutoff: 0.01 };
        for level in CpuLevel::available() {
            for n in 0..=67 {
                let rows: Vec<Vec<f32>> = (1..9).map(|s| noise(s, 2 * n + 9)).collect();
                let views: Vec<&[f32]> = rows.iter().map(|r| &r[1..]).collect();
                let run = |level| {
                    let mut c = vec![1e9; n + 3];
                    halve_rows(level, &mut c[1..n + 1], views[1], views[2]);
                    let mut sums = NormalSums::new();
                    let row = NormalRow {
                        above: &rows[0][..n],
                        reference: &rows[1][..n + 2],
                        below: &rows[2][..n],
                        warped: &rows[3][..n + 2],
                        slope: &rows[4][..n],
                        trust: &rows[5][..n],
                    };
                    accumulate_normal(level, &mut sums, &row, &light);
                    let (mut d, mut e) = (vec![1e9; n + 3], vec![1e9; n + 3]);
                    energy_row(level, &mut d[1..n + 1], &mut e[1..n + 1], &row, &light);
                    (c, d, e, sums)
                };
                assert_eq!(run(CpuLevel::SCALAR), run(level), "{level:?}, length {n}");
                let (c, d, e, _) = run(level);
                let intact = |out: &[f32]| out[0] == 1e9 && out[n + 1] == 1e9;
                assert!([c, d, e].iter().all(|out| intact(out)), "{level:?}, length {n}: wrote outside");
            }
        }
    }

    #[test]
    fn the_sums_are_those_of_the_plain_formula() {
        let (n, light) = (37, Brightness { gain: 0.8, level: 10.0, center: 5.0, inverse_cutoff: 1.0 / 150.0 });
        let [above, reference, below, warped, slope] =
            [(1, n), (2, n + 2), (3, n), (4, n + 2), (5, n)].map(|(s, n)| noise(s, n));
        let trust: Vec<f32> = (0..n).map(|i| (i % 5) as f32 / 4.0).collect();
        let mut sums = NormalSums::new();
        let (above, below) = (&above[..], &below[..]);
        let row = NormalRow { above, reference: &reference, below, warped: &warped, slope: &slope, trust: &trust };
        accumulate_normal(CpuLevel::SCALAR, &mut sums, &row, &light);
        let (mut squares, mut lengths) = (vec![0.0; n], vec![0.0; n]);
        energy_row(CpuLevel::SCALAR, &mut squares, &mut lengths, &row, &light);
        let mut want = [0f64; NORMAL_SUMS];
        for i in 0..n {
            let a = f64::from(reference[i + 1]) - 5.0;
            let r = f64::from(warped[i + 1]) - 0.8 * a - 10.0;
            let w = f64::from(trust[i]) * (1.0 - (r / 150.0).powi(2)).max(0.0).powi(2);
            let gx = 0.25 * f64::from(0.8 * (reference[i + 2] - reference[i]) + warped[i + 2] - warped[i]);
            let gy = 0.5 * (0.4 * f64::from(below[i] - above[i]) + f64::from(slope[i]));
            assert!((f64::from(squares[i]) - r * r).abs() <= 1e-3 * (1.0 + r * r), "squared residual {i}");
            let length = gx * gx + gy * gy;
            assert!((f64::from(lengths[i]) - length).abs() <= 1e-3 * (1.0 + length), "squared gradient {i}");
            let terms = [gx * gx, gx * gy, gy * gy, gx * a, gy * a, a * a, gx, gy, a, 1.0, gx * r, gy * r, a * r, r];
            for (sum, term) in want.iter_mut().zip(terms) {
                *sum += w * term;
            }
        }
        for (k, (got, want)) in sums.totals().iter().zip(want).enumerate() {
            assert!((got - want).abs() <= 1e-3 * want.abs().max(1.0), "sum {k}: {got}, not {want}");
        }
    }
}
