//! The register stage: motion of every frame against the one before, and where scenes begin.

use std::sync::Arc;

use rayon::prelude::*;

use super::options::{EnlargePlan, lit_planes};
use crate::cores::Work;
use crate::error::{Result, Stage};
use crate::frame::{Frame, PictureLayout};
use crate::fuse::Appearance;
use crate::kernels::CpuLevel;
use crate::light::Light;
use crate::register::{Estimate, Field, FieldDetail, Motion, Options, Prepared, Registrar};

/// Pixels of the copy that the shift of whole frames is searched on where it only starts a field: more cost time and
/// gain nothing (both measured on 960x540).
const SEED_PIXELS: usize = 40_000;

/// Motion of one frame against the one before, as `subpel motion` shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameMotion {
    /// Number of the frame.
    pub frame: u64,
    /// What is at (x, y) in the frame before is at (x + dx, y + dy) in this one; low-resolution pixels, +x right.
    pub dx: f64,
    /// +y down.
    pub dy: f64,
    /// 0 to 1.
    pub confidence: f64,
    /// Whether a new scene begins with this frame.
    pub scene_cut: bool,
}

/// A frame with its motion, on the way from register to fuse.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) frame: Frame,
    /// What further registrations of this frame need; `None` where motion is not measured.
    pub(super) prepared: Option<Arc<Prepared>>,
    /// What comparisons with this frame need; `None` where frames are not compared.
    pub(super) appearance: Option<Appearance>,
    /// To the frame before and back; `None` at the first frame of a scene and where motion is not measured.
    pub(super) link: Option<Link>,
    /// From the frame before to this one; still at the first frame of a scene.
    pub(super) motion: Motion,
    pub(super) confidence: f64,
    /// Counts from 0, one up at each cut.
    pub(super) scene: u64,
    pub(super) scene_cut: bool,
}

/// A frame with what is computed of it alone.
struct Ready {
    frame: Frame,
    /// `None` where motion is not measured.
    prepared: Option<Arc<Prepared>>,
}

/// How a frame and the one before it lie on each other.
#[derive(Debug)]
pub(super) struct Link {
    /// Where each pixel of this frame lies in the one before.
    pub(super) backward: Field,
    /// Where each pixel of the frame before lies in this one.
    pub(super) forward: Field,
    /// This frame's luma is about `gain * luma before + offset`.
    pub(super) gain: f64,
    /// See `gain`; 8-bit scale.
    pub(super) offset: f64,
}

impl Registered {
    pub(super) fn frame_motion(&self) -> FrameMotion {
        let shift = self.motion.global();
        FrameMotion {
            frame: self.frame.index,
            // No negative zero, which would be printed.
            dx: shift.dx + 0.0,
            dy: shift.dy + 0.0,
            confidence: self.confidence,
            scene_cut: self.scene_cut,
        }
    }
}

/// Measures frames one after the other.
pub(super) struct FrameRegistrar {
    /// `None` where motion is not needed: frames pass through.
    registrar: Option<Arc<Registrar>>,
    layout: PictureLayout,
    previous: Option<Arc<Prepared>>,
    scene: u64,
    /// How finely fields are measured; `None` where frames are not fused and fields not needed.
    detail: Option<FieldDetail>,
    /// Whether frames are taken to move as a whole.
    whole: bool,
    /// Whether the next frame is linked to the one before it.
    linking: bool,
    /// The way to the light that frames are fused in.
    light: Option<Light>,
    cpu: CpuLevel,
}

impl FrameRegistrar {
    /// Measures what `plan` needs of its input's frames.
    pub(super) fn for_plan(plan: &EnlargePlan, cpu: CpuLevel) -> Result<Self> {
        let detail = plan.method.is_multi_frame().then_some(plan.detail);
        Ok(Self {
            whole: !plan.parts.field,
            light: plan.linear_light(),
            ..Self::new(&plan.from, plan.window > 0, detail, cpu)?
        })
    }

    /// Measures the shift of frames of `layout` alone.
    pub(super) fn for_shifts(layout: &PictureLayout, cpu: CpuLevel) -> Result<Self> {
        Self::new(layout, true, None, cpu)
    }

    fn new(layout: &PictureLayout, motion: bool, detail: Option<FieldDetail>, cpu: CpuLevel) -> Result<Self> {
        // A field finds its own way from a shift that is right to a few pixels.
        let options = if detail.is_some() {
            Options { search_pixels: SEED_PIXELS, ..Options::default() }
        } else {
            Options::default()
        };
        let registrar =
            if motion { Some(Arc::new(Registrar::new(layout.height, layout.width, options, cpu)?)) } else { None };
        Ok(Self {
            registrar,
            layout: layout.clone(),
            previous: None,
            scene: 0,
            detail,
            whole: false,
            linking: true,
            light: None,
            cpu,
        })
    }

    /// The registrar itself, for refining between frames that do not follow each other.
    pub(super) fn registrar(&self) -> Option<Arc<Registrar>> {
        self.registrar.clone()
    }

    /// Whether frames from now on are linked to the one before them: what costs most, and is not needed to find cuts.
    pub(super) fn link(&mut self, wanted: bool) {
        self.linking = wanted;
    }

    /// Takes the samples to the light that frames are fused in.
    fn to_linear(&self, frame: &mut Frame) {
        let Some(light) = &self.light else { return };
        let lit = frame.planes.iter_mut().take(lit_planes(&self.layout));
        lit.filter_map(|plane| plane.as_slice_mut()).for_each(|samples| light.to_linear(samples));
    }

    /// Measures `frame` against the one pushed before.
    pub(super) fn push(&mut self, frame: Frame) -> Result<Registered> {
        let ready = self.prepared(frame)?;
        let before = self.goes_on_to(&ready);
        Ok(self.numbered(self.measured(before.as_deref(), ready)))
    }

    /// [`Self::push`] for several successive frames at once: pairs of frames do not wait for each other, as the steps of
    /// the motion of one pair do.
    pub(super) fn push_all(&mut self, frames: Vec<Frame>) -> Result<Vec<Registered>> {
        let ready: Vec<Result<Ready>> = frames.into_par_iter().map(|frame| self.prepared(frame)).collect();
        let ready: Vec<Ready> = ready.into_iter().collect::<Result<_>>()?;
        let before: Vec<_> = ready.iter().map(|ready| self.goes_on_to(ready)).collect();
        let pairs = before.into_par_iter().zip(ready);
        let measured: Vec<_> = pairs.map(|(before, ready)| self.measured(before.as_deref(), ready)).collect();
        Ok(measured.into_iter().map(|registered| self.numbered(registered)).collect())
    }

    /// What needs no other frame.
    fn prepared(&self, mut frame: Frame) -> Result<Ready> {
        let _here = Work::begin();
        let prepared = match &self.registrar {
            Some(registrar) => {
                let prepared = registrar.prepare(self.layout.luma(&frame.planes).view());
                Some(Arc::new(prepared.map_err(|e| e.at(Stage::Register, Some(frame.index)))?))
            }
            None => None,
        };
        self.to_linear(&mut frame);
        Ok(Ready { frame, prepared })
    }

    /// Makes `ready` the frame that the next one is measured against; returns the one before it.
    fn goes_on_to(&mut self, ready: &Ready) -> Option<Arc<Prepared>> {
        std::mem::replace(&mut self.previous, ready.prepared.clone())
    }

    /// The motion of a frame against the one `before`; scenes are not numbered yet.
    fn measured(&self, before: Option<&Prepared>, Ready { frame, prepared }: Ready) -> Registered {
        let _here = Work::begin();
        let appearance =
            || self.detail.map(|_| Appearance::new(&frame.planes, frame.coding.as_ref(), &self.layout, self.cpu));
        // The steps of the motion wait for each other: what comparisons need of the frame is made beside them.
        let (appearance, (estimate, link)) = rayon::join(appearance, || self.moved(before, prepared.as_deref()));
        let scene_cut = estimate.as_ref().is_some_and(|e| e.scene_cut);
        let (motion, confidence) = match estimate {
            Some(e) if !scene_cut => (e.motion, e.confidence),
            Some(e) => (Motion::still(), e.confidence),
            None => (Motion::still(), 1.0),
        };
        Registered { frame, prepared, appearance, link, motion, confidence, scene: 0, scene_cut }
    }

    fn numbered(&mut self, registered: Registered) -> Registered {
        self.scene += u64::from(registered.scene_cut);
        Registered { scene: self.scene, ..registered }
    }

    /// The motion from `previous` to `prepared`, if there is a frame before, and the link if both show one scene.
    fn moved(&self, previous: Option<&Prepared>, prepared: Option<&Prepared>) -> (Option<Estimate>, Option<Link>) {
        let (Some(registrar), Some(previous), Some(prepared)) = (&self.registrar, previous, prepared) else {
            return (None, None);
        };
        // A field goes on from where the shift of the whole frame ends: that need not be exact.
        let seeds = self.detail.is_some() && !self.whole;
        let estimate = match seeds {
            true => registrar.seed(previous, prepared),
            false => registrar.estimate(previous, prepared),
        };
        let link = self.detail.filter(|_| self.linking && !estimate.scene_cut).map(|detail| match self.whole {
            true => whole_link((self.layout.height, self.layout.width), &estimate),
            false => link(registrar, previous, prepared, &estimate, detail),
        });
        (Some(estimate), link)
    }
}

/// The link of frames that move as a whole.
fn whole_link((height, width): (usize, usize), estimate: &Estimate) -> Link {
    let shift = estimate.motion.global();
    let (backward, forward) = (Field::uniform(height, width, -shift), Field::uniform(height, width, shift));
    Link { backward, forward, gain: estimate.gain.max(0.1), offset: estimate.offset }
}

/// Measures the fields between two successive frames, both ways.
fn link(registrar: &Registrar, before: &Prepared, after: &Prepared, estimate: &Estimate, detail: FieldDetail) -> Link {
    let shift = estimate.motion.global();
    let gain = if estimate.gain > 0.1 { estimate.gain } else { 1.0 };
    let back = Estimate {
        motion: Motion::translation(-shift.dx, -shift.dy),
        gain: 1.0 / gain,
        offset: -estimate.offset / gain,
        ..*estimate
    };
    let (backward, forward) = if detail == FieldDetail::Coarse {
        let backward = registrar.field(before, after, estimate, detail);
        let forward = registrar.refine_field(after, before, &backward.inverted(), detail);
        (backward, forward)
    } else {
        rayon::join(
            || registrar.field(before, after, estimate, detail),
            || registrar.field(after, before, &back, detail),
        )
    };
    let (gain, offset) = registrar.brightness_under(before, after, &backward);
    Link { backward, forward, gain, offset }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Plane;
    use crate::pipeline::EnlargeOptions;

    /// A textured picture that moves by (1.5, 0.7) pixels a frame and becomes another one at frame 4.
    fn frame(index: u64) -> Frame {
        let (y0, x0, seed) = (0.7 * index as f64, 1.5 * index as f64, if index < 4 { 1.0 } else { 2.3 });
        let value = |(y, x): (usize, usize)| {
            let (y, x) = (seed * (y as f64 + y0), seed * (x as f64 + x0));
            (128.0 + 50.0 * (0.31 * y + 0.17 * x).sin() + 60.0 * (0.23 * x - 0.4 * y * seed).cos()) as f32
        };
        let planes = vec![Plane::from_shape_fn((72, 96), value)];
        Frame { index, pts: index as i64, duration: 1, planes, coding: None, carried: Vec::new() }
    }

    #[test]
    fn several_frames_at_once_are_measured_like_one_after_the_other() {
        let layout = PictureLayout::gray(96, 72);
        let plan = EnlargeOptions::default().resolve(&layout).expect("a plan");
        let registrar = || FrameRegistrar::for_plan(&plan, CpuLevel::detect()).expect("a registrar");
        let (mut one, mut many) = (registrar(), registrar());
        let alone: Vec<_> = (0..7).map(|i| one.push(frame(i)).expect("registered")).collect();
        let together: Vec<_> = [0..1, 1..3, 3..7]
            .into_iter()
            .flat_map(|at| many.push_all(at.map(frame).collect()).expect("registered"))
            .collect();
        assert_eq!(alone.iter().filter(|r| r.scene_cut).count(), 1, "one cut");
        assert_eq!(together.len(), 7, "all frames");
        for (a, b) in alone.iter().zip(&together) {
            assert_eq!(
                (a.frame.index, a.scene, a.scene_cut),
                (b.frame.index, b.scene, b.scene_cut),
                "order and scenes"
            );
            assert_eq!((a.motion, a.confidence), (b.motion, b.confidence), "frame {}", a.frame.index);
            let fields =
                |r: &Registered| r.link.as_ref().map(|l| (l.backward.clone(), l.forward.clone(), l.gain, l.offset));
            assert_eq!(fields(a), fields(b), "frame {}", a.frame.index);
            assert_eq!(a.link.is_some(), a.frame.index != 0 && !a.scene_cut, "frame {} is linked", a.frame.index);
        }
    }
}
