//! A picture on its way out: of what the estimate adds to the interpolated reference, as much as is kept (`keeping`).
//!
//! Rows are made by bands, so that those of the estimate are read from memory once: first the rows of the reference that a band is
//! interpolated from, as far as they give way to what the estimate foretells of them, then the picture's.

use std::ops::Range;

use rayon::prelude::*;

use super::backproject::Solver;
use super::keeping::Kept;
use crate::cores::Pieces;
use crate::frame::Plane;
use crate::kernels::observation::add_share;

/// Rows of the reference in a band: its rows of the picture stay in a cache of 1 MB.
const BAND: usize = 32;

/// Room for a band.
struct Room {
    /// Rows of the reference.
    calm: Vec<f32>,
    /// One of them enlarged along its columns alone.
    tall: Vec<f32>,
    /// A row of the grid.
    plain: Vec<f32>,
    /// A row of the reference as it is foretold.
    foretold: Vec<f32>,
    /// Shares of a row, and the nodes they come from.
    share: Vec<f32>,
    line: Vec<f32>,
}

impl Solver {
    /// The estimate in natural order, blended with `reference` as `kept` says; with its samples as they are if nothing is `foretold`.
    pub(super) fn unpack_in_part(
        &self,
        reference: &[f32],
        kept: &Kept,
        foretold: bool,
        (low, high): (f32, f32),
        out: &mut Plane,
    ) {
        let (grid, columns) = (&self.optics.grid, out.ncols());
        let (stride, width, step) = (grid.stride(), self.maps.1.input, BAND * self.maps.0.scale as usize);
        let Some(out) = out.as_slice_mut() else { return };
        let room = || Room {
            calm: Vec::new(),
            tall: Vec::new(),
            plain: vec![0.0; stride],
            foretold: vec![0.0; width],
            share: vec![0.0; width],
            line: Vec::new(),
        };
        let bands = out.par_chunks_mut(step * columns.max(1)).enumerate().on_free_cores();
        bands.for_each_init(room, |room, (band, out)| {
            let rows = band * step..band * step + out.len() / columns.max(1);
            let from = self.enlarger.rows_for(rows.clone());
            let reference = &reference[from.start * width..from.end * width];
            room.calm.clear();
            room.calm.extend_from_slice(reference);
            if foretold {
                self.calm(kept, from.clone(), room);
            }
            for (y, out) in rows.zip(out.chunks_mut(columns.max(1))) {
                let row = self.blended(kept, y, from.start, room);
                grid.unpack(self.optics.cpu, row, out, low, high);
            }
        });
    }

    /// Lets rows `rows` of the reference, in `room`, give way to what the estimate foretells of them.
    fn calm(&self, kept: &Kept, rows: Range<usize>, room: &mut Room) {
        let (cpu, grid) = (self.optics.cpu, &self.optics.grid);
        let Some(foretold) = &kept.foretold else { return };
        for (y, samples) in rows.zip(room.calm.chunks_exact_mut(self.maps.1.input)) {
            self.observation.sample_luma(foretold, y as f32, f32::MAX, &mut room.line, &mut room.share);
            if room.share.iter().any(|share| *share > 0.0) {
                self.reducer.row(cpu, grid, &self.x, y, &mut room.plain, &mut room.foretold);
                add_share(cpu, samples, &room.foretold, &room.share);
            }
        }
    }

    /// Row `y` of the picture in the grid's order; the rows of the reference in `room` begin with `first`.
    fn blended<'a>(&'a self, kept: &Kept, y: usize, first: usize, room: &'a mut Room) -> &'a [f32] {
        let (cpu, grid, width) = (self.optics.cpu, &self.optics.grid, self.maps.1.input);
        let x = &self.x[y * grid.stride()..][..grid.stride()];
        let at = ((y as f64 - self.maps.0.origin) / self.maps.0.scale) as f32;
        if !self.observation.sample_luma(&kept.share, at, 1.0, &mut room.line, &mut room.share) {
            return x;
        }
        self.enlarger.row(cpu, grid, &room.calm, (first, y), &mut room.plain, &mut room.tall);
        for start in (0..grid.phases).map(|phase| grid.slot(phase as isize)) {
            add_share(cpu, &mut room.plain[start..][..width], &x[start..], &room.share);
        }
        &room.plain
    }
}
