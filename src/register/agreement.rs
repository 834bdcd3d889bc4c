//! How well two frames agree under a shift: the robust score that chooses between candidates, and the confidence.

use rayon::prelude::*;

use super::prepare::{Level, sample_step};
use super::rank::{median, median_magnitude};
use super::refine::{Sample, State};
use crate::cores::Pieces;

/// Share of the frame that must remain visible in both.
const LEAST_OVERLAP: f64 = 0.15;
/// Score of pixels that only one frame shows: more than agreement, less than contradiction, so that a shift which
/// leaves only a flat corner in common does not win.
const UNSEEN: f64 = 0.6;
/// Smallest scale of the score, grey levels.
const SMALLEST_SCALE: f32 = 0.5;
/// The scale of the score in median residuals of the best candidate.
const SCALE: f32 = 2.5;

/// A shift by whole pixels with the residuals it leaves.
struct Trial {
    shift: [i64; 2],
    /// Share of the frame that both show.
    overlap: f64,
    residuals: Vec<f32>,
}

/// The `count` best of `candidates` (rows, columns), at least two pixels apart, best first, and the scale to score
/// them with again; `state` gives gain and level. About `samples` pixels are compared for each.
pub(super) fn best_candidates(
    reference: &Level,
    moving: &Level,
    candidates: &[[i64; 2]],
    state: &State,
    samples: usize,
    count: usize,
) -> (Vec<[i64; 2]>, f32) {
    let trial = |shift: &[i64; 2]| {
        let mut trial = trial(reference, moving, *shift, state, samples)?;
        center(&mut trial.residuals);
        let typical = median_magnitude(&trial.residuals);
        Some((trial, typical))
    };
    let (trials, typical): (Vec<Trial>, Vec<f32>) = candidates.par_iter().on_free_cores().filter_map(trial).unzip();
    let typical = typical.into_iter().fold(f32::INFINITY, f32::min);
    let scale = SCALE * typical.max(SMALLEST_SCALE);
    let total = |t: &Trial| with_unseen(geman_mcclure(&t.residuals, scale), t.overlap);
    let mut scored: Vec<(f64, [i64; 2])> = trials.iter().map(|t| (total(t), t.shift)).collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut best: Vec<[i64; 2]> = Vec::with_capacity(count);
    for (_, shift) in scored {
        let apart = |other: &[i64; 2]| (shift[0] - other[0]).abs().max((shift[1] - other[1]).abs()) > 1;
        if best.len() < count && best.iter().all(apart) {
            best.push(shift);
        }
    }
    (best, scale)
}

/// Residuals of a shift by whole pixels; `None` where too little of the frame is left.
fn trial(reference: &Level, moving: &Level, shift: [i64; 2], state: &State, samples: usize) -> Option<Trial> {
    let axis = |n: usize, d: i64| {
        let (first, end) = (0.max(-d), (n as i64).min(n as i64 - d));
        (end > first).then_some([first as usize, end as usize])
    };
    let ([top, bottom], [left, right]) = (axis(reference.rows, shift[0])?, axis(reference.columns, shift[1])?);
    let pixels = (bottom - top) * (right - left);
    let overlap = pixels as f64 / (reference.rows * reference.columns) as f64;
    if overlap < LEAST_OVERLAP {
        return None;
    }
    let step = sample_step(pixels, samples);
    // Candidates are tried by all threads at once: memory that grew would have them wait for each other.
    let mut residuals = Vec::with_capacity((bottom - top).div_ceil(step) * (right - left).div_ceil(step));
    let moved = |n: usize, d: i64| (n as i64 + d) as usize;
    for y in (top..bottom).step_by(step) {
        let a = &reference.row(y)[left..right];
        let b = &moving.row(moved(y, shift[0]))[moved(left, shift[1])..moved(right, shift[1])];
        let scattered = a.iter().zip(b).skip((y * 7) % step).step_by(step);
        residuals.extend(scattered.map(state.residual()));
    }
    Some(Trial { shift, overlap, residuals })
}

/// Takes the median off.
fn center(residuals: &mut [f32]) {
    let middle = median(residuals);
    residuals.iter_mut().for_each(|r| *r -= middle);
}

/// Robust score of a refined candidate, 0 (equal) to 1, of corresponding pixels `sample` of frames as large as `frame`.
pub(super) fn score(mut sample: Sample, state: &State, frame: &Level, scale: f32) -> f64 {
    let residuals = sample.residuals(state);
    center(residuals);
    let share = |n: usize, d: f64| (1.0 - d.abs() / n as f64).max(0.0);
    with_unseen(geman_mcclure(residuals, scale), share(frame.columns, state.dx) * share(frame.rows, state.dy))
}

/// The score of the whole frame, of which a share `overlap` has score `seen`.
fn with_unseen(seen: f64, overlap: f64) -> f64 {
    overlap * seen + (1.0 - overlap) * UNSEEN
}

/// Mean of `r^2 / (r^2 + scale^2)` (Geman and McClure 1987); 1 if there is nothing to compare.
fn geman_mcclure(residuals: &[f32], scale: f32) -> f64 {
    let square = scale * scale;
    let total: f64 = residuals.iter().map(|r| f64::from(r * r / (r * r + square))).sum();
    if residuals.is_empty() { 1.0 } else { total / residuals.len() as f64 }
}

/// Agreement corrected for chance, 0 to 1: one minus the mean absolute residual of corresponding pixels over that
/// of pixels paired at random.
pub(super) fn chance_corrected(sample: &Sample, state: &State) -> f64 {
    let n = sample.reference.len();
    let found = total_magnitude(sample.reference.iter().zip(&sample.moving), state);
    // A prime step through the sample meets every element once unless it divides n, and leaves no neighbour beside.
    const STEP: usize = 7919;
    let shuffled = (0..n).map(|i| &sample.moving[((i + 1) * STEP) % n]);
    let chance = total_magnitude(sample.reference.iter().zip(shuffled), state);
    if chance > 0.0 { (1.0 - found / chance).clamp(0.0, 1.0) } else { 0.0 }
}

/// The sum of what `state` leaves of pairs (reference, moving).
fn total_magnitude<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>, state: &State) -> f64 {
    pairs.map(state.residual()).map(|r| f64::from(r.abs())).sum()
}
