//! What tests of kernels share.

use super::CpuLevel;

/// So many values of 0 to 256, the same for the same seed.
pub(super) fn noise(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / 65536.0
    };
    (0..n).map(next).collect()
}

/// Their bits: equal values may differ in them.
pub(super) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Asserts that `run(level, kernel, n)`, the bits that so many kernels make of rows of `n`, are the same at every level.
pub(super) fn assert_same_at_every_level(kernels: usize, run: impl Fn(CpuLevel, usize, usize) -> Vec<u32>) {
    for level in CpuLevel::available() {
        for kernel in 0..kernels {
            for n in 0..70 {
                let wanted = run(CpuLevel::SCALAR, kernel, n);
                assert_eq!(wanted, run(level, kernel, n), "{level:?}, kernel {kernel}, {n}");
            }
        }
    }
}
