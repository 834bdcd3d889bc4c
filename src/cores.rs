//! Which cores the threads of a loop run on.
//!
//! A system moves threads between cores, but not those that have just run: for some hundredths of a second two threads of a
//! pool can share a core while another one idles, and each loop waits for its slowest part. A thread that finds another one at
//! work on its own core moves to one that none of them is on. It stays free to be moved again: a thread that may only run where
//! another program runs is slower than one that shares.
//!
//! What this is not for: deciding how many threads there are, or which work is whose.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The core of each thread of a pool that is at work, one more than its number; 0 for those that are not. Threads of several pools
/// that have the same number there share a place: at worst one of them moves in vain.
static AT_WORK: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];

thread_local! {
    /// Whether this thread is at work: what its pool's other threads see may be another pool's.
    static WORKING: Cell<bool> = const { Cell::new(false) };
}

/// The cores of all threads that are at work.
fn taken() -> impl Iterator<Item = usize> {
    AT_WORK.iter().map(|core| core.load(Ordering::Relaxed))
}

/// A piece of work from here to where this is dropped, or a part of one. While its thread waits for others it still has its core:
/// at worst one of them moves in vain.
#[derive(Debug)]
pub(crate) struct Work {
    own: Option<&'static AtomicUsize>,
    /// Whether it is part of another one.
    nested: bool,
}

impl Work {
    /// Begins it, on another core if another thread is at work on this one.
    pub(crate) fn begin() -> Self {
        let work = Self::of(rayon::current_thread_index().and_then(|thread| AT_WORK.get(thread)));
        work.goes_on();
        work
    }

    fn of(own: Option<&'static AtomicUsize>) -> Self {
        Self { own, nested: WORKING.replace(true) }
    }

    /// Moves to another core if another thread has come to this one; to be called now and then where the work is long.
    pub(crate) fn goes_on(&self) {
        let (Some(own), core @ 1..) = (self.own, current()) else { return };
        own.store(core, Ordering::Relaxed);
        let others =
            || AT_WORK.iter().filter(|other| !std::ptr::eq(*other, own)).map(|other| other.load(Ordering::Relaxed));
        if others().any(|other| other == core) {
            leave(core, others());
            own.store(current(), Ordering::Relaxed);
        }
    }
}

/// `work` for a thread that is started beside this one: on another core, if there is a free one.
pub(crate) fn apart<A>(work: impl FnOnce() -> A) -> impl FnOnce() -> A {
    let core = current();
    move || {
        if core > 0 && current() == core {
            leave(core, taken());
        }
        work()
    }
}

/// Does `other` on a thread of its own while it does `here`, on another core if there is a free one; returns what both give.
pub(crate) fn at_once<A: Send, B>(other: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let other = scope.spawn(apart(other));
        let here = here();
        (other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), here)
    })
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.nested {
            return;
        }
        WORKING.set(false);
        if let Some(own) = self.own {
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    #[test]
    fn a_thread_leaves_its_core_and_stays_free_to_come_back() {
        let allowed = sched_getaffinity(None).expect("where this thread may run");
        // The system may move the thread back at once, though hardly every time.
        let moved = (0..100).any(|_| {
            let core = current();
            leave(core, std::iter::empty());
            core != current()
        });
        assert_eq!(moved, allowed.count() > 1, "there are {} cores", allowed.count());
        assert!(sched_getaffinity(None).is_ok_and(|now| now == allowed), "it may still run everywhere");
        let everywhere = 1..=CpuSet::MAX_CPU;
        leave(current(), everywhere);
        assert!(sched_getaffinity(None).is_ok_and(|now| now == allowed), "there is no free core");
    }

    #[test]
    fn a_thread_is_at_work_until_the_outer_piece_of_work_ends() {
        // The last place: other tests' pools use the first ones.
        let own = &AT_WORK[63];
        let outer = Work::of(Some(own));
        outer.goes_on();
        drop(Work::of(Some(own)));
        assert_ne!(own.load(Ordering::Relaxed), 0, "a part has ended");
        drop(outer);
        assert_eq!(own.load(Ordering::Relaxed), 0, "all of it has");
    }

    #[test]
    fn what_is_done_at_once_has_threads_of_its_own() {
        let this = std::thread::current().id();
        let meeting = std::sync::Barrier::new(2);
        let meet = || {
            meeting.wait();
            std::thread::current().id()
        };
        let (other, here) = at_once(meet, meet);
        assert!(here == this && other != this, "both at once");
        // As a panic does, but without words.
        let panic = std::panic::catch_unwind(|| at_once(|| std::panic::resume_unwind(Box::new("beside")), || ()));
        assert!(panic.is_err(), "a panic is not lost");
    }

    #[test]
    fn threads_of_a_pool_that_work_on_one_core_part() {
        let allowed = sched_getaffinity(None).expect("where this thread may run");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
        let together = std::sync::Barrier::new(2);
        let meet = |_: rayon::BroadcastContext<'_>| {
            let mut first = allowed;
            let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
            cores.skip(1).for_each(|core| first.unset(core));
            let meeting = |_| {
                together.wait();
                let moved = sched_setaffinity(None, &first).and_then(|()| sched_setaffinity(None, &allowed));
                let work = Work::begin();
                together.wait();
                work.goes_on();
                let core = current();
                together.wait();
                moved.is_ok().then_some(core)
            };
            (0..50).map(meeting).collect::<Vec<_>>()
        };
        // Other tests of this process want cores, too: in one of several rounds the two threads have them.
        let parted = || {
            let met = pool.broadcast(meet);
            let parted = met[0].iter().zip(&met[1]).filter(|(a, b)| a.is_some() && a != b).count();
            2 * parted > met[0].len()
        };
        assert!((0..20).any(|_| parted()) || allowed.count() == 1, "there are {} cores", allowed.count());
    }
}
