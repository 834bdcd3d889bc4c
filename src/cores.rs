//! Which cores the threads of a loop run on.
//!
//! A system moves threads between cores, but not those that have just run: for some hundredths of a second two threads of one
//! loop can share a core while another one idles, and each loop waits for its slowest part. Threads that find another one of
//! their loop on their own core move to one that none of them is on. They stay free to be moved again: a thread that may
//! only run where another program runs is slower than one that shares.
//!
//! What this is not for: deciding how many threads there are, or which work is whose.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the tasks of one loop are at work.
#[derive(Debug)]
pub(crate) struct Cores {
    /// The core of each task, one more than its number; 0 for tasks that are not at work.
    of: Vec<AtomicUsize>,
}

impl Cores {
    /// For a loop of so many tasks.
    pub(crate) fn new(tasks: usize) -> Self {
        Self { of: (0..tasks).map(|_| AtomicUsize::new(0)).collect() }
    }

    /// Task `task` is at work on this thread, which moves to another core if another task is on this one.
    pub(crate) fn at_work(&self, task: usize) {
        let Some(own) = self.of.get(task) else { return };
        let core = current();
        own.store(core, Ordering::Relaxed);
        let others = || self.of.iter().enumerate().filter(|(n, _)| *n != task).map(|(_, of)| of.load(Ordering::Relaxed));
        if core > 0 && others().any(|other| other == core) {
            leave(core, others());
            own.store(current(), Ordering::Relaxed);
        }
    }

    /// Task `task` is not at work any more.
    pub(crate) fn done(&self, task: usize) {
        if let Some(own) = self.of.get(task) {
            own.store(0, Ordering::Relaxed);
        }
    }
}

/// The core that this thread runs on, one more than its number; 0 where that is not known.
#[cfg(target_os = "linux")]
fn current() -> usize {
    rustix::thread::sched_getcpu() + 1
}

/// Moves this thread to a core that it may use and that is none of these, if there is one.
#[cfg(target_os = "linux")]
fn leave(core: usize, others: impl Iterator<Item = usize>) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let mut free = allowed;
    for taken in others.chain([core]).filter(|core| (1..=CpuSet::MAX_CPU).contains(core)) {
        free.unset(taken - 1);
    }
    // Nothing is lost where the system refuses: threads stay where they are.
    if free.count() > 0 && sched_setaffinity(None, &free).is_ok() {
        let _ = sched_setaffinity(None, &allowed);
    }
}

#[cfg(not(target_os = "linux"))]
fn current() -> usize {
    0
}

#[cfg(not(target_os = "linux"))]
fn leave(_: usize, _: impl Iterator<Item = usize>) {}
