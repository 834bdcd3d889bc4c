//! Reconstruction of one high-resolution picture from several low-resolution frames.
//!
//! The steps, one file each: `observe` says how a frame sees the picture (and its adjoint), `confidence` how far each
//! pixel of a neighbour agrees with the reference, `family` lists the ways to solve for the picture (`backproject`,
//! `shift_add`, `frequency`), `grid` lays it out in memory. This file joins them: it chooses the neighbours, the schedule and the planes.
//!
//! Equations, sources and measurements are in `docs/reconstruction.md`. Motion comes from `register`; interpolation
//! from one frame alone without a model of the blur is not here.

#[cfg(test)]
mod adjoint;
mod appearance;
mod backproject;
mod blend;
mod calibrate;
mod coding;
mod confidence;
mod enlarge;
mod family;
mod fourier;
mod frequency;
mod grid;
mod hold;
mod keeping;
mod light;
mod lines;
mod observe;
mod options;
mod psf;
mod reduce;
mod schedule;
mod shares;
mod shift_add;
mod sweep;

use std::borrow::Cow;

use rayon::prelude::*;

use crate::cores::Pieces;
use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::kernels::splat::Samples;
use crate::register::Field;

pub use appearance::Appearance;
pub use calibrate::{CALIBRATION_RADIUS, measure_blur};
pub use family::Technique;
pub use options::{Options, Parts};
pub use psf::Blur;

use backproject::Solver;
use confidence::{Candidate, Judge};
use keeping::Kept;
use light::{Glow, Lighting, Shown};
use observe::{Lattice, Moved};
use schedule::Schedule;

/// Neighbours that agree with the reference less than this on average are another scene or lost.
const LEAST_CONFIDENCE: f64 = 0.25;
/// Steps of a draft: more fit what the field gets wrong.
const DRAFT_STEPS: usize = 3;
/// Share of the error of coding within which a frame that stands alone is not believed when a picture is held to it. All of it leaves
/// pictures of networks as clean as they came, but 5 dB further from the frame (chaplin, a 720p clip); without it blocks and
/// ringing of the coding come back.
const DOUBT: f32 = 0.5;
/// Largest scale that pictures are reconstructed at: further up there is nothing that frames could show.
const LARGEST_SCALE: usize = 4;

/// The size that pictures are reconstructed at on their way from `from` to `to`: each axis times the next whole number,
/// at most four.
pub fn reconstructed_layout(from: &PictureLayout, to: &PictureLayout) -> PictureLayout {
    let whole = |small: usize, large: usize| small * large.div_ceil(small).clamp(1, LARGEST_SCALE);
    from.resized(whole(from.width, to.width), whole(from.height, to.height))
}

/// A frame beside the reference.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour<'a> {
    /// Samples, as the reference's.
    pub planes: &'a [Plane],
    /// Computed from `planes`.
    pub appearance: &'a Appearance,
    /// Where each pixel of this frame lies in the reference.
    pub field: &'a Field,
    /// This frame's luma is about `gain * reference + offset`.
    pub gain: f64,
    /// See `gain`; 8-bit scale.
    pub offset: f64,
}

/// How a picture was reconstructed.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// Share of the picture that several frames were used for, 0..=1.
    pub multi_frame_share: f64,
    /// Estimated noise of the frames, standard deviation on the 8-bit scale.
    pub noise: f64,
    /// Neighbours that took part.
    pub used: usize,
    /// Neighbours that show the very samples of the reference, and so nothing new.
    pub repeated: usize,
}

/// How far a picture was from the frame that it shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    /// Mean squared difference of luma (or R, G, B) between the picture as the camera would have seen it and the frame,
    /// 8-bit scale, before.
    pub before: f64,
    /// The same after.
    pub after: f64,
}

/// What is done with a plane: by the solver of its geometry, which has observed the neighbours, with the samples of the reference
/// and of the neighbours.
type PlaneWork<'a, T> = dyn Fn(&mut Solver, &[Samples<'_>], Schedule, Option<&Kept>, &mut Plane) -> T + Sync + 'a;

/// The luma of a neighbour, in the reference's light and on the 8-bit scale.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// As a draft of the picture foretells it; where the neighbour takes no part, as it is.
    pub predicted: Plane,
    /// As it is.
    pub seen: Plane,
}

/// What comparing the neighbours with the reference gives.
struct Agreement<'a> {
    candidates: Vec<Candidate<'a>>,
    /// Those that take part.
    kept: Vec<usize>,
    noise: f64,
    multi_frame_share: f64,
}

/// Reconstruction from one stream's frames to one larger size; keeps its buffers from frame to frame.
#[derive(Debug)]
pub struct Reconstructor {
    from: PictureLayout,
    to: PictureLayout,
    options: Options,
    cpu: CpuLevel,
    judge: Judge,
    /// One solver per geometry, with the planes that share it.
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    planes: std::ops::Range<usize>,
    log2: (u8, u8),
    solver: Solver,
    lighting: Lighting,
}

impl Reconstructor {
    /// A reconstruction from pictures laid out as `from` to pictures laid out as `to`.
    ///
    /// # Errors
    /// [`Kind::Usage`] if an option is outside its domain or `to` is not `from` times whole numbers up to four.
    pub fn new(from: &PictureLayout, to: &PictureLayout, options: Options, cpu: CpuLevel) -> Result<Self> {
        options.validate()?;
        if from.width == 0 || from.height == 0 || *to != reconstructed_layout(from, to) {
            let sizes = format!("{}x{} to {}x{}", from.width, from.height, to.width, to.height);
            let message = format!("cannot reconstruct {sizes}: scales of 1, 2, 3 and 4 are allowed");
            return Err(Error::new(Kind::Usage, message));
        }
        let groups = groups(from, to, options.blur, cpu);
        let (from, to) = (from.clone(), to.clone());
        Ok(Self { judge: Judge::new(from.height, from.width, cpu), from, to, options, groups, cpu })
    }

    /// Takes another blur for the pictures to come.
    ///
    /// Cheap if it is the same; otherwise the solver's memory is laid out anew.
    pub fn set_blur(&mut self, blur: Blur) {
        if self.options.blur != blur {
            self.options.blur = blur;
            self.groups = groups(&self.from, &self.to, blur, self.cpu);
        }
    }

    /// The blur that pictures are reconstructed with.
    pub fn blur(&self) -> Blur {
        self.options.blur
    }

    /// How far the neighbours of the last picture were trusted, at every luma sample of the reference, 0..=1: their
    /// mean confidence, and how far they were let take part. Both are 0 where no neighbour took part.
    pub fn maps(&self) -> [Plane; 2] {
        self.judge.maps()
    }

    /// Reconstructs the reference with the help of its neighbours, given in order of time, into `out`.
    ///
    /// Planes are as in the layout `from`, those of `out` as in `to`; samples of `out` are within the code range of the
    /// depth. Neighbours of another scene and pixels that move otherwise are ignored.
    ///
    /// # Panics
    /// If planes are missing or their sizes are not the layouts'.
    pub fn reconstruct(
        &mut self,
        reference: &[Plane],
        appearance: &Appearance,
        neighbours: &[Neighbour<'_>],
        out: &mut [Plane],
    ) -> Reconstruction {
        let solve = |solver: &mut Solver, seen: &[Samples<'_>], schedule, kept: Option<&Kept>, out: &mut Plane| {
            solver.solve(seen, schedule, kept, out);
        };
        let (done, _) = self.for_each_plane(reference, appearance, neighbours, out, &solve);
        if let (true, Some(alpha), Some(out)) = (self.from.alpha, reference.last(), out.last_mut()) {
            let range = self.schedule(0.0, 0.0, false).range;
            self.groups[0].solver.enlarged(&slice(alpha), range, out);
        }
        done
    }

    /// What [`Self::reconstruct`] would say, without a reconstruction.
    pub fn compare(
        &mut self,
        reference: &[Plane],
        appearance: &Appearance,
        neighbours: &[Neighbour<'_>],
    ) -> Reconstruction {
        let repeated = neighbours.iter().filter(|n| n.planes == reference).count();
        let neighbours: Vec<&Neighbour<'_>> = neighbours.iter().filter(|n| is_useful(n, reference)).collect();
        let Agreement { kept, noise, multi_frame_share, .. } = self.agree(appearance, &neighbours);
        Reconstruction { multi_frame_share, noise, used: kept.len(), repeated }
    }

    /// Draws a picture that was made elsewhere towards what the frames show, by steps of back-projection: so many where the
    /// reference stands alone, and where neighbours take part.
    ///
    /// `picture` is laid out as `to`; alpha stays as it is. A frame that stands alone has less of a say the more it was compressed.
    /// What the frames do not determine stays as it came, but for the
    /// prior, which takes out the ringing of the steps. Arguments and panics otherwise as for [`Self::reconstruct`].
    pub fn hold(
        &mut self,
        reference: &[Plane],
        appearance: &Appearance,
        neighbours: &[Neighbour<'_>],
        steps: [usize; 2],
        picture: &mut [Plane],
    ) -> Held {
        let doubt = DOUBT * appearance.coding;
        let hold =
            |solver: &mut Solver, seen: &[Samples<'_>], schedule: Schedule, _: Option<&Kept>, out: &mut Plane| {
                let iterations = steps[usize::from(seen.len() > 1)];
                solver.hold(seen, Schedule { iterations, ..schedule }, doubt, out)
            };
        let (_, errors) = self.for_each_plane(reference, appearance, neighbours, picture, &hold);
        let luma = self.groups[0].planes.len();
        let mean = |at: usize| {
            let (sum, weight) = errors[..luma].iter().fold((0.0, 0.0), |(s, w), e| (s + e[at].0, w + e[at].1));
            if weight > 0.0 { sum / weight } else { 0.0 }
        };
        Held { before: mean(0), after: mean(1) }
    }

    /// Compares the neighbours with the reference and has `work` done on every plane but alpha, with the planes of `out`;
    /// returns what it says of each.
    fn for_each_plane<T: Send>(
        &mut self,
        reference: &[Plane],
        appearance: &Appearance,
        neighbours: &[Neighbour<'_>],
        out: &mut [Plane],
        work: &PlaneWork<'_, T>,
    ) -> (Reconstruction, Vec<T>) {
        let repeated = neighbours.iter().filter(|n| n.planes == reference).count();
        let neighbours: Vec<&Neighbour<'_>> = neighbours.iter().filter(|n| is_useful(n, reference)).collect();
        let Agreement { candidates, kept, noise, multi_frame_share } = self.agree(appearance, &neighbours);
        let parts = self.options.parts;
        let open = Glow { spacing: 1, rows: 1, columns: 1, nodes: vec![1.0] };
        let gate = if parts.gate { self.judge.open() } else { Some(&open) }.filter(|_| !kept.is_empty());
        let coding = f64::from(appearance.coding);
        let schedules = [self.schedule(noise, coding, false), self.schedule(noise, coding, true)];
        let share = Kept::new(appearance, gate, &schedules[0]);
        let (judge, cpu) = (&self.judge, self.cpu);
        let mut rest = &mut out[..];
        let groups = self.groups.iter_mut().map(|group| {
            let (own, others) = std::mem::take(&mut rest).split_at_mut(group.planes.len());
            rest = others;
            (group, own)
        });
        // Luma and chroma share nothing: where one of them is not parallel, the other one fills in.
        let groups: Vec<_> = groups.collect();
        let told = groups.into_par_iter().on_free_cores().flat_map_iter(|(group, out)| {
            let weights: Vec<_> = kept.iter().map(|&k| reduce(judge.weights(k), &self.from, group.log2)).collect();
            let moved: Vec<_> =
                kept.iter().zip(&weights).map(|(&k, weights)| Moved { field: candidates[k].field, weights }).collect();
            group.solver.observe(&moved);
            let chroma = self.from.family == ColorFamily::YCbCr && group.planes.start > 0;
            let plane = |(plane, out): (usize, &mut Plane)| {
                let own = slice(&reference[plane]);
                let others: Vec<_> = kept.iter().map(|&k| slice(&neighbours[k].planes[plane])).collect();
                let glow = |k: usize| parts.glow.then(|| judge.glow(k));
                let shown = shown(&own, &others, &kept, &candidates, (!chroma).then_some(&glow));
                let seen = group.lighting.seen(cpu, &shown, group.solver.maps.1.input);
                work(&mut group.solver, &seen, schedules[usize::from(chroma)], Some(&share), out)
            };
            group.planes.clone().zip(out).map(plane).collect::<Vec<T>>()
        });
        let told = told.collect();
        (Reconstruction { multi_frame_share, noise, used: kept.len(), repeated }, told)
    }

    /// What a draft, made in [`DRAFT_STEPS`] steps, foretells of the luma of each neighbour; `None` for those that take no
    /// part.
    ///
    /// The draft is made by [`Technique::Map`], whatever makes the picture.
    /// Luma of R, G and B pictures is the green plane. Arguments and panics as for [`Self::reconstruct`].
    pub fn predict(
        &mut self,
        reference: &[Plane],
        appearance: &Appearance,
        neighbours: &[Neighbour<'_>],
    ) -> Vec<Option<Prediction>> {
        let mut predictions: Vec<Option<Prediction>> = neighbours.iter().map(|_| None).collect();
        let useful: Vec<usize> = (0..neighbours.len()).filter(|&n| is_useful(&neighbours[n], reference)).collect();
        let offered: Vec<&Neighbour<'_>> = useful.iter().map(|&n| &neighbours[n]).collect();
        let Agreement { candidates, kept, noise, .. } = self.agree(appearance, &offered);
        if kept.is_empty() {
            return predictions;
        }
        let schedule = self.schedule(noise, f64::from(appearance.coding), false);
        let schedule = Schedule { technique: Technique::Map, iterations: DRAFT_STEPS, ..schedule };
        let moved = |&k: &usize| Moved { field: candidates[k].field, weights: self.judge.weights(k) };
        let moved: Vec<_> = kept.iter().map(moved).collect();
        let plane = usize::from(self.from.family == ColorFamily::Rgb);
        let own = slice(&reference[plane]);
        let others: Vec<_> = kept.iter().map(|&k| slice(&offered[k].planes[plane])).collect();
        let glow = |k: usize| self.options.parts.glow.then(|| self.judge.glow(k));
        let shown = shown(&own, &others, &kept, &candidates, Some(&glow));
        let Group { solver, lighting, .. } = &mut self.groups[0];
        let seen = lighting.seen(self.cpu, &shown, solver.maps.1.input);
        solver.observe(&moved);
        solver.draft(&seen, schedule);
        let frames = solver.predicted(&seen).into_iter().skip(1);
        for (k, [predicted, seen]) in kept.into_iter().zip(frames) {
            predictions[useful[k]] = Some(Prediction { predicted, seen });
        }
        predictions
    }

    /// Compares the neighbours with the reference and chooses those that take part.
    fn agree<'a>(&mut self, appearance: &Appearance, neighbours: &[&Neighbour<'a>]) -> Agreement<'a> {
        let candidates: Vec<Candidate<'_>> = neighbours.iter().map(|n| candidate(n)).collect();
        let noise = f64::from(self.judge.compare(appearance, &candidates));
        let kept: Vec<usize> =
            (0..candidates.len()).filter(|&k| mean(self.judge.weights(k)) >= LEAST_CONFIDENCE).collect();
        let parts = self.options.parts;
        if !parts.confidence {
            self.judge.trust_all(&kept);
        }
        let open = self.judge.gate(&kept, &candidates, parts.gate);
        let multi_frame_share = if kept.is_empty() { 0.0 } else { open };
        Agreement { candidates, kept, noise, multi_frame_share }
    }

    /// Parameters of the solve of a plane.
    fn schedule(&self, noise: f64, coding: f64, chroma: bool) -> Schedule {
        Schedule::new(&self.options, (&self.from, &self.to), (noise, coding), chroma)
    }
}

/// The solvers of a picture's planes.
fn groups(from: &PictureLayout, to: &PictureLayout, blur: Blur, cpu: CpuLevel) -> Vec<Group> {
    let color = from.plane_count() - usize::from(from.alpha);
    // Luma and chroma have different grids; R, G and B share one.
    let luma = if from.family == ColorFamily::YCbCr { 1 } else { color };
    let ranges = [0..luma, luma..color].into_par_iter().filter(|range| !range.is_empty());
    let group = |planes: std::ops::Range<usize>| {
        let (x, y) = from.plane_log2(planes.start);
        let site = |log2: u8, site: f64| if log2 > 0 { site as f32 } else { 0.0 };
        let lattice = Lattice {
            spacing: (f32::from(1u16 << y), f32::from(1u16 << x)),
            site: (site(y, from.chroma_site.y), site(x, from.chroma_site.x)),
        };
        let solver = Solver::new(from.plane_maps(planes.start, to), lattice, blur, cpu);
        Group { log2: (x, y), planes, solver, lighting: Lighting::default() }
    };
    ranges.map(group).collect()
}

/// Whether a neighbour shows something new: a repeated frame does not, and one without light cannot be compared.
fn is_useful(neighbour: &Neighbour<'_>, reference: &[Plane]) -> bool {
    comparable(neighbour) && neighbour.planes != reference
}

/// One plane of the reference and of the neighbours `kept`, and their light; without `glow` it is chroma, which
/// is scaled about its grey and has no light of its own.
fn shown<'a>(
    own: &'a [f32],
    others: &'a [Cow<'_, [f32]>],
    kept: &[usize],
    candidates: &[Candidate<'_>],
    glow: Option<&dyn Fn(usize) -> Option<&'a Glow>>,
) -> Vec<Shown<'a>> {
    let mut shown = vec![Shown { samples: own, gain: 1.0, offset: 0.0, glow: None }];
    shown.extend(others.iter().zip(kept).map(|(samples, &k)| {
        let Candidate { gain, offset, .. } = candidates[k];
        match glow {
            Some(glow) => Shown { samples, gain, offset, glow: glow(k) },
            None => Shown { samples, gain, offset: 128.0 * (1.0 - gain), glow: None },
        }
    }));
    shown
}

/// The samples of a plane, row by row.
fn slice(plane: &Plane) -> Cow<'_, [f32]> {
    plane.as_slice().map_or_else(|| Cow::Owned(plane.iter().copied().collect()), Cow::Borrowed)
}

/// Mean, summed in parts of fixed size and sixteen lanes, and then in their order.
fn mean(values: &[f32]) -> f64 {
    let part = |part: &[f32]| {
        let (whole, rest) = part.as_chunks::<16>();
        let mut lanes = [0.0f32; 16];
        for chunk in whole {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += value;
            }
        }
        lanes.iter().chain(rest).map(|v| f64::from(*v)).sum::<f64>()
    };
    let parts: Vec<f64> = values.par_chunks(4096).map(part).collect();
    parts.iter().sum::<f64>() / values.len() as f64
}

/// Whether a neighbour's light is usable numbers.
fn comparable(neighbour: &Neighbour<'_>) -> bool {
    neighbour.gain.is_finite() && neighbour.offset.is_finite() && neighbour.gain > 0.0
}

/// A neighbour as the comparison takes it.
fn candidate<'a>(neighbour: &Neighbour<'a>) -> Candidate<'a> {
    let gain = 1.0 / neighbour.gain;
    let (gain, offset) = (gain as f32, (-neighbour.offset * gain) as f32);
    Candidate { appearance: neighbour.appearance, field: neighbour.field, gain, offset }
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
    out.par_chunks_mut(columns).with_min_len(16).enumerate().rows_on_free_cores().for_each(|(i, out)| {
        let ys = block(i, log2.1, h);
        // 4:2:0 is what most frames are: blocks of four, the same sums in the same order.
        let whole = if log2 == (1, 1) && ys.len() == 2 { w / 2 } else { 0 };
        let (upper, lower) = (&weights[ys.start * w..][..w], &weights[(ys.end - 1) * w..][..w]);
        let blocks = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
        for (out, (upper, lower)) in out[..whole].iter_mut().zip(blocks) {
            *out = (((upper[0] + upper[1]) + lower[0]) + lower[1]) / 4.0;
        }
        for (j, out) in out.iter_mut().enumerate().skip(whole) {
            let (ys, xs) = (ys.clone(), block(j, log2.0, w));
            let count = ys.len() * xs.len();
            let sum: f32 = ys.flat_map(|y| &weights[y * w + xs.start..y * w + xs.end]).sum();
            *out = sum / count as f32;
        }
    });
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
