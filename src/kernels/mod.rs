//! Row kernels: the inner loops of resampling and reconstruction, on plain slices.
//!
//! Every kernel is written once, in plain Rust, and compiled once for each CPU level by [`levels!`]: baseline (SSE2 on x86-64,
//! NEON on AArch64), AVX2 and AVX-512. It is safe code but for advice on memory ([`ahead`], [`pages`]), for the taps of a job,
//! whose places [`splat`] checks all at once, and for numbers whose range is known as they become whole ones ([`comparing`]). The compiler may not reorder floating-point sums and the
//! kernels use separate multiplications and additions, never a fused one, so that all levels give the same bits;
//! the tests below each kernel compare them element by element.
//!
//! Convolutions ([`convolution`]) are the exception: they have vectors of their own, fused multiplications at every level, and
//! memory in which several threads work at once; there too all levels give the same bits.
//!
//! Kernels know slices, not frames, and start no threads. The level is a value that is detected once and passed
//! down; `SUBPEL_CPU=scalar|avx2|avx512` may lower it, never raise it.

pub(crate) mod ahead;
pub(crate) mod comparing;
#[doc(hidden)]
pub mod convolution;
pub(crate) mod filters;
pub(crate) mod measuring;
pub(crate) mod nodes;
pub(crate) mod observation;
pub(crate) mod pages;
pub(crate) mod patches;
pub(crate) mod places;
pub(crate) mod registration;
pub(crate) mod resampling;
pub(crate) mod samples;
pub(crate) mod sizes;
pub(crate) mod splat;
pub(crate) mod taps;
#[cfg(test)]
mod testing;
pub(crate) mod warp;

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// A CPU level that this machine has: the proof that a kernel compiled for it may be called.
///
/// Only [`CpuLevel::detect`] and [`CpuLevel::available`] make one, after asking the CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuLevel(Level);

impl CpuLevel {
    /// The baseline of the target: always there, and the definition of what every other level must give.
    pub const SCALAR: Self = Self(Level::Scalar);

    /// The best level of this machine, lowered by the environment variable `SUBPEL_CPU` if it names a lower one.
    pub fn detect() -> Self {
        let best = Self::available().last().copied().unwrap_or(Self::SCALAR);
        let Ok(wanted) = std::env::var("SUBPEL_CPU") else { return best };
        Self::available().into_iter().find(|level| level.name() == wanted).unwrap_or(best)
    }

    /// All levels of this machine, lowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only x86-64 has further levels")]
        let mut levels = vec![Self(Level::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2");
            if avx2 {
                levels.push(Self(Level::Avx2));
            }
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                levels.push(Self(Level::Avx512));
            }
        }
        levels
    }

    /// `scalar`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    /// Compiled-for level, for the dispatch written by [`levels!`].
    fn level(self) -> Level {
        self.0
    }
}

impl fmt::Debug for CpuLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Defines a kernel: `levels! { /// doc  pub(crate) fn name(a: &[f32], ..) { safe body } }` becomes
/// `fn name(level: CpuLevel, a: &[f32], ..)` with the body compiled for each level.
///
/// The body must be sound whatever the arguments, without fused multiplication; it is inlined into one function per level.
macro_rules! levels {
    ($($(#[$doc:meta])* pub(crate) fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(level: $crate::kernels::CpuLevel, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn scalar($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { scalar($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { scalar($($arg),*) }
            match level.level() {
                $crate::kernels::Level::Scalar => scalar($($arg),*),
                // SAFETY: a `CpuLevel` exists only for features that `CpuLevel::available` has found on this CPU.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::Level::Avx512 => unsafe { avx512($($arg),*) },
            }
        }
    )*};
}
pub(crate) use levels;
