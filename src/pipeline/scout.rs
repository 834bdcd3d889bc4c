//! What single segments of a video cannot find out by themselves: where its scenes begin, and how each was blurred.
//!
//! The same estimates as in a run over the whole video, without enlarging anything: motion is measured only as far as cuts
//! need it, and as fields on the opening frames of each scene alone.

use super::enlarging::{Resources, pool};
use super::options::EnlargePlan;
use super::registration::FrameRegistrar;
use super::window::FrameEnlarger;
use crate::error::Result;
use crate::frame::{Frame, PlanePool};
use crate::fuse::{Blur, CALIBRATION_RADIUS};
use crate::kernels::CpuLevel;

/// Frames at the start of a scene that its blur is measured on.
const OPENING: usize = 2 * CALIBRATION_RADIUS + 1;

/// Goes through a video ahead of its segments.
pub struct Scout {
    registrar: FrameRegistrar,
    enlarger: FrameEnlarger,
    /// Whether blurs are to be measured.
    measures: bool,
    /// Frames of the current scene so far, up to [`OPENING`].
    opening: usize,
    scenes: Vec<u64>,
    blurs: Vec<(u64, Blur)>,
    small: PlanePool,
    pool: rayon::ThreadPool,
}

impl std::fmt::Debug for Scout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scout").field("scenes", &self.scenes).field("blurs", &self.blurs).finish_non_exhaustive()
    }
}

/// What a [`Scout`] has found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scenes {
    /// Numbers of the frames at which a scene begins, from the second scene on.
    pub cuts: Vec<u64>,
    /// Blur of each scene and the number of its first frame; empty where it is not measured.
    pub blurs: Vec<(u64, Blur)>,
}

impl Scout {
    /// For `plan`; `None` if it looks at single frames and knows no scenes.
    ///
    /// # Errors
    /// As for [`super::Enlarging::new`].
    pub fn new(plan: &EnlargePlan, resources: Resources, cpu: CpuLevel) -> Result<Option<Self>> {
        if plan.window == 0 {
            return Ok(None);
        }
        let small = PlanePool::new(1);
        let registrar = FrameRegistrar::for_plan(plan, cpu)?;
        let enlarger = FrameEnlarger::new(plan, small.clone(), PlanePool::new(0), cpu)?;
        Ok(Some(Self {
            enlarger: enlarger.with_registrar(registrar.registrar()),
            registrar,
            measures: Self::is_needed(plan),
            opening: 0,
            scenes: Vec::new(),
            blurs: Vec::new(),
            small,
            pool: pool(resources.threads)?,
        }))
    }

    /// Whether segments of a video cannot be enlarged without what a scout finds.
    pub fn is_needed(plan: &EnlargePlan) -> bool {
        plan.window > 0 && plan.blur.is_none() && plan.method.is_multi_frame()
    }

    /// Where planes of frames come from that are read for this.
    pub fn frames(&self) -> PlanePool {
        self.small.clone()
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// Those of registration.
    pub fn push(&mut self, frame: Frame) -> Result<()> {
        let index = frame.index;
        self.registrar.link(self.measures && self.opening < OPENING);
        let registered = self.pool.install(|| self.registrar.push(frame))?;
        if registered.scene_cut {
            self.measure()?;
            self.scenes.push(index);
            self.opening = 0;
        }
        if !self.measures || self.opening == OPENING {
            self.small.give(registered.frame.planes);
            return Ok(());
        }
        self.opening += 1;
        self.enlarger.push(registered);
        if self.opening == OPENING { self.measure() } else { Ok(()) }
    }

    /// Measures the blur of the scene whose opening frames wait, if any do.
    fn measure(&mut self) -> Result<()> {
        if let Some(first) = self.enlarger.first() {
            let blur = self.pool.install(|| self.enlarger.measure(0))?;
            self.blurs.extend(blur.map(|blur| (first, blur)));
            self.enlarger.clear();
        }
        Ok(())
    }

    /// What was found, after the last frame.
    ///
    /// # Errors
    /// As for [`Self::push`].
    pub fn finish(mut self) -> Result<Scenes> {
        self.measure()?;
        Ok(Scenes { cuts: self.scenes, blurs: self.blurs })
    }
}
