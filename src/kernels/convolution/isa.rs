//! Which instructions convolutions are compiled for, and the choice among them.

use crate::kernels::{CpuLevel, Level};

/// Instructions that this machine has: only [`Isa::of`] and [`Isa::halved`] make one, after asking the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    Plain,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// With products of `bf16`.
    #[cfg(target_arch = "x86_64")]
    Avx512Half,
}

impl Isa {
    /// The instructions of a level; plain ones where fused multiplication is missing.
    pub(super) fn of(cpu: CpuLevel) -> Self {
        match cpu.level() {
            #[cfg(target_arch = "aarch64")]
            Level::Scalar => Self::Neon,
            #[cfg(not(target_arch = "aarch64"))]
            Level::Scalar => Self::Plain,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 if !is_x86_feature_detected!("fma") => Self::Plain,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Self::Avx2,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Self::Avx512,
        }
    }

    /// The same with products of `bf16`, if the CPU has them.
    pub(super) fn halved(self) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Avx512 && is_x86_feature_detected!("avx512bf16") {
            return Some(Self::Avx512Half);
        }
        None
    }

    /// Numbers in a vector.
    pub(super) fn vector(self) -> usize {
        match self {
            Self::Plain => 8,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => 4,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512Half => 16,
        }
    }
}

/// Defines `fn name(isa: Isa, ..)` that runs the generic `body::<Kind>(..)` compiled for these instructions.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* pub(super) unsafe fn $name:ident($($arg:ident: $ty:ty),*) = $body:ident;) => {
        $(#[$doc])*
        pub(super) unsafe fn $name(isa: $crate::kernels::convolution::isa::Isa, $($arg: $ty),*) {
            use $crate::kernels::convolution::{isa::Isa, product::Single, simd};
            #[cfg(target_arch = "x86_64")]
            use $crate::kernels::convolution::product::Half;

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: what the caller says, and these instructions are enabled here.
                unsafe { $body::<Single<simd::Eight>>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $body::<Single<simd::Sixteen>>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
            unsafe fn avx512_half($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $body::<Half>($($arg),*) }
            }
            // SAFETY: an `Isa` exists only for instructions that were found on this CPU; the rest is what the caller says.
            unsafe {
                match isa {
                    Isa::Plain => $body::<Single<simd::Plain>>($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => $body::<Single<simd::Four>>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512Half => avx512_half($($arg),*),
                }
            }
        }
    };
}
pub(super) use for_each_isa;
