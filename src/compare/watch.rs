//! What a running comparison shows and how it is stopped: which step it is at, and how far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Result, Stage};
use crate::pipeline::Control;

/// Shared between a comparison, whoever shows its progress, and whoever may stop it.
#[derive(Debug, Default)]
pub struct Watch {
    control: Arc<Control>,
    at: Mutex<Step>,
    done: AtomicU64,
}

#[derive(Debug, Default)]
struct Step {
    name: String,
    part: String,
    number: usize,
    steps: usize,
    expected: u64,
    /// The enlargement that is running, which counts its own frames.
    job: Option<Arc<Control>>,
}

/// Where a comparison is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moment {
    /// The test and the method, in words; empty before the first.
    pub name: String,
    /// What is being done for it.
    pub part: String,
    /// Number of the step from 1, and how many there are; 0 before they are known.
    pub step: (usize, usize),
    /// Frames of this step done, and expected (0 if unknown).
    pub frames: (u64, u64),
}

impl Watch {
    /// The control that stops everything the comparison does.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Where the comparison is now.
    pub fn moment(&self) -> Moment {
        let at = self.lock();
        let done = at.job.as_ref().map_or(self.done.load(Ordering::Relaxed), |job| job.count(Stage::Encode).frames);
        Moment {
            name: at.name.clone(),
            part: at.part.clone(),
            step: (at.number, at.steps),
            frames: (done, at.expected),
        }
    }

    /// How many steps there will be.
    pub(super) fn expect_steps(&self, steps: usize) {
        self.lock().steps = steps;
    }

    /// Begins the next of the counted steps.
    pub(super) fn next(&self, name: String) {
        let mut at = self.lock();
        at.number += 1;
        at.name = name;
    }

    /// Leaves out steps that were expected.
    pub(super) fn skip_steps(&self, steps: usize) {
        self.lock().number += steps;
    }

    /// Begins a part of a step, of `frames` frames; what it is done with counts, if that is not by [`Self::frame`].
    pub(super) fn part(&self, name: String, frames: u64, job: Option<Arc<Control>>) {
        let mut at = self.lock();
        self.done.store(0, Ordering::Relaxed);
        (at.part, at.expected, at.job) = (name, frames, job);
    }

    /// Counts a frame.
    ///
    /// # Errors
    /// That of a comparison that was asked to stop.
    pub(super) fn frame(&self) -> Result<()> {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.check()
    }

    /// # Errors
    /// That of a comparison that was asked to stop.
    pub(super) fn check(&self) -> Result<()> {
        if self.control.is_stopped() { Err(self.control.interruption()) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Step> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
