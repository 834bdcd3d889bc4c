//! Registration: how one frame has moved against another, to a hundredth of a pixel.
//!
//! [`Registrar::prepare`] computes once for each frame what all its pairs need; [`Registrar::estimate`] then finds
//! the motion of a pair from nothing, in three steps, each in the file of that name:
//!
//! 1. `correlate`: candidate shifts, from low-passed phase correlation of the whole frame and of nine tiles;
//! 2. `agreement`: the candidates that fit the pixels best, by a robust score on their overlap;
//! 3. `refine`: robust Gauss-Newton steps on shift, gain and offset, from a reduced copy up to full size, with blocks
//!    that move otherwise left out (`trust`).
//!
//! [`Registrar::field`] makes a [`Field`] of it: dense motion, for scenes in which not all moves alike. `dense` goes
//! through the sizes, `nodes` moves windows, `smooth` compares them with their neighbours; [`Registrar::refine_field`]
//! is its last step alone.
//!
//! [`Registrar::refine`] is the third step alone. `scene` says how far to trust the result and whether there was a
//! scene cut. Equations, sources and measurements are in docs/registration.md.
//!
//! Results depend on the two frames only: all sums have a fixed order, threads share only independent outputs, and
//! every CPU level gives the same bits. What this module is not for: deciding what to do about bad motion (`fuse`).

mod agreement;
mod correlate;
mod dense;
mod field;
mod motion;
mod nodes;
mod prepare;
mod rank;
mod refine;
mod rigid;
mod scene;
mod smooth;
mod spectrum;
mod trust;

#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod tests;

pub use dense::FieldDetail;
pub use field::Field;
pub use motion::{Estimate, Motion, Shift};
pub use prepare::Prepared;

use std::borrow::Cow;

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::cores::Pieces;
use crate::error::{Error, Kind, Result, Stage};
use crate::kernels::CpuLevel;

use agreement::{best_candidates, score};
use correlate::Search;
use prepare::{Level, Spread, gaussian};
use refine::{Aligner, State};
use scene::{Likeness, detail};

/// Frames are compared as a whole on the first reduced copy with no more pixels than this.
const LIKENESS_PIXELS: usize = 160_000;
/// Pixels used by one refinement step of a candidate.
const TRIAL_PIXELS: usize = 40_000;
/// Pixels compared to choose between refined candidates.
const TRIAL_SAMPLES: usize = 8192;
/// Candidates that are refined before one is chosen.
const TRIALS: usize = 3;
/// Frames with a shorter side are not searched, and levels of the pyramid are not made shorter.
const SMALLEST_SIDE: usize = 16;
/// Below this confidence a measured shift means nothing and the motion assumed before is kept.
const LEAST_CONFIDENCE: f64 = 0.1;
/// Steps after which refinement on a reduced copy stops, in its pixels; at full size it is [`TOLERANCE`].
const COARSE_TOLERANCE: f64 = 0.01;
/// Steps after which refinement stops, pixels.
const TOLERANCE: f64 = 1e-4;
/// How far refinement may go from its start, pixels of its level.
const LEASH: f64 = 3.0;

/// What is spent on a shift.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Pixels compared for each candidate.
    candidate_samples: usize,
    /// Pixels used by one refinement step; of larger levels only every second, third, ... row is.
    step_pixels: usize,
    /// Steps after which refinement stops where it goes on at a larger size, pixels of the level.
    tolerance: f64,
    /// Level of the pyramid on which it ends.
    lowest: usize,
}

/// As exact as the frames allow.
const EXACT: Effort = Effort { candidate_samples: 4096, step_pixels: 1 << 19, tolerance: COARSE_TOLERANCE, lowest: 0 };
/// Exact enough for a field to start from, which keeps it where nothing else is seen: what 34 clips gain changes by 0.02 dB at most.
const SEED: Effort = Effort { candidate_samples: 1024, step_pixels: TRIAL_PIXELS, tolerance: 0.05, lowest: 1 };

/// How to register. The defaults are what was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Longest shift searched, as a share of the frame's side; above 0, at most 0.8. Default 0.6.
    pub reach: f64,
    /// Standard deviation of the Gaussian that both frames are smoothed with, pixels; 0.5 to 2. Default 0.8.
    ///
    /// Less is more accurate in noise, more is so under aliasing.
    pub smoothing: f64,
    /// Most Gauss-Newton steps at each size; 1 to 100. Default 12.
    pub iterations: usize,
    /// The search runs on the first copy, each half the size of the one before, with no more pixels than this; at
    /// least 256. Default 160 000: fewer lose shifts of small objects, and cost less.
    pub search_pixels: usize,
    /// Confidence below which frames that also look different are taken for different scenes; 0 (never) to 1.
    /// Default 0.25.
    pub cut_threshold: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { reach: 0.6, smoothing: 0.8, iterations: 12, search_pixels: 160_000, cut_threshold: 0.25 }
    }
}

impl Options {
    /// # Errors
    /// [`Kind::Usage`] with the value and its domain.
    fn validate(&self) -> Result<()> {
        let check = |name: &str, value: f64, fits: bool, domain: &str| {
            let message = || format!("registration: {name} is {value}, allowed is {domain}");
            if fits { Ok(()) } else { Err(Error::new(Kind::Usage, message())) }
        };
        check("reach", self.reach, self.reach > 0.0 && self.reach <= 0.8, "above 0, at most 0.8")?;
        check("smoothing", self.smoothing, (0.5..=2.0).contains(&self.smoothing), "0.5 to 2 pixels")?;
        check("iterations", self.iterations as f64, (1..=100).contains(&self.iterations), "1 to 100")?;
        check("search_pixels", self.search_pixels as f64, self.search_pixels >= 256, "at least 256")?;
        check("cut_threshold", self.cut_threshold, (0.0..=1.0).contains(&self.cut_threshold), "0 to 1")
    }
}

/// Registers frames of one size.
pub struct Registrar {
    height: usize,
    width: usize,
    options: Options,
    cpu: CpuLevel,
    taps: Vec<f32>,
    search_level: usize,
    likeness_level: usize,
    /// None for frames too small to be searched.
    search: Option<Search>,
}

impl std::fmt::Debug for Registrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = (self.height, self.width);
        f.debug_struct("Registrar").field("size", &size).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Registrar {
    /// For frames of `height x width` pixels. Plans the transforms; keep it for all frames of a stream.
    ///
    /// # Errors
    /// [`Kind::Usage`] if an option is outside its domain or a side is 0.
    pub fn new(height: usize, width: usize, options: Options, cpu: CpuLevel) -> Result<Self> {
        options.validate()?;
        if height == 0 || width == 0 {
            return Err(Error::new(Kind::Usage, format!("registration: frames of {width}x{height} have no pixels")));
        }
        let shorter = height.min(width);
        let level_of = |most: usize| {
            let mut level = 0;
            while (height >> level) * (width >> level) > most && shorter >> (level + 1) >= SMALLEST_SIDE {
                level += 1;
            }
            level
        };
        let level = level_of(options.search_pixels);
        let search = || Search::new(height >> level, width >> level, options.reach);
        Ok(Self {
            height,
            width,
            options,
            cpu,
            taps: gaussian(options.smoothing),
            search_level: level,
            likeness_level: level_of(LIKENESS_PIXELS).max(1),
            search: (shorter >= SMALLEST_SIDE).then(search),
        })
    }

    /// Computes what registration needs of one frame; `luma` is `height x width` on the 8-bit scale.
    ///
    /// # Errors
    /// [`Kind::Bug`] with both sizes if the size differs, [`Kind::Input`] with the first bad pixel if one is not
    /// finite.
    pub fn prepare(&self, luma: ArrayView2<'_, f32>) -> Result<Prepared> {
        self.check(luma)?;
        let mut sizes = vec![Level::of(luma)];
        while let Some(last) = sizes.last().filter(|last| last.rows.min(last.columns) / 2 >= SMALLEST_SIDE) {
            let Level { rows, columns, pixels } = last.halved(self.cpu);
            sizes.push(Level { rows, columns, pixels: Cow::Owned(pixels) });
        }
        let search = || self.search.as_ref().map(|search| search.spectra(&sizes[self.search_level]));
        let (spectra, levels) = rayon::join(search, || {
            sizes.par_iter().map(|level| level.smoothed(&self.taps, self.cpu)).collect::<Vec<_>>()
        });
        let likeness_level = self.likeness_level.min(levels.len() - 1);
        let (detail, spread) =
            rayon::join(|| detail(&levels[likeness_level], self.cpu), || Spread::of(&levels[self.search_level]));
        Ok(Prepared { levels, spectra: spectra.unwrap_or_default(), detail, likeness_level, spread })
    }

    fn check(&self, luma: ArrayView2<'_, f32>) -> Result<()> {
        let (height, width) = luma.dim();
        if (height, width) != (self.height, self.width) {
            let wanted = format!("frames of {}x{}", self.width, self.height);
            let message = format!("a frame of {width}x{height} was given to a registrar for {wanted}");
            return Err(Error::new(Kind::Bug, message).at(Stage::Register, None));
        }
        // Nearly always all of them are: that is told many at a time.
        let all_finite = |row: &[f32]| row.iter().fold(true, |all, value| all & value.is_finite());
        if luma.as_slice().is_some_and(|luma| luma.par_chunks(4096).with_min_len(16).all(all_finite)) {
            return Ok(());
        }
        match luma.indexed_iter().find(|(_, value)| !value.is_finite()) {
            None => Ok(()),
            Some(((y, x), value)) => {
                let message = format!("luma at column {x}, row {y} is {value}, not a finite number");
                Err(Error::new(Kind::Input, message).at(Stage::Register, None))
            }
        }
    }

    /// Finds the motion from `reference` to `moving`, searching shifts up to [`Options::reach`].
    ///
    /// Frames with equal pixels give exactly no motion and confidence 1. Where nothing can be measured (frames without
    /// texture, unrelated frames, sides below 16 pixels) the motion is none and the confidence below 0.1.
    ///
    /// # Panics
    /// If a frame was prepared for another size.
    pub fn estimate(&self, reference: &Prepared, moving: &Prepared) -> Estimate {
        self.searched(reference, moving, EXACT)
    }

    /// [`Self::estimate`] without the last step at full size and with less of the frames: exact enough to start a [`Field`] from,
    /// at half of the cost.
    ///
    /// # Panics
    /// If a frame was prepared for another size.
    pub fn seed(&self, reference: &Prepared, moving: &Prepared) -> Estimate {
        self.searched(reference, moving, if self.search_level < SEED.lowest { EXACT } else { SEED })
    }

    fn searched(&self, reference: &Prepared, moving: &Prepared, effort: Effort) -> Estimate {
        let Some(search) = self.search.as_ref().filter(|_| !self.equal(reference, moving)) else {
            return self.unsearched(reference, moving, &Motion::still());
        };
        let start = brightness(reference, moving);
        let level = self.search_level;
        let candidates = search.candidates(&reference.spectra, &moving.spectra);
        let pair = (&reference.levels[level], &moving.levels[level]);
        let (best, scale) = best_candidates(pair.0, pair.1, &candidates, &start, effort.candidate_samples, TRIALS);
        let aligner = self.aligner(reference, moving, level, TRIAL_PIXELS);
        // They do not wait for each other, as the steps of each one do.
        let tried = best.into_par_iter().on_free_cores().map(|shift| {
            let state = State { dx: shift[1] as f64, dy: shift[0] as f64, ..start };
            let state = aligner.refine(state, self.options.iterations, effort.tolerance, LEASH).unwrap_or(state);
            (score(aligner.pairs(&state, TRIAL_SAMPLES), &state, pair.0, scale), state)
        });
        let tried: Vec<(f64, State)> = tried.collect();
        let least = |best: (f64, State), next: (f64, State)| if next.0 < best.0 { next } else { best };
        let (_, chosen) = tried.into_iter().fold((f64::INFINITY, start), least);
        self.finish(reference, moving, chosen, &Motion::still(), effort)
    }

    /// Refines a motion known to within two or three pixels: the robust steps of [`Self::estimate`] without search.
    ///
    /// Where nothing can be measured the motion is `initial` and the confidence below 0.1.
    ///
    /// # Panics
    /// If a frame was prepared for another size.
    pub fn refine(&self, reference: &Prepared, moving: &Prepared, initial: &Motion) -> Estimate {
        if self.equal(reference, moving) || self.search.is_none() {
            return self.unsearched(reference, moving, initial);
        }
        let shift = initial.global();
        let start = State { dx: shift.dx, dy: shift.dy, ..brightness(reference, moving) }.at_level(self.search_level);
        let aligner = self.aligner(reference, moving, self.search_level, TRIAL_PIXELS);
        let state = aligner.refine(start, self.options.iterations, COARSE_TOLERANCE, LEASH).unwrap_or(start);
        self.finish(reference, moving, state, initial, EXACT)
    }

    /// Whether both frames have the same pixels.
    fn equal(&self, reference: &Prepared, moving: &Prepared) -> bool {
        for frame in [reference, moving] {
            let (rows, columns) = (frame.levels[0].rows, frame.levels[0].columns);
            assert_eq!((rows, columns), (self.height, self.width), "a frame was prepared for another size");
        }
        reference.levels[0] == moving.levels[0]
    }

    /// The estimate of equal frames and of those that are too small.
    fn unsearched(&self, reference: &Prepared, moving: &Prepared, assumed: &Motion) -> Estimate {
        let (motion, confidence) = if self.equal(reference, moving) { (Motion::still(), 1.0) } else { (*assumed, 0.0) };
        Estimate { motion, confidence, gain: 1.0, offset: 0.0, scene_cut: false }
    }

    fn aligner<'a>(&self, reference: &'a Prepared, moving: &'a Prepared, level: usize, pixels: usize) -> Aligner<'a> {
        let (reference, moving) = (&reference.levels[level], &moving.levels[level]);
        let row_step = (reference.rows * reference.columns).div_ceil(pixels);
        Aligner { cpu: self.cpu, reference, moving, row_step, trust: None }
    }

    /// Refines `state` from the search level down and judges the result; `assumed` stands if it is worthless.
    fn finish(
        &self,
        reference: &Prepared,
        moving: &Prepared,
        state: State,
        assumed: &Motion,
        effort: Effort,
    ) -> Estimate {
        let state = self.descend(reference, moving, state, effort);
        let at = reference.likeness_level;
        let likeness = Likeness::of(reference, moving, self.cpu, &state, at);
        let scene_cut = likeness.is_cut(self.options.cut_threshold);
        let confidence = likeness.confidence;
        if confidence < LEAST_CONFIDENCE {
            let offset = moving.spread.median() - reference.spread.median();
            return Estimate { motion: *assumed, confidence, gain: 1.0, offset, scene_cut };
        }
        let (motion, offset) = (Motion::translation(state.dx, state.dy), state.level - state.gain * state.center);
        Estimate { motion, confidence, gain: state.gain, offset, scene_cut }
    }

    /// Refines `state`, given on the search level, there and on all larger levels that `effort` goes down to, where the frames
    /// agree. The result is for full size.
    fn descend(&self, reference: &Prepared, moving: &Prepared, mut state: State, effort: Effort) -> State {
        let (top, iterations) = (self.search_level, self.options.iterations);
        let aligner = self.aligner(reference, moving, top, effort.step_pixels);
        let trust = aligner.trust(&state);
        let trusting = Aligner { trust: trust.as_ref().map(|t| (t, 0)), ..aligner };
        state = trusting.refine(state, iterations, effort.tolerance, LEASH).unwrap_or(state);
        // Blocks are judged again with the better shift, and then hold at all sizes.
        let trust = trusting.trust(&state);
        for level in (0..=top).rev() {
            let tolerance = match level {
                0 => TOLERANCE,
                level if level == effort.lowest => COARSE_TOLERANCE,
                _ => effort.tolerance,
            };
            if level >= effort.lowest {
                let aligner = self.aligner(reference, moving, level, effort.step_pixels);
                let aligner = Aligner { trust: trust.as_ref().map(|t| (t, top - level)), ..aligner };
                state = aligner.refine(state, iterations, tolerance, LEASH).unwrap_or(state);
            }
            if level > 0 {
                state = State { dx: 2.0 * state.dx, dy: 2.0 * state.dy, ..state };
            }
        }
        state
    }
}

/// No shift, and the gain and level that bring the middle of the reference's values to those of the moving frame.
fn brightness(reference: &Prepared, moving: &Prepared) -> State {
    let (from, to) = (reference.spread.width(), moving.spread.width());
    let gain = if from > 1.0 { (to / from).clamp(0.25, 4.0) } else { 1.0 };
    State { dx: 0.0, dy: 0.0, gain, level: moving.spread.median(), center: reference.spread.median() }
}
