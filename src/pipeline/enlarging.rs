//! All stages between decoding and encoding, ready for one run over the frames of a video or of a part of it.

use std::ops::Range;

use super::budget::{Capacities, capacities, network_memory};
use super::control::Control;
use super::files::AloneCounts;
use super::options::EnlargePlan;
use super::refining::refining;
use super::registration::FrameRegistrar;
use super::topology::{self, Workers};
use super::upscaler::Enlarged;
use super::window::FrameEnlarger;
use crate::error::{Error, Kind, Result};
use crate::frame::{Frame, PlanePool};
use crate::fuse::{Blur, Held};
use crate::kernels::CpuLevel;

/// What a run may take of the machine. No pixel depends on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resources {
    /// Threads; 0 for one per core.
    pub threads: usize,
    /// Most memory to hold, bytes.
    pub max_memory: Option<u64>,
}

/// Frames whose memory waits for the next ones: as many as are set free before one is asked for.
const SPARE_FRAMES: usize = 1;

/// The stages of one run.
pub struct Enlarging {
    workers: Workers,
    capacities: Capacities,
    small: PlanePool,
    large: PlanePool,
    pool: rayon::ThreadPool,
}

impl std::fmt::Debug for Enlarging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enlarging").field("capacities", &self.capacities).finish_non_exhaustive()
    }
}

impl Enlarging {
    /// For frames that `plan` was made for.
    ///
    /// # Errors
    /// [`Kind::Resource`] if they need more memory than allowed, or no threads can be started.
    pub fn new(plan: &EnlargePlan, resources: Resources, cpu: CpuLevel) -> Result<Self> {
        let pool = pool(resources.threads)?;
        let [small, middle, large] = [(); 3].map(|()| PlanePool::new(SPARE_FRAMES));
        let pools = [small.clone(), middle.clone(), large.clone()];
        let limit = resources.max_memory;
        let refining = pool.install(|| refining(plan, pools, network_memory(plan, limit), cpu))?;
        let network = refining.as_ref().map_or(0, |(refiner, _)| refiner.memory());
        let capacities = capacities(plan, network, limit)?;
        // Without a network what the method makes is what is written.
        let made = if refining.is_some() { middle } else { large.clone() };
        let (registrar, enlarger) = pool.install(|| {
            let registrar = || FrameRegistrar::for_plan(plan, cpu);
            rayon::join(registrar, || FrameEnlarger::new(plan, small.clone(), made, cpu))
        });
        let registrar = registrar?;
        let enlarger = enlarger?.with_registrar(registrar.registrar());
        Ok(Self { workers: Workers { registrar, enlarger, refining }, capacities, small, large, pool })
    }

    /// The same, making maps of every frame if `wanted`.
    #[must_use]
    pub fn with_maps(mut self, wanted: bool) -> Self {
        self.workers.enlarger = self.workers.enlarger.with_maps(wanted);
        self
    }

    /// The same for the frames whose numbers are `wanted`; others only help. `known` are the blurs of all scenes, each with
    /// the number of its first frame, where they were measured on the whole video.
    #[must_use]
    pub fn for_part(mut self, wanted: Range<u64>, known: Vec<(u64, Blur)>) -> Self {
        self.workers.enlarger = self.workers.enlarger.for_part(wanted, known);
        self
    }

    /// Where planes of frames come from that are read for this run.
    pub fn frames(&self) -> PlanePool {
        self.small.clone()
    }

    /// Runs until `source` gives `None`. `sink` takes each enlarged frame, in order, on the caller's thread, and hands its planes over
    /// to the pool once it is done with them.
    ///
    /// # Errors
    /// The first cause, with stage and frame; an interruption if `control` was asked to stop.
    pub fn run(
        self,
        source: &mut (dyn FnMut() -> Result<Option<Frame>> + Send),
        sink: &mut dyn FnMut(Enlarged, &PlanePool) -> Result<()>,
        control: &Control,
    ) -> Result<()> {
        let large = self.large;
        let sink = &mut |enlarged| sink(enlarged, &large);
        topology::run(source, self.workers, sink, self.capacities, &self.pool, control)
    }
}

/// The worker threads shared by all stages that compute.
pub(super) fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    let build = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("compute{i}")).build();
    build.map_err(|e| Error::new(Kind::Resource, "no threads could be started").caused_by(e))
}

/// Sums over enlarged frames.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Shares of the picture from several frames, added up.
    pub share: f64,
    /// Noise estimates, added up.
    pub noise: f64,
    /// Neighbours used, added up.
    pub neighbours: u64,
    /// Frames made from themselves alone.
    pub alone: AloneCounts,
    /// Blurs that were undone, each once.
    pub blurs: Vec<Blur>,
    /// Frames at which a scene begins.
    pub scene_cuts: Vec<u64>,
    /// How far pictures were from the frames before and after they were held to them, added up.
    pub held: Option<Held>,
}

impl Tally {
    /// Counts a frame.
    pub fn add(&mut self, enlarged: &Enlarged) {
        self.add_all(&Self {
            frames: 1,
            share: enlarged.multi_frame_share,
            noise: enlarged.noise,
            neighbours: enlarged.neighbours as u64,
            alone: enlarged.alone.map_or(AloneCounts::default(), AloneCounts::of),
            blurs: enlarged.blur.into_iter().collect(),
            scene_cuts: enlarged.motion.scene_cut.then_some(enlarged.frame.index).into_iter().collect(),
            held: enlarged.held,
        });
    }

    /// Counts the frames that another one has counted.
    pub fn add_all(&mut self, other: &Self) {
        self.frames += other.frames;
        self.share += other.share;
        self.noise += other.noise;
        self.neighbours += other.neighbours;
        self.alone.add(other.alone);
        for blur in &other.blurs {
            if !self.blurs.contains(blur) {
                self.blurs.push(*blur);
            }
        }
        self.scene_cuts.extend(&other.scene_cuts);
        if let Some(Held { before, after }) = other.held {
            let sum = self.held.get_or_insert(Held { before: 0.0, after: 0.0 });
            (sum.before, sum.after) = (sum.before + before, sum.after + after);
        }
    }
}
