//! One pass over the nodes of a field at one size of the frames: candidates, then robust Gauss-Newton steps.
//!
//! The window around each node of the moving frame is looked for in the reference [Lucas & Kanade 1981]; its gradients
//! are computed once and serve all steps. The mean of the residual is eliminated, so that a local change of brightness
//! is no motion. Nodes are visited in reading order and may take over the vectors found left of and above them; bands of
//! [`BAND`] rows of nodes know nothing of each other, so that threads do not show.

use std::ops::Range;

use rayon::prelude::*;

use crate::cores::Pieces;
use crate::kernels::CpuLevel;
use crate::kernels::patches::{
    AREA, Lookup, PatchLanes, PatchSums, Template, WIDEST, load_template, measure_patch, patch_weight,
    residual_of_weight,
};

use super::field::Field;
use super::prepare::Level;

/// Rows of nodes of one task; part of the definition of the result.
const BAND: usize = 16;
/// Longest step along an axis, pixels.
const LONGEST_STEP: f32 = 0.8;
/// Squared length of the step after which a window is at its place, pixels: what is left is about a tenth of the step.
const TOLERANCE: f32 = 1.6e-3;
/// Candidates nearer than this to the vector at hand are reached by steps, pixels (sum over axes).
const NEAR: f32 = 0.3;
/// A candidate replaces a vector if its error is smaller by this factor.
const BETTER: f32 = 0.95;
/// Below this residual no other candidate is asked for, grey levels.
const GOOD: f32 = 1.6;
/// Steeper changes of the vector are edges between motions, pixels per pixel.
const LARGEST_SHEAR: f32 = 0.15;
/// Least share of a window that has to lie in both frames.
const LEAST_SHARE: f32 = 0.3;

/// A window's size and the weights of its pixels, with sum 1.
#[derive(Debug, Clone)]
pub(super) struct Window {
    side: usize,
    places: [f32; AREA],
}

impl Window {
    /// Gaussian of `sigma` pixels on `side` x `side`, 16 or 8.
    pub(super) fn gaussian(side: usize, sigma: f32) -> Self {
        let middle = (side as f32 - 1.0) / 2.0;
        let square = |i: usize| ((i / side) as f32 - middle).powi(2) + ((i % side) as f32 - middle).powi(2);
        let mut places = [0.0; AREA];
        let inside = &mut places[..side * side];
        inside.iter_mut().enumerate().for_each(|(i, w)| *w = (-square(i) / (2.0 * sigma * sigma)).exp());
        let total: f32 = inside.iter().sum();
        inside.iter_mut().for_each(|w| *w /= total);
        Self { side, places }
    }
}

/// What was learnt about a node beside its vector.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Found {
    /// Weighted mean of products of gradients, down-down, down-right, right-right: how sure the vector is, by direction.
    pub(super) tensor: [f32; 3],
    /// Residual, root mean square with large ones counting less, grey levels; 0 where nothing could be compared.
    pub(super) error: f32,
    /// Whether nothing tells its motion from that of a frame that moves as a whole.
    pub(super) bound: bool,
}

/// What a pass asks of a change before it is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Acceptance {
    /// Nothing, unless the window went off by half its size.
    Steps,
    /// An error below this share of that of the start.
    Share(f32),
}

/// Vectors that any node may take, beside those of its neighbours.
pub(super) type Candidates<'a> = &'a (dyn Fn(f32, f32, &mut Vec<[f32; 2]>) + Sync);

/// One pass over a level.
pub(super) struct Pass<'a> {
    pub(super) cpu: CpuLevel,
    pub(super) reference: &'a Level,
    pub(super) moving: &'a Level,
    /// Moving = gain * reference + offset.
    pub(super) gain: f32,
    pub(super) offset: f32,
    pub(super) window: &'a Window,
    /// Most steps of a node.
    pub(super) iterations: usize,
    /// Added to both axes of the tensor, squared grey levels per squared pixel.
    pub(super) damping: f32,
    pub(super) acceptance: Acceptance,
}

impl Pass<'_> {
    /// Improves all vectors of `field` for which `wanted` (one for each node; empty for all).
    pub(super) fn run(&self, field: &mut Field, candidates: Candidates<'_>, wanted: &[bool]) -> Vec<Found> {
        let (rows, columns) = field.nodes();
        let positions: [Vec<f32>; 2] = [rows, columns].map(|n| (0..n).map(|i| field.position(i)).collect());
        let mut found = vec![Found::default(); rows * columns];
        let before = field.clone();
        let tasks = field.vectors.par_chunks_mut(columns * BAND).zip(found.par_chunks_mut(columns * BAND));
        tasks.enumerate().on_free_cores().for_each(|(band, (vectors, found))| {
            let first = band * BAND * columns;
            let (mut searcher, mut lanes) = (Searcher::new(self), PatchLanes::new());
            for i in 0..vectors.len() {
                if wanted.get(first + i).is_some_and(|wanted| !wanted) {
                    continue;
                }
                let (y, x) = (positions[0][(first + i) / columns], positions[1][i % columns]);
                searcher.offers.clear();
                if i % columns > 0 {
                    searcher.offers.push(vectors[i - 1]);
                }
                if i >= columns {
                    searcher.offers.push(vectors[i - columns]);
                }
                candidates(y, x, &mut searcher.offers);
                searcher.shear = shear(&before, (first + i) / columns, i % columns);
                (vectors[i], found[i]) = searcher.search(&mut lanes, [y, x], vectors[i]);
            }
        });
        found
    }
}

/// How the vector changes per row and per column around a node, by the differences of its neighbours; none where it
/// breaks.
fn shear(field: &Field, row: usize, column: usize) -> [[f32; 2]; 2] {
    let (rows, columns) = field.nodes();
    let difference = |i: usize, n: usize, step: usize| {
        let (low, high) = (i.saturating_sub(1), (i + 1).min(n - 1));
        let at = row * columns + column;
        let (a, b) = (field.vectors[at - (i - low) * step], field.vectors[at + (high - i) * step]);
        let scale = 1.0 / ((high - low).max(1) * field.spacing()) as f32;
        [(b[0] - a[0]) * scale, (b[1] - a[1]) * scale]
    };
    let (down, right) = (difference(row, rows, columns), difference(column, columns, 1));
    let shear = [[down[0], right[0]], [down[1], right[1]]];
    let smooth = shear.iter().flatten().all(|v| v.abs() <= LARGEST_SHEAR);
    if smooth { shear } else { [[0.0; 2]; 2] }
}

impl Pass<'_> {
    /// The residual of each node that is `wanted`, 0 for all others.
    pub(super) fn errors(&self, field: &Field, wanted: &[bool]) -> Vec<f32> {
        let columns = field.nodes().1;
        let mut errors = vec![0.0; field.vectors.len()];
        errors.par_chunks_mut(columns * BAND).enumerate().on_free_cores().for_each(|(band, errors)| {
            let (mut searcher, mut lanes) = (Searcher::new(self), PatchLanes::new());
            for (i, error) in (band * BAND * columns..).zip(errors) {
                if wanted[i] {
                    searcher.load([field.position(i / columns), field.position(i % columns)]);
                    searcher.shear = shear(field, i / columns, i % columns);
                    *error = searcher.error(&mut lanes, field.vectors[i]).unwrap_or(0.0);
                }
            }
        });
        errors
    }
}

/// Part of a frame, copied because it reaches over the edge.
type Copied = [f32; (WIDEST + 2) * (WIDEST + 2)];

/// Works on one node after the other, in buffers of its own.
struct Searcher<'a> {
    pass: &'a Pass<'a>,
    template: Template,
    /// First pixel (row, column) of the window in the moving frame.
    corner: [i64; 2],
    /// Whether the window is all inside the moving frame; its pixels then have the weights of the pass.
    whole: bool,
    /// Otherwise the weights of those that are.
    places: [f32; AREA],
    /// Sum of the weights.
    share: f32,
    /// The same inside the reference too, where that is less.
    shared: [f32; AREA],
    copied: Copied,
    /// How the vector changes around the node.
    shear: [[f32; 2]; 2],
    /// Vectors to be tried.
    offers: Vec<[f32; 2]>,
}

/// A window's place in the reference.
struct Place {
    corner: [i64; 2],
    fraction: [f32; 2],
    /// Whether all its pixels are inside.
    inside: bool,
}

impl<'a> Searcher<'a> {
    fn new(pass: &'a Pass<'a>) -> Self {
        let (places, copied) = (pass.window.places, [0.0; (WIDEST + 2) * (WIDEST + 2)]);
        let offers = Vec::with_capacity(32);
        Self {
            pass,
            template: Template::new(),
            corner: [0; 2],
            places,
            share: 1.0,
            whole: true,
            shared: places,
            copied,
            shear: [[0.0; 2]; 2],
            offers,
        }
    }

    /// The vector of the node at `position` (row, column), from `start` or from one of the offers.
    fn search(&mut self, lanes: &mut PatchLanes, position: [f32; 2], start: [f32; 2]) -> ([f32; 2], Found) {
        self.load(position);
        let Some(mut sums) = self.measure(lanes, start) else {
            return (start, Found::default());
        };
        let before = residual_of_weight(sums.weight);
        let mut vector = start;
        if before > GOOD {
            let mut least = BETTER * before;
            for k in 0..self.offers.len() {
                let offer = self.offers[k];
                if (offer[0] - vector[0]).abs() + (offer[1] - vector[1]).abs() <= NEAR {
                    continue;
                }
                if let Some(error) = self.error(lanes, offer).filter(|&error| error < least) {
                    (vector, least) = (offer, BETTER * error);
                }
            }
        }
        let chosen = vector;
        for iteration in 0..self.pass.iterations {
            if iteration > 0 || chosen != start {
                match self.measure(lanes, vector) {
                    Some(again) => sums = again,
                    None => break,
                }
            }
            let step = step(&sums, self.pass.damping);
            vector = [vector[0] - step[0], vector[1] - step[1]];
            if step[0] * step[0] + step[1] * step[1] < TOLERANCE {
                break;
            }
        }
        let leash = 0.5 * self.pass.window.side as f32;
        if (vector[0] - chosen[0]).abs().max((vector[1] - chosen[1]).abs()) > leash {
            vector = chosen;
        }
        let found = Found { tensor: sums.tensor, error: residual_of_weight(sums.weight), bound: false };
        match self.pass.acceptance {
            Acceptance::Steps => (vector, found),
            Acceptance::Share(share) => match self.error(lanes, vector) {
                Some(error) if error < share * before => (vector, Found { error, ..found }),
                _ => (start, Found { error: before, ..found }),
            },
        }
    }

    /// Loads the window around `position` of the moving frame.
    fn load(&mut self, position: [f32; 2]) {
        let (level, side) = (self.pass.moving, self.pass.window.side);
        self.corner = position.map(|p| (p - (side as f32 - 1.0) / 2.0).round() as i64);
        let [y, x] = [self.corner[0] - 1, self.corner[1] - 1];
        if inside(level, [y, x], side + 2) {
            let source = &level.pixels[y as usize * level.columns + x as usize..];
            load_template(self.pass.cpu, &mut self.template, source, level.columns, side);
            (self.whole, self.share) = (true, 1.0);
        } else {
            copy_clamped(&mut self.copied, level, [y, x], side + 2);
            load_template(self.pass.cpu, &mut self.template, &self.copied, side + 2, side);
            let seen = [seen(self.corner[0], side, level.rows), seen(self.corner[1], side, level.columns)];
            self.whole = false;
            self.share = masked(&mut self.places, &self.pass.window.places, side, seen);
        }
    }

    /// Where the window is in the reference under `vector`.
    fn place(&self, vector: [f32; 2]) -> Place {
        let whole = vector.map(floor);
        let corner = [self.corner[0] + whole[0], self.corner[1] + whole[1]];
        let fraction = [vector[0] - whole[0] as f32, vector[1] - whole[1] as f32];
        let inside = inside(self.pass.reference, corner, self.pass.window.side + 1);
        Place { corner, fraction, inside }
    }

    /// Copies what lies over the edge; `None` if too little of the window is in both frames, else the share that is.
    fn fetch(&mut self, place: &Place) -> Option<f32> {
        let (level, side) = (self.pass.reference, self.pass.window.side);
        if place.inside {
            return Some(self.share);
        }
        let (height, width) = (level.rows as i64, level.columns as i64);
        // Far outside nothing is shared; saying so here also keeps the sums below from overflowing.
        let reach = side as i64;
        if !(-reach..height).contains(&place.corner[0]) || !(-reach..width).contains(&place.corner[1]) {
            return None;
        }
        copy_clamped(&mut self.copied, level, place.corner, side + 1);
        let seen = [seen(place.corner[0], side, level.rows - 1), seen(place.corner[1], side, level.columns - 1)];
        let places = if self.whole { &self.pass.window.places } else { &self.places };
        let share = masked(&mut self.shared, places, side, seen);
        (share > LEAST_SHARE).then_some(share)
    }

    /// Where the reference is read, and the weights of the pixels.
    fn lookup<'b>(&'b self, place: &Place) -> (Lookup<'b>, &'b [f32; AREA]) {
        let (level, side) = (self.pass.reference, self.pass.window.side);
        let (pixels, stride, places) = if place.inside {
            let first = place.corner[0] as usize * level.columns + place.corner[1] as usize;
            (&level.pixels[first..], level.columns, if self.whole { &self.pass.window.places } else { &self.places })
        } else {
            (&self.copied[..], side + 1, &self.shared)
        };
        let ([down, right], gain) = (place.fraction, self.pass.gain);
        let (rows, columns) = ([gain * (1.0 - down), gain * down], [1.0 - right, right]);
        (Lookup { pixels, stride, rows, columns, offset: self.pass.offset, shear: self.shear }, places)
    }

    /// The sums under `vector`, per weight of the window; `None` where too little can be compared.
    fn measure(&mut self, lanes: &mut PatchLanes, vector: [f32; 2]) -> Option<PatchSums> {
        let place = self.place(vector);
        let share = self.fetch(&place)?;
        let (lookup, places) = self.lookup(&place);
        measure_patch(self.pass.cpu, lanes, &self.template, places, &lookup, self.pass.window.side);
        Some(lanes.totals(1.0 / share))
    }

    /// The residual under `vector`; `None` where too little can be compared.
    fn error(&mut self, lanes: &mut PatchLanes, vector: [f32; 2]) -> Option<f32> {
        let place = self.place(vector);
        let share = self.fetch(&place)?;
        let (lookup, places) = self.lookup(&place);
        patch_weight(self.pass.cpu, lanes, &self.template, places, &lookup, self.pass.window.side);
        Some(residual_of_weight(lanes.weight(1.0 / share)))
    }
}

/// Largest whole number not above `v`, without a call into the mathematics library.
fn floor(v: f32) -> i64 {
    let toward_zero = v as i32;
    i64::from(toward_zero) - i64::from(v < toward_zero as f32)
}

/// Whether `side` x `side` pixels from `corner` are all in the level.
fn inside(level: &Level, corner: [i64; 2], side: usize) -> bool {
    let fits = |first: i64, n: usize| first >= 0 && first + side as i64 <= n as i64;
    fits(corner[0], level.rows) && fits(corner[1], level.columns)
}

/// Copies `side` x `side` pixels from `corner` on, the edge repeated outside.
fn copy_clamped(out: &mut Copied, level: &Level, corner: [i64; 2], side: usize) {
    for (y, out) in out.chunks_mut(side).take(side).enumerate() {
        let row = level.row((corner[0] + y as i64).clamp(0, level.rows as i64 - 1) as usize);
        let inner = seen(corner[1], side, level.columns);
        if inner.is_empty() {
            out.fill(row[if corner[1] < 0 { 0 } else { level.columns - 1 }]);
            continue;
        }
        let first = (corner[1] + inner.start as i64) as usize;
        out[inner.clone()].copy_from_slice(&row[first..first + inner.len()]);
        out[..inner.start].fill(row[0]);
        out[inner.end..].fill(row[level.columns - 1]);
    }
}

/// Which of `side` pixels from `first` on are among the first `n`.
fn seen(first: i64, side: usize, n: usize) -> Range<usize> {
    let bound = |i: i64| i.clamp(0, side as i64) as usize;
    bound(-first)..bound(n as i64 - first)
}

/// The weights of the rows and columns of a window that are `seen`, 0 for all others; gives their sum.
fn masked(out: &mut [f32; AREA], places: &[f32; AREA], side: usize, seen: [Range<usize>; 2]) -> f32 {
    out[..side * side].fill(0.0);
    let [rows, columns] = seen;
    for y in rows {
        let columns = y * side + columns.start..y * side + columns.end;
        out[columns.clone()].copy_from_slice(&places[columns]);
    }
    out[..side * side].iter().sum()
}

/// The Gauss-Newton step (down, right) with the mean residual eliminated; zero where the sums say nothing.
fn step(sums: &PatchSums, damping: f32) -> [f32; 2] {
    let share = 1.0 / sums.weight.max(1e-6);
    let [gy, gx] = sums.gradient;
    let [hyy, hyx, hxx] = sums.tensor;
    let (a, b, c) = (hyy - gy * gy * share + damping, hyx - gy * gx * share, hxx - gx * gx * share + damping);
    let (by, bx) = (sums.slope[0] - gy * sums.residual * share, sums.slope[1] - gx * sums.residual * share);
    let determinant = a * c - b * b;
    let step = [(c * by - b * bx) / determinant, (a * bx - b * by) / determinant];
    if step.iter().all(|v| v.is_finite()) { step.map(|v| v.clamp(-LONGEST_STEP, LONGEST_STEP)) } else { [0.0; 2] }
}
