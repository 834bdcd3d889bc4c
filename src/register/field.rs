//! A motion field: one vector for every few pixels, and the motion of any position between them.
//!
//! Pixel `q` of the *moving* frame shows what the *reference* has at `q + v(q)`. That is the direction in which pixels
//! are looked up; [`super::Motion`] tells the other one, so that a whole frame that moved by `d` has `v = -d`.

use rayon::prelude::*;

use super::Shift;
use crate::cores::Pieces;

/// How far outside the outer nodes the field goes on straight, in spacings: to the edge of the frame.
const BEYOND: f32 = 0.5;

/// Rows of nodes that are worth a task.
const ROWS: usize = 16;
/// Pixels taken at once by [`Field::row`].
const CHUNK: usize = 4;

/// Dense motion between two frames of one size, in low-resolution luma pixels.
///
/// Node `i` of an axis is at pixel `i * spacing + (spacing - 1) / 2`, so that nodes are the middles of square cells
/// that cover the frame. Memory: 8 bytes a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    height: usize,
    width: usize,
    spacing: usize,
    rows: usize,
    columns: usize,
    /// (down, right) of each node, row after row.
    pub(super) vectors: Vec<[f32; 2]>,
}

impl Field {
    /// The same vector `shift` everywhere; what a frame that moved by `d` shows came from `-d`.
    ///
    /// # Panics
    /// If a side is 0.
    pub fn uniform(height: usize, width: usize, shift: Shift) -> Self {
        Self::constant((height, width), 8, [shift.dy as f32, shift.dx as f32])
    }

    /// The vector (down, right) at all nodes, `spacing` pixels apart.
    pub(super) fn constant((height, width): (usize, usize), spacing: usize, vector: [f32; 2]) -> Self {
        assert!(height > 0 && width > 0, "a field of {width}x{height} has no pixels");
        let (rows, columns) = (height.div_ceil(spacing), width.div_ceil(spacing));
        Self { height, width, spacing, rows, columns, vectors: vec![vector; rows * columns] }
    }

    /// Pixels (rows, columns) of the frames.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Pixels from node to node: 8 or 4.
    pub fn spacing(&self) -> usize {
        self.spacing
    }

    /// Number of nodes, (rows, columns).
    pub fn nodes(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Pixel at which node `i` of an axis lies.
    pub fn position(&self, i: usize) -> f32 {
        (i * self.spacing) as f32 + (self.spacing as f32 - 1.0) / 2.0
    }

    /// `v` (down, right) at row `y`, column `x` of the moving frame.
    ///
    /// Bilinear between nodes; up to half a spacing outside the outer nodes it goes on straight, and further out it is
    /// constant.
    pub fn at(&self, y: f32, x: f32) -> [f32; 2] {
        let ((top, down), (left, right)) = (self.cell(y, self.rows), self.cell(x, self.columns));
        let (bottom, next) = ((top + 1).min(self.rows - 1), (left + 1).min(self.columns - 1));
        let node = |row: usize, column: usize| self.vectors[row * self.columns + column];
        let first = mix(node(top, left), node(bottom, left), down);
        mix(first, mix(node(top, next), node(bottom, next), down), right)
    }

    /// Node before a position along an axis of `n` nodes, and how far it is from there to the next, in spacings.
    fn cell(&self, position: f32, n: usize) -> (usize, f32) {
        let place = (position - self.position(0)) / self.spacing as f32;
        let place = place.clamp(-BEYOND, n as f32 - 1.0 + BEYOND);
        let node = (place.max(0.0) as usize).min(n.saturating_sub(2));
        (node, place - node as f32)
    }

    /// `v` at the positions (`y`, `x0 + i * step`): the same as [`Self::at`] but for rounding, much faster.
    ///
    /// # Panics
    /// If `dy` and `dx` differ in length or `step` is not positive.
    pub fn row(&self, y: f32, x0: f32, step: f32, dy: &mut [f32], dx: &mut [f32]) {
        assert!(dy.len() == dx.len() && step > 0.0, "as many rows as columns, from left to right");
        // A place before the first node, and then so many from node to node: what frames, their chroma and cells of pixels ask for.
        let (start, a_cell) = ((x0 - self.position(0)) / self.spacing as f32, self.spacing as f32 / step);
        let even =
            (-BEYOND..=BEYOND / a_cell - BEYOND).contains(&start) && dy.len() as f32 <= self.columns as f32 * a_cell;
        if even && self.columns > 1 {
            match a_cell {
                2.0 => return self.cells::<2>(y, start, dy, dx),
                4.0 => return self.cells::<4>(y, start, dy, dx),
                8.0 => return self.cells::<8>(y, start, dy, dx),
                _ => {}
            }
        }
        let (top, down) = self.cell(y, self.rows);
        let bottom = (top + 1).min(self.rows - 1);
        let node = |column: usize| {
            let at = |row: usize| self.vectors[row * self.columns + column.min(self.columns - 1)];
            mix(at(top), at(bottom), down)
        };
        let (mut first, mut left) = (0, node(0));
        for column in 0..self.columns.saturating_sub(1).max(1) {
            let right = node(column + 1);
            let last = column + 2 >= self.columns;
            let reach = (self.position(column + 1) - x0) / step;
            let end = if last { dy.len() } else { (reach.ceil().max(0.0) as usize).clamp(first, dy.len()) };
            let start = (x0 - self.position(column)) / self.spacing as f32;
            let line = Line { left, right, start, step: step / self.spacing as f32 };
            line.fill(first, &mut dy[first..end], &mut dx[first..end]);
            (first, left) = (end, right);
        }
    }

    /// [`Self::row`] with `S` positions from node to node, cell by cell; the first one lies `start` spacings from the first node, at
    /// least as far before it as half of `1 - 1 / S` cells.
    fn cells<const S: usize>(&self, y: f32, start: f32, dy: &mut [f32], dx: &mut [f32]) {
        let (top, down) = self.cell(y, self.rows);
        let bottom = (top + 1).min(self.rows - 1);
        let node = |column: usize| {
            let at = |row: usize| self.vectors[row * self.columns + column];
            mix(at(top), at(bottom), down)
        };
        // Half a cell before the first node and half a one behind the last go on straight.
        let lead = ((-start * S as f32).ceil() as usize).min(dy.len());
        let part = |i: usize, cells: f32| start + (lead + i) as f32 / S as f32 + cells;
        let (mut left, mut right) = (node(0), node(1));
        for i in 0..lead {
            [dy[i], dx[i]] = mix(left, right, start + i as f32 / S as f32);
        }
        let ((dy, dy_rest), (dx, dx_rest)) = (dy[lead..].as_chunks_mut::<S>(), dx[lead..].as_chunks_mut::<S>());
        // What does not fill a cell lies in the one that follows, or half of it behind the last node.
        let column = dy.len().min(self.columns - 2);
        let beyond = (dy.len() - column) as f32;
        let [before, last] = [column, column + 1].map(node);
        for (i, (dy, dx)) in dy_rest.iter_mut().zip(dx_rest).enumerate() {
            [*dy, *dx] = mix(before, last, part(i, beyond));
        }
        for (column, (dy, dx)) in dy.iter_mut().zip(dx).enumerate() {
            if column > 0 {
                (left, right) = (right, node((column + 1).min(self.columns - 1)));
            }
            for i in 0..S {
                dy[i] = left[0] + part(i, 0.0) * (right[0] - left[0]);
                dx[i] = left[1] + part(i, 0.0) * (right[1] - left[1]);
            }
        }
    }

    /// The field moving to reference, where `self` is moving to middle and `next` is middle to reference:
    /// `v(q) = self(q) + next(q + self(q))`.
    ///
    /// # Panics
    /// If the fields are for frames of different sizes.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        assert_eq!(self.size(), next.size(), "fields of one chain are of one size");
        self.sampled(self.size(), self.spacing.min(next.spacing), |y, x| {
            let first = self.at(y, x);
            let second = next.at(y + first[0], x + first[1]);
            [first[0] + second[0], first[1] + second[1]]
        })
    }

    /// The field of the same motion the other way, from where the vectors lead: right to the second power of how they differ
    /// over their own length, and meaningless where they cross.
    #[must_use]
    pub fn inverted(&self) -> Self {
        self.sampled(self.size(), self.spacing, |y, x| {
            let first = self.at(y, x);
            let there = self.at(y - first[0], x - first[1]);
            [-there[0], -there[1]]
        })
    }

    /// The field whose vector (down, right) at row `y`, column `x` is `vector(y, x)`, with nodes `spacing` pixels apart.
    ///
    /// # Panics
    /// If a side or `spacing` is 0.
    pub fn from_fn(height: usize, width: usize, spacing: usize, vector: impl Fn(f32, f32) -> [f32; 2] + Sync) -> Self {
        assert!(spacing > 0, "nodes lie apart");
        Self::constant((height, width), spacing, [0.0; 2]).sampled((height, width), spacing, vector)
    }

    /// The field of a part of both frames: `height x width` pixels from row `top`, column `left`.
    ///
    /// # Panics
    /// If a side is 0.
    #[must_use]
    pub fn cropped(&self, top: usize, left: usize, height: usize, width: usize) -> Self {
        self.sampled((height, width), self.spacing, |y, x| self.at(y + top as f32, x + left as f32))
    }

    /// The same motion with nodes `spacing` apart.
    pub(super) fn with_spacing(&self, spacing: usize) -> Self {
        if spacing == self.spacing {
            return self.clone();
        }
        let step = spacing as f32;
        self.resampled(self.size(), spacing, [(step - 1.0) / 2.0, step], 1.0)
    }

    /// The same motion for frames of `size`, twice that of this field's.
    pub(super) fn doubled(&self, size: (usize, usize)) -> Self {
        let step = self.spacing as f32 / 2.0;
        self.resampled(size, self.spacing, [(step - 1.0) / 2.0, step], 2.0)
    }

    /// A field with nodes `spacing` apart, its first nodes at `first` and the next ones `step` further in this one;
    /// vectors times `scale`.
    fn resampled(&self, size: (usize, usize), spacing: usize, [first, step]: [f32; 2], scale: f32) -> Self {
        let mut field = Self::constant(size, spacing, [0.0; 2]);
        let columns = field.columns;
        let (mut dy, mut dx) = (vec![0.0; columns], vec![0.0; columns]);
        for (row, out) in field.vectors.chunks_mut(columns).enumerate() {
            self.row(first + row as f32 * step, first, step, &mut dy, &mut dx);
            out.iter_mut().zip(dy.iter().zip(&dx)).for_each(|(v, (dy, dx))| *v = [scale * dy, scale * dx]);
        }
        field
    }

    fn sampled(&self, size: (usize, usize), spacing: usize, vector: impl Fn(f32, f32) -> [f32; 2] + Sync) -> Self {
        let mut field = Self::constant(size, spacing, [0.0; 2]);
        let places = [field.rows, field.columns].map(|n| (0..n).map(|i| field.position(i)).collect::<Vec<_>>());
        let rows = field.vectors.par_chunks_mut(field.columns).zip(&places[0]);
        rows.with_min_len(ROWS).rows_on_free_cores().for_each(|(row, y)| {
            row.iter_mut().zip(&places[1]).for_each(|(v, x)| *v = vector(*y, *x));
        });
        field
    }
}

/// `a` where `t` is 0, `b` where it is 1.
fn mix(a: [f32; 2], b: [f32; 2], t: f32) -> [f32; 2] {
    [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])]
}

/// Vectors on the straight line through two nodes of a row; positions in spacings from the left one.
struct Line {
    left: [f32; 2],
    right: [f32; 2],
    /// Position of pixel 0.
    start: f32,
    /// From pixel to pixel.
    step: f32,
}

impl Line {
    /// Writes the vectors of the pixels from `first` on.
    fn fill(&self, first: usize, dy: &mut [f32], dx: &mut [f32]) {
        let body = dy.len() - dy.len() % CHUNK;
        let ((dy, dy_rest), (dx, dx_rest)) = (dy.as_chunks_mut::<CHUNK>(), dx.as_chunks_mut::<CHUNK>());
        for (k, (dy, dx)) in dy.iter_mut().zip(dx).enumerate() {
            (*dy, *dx) = self.chunk(first + k * CHUNK);
        }
        if !dy_rest.is_empty() {
            let (y, x) = self.chunk(first + body);
            dy_rest.copy_from_slice(&y[..dy_rest.len()]);
            dx_rest.copy_from_slice(&x[..dx_rest.len()]);
        }
    }

    fn chunk(&self, first: usize) -> ([f32; CHUNK], [f32; CHUNK]) {
        let (mut dy, mut dx) = ([0.0; CHUNK], [0.0; CHUNK]);
        let slope = [self.right[0] - self.left[0], self.right[1] - self.left[1]];
        for i in 0..CHUNK {
            let place = self.start + (first as f32 + i as f32) * self.step;
            let place = place.clamp(-BEYOND, 1.0 + BEYOND);
            dy[i] = self.left[0] + place * slope[0];
            dx[i] = self.left[1] + place * slope[1];
        }
        (dy, dx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with different vectors at all nodes.
    fn rough(height: usize, width: usize, spacing: usize) -> Field {
        let mut field = Field::constant((height, width), spacing, [0.0; 2]);
        for (i, v) in field.vectors.iter_mut().enumerate() {
            *v = [(i * 37 % 19) as f32 - 9.0, (i * 53 % 23) as f32 / 4.0];
        }
        field
    }

    #[test]
    fn a_row_is_what_the_positions_give_one_by_one() {
        for (height, width, spacing) in [(1, 1, 8), (3, 9, 8), (40, 67, 8), (17, 30, 4), (8, 200, 4)] {
            let field = rough(height, width, spacing);
            let rows = [
                (0.0, 0.0, 1.0),
                (5.5, -20.25, 1.0),
                (100.0, 0.5, 2.0),
                (11.5, 3.5, 0.5),
                (3.0, 1.5, 4.0),
                (7.0, 0.0, 2.0),
            ];
            for ((y, x0, step), length) in
                rows.into_iter().flat_map(|row| [width + 30, width, width / 2, width / 4].map(|n| (row, n)))
            {
                let (mut dy, mut dx) = (vec![0.0; length], vec![0.0; length]);
                field.row(y, x0, step, &mut dy, &mut dx);
                for (i, got) in dy.iter().zip(&dx).enumerate() {
                    let want = field.at(y, x0 + i as f32 * step);
                    let far = (got.0 - want[0]).abs().max((got.1 - want[1]).abs());
                    assert!(far < 1e-4, "{width}x{height}, ({y}, {x0} + {i} * {step}): {got:?}, not {want:?}");
                }
            }
        }
    }

    #[test]
    fn nodes_are_met_between_them_is_bilinear_and_the_edge_is_reached_straight() {
        let mut field = Field::constant((16, 24), 8, [0.0; 2]);
        assert_eq!(field.nodes(), (2, 3), "cells that cover the frame");
        field.vectors = vec![[0.0, 1.0], [8.0, 1.0], [8.0, 1.0], [4.0, 1.0], [4.0, 1.0], [4.0, 3.0]];
        assert_eq!(field.at(3.5, 11.5), [8.0, 1.0], "the second node");
        assert_eq!(field.at(3.5, 9.5), [6.0, 1.0], "three quarters of the way to it");
        assert_eq!(field.at(7.5, 19.5), [6.0, 2.0], "between the last of both rows");
        assert_eq!(field.at(3.5, -0.5), [-4.0, 1.0], "half a cell further left");
        assert_eq!(field.at(3.5, -100.0), [-4.0, 1.0], "constant outside the frame");
    }

    #[test]
    fn chains_look_up_the_second_field_where_the_first_leads() {
        let mut second = Field::constant((64, 64), 8, [0.0; 2]);
        for i in 0..64 {
            second.vectors[i] = [0.0, (i % 8) as f32];
        }
        let first = Field::uniform(64, 64, Shift { dx: 8.0, dy: 2.0 });
        let both = first.then(&second);
        assert_eq!(both.at(20.0, 11.5), [2.0, 10.0], "8 right, and there 2 more");
        assert_eq!(both.spacing(), 8, "as fine as the finer one");
        assert_eq!(first.then(&second.with_spacing(4)).spacing(), 4, "as fine as the finer one");
        let fine = second.with_spacing(4);
        assert_eq!((fine.nodes(), fine.at(9.5, 19.5)), ((16, 16), second.at(9.5, 19.5)), "the same motion");
    }

    #[test]
    fn doubling_keeps_what_is_where() {
        let mut small = Field::constant((32, 32), 8, [0.0; 2]);
        for i in 0..16 {
            small.vectors[i] = [(i / 4) as f32, 0.5];
        }
        let large = small.doubled((65, 64));
        let want = small.at(10.0, 10.0).map(|v| 2.0 * v);
        let got = large.at(20.5, 20.5);
        assert!((got[0] - want[0]).abs() < 1e-5 && got[1] == 1.0, "{got:?}, not {want:?}");
    }
}
