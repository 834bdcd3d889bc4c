//! How much memory a job takes, and how long its channels may be within a limit.

use crate::error::{Error, Kind, Result};
use crate::frame::PictureLayout;

use super::method::Method;
use super::options::EnlargePlan;

/// Bytes a job will hold, by part. Nothing in it grows with the length of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Frames of the window, their motion data included.
    pub window: u64,
    /// State of the reconstruction or interpolation.
    pub solver: u64,
    /// Frames waiting in channels, at the planned lengths.
    pub channels: u64,
    /// Decoder, encoder and container, a rough share.
    pub codecs: u64,
}

/// Lengths of the channels, in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capacities {
    pub(super) decoded: usize,
    pub(super) registered: usize,
    pub(super) enlarged: usize,
}

/// Bytes that may wait in one channel: a few frames of small video hide the unevenness of decoder and encoder (two
/// enlarged 1080p frames are 24 MB); frames of 4K (50 MB) are handed over directly.
const CHANNEL_BYTES: u64 = 32 << 20;

/// Stages in lockstep: nothing waits, each frame is handed over.
const TIGHT: Capacities = Capacities { decoded: 0, registered: 0, enlarged: 0 };

impl Capacities {
    /// Comfortable lengths for the sizes of `plan`.
    fn roomy(plan: &EnlargePlan) -> Self {
        let frames = |layout: &PictureLayout| (CHANNEL_BYTES / frame_bytes(layout).max(1)).min(2) as usize;
        Self { decoded: frames(&plan.from), registered: frames(&plan.from).min(1), enlarged: frames(&plan.to) }
    }
}

/// Bytes of one frame as planes of `f32`.
fn frame_bytes(layout: &PictureLayout) -> u64 {
    (0..layout.plane_count())
        .map(|i| layout.plane_size(i))
        .map(|(rows, columns)| 4 * rows as u64 * columns as u64)
        .sum()
}

impl MemoryPlan {
    /// The memory of `plan` with comfortable channels.
    pub fn of(plan: &EnlargePlan) -> Self {
        Self::with(plan, Capacities::roomy(plan))
    }

    fn with(plan: &EnlargePlan, capacities: Capacities) -> Self {
        let (small, large) = (frame_bytes(&plan.from), frame_bytes(&plan.to));
        let luma = 4 * (plan.from.width * plan.from.height) as u64;
        // Motion data of a frame: prefiltered luma, a spectrum and reduced copies, about five planes of luma.
        let held = 2 * plan.window as u64 + 1;
        let (per_frame, solver) = match plan.method {
            Method::Ibp => (small + 5 * luma, 6 * large + held * small * 3),
            Method::None | Method::Interpolate(_) => (small, small),
        };
        let waiting = (capacities.decoded + 1) as u64 * small
            + capacities.registered as u64 * per_frame
            + (capacities.enlarged + 1) as u64 * large;
        // Reference frames and look-ahead of both codecs: measured 20 to 40 frames of 8-bit 4:2:0 with libx264.
        Self {
            window: held * per_frame,
            solver,
            channels: waiting,
            codecs: 40 * large / 4 + 8 * small / 4 + (32 << 20),
        }
    }

    /// All parts together.
    pub fn total(&self) -> u64 {
        self.window + self.solver + self.channels + self.codecs
    }
}

/// Channel lengths within `limit` bytes.
///
/// # Errors
/// [`Kind::Resource`] if even the shortest channels need more, with both numbers.
pub(super) fn capacities(plan: &EnlargePlan, limit: Option<u64>) -> Result<Capacities> {
    let roomy = Capacities::roomy(plan);
    let Some(limit) = limit else { return Ok(roomy) };
    for capacities in [roomy, TIGHT] {
        if MemoryPlan::with(plan, capacities).total() <= limit {
            return Ok(capacities);
        }
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let least = MemoryPlan::with(plan, TIGHT).total();
    Err(Error::new(
        Kind::Resource,
        format!("this job needs {} MiB of memory, --max-memory allows {} MiB", mib(least), mib(limit)),
    )
    .hint("a smaller --window, --scale or --preset needs less"))
}
