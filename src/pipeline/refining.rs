//! The refine stage: a network on every picture, and its result held to what the camera saw.
//!
//! A network knows pictures, not this one: it shifts colours and invents. Back-projection against the frames of the window
//! (`fuse`, the observation model of the reconstruction) takes out what they contradict and leaves what they cannot tell.
//! Pictures are held on the grid that frames are reconstructed at; where the output's is another one, the correction is carried
//! over to it.

use ndarray::Array3;

use super::evidence::Evidence;
use super::network_picture::NetworkPicture;
use super::options::{EnlargePlan, lit_planes};
use super::upscaler::Enlarged;
use crate::error::Result;
use crate::frame::{PictureLayout, Plane, PlanePool};
use crate::fuse::{Appearance, Held, Options, Reconstructor, reconstructed_layout};
use crate::kernels::CpuLevel;
use crate::light::Light;
use crate::refine::Runner;
use crate::resample::{Filter, PictureResampler};

/// Pictures of the method in, refined ones out, in order.
pub(super) struct FrameRefiner {
    runner: Runner,
    picture: NetworkPicture,
    input: Array3<f32>,
    made: Array3<f32>,
    holder: Option<Holder>,
    to: PictureLayout,
    /// Where planes of the method's pictures come from and go.
    middle: PlanePool,
    small: PlanePool,
    large: PlanePool,
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

impl FrameRefiner {
    /// What `plan` asks for; `None` if it is no network. Planes of frames that are done with go to `small`, those of results come
    /// from `large`, as in [`super::window::FrameEnlarger`], whose results come from `middle`. A run of the network takes at most `memory`
    /// bytes, if pieces can be made small enough.
    pub(super) fn for_plan(
        plan: &EnlargePlan,
        [small, middle, large]: [PlanePool; 3],
        memory: u64,
        cpu: CpuLevel,
    ) -> Result<Option<Self>> {
        let Some(refine) = &plan.refine else { return Ok(None) };
        let runner = Runner::new(&refine.network, refine.settings, memory, cpu)?;
        let (input, scale) = (runner.input(), runner.scale());
        let picture = NetworkPicture::new(&plan.middle, &plan.to, (input, scale), plan.from.height, cpu);
        let (rows, columns) = picture.taken();
        let channels = input.channels();
        let holder = if plan.holds() { Some(Holder::new(plan, cpu)?) } else { None };
        Ok(Some(Self {
            runner,
            picture,
            input: Array3::zeros((channels, rows, columns)),
            made: Array3::zeros((channels, rows * scale, columns * scale)),
            holder,
            to: plan.to.clone(),
            middle,
            small,
            large,
        }))
    }

    /// Bytes that the network, a run of it, and its pictures take.
    pub(super) fn memory(&self) -> u64 {
        let (rows, columns) = self.picture.taken();
        self.runner.memory(rows, columns) + 4 * (2 * self.input.len() + self.made.len()) as u64
    }

    /// Refines one picture.
    pub(super) fn refine(&mut self, mut enlarged: Enlarged) -> Result<Enlarged> {
        let mut planes = self.large.take(&self.to);
        self.picture.enter(&enlarged.frame.planes, &mut self.input);
        self.runner.run(self.input.view(), self.made.view_mut())?;
        self.picture.leave(&mut self.made, &enlarged.frame.planes, &mut planes);
        if let (Some(holder), Some(evidence)) = (&mut self.holder, enlarged.evidence.take()) {
            enlarged.held = Some(holder.hold(&evidence, &mut planes));
            evidence.give_back(&self.small);
        }
        self.middle.give(std::mem::replace(&mut enlarged.frame.planes, planes));
        Ok(enlarged)
    }
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
