//! Where the samples of a high-resolution plane lie in memory.
//!
//! Rows of a plane enlarged by a whole number `s` are stored phase by phase: columns 0, s, 2s, .. first, then columns
//! 1, s+1, .. and so on, each phase with a margin. Every sample that a low-resolution row needs from one tap is then
//! contiguous, and horizontal passes become sums of shifted slices. Other scales have one phase: plain rows with a
//! margin. The margin holds the mirror image of the row, edge sample repeated.

/// Index of a mirrored position, edge sample repeated: `.. 1 0 | 0 1 .. n-1 | n-1 ..`.
pub(super) fn mirrored(position: isize, length: usize) -> usize {
    let wrapped = position.rem_euclid(2 * length as isize) as usize;
    wrapped.min(2 * length - 1 - wrapped)
}

/// Size and storage order of one high-resolution plane.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// Columns.
    pub(super) width: usize,
    /// Rows.
    pub(super) height: usize,
    /// Phases of a row: the horizontal scale where it is a whole number, else 1.
    pub(super) phases: usize,
    /// Mirrored columns on each side, a multiple of `phases`.
    pub(super) margin: usize,
    /// Floats of one phase of a row.
    pub(super) segment: usize,
    /// (margin slot, slot it mirrors) of a row.
    mirror: Vec<(usize, usize)>,
}

impl Grid {
    /// A grid whose rows can be read `reach` columns beyond both ends.
    pub(super) fn new(width: usize, height: usize, phases: usize, reach: usize) -> Self {
        let margin = (reach + phases).next_multiple_of(phases);
        // Whole vectors, and one more so that rows of power-of-two widths do not all start on the same cache sets.
        let segment = ((width + 2 * margin).div_ceil(phases)).next_multiple_of(16) + 16;
        let mut grid = Self { width, height, phases, margin, segment, mirror: Vec::new() };
        let outside = (-(margin as isize)..0).chain(width as isize..(width + margin) as isize);
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

    /// Place of column `x` in its row, for `x` in `-margin..width + margin`.
    pub(super) fn slot(&self, x: isize) -> usize {
        let (phase, column) = self.split(x);
        phase * self.segment + column as usize
    }

    /// Phase of column `x` and its index in that phase.
    pub(super) fn split(&self, x: isize) -> (usize, isize) {
        let (x, s) = (x + self.margin as isize, self.phases as isize);
        (x.rem_euclid(s) as usize, x.div_euclid(s))
    }

    /// Copies the edge columns into the margins.
    pub(super) fn fill_margins(&self, row: &mut [f32]) {
        for &(outside, inside) in &self.mirror {
            row[outside] = row[inside];
        }
    }

    /// The adjoint of [`Self::fill_margins`]: adds what the margins hold to the columns that they mirror.
    pub(super) fn fold_margins(&self, row: &mut [f32]) {
        for &(outside, inside) in &self.mirror {
            row[inside] += row[outside];
        }
    }

    /// Copies a row to `out` in natural order, clamped to `low..=high`.
    pub(super) fn unpack(&self, row: &[f32], out: &mut [f32], low: f32, high: f32) {
        for phase in 0..self.phases.min(self.width) {
            let stored = &row[self.slot(phase as isize)..];
            for (out, value) in out[phase..].iter_mut().step_by(self.phases).zip(stored) {
                *out = value.clamp(low, high);
            }
        }
    }

    /// Stores a row given in natural order, margins included.
    #[cfg(test)]
    pub(super) fn pack(&self, input: &[f32], row: &mut [f32]) {
        for (x, value) in input.iter().enumerate() {
            row[self.slot(x as isize)] = *value;
        }
        self.fill_margins(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_and_unpacking_keeps_every_sample_at_any_width_and_phase_count() {
        for width in 1..40 {
            for phases in 1..9 {
                let grid = Grid::new(width, 1, phases, 7);
                let input: Vec<f32> = (0..width).map(|x| x as f32).collect();
                let (mut row, mut out) = (vec![0.0; grid.stride()], vec![-1.0; width]);
                grid.pack(&input, &mut row);
                grid.unpack(&row, &mut out, 0.0, 255.0);
                assert_eq!(input, out, "width {width}, {phases} phases");
                assert_eq!(row[grid.slot(-1)], 0.0, "left margin of width {width}");
                assert_eq!(row[grid.slot(width as isize)], (width - 1) as f32, "right margin of width {width}");
            }
        }
    }
}
