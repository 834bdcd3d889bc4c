//! The last two stages where there is a network: `refine` runs it on every picture and makes its results pictures of the video again,
//! `hold` holds them to what the camera saw.
//!
//! A network knows pictures, not this one: it shifts colours and invents. Back-projection against the frames of the window
//! (`fuse`, the observation model of the reconstruction) takes out what they contradict and leaves what they cannot tell.
//! Pictures are held on the grid that frames are reconstructed at; where the output's is another one, the correction is carried
//! over to it.

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
use crate::kernels::pages::{ask_for_huge, touch};
use crate::light::Light;
use crate::refine::{Device, Runner};
use crate::resample::{Filter, PictureResampler};

/// Pixels of the largest pictures of which each thread refines its own: threads that share a small one wait for each other (with
/// RRDBNet two threads take 1.22 times the work at 128x128, and no more than one at 192x108), and many larger ones do not share a
/// cache well.
const SMALL: usize = 128 * 128;
/// The same for [`FEW`] threads. Where two do not have a cache in common, which virtual machines do not tell, one picture shared takes
/// 1.2 times as long as two of their own (Compact at 480x270); where they have, both take the same.
const MIDDLING: usize = 1 << 19;
/// So many threads, whose groups of layers have place in 32 MiB of cache together.
const FEW: usize = 2;

/// Pictures of the method in, what the network makes of them out, in order.
pub(super) struct FrameRefiner {
    runner: Runner,
    entrance: Entrance,
    exit: Exit,
    /// What goes into the network and what comes out, for each picture at a time.
    ways: Vec<Passage>,
    to: PictureLayout,
    /// Where planes of finished pictures come from.
    large: PlanePool,
    bytes: u64,
}

/// What the network has made in, finished pictures out, in order.
pub(super) struct FrameHolder {
    holder: Option<Holder>,
    /// Where planes of the method's pictures go.
    middle: PlanePool,
    small: PlanePool,
}

/// A picture of the method and what the network made of it.
pub(super) struct Refined {
    pub(super) enlarged: Enlarged,
    planes: Vec<Plane>,
}

/// A picture on its way through the network.
struct Passage {
    taken: Array3<f32>,
    made: Array3<f32>,
}

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
    let Shares { lanes, bytes } = share(plan, &runner, (taken, size), memory);
    let ways = (0..lanes).map(|_| Passage { taken: Array3::zeros(taken), made: Array3::zeros(size) }).collect();
    let holder = if plan.holds() { Some(Holder::new(plan, cpu)?) } else { None };
    let refiner = FrameRefiner { runner, entrance, exit, ways, to: plan.to.clone(), large, bytes };
    Ok(Some((refiner, FrameHolder { holder, middle, small })))
}

/// Channels, rows, columns.
type Size = (usize, usize, usize);

/// How memory and threads are shared among pictures.
struct Shares {
    /// Pictures at a time.
    lanes: usize,
    /// All that it takes.
    bytes: u64,
}

/// Shares threads among small pictures, and limits `runner` to what other things leave of `memory`.
fn share(plan: &EnlargePlan, runner: &Runner, (taken, made): (Size, Size), memory: Option<u64>) -> Shares {
    let numbers = |(channels, rows, columns): Size| channels * rows * columns;
    // The picture on its way into the network, those of the method, and a detour of the last one.
    let beside = 4 * numbers(taken) as u64 + 2 * frame_bytes(&plan.middle) + 3 * frame_bytes(&plan.to);
    let others = |lanes: usize| {
        let passages = lanes * (numbers(taken) + numbers(made));
        let planes = lanes as u64 * frame_bytes(&plan.to) + (lanes - 1) as u64 * frame_bytes(&plan.middle);
        runner.weights() + beside + 4 * passages as u64 + planes
    };
    let left = |lanes: usize| match memory {
        None => NETWORK_MEMORY,
        Some(memory) => memory.saturating_sub(others(lanes)).min(NETWORK_MEMORY),
    };
    let run = |lanes: usize| runner.memory(lanes, taken.1, taken.2);
    let threads = rayon::current_num_threads();
    let most = if threads <= FEW { MIDDLING } else { SMALL };
    let is_small = taken.1 * taken.2 <= most && plan.refine.as_ref().is_some_and(|r| r.settings.device == Device::Cpu);
    let fits = |lanes: &usize| run(*lanes) <= left(*lanes);
    let lanes = if is_small { (2..=threads).rev().find(fits).unwrap_or(1) } else { 1 };
    if lanes == 1 {
        // Pieces are chosen by what pictures take; what threads need beside may ask for smaller ones.
        let mut limit = left(1);
        runner.limit(limit);
        while run(1) > left(1) && limit > 0 {
            limit = limit.saturating_sub(run(1) - left(1));
            runner.limit(limit);
        }
    }
    Shares { lanes, bytes: others(lanes) + run(lanes) }
}

impl FrameRefiner {
    /// Pictures that are refined at a time.
    pub(super) fn lanes(&self) -> usize {
        self.ways.len()
    }

    /// Bytes that the network, its runs, and its pictures take.
    pub(super) fn memory(&self) -> u64 {
        self.bytes
    }

    /// Takes the memory of runs and their results before the first picture is there: by all threads, while few have anything to do.
    /// Where there is not enough, runs will say so.
    pub(super) fn prepare(&mut self) {
        let (_, rows, columns) = self.ways.first().map_or((0, 0, 0), |way| way.taken.dim());
        let _ = self.runner.reserve(self.lanes(), rows, columns);
        self.ways.par_iter_mut().filter_map(|way| way.made.as_slice_mut()).for_each(|values| {
            ask_for_huge(values);
            touch(values);
        });
    }

    /// Runs the network on pictures, at most [`Self::lanes`].
    pub(super) fn refine(&mut self, batch: Vec<Enlarged>) -> Result<Vec<Refined>> {
        for (enlarged, way) in batch.iter().zip(&mut self.ways) {
            self.entrance.enter(&enlarged.frame.planes, &mut way.taken);
        }
        let ways = &mut self.ways[..batch.len()];
        let mut pictures: Vec<_> = ways.iter_mut().map(|way| (way.taken.view(), way.made.view_mut())).collect();
        let index = batch.first().map(|enlarged| enlarged.frame.index);
        self.runner.run_all(&mut pictures).map_err(|e| e.at(Stage::Refine, index))?;
        let refined = batch.into_par_iter().zip(ways).map(|(enlarged, way)| {
            let mut planes = self.large.take(&self.to);
            planes.iter_mut().filter_map(|plane| plane.as_slice_mut()).for_each(ask_for_huge);
            self.exit.leave(&mut way.made, &enlarged.frame.planes, &mut planes);
            Refined { enlarged, planes }
        });
        Ok(refined.collect())
    }
}

impl FrameHolder {
    /// Makes a finished picture of one.
    ///
    /// # Errors
    /// [`Kind::Input`] if the network made values that are no numbers.
    pub(super) fn hold(&mut self, Refined { mut enlarged, mut planes }: Refined) -> Result<Enlarged> {
        if !planes.iter().filter_map(|plane| plane.as_slice()).all(are_numbers) {
            let message = "the network makes values of this picture that are no numbers";
            return Err(Error::new(Kind::Input, message)
                .hint("its weights may be damaged, or too large for its kind of numbers: --precision f32"));
        }
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
