//! What neighbouring nodes say about one another: medians, smoothing where the picture does not tell the motion, and
//! the affine motion that most nodes share.

use super::field::Field;
use super::nodes::Found;
use super::prepare::sample_step;
use crate::kernels::CpuLevel;
use crate::kernels::nodes::{Drawn, draw_together, likeness, median_of_nine};

/// Differences of neighbouring vectors from which they count as different motions, pixels.
const EDGE: f32 = 0.25;
/// A node with this much texture along its weaker direction counts half in the affine motion, squared grey levels per
/// squared pixel.
const TEXTURE: f64 = 20.0;
/// Nodes with less do not count at all.
const LEAST_TEXTURE: f64 = 0.05;
/// Nodes that the affine motion is fitted to.
const NODES: usize = 2048;
/// Added to the squared extent of the nodes, squared sides of the frame.
const STIFFNESS: f64 = 1e-5;
/// Rounds of re-weighting of the affine motion.
const ROUNDS: usize = 6;

/// Replaces every vector by the medians, for each axis, of 3 x 3 nodes; outer nodes repeated outside.
pub(super) fn median(cpu: CpuLevel, field: &mut Field) {
    let (rows, columns) = field.nodes();
    let padded = |row: &[[f32; 2]]| [&row[..1], row, &row[columns - 1..]].concat();
    let old: Vec<Vec<[f32; 2]>> = field.vectors.chunks_exact(columns).map(padded).collect();
    for (row, out) in field.vectors.chunks_exact_mut(columns).enumerate() {
        let around = [row.saturating_sub(1), row, (row + 1).min(rows - 1)];
        median_of_nine(cpu, out.as_flattened_mut(), around.map(|row| old[row].as_flattened()), 2);
    }
}

/// A quantity of every node, with one more node all around, where it is 0.
struct Surrounded {
    columns: usize,
    values: Vec<f32>,
}

impl Surrounded {
    fn zeros((rows, columns): (usize, usize)) -> Self {
        Self { columns, values: vec![0.0; (rows + 2) * (columns + 2)] }
    }

    fn of<T>(nodes: (usize, usize), all: &[T], value: impl Fn(&T) -> f32) -> Self {
        let mut new = Self::zeros(nodes);
        for (row, all) in all.chunks_exact(nodes.1).enumerate() {
            new.row_mut(row).iter_mut().zip(all).for_each(|(out, node)| *out = value(node));
        }
        new
    }

    /// Nodes from `down` rows below and `right` columns right of the first one of row `row` on, to the end of the row.
    fn row(&self, row: usize, down: isize, right: isize) -> &[f32] {
        let at = row.wrapping_add_signed(1 + down) * (self.columns + 2);
        &self.values[at.wrapping_add_signed(1 + right)..][..self.columns]
    }

    fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let at = (row + 1) * (self.columns + 2) + 1;
        &mut self.values[at..][..self.columns]
    }
}

/// Draws each vector towards its neighbours where its own window does not tell it: `sweeps` of
/// `v = (H + s I)^-1 (H v0 + s mean)`, `s` the `strength` times how alike the neighbours are.
pub(super) fn smooth(cpu: CpuLevel, field: &mut Field, found: &[Found], strength: f32, sweeps: usize) {
    let nodes @ (rows, columns) = field.nodes();
    let start = [0, 1].map(|axis| Surrounded::of(nodes, &field.vectors, |v| v[axis]));
    let tensor = [0, 1, 2].map(|k| Surrounded::of(nodes, found, |found| found.tensor[k]));
    // Weights of each node and the one right of it, and the one below it; 0 at the edges.
    let [mut right, mut below] = [(); 2].map(|()| Surrounded::zeros(nodes));
    for row in 0..rows {
        let other = |down, right| [0, 1].map(|axis: usize| start[axis].row(row, down, right));
        let (out, own) = (&mut right.row_mut(row)[..columns - 1], other(0, 0));
        likeness(cpu, out, own, other(0, 1), 0.25 * strength, EDGE);
        if row + 1 < rows {
            likeness(cpu, below.row_mut(row), own, other(1, 0), 0.25 * strength, EDGE);
        }
    }
    let [mut from, mut to] = [(); 2].map(|()| [0, 1].map(|axis| Surrounded::of(nodes, &field.vectors, |v| v[axis])));
    for _ in 0..sweeps {
        for row in 0..rows {
            let near = |down, right| [0, 1].map(|axis: usize| from[axis].row(row, down, right));
            let drawn = Drawn {
                tensor: [0, 1, 2].map(|k: usize| tensor[k].row(row, 0, 0)),
                start: [0, 1].map(|axis: usize| start[axis].row(row, 0, 0)),
                here: near(0, 0),
                around: [near(0, -1), near(-1, 0), near(0, 1), near(1, 0)],
                weights: [right.row(row, 0, -1), below.row(row, -1, 0), right.row(row, 0, 0), below.row(row, 0, 0)],
                floor: 1e-3,
            };
            let [down, right] = &mut to;
            draw_together(cpu, down.row_mut(row), right.row_mut(row), &drawn);
        }
        std::mem::swap(&mut from, &mut to);
    }
    for (row, out) in field.vectors.chunks_exact_mut(columns).enumerate() {
        let [down, right] = [0, 1].map(|axis: usize| from[axis].row(row, 0, 0));
        out.iter_mut().zip(down.iter().zip(right)).for_each(|(v, (down, right))| *v = [*down, *right]);
    }
}

/// Sums over 3 x 3 nodes.
pub(super) fn spread(values: &[f32], columns: usize) -> Vec<f32> {
    let near = |i: usize, n: usize| i.saturating_sub(1)..(i + 2).min(n);
    let mut along = Vec::with_capacity(values.len());
    for row in values.chunks_exact(columns) {
        along.extend((0..columns).map(|column| row[near(column, columns)].iter().sum::<f32>()));
    }
    let rows = values.len() / columns;
    let mut sums = vec![0.0; values.len()];
    for (row, sums) in sums.chunks_exact_mut(columns).enumerate() {
        for row in near(row, rows) {
            sums.iter_mut().zip(&along[row * columns..]).for_each(|(sum, value)| *sum += value);
        }
    }
    sums
}

/// An affine motion: the vector at the origin and how it changes per row and per column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    origin: [f32; 2],
    per_row: [f32; 2],
    per_column: [f32; 2],
}

impl Affine {
    /// The same vector everywhere.
    pub(super) fn constant(vector: [f32; 2]) -> Self {
        Self { origin: vector, per_row: [0.0; 2], per_column: [0.0; 2] }
    }

    /// The vector at row `y`, column `x`.
    pub(super) fn at(&self, y: f32, x: f32) -> [f32; 2] {
        let axis = |k: usize| self.origin[k] + y * self.per_row[k] + x * self.per_column[k];
        [axis(0), axis(1)]
    }

    /// Takes this motion, times `factor`, from all vectors of a field.
    pub(super) fn subtract(&self, field: &mut Field, factor: f32) {
        let (rows, columns) = field.nodes();
        let places = [rows, columns].map(|n| (0..n).map(|i| field.position(i)).collect::<Vec<_>>());
        for (y, row) in places[0].iter().zip(field.vectors.chunks_exact_mut(columns)) {
            for (x, v) in places[1].iter().zip(row) {
                let model = self.at(*y, *x);
                *v = [v[0] - factor * model[0], v[1] - factor * model[1]];
            }
        }
    }

    /// The same motion for frames of twice the size.
    pub(super) fn doubled(&self) -> Self {
        let shift = |k: usize| 2.0 * self.origin[k] - 0.5 * (self.per_row[k] + self.per_column[k]);
        Self { origin: [shift(0), shift(1)], ..*self }
    }

    /// The affine motion that most textured nodes follow, by least squares re-weighted after Geman & McClure, of about
    /// [`NODES`] nodes; `None` where they do not tell one.
    pub(super) fn fitted(field: &Field, found: &[Found]) -> Option<Self> {
        let (rows, columns) = field.nodes();
        let step = sample_step(rows * columns, NODES);
        let grid = (0..rows).step_by(step).flat_map(|y| (0..columns).step_by(step).map(move |x| (y, x)));
        let sample = |(y, x): (usize, usize)| {
            let i = y * columns + x;
            let texture = weaker(&found[i].tensor);
            let place = [f64::from(field.position(y)), f64::from(field.position(x))];
            Sample {
                place,
                vector: field.vectors[i].map(f64::from),
                texture: texture / (texture + TEXTURE),
                weight: 1.0,
            }
        };
        let mut samples: Vec<Sample> = grid.map(sample).filter(|s| s.texture > LEAST_TEXTURE).collect();
        samples.iter_mut().for_each(|s| s.weight = s.texture);
        let mut model = None;
        for _ in 0..ROUNDS {
            let fit = Self::weighted(field.size(), &samples)?;
            model = Some(fit);
            let mut squares: Vec<f64> = samples.iter().map(|s| fit.square(s)).collect();
            let middle = squares.len() / 2;
            let scale = squares.select_nth_unstable_by(middle, f64::total_cmp).1.max(0.01) * 2.25;
            samples.iter_mut().for_each(|s| s.weight = s.texture / (1.0 + fit.square(s) / scale).powi(2));
        }
        model
    }

    /// Squared distance of a sample's vector from this motion.
    fn square(&self, sample: &Sample) -> f64 {
        let model = self.at(sample.place[0] as f32, sample.place[1] as f32);
        let [dy, dx] = [0, 1].map(|k| sample.vector[k] - f64::from(model[k]));
        dy * dy + dx * dx
    }

    fn weighted((height, width): (usize, usize), samples: &[Sample]) -> Option<Self> {
        let (middle, scale) = ([height as f64 / 2.0, width as f64 / 2.0], height.max(width) as f64);
        let mut m = [[0.0; 5]; 3];
        for Sample { place, vector, weight, .. } in samples {
            let [y, x] = [0, 1].map(|k| (place[k] - middle[k]) / scale);
            let row = [1.0, y, x, vector[0], vector[1]];
            for (k, sums) in m.iter_mut().enumerate() {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * row[k] * value);
            }
        }
        // A little stiffness: few nodes in one corner tell a shift, not a rotation.
        let stiffness = STIFFNESS * m[0][0];
        m[1][1] += stiffness;
        m[2][2] += stiffness;
        // Gauss-Jordan without pivoting: the matrix is symmetric and positive definite.
        for p in [2, 1, 0] {
            let pivot = m[p][p];
            if pivot.is_nan() || pivot <= 1e-9 {
                return None;
            }
            m[p].iter_mut().for_each(|v| *v /= pivot);
            let row = m[p];
            for other in (0..3).filter(|&q| q != p) {
                let factor = m[other][p];
                m[other].iter_mut().zip(row).for_each(|(v, r)| *v -= factor * r);
            }
        }
        let axis = |k: usize| {
            let (row, column) = (m[1][3 + k] / scale, m[2][3 + k] / scale);
            [m[0][3 + k] - row * middle[0] - column * middle[1], row, column].map(|v| v as f32)
        };
        let [down, right] = [axis(0), axis(1)];
        let [origin, per_row, per_column] = [0, 1, 2].map(|k| [down[k], right[k]]);
        let finite = [origin, per_row, per_column].iter().flatten().all(|v| v.is_finite());
        finite.then_some(Self { origin, per_row, per_column })
    }
}

/// A node as the affine motion sees it.
struct Sample {
    /// Row and column, pixels.
    place: [f64; 2],
    vector: [f64; 2],
    /// How much its window tells, 0 to 1.
    texture: f64,
    weight: f64,
}

/// The smaller eigenvalue of a tensor.
fn weaker(tensor: &[f32; 3]) -> f64 {
    let [a, b, c] = tensor.map(f64::from);
    let value = 0.5 * (a + c) - (0.25 * (a - c) * (a - c) + b * b).sqrt();
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}
