//! The fuse stage: holds the frames of a sliding window and enlarges each one when its neighbours are known.
//!
//! Output frame t depends on the input frames t - R to t + R of its scene and on nothing else: motion inside the
//! window starts from the chained shifts of successive frames but is always refined against frame t itself.

use std::collections::VecDeque;
use std::sync::Arc;

use rayon::prelude::*;

use super::method::Method;
use super::options::EnlargePlan;
use super::registration::Registered;
use super::upscaler::Enlarged;
use crate::error::Result;
use crate::frame::{Frame, PictureLayout, PlanePool};
use crate::fuse::{BackProjection, Neighbour, Options};
use crate::kernels::CpuLevel;
use crate::register::{Estimate, Motion, Registrar};
use crate::resample::PictureResampler;

/// Neighbours whose motion is this uncertain are not offered to the reconstruction.
const LEAST_CONFIDENCE: f64 = 0.05;

/// How single pictures are made.
enum Engine {
    Pass,
    Interpolate(PictureResampler),
    Fuse(Box<BackProjection>),
}

/// Frames in, enlarged frames out, in order.
pub(super) struct FrameEnlarger {
    engine: Engine,
    registrar: Option<Arc<Registrar>>,
    radius: usize,
    /// Frames that are still needed, in order.
    frames: VecDeque<Registered>,
    /// Position in `frames` of the next one to enlarge.
    next: usize,
    to: PictureLayout,
    /// Where planes of the input go when they are done with.
    small: PlanePool,
    /// Where planes for the output come from.
    large: PlanePool,
}

impl FrameEnlarger {
    /// For `plan`, measuring with `registrar` where several frames are used.
    pub(super) fn new(
        plan: &EnlargePlan,
        registrar: Option<Arc<Registrar>>,
        small: PlanePool,
        large: PlanePool,
        cpu: CpuLevel,
    ) -> Result<Self> {
        let engine = match plan.method {
            Method::None => Engine::Pass,
            Method::Interpolate(filter) => {
                Engine::Interpolate(PictureResampler::new(&plan.from, &plan.to, filter, cpu))
            }
            Method::Ibp => {
                let defaults = Options::default();
                let options = Options {
                    psf_sigma: plan.psf_sigma.unwrap_or(defaults.psf_sigma),
                    iterations: Some(plan.iterations),
                    ..defaults
                };
                Engine::Fuse(Box::new(BackProjection::new(&plan.from, &plan.to, options, cpu)?))
            }
        };
        Ok(Self {
            engine,
            registrar,
            radius: plan.window,
            frames: VecDeque::new(),
            next: 0,
            to: plan.to.clone(),
            small,
            large,
        })
    }

    /// Takes the next frame.
    pub(super) fn push(&mut self, frame: Registered) {
        self.frames.push_back(frame);
    }

    /// The next enlarged frame, if its neighbours are all here, or `ended` says that no more will come.
    pub(super) fn next_ready(&mut self, ended: bool) -> Result<Option<Enlarged>> {
        if self.next == self.frames.len() || !(ended || self.window_is_complete()) {
            return Ok(None);
        }
        let enlarged = self.enlarge(self.next)?;
        self.next += 1;
        while self.next > self.radius {
            if let Some(old) = self.frames.pop_front() {
                self.small.give(old.frame.planes);
            }
            self.next -= 1;
        }
        Ok(Some(enlarged))
    }

    /// Whether all frames after the next one that can help it are here.
    fn window_is_complete(&self) -> bool {
        let scene = self.frames[self.next].scene;
        self.frames.len() - self.next > self.radius || self.frames.back().is_some_and(|last| last.scene != scene)
    }

    fn enlarge(&mut self, at: usize) -> Result<Enlarged> {
        let neighbours = self.neighbours(at);
        let current = &self.frames[at];
        let (planes, share, noise) = match &mut self.engine {
            Engine::Pass => (current.frame.planes.clone(), 0.0, 0.0),
            Engine::Interpolate(resampler) => {
                let mut planes = self.large.take(&self.to);
                resampler.resample(&current.frame.planes, &mut planes);
                (planes, 0.0, 0.0)
            }
            Engine::Fuse(solver) => {
                let offered: Vec<Neighbour<'_>> = neighbours
                    .iter()
                    .map(|(i, e)| Neighbour {
                        planes: &self.frames[*i].frame.planes,
                        motion: &e.motion,
                        gain: e.gain,
                        offset: e.offset,
                    })
                    .collect();
                let picture = solver.reconstruct(&current.frame.planes, &offered);
                (picture.planes, picture.multi_frame_share, picture.noise)
            }
        };
        let old = &current.frame;
        let frame =
            Frame { index: old.index, pts: old.pts, duration: old.duration, planes, carried: old.carried.clone() };
        Ok(Enlarged {
            frame,
            multi_frame_share: share,
            noise,
            neighbours: neighbours.len(),
            motion: current.frame_motion(),
        })
    }

    /// Positions and motions, against frame `at`, of the frames around it that show the same scene.
    fn neighbours(&self, at: usize) -> Vec<(usize, Estimate)> {
        let Some(registrar) = self.registrar.as_ref().filter(|_| self.radius > 0) else { return Vec::new() };
        let scene = self.frames[at].scene;
        let first = at.saturating_sub(self.radius);
        let last = (at + self.radius).min(self.frames.len() - 1);
        let found: Vec<(usize, Estimate)> = (first..=last)
            .into_par_iter()
            .filter(|i| *i != at && self.frames[*i].scene == scene)
            .filter_map(|i| Some((i, self.refined(registrar, at, i)?)))
            .collect();
        found.into_iter().filter(|(_, e)| !e.scene_cut && e.confidence >= LEAST_CONFIDENCE).collect()
    }

    /// Motion from frame `at` to frame `other`.
    fn refined(&self, registrar: &Registrar, at: usize, other: usize) -> Option<Estimate> {
        let (low, high) = (at.min(other), at.max(other));
        let chained = (low + 1..=high).fold(Motion::still(), |sum, i| sum.then(&self.frames[i].motion));
        let shift = chained.global();
        let initial = if other > at { chained } else { Motion::translation(-shift.dx, -shift.dy) };
        Some(registrar.refine(self.frames[at].prepared.as_deref()?, self.frames[other].prepared.as_deref()?, &initial))
    }
}
