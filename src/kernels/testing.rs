//! What tests of kernels share.

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
