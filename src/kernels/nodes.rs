//! What the vectors of neighbouring nodes of a motion field say about one another, a row of nodes at a time.
//!
//! All values are finite; of equal ones it does not matter which is taken.

use crate::kernels::levels;
use crate::kernels::splat::LANES;

/// Sorts the values at two places, lane by lane.
#[inline(always)]
fn order(values: &mut [[f32; LANES]; 9], a: usize, b: usize) {
    let (p, q) = (values[a], values[b]);
    let (mut low, mut high) = (p, p);
    for i in 0..LANES {
        low[i] = if p[i] < q[i] { p[i] } else { q[i] };
        high[i] = if p[i] < q[i] { q[i] } else { p[i] };
    }
    (values[a], values[b]) = (low, high);
}

/// Exchanges after which the value in the middle of nine is the fifth: the shortest such network [Paeth 1990].
const EXCHANGES: [(usize, usize); 19] = [
    (1, 2),
    (4, 5),
    (7, 8),
    (0, 1),
    (3, 4),
    (6, 7),
    (1, 2),
    (4, 5),
    (7, 8),
    (0, 3),
    (5, 8),
    (4, 7),
    (3, 6),
    (1, 4),
    (2, 5),
    (4, 7),
    (4, 2),
    (6, 4),
    (4, 2),
];

/// One row of nodes of a field that is drawn together; all slices are as long as the row or longer. Of two: down, right.
pub(crate) struct Drawn<'a> {
    /// Mean products of gradients: down-down, down-right, right-right.
    pub(crate) tensor: [&'a [f32]; 3],
    /// What was measured.
    pub(crate) start: [&'a [f32]; 2],
    /// As it is so far.
    pub(crate) here: [&'a [f32]; 2],
    /// The nodes left, above, right and below.
    pub(crate) around: [[&'a [f32]; 2]; 4],
    /// What these weigh.
    pub(crate) weights: [&'a [f32]; 4],
    /// Added to both axes of the tensor.
    pub(crate) floor: f32,
}

levels! {
    /// The middle one of nine values: of each of three `rows` those at the same place and at one and two steps of `step` beyond.
    pub(crate) fn median_of_nine(out: &mut [f32], rows: [&[f32]; 3], step: usize) {
        let n = out.len();
        let lines: [&[f32]; 9] = std::array::from_fn(|k| &rows[k / 3][k % 3 * step..][..n]);
        for (k, out) in out.chunks_mut(LANES).enumerate() {
            let mut values = [[0.0; LANES]; 9];
            for (lane, line) in values.iter_mut().zip(lines) {
                match line[k * LANES..].first_chunk::<LANES>() {
                    Some(whole) => *lane = *whole,
                    None => lane[..out.len()].copy_from_slice(&line[k * LANES..]),
                }
            }
            for (a, b) in EXCHANGES {
                order(&mut values, a, b);
            }
            out.copy_from_slice(&values[4][..out.len()]);
        }
    }

    /// `most / sqrt(1 + |a - b|^2 / edge^2)`: less between vectors that differ.
    pub(crate) fn likeness(out: &mut [f32], a: [&[f32]; 2], b: [&[f32]; 2], most: f32, edge: f32) {
        let n = out.len();
        let ([ay, ax], [by, bx]) = (a.map(|a| &a[..n]), b.map(|b| &b[..n]));
        for x in 0..n {
            let (down, right) = (ay[x] - by[x], ax[x] - bx[x]);
            out[x] = most * edge / (down * down + right * right + edge * edge).sqrt();
        }
    }

    /// `(H + s I)^-1 (H v + sum of w u)` for tensors `H`, measured vectors `v`, vectors around `u` of weights `w` and `s` their sum;
    /// what is so far where that is no number.
    pub(crate) fn draw_together(down: &mut [f32], right: &mut [f32], row: &Drawn<'_>) {
        let n = down.len();
        let right = &mut right[..n];
        let ([hyy, hyx, hxx], [vy, vx]) = (row.tensor.map(|h| &h[..n]), row.start.map(|v| &v[..n]));
        let (here, around) = (row.here.map(|v| &v[..n]), row.around.map(|u| u.map(|u| &u[..n])));
        let weights = row.weights.map(|w| &w[..n]);
        for x in 0..n {
            let (mut s, mut sum) = (0.0, [0.0; 2]);
            for k in 0..4 {
                let (w, [uy, ux]) = (weights[k][x], around[k]);
                s += w;
                sum = [sum[0] + w * uy[x], sum[1] + w * ux[x]];
            }
            let (a, b, c) = (hyy[x] + s + row.floor, hyx[x], hxx[x] + s + row.floor);
            let y = hyy[x] * vy[x] + b * vx[x] + sum[0] + row.floor * vy[x];
            let z = b * vy[x] + hxx[x] * vx[x] + sum[1] + row.floor * vx[x];
            let determinant = a * c - b * b;
            let drawn = [(c * y - b * z) / determinant, (a * z - b * y) / determinant];
            let known = drawn[0].abs() < f32::INFINITY && drawn[1].abs() < f32::INFINITY;
            down[x] = if known { drawn[0] } else { here[0][x] };
            right[x] = if known { drawn[1] } else { here[1][x] };
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
        let data: Vec<Vec<f32>> = (0..16).map(|seed| noise(seed, n + 4)).collect();
        let (mut out, mut other) = (noise(20, n), noise(21, n));
        match which {
            0 => median_of_nine(level, &mut out, [&data[0], &data[1], &data[2]], 2),
            1 => likeness(level, &mut out, [&data[0], &data[1]], [&data[2], &data[3]], 2.5, 0.25),
            _ => {
                let row = Drawn {
                    tensor: [&data[0], &data[1], &data[2]],
                    start: [&data[3], &data[4]],
                    here: [&data[5], &data[6]],
                    around: [7, 8, 9, 10].map(|k| [&data[k][..], &data[k + 1][1..]]),
                    weights: [12, 13, 14, 15].map(|k| &data[k][..]),
                    floor: 0.001,
                };
                draw_together(level, &mut out, &mut other, &row);
            }
        }
        out.extend(other);
        bits(&out)
    }

    #[test]
    fn every_level_gives_the_bits_of_the_baseline() {
        assert_same_at_every_level(3, run);
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let rows = [noise(1, 40), noise(2, 40), noise(3, 40)];
        let mut out = vec![0.0; 36];
        median_of_nine(CpuLevel::SCALAR, &mut out, [&rows[0], &rows[1], &rows[2]], 2);
        for (x, found) in out.iter().enumerate() {
            let mut nine: Vec<f32> = rows.iter().flat_map(|row| [row[x], row[x + 2], row[x + 4]]).collect();
            nine.sort_by(f32::total_cmp);
            assert_eq!(*found, nine[4], "{nine:?}");
        }
    }

    #[test]
    fn vectors_follow_their_neighbours_where_their_window_tells_nothing() {
        let (none, one, most) = ([0.0], [1.0], [1e6]);
        let mut drawn = [[0.0; 1]; 2];
        let mut draw = |tensor: &[f32; 1], weight: &[f32; 1], here: &[f32; 1]| {
            let [down, right] = &mut drawn;
            let row = Drawn {
                tensor: [tensor, &none, tensor],
                start: [&[3.0], &[-1.0]],
                here: [here; 2],
                around: [[&one, &one]; 4],
                weights: [weight; 4],
                floor: 0.0,
            };
            draw_together(CpuLevel::SCALAR, down, right, &row);
            [down[0], right[0]]
        };
        assert_eq!(draw(&none, &one, &none), [1.0, 1.0], "the mean of those around");
        let [down, right] = draw(&most, &one, &none);
        assert!((down - 3.0).abs() < 1e-4 && (right + 1.0).abs() < 1e-4, "what was measured");
        assert_eq!(draw(&none, &none, &[7.0]), [7.0, 7.0], "nothing is known");
    }
}
