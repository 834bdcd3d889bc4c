//! The last two stages where there is a network: `refine` runs it on every picture, `hold` makes its results pictures of the video
//! again and holds them to what the camera saw.
//!
//! A network knows pictures, not this one: it shifts colours and invents. Back-projection against the frames of the window
//! (`fuse`, the observation model of the reconstruction) takes out what they contradict and leaves what they cannot tell.
//! Pictures are held on the grid that frames are reconstructed at; where the output's is another one, the correction is carried
//! over to it.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::Array3;
use rayon::prelude::*;

use super::budget::{NETWORK_MEMORY, frame_bytes};
use super::evidence::Evidence;
use super::network_picture::{Entrance, Exit, ways};
use super::options::{EnlargePlan, lit_planes};
use super::upscaler::Enlarged;
use crate::error::{Error, Kind, Result, Stage};
use crate::frame::{PictureLayout, Plane, PlanePool};
use crate::fuse::{Appearance, Held, Options, Reconstructor, reconstructed_layout};
use crate::kernels::CpuLevel;
use crate::light::Light;
use crate::refine::{Device, Runner};
use crate::resample::{Filter, PictureResampler};

/// Pixels of the largest pictures of which each thread refines its own: threads that share a small one wait for each other (with
/// RRDBNet two threads take 1.22 times the work at 128x128, and no more than one at 192x108), and larger ones do not share a
/// cache well.
const SMALL: usize = 128 * 128;

/// Pictures of the method in, results of the network out, in order.
pub(super) struct FrameRefiner {
    runner: Runner,
    entrance: Entrance,
    /// One for each picture at a time.
    inputs: Vec<Array3<f32>>,
    size: (usize, usize, usize),
    /// Threads for each of several.
    workers: usize,
    bytes: u64,
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
    /// Results that are kept to be used again.
    keep: usize,
}

/// A picture of the method and what the network made of it.
pub(super) struct Refined {
    pub(super) enlarged: Enlarged,
    made: Array3<f32>,
}

/// Memory of results that are done with.
type Used = Arc<Mutex<Vec<Array3<f32>>>>;

/// What `plan` asks for beyond the method; `None` if it is no network. Planes of frames that are done with go to `small`, those of
/// finished pictures come from `large`, those of the method's go to `middle`. All takes at most `memory` bytes, if that is given and
/// pieces can be made small enough.
pub(super) fn refining(
    plan: &EnlargePlan,
    [small, middle, large]: [PlanePool; 3],
    memory: Option<u64>,
    cpu: CpuLevel,
) -> Result<Option<(FrameRefiner, FrameHolder)>> {
    let Some(refine) = &plan.refine else { return Ok(None) };
    let runner = Runner::new(&refine.network, refine.settings, NETWORK_MEMORY, cpu)?;
    let (input, scale) = (runner.input(), runner.scale());
    let (entrance, exit) = ways(&plan.middle, &plan.to, (input, scale), plan.from.height, cpu);
    let (rows, columns) = entrance.taken();
    let taken = (input.channels(), rows, columns);
    let size = (taken.0, rows * scale, columns * scale);
    let Shares { lanes, workers, bytes } = share(plan, &runner, (taken, size), memory);
    let inputs = vec![Array3::zeros(taken); lanes];
    let holder = if plan.holds() { Some(Holder::new(plan, cpu)?) } else { None };
    let (used, to) = (Used::default(), plan.to.clone());
    let refiner = FrameRefiner { runner, entrance, inputs, size, workers, bytes, used: Arc::clone(&used) };
    Ok(Some((refiner, FrameHolder { exit, holder, to, middle, small, large, used, keep: lanes })))
}

/// Channels, rows, columns.
type Size = (usize, usize, usize);

/// How memory and threads are shared among pictures.
struct Shares {
    /// Pictures at a time.
    lanes: usize,
    /// Threads for each.
    workers: usize,
    /// All that it takes.
    bytes: u64,
}

/// Shares threads among small pictures, and limits `runner` to what other things leave of `memory`.
fn share(plan: &EnlargePlan, runner: &Runner, (taken, made): (Size, Size), memory: Option<u64>) -> Shares {
    let numbers = |(channels, rows, columns): Size| channels * rows * columns;
    // The picture on its way into the network, those of the method, and a detour of the last one.
    let beside = 4 * numbers(taken) as u64 + 2 * frame_bytes(&plan.middle) + 3 * frame_bytes(&plan.to);
    let others = |lanes: usize| {
        let pictures = lanes * numbers(taken) + (lanes + 1) * numbers(made);
        runner.weights() + beside + 4 * pictures as u64
    };
    let left = |lanes: usize| match memory {
        None => NETWORK_MEMORY,
        Some(memory) => memory.saturating_sub(others(lanes)).min(NETWORK_MEMORY),
    };
    let run = |workers: usize| runner.memory(taken.1, taken.2, workers);
    let threads = rayon::current_num_threads();
    let is_small = taken.1 * taken.2 <= SMALL && plan.refine.as_ref().is_some_and(|r| r.settings.device == Device::Cpu);
    let fits = |lanes: &usize| *lanes as u64 * run(1) <= left(*lanes);
    let lanes = if is_small { (2..=threads).rev().find(fits).unwrap_or(1) } else { 1 };
    let workers = if lanes > 1 { 1 } else { threads };
    if lanes == 1 {
        // Pieces are chosen by what pictures take; what threads need beside may ask for smaller ones.
        let mut limit = left(1);
        runner.limit(limit);
        while run(workers) > left(1) && limit > 0 {
            limit = limit.saturating_sub(run(workers) - left(1));
            runner.limit(limit);
        }
    }
    Shares { lanes, workers, bytes: others(lanes) + lanes as u64 * run(workers) }
}

impl FrameRefiner {
    /// Pictures that are refined at a time.
    pub(super) fn lanes(&self) -> usize {
        self.inputs.len()
    }

    /// Bytes that the network, its runs, and its pictures take.
    pub(super) fn memory(&self) -> u64 {
        self.bytes
    }

    /// Runs the network on pictures, at most [`Self::lanes`].
    pub(super) fn refine(&mut self, batch: Vec<Enlarged>) -> Result<Vec<Refined>> {
        for (enlarged, input) in batch.iter().zip(&mut self.inputs) {
            self.entrance.enter(&enlarged.frame.planes, input);
        }
        // A picture that comes alone, the last one or the only one, has all threads.
        let workers = if batch.len() == 1 { rayon::current_num_threads() } else { self.workers };
        let refined = batch.into_par_iter().zip(&self.inputs).map(|(enlarged, input)| {
            let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut made = used.unwrap_or_else(|| Array3::zeros(self.size));
            let index = enlarged.frame.index;
            self.runner.run_by(workers, input.view(), made.view_mut()).map_err(|e| e.at(Stage::Refine, Some(index)))?;
            Ok(Refined { enlarged, made })
        });
        refined.collect()
    }
}

impl FrameHolder {
    /// Makes a finished picture of one.
    ///
    /// # Errors
    /// [`Kind::Input`] if the network made values that are no numbers.
    pub(super) fn hold(&mut self, Refined { mut enlarged, mut made }: Refined) -> Result<Enlarged> {
        let mut planes = self.large.take(&self.to);
        self.exit.leave(&mut made, &enlarged.frame.planes, &mut planes);
        if !planes.iter().filter_map(|plane| plane.as_slice()).all(are_numbers) {
            let message = "the network makes values of this picture that are no numbers";
            return Err(Error::new(Kind::Input, message)
                .hint("its weights may be damaged, or too large for its kind of numbers: --precision f32"));
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < self.keep {
            used.push(made);
        }
        drop(used);
        if let (Some(holder), Some(evidence)) = (&mut self.holder, enlarged.evidence.take()) {
            enlarged.held = Some(holder.hold(&evidence, &mut planes));
            evidence.give_back(&self.small);
        }
        self.middle.give(std::mem::replace(&mut enlarged.frame.planes, planes));
        Ok(enlarged)
    }
}

/// Back-projection of what a network has made.
struct Holder {
    solver: Reconstructor,
    /// Steps with the frame alone, and with neighbours.
    steps: [usize; 2],
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

/// Whether all values are finite.
fn are_numbers(values: &[f32]) -> bool {
    // Of magnitudes as whole numbers, the largest is found sixteen at a time.
    let largest = |part: &[f32]| part.iter().fold(0, |most: u32, value| most.max(value.abs().to_bits()));
    values.par_chunks(1 << 16).all(|part| largest(part) <= f32::MAX.to_bits())
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
