//! How much memory a job takes, and how long its channels may be within a limit.

use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, PictureLayout, PlanePool};
use crate::fuse::{Technique, reconstructed_layout};
use crate::kernels::CpuLevel;

use super::method::Method;
use super::options::EnlargePlan;
use super::refining::refining;

/// Bytes a job will hold, by part. Nothing in it grows with the length of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Frames of the window, their motion data included.
    pub window: u64,
    /// State of the reconstruction or interpolation.
    pub solver: u64,
    /// Weights of a network, a run of it, and what holds its pictures to the frames; 0 without one.
    pub network: u64,
    /// Frames waiting in channels, at the planned lengths.
    pub channels: u64,
    /// Decoder, encoder and container, a rough share.
    pub codecs: u64,
}

/// Lengths of the channels, in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capacities {
    pub(super) decoded: usize,
    /// Frames whose motion is measured at once, 1 or more; then they are handed over one by one.
    pub(super) registering: usize,
    /// Between the method and a network, and between that and what holds its results to the frames.
    pub(super) refined: usize,
    pub(super) enlarged: usize,
}

/// Bytes that may wait in one channel: a few frames of small video hide the unevenness of decoder and encoder (two
/// enlarged 1080p frames are 24 MB); frames of 4K (50 MB) are handed over directly.
const CHANNEL_BYTES: u64 = 32 << 20;

/// Stages in lockstep: nothing waits, each frame is handed over.
const TIGHT: Capacities = Capacities { decoded: 0, registering: 1, refined: 0, enlarged: 0 };

impl Capacities {
    /// Comfortable lengths for the sizes of `plan`.
    fn roomy(plan: &EnlargePlan) -> Self {
        let frames = |layout: &PictureLayout| (CHANNEL_BYTES / frame_bytes(layout).max(1)).min(2) as usize;
        // What takes longer to make than to write need not wait: room for it would fill on one stall in a thousand
        // frames, and memory would seem to grow with the length.
        let enlarged = if matches!(plan.method, Method::Fuse(_)) { 0 } else { frames(&plan.to) };
        let small = frames(&plan.from);
        Self { decoded: small, registering: small.max(1), refined: 0, enlarged }
    }
}

/// Bytes of one frame as planes of `f32`.
pub(super) fn frame_bytes(layout: &PictureLayout) -> u64 {
    (0..layout.plane_count())
        .map(|i| layout.plane_size(i))
        .map(|(rows, columns)| 4 * rows as u64 * columns as u64)
        .sum()
}

impl MemoryPlan {
    /// The memory of `plan` within `limit` bytes, with channels as comfortable as that allows. Weights of a network are packed to
    /// find out.
    ///
    /// # Errors
    /// [`Kind::Resource`] if it needs more; [`Kind::Unavailable`] if its network needs a device that cannot be used.
    pub fn of(plan: &EnlargePlan, limit: Option<u64>) -> Result<Self> {
        let pools = [(); 3].map(|()| PlanePool::new(0));
        let refining = refining(plan, pools, network_memory(plan, limit), CpuLevel::detect())?;
        let network = refining.map_or(0, |(refiner, _)| refiner.memory());
        Ok(Self::with(plan, network, capacities(plan, network, limit)?))
    }

    fn with(plan: &EnlargePlan, network: u64, capacities: Capacities) -> Self {
        let (small, large) = (frame_bytes(&plan.from), frame_bytes(&plan.to));
        let held = 2 * plan.window as u64 + 1;
        let (per_frame, solver) = match plan.method {
            Method::Fuse(technique) => {
                let own = match technique {
                    // Complex spectra: two of the large picture, two of each frame.
                    Technique::Frequency => 4 * large + 5 * held * small,
                    Technique::ShiftAdd => large,
                    Technique::Ibp | Technique::Map | Technique::Pocs => 0,
                };
                let (frame, solver) = (small + analysis_bytes(plan), solver_bytes(plan, &plan.reconstructed()) + own);
                // Frames come and go in pieces of all sizes: measured at 540p and 1080p, x2, the heap holds 2/5 more.
                (frame, solver + 2 * (held * frame + solver) / 5)
            }
            Method::None | Method::Interpolate(_) => (small, small),
        };
        let waiting = (capacities.decoded + 1) as u64 * small
            + (capacities.registering - 1) as u64 * per_frame
            + (capacities.enlarged + 1) as u64 * large;
        let holder = if plan.holds() { solver_bytes(plan, &reconstructed_layout(&plan.from, &plan.to)) } else { 0 };
        // Reference frames and look-ahead of both codecs, and what the program takes by itself. Measured with libx264 once
        // its look-ahead is full (50 frames): as much as 130 pictures, three for each frame that it holds.
        Self {
            window: held * per_frame,
            solver,
            network: network + holder,
            channels: waiting,
            codecs: 130 * large / 4 + 16 * small / 4 + (48 << 20),
        }
    }

    /// All parts together.
    pub fn total(&self) -> u64 {
        self.window + self.solver + self.network + self.channels + self.codecs
    }
}

/// Bytes that comparing and registering a frame leave with it while it is in the window.
fn analysis_bytes(plan: &EnlargePlan) -> u64 {
    let pixels = (plan.from.width * plan.from.height) as u64;
    // Blurred luma and its variance; where motion is measured the pyramid (16/3), fields both ways, spectra of 4 MB at most.
    let motion = if plan.window > 0 { 6 * pixels + (2 * pixels).min(4 << 20) } else { 0 };
    8 * pixels + motion
}

/// Bytes of a reconstruction: for each geometry of planes three large ones in `f32` and the jobs of all frames, and the
/// comparison with each neighbour.
fn solver_bytes(plan: &EnlargePlan, large: &PictureLayout) -> u64 {
    let (from, frames) = (&plan.from, 2 * plan.window as u64 + 1);
    let samples = |layout: &PictureLayout, plane: usize| {
        let (rows, columns) = layout.plane_size(plane);
        rows as u64 * columns as u64
    };
    // R, G and B share a geometry, and so do Cb and Cr.
    let geometries = if from.family == ColorFamily::YCbCr { 2 } else { 1 };
    // 64 bytes for sixteen samples, a third more as motion splits jobs and lists grow in steps; and 4 bytes for each sample of a
    // neighbour in the light of the reference.
    let jobs = |plane: usize| frames * samples(from, plane) * 64 / 16 * 4 / 3;
    let lit = |plane: usize| 4 * (frames - 1) * samples(from, plane);
    let of = |plane: usize| 12 * samples(large, plane) * 17 / 16 + jobs(plane) + lit(plane);
    let between = if *large == plan.middle { 0 } else { frame_bytes(large) };
    // What a draft foretells and what is seen, and the samples it was read in.
    let draft = if plan.drafts { 16 * frames * samples(from, 0) } else { 0 };
    (0..geometries).map(of).sum::<u64>() + (8 * frames + 4) * samples(from, 0) + between + draft
}

/// Most bytes of one run of a network, unless the job allows less: a fixed number, so that pictures are divided the same way on
/// every machine.
pub(super) const NETWORK_MEMORY: u64 = 1 << 30;

/// What `limit` leaves for a network.
pub(super) fn network_memory(plan: &EnlargePlan, limit: Option<u64>) -> Option<u64> {
    limit.map(|limit| limit.saturating_sub(MemoryPlan::with(plan, 0, TIGHT).total()))
}

/// Channel lengths within `limit` bytes, `network` of which its network takes.
///
/// # Errors
/// [`Kind::Resource`] if even the shortest channels need more, with both numbers.
pub(super) fn capacities(plan: &EnlargePlan, network: u64, limit: Option<u64>) -> Result<Capacities> {
    let roomy = Capacities::roomy(plan);
    let Some(limit) = limit else { return Ok(roomy) };
    for capacities in [roomy, TIGHT] {
        if MemoryPlan::with(plan, network, capacities).total() <= limit {
            return Ok(capacities);
        }
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let least = MemoryPlan::with(plan, network, TIGHT).total();
    Err(Error::new(
        Kind::Resource,
        format!("this job needs {} MiB of memory, --max-memory allows {} MiB", mib(least), mib(limit)),
    )
    .hint(match plan.refine {
        None => "a smaller --window, --scale or --preset needs less",
        Some(_) => "a smaller --window, --scale, --fuse-scale or --preset needs less",
    }))
}
