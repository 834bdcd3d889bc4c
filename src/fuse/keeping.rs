//! How much of its correction a picture keeps: what a reconstruction adds to the interpolated reference is right as far as other
//! frames support it, and as far as it is made of detail.
//!
//! Coding takes fine detail and leaves its own error, and noise has as much of it everywhere. Where a frame has no more detail than
//! that, what is sharpened is not the scene. Of a window of energy `d`, of which errors are expected to make `h`, the amplitude that
//! is left is `sqrt(1 - h / d)`: subtraction of power spectra (Lim and Oppenheim 1979, doi:10.1109/PROC.1979.11540) with the energies of
//! small windows in place of spectra (Lee 1980, doi:10.1109/TPAMI.1980.4766994).
//!
//! Noise is in the reference that the correction is added to as well, and several frames together have less of it. So what is not
//! kept of the correction because of noise alone is kept as far as the reference's own grid can show it: there its samples give way to
//! those that the estimate foretells.
//!
//! What is done with the shares is in `blend`.

use rayon::prelude::*;

use super::appearance::Appearance;
use super::light::Glow;
use super::schedule::Schedule;
use crate::cores::Pieces;
use crate::kernels::comparing::CELL;

/// Energy that is as good as none: of what is flat and without error all is kept.
const NONE: f32 = 1e-6;
/// Rows of cells of a task.
const ROWS: usize = 8;

/// What a picture keeps of its correction: shares, 0..=1, on nodes in luma pixels.
#[derive(Debug)]
pub(super) struct Kept {
    /// Share of the correction.
    pub(super) share: Glow,
    /// How far the samples of the reference give way to what the estimate foretells of them; `None` is nowhere.
    pub(super) foretold: Option<Glow>,
}

impl Kept {
    /// Of a picture of which the luma of the reference has this `appearance`.
    ///
    /// `gate` says how far other frames take part; `None` is nowhere.
    pub(super) fn new(appearance: &Appearance, gate: Option<&Glow>, schedule: &Schedule) -> Self {
        let (height, width) = (appearance.height, appearance.width);
        let (rows, columns) = (height.div_ceil(CELL), width.div_ceil(CELL));
        let middle = (CELL as f32 - 1.0) / 2.0;
        let (mut share, mut foretold) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
        let lines = share.par_chunks_mut(columns).zip(foretold.par_chunks_mut(columns)).enumerate();
        let room = || (Vec::new(), vec![0.0; columns]);
        lines.with_min_len(ROWS).on_free_cores().for_each_init(room, |(line, details), (row, (share, foretold))| {
            if let Some(gate) = gate {
                gate.line((row * CELL) as f32 + middle, line);
                gate.on_row(line, middle, CELL as f32, share);
            }
            // Detail varies slowly: a pixel in its middle stands for a cell.
            let y = (row * CELL + CELL / 2).min(height - 1);
            let detail = &appearance.detail[y * width..][..width];
            for (column, cell) in details.iter_mut().enumerate() {
                *cell = detail[(column * CELL + CELL / 2).min(width - 1)];
            }
            for ((share, foretold), detail) in share.iter_mut().zip(foretold).zip(&*details) {
                (*share, *foretold) = shares(*detail, *share, schedule);
            }
        });
        let glow = |nodes| Glow { spacing: CELL, rows, columns, nodes };
        let noisy = schedule.harm_of_noise != [0.0; 2];
        Self { share: glow(share), foretold: noisy.then(|| glow(foretold)) }
    }
}

/// The two shares of [`Kept`] for a place with so much energy of `detail`, where the gate is `open`.
#[inline]
fn shares(detail: f32, open: f32, schedule: &Schedule) -> (f32, f32) {
    let left = |harm: f32| (1.0 - harm / (detail + NONE)).max(0.0).sqrt();
    let supported = by_gate([schedule.alone, 1.0], open);
    let of_coding = schedule.harm_of_coding;
    let coarse = supported * left(of_coding);
    let share = supported * left(of_coding + by_gate(schedule.harm_of_noise, open));
    // The correction of samples that have given way is the rest: together they make `coarse` of what the samples can show.
    (share, (coarse - share) / (1.0 - share).max(NONE))
}

/// What is between the first value, where the gate is shut, and the second, where it is open.
fn by_gate([shut, open]: [f32; 2], gate: f32) -> f32 {
    shut + gate * (open - shut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{CodingError, PictureLayout, Plane};
    use crate::fuse::Options;
    use crate::kernels::CpuLevel;

    /// What is kept of a picture that is flat on the left and has detail on the right, with this noise and error of coding.
    fn kept(errors: (f64, f64), gate: Option<&Glow>, scale: usize) -> (Kept, f32) {
        let layout = PictureLayout::gray(53, 41);
        let luma = |(y, x): (usize, usize)| if x < 24 { 90.0 } else { ((7 * y + 11 * x) % 50) as f32 * 4.0 };
        let plane = Plane::from_shape_fn((41, 53), luma);
        let coding = CodingError { deviation: errors.1 as f32, blocks: None };
        let appearance = Appearance::new(&[plane], Some(&coding), &layout, CpuLevel::SCALAR);
        let to = layout.resized(53 * scale, 41 * scale);
        let schedule = Schedule::new(&Options::default(), (&layout, &to), errors, false);
        (Kept::new(&appearance, gate, &schedule), schedule.alone)
    }

    /// A gate that is open everywhere.
    fn open() -> Glow {
        Glow { spacing: 1, rows: 1, columns: 1, nodes: vec![1.0] }
    }

    #[test]
    fn coded_pictures_keep_what_is_made_of_detail() {
        for scale in [2, 4] {
            let (Kept { share, foretold }, _) = kept((0.0, 3.0), Some(&open()), scale);
            assert!(foretold.is_none(), "without noise the reference is as good as any frame");
            assert_eq!((share.rows, share.columns), (11, 14), "cells of four pixels");
            let (flat, detailed) = (share.at(20.0, 8.0), share.at(20.0, 44.0));
            assert!(flat == 0.0 && detailed > 0.9, "x{scale}: {flat} of what is flat, {detailed} of detail");
            let coarser = kept((0.0, 12.0), Some(&open()), scale).0.share;
            assert!(coarser.at(20.0, 44.0) < detailed, "the more coding has taken the less is kept");
        }
    }

    #[test]
    fn noisy_pictures_keep_what_the_grid_of_the_reference_shows() {
        let (Kept { share, foretold }, _) = kept((3.0, 0.0), Some(&open()), 2);
        let foretold = foretold.expect("there is noise");
        let (flat, detailed) = ((20.0, 8.0), (20.0, 44.0));
        assert_eq!((share.at(flat.0, flat.1), foretold.at(flat.0, flat.1)), (0.0, 1.0), "what is flat is averaged");
        let (share, foretold) = (share.at(detailed.0, detailed.1), foretold.at(detailed.0, detailed.1));
        assert!(share > 0.9 && share + foretold * (1.0 - share) > 0.9999, "{share} of detail, {foretold} foretold");
        let alone = kept((3.0, 0.0), None, 2).0.foretold.expect("there is noise");
        assert!(alone.at(flat.0, flat.1) < 1.0, "nobody else supports it");
    }

    #[test]
    fn pictures_without_errors_keep_what_the_gate_lets_them() {
        let rows = (0..11 * 14).map(|n| (n % 14) as f32 / 13.0).collect();
        let gate = Glow { spacing: CELL, rows: 11, columns: 14, nodes: rows };
        let (Kept { share, .. }, alone) = kept((0.0, 0.0), Some(&gate), 2);
        for (share, open) in share.nodes.iter().zip(&gate.nodes) {
            assert!((share - (alone + (1.0 - alone) * open)).abs() < 1e-6, "{share} where the gate is {open}");
        }
        let (Kept { share, foretold }, alone) = kept((0.0, 0.0), None, 2);
        assert!(alone < 1.0 && share.nodes.iter().all(|share| *share == alone), "alone everywhere");
        assert!(foretold.is_none());
    }
}
