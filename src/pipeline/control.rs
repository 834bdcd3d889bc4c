//! What a running job shows and how it is stopped: counters that anybody may read, and one flag.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::registration::FrameMotion;
use super::upscaler::Enlarged;

use crate::error::{Error, Kind, Stage};

/// Shared between a job, whoever shows its progress, and whoever may stop it.
#[derive(Debug, Default)]
pub struct Control {
    stop: Arc<Stop>,
    counts: [Counter; 6],
    expected: AtomicU64,
    /// What is told of each frame, if anybody asked.
    notes: Option<Mutex<Vec<FrameNote>>>,
}

/// Shared by all jobs that end together.
#[derive(Debug, Default)]
struct Stop {
    asked: AtomicBool,
    signal: AtomicI32,
}

/// What is known of a finished frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameNote {
    /// Its motion against the frame before; still where the method measures none.
    pub motion: FrameMotion,
    /// Share of the picture that comes from several frames, 0 to 1.
    pub multi_frame_share: f64,
}

#[derive(Debug, Default)]
struct Counter {
    frames: AtomicU64,
    busy_nanos: AtomicU64,
}

/// What one stage has done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageCount {
    /// Frames finished.
    pub frames: u64,
    /// Time spent working, without waiting for neighbours.
    pub busy: Duration,
}

impl Control {
    /// Counters of their own for a job that stops when this one does, and keeps a [`FrameNote`] of every frame: 64 bytes
    /// each.
    #[must_use]
    pub fn noting(&self) -> Self {
        Self { stop: Arc::clone(&self.stop), notes: Some(Mutex::default()), ..Self::default() }
    }

    /// Hands out the notes kept so far, in the order of the frames.
    pub fn take_notes(&self) -> Vec<FrameNote> {
        let notes = self.notes.as_ref().map(|n| n.lock().unwrap_or_else(PoisonError::into_inner));
        notes.map(|mut n| std::mem::take(&mut *n)).unwrap_or_default()
    }

    pub(super) fn note(&self, enlarged: &Enlarged) {
        if let Some(notes) = &self.notes {
            let note = FrameNote { motion: enlarged.motion, multi_frame_share: enlarged.multi_frame_share };
            notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        }
    }

    /// Asks the job to stop; `signal` is the number of the signal that asked, 0 if it was no signal.
    pub fn stop(&self, signal: i32) {
        self.stop.signal.store(signal, Ordering::Relaxed);
        self.stop.asked.store(true, Ordering::Release);
    }

    /// Whether the job has been asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.stop.asked.load(Ordering::Acquire)
    }

    /// Frames that will probably come, 0 if unknown.
    pub fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }

    /// What `stage` has done so far.
    pub fn count(&self, stage: Stage) -> StageCount {
        let counter = &self.counts[stage as usize];
        StageCount {
            frames: counter.frames.load(Ordering::Relaxed),
            busy: Duration::from_nanos(counter.busy_nanos.load(Ordering::Relaxed)),
        }
    }

    /// Says how many frames will probably come.
    pub fn expect(&self, frames: u64) {
        self.expected.store(frames, Ordering::Relaxed);
    }

    /// Begins anew: `frames` will come, none is done.
    pub fn restart(&self, frames: u64) {
        for counter in &self.counts {
            counter.frames.store(0, Ordering::Relaxed);
            counter.busy_nanos.store(0, Ordering::Relaxed);
        }
        self.expect(frames);
    }

    /// Runs one step of a stage, adding its time and `frames` finished frames.
    pub fn timed<T>(&self, stage: Stage, frames: u64, step: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = step();
        let counter = &self.counts[stage as usize];
        counter.busy_nanos.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        counter.frames.fetch_add(frames, Ordering::Relaxed);
        result
    }

    /// The error of a job that was stopped from outside.
    pub fn interruption(&self) -> Error {
        let kind = match self.stop.signal.load(Ordering::Relaxed) {
            0 | libc::SIGINT => Kind::Interrupted,
            _ => Kind::Terminated,
        };
        Error::new(kind, "stopped on request; nothing was written")
    }
}
