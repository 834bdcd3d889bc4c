//! The register stage: motion of every frame against the one before, and where scenes begin.

use std::sync::Arc;

use ndarray::Zip;

use crate::error::Result;
use crate::frame::{ColorFamily, Frame, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::register::{Motion, Options, Prepared, Registrar};

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
    /// From the frame before to this one; still at the first frame of a scene.
    pub(super) motion: Motion,
    pub(super) confidence: f64,
    /// Counts from 0, one up at each cut.
    pub(super) scene: u64,
    pub(super) scene_cut: bool,
}

impl Registered {
    pub(super) fn frame_motion(&self) -> FrameMotion {
        let shift = self.motion.global();
        FrameMotion {
            frame: self.frame.index,
            dx: shift.dx,
            dy: shift.dy,
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
}

impl FrameRegistrar {
    /// For frames of `layout`, if `wanted`.
    pub(super) fn new(layout: &PictureLayout, wanted: bool, cpu: CpuLevel) -> Result<Self> {
        let registrar = if wanted {
            Some(Arc::new(Registrar::new(layout.height, layout.width, Options::default(), cpu)?))
        } else {
            None
        };
        Ok(Self { registrar, layout: layout.clone(), previous: None, scene: 0 })
    }

    /// The registrar itself, for refining between frames that do not follow each other.
    pub(super) fn registrar(&self) -> Option<Arc<Registrar>> {
        self.registrar.clone()
    }

    /// Measures `frame` against the one pushed before.
    pub(super) fn push(&mut self, frame: Frame) -> Result<Registered> {
        let Some(registrar) = &self.registrar else {
            return Ok(Registered {
                frame,
                prepared: None,
                motion: Motion::still(),
                confidence: 1.0,
                scene: 0,
                scene_cut: false,
            });
        };
        let luma = luma(&frame, &self.layout);
        let prepared = Arc::new(registrar.prepare(luma.as_ref().unwrap_or(&frame.planes[0]).view())?);
        let estimate = self.previous.as_ref().map(|previous| registrar.estimate(previous, &prepared));
        self.previous = Some(Arc::clone(&prepared));
        let scene_cut = estimate.as_ref().is_some_and(|e| e.scene_cut);
        self.scene += u64::from(scene_cut);
        let (motion, confidence) = match estimate {
            Some(e) if !scene_cut => (e.motion, e.confidence),
            Some(e) => (Motion::still(), e.confidence),
            None => (Motion::still(), 1.0),
        };
        Ok(Registered { frame, prepared: Some(prepared), motion, confidence, scene: self.scene, scene_cut })
    }
}

/// Luma of an RGB frame; `None` where the first plane is luma already.
fn luma(frame: &Frame, layout: &PictureLayout) -> Option<Plane> {
    if layout.family != ColorFamily::Rgb {
        return None;
    }
    let [r, g, b] = layout.color.luma_weights(layout.height);
    Some(
        Zip::from(&frame.planes[0])
            .and(&frame.planes[1])
            .and(&frame.planes[2])
            .map_collect(|red, green, blue| r * red + g * green + b * blue),
    )
}
