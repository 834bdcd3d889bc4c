//! Reconstruction of one high-resolution picture from several low-resolution frames.
//!
//! The steps, one file each: `observe` says how a frame sees the picture (and its adjoint), `confidence` how far each
//! pixel of a neighbour agrees with the reference, `backproject` solves for the picture, `grid` lays it out in memory.
//! This file joins them: it chooses the neighbours, the schedule and the planes.
//!
//! Equations, sources and measurements are in `docs/reconstruction.md`. Motion comes from `register`; interpolation
//! from one frame alone without a model of the blur is not here.

mod backproject;
mod confidence;
mod enlarge;
mod grid;
mod observe;
mod psf;

use std::borrow::Cow;

use rayon::prelude::*;

use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::register::Motion;

use backproject::{Schedule, Seen, Solver};
use confidence::{Candidate, Judge};

/// Neighbours that agree with the reference less than this on average are another scene or lost.
const LEAST_CONFIDENCE: f64 = 0.25;

/// How pictures are reconstructed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Standard deviation of the Gaussian point-spread function in low-resolution pixels, 0.1..=1.
    ///
    /// Over-estimating it costs far more than under-estimating it.
    pub psf_sigma: f64,
    /// Steps of the semi-iteration, 0..=100; by scale if not given.
    pub iterations: Option<usize>,
    /// Gain of the total-variation prior, 8-bit scale per step at low noise, 0..=2.
    pub prior: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { psf_sigma: 0.33, iterations: None, prior: 0.15 }
    }
}

impl Options {
    /// Checks every value against its domain.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the value and its range.
    pub fn validate(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(Kind::Usage, message));
        if !(0.1..=1.0).contains(&self.psf_sigma) {
            return wrong(format!(
                "point-spread sigma is {}, allowed are 0.1 to 1 low-resolution pixels",
                self.psf_sigma
            ));
        }
        if let Some(iterations @ 101..) = self.iterations {
            return wrong(format!("{iterations} iterations, allowed are 0 to 100"));
        }
        if !(0.0..=2.0).contains(&self.prior) {
            return wrong(format!("prior gain is {}, allowed are 0 to 2", self.prior));
        }
        Ok(())
    }
}

/// A frame beside the reference.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour<'a> {
    /// Samples, as the reference's.
    pub planes: &'a [Plane],
    /// Motion from the reference to this frame.
    pub motion: &'a Motion,
    /// This frame's luma is about `gain * reference + offset`.
    pub gain: f64,
    /// See `gain`; 8-bit scale.
    pub offset: f64,
}

/// A reconstructed picture.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// Samples, as the larger layout's, within the code range of its depth.
    pub planes: Vec<Plane>,
    /// Share of the picture that several frames were used for, 0..=1.
    pub multi_frame_share: f64,
    /// Estimated noise of the frames, standard deviation on the 8-bit scale.
    pub noise: f64,
}

/// Iterative back-projection from one stream's frames to one larger size; keeps its buffers from frame to frame.
#[derive(Debug)]
pub struct BackProjection {
    from: PictureLayout,
    to: PictureLayout,
    options: Options,
    judge: Judge,
    /// One solver per geometry, with the planes that share it.
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    planes: std::ops::Range<usize>,
    log2: (u8, u8),
    solver: Solver,
}

impl Group {
    /// A frame's displacement (vertical, horizontal) in samples of these planes.
    fn shift(&self, candidate: &Candidate<'_>) -> (f64, f64) {
        let (dy, dx) = candidate.shift;
        (dy / f64::from(1u32 << self.log2.1), dx / f64::from(1u32 << self.log2.0))
    }
}

impl BackProjection {
    /// A reconstruction from pictures laid out as `from` to pictures laid out as `to`.
    ///
    /// # Errors
    /// [`Kind::Usage`] if an option is outside its domain or `to` is smaller than `from` or more than eight times it.
    pub fn new(from: &PictureLayout, to: &PictureLayout, options: Options, cpu: CpuLevel) -> Result<Self> {
        options.validate()?;
        let fits = |small: usize, large: usize| small > 0 && (small..=8 * small).contains(&large);
        if !fits(from.width, to.width) || !fits(from.height, to.height) || from.family != to.family {
            let sizes = format!("{}x{} to {}x{}", from.width, from.height, to.width, to.height);
            return Err(Error::new(Kind::Usage, format!("cannot reconstruct {sizes}: scales of 1 to 8 are allowed")));
        }
        let color = from.plane_count() - usize::from(from.alpha);
        // Luma and chroma have different grids; R, G and B share one.
        let luma = if from.family == ColorFamily::YCbCr { 1 } else { color };
        let ranges = [0..luma, luma..color].into_iter().filter(|range| !range.is_empty());
        let group = |planes: std::ops::Range<usize>| {
            let solver = Solver::new(from.plane_maps(planes.start, to), options.psf_sigma, cpu);
            Group { log2: from.plane_log2(planes.start), planes, solver }
        };
        let groups = ranges.map(group).collect();
        let (from, to) = (from.clone(), to.clone());
        Ok(Self { judge: Judge::new(from.height, from.width, cpu), from, to, options, groups })
    }

    /// Reconstructs the reference with the help of its neighbours, given in order of time.
    ///
    /// Planes are as in the layout `from`; neighbours of another scene and pixels that move otherwise are ignored.
    ///
    /// # Panics
    /// If planes are missing or their sizes are not the layout's.
    pub fn reconstruct(&mut self, reference: &[Plane], neighbours: &[Neighbour<'_>]) -> Reconstruction {
        // A repeated frame shows nothing new, and one without light or place cannot be compared.
        let useful = |n: &&Neighbour<'_>| n.planes != reference && comparable(n);
        let neighbours: Vec<&Neighbour<'_>> = neighbours.iter().filter(useful).collect();
        let base = self.luma(reference);
        let lumas: Vec<_> = neighbours.iter().map(|n| self.luma(n.planes)).collect();
        let candidates: Vec<Candidate<'_>> =
            neighbours.iter().zip(&lumas).map(|(n, luma)| candidate(n, luma)).collect();
        let noise = f64::from(self.judge.compare(&base, &candidates));
        let kept: Vec<usize> =
            (0..candidates.len()).filter(|&k| mean(self.judge.weights(k)) >= LEAST_CONFIDENCE).collect();
        let multi_frame_share = self.judge.gate(&kept, &candidates);
        let schedules = [self.schedule(noise, false), self.schedule(noise, true)];
        let mut planes = Vec::with_capacity(self.to.plane_count());
        for group in &mut self.groups {
            let weights: Vec<_> = kept.iter().map(|&k| reduce(self.judge.weights(k), &self.from, group.log2)).collect();
            let observed: Vec<_> =
                kept.iter().zip(&weights).map(|(&k, w)| (group.shift(&candidates[k]), &w[..])).collect();
            group.solver.observe(&observed);
            let chroma = self.from.family == ColorFamily::YCbCr && group.planes.start > 0;
            for plane in group.planes.clone() {
                let mut seen = vec![samples(&reference[plane], None, false)];
                seen.extend(kept.iter().map(|&k| samples(&neighbours[k].planes[plane], Some(&candidates[k]), chroma)));
                planes.push(group.solver.solve(&seen, schedules[usize::from(chroma)]));
            }
        }
        if let (true, Some(alpha)) = (self.from.alpha, reference.last()) {
            planes.push(self.groups[0].solver.enlarged(&slice(alpha), schedules[0].range));
        }
        Reconstruction { planes, multi_frame_share, noise }
    }

    /// Parameters of the solve of a plane at this noise; chroma needs one step less.
    fn schedule(&self, noise: f64, chroma: bool) -> Schedule {
        let (from, to) = (&self.from, &self.to);
        let scale = (to.width as f64 / from.width as f64).max(to.height as f64 / from.height as f64);
        let by_scale = if scale <= 2.0 { 4 } else { 5 };
        let above_eight = f32::from(to.depth) - 8.0;
        let codes = if to.depth >= 32 { 255.0 } else { 256.0 - (-above_eight).exp2() };
        Schedule {
            iterations: self.options.iterations.unwrap_or(by_scale - usize::from(chroma)),
            lambda: (0.12 + 0.02 * noise + 0.012 * noise * noise).min(0.6),
            prior: (self.options.prior * (noise / 1.5).clamp(1.0, 4.0)) as f32,
            bound: (4.0 * noise).max(8.0) as f32,
            range: (0.0, codes),
        }
    }

    /// Luma of a frame, rows x columns.
    fn luma<'a>(&self, planes: &'a [Plane]) -> Cow<'a, [f32]> {
        if self.from.family != ColorFamily::Rgb {
            return slice(&planes[0]);
        }
        let [kr, kg, kb] = self.from.color.luma_weights(self.from.height);
        let [r, g, b] = [&planes[0], &planes[1], &planes[2]].map(slice);
        r.iter().zip(g.iter()).zip(b.iter()).map(|((r, g), b)| kr * r + kg * g + kb * b).collect()
    }
}

/// The samples of a plane, row by row.
fn slice(plane: &Plane) -> Cow<'_, [f32]> {
    plane.as_slice().map_or_else(|| Cow::Owned(plane.iter().copied().collect()), Cow::Borrowed)
}

/// Mean, summed in parts of fixed size and then in their order.
fn mean(values: &[f32]) -> f64 {
    let part = |part: &[f32]| part.iter().map(|v| f64::from(*v)).sum::<f64>();
    let parts: Vec<f64> = values.par_chunks(4096).map(part).collect();
    parts.iter().sum::<f64>() / values.len() as f64
}

/// Whether a neighbour's motion and light are usable numbers.
fn comparable(neighbour: &Neighbour<'_>) -> bool {
    let shift = neighbour.motion.global();
    let finite = [shift.dx, shift.dy, neighbour.gain, neighbour.offset].iter().all(|v| v.is_finite());
    finite && neighbour.gain > 0.0
}

/// A neighbour as the comparison takes it.
fn candidate<'a>(neighbour: &Neighbour<'_>, luma: &'a [f32]) -> Candidate<'a> {
    let shift = neighbour.motion.global();
    let gain = 1.0 / neighbour.gain;
    Candidate { luma, shift: (shift.dy, shift.dx), gain: gain as f32, offset: (-neighbour.offset * gain) as f32 }
}

/// One plane of a frame in the reference's light; chroma is scaled about its grey.
fn samples<'a>(plane: &'a Plane, matched: Option<&Candidate<'_>>, chroma: bool) -> Seen<'a> {
    let samples = slice(plane);
    let (gain, offset) =
        matched.map_or((1.0, 0.0), |c| (c.gain, if chroma { 128.0 * (1.0 - c.gain) } else { c.offset }));
    Seen { samples, gain, offset }
}

/// Confidences of a subsampled plane: the mean over the luma pixels of each of its samples.
fn reduce<'a>(weights: &'a [f32], layout: &PictureLayout, log2: (u8, u8)) -> Cow<'a, [f32]> {
    if log2 == (0, 0) {
        return Cow::Borrowed(weights);
    }
    let (w, h) = (layout.width, layout.height);
    let (columns, rows) = (w.div_ceil(1 << log2.0), h.div_ceil(1 << log2.1));
    let block = |i: usize, log2: u8, size: usize| (i << log2)..((i + 1) << log2).min(size);
    let mut out = vec![0.0; rows * columns];
    out.par_chunks_mut(columns).with_min_len(16).enumerate().for_each(|(i, out)| {
        for (j, out) in out.iter_mut().enumerate() {
            let (ys, xs) = (block(i, log2.1, h), block(j, log2.0, w));
            let count = ys.len() * xs.len();
            let sum: f32 = ys.flat_map(|y| &weights[y * w + xs.start..y * w + xs.end]).sum();
            *out = sum / count as f32;
        }
    });
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
