//! Which cores the threads of a loop run on.
//!
//! A system moves threads between cores, but not those that have just run: for some hundredths of a second two threads of a
//! pool can share a core while another one idles, and each loop waits for its slowest part. A thread that finds another one on its
//! own core moves to one that none of them is on, even if that one rests: it will wake where it ran last. Each stays free to be moved
//! again: a thread that may only run where another program runs is slower than one that shares.
//!
//! What this is not for: deciding how many threads there are, or which work is whose.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::iter::IndexedParallelIterator;

/// The core of each thread of a pool, one more than its number, and [`RESTS`] if it is not at work; 0 for those that never were.
/// Threads of several pools that have the same number there share a place: at worst one of them moves in vain. The first place is
/// for a thread in no pool.
static PLACES: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];
/// How many of them are anyone's, from the first one.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// Added to the core of a thread that will wake there.
const RESTS: usize = 1 << 20;

thread_local! {
    /// What this thread has of them while it lives.
    static SEAT: Seat = const { Seat { at_work: Cell::new(false), place: Cell::new(None) } };
}

struct Seat {
    /// What its pool's other threads see may be another pool's.
    at_work: Cell<bool>,
    place: Cell<Option<&'static AtomicUsize>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(place) = self.place.get() {
            place.store(0, Ordering::Relaxed);
        }
    }
}

/// The cores of threads, without that of `own`, as [`PLACES`] has them.
fn others(own: Option<&AtomicUsize>) -> impl Iterator<Item = usize> {
    let places = &PLACES[..TAKEN.load(Ordering::Relaxed).min(PLACES.len())];
    let others = places.iter().filter(move |other| own.is_none_or(|own| !std::ptr::eq(*other, own)));
    others.map(|core| core.load(Ordering::Relaxed))
}

/// Those of them that are at work.
fn at_work(core: &usize) -> bool {
    core & RESTS == 0
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
    /// Begins it, on another core if another thread is on this one.
    pub(crate) fn begin() -> Self {
        let work = Self::of(rayon::current_thread_index().map(|thread| 1 + thread));
        work.goes_on();
        work
    }

    /// [`Self::begin`] for a thread that works beside a pool: its threads do not move to where it is.
    pub(crate) fn beside_a_pool() -> Self {
        let work = Self::of(Some(0));
        work.goes_on();
        work
    }

    /// Without a look at the core.
    fn of(place: Option<usize>) -> Self {
        let own = place.and_then(|place| PLACES.get(place));
        let nested = SEAT.with(|seat| {
            if seat.place.replace(own).is_none() {
                TAKEN.fetch_max(place.map_or(0, |place| 1 + place), Ordering::Relaxed);
            }
            seat.at_work.replace(true)
        });
        Self { own, nested }
    }

    /// Moves to another core if another thread has come to this one; to be called now and then where the work is long.
    pub(crate) fn goes_on(&self) {
        let (Some(own), core @ 1..) = (self.own, current()) else { return };
        // Others read it before each of their pieces: it is written only if it changes.
        if own.load(Ordering::Relaxed) != core {
            own.store(core, Ordering::Relaxed);
        }
        let others = || others(Some(own));
        if others().any(|other| other & !RESTS == core) {
            // On its way it is nowhere: who goes on here must not follow it.
            own.store(0, Ordering::Relaxed);
            // Best where nobody is; where all cores are somebody's, one whose thread rests will do for two at work.
            let left = leave(core, others());
            if !left && others().any(|other| other == core) {
                leave(core, others().filter(at_work));
            }
            own.store(current(), Ordering::Relaxed);
        }
    }
}

/// Rows between two looks of [`Pieces::rows_on_free_cores`].
const ROWS: usize = 16;

/// Pieces of work that the threads of a pool share.
pub(crate) trait Pieces: IndexedParallelIterator {
    /// The same pieces; before each one its thread looks out for a core, see [`Work::goes_on`].
    fn on_free_cores(self) -> impl IndexedParallelIterator<Item = Self::Item> {
        self.map_init(Work::begin, |here, piece| {
            here.goes_on();
            piece
        })
    }

    /// [`Self::on_free_cores`] for pieces that take a microsecond each: a thread looks out now and then.
    fn rows_on_free_cores(self) -> impl IndexedParallelIterator<Item = Self::Item> {
        let begin = || (Work::begin(), 0);
        self.map_init(begin, |(here, done), row| {
            *done += 1;
            if *done % ROWS == 0 {
                here.goes_on();
            }
            row
        })
    }
}

impl<I: IndexedParallelIterator> Pieces for I {}

/// `work` for a thread that is started beside this one: on another core, if there is a free one.
pub(crate) fn apart<A>(work: impl FnOnce() -> A) -> impl FnOnce() -> A {
    let core = current();
    move || {
        if core > 0 && current() == core {
            leave(core, others(None).filter(at_work));
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
        SEAT.with(|seat| seat.at_work.set(false));
        if let Some(own) = self.own {
            // Which may be another one than when it looked last.
            own.store(current() | RESTS, Ordering::Relaxed);
        }
    }
}

/// The core that this thread runs on, one more than its number; 0 where that is not known.
#[cfg(target_os = "linux")]
fn current() -> usize {
    rustix::thread::sched_getcpu() + 1
}

/// Moves this thread to a core that it may use and that is none of these, if there is one; says whether.
#[cfg(target_os = "linux")]
fn leave(core: usize, others: impl Iterator<Item = usize>) -> bool {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return false };
    let mut free = allowed;
    for taken in others.chain([core]).map(|core| core & !RESTS).filter(|core| (1..=CpuSet::MAX_CPU).contains(core)) {
        free.unset(taken - 1);
    }
    // Nothing is lost where the system refuses: threads stay where they are.
    let left = free.count() > 0 && sched_setaffinity(None, &free).is_ok();
    if left {
        let _ = sched_setaffinity(None, &allowed);
    }
    left
}

#[cfg(not(target_os = "linux"))]
fn current() -> usize {
    0
}

#[cfg(not(target_os = "linux"))]
fn leave(_: usize, _: impl Iterator<Item = usize>) -> bool {
    false
}

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
        let last = PLACES.len() - 1;
        let there = move || PLACES[last].load(Ordering::Relaxed);
        let thread = std::thread::spawn(move || {
            let outer = Work::of(Some(last));
            outer.goes_on();
            drop(Work::of(Some(last)));
            assert!(there() > 0 && at_work(&there()), "a part has ended");
            drop(outer);
            assert!(there() > RESTS && !at_work(&there()), "all of it has");
        });
        thread.join().expect("as it should be");
        assert_eq!(there(), 0, "the thread has");
    }

    #[test]
    fn a_thread_rests_where_its_work_ends() {
        let allowed = sched_getaffinity(None).expect("where this thread may run");
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let place = PLACES.len() - 2;
        let go_to = |core: usize| {
            let mut only = CpuSet::new();
            only.set(core);
            sched_setaffinity(None, &only).expect("a core that this thread may use");
        };
        let thread = std::thread::spawn(move || {
            let work = Work::of(Some(place));
            for &core in &cores {
                go_to(core);
                work.goes_on();
                assert_eq!(PLACES[place].load(Ordering::Relaxed), 1 + core, "at work there");
            }
            let end = cores[0];
            go_to(end);
            drop(work);
            assert_eq!(PLACES[place].load(Ordering::Relaxed), (1 + end) | RESTS, "it will wake there");
        });
        thread.join().expect("as it should be");
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
