//! Where the samples of a high-resolution plane lie in memory.
//!
//! Rows of a plane enlarged by a whole number `s` are stored phase by phase: columns 0, s, 2s, .. first, then columns
//! 1, s+1, .. and so on, each phase with a margin. What sixteen neighbouring low-resolution samples read through one tap
//! is then contiguous, and horizontal filters become sums of shifted slices. Margins hold the mirror image of the row,
//! edge sample repeated, as far as filters reach; further out they only have to be finite.

use crate::kernels::CpuLevel;
use crate::kernels::observation::in_order;

/// Places on both sides of a phase. A job holds 16 samples of which one at least looks inside the picture. Whole cache
/// lines, so that phases start at one where rows do (`lines`).
pub(super) const MARGIN: usize = 32;
/// Columns beyond the picture that a job may write to.
const SPILL: isize = 4;

/// Index of a mirrored position, edge sample repeated: `.. 1 0 | 0 1 .. n-1 | n-1 ..`.
pub(super) fn mirrored(position: isize, length: usize) -> usize {
    let wrapped = position.rem_euclid(2 * length as isize) as usize;
    wrapped.min(2 * length - 1 - wrapped)
}

/// Size and storage order of one high-resolution plane.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// Columns: the low-resolution columns times `phases`.
    pub(super) width: usize,
    /// Rows.
    pub(super) height: usize,
    /// Phases of a row: the horizontal scale.
    pub(super) phases: usize,
    /// Floats of one phase of a row.
    pub(super) segment: usize,
    /// Place of tap `k` of a job whose first tap has phase `p`, counted from the place of the first: `taps[p][k]`.
    pub(super) taps: Vec<[usize; 4]>,
    /// (margin slot, slot it mirrors), from the border outwards.
    mirror: Vec<(usize, usize)>,
}

impl Grid {
    /// A grid for `columns * phases` columns whose rows can be filtered `reach` columns beyond both ends.
    ///
    /// # Panics
    /// If `reach` leaves the margin.
    pub(super) fn new(columns: usize, height: usize, phases: usize, reach: usize) -> Self {
        assert!(reach.max(SPILL as usize) <= MARGIN * phases, "a filter reaches {reach} columns");
        let mut segment = (columns + 2 * MARGIN).next_multiple_of(16);
        // Rows and phases that lie a multiple of 4 KiB apart share cache sets and stall loads behind stores.
        let close = |floats: usize| !(320..=3776).contains(&(4 * floats % 4096));
        while close(segment) || (phases > 1 && close(segment * phases)) {
            segment += 16;
        }
        let width = columns * phases;
        let taps = (0..phases).map(|p| std::array::from_fn(|k| (p + k) % phases * segment + (p + k) / phases));
        let mut grid = Self { width, height, phases, segment, taps: taps.collect(), mirror: Vec::new() };
        let outside = (0..reach.max(SPILL as usize) as isize).flat_map(|k| [-1 - k, width as isize + k]);
        grid.mirror = outside.map(|x| (grid.slot(x), grid.slot(mirrored(x, width) as isize))).collect();
        grid
    }

    /// Floats of one row.
    pub(super) fn stride(&self) -> usize {
        self.segment * self.phases
    }

    /// Floats of the plane.
    pub(super) fn len(&self) -> usize {
        self.stride() * self.height
    }

    /// Place of column `x` in its row, for columns inside the margins.
    pub(super) fn slot(&self, x: isize) -> usize {
        let s = self.phases as isize;
        x.rem_euclid(s) as usize * self.segment + (MARGIN as isize + x.div_euclid(s)) as usize
    }

    /// Column of place `place` of a phase; below 0 in the left margin.
    pub(super) fn column_of(&self, phase: usize, place: usize) -> isize {
        (place as isize - MARGIN as isize) * self.phases as isize + phase as isize
    }

    /// Mirrors the row into its margins, `reach` columns far.
    pub(super) fn fill_margins(&self, row: &mut [f32], reach: usize) {
        for &(outside, inside) in &self.mirror[..2 * reach] {
            row[outside] = row[inside];
        }
    }

    /// Adds what jobs have written beside the picture to the columns that are mirrored there.
    pub(super) fn fold_margins(&self, row: &mut [f32]) {
        for &(outside, inside) in &self.mirror[..2 * SPILL as usize] {
            row[inside] += row[outside];
        }
    }

    /// Copies a row to `out` in natural order, limited to `low..=high`; `out` may be narrower than the row.
    pub(super) fn unpack(&self, cpu: CpuLevel, row: &[f32], out: &mut [f32], low: f32, high: f32) {
        let mut starts = [0; 4];
        let starts = &mut starts[..self.phases];
        starts.iter_mut().zip(0..).for_each(|(start, x)| *start = self.slot(x));
        in_order(cpu, out, row, starts, low, high);
    }

    /// Stores a row given in natural order, margins included.
    pub(super) fn pack(&self, input: &[f32], row: &mut [f32]) {
        for (x, value) in input.iter().enumerate() {
            row[self.slot(x as isize)] = *value;
        }
        self.fill_margins(row, self.mirror.len() / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_and_unpacking_keeps_every_sample_at_any_width_and_phase_count() {
        for columns in 1..20 {
            for phases in 1..5 {
                let grid = Grid::new(columns, 1, phases, 7);
                let input: Vec<f32> = (0..grid.width).map(|x| x as f32).collect();
                let mut row = vec![0.0; grid.stride()];
                grid.pack(&input, &mut row);
                for width in [grid.width, grid.width - 1, grid.width / 2] {
                    let mut out = vec![-1.0; width];
                    grid.unpack(CpuLevel::SCALAR, &row, &mut out, 0.0, 255.0);
                    assert_eq!(input[..width], out, "{columns} columns, {phases} phases, {width} wanted");
                }
                assert_eq!(row[grid.slot(-1)], 0.0, "left margin of {columns} columns");
                assert_eq!(row[grid.slot(grid.width as isize)], (grid.width - 1) as f32, "right margin");
            }
        }
    }
}
