//! Vectors of `f32` for each CPU level, behind one trait.
//!
//! A value of such a type is the proof that the CPU has its instructions: only `load` and `splat`, which are unsafe, make one
//! from nothing. All multiplications that are added to something are fused, at every level, and no level reorders anything,
//! so all of them give the same bits. [`Plain`] says what that is.

/// A few numbers that are worked on together.
pub(super) trait Simd: Copy {
    /// How many; a divisor of 16.
    const N: usize;

    /// The same number everywhere.
    ///
    /// # Safety
    /// The CPU has the instructions of this type.
    unsafe fn splat(x: f32) -> Self;

    /// Numbers from memory.
    ///
    /// # Safety
    /// As `splat`, and `N` numbers can be read at `p`.
    unsafe fn load(p: *const f32) -> Self;

    /// Numbers to memory.
    ///
    /// # Safety
    /// `N` numbers can be written at `p`.
    unsafe fn store(self, p: *mut f32);

    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;

    /// `c - self * b`, rounded once.
    fn fnma(self, b: Self, c: Self) -> Self;

    fn add(self, b: Self) -> Self;

    fn sub(self, b: Self) -> Self;

    fn mul(self, b: Self) -> Self;

    /// The larger one; `b` if they do not differ or cannot be compared.
    fn max(self, b: Self) -> Self;

    /// The smaller one; `b` if they do not differ or cannot be compared.
    fn min(self, b: Self) -> Self;
}

/// Eight numbers without any instructions of their own: the definition.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 8]);

impl Plain {
    #[inline(always)]
    fn each(self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], b.0[i])))
    }
}

impl Simd for Plain {
    const N: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 8])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller says that these can be read.
        Self(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller says that these can be written.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
    }

    #[inline(always)]
    fn fnma(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| (-self.0[i]).mul_add(b.0[i], c.0[i])))
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        self.each(b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        self.each(b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        self.each(b, |a, b| a * b)
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        self.each(b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        self.each(b, |a, b| if a < b { a } else { b })
    }
}

/// Writes a type for x86-64 by the names of its instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! x86 {
    ($(#[$doc:meta])* $name:ident, $inner:ident, $n:literal, $splat:ident, $load:ident, $store:ident,
     $fma:ident, $fnma:ident, $add:ident, $sub:ident, $mul:ident, $max:ident, $min:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(in super::super) struct $name(pub(in super::super) arch::$inner);

        impl Simd for $name {
            const N: usize = $n;

            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: the caller says that the CPU has it.
                Self(unsafe { arch::$splat(x) })
            }

            #[inline(always)]
            unsafe fn load(p: *const f32) -> Self {
                // SAFETY: the caller says that the CPU has it and the numbers can be read.
                Self(unsafe { arch::$load(p) })
            }

            #[inline(always)]
            unsafe fn store(self, p: *mut f32) {
                // SAFETY: `self` proves that the CPU has it; the caller says that the numbers can be written.
                unsafe { arch::$store(p, self.0) }
            }

            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                // SAFETY: `self` proves that the CPU has it.
                Self(unsafe { arch::$fma(self.0, b.0, c.0) })
            }

            #[inline(always)]
            fn fnma(self, b: Self, c: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { arch::$fnma(self.0, b.0, c.0) })
            }

            #[inline(always)]
            fn add(self, b: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { arch::$add(self.0, b.0) })
            }

            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { arch::$sub(self.0, b.0) })
            }

            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { arch::$mul(self.0, b.0) })
            }

            #[inline(always)]
            fn max(self, b: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { arch::$max(self.0, b.0) })
            }

            #[inline(always)]
            fn min(self, b: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { arch::$min(self.0, b.0) })
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64 as arch;

    x86!(
        /// Sixteen numbers (AVX-512).
        Sixteen, __m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps,
        _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_max_ps, _mm512_min_ps
    );
    x86!(
        /// Eight numbers (AVX2 and FMA).
        Eight, __m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps,
        _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_max_ps, _mm256_min_ps
    );
}
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Eight, Sixteen};

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Simd;
    use std::arch::aarch64 as arch;

    /// Four numbers (NEON, which every AArch64 CPU has).
    #[derive(Clone, Copy)]
    pub(in super::super) struct Four(arch::float32x4_t);

    impl Simd for Four {
        const N: usize = 4;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: every AArch64 CPU has NEON; the same for all below.
            Self(unsafe { arch::vdupq_n_f32(x) })
        }

        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: the caller says that the numbers can be read.
            Self(unsafe { arch::vld1q_f32(p) })
        }

        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: the caller says that the numbers can be written.
            unsafe { arch::vst1q_f32(p, self.0) }
        }

        #[inline(always)]
        fn fma(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { arch::vfmaq_f32(c.0, self.0, b.0) })
        }

        #[inline(always)]
        fn fnma(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { arch::vfmsq_f32(c.0, self.0, b.0) })
        }

        #[inline(always)]
        fn add(self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { arch::vaddq_f32(self.0, b.0) })
        }

        #[inline(always)]
        fn sub(self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { arch::vsubq_f32(self.0, b.0) })
        }

        #[inline(always)]
        fn mul(self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { arch::vmulq_f32(self.0, b.0) })
        }

        #[inline(always)]
        fn max(self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { arch::vbslq_f32(arch::vcgtq_f32(self.0, b.0), self.0, b.0) })
        }

        #[inline(always)]
        fn min(self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { arch::vbslq_f32(arch::vcltq_f32(self.0, b.0), self.0, b.0) })
        }
    }
}
#[cfg(target_arch = "aarch64")]
pub(super) use neon::Four;
