//! The observation model and its adjoint, side by side: `A = D H M`.
//!
//! A low-resolution frame sees the high-resolution picture through motion M, blur H (a Gaussian) and sampling D. With
//! one shift `v` for the frame, pixel `i` of the frame looks at position `s (i - v) + origin` of the picture, and all
//! three together are one banded matrix an axis: `A X = R_y X R_x^T`. Row `i` of `R` holds the point-spread function
//! sampled at the high-resolution pixels around that position, normalised to sum 1. The adjoint is
//! `A' U = R_y^T U R_x`, from the same numbers. Pixels that look outside the picture take no part.
//!
//! Symbols as in Elad and Feuer (1997), doi:10.1109/83.650118, section II.

use std::ops::Range;

use super::grid::{Grid, mirrored};
use super::psf::Psf;
use crate::frame::AxisMap;
use crate::kernels::CpuLevel;
use crate::kernels::observation::{banded, weighted_sum};

/// One axis of the model: which high-resolution samples each low-resolution sample sums, and with what weights.
#[derive(Debug, Clone)]
struct Axis {
    map: AxisMap,
    taps: usize,
    /// Whether all windows have the same weights: the scale is a whole number.
    uniform: bool,
    /// Samples that look inside the picture.
    valid: Range<usize>,
    /// First high-resolution sample of each window; may be outside the picture.
    first: Vec<isize>,
    /// `taps` weights a sample, or once if `uniform`.
    weights: Vec<f32>,
}

impl Axis {
    fn new(map: AxisMap, taps: usize) -> Self {
        let uniform = map.scale.fract() == 0.0;
        let rows = if uniform { 1 } else { map.input };
        Self { map, taps, uniform, valid: 0..0, first: vec![0; map.input], weights: vec![0.0; rows * taps] }
    }

    /// Points the axis at a frame whose content lies `shift` low-resolution samples further than the reference's.
    fn aim(&mut self, psf: &Psf, shift: f64) {
        let (map, taps) = (self.map, self.taps);
        let position = |i: usize| map.output_position(i as f64 - shift);
        let inside = |i: usize| (-0.5..=map.output as f64 - 0.5).contains(&position(i));
        let start = (0..map.input).position(inside).unwrap_or(0);
        let end = (start..map.input).position(|i| !inside(i)).map_or(map.input, |n| start + n);
        self.valid = start..end;
        if self.uniform {
            let first = psf.window(position(0), &mut self.weights);
            for (i, slot) in self.first.iter_mut().enumerate() {
                *slot = first + (i as f64 * map.scale) as isize;
            }
        } else {
            for i in self.valid.clone() {
                self.first[i] = psf.window(position(i), &mut self.weights[i * taps..][..taps]);
            }
        }
    }

    fn weights(&self, i: usize) -> &[f32] {
        if self.uniform { &self.weights } else { &self.weights[i * self.taps..][..self.taps] }
    }
}

/// A sparse matrix by rows: for each output sample, the input samples and their weights.
#[derive(Debug, Clone, Default)]
struct Sparse {
    start: Vec<usize>,
    from: Vec<usize>,
    weights: Vec<f32>,
}

impl Sparse {
    /// The transpose of a vertical axis, mirrored rows folded in; terms in the order of the input samples.
    fn transpose(&mut self, axis: &Axis) {
        let height = axis.map.output;
        self.start.clear();
        self.start.resize(height + 1, 0);
        let windows = || axis.valid.clone().flat_map(|i| (0..axis.taps).map(move |k| (i, k)));
        let target = |i: usize, k: usize| mirrored(axis.first[i] + k as isize, height);
        for (i, k) in windows() {
            self.start[target(i, k) + 1] += 1;
        }
        for y in 0..height {
            self.start[y + 1] += self.start[y];
        }
        self.from.resize(self.start[height], 0);
        self.weights.resize(self.start[height], 0.0);
        for (i, k) in windows() {
            let slot = &mut self.start[target(i, k)];
            (self.from[*slot], self.weights[*slot]) = (i, axis.weights(i)[k]);
            *slot += 1;
        }
        // Filling moved every start to the next row's.
        self.start.rotate_right(1);
        self.start[0] = 0;
    }

    fn row(&self, y: usize) -> (&[usize], &[f32]) {
        let range = self.start[y]..self.start[y + 1];
        (&self.from[range.clone()], &self.weights[range])
    }
}

/// A banded matrix with windows of one length, as the kernel [`banded`] takes it.
#[derive(Debug, Clone, Default)]
struct Band {
    start: Vec<u32>,
    weights: Vec<f32>,
    count: usize,
}

impl Band {
    /// The transpose of a horizontal axis onto a row with margins; windows may end `count` samples past the input.
    fn transpose(&mut self, axis: &Axis, grid: &Grid) {
        let columns = grid.stride();
        self.count = (axis.taps as f64 / axis.map.scale).ceil() as usize + 1;
        self.start.clear();
        self.start.resize(columns, u32::MAX);
        self.weights.clear();
        self.weights.resize(columns * self.count, 0.0);
        for i in axis.valid.clone() {
            for (k, weight) in axis.weights(i).iter().enumerate() {
                let x = grid.slot(axis.first[i] + k as isize);
                let start = &mut self.start[x];
                *start = (*start).min(i as u32);
                self.weights[x * self.count + i - *start as usize] = *weight;
            }
        }
        self.start.iter_mut().filter(|start| **start == u32::MAX).for_each(|start| *start = 0);
    }
}

/// Row buffers of one task.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    /// A high-resolution row.
    pub(super) row: Vec<f32>,
    /// A low-resolution row with zeros on both sides.
    small: Vec<f32>,
    pub(super) offsets: Vec<usize>,
    weights: Vec<f32>,
}

/// How one low-resolution frame sees a high-resolution plane.
#[derive(Debug, Clone)]
pub(super) struct Observation {
    psf: [Psf; 2],
    rows: Axis,
    columns: Axis,
    from_rows: Sparse,
    /// Transpose of the columns where the scale is no whole number.
    from_columns: Band,
    /// Slot of the first tap of each column, there too.
    starts: Vec<u32>,
    /// Phase and index in it of each tap of column 0, where the scale is a whole number.
    places: Vec<(usize, isize)>,
}

impl Observation {
    /// The model of a frame with point-spread functions `psf` (vertical, horizontal), not yet aimed.
    pub(super) fn new(maps: (AxisMap, AxisMap), psf: &[Psf; 2]) -> Self {
        let [y, x] = psf;
        let (rows, columns) = (Axis::new(maps.0, y.taps()), Axis::new(maps.1, x.taps()));
        let (from_rows, from_columns) = (Sparse::default(), Band::default());
        Self { psf: psf.clone(), rows, columns, from_rows, from_columns, starts: Vec::new(), places: Vec::new() }
    }

    /// Sets the shift of the frame against the reference, (vertical, horizontal), in samples of its plane.
    ///
    /// What is at `p` in the reference is at `p + shift` in the frame.
    pub(super) fn aim(&mut self, grid: &Grid, shift: (f64, f64)) {
        self.rows.aim(&self.psf[0], shift.0);
        self.columns.aim(&self.psf[1], shift.1);
        self.from_rows.transpose(&self.rows);
        if self.columns.uniform {
            let first = self.columns.first[0];
            self.places.clear();
            self.places.extend((0..self.columns.taps).map(|k| grid.split(first + k as isize)));
        } else {
            self.from_columns.transpose(&self.columns, grid);
            // One phase, so the slot of a column is its index plus the margin; invalid columns are not read.
            let margin = grid.margin as isize;
            self.starts.clear();
            self.starts.extend(self.columns.first.iter().map(|first| (first + margin).max(0) as u32));
        }
    }

    /// Rows of the frame that look inside the picture.
    pub(super) fn rows(&self) -> Range<usize> {
        self.rows.valid.clone()
    }

    /// Columns of the frame that look inside the picture.
    pub(super) fn columns(&self) -> Range<usize> {
        self.columns.valid.clone()
    }

    /// `A x`: what row `i` of the frame should hold in its valid columns if the picture is `x` (margins filled).
    pub(super) fn predict(
        &self,
        cpu: CpuLevel,
        grid: &Grid,
        x: &[f32],
        i: usize,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Scratch { row, offsets, .. } = scratch;
        let stride = grid.stride();
        row.resize(stride, 0.0);
        offsets.clear();
        let first = self.rows.first[i];
        offsets.extend((0..self.rows.taps).map(|k| mirrored(first + k as isize, grid.height) * stride));
        weighted_sum(cpu, row, x, offsets, self.rows.weights(i), false);
        let valid = self.columns();
        if valid.is_empty() {
            return;
        }
        let out = &mut out[valid.clone()];
        if self.columns.uniform {
            offsets.clear();
            let start = valid.start as isize;
            offsets.extend(self.places.iter().map(|(phase, at)| phase * grid.segment + (at + start) as usize));
            weighted_sum(cpu, out, row, offsets, &self.columns.weights, false);
        } else {
            let (start, weights) =
                (&self.starts[valid.clone()], &self.columns.weights[valid.start * self.columns.taps..]);
            banded(cpu, out, row, start, weights, self.columns.taps, false);
        }
    }

    /// Row `y` of `A' u`, added to `out` (a row with margins, not yet folded).
    ///
    /// Row `i` of `u` starts at `base + i * stride` in `u`; only valid rows and columns of it are read.
    pub(super) fn project(
        &self,
        cpu: CpuLevel,
        grid: &Grid,
        (u, base, stride): (&[f32], usize, usize),
        y: usize,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Scratch { small, offsets, weights, .. } = scratch;
        let (from, terms) = self.from_rows.row(y);
        let valid = self.columns();
        if from.is_empty() || valid.is_empty() {
            return;
        }
        let margin = self.columns.taps + 1;
        small.clear();
        small.resize(self.columns.map.input + 2 * margin, 0.0);
        offsets.clear();
        offsets.extend(from.iter().map(|i| base + i * stride + valid.start));
        weighted_sum(cpu, &mut small[margin + valid.start..margin + valid.end], u, offsets, terms, false);
        if !self.columns.uniform {
            let band = &self.from_columns;
            banded(cpu, out, &small[margin..], &band.start, &band.weights, band.count, true);
            return;
        }
        for phase in 0..grid.phases {
            let own = || self.places.iter().zip(&self.columns.weights).filter(|((p, _), _)| *p == phase);
            let (Some(low), Some(high)) = (own().map(|((_, at), _)| *at).min(), own().map(|((_, at), _)| *at).max())
            else {
                continue;
            };
            // Sample `place + at` of the phase takes low-resolution sample `place` through the tap at `at`.
            let (start, length) = (valid.start as isize + low, valid.len() + (high - low) as usize);
            offsets.clear();
            offsets.extend(own().map(|((_, at), _)| (margin as isize + start - at) as usize));
            weights.clear();
            weights.extend(own().map(|(_, weight)| *weight));
            let out = &mut out[phase * grid.segment + start as usize..][..length];
            weighted_sum(cpu, out, small, offsets, weights, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u32, n: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / 65536.0 - 128.0
        };
        (0..n).map(next).collect()
    }

    struct Case {
        grid: Grid,
        model: Observation,
        input: (usize, usize),
    }

    fn case(input: (usize, usize), output: (usize, usize), origin: Option<f64>, shift: (f64, f64)) -> Case {
        let mut maps = (AxisMap::centered(input.0, output.0), AxisMap::centered(input.1, output.1));
        if let Some(origin) = origin {
            maps.1.origin = origin;
        }
        let psf = [Psf::new(0.35 * maps.0.scale), Psf::new(0.35 * maps.1.scale)];
        let phases = if maps.1.scale.fract() == 0.0 { maps.1.scale as usize } else { 1 };
        let grid = Grid::new(output.1, output.0, phases, psf[1].taps());
        let mut model = Observation::new(maps, &psf);
        model.aim(&grid, shift);
        Case { grid, model, input }
    }

    impl Case {
        fn pack(&self, x: &[f32]) -> Vec<f32> {
            let mut packed = vec![0.0; self.grid.len()];
            for (row, x) in packed.chunks_mut(self.grid.stride()).zip(x.chunks(self.grid.width)) {
                self.grid.pack(x, row);
            }
            packed
        }

        fn forward(&self, x: &[f32]) -> Vec<f32> {
            let (h, w) = self.input;
            let (x, mut out, mut scratch) = (self.pack(x), vec![0.0; h * w], Scratch::default());
            for i in self.model.rows() {
                let out = &mut out[i * w..][..w];
                self.model.predict(CpuLevel::SCALAR, &self.grid, &x, i, out, &mut scratch);
            }
            out
        }

        fn adjoint(&self, u: &[f32]) -> Vec<f32> {
            let (grid, mut scratch) = (&self.grid, Scratch::default());
            let mut out = vec![0.0; grid.width * grid.height];
            for (y, out) in out.chunks_mut(grid.width).enumerate() {
                let mut row = vec![0.0; grid.stride()];
                self.model.project(CpuLevel::SCALAR, grid, (u, 0, self.input.1), y, &mut row, &mut scratch);
                grid.fold_margins(&mut row);
                grid.unpack(&row, out, f32::MIN, f32::MAX);
            }
            out
        }
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    type Size = (usize, usize);

    const CASES: [(Size, Size, Option<f64>, Size); 12] = [
        ((12, 17), (24, 34), None, (0, 0)),
        ((12, 17), (24, 34), Some(0.25), (0, 0)),
        ((9, 7), (27, 21), None, (0, 0)),
        ((9, 13), (36, 52), None, (0, 0)),
        ((10, 10), (15, 15), None, (0, 0)),
        ((11, 13), (17, 29), None, (0, 0)),
        ((12, 9), (12, 36), None, (0, 0)),
        ((4, 4), (7, 7), None, (0, 0)),
        ((1, 1), (2, 2), None, (0, 0)),
        ((1, 9), (4, 36), None, (0, 0)),
        ((3, 2), (5, 5), None, (0, 0)),
        ((5, 3), (40, 24), None, (0, 0)),
    ];

    #[test]
    fn adjoint_identity_holds_at_every_scale_size_and_shift() {
        for (input, output, origin, _) in CASES {
            for shift in [(0.0, 0.0), (0.3, -0.71), (-2.4, 1.9), (6.5, -5.25), (0.5, 0.5)] {
                let case = case(input, output, origin, shift);
                let (x, u) = (noise(1, output.0 * output.1), noise(2, input.0 * input.1));
                let (there, back) = (dot(&case.forward(&x), &u), dot(&x, &case.adjoint(&u)));
                let size = dot(&u, &u).sqrt() * dot(&x, &x).sqrt();
                assert!((there - back).abs() < 1e-5 * size, "{input:?} to {output:?} by {shift:?}: {there}, {back}");
            }
        }
    }

    #[test]
    fn a_constant_picture_is_seen_as_that_constant() {
        for (input, output, origin, _) in CASES {
            let case = case(input, output, origin, (0.3, -0.2));
            let seen = case.forward(&vec![77.0; output.0 * output.1]);
            let (rows, columns) = (case.model.rows(), case.model.columns());
            for i in rows {
                for j in columns.clone() {
                    assert!((seen[i * input.1 + j] - 77.0).abs() < 1e-3, "{input:?}: ({i}, {j})");
                }
            }
        }
    }

    #[test]
    fn content_that_moves_right_and_down_is_seen_further_right_and_down() {
        for output in [(32, 32), (24, 24)] {
            let case = case((16, 16), output, None, (1.0, 3.0));
            let scale = output.0 as f64 / 16.0;
            // A ramp through the picture: at p it is 10 x + 3 y in low-resolution samples of the reference.
            let place = |o: usize| (o as f64 + 0.5) / scale - 0.5;
            let value = |y: usize, x: usize| (10.0 * place(x) + 3.0 * place(y)) as f32;
            let x: Vec<f32> = (0..output.0 * output.1).map(|n| value(n / output.1, n % output.1)).collect();
            // What is at (4, 5) in the reference is at (4 + 3, 5 + 1) in the frame.
            let seen = case.forward(&x)[6 * 16 + 7];
            assert!((seen - (10.0 * 4.0 + 3.0 * 5.0)).abs() < 0.2, "{output:?}: {seen}");
        }
    }
}
