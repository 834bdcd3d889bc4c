//! How fast this CPU multiplies and adds: what benchmarks compare with.

use std::time::Instant;

use super::isa::{Isa, for_each_isa};
use super::product::{Kind, Step};
use crate::kernels::CpuLevel;

/// Floating-point operations a second of one core in a loop of fused multiplications, in `bf16` if wanted and there.
#[doc(hidden)]
pub fn peak(cpu: CpuLevel, half: bool) -> f64 {
    let plain = Isa::of(cpu);
    let isa = plain.halved().filter(|_| half).unwrap_or(plain);
    let best = (0..5).map(|_| {
        let start = Instant::now();
        let mut done = 0.0;
        // SAFETY: the instructions are there, as `isa` says.
        unsafe { spin(isa, &mut done) };
        done / start.elapsed().as_secs_f64()
    });
    best.fold(0.0, f64::max)
}

for_each_isa! {
    /// Multiplies what stays in the first cache, and says how many operations that were.
    ///
    /// # Safety
    /// The CPU has the instructions.
    pub(super) unsafe fn spin(done: &mut f64) = spin_as;
}

#[inline(always)]
unsafe fn spin_as<K: Kind>(done: &mut f64) {
    const COUNT: usize = 16;
    const ROUNDS: usize = 200;
    const CALLS: usize = 200;
    let (from, weights, mut sums) = ([0f32; 16 * 16], [0f32; COUNT * 64], [0f32; 6 * 64]);
    let steps = [Step { offset: 0, count: COUNT }; 1];
    for _ in 0..CALLS * ROUNDS {
        let (from, weights) = std::hint::black_box((&from, &weights));
        // SAFETY: what the caller says; six pixels and at most 64 channels have place.
        unsafe {
            if size_of::<K::Vector>() == 64 {
                K::tile::<6, 4>(from.as_ptr().cast(), &steps, weights.as_ptr(), sums.as_mut_ptr(), 96);
            } else {
                K::tile::<6, 2>(from.as_ptr().cast(), &steps, weights.as_ptr(), sums.as_mut_ptr(), 96);
            }
        }
    }
    std::hint::black_box(&sums);
    let lanes = if size_of::<K::Vector>() == 64 { 64 } else { 2 * size_of::<K::Vector>() / 4 };
    *done = (2 * 6 * lanes * COUNT * CALLS * ROUNDS) as f64;
}
