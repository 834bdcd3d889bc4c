//! The fuse stage: holds the frames of a sliding window and enlarges each one when its neighbours are known.
//!
//! Output frame t depends on the input frames t - R to t + R of its scene and on nothing else: motion inside the
//! window starts from the chained shifts of successive frames but is always refined against frame t itself. (A blur that is
//! measured is that of the scene's opening frames.)

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::maps::Maps;
use super::method::Method;
use super::neighbours::{beside, correct, evidence, offered};
use super::options::{EnlargePlan, lit_planes};
use super::registration::Registered;
use super::upscaler::{Alone, Enlarged};
use crate::error::Result;
use crate::frame::{Frame, PictureLayout, Plane, PlanePool};
use crate::fuse::{Blur, CALIBRATION_RADIUS, Options, Reconstruction, Reconstructor, Technique, measure_blur};
use crate::kernels::CpuLevel;
use crate::light::Light;
use crate::register::{FieldDetail, Registrar};
use crate::resample::{Filter, PictureResampler};

/// Pictures with less than this share from several frames count as made from one alone.
const LEAST_SHARE: f64 = 0.005;

/// How single pictures are made.
enum Engine {
    Pass,
    Interpolate(PictureResampler),
    Fuse(Box<Fusion>),
}

/// Reconstruction, and interpolation of what it gives where the size wanted is no multiple of the input's.
struct Fusion {
    solver: Reconstructor,
    from: PictureLayout,
    cpu: CpuLevel,
    /// The way back from the light that frames are fused in.
    light: Option<Light>,
    /// Whether the blur is measured for each scene, and the one that it was measured for last.
    measures: bool,
    scene: Option<u64>,
    last: Option<(PictureResampler, Vec<Plane>)>,
    /// Whether frames are only compared here, and put together later.
    deferred: bool,
}

/// Frames in, enlarged frames out, in order.
pub(super) struct FrameEnlarger {
    engine: Engine,
    registrar: Option<Arc<Registrar>>,
    /// How finely fields are refined; `None` where frames are taken to move as a whole.
    detail: Option<FieldDetail>,
    /// Whether fields are corrected by what a draft foretells.
    drafts: bool,
    radius: usize,
    /// Frames of the video that are to be enlarged; others only help.
    wanted: Range<u64>,
    /// Blurs that were measured before, each with the number of the first frame of its scene, in order.
    known: Vec<(u64, Blur)>,
    /// Frames that are still needed, in order.
    frames: VecDeque<Arc<Registered>>,
    /// Position in `frames` of the next one to enlarge.
    next: usize,
    to: PictureLayout,
    /// Whether maps of motion and trust are made of every frame.
    maps: bool,
    /// Whether pictures are handed on with the frames that they are to be held to.
    evidence: bool,
    /// Where planes of the input go when they are done with.
    small: PlanePool,
    /// Where planes for the output come from.
    large: PlanePool,
}

impl FrameEnlarger {
    /// For `plan`.
    pub(super) fn new(plan: &EnlargePlan, small: PlanePool, large: PlanePool, cpu: CpuLevel) -> Result<Self> {
        let engine = match plan.method {
            Method::None => Engine::Pass,
            Method::Interpolate(filter) => {
                Engine::Interpolate(PictureResampler::new(&plan.from, &plan.middle, filter, cpu))
            }
            Method::Fuse(technique) => Engine::Fuse(Box::new(Fusion::new(plan, technique, cpu)?)),
        };
        Ok(Self {
            engine,
            registrar: None,
            detail: plan.parts.field.then_some(plan.detail),
            drafts: plan.drafts && plan.parts.field,
            radius: plan.window,
            wanted: 0..u64::MAX,
            known: Vec::new(),
            frames: VecDeque::new(),
            next: 0,
            to: plan.middle.clone(),
            maps: false,
            evidence: plan.holds(),
            small,
            large,
        })
    }

    /// The same, measuring with `registrar` where several frames are used.
    pub(super) fn with_registrar(self, registrar: Option<Arc<Registrar>>) -> Self {
        Self { registrar, ..self }
    }

    /// The same, making maps of every frame if `wanted`.
    pub(super) fn with_maps(self, wanted: bool) -> Self {
        Self { maps: wanted, ..self }
    }

    /// The same for `wanted` frames alone, with blurs that were measured on the whole video, if any were.
    pub(super) fn for_part(self, wanted: Range<u64>, known: Vec<(u64, Blur)>) -> Self {
        Self { wanted, known, ..self }
    }

    /// Takes the next frame.
    pub(super) fn push(&mut self, frame: Registered) {
        self.frames.push_back(Arc::new(frame));
    }

    /// Whether the next frame can be enlarged: its neighbours are all here, or `ended` says that no more will come.
    pub(super) fn is_ready(&mut self, ended: bool) -> bool {
        while self.frames.get(self.next).is_some_and(|frame| frame.frame.index < self.wanted.start) {
            self.advance();
        }
        let next = self.frames.get(self.next);
        next.is_some_and(|next| next.frame.index < self.wanted.end) && (ended || self.window_is_complete())
    }

    /// The next frame, which [`Self::is_ready`], enlarged.
    pub(super) fn enlarge_next(&mut self) -> Result<Enlarged> {
        let enlarged = self.enlarge(self.next)?;
        self.advance();
        Ok(enlarged)
    }

    /// Goes on to the next frame, and lets go of what only this one needed.
    fn advance(&mut self) {
        self.next += 1;
        while self.next > self.radius {
            // Who still holds a frame to refine by gives its planes back.
            if let Some(old) = self.frames.pop_front().and_then(Arc::into_inner) {
                self.small.give(old.frame.planes);
            }
            self.next -= 1;
        }
    }

    /// Whether all frames after the next one that can help it are here, or at the start of a scene those that its blur
    /// is measured on.
    fn window_is_complete(&self) -> bool {
        let scene = self.frames[self.next].scene;
        let ahead = if self.measured(scene) { self.radius } else { self.radius.max(2 * CALIBRATION_RADIUS) };
        self.frames.len() - self.next > ahead || self.frames.back().is_some_and(|last| last.scene != scene)
    }

    /// Whether the blur of `scene` is known, or need not be.
    fn measured(&self, scene: u64) -> bool {
        match &self.engine {
            Engine::Fuse(fusion) => !fusion.measures || fusion.scene == Some(scene),
            Engine::Pass | Engine::Interpolate(_) => true,
        }
    }

    /// Sets the blur of the scene that frame `at` is in: the one that is known, or measured now, at its first frame.
    fn learn_blur(&mut self, at: usize) -> Result<()> {
        let index = self.frames[at].frame.index;
        let Some(&(_, blur)) = self.known.iter().rev().find(|(first, _)| *first <= index) else {
            return self.measure(at).map(drop);
        };
        let scene = self.frames[at].scene;
        if let Engine::Fuse(fusion) = &mut self.engine {
            fusion.scene = Some(scene);
            fusion.solver.set_blur(blur);
        }
        Ok(())
    }

    /// Measures the blur of the scene that begins at `first`, on its opening frames.
    pub(super) fn measure(&mut self, first: usize) -> Result<Option<Blur>> {
        let scene = self.frames[first].scene;
        let opening = self.frames.iter().skip(first).take_while(|f| f.scene == scene);
        let count = opening.take(2 * CALIBRATION_RADIUS + 1).count();
        let at = first + count / 2;
        let found = beside(&self.frames, self.registrar.as_deref(), self.detail, CALIBRATION_RADIUS, at);
        let found: Vec<_> = found.into_iter().filter(|n| (first..first + count).contains(&n.at)).collect();
        let Engine::Fuse(fusion) = &mut self.engine else { return Ok(None) };
        let planes = &self.frames[at].frame.planes;
        let blur = measure_blur(&fusion.from, planes, &offered(&self.frames, &found), fusion.cpu)?;
        fusion.scene = Some(scene);
        fusion.solver.set_blur(blur);
        Ok(Some(blur))
    }

    /// Number of the first frame that is held.
    pub(super) fn first(&self) -> Option<u64> {
        self.frames.front().map(|frame| frame.frame.index)
    }

    /// Lets go of all frames.
    pub(super) fn clear(&mut self) {
        self.next = 0;
        for frame in self.frames.drain(..).filter_map(Arc::into_inner) {
            self.small.give(frame.frame.planes);
        }
    }

    fn enlarge(&mut self, at: usize) -> Result<Enlarged> {
        if !self.measured(self.frames[at].scene) {
            self.learn_blur(at)?;
        }
        let mut neighbours = beside(&self.frames, self.registrar.as_deref(), self.detail, self.radius, at);
        let drafting = self.registrar.as_ref().zip(self.detail).filter(|_| self.drafts);
        if let (Engine::Fuse(fusion), Some((registrar, detail))) = (&mut self.engine, drafting) {
            correct(&self.frames, &mut neighbours, at, &mut fusion.solver, registrar, detail);
        }
        let current = &self.frames[at];
        let mut planes = self.large.take(&self.to);
        let (mut made, mut blur, mut trust) = (None, None, None);
        match (&mut self.engine, &current.appearance) {
            (Engine::Pass, _) | (Engine::Fuse(_), None) => planes.clone_from(&current.frame.planes),
            (Engine::Interpolate(resampler), _) => resampler.resample(&current.frame.planes, &mut planes),
            (Engine::Fuse(fusion), Some(appearance)) => {
                let offered = offered(&self.frames, &neighbours);
                let done = match &mut fusion.last {
                    _ if fusion.deferred => {
                        planes.clone_from(&current.frame.planes);
                        fusion.solver.compare(&current.frame.planes, appearance, &offered)
                    }
                    None => fusion.solver.reconstruct(&current.frame.planes, appearance, &offered, &mut planes),
                    Some((resampler, large)) => {
                        let done = fusion.solver.reconstruct(&current.frame.planes, appearance, &offered, large);
                        resampler.resample(large, &mut planes);
                        done
                    }
                };
                if let Some(light) = &fusion.light {
                    let lit = planes.iter_mut().take(lit_planes(&fusion.from));
                    lit.filter_map(|plane| plane.as_slice_mut()).for_each(|samples| light.to_code(samples));
                }
                (made, blur) = (Some(done), Some(fusion.solver.blur()));
                trust = self.maps.then(|| fusion.solver.maps());
            }
        }
        let old = &current.frame;
        let (index, pts, duration, carried) = (old.index, old.pts, old.duration, old.carried.clone());
        let frame = Frame { index, pts, duration, planes, coding: None, carried };
        let alone = made.as_ref().and_then(|made| self.alone(at, neighbours.len(), made));
        let evidence = self.evidence.then(|| Box::new(evidence(&self.frames, at, neighbours, blur)));
        Ok(Enlarged {
            frame,
            multi_frame_share: made.as_ref().map_or(0.0, |m| m.multi_frame_share),
            noise: made.as_ref().map_or(0.0, |m| m.noise),
            neighbours: made.as_ref().map_or(0, |m| m.used),
            alone,
            blur,
            maps: trust.map(|trust| self.maps_of(at, trust)),
            motion: current.frame_motion(),
            held: None,
            evidence,
        })
    }

    /// Why frame `at`, which had `offered` neighbours, was made from itself alone; `None` if it was not.
    fn alone(&self, at: usize, offered: usize, made: &Reconstruction) -> Option<Alone> {
        if made.multi_frame_share >= LEAST_SHARE {
            return None;
        }
        let cut = self.frames[at].scene_cut || self.frames.get(at + 1).is_some_and(|next| next.scene_cut);
        Some(match offered {
            0 if cut => Alone::Cut,
            0 => Alone::NoNeighbours,
            n if n == made.repeated => Alone::Repeated,
            _ => Alone::Unlike,
        })
    }

    /// The maps of frame `at`, with its motion to the next frame of its scene.
    fn maps_of(&self, at: usize, [confidence, gate]: [Plane; 2]) -> Maps {
        let link = self.frames.get(at + 1).and_then(|next| next.link.as_ref());
        let (rows, columns) = confidence.dim();
        let mut motion = [Plane::zeros((rows, columns)), Plane::zeros((rows, columns))];
        if let Some(link) = link {
            let [down, right] = &mut motion;
            for (y, (down, right)) in down.rows_mut().into_iter().zip(right.rows_mut()).enumerate() {
                if let (Some(down), Some(right)) = (down.into_slice(), right.into_slice()) {
                    link.forward.row(y as f32, 0.0, 1.0, down, right);
                }
            }
        }
        Maps { motion, confidence, gate }
    }
}

impl Fusion {
    fn new(plan: &EnlargePlan, technique: Technique, cpu: CpuLevel) -> Result<Self> {
        let blur = plan.blur.unwrap_or_default();
        let (iterations, parts) = (Some(plan.iterations), plan.parts);
        let light = plan.linear_light();
        let range = light.as_ref().map(Light::range);
        let options = Options { technique, blur, iterations, parts, range, ..Options::default() };
        let large = plan.reconstructed();
        let last = (large != plan.middle && !plan.deferred).then(|| {
            let resampler = PictureResampler::new(&large, &plan.middle, Filter::Bicubic, cpu);
            let planes = (0..large.plane_count()).map(|i| Plane::zeros(large.plane_size(i))).collect();
            (resampler, planes)
        });
        let solver = Reconstructor::new(&plan.from, &large, options, cpu)?;
        let (from, measures) = (plan.from.clone(), plan.blur.is_none() && plan.window > 0);
        Ok(Self { solver, from, cpu, measures, scene: None, light, last, deferred: plan.deferred })
    }
}
