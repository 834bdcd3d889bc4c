//! Running a plan: memory for its pictures, and workers that take one unit of work after the other.
//!
//! Nobody waits at barriers: a unit is taken as soon as the few groups of rows that it reads are complete, and those that it
//! overwrites have been read. A worker takes units of its own lane, others only when it would wait. One worker alone can do
//! everything; one that comes late finds nothing left.
//! Counters are released when rows are complete and acquired before they are read, so what was written is seen.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use ndarray::{ArrayView3, ArrayViewMut3};

use super::memory::{Arena, NoMemory};
use super::plan::{Laid, Plan, UnitId, padded};
use super::product::BLOCK;
use super::program::{Program, StepId};
use super::rows::{self, Planar, Rows};
use super::unit::{self, Plane, ROWS, Unit};
use super::weights::{Layer, Way};

/// Looks at its lane before a worker turns to the lanes of others.
const SPINS: u32 = 200;

/// Memory of one run at a time.
pub(crate) struct Memory {
    /// The program, size and number of workers that it is laid out for.
    owner: Option<(u64, (usize, usize), usize)>,
    pictures: Arena,
    /// For pixels and sums of all workers, and the numbers of each.
    scratch: Arena,
    /// See above.
    each: usize,
    /// The blocks of every picture.
    planes: Vec<Vec<Plane>>,
    /// What every step convolves, block by block.
    sources: Vec<Vec<Plane>>,
    /// Units done of every group of rows.
    done: Vec<AtomicU32>,
    /// Units done of every step.
    total: Vec<AtomicU32>,
}

// SAFETY: the planes point into `pictures`, which goes along and does not move.
unsafe impl Send for Memory {}
// SAFETY: only a `Job`, which has the memory for itself, uses the planes.
unsafe impl Sync for Memory {}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Memory {
    /// For a plan of `program` and so many workers.
    pub(crate) fn new(program: &Program, plan: &Plan, workers: usize) -> Result<Self, NoMemory> {
        let mut memory = Self {
            owner: None,
            pictures: Arena::huge(plan.floats)?,
            scratch: Arena::huge(workers * plan.scratch_of_worker())?,
            each: plan.scratch_of_worker(),
            planes: Vec::new(),
            sources: Vec::new(),
            done: Vec::new(),
            total: Vec::new(),
        };
        memory.fit(program, plan, workers)?;
        Ok(memory)
    }

    /// Makes it fit another plan, or another number of workers; what is large enough is kept.
    pub(crate) fn fit(&mut self, program: &Program, plan: &Plan, workers: usize) -> Result<(), NoMemory> {
        assert_eq!(program.id, plan.program, "the plan of this program");
        if self.pictures.floats() < plan.floats {
            self.owner = None;
            self.pictures = Arena::new(0);
            self.pictures = Arena::huge(plan.floats)?;
        }
        self.each = plan.scratch_of_worker();
        if self.scratch.floats() < workers * self.each {
            self.scratch = Arena::new(0);
            self.scratch = Arena::huge(workers * self.each)?;
        }
        if self.owner == Some(plan.owner()) {
            return Ok(());
        }
        self.planes = (0..plan.steps.len()).map(|step| planes(program, plan, step, &self.pictures)).collect();
        let sources = program.steps.iter().map(|step| {
            let taken = &step.takes[..step.sources()];
            taken.iter().flat_map(|&taken| self.planes[taken].iter().copied()).collect()
        });
        self.sources = sources.collect();
        self.clear(plan);
        let counters = |n: usize| (0..n).map(|_| AtomicU32::new(0)).collect();
        (self.done, self.total) = (counters(plan.counters), counters(plan.steps.len()));
        self.owner = Some(plan.owner());
        Ok(())
    }

    /// Zeros where all pictures have zeros.
    fn clear(&mut self, plan: &Plan) {
        let width = plan.steps.iter().map(|step| step.columns).max().unwrap_or(0);
        // SAFETY: the row of zeros lies before all pictures, and rows within their planes; nobody else has the memory.
        unsafe {
            self.pictures.pointer().write_bytes(0, padded(width) * BLOCK);
            for (planes, step) in self.planes.iter().zip(&plan.steps) {
                for (plane, y) in planes.iter().flat_map(|plane| (0..plane.stored).map(move |y| (plane, y))) {
                    plane.line(y).write_bytes(0, BLOCK);
                    let after = (padded(step.columns) - 1 - step.columns) * BLOCK;
                    plane.pixel(y, step.columns).write_bytes(0, after);
                }
            }
        }
    }

    /// Bytes that it has taken, but for what is small.
    pub(crate) fn bytes(&self) -> u64 {
        (self.pictures.bytes() + self.scratch.bytes()) as u64
    }
}

fn planes(program: &Program, plan: &Plan, step: StepId, pictures: &Arena) -> Vec<Plane> {
    let Some(place) = plan.steps[step].place else { return Vec::new() };
    let blocks = 0..program.steps[step].blocks();
    let start = |block: usize| {
        let at = place.start + block * place.plane;
        assert!(at + place.plane <= pictures.floats(), "a picture lies within the memory");
        // SAFETY: within the memory, as was just seen.
        unsafe { pictures.pointer().add(at) }
    };
    blocks.map(|block| Plane { start: start(block), row: place.row, stored: place.stored }).collect()
}

/// One run: workers call [`Job::work`].
pub(crate) struct Job<'a> {
    program: &'a Program,
    plan: &'a Plan,
    memory: &'a Memory,
    input: Planar<*const f32>,
    output: Planar<*mut f32>,
    /// The next unit of each lane that nobody has taken.
    next: Vec<AtomicUsize>,
    workers: AtomicUsize,
    failed: AtomicBool,
    /// The views that `input` and `output` point into.
    views: std::marker::PhantomData<(ArrayView3<'a, f32>, ArrayViewMut3<'a, f32>)>,
}

// SAFETY: workers take units that write disjoint parts of the memory and the output, and wait for what they read.
unsafe impl Sync for Job<'_> {}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<'a> Job<'a> {
    /// A run of `plan`, made for `program` and with memory made for both. `None` if the columns of a view are not next to each
    /// other.
    ///
    /// # Panics
    /// If a view has not the size of the plan.
    pub(crate) fn new(
        program: &'a Program,
        plan: &'a Plan,
        memory: &'a mut Memory,
        input: ArrayView3<'a, f32>,
        mut output: ArrayViewMut3<'a, f32>,
    ) -> Option<Self> {
        let channels = program.steps.last().map_or(0, |step| step.channels);
        assert_eq!(input.dim(), (program.channels, plan.input.0, plan.input.1), "the input");
        assert_eq!(output.dim(), (channels, plan.output.0, plan.output.1), "the result");
        assert_eq!(program.id, plan.program, "the plan of this program");
        assert_eq!(memory.owner, Some(plan.owner()), "memory of this plan");
        let (from, to) = (input.strides(), output.strides());
        let together = |columns: usize, stride: isize| columns == 1 || stride == 1;
        if !together(plan.input.1, from[2]) || !together(plan.output.1, to[2]) {
            return None;
        }
        memory.done.iter_mut().chain(&mut memory.total).for_each(|counter| *counter.get_mut() = 0);
        let (from, to) = ((from[0], from[1]), (to[0], to[1]));
        Some(Self {
            program,
            plan,
            memory,
            input: Planar { start: input.as_ptr(), strides: from },
            output: Planar { start: output.as_mut_ptr(), strides: to },
            next: plan.lanes.iter().map(|_| AtomicUsize::new(0)).collect(),
            workers: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            views: std::marker::PhantomData,
        })
    }

    /// Takes units until none is left. Any number of threads may call it at once; those for which there is no memory return.
    pub(crate) fn work(&self) {
        let number = self.workers.fetch_add(1, Ordering::Relaxed);
        let Some(scratch) = self.scratch(number) else { return };
        let guard = Guard(&self.failed);
        let lanes = self.next.len();
        let own = (number * lanes / self.plan.workers.max(1)).min(lanes - 1);
        while let Some(unit) = self.next_unit(own) {
            // SAFETY: all that the unit reads is complete, and what it overwrites was read; the lanes have every unit once,
            // units of a group of rows write different columns, and scratch memory is this worker's own.
            unsafe { self.take(unit, scratch) };
            let step = unit.step as usize;
            let group = self.plan.steps[step].first + unit.group as usize;
            self.memory.done[group].fetch_add(1, Ordering::Release);
            self.memory.total[step].fetch_add(1, Ordering::Release);
        }
        std::mem::forget(guard);
    }

    /// Waits for a unit that is ready; `None` if all are taken, or a worker has failed.
    fn next_unit(&self, own: usize) -> Option<UnitId> {
        let others = (0..self.next.len()).filter(|&lane| lane != own);
        let mut spins = 0;
        while !self.failed.load(Ordering::Relaxed) {
            if let Some(unit) = self.head(own) {
                return Some(unit);
            }
            if spins < SPINS && !self.is_empty(own) {
                spins += 1;
                std::hint::spin_loop();
                continue;
            }
            if let Some(unit) = others.clone().find_map(|lane| self.head(lane)) {
                return Some(unit);
            }
            if (0..self.next.len()).all(|lane| self.is_empty(lane)) {
                return None;
            }
            std::thread::yield_now();
        }
        None
    }

    /// Takes the first unit of a lane, if it is ready.
    fn head(&self, lane: usize) -> Option<UnitId> {
        let next = self.next[lane].load(Ordering::Relaxed);
        let unit = *self.plan.lanes[lane].get(next)?;
        let taken = || self.next[lane].compare_exchange(next, next + 1, Ordering::Relaxed, Ordering::Relaxed);
        (self.is_ready(unit) && taken().is_ok()).then_some(unit)
    }

    /// Whether all units of a lane are taken.
    fn is_empty(&self, lane: usize) -> bool {
        self.next[lane].load(Ordering::Relaxed) >= self.plan.lanes[lane].len()
    }

    /// Scratch memory of a worker; `None` if there are more workers than it was made for.
    fn scratch(&self, worker: usize) -> Option<*mut f32> {
        let Memory { scratch, each, .. } = self.memory;
        // SAFETY: the part of this worker ends within the memory.
        ((worker + 1) * each <= scratch.floats()).then(|| unsafe { scratch.pointer().add(worker * each) })
    }

    /// Whether all was done.
    pub(crate) fn is_complete(&self) -> bool {
        let steps = self.plan.steps.iter().zip(&self.memory.total);
        steps.clone().all(|(step, total)| total.load(Ordering::Acquire) as usize == step.groups * step.across)
    }

    /// Whether all that a unit reads is complete, and all that it overwrites was read. Once it is, it stays so.
    fn is_ready(&self, unit: UnitId) -> bool {
        let group = unit.group as usize;
        let step = &self.plan.steps[unit.step as usize];
        let over = |&step: &StepId| {
            let Laid { groups, across, .. } = self.plan.steps[step];
            self.memory.total[step].load(Ordering::Acquire) as usize == groups * across
        };
        let read = step.needs.iter().all(|&(taken, reading)| {
            let (first, last) = reading.groups(group, self.plan.steps[taken].groups);
            (first..=last).all(|group| self.is_done(taken, group))
        });
        read && step.after.iter().all(over) && self.is_free(step, group)
    }

    /// Whether the rows that group `group` is written over, of a ring or of an earlier picture, have been read.
    fn is_free(&self, step: &Laid, group: usize) -> bool {
        let kept = step.place.map_or(usize::MAX, |place| place.stored / ROWS);
        let is_read = |old: usize, &(reader, reach): &(StepId, usize)| {
            let first = (old * ROWS).saturating_sub(reach) / ROWS;
            let last = ((old * ROWS + ROWS - 1 + reach) / ROWS).min(self.plan.steps[reader].groups - 1);
            (first..=last).all(|group| self.is_done(reader, group))
        };
        let again = group.checked_sub(kept).is_none_or(|old| step.ring.iter().all(|reader| is_read(old, reader)));
        again && step.over.iter().all(|reader| is_read(group, reader))
    }

    fn is_done(&self, step: StepId, group: usize) -> bool {
        let laid = &self.plan.steps[step];
        self.memory.done[laid.first + group].load(Ordering::Acquire) as usize == laid.across
    }

    /// Runs a unit.
    ///
    /// # Safety
    /// All that it reads is complete, and nobody else uses what it writes or the scratch memory.
    unsafe fn take(&self, id: UnitId, scratch: *mut f32) {
        let step = id.step as usize;
        match self.program.steps[step].layer() {
            // SAFETY: what the caller says.
            Some(layer) => unsafe { self.convolve(id, layer, scratch) },
            None => {
                let (step, laid) = (&self.program.steps[step], &self.plan.steps[step]);
                let size = |&taken: &StepId| (self.plan.steps[taken].rows, self.plan.steps[taken].columns);
                let planes = |taken: &StepId| (self.memory.planes[*taken].as_slice(), size(taken).0, size(taken).1);
                let taken: Vec<_> = step.takes.iter().map(planes).collect();
                let channels: Vec<_> = step.takes.iter().map(|&taken| self.program.channels(taken)).collect();
                let rows = Rows {
                    taken: &taken,
                    channels: &channels,
                    targets: &self.memory.planes[id.step as usize],
                    rows: laid.rows,
                    columns: laid.columns,
                    y: id.group as usize * ROWS,
                    input: self.input,
                    output: self.output,
                };
                // SAFETY: what the caller says; sizes of input and output were compared in `new`.
                unsafe { rows::run(step, &rows) }
            }
        }
    }

    /// See [`Job::take`].
    unsafe fn convolve(&self, id: UnitId, layer: &Layer, scratch: *mut f32) {
        let (n, across) = (id.step as usize, id.across as usize);
        let (step, laid) = (&self.program.steps[n], &self.plan.steps[n]);
        let unit_of = match layer.way {
            Way::Tiles { .. } => 4,
            Way::Direct { .. } => 1,
        };
        let parts = laid.columns.div_ceil(unit_of);
        let border = |across: usize| (across * parts / laid.across * unit_of).min(laid.columns);
        let residual = |n: usize| step.takes[step.sources()..].get(n).map_or(&[][..], |&t| &self.memory.planes[t]);
        let unit = Unit {
            sources: &self.memory.sources[n],
            targets: &self.memory.planes[n],
            residuals: [residual(0), residual(1)],
            finish: &layer.finish,
            rows: laid.rows,
            columns: laid.columns,
            y: id.group as usize * ROWS,
            x: (border(across), border(across + 1)),
            zeros: self.memory.pictures.pointer(),
            pixels: scratch,
            pixels_strides: layer.from,
            // SAFETY: scratch memory has place for both, one after the other.
            sums: unsafe { scratch.add(self.plan.scratch.0) },
            sums_strides: layer.sums,
        };
        debug_assert!(unit.x.1 <= padded(laid.columns) && unit.x.1 * BLOCK <= self.plan.floats);
        // SAFETY: what the caller says; scratch memory is as large as the largest layer of the program needs.
        unsafe { unit::run(layer, &unit) }
    }
}

/// Says that a worker has failed when it is dropped.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::weights::{Activation, Kernel};
    use super::*;
    use crate::kernels::CpuLevel;
    use ndarray::Array3;

    /// Three layers of 3 x 3 and one of 5 x 5, with a residual.
    fn program(cpu: CpuLevel) -> Program {
        made_of(cpu, &[(20, 3, false), (20, 3, true), (20, 5, false), (20, 3, true)])
    }

    /// Layers of so many channels and so large a kernel, with a residual or none.
    fn made_of(cpu: CpuLevel, layers: &[(usize, usize, bool)]) -> Program {
        let mut program = Program::new(cpu, false, 3);
        let mut last = program.input();
        let weights = |n: usize| (0..n).map(|n| (n % 7) as f32 * 0.02 - 0.05).collect::<Vec<f32>>();
        for &(made, side, residual) in layers {
            let taken = program.channels(last);
            let (weights, bias) = (weights(made * taken * side * side), vec![0.5; made]);
            let factors = if residual { vec![0.5] } else { Vec::new() };
            let (sides, activation) = ((side, side), Activation::Slopes(vec![-1.0; made]));
            let (weights, bias) = (weights.as_slice(), bias.as_slice());
            let kernel = Kernel { sides, weights, bias, outputs: made, repeated: false, activation, factors };
            let layer = program.layer(&kernel, &[taken]);
            last = program.convolve(layer, &[last], if residual { &[1] } else { &[] });
        }
        program.output(last, 2, false);
        program
    }

    #[test]
    fn what_is_zero_around_pictures_stays_zero() {
        for cpu in CpuLevel::available() {
            let program = program(cpu);
            let mut memory = None;
            for (rows, columns) in [(41, 23), (9, 50), (50, 1), (3, 96)] {
                let plan = Plan::new(&program, rows, columns, 1);
                let memory = memory.get_or_insert_with(|| Memory::new(&program, &plan, 1).expect("memory"));
                memory.fit(&program, &plan, 1).expect("memory");
                let (input, mut out) = (Array3::ones((3, rows, columns)), Array3::zeros((5, 2 * rows, 2 * columns)));
                let job = Job::new(&program, &plan, memory, input.view(), out.view_mut()).expect("columns together");
                job.work();
                assert!(job.is_complete());
                for (planes, step) in memory.planes.iter().zip(&plan.steps) {
                    for (plane, y) in planes.iter().flat_map(|plane| (0..plane.stored).map(move |y| (plane, y))) {
                        // SAFETY: a row of a plane, and nobody is working.
                        let line = unsafe { std::slice::from_raw_parts(plane.line(y), plane.row) };
                        let inside = BLOCK..(step.columns + 1) * BLOCK;
                        let is_zero = |(n, value): (usize, &f32)| inside.contains(&n) || *value == 0.0;
                        assert!(line.iter().enumerate().all(is_zero), "{cpu:?}: row {y} of {columns} columns");
                    }
                }
                assert!(out.iter().all(|v| *v != 0.0));
            }
        }
    }

    #[test]
    fn lanes_are_done_by_whoever_comes() {
        let program = program(CpuLevel::detect());
        let wanted = run(&program, 1, 1);
        for (planned, come) in [(2, 1), (2, 2), (3, 5), (5, 2), (16, 3)] {
            assert_eq!(run(&program, planned, come), wanted, "planned for {planned} workers, {come} came");
        }
    }

    #[test]
    fn pictures_are_written_over_those_that_were_read() {
        let program = made_of(CpuLevel::detect(), &[(20, 3, false); 20]);
        let plan = Plan::new(&program, 37, 500, 1);
        let whole: Vec<_> =
            plan.steps.iter().filter(|step| step.ring.is_empty()).filter_map(|step| step.place).collect();
        assert!(whole.windows(2).any(|pair| pair[0] == pair[1]), "one after the other in the same place");
        assert!(plan.steps.iter().any(|step| !step.over.is_empty()), "row by row");
        let wanted = run(&program, 1, 1);
        for (planned, come) in [(2, 2), (1, 3), (4, 4)] {
            assert_eq!(run(&program, planned, come), wanted, "planned for {planned} workers, {come} came");
        }
    }

    /// The result of a picture of several units across, planned for so many workers and made by so many.
    fn run(program: &Program, planned: usize, come: usize) -> Array3<f32> {
        let (rows, columns) = (37, 500);
        let plan = Plan::new(program, rows, columns, planned);
        let units: usize = plan.steps.iter().map(|step| step.groups * step.across).sum();
        assert_eq!(plan.lanes.iter().map(Vec::len).sum::<usize>(), units, "every unit has a lane");
        assert!(plan.lanes.iter().all(|lane| !lane.is_empty()) && plan.lanes.len() <= planned, "{planned} workers");
        let mut memory = Memory::new(program, &plan, come).expect("memory");
        let input = Array3::from_shape_fn((3, rows, columns), |(c, y, x)| ((c + 3 * y + 7 * x) % 11) as f32);
        let mut out = Array3::zeros((5, 2 * rows, 2 * columns));
        let job = Job::new(program, &plan, &mut memory, input.view(), out.view_mut()).expect("columns together");
        std::thread::scope(|scope| (0..come).for_each(|_| drop(scope.spawn(|| job.work()))));
        assert!(job.is_complete());
        out
    }

    #[test]
    fn a_failed_worker_stops_the_others() {
        let program = program(CpuLevel::SCALAR);
        let plan = Plan::new(&program, 16, 16, 1);
        let mut memory = Memory::new(&program, &plan, 1).expect("memory");
        let (input, mut out) = (Array3::ones((3, 16, 16)), Array3::zeros((5, 32, 32)));
        let job = Job::new(&program, &plan, &mut memory, input.view(), out.view_mut()).expect("columns together");
        // A unit that was taken and will never be done.
        job.next[0].store(1, Ordering::Relaxed);
        drop(Guard(&job.failed));
        job.work();
        assert!(!job.is_complete());
    }
}
