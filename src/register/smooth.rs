//! What neighbouring nodes say about one another: medians, smoothing where the picture does not tell the motion, and
//! the affine motion that most nodes share.

use super::field::Field;
use super::nodes::Found;
use super::prepare::sample_step;

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
pub(super) fn median(field: &mut Field) {
    let (rows, columns) = field.nodes();
    let old = field.vectors.clone();
    for row in 0..rows {
        let around = [row.saturating_sub(1), row, (row + 1).min(rows - 1)];
        let [above, middle, below] = around.map(|r| &old[r * columns..][..columns]);
        for (column, out) in field.vectors[row * columns..][..columns].iter_mut().enumerate() {
            let (left, right) = (column.saturating_sub(1), (column + 1).min(columns - 1));
            let nine = [above, middle, below].map(|r| [r[left], r[column], r[right]]);
            *out = median_of_nine(nine);
        }
    }
}

/// Sorts the values of both axes at two places.
fn order(values: &mut [[f32; 2]; 9], a: usize, b: usize) {
    let (p, q) = (values[a], values[b]);
    values[a] = [p[0].min(q[0]), p[1].min(q[1])];
    values[b] = [p[0].max(q[0]), p[1].max(q[1])];
}

/// Middle value of each axis, by the shortest network of exchanges [Paeth 1990].
fn median_of_nine(nine: [[[f32; 2]; 3]; 3]) -> [f32; 2] {
    let [[a, b, c], [d, e, f], [g, h, i]] = nine;
    let mut values = [a, b, c, d, e, f, g, h, i];
    let exchanges = [
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
    for (a, b) in exchanges {
        order(&mut values, a, b);
    }
    values[4]
}

/// Draws each vector towards its neighbours where its own window does not tell it: `sweeps` of
/// `v = (H + s I)^-1 (H v0 + s mean)`, `s` the `strength` times how alike the neighbours are.
pub(super) fn smooth(field: &mut Field, found: &[Found], strength: f32, sweeps: usize) {
    let (rows, columns) = field.nodes();
    let start = field.vectors.clone();
    let weight = |a: [f32; 2], b: [f32; 2]| {
        let square = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
        0.25 * strength * EDGE / (square + EDGE * EDGE).sqrt()
    };
    // Weights of each node and the one right of it, and the one below it; 0 at the edges.
    let right: Vec<f32> = (0..rows * columns)
        .map(|i| if (i + 1) % columns == 0 { 0.0 } else { weight(start[i], start[i + 1]) })
        .collect();
    let below: Vec<f32> = (0..rows * columns)
        .map(|i| if i + columns < start.len() { weight(start[i], start[i + columns]) } else { 0.0 })
        .collect();
    let mut from = start.clone();
    for _ in 0..sweeps {
        for (i, out) in field.vectors.iter_mut().enumerate() {
            let left = if i % columns > 0 { (right[i - 1], from[i - 1]) } else { (0.0, [0.0; 2]) };
            let above = if i >= columns { (below[i - columns], from[i - columns]) } else { (0.0, [0.0; 2]) };
            let next = (right[i], from[(i + 1).min(start.len() - 1)]);
            let under = (below[i], from[(i + columns).min(start.len() - 1)]);
            let (mut s, mut sum) = (0.0, [0.0; 2]);
            for (w, v) in [left, above, next, under] {
                s += w;
                sum = [sum[0] + w * v[0], sum[1] + w * v[1]];
            }
            let v = pulled(&found[i].tensor, start[i], s, sum);
            if v.iter().all(|v| v.is_finite()) {
                *out = v;
            }
        }
        from.copy_from_slice(&field.vectors);
    }
}

/// `(H + s I)^-1 (H v + sum)`.
fn pulled(tensor: &[f32; 3], v: [f32; 2], s: f32, sum: [f32; 2]) -> [f32; 2] {
    let ([hyy, hyx, hxx], floor) = (*tensor, 1e-3);
    let (a, c) = (hyy + s + floor, hxx + s + floor);
    let (y, x) = (hyy * v[0] + hyx * v[1] + sum[0] + floor * v[0], hyx * v[0] + hxx * v[1] + sum[1] + floor * v[1]);
    let determinant = a * c - hyx * hyx;
    [(c * y - hyx * x) / determinant, (a * x - hyx * y) / determinant]
}

/// Sums over 3 x 3 nodes.
pub(super) fn spread(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let sum = |i: usize| {
        let (row, column) = (i / columns, i % columns);
        let near = |i: usize, n: usize| i.saturating_sub(1)..(i + 2).min(n);
        let row_sum = |r: usize| near(column, columns).map(|c| values[r * columns + c]).sum::<f32>();
        near(row, rows).map(row_sum).sum()
    };
    (0..values.len()).map(sum).collect()
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
        let columns = field.nodes().1;
        for i in 0..field.vectors.len() {
            let model = self.at(field.position(i / columns), field.position(i % columns));
            let v = field.vectors[i];
            field.vectors[i] = [v[0] - factor * model[0], v[1] - factor * model[1]];
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
