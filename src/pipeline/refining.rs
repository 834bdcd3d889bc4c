//! The last two stages where there is a network: `refine` runs it on every picture, `hold` makes its results pictures of the video
//! again and holds them to what the camera saw.
//!
//! A network knows pictures, not this one: it shifts colours and invents. Back-projection against the frames of the window
//! (`fuse`, the observation model of the reconstruction) takes out what they contradict and leaves what they cannot tell.
//! Pictures are held on the grid that frames are reconstructed at; where the output's is another one, the correction is carried
//! over to it.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::Array3;

use super::evidence::Evidence;
use super::network_picture::{Entrance, Exit, ways};
use super::options::{EnlargePlan, lit_planes};
use super::upscaler::Enlarged;
use crate::error::Result;
use crate::frame::{PictureLayout, Plane, PlanePool};
use crate::fuse::{Appearance, Held, Options, Reconstructor, reconstructed_layout};
use crate::kernels::CpuLevel;
use crate::light::Light;
use crate::refine::Runner;
use crate::resample::{Filter, PictureResampler};

/// Results of a network on their way from `refine` to `hold`, at most, and as many to be used again.
const BETWEEN: usize = 2;

/// Pictures of the method in, results of the network out, in order.
pub(super) struct FrameRefiner {
    runner: Runner,
    entrance: Entrance,
    input: Array3<f32>,
    size: (usize, usize, usize),
    used: Used,
}

/// Results of the network in, finished pictures out, in order.
pub(super) struct FrameHolder {
    exit: Exit,
    holder: Option<Holder>,
    to: PictureLayout,
    /// Where planes of the method's pictures come from and go.
    middle: PlanePool,
    small: PlanePool,
    large: PlanePool,
    used: Used,
}

/// A picture of the method and what the network made of it.
pub(super) struct Refined {
    pub(super) enlarged: Enlarged,
    made: Array3<f32>,
}

/// Memory of results that are done with.
type Used = Arc<Mutex<Vec<Array3<f32>>>>;

/// What `plan` asks for beyond the method; `None` if it is no network. Planes of frames that are done with go to `small`, those of
/// finished pictures come from `large`, those of the method's go to `middle`. A run of the network takes at most `memory` bytes, if
/// pieces can be made small enough.
pub(super) fn refining(
    plan: &EnlargePlan,
    [small, middle, large]: [PlanePool; 3],
    memory: u64,
    cpu: CpuLevel,
) -> Result<Option<(FrameRefiner, FrameHolder)>> {
    let Some(refine) = &plan.refine else { return Ok(None) };
    let runner = Runner::new(&refine.network, refine.settings, memory, cpu)?;
    let (input, scale) = (runner.input(), runner.scale());
    let (entrance, exit) = ways(&plan.middle, &plan.to, (input, scale), plan.from.height, cpu);
    let (channels, (rows, columns)) = (input.channels(), entrance.taken());
    let (used, size) = (Used::default(), (channels, rows * scale, columns * scale));
    let input = Array3::zeros((channels, rows, columns));
    let holder = if plan.holds() { Some(Holder::new(plan, cpu)?) } else { None };
    let refiner = FrameRefiner { runner, entrance, input, size, used: Arc::clone(&used) };
    Ok(Some((refiner, FrameHolder { exit, holder, to: plan.to.clone(), middle, small, large, used })))
}

impl FrameRefiner {
    /// Bytes that the network, a run of it, and its pictures take.
    pub(super) fn memory(&self) -> u64 {
        let (rows, columns) = self.entrance.taken();
        let made = self.size.0 * self.size.1 * self.size.2;
        self.runner.memory(rows, columns) + 4 * (2 * self.input.len() + BETWEEN * made) as u64
    }

    /// Runs the network on one picture.
    pub(super) fn refine(&mut self, enlarged: Enlarged) -> Result<Refined> {
        self.entrance.enter(&enlarged.frame.planes, &mut self.input);
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut made = used.unwrap_or_else(|| Array3::zeros(self.size));
        self.runner.run(self.input.view(), made.view_mut())?;
        Ok(Refined { enlarged, made })
    }
}

impl FrameHolder {
    /// Makes a finished picture of one.
    pub(super) fn hold(&mut self, Refined { mut enlarged, mut made }: Refined) -> Enlarged {
        let mut planes = self.large.take(&self.to);
        self.exit.leave(&mut made, &enlarged.frame.planes, &mut planes);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < BETWEEN {
            used.push(made);
        }
        drop(used);
        if let (Some(holder), Some(evidence)) = (&mut self.holder, enlarged.evidence.take()) {
            enlarged.held = Some(holder.hold(&evidence, &mut planes));
            evidence.give_back(&self.small);
        }
        self.middle.give(std::mem::replace(&mut enlarged.frame.planes, planes));
        enlarged
    }
}

/// Back-projection of what a network has made.
struct Holder {
    solver: Reconstructor,
    steps: usize,
    from: PictureLayout,
    light: Option<Light>,
    cpu: CpuLevel,
    /// To the grid of the solver and back, and pictures there; `None` if it is that of the output.
    detour: Option<Detour>,
}

struct Detour {
    there: PictureResampler,
    back: PictureResampler,
    before: Vec<Plane>,
    after: Vec<Plane>,
    correction: Vec<Plane>,
}

impl Holder {
    fn new(plan: &EnlargePlan, cpu: CpuLevel) -> Result<Self> {
        let grid = reconstructed_layout(&plan.from, &plan.to);
        let light = plan.linear_light();
        let range = light.as_ref().map(Light::range);
        let blur = plan.blur.unwrap_or_default();
        let solver = Reconstructor::new(
            &plan.from,
            &grid,
            Options { blur, range, parts: plan.parts, ..Options::default() },
            cpu,
        )?;
        let detour = (grid != plan.to).then(|| Detour::new(&plan.to, &grid, cpu));
        Ok(Self { solver, steps: plan.hold_steps(), from: plan.from.clone(), light, cpu, detour })
    }

    fn hold(&mut self, evidence: &Evidence, planes: &mut [Plane]) -> Held {
        if let Some(blur) = evidence.blur {
            self.solver.set_blur(blur);
        }
        let Some(mut detour) = self.detour.take() else { return self.hold_on_grid(evidence, planes) };
        let Detour { there, back, before, after, correction } = &mut detour;
        there.resample(planes, before);
        after.clone_from(before);
        let held = self.hold_on_grid(evidence, after);
        after.iter_mut().zip(before.iter()).for_each(|(after, before)| *after -= before);
        back.resample(after, correction);
        planes.iter_mut().zip(correction.iter()).for_each(|(plane, correction)| *plane += correction);
        self.detour = Some(detour);
        held
    }

    fn hold_on_grid(&mut self, evidence: &Evidence, planes: &mut [Plane]) -> Held {
        let lit = lit_planes(&self.from);
        let lights = |planes: &mut [Plane], way: fn(&Light, &mut [f32])| {
            let Some(light) = &self.light else { return };
            planes
                .iter_mut()
                .take(lit)
                .filter_map(|plane| plane.as_slice_mut())
                .for_each(|samples| way(light, samples));
        };
        lights(planes, Light::to_linear);
        let reference = &evidence.reference;
        let made;
        let appearance = match &reference.appearance {
            Some(appearance) => appearance,
            None => {
                let frame = &reference.frame;
                made = Appearance::new(&frame.planes, frame.coding.as_ref(), &self.from, self.cpu);
                &made
            }
        };
        let held = self.solver.hold(&reference.frame.planes, appearance, &evidence.neighbours(), self.steps, planes);
        lights(planes, Light::to_code);
        held
    }
}

impl Detour {
    fn new(to: &PictureLayout, grid: &PictureLayout, cpu: CpuLevel) -> Self {
        let there = PictureResampler::new(to, grid, Filter::Bicubic, cpu);
        let back = PictureResampler::new(grid, to, Filter::Bicubic, cpu);
        let (before, correction) = (there.allocate(), back.allocate());
        Self { after: before.clone(), before, correction, there, back }
    }
}
