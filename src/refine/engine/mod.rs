//! Runs networks fast: compiled once into steps with packed weights, then run on all threads of the current pool.
//!
//! `compile` fuses operations and hands the steps to the kernels; here are sizes, memory and threads. Plans and buffers are
//! kept between runs, so that a film of one size takes memory once.

mod compile;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ndarray::{Array3, ArrayView3, ArrayViewMut3};
use rayon::prelude::*;

use super::network::{Input, Network};
use crate::error::{Error, Kind, Result};
use crate::kernels::CpuLevel;
use crate::kernels::convolution::{Job, Memory, NoMemory, Plan, Program};

/// Sizes whose plans are kept.
const PLANS: usize = 8;

/// A picture, and where the result goes.
pub type Pair<'a> = (ArrayView3<'a, f32>, ArrayViewMut3<'a, f32>);

/// How numbers are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// All in `f32`: within 1e-4 of the plain way, and the same bits on all CPUs.
    #[default]
    F32,
    /// Products of `bf16` with sums in `f32`, about twice as fast where the CPU has AVX512_BF16, and several 8-bit codes off in the
    /// worst pixel. Elsewhere the same as [`Precision::F32`].
    Bf16,
}

/// A network ready to run.
#[derive(Debug)]
pub struct Engine {
    program: Program,
    input: Input,
    scale: usize,
    multiple: usize,
    reach: Option<usize>,
    plans: Mutex<Vec<Arc<Plan>>>,
    /// Buffers of runs that are over.
    spare: Mutex<Vec<Memory>>,
}

impl Engine {
    /// Packs the weights of a network for a CPU level, on the current pool.
    ///
    /// # Panics
    /// If the network is not consistent: operations that take later values, or channels that do not fit.
    pub fn new(network: &Network, precision: Precision, cpu: CpuLevel) -> Self {
        let program = compile::compile(network, precision == Precision::Bf16, cpu);
        let (plans, spare) = (Mutex::default(), Mutex::default());
        let Network { input, scale, multiple, .. } = *network;
        Self { program, input, scale, multiple, reach: network.reach(), plans, spare }
    }

    /// Pixels along each axis of the result for one of the input.
    pub fn scale(&self) -> usize {
        self.scale
    }

    /// What the network takes.
    pub fn input(&self) -> Input {
        self.input
    }

    /// See [`Network::multiple`].
    pub fn multiple(&self) -> usize {
        self.multiple
    }

    /// See [`Network::reach`].
    pub fn reach(&self) -> Option<usize> {
        self.reach
    }

    /// Bytes of the packed weights.
    pub fn weights(&self) -> u64 {
        self.program.weights() as u64
    }

    /// Bytes of the buffers of one run with an input of this size, on the current pool. Two runs at once take it twice.
    pub fn memory(&self, rows: usize, columns: usize) -> u64 {
        self.memory_of(1, rayon::current_num_threads(), rows, columns)
    }

    /// The same for so many pictures at once and so many threads.
    pub(super) fn memory_of(&self, pictures: usize, workers: usize, rows: usize, columns: usize) -> u64 {
        let plans = [pictures, 1].map(|pictures| self.plan(rows, columns, workers / pictures));
        pictures as u64 * plans.map(|plan| plan.bytes(workers)).into_iter().max().unwrap_or(0)
    }

    /// Takes the memory of runs on so many pictures at once, and on one, before there are pictures: on all threads of the pool.
    ///
    /// # Errors
    /// [`Kind::Resource`] if there is not enough.
    pub(super) fn reserve(&self, pictures: usize, rows: usize, columns: usize) -> Result<()> {
        let workers = rayon::current_num_threads();
        let mut plans = [pictures, 1].map(|pictures| self.plan(rows, columns, workers / pictures));
        plans.sort_by_key(|plan| std::cmp::Reverse(plan.bytes(workers)));
        let taken = (0..pictures).into_par_iter().map(|_| {
            let mut memory = self.memory_for(&plans[0], workers)?;
            memory.fit(&self.program, &plans[1], workers).map_err(too_large)?;
            Ok(memory)
        });
        let taken = taken.collect::<Result<Vec<_>>>()?;
        locked(&self.spare).extend(taken);
        Ok(())
    }

    /// Bytes of the buffers that are kept for the next run.
    #[doc(hidden)]
    pub fn kept(&self) -> u64 {
        locked(&self.spare).iter().map(Memory::bytes).sum()
    }

    /// Runs the network: `channels x rows x columns`, on the current pool.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the channels are not the network's, a side is 0 or not a multiple of [`Network::multiple`], or `out` has
    /// not the size of the result; [`Kind::Resource`] if there is not enough memory.
    pub fn run(&self, input: ArrayView3<'_, f32>, out: ArrayViewMut3<'_, f32>) -> Result<()> {
        self.run_all(&mut [(input, out)])
    }

    /// The same on pictures of one size, all at once: each by threads of its own, which then help with the others. They are not more
    /// than the threads.
    pub(super) fn run_all(&self, pictures: &mut [Pair<'_>]) -> Result<()> {
        let Some((rows, columns)) = pictures.first().map(|(input, _)| (input.dim().1, input.dim().2)) else {
            return Ok(());
        };
        pictures.iter().try_for_each(|(input, _)| self.input.check(self.multiple, input.dim()))?;
        let workers = rayon::current_num_threads();
        let plan = self.plan(rows, columns, workers / pictures.len());
        let (channels, (height, width)) = (self.program.outputs(), plan.output());
        for (input, out) in pictures.iter() {
            if out.dim() != (channels, height, width) || (input.dim().1, input.dim().2) != (rows, columns) {
                let (given, by, wide) = out.dim();
                let message =
                    format!("{given} channels of {wide}x{by} for a result of {channels} channels of {width}x{height}");
                return Err(Error::new(Kind::Usage, message));
            }
        }
        if self.run_on(&plan, workers, pictures)? {
            return Ok(());
        }
        // Columns that are not next to each other.
        for (input, out) in pictures {
            let mut whole = Array3::zeros(out.dim());
            self.run_on(&plan, workers, &mut [(input.as_standard_layout().view(), whole.view_mut())])?;
            out.assign(&whole);
        }
        Ok(())
    }

    /// Runs a plan on every picture; `false` if columns are not next to each other.
    fn run_on(&self, plan: &Plan, workers: usize, pictures: &mut [Pair<'_>]) -> Result<bool> {
        let mut memories = pictures.iter().map(|_| self.memory_for(plan, workers)).collect::<Result<Vec<_>>>()?;
        let pairs = pictures.iter_mut().zip(&mut memories);
        let jobs =
            pairs.map(|((input, out), memory)| Job::new(&self.program, plan, memory, input.view(), out.view_mut()));
        let jobs: Option<Vec<Job<'_>>> = jobs.collect();
        if let Some(jobs) = &jobs {
            // Each begins with a picture of its own; who is done helps with the others, so that all end at once.
            let work = |worker: usize| {
                let (before, from) = jobs.split_at(worker * jobs.len() / workers);
                from.iter().chain(before).for_each(Job::work);
            };
            match workers {
                1 => work(0),
                _ => rayon::scope(|scope| (0..workers).for_each(|worker| scope.spawn(move |_| work(worker)))),
            }
            if !jobs.iter().all(Job::is_complete) {
                return Err(Error::new(Kind::Bug, "a network was not run to its end"));
            }
        }
        let has_run = jobs.is_some();
        drop(jobs);
        locked(&self.spare).extend(memories);
        Ok(has_run)
    }

    /// Memory for a run of a plan: that of a run that is over, or new.
    fn memory_for(&self, plan: &Plan, workers: usize) -> Result<Memory> {
        let spare = locked(&self.spare).pop();
        match spare {
            Some(mut memory) => memory.fit(&self.program, plan, workers).map(|()| memory),
            None => Memory::new(&self.program, plan, workers),
        }
        .map_err(too_large)
    }

    fn plan(&self, rows: usize, columns: usize, workers: usize) -> Arc<Plan> {
        let mut plans = locked(&self.plans);
        if let Some(at) = plans.iter().position(|plan| plan.is_for((rows, columns), workers)) {
            let plan = plans.remove(at);
            plans.push(Arc::clone(&plan));
            return plan;
        }
        let plan = Arc::new(Plan::new(&self.program, rows, columns, workers));
        if plans.len() >= PLANS {
            plans.remove(0);
        }
        plans.push(Arc::clone(&plan));
        plan
    }
}

fn too_large(NoMemory(bytes): NoMemory) -> Error {
    let message = format!("a run of the network needs {} MiB of memory more than there is", bytes.div_ceil(1 << 20));
    Error::new(Kind::Resource, message).hint("smaller pieces take less: --tile")
}

/// Nothing is left half-done while these are locked, so a panic elsewhere does no harm.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
