//! Width of edges: a measure of sharpness that needs no truth.
//!
//! After Marziliano, Dufaux, Winkler and Ebrahimi (2002, "A no-reference perceptual blur metric",
//! doi:10.1109/ICIP.2002.1038902): an edge is where values rise or fall from one local extremum to the next along a row.
//! Three things differ. Columns are measured as rows are; the width is that from 10 % to 90 % of the rise, as optics has it
//! (ISO 12233), and across the edge rather than along the row; and the median is taken, which shading does not pull up.

use super::samples;
use ndarray::ArrayView2;
use rayon::prelude::*;
use std::ops::Range;

/// Rise of an edge, code values: above noise and texture, below the contrast of most outlines.
const CONTRAST: f32 = 24.0;
/// Fewer edges say nothing.
const FEWEST: u64 = 32;
/// Widths are counted in steps of this many pixels, up to 64 pixels.
const STEP: f32 = 0.05;
const STEPS: usize = 1280;
/// Rows or columns that one job looks at.
const BAND: usize = 32;

/// How many edges there are of each width.
type Counts = Vec<u64>;

/// Median width of the edges of a plane from 10 % to 90 % of their rise, pixels, to 0.05; small is sharp.
///
/// The plane is on the 8-bit scale. An edge blurred by a Gaussian of standard deviation s is 2.56 s wide; an edge
/// from one pixel to the next 0.7, the least there is. Edges rise by 24 at least; `None` if there are fewer than 32 of
/// them. O(samples).
pub fn edge_width(plane: ArrayView2<'_, f32>) -> Option<f64> {
    let (rows, columns) = plane.dim();
    if rows < 3 || columns < 3 {
        return None;
    }
    let cells = samples(&plane);
    let across = bands(rows).map(|band| {
        let lines = &cells[(band.0 - 1) * columns..(band.1 + 1) * columns];
        edges(lines, columns)
    });
    let down = bands(columns).map(|band| edges(&turned(&cells, columns, band.0 - 1..band.1 + 1), rows));
    let add = |a: Counts, b: Counts| a.iter().zip(&b).map(|(a, b)| a + b).collect();
    median(&across.chain(down).reduce(|| vec![0; STEPS], add))
}

/// The lines that have a neighbour on both sides, in bands.
fn bands(lines: usize) -> impl IndexedParallelIterator<Item = (usize, usize)> {
    let count = (lines - 2).div_ceil(BAND);
    (0..count).into_par_iter().map(move |i| (1 + i * BAND, (1 + (i + 1) * BAND).min(lines - 1)))
}

/// Columns `range` of a plane as rows.
fn turned(cells: &[f32], columns: usize, range: Range<usize>) -> Vec<f32> {
    let rows = cells.len() / columns;
    let mut out = vec![0.0; range.len() * rows];
    for (y, row) in cells.chunks_exact(columns).enumerate() {
        for (k, value) in row[range.clone()].iter().enumerate() {
            out[k * rows + y] = *value;
        }
    }
    out
}

/// Widths of the edges along all lines but the first and the last.
fn edges(lines: &[f32], length: usize) -> Counts {
    let mut counts = vec![0; STEPS];
    let lines: Vec<&[f32]> = lines.chunks_exact(length).collect();
    for three in lines.windows(3) {
        let line = three[1];
        let (mut start, mut rising) = (0, line[1] >= line[0]);
        for x in 1..length {
            let goes_on = x + 1 < length && if rising { line[x + 1] >= line[x] } else { line[x + 1] <= line[x] };
            if goes_on {
                continue;
            }
            if (line[x] - line[start]).abs() >= CONTRAST {
                let run = start..x;
                let width = width(line, &run) * slant([three[0], line, three[2]], &run);
                if width > 0.0 {
                    counts[((width / STEP) as usize).min(STEPS - 1)] += 1;
                }
            }
            (start, rising) = (x, !rising);
        }
    }
    counts
}

/// From 10 % to 90 % of the way between the ends of a run of `line` that only rises or only falls, samples.
fn width(line: &[f32], run: &Range<usize>) -> f32 {
    crossing(line, run, 0.9) - crossing(line, run, 0.1)
}

/// Where a run has come `share` of its way: between the two samples there by cubic interpolation (Catmull and Rom).
fn crossing(line: &[f32], run: &Range<usize>, share: f32) -> f32 {
    let level = line[run.start] + share * (line[run.end] - line[run.start]);
    let beyond = |v: f32| if line[run.end] > line[run.start] { v >= level } else { v <= level };
    let after = (run.start + 1..run.end).find(|x| beyond(line[*x])).unwrap_or(run.end);
    let at = |x: usize| line[x.min(line.len() - 1)];
    let [a, b, c, d] = [at((after - 1).saturating_sub(1)), at(after - 1), at(after), at(after + 1)];
    let value =
        |t: f32| b + 0.5 * t * ((c - a) + t * ((2.0 * a - 5.0 * b + 4.0 * c - d) + t * (3.0 * (b - c) + d - a)));
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..10 {
        let middle = 0.5 * (low + high);
        *(if beyond(value(middle)) { &mut high } else { &mut low }) = middle;
    }
    (after - 1) as f32 + 0.5 * (low + high)
}

/// Cosine of the angle between the line and the edge's own direction at its middle (Sobel); 0 if the edge runs rather
/// along the line, where it is measured the other way.
fn slant([before, line, after]: [&[f32]; 3], run: &Range<usize>) -> f32 {
    let middle = (crossing(line, run, 0.5).round() as usize).clamp(1, line.len() - 2);
    let weighted = |[a, b, c]: [f32; 3]| (a + 2.0 * b + c).abs();
    let along = weighted([before, line, after].map(|row| row[middle + 1] - row[middle - 1]));
    let beside = weighted([middle - 1, middle, middle + 1].map(|x| after[x] - before[x]));
    if beside > along { 0.0 } else { along / along.hypot(beside) }
}

fn median(counts: &[u64]) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total < FEWEST {
        return None;
    }
    let (half, mut below) = (total as f64 / 2.0, 0.0);
    for (i, count) in counts.iter().enumerate() {
        let count = *count as f64;
        if below + count >= half {
            return Some((i as f64 + (half - below) / count) * f64::from(STEP));
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// A bright disc of 60 pixels' radius on dark ground, blurred by a Gaussian of `sigma`: edges in all directions at
    /// all sub-pixel places.
    fn disc(sigma: f64) -> Array2<f32> {
        let (y0, x0, radius) = (99.63, 100.21, 60.0);
        let profile = |r: f64| 0.5 + 0.5 * erf((radius - r) / (sigma * std::f64::consts::SQRT_2));
        Array2::from_shape_fn((200, 200), |(y, x)| {
            (40.0 + 150.0 * profile((y as f64 - y0).hypot(x as f64 - x0))) as f32
        })
    }

    /// Abramowitz and Stegun 7.1.26, right to 1.5e-7.
    fn erf(x: f64) -> f64 {
        let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
        let p = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
        let sum = p.iter().fold(0.0, |sum, c| (sum + c) * t);
        (1.0 - sum * (-x * x).exp()).copysign(x)
    }

    #[test]
    fn blurred_edges_have_their_known_width() {
        for sigma in [0.8, 1.0, 1.5, 2.0, 3.0, 4.0] {
            let (got, want) = (edge_width(disc(sigma).view()).expect("edges"), 2.563_1 * sigma);
            assert!((got - want).abs() < 0.04 * want + 0.05, "sigma {sigma}: {got}, not {want}");
        }
    }

    #[test]
    fn a_step_is_0_7_pixels_wide_and_a_slope_keeps_its_width_when_it_turns() {
        let step = Array2::from_shape_fn((40, 40), |(_, x)| if x < 20 { 20.0 } else { 200.0 });
        let got = edge_width(step.view()).expect("edges");
        assert!((got - 0.7).abs() <= 0.05, "{got}");
        for (dy, dx) in [(0.0, 1.0), (0.6, 0.8), (1.0, 0.0), (-0.6, 0.8)] {
            let slope = Array2::from_shape_fn((120, 120), |(y, x)| {
                let across: f64 = dy * (y as f64 - 60.0) + dx * (x as f64 - 60.0);
                (100.0 + 10.0 * across.clamp(-6.0, 6.0)) as f32
            });
            let got = edge_width(slope.view()).expect("edges");
            assert!((got - 9.6).abs() < 0.2, "slope in direction ({dy}, {dx}): {got}, not 9.6");
        }
    }

    #[test]
    fn flat_and_tiny_planes_have_no_edges() {
        assert_eq!(edge_width(Array2::from_elem((64, 64), 50.0).view()), None, "flat");
        assert_eq!(edge_width(Array2::zeros((2, 90)).view()), None, "two rows");
    }
}
