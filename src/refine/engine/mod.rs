//! Runs networks fast: compiled once into steps with packed weights, then run on all threads of the current pool.
//!
//! `compile` fuses operations and hands the steps to the kernels; here are sizes, memory and threads. Plans and buffers are
//! kept between runs, so that a film of one size takes memory once.

mod compile;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ndarray::{Array3, ArrayView3, ArrayViewMut3};

use super::network::{Input, Network};
use crate::error::{Error, Kind, Result};
use crate::kernels::CpuLevel;
use crate::kernels::convolution::{Job, Memory, NoMemory, Plan, Program};

/// Sizes whose plans are kept.
const PLANS: usize = 8;

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
        self.memory_of(rayon::current_num_threads(), rows, columns)
    }

    /// The same for so many threads.
    pub(super) fn memory_of(&self, workers: usize, rows: usize, columns: usize) -> u64 {
        self.plan(rows, columns, workers).bytes(workers)
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
        self.run_by(rayon::current_num_threads(), input, out)
    }

    /// The same on so many threads of the pool.
    pub(super) fn run_by(
        &self,
        workers: usize,
        input: ArrayView3<'_, f32>,
        mut out: ArrayViewMut3<'_, f32>,
    ) -> Result<()> {
        let (_, rows, columns) = input.dim();
        self.input.check(self.multiple, input.dim())?;
        let plan = self.plan(rows, columns, workers);
        let (channels, (height, width)) = (self.program.outputs(), plan.output());
        if out.dim() != (channels, height, width) {
            let (given, by, wide) = out.dim();
            let message =
                format!("{given} channels of {wide}x{by} for a result of {channels} channels of {width}x{height}");
            return Err(Error::new(Kind::Usage, message));
        }
        if self.run_on(&plan, workers, input.view(), out.view_mut())? {
            return Ok(());
        }
        // Columns that are not next to each other.
        let mut whole = Array3::zeros(out.dim());
        self.run_on(&plan, workers, input.as_standard_layout().view(), whole.view_mut())?;
        out.assign(&whole);
        Ok(())
    }

    /// Runs a plan; `false` if columns are not next to each other.
    fn run_on(
        &self,
        plan: &Plan,
        workers: usize,
        input: ArrayView3<'_, f32>,
        mut out: ArrayViewMut3<'_, f32>,
    ) -> Result<bool> {
        let too_large = |NoMemory(bytes): NoMemory| {
            let message =
                format!("a run of the network needs {} MiB of memory more than there is", bytes.div_ceil(1 << 20));
            Error::new(Kind::Resource, message).hint("smaller pieces take less: --tile")
        };
        let spare = locked(&self.spare).pop();
        let mut memory = match spare {
            Some(mut memory) => {
                memory.fit(&self.program, plan, workers).map_err(too_large)?;
                memory
            }
            None => Memory::new(&self.program, plan, workers).map_err(too_large)?,
        };
        let Some(job) = Job::new(&self.program, plan, &mut memory, input, out.view_mut()) else {
            locked(&self.spare).push(memory);
            return Ok(false);
        };
        match workers {
            1 => job.work(),
            _ => rayon::scope(|scope| (0..workers).for_each(|_| scope.spawn(|_| job.work()))),
        }
        if !job.is_complete() {
            return Err(Error::new(Kind::Bug, "a network was not run to its end"));
        }
        locked(&self.spare).push(memory);
        Ok(true)
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

/// Nothing is left half-done while these are locked, so a panic elsewhere does no harm.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
