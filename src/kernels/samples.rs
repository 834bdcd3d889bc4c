//! Sample conversion: bytes and 16-bit words of a picture's rows to `f32` on the 8-bit scale, and back with rounding.

use super::levels;

/// Nearest code value of `value`, which is on the scale of the codes, limited to `0..=top` (below 2^22); halves go to
/// the even code, no number to 0.
///
/// Adding 2^23 leaves the rounded integer in the low bits of the mantissa: one addition in vector code, where the
/// language's own saturating conversion takes several instructions.
#[inline(always)]
pub(crate) fn code(value: f32, top: f32) -> u32 {
    let limited = if value > 0.0 { value } else { 0.0 };
    let limited = if limited < top { limited } else { top };
    (limited + 8_388_608.0).to_bits() & 0x007f_ffff
}

levels! {
    /// `out[i] = bytes[i]`.
    pub(crate) fn widen_bytes(bytes: &[u8], out: &mut [f32]) {
        for (o, b) in out.iter_mut().zip(bytes) {
            *o = f32::from(*b);
        }
    }

    /// `out[i] = (word[i] >> shift) * scale`, words little-endian, two bytes each.
    pub(crate) fn widen_words(bytes: &[u8], shift: u32, scale: f32, out: &mut [f32]) {
        for (o, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *o = f32::from(u16::from_le_bytes([b[0], b[1]]) >> shift) * scale;
        }
    }

    /// `bytes[i] = round(values[i])`, limited to 0..=255.
    pub(crate) fn narrow_bytes(values: &[f32], bytes: &mut [u8]) {
        for (b, v) in bytes.iter_mut().zip(values) {
            *b = code(*v, 255.0) as u8;
        }
    }

    /// `word[i] = round(values[i] * scale) << shift`, limited to `0..=top` before the shift, little-endian.
    pub(crate) fn narrow_words(values: &[f32], shift: u32, scale: f32, top: f32, bytes: &mut [u8]) {
        for (b, v) in bytes.chunks_exact_mut(2).zip(values) {
            let word = (code(*v * scale, top) as u16) << shift;
            b.copy_from_slice(&word.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CpuLevel;

    #[test]
    fn every_level_gives_the_same_codes_at_every_length() {
        for level in CpuLevel::available() {
            for n in 0..67usize {
                let values: Vec<f32> =
                    (0..n).map(|i| i as f32 * 7.43 - 40.0).chain([f32::NAN, f32::INFINITY, -f32::INFINITY]).collect();
                let (mut want, mut got) = (vec![9u8; n + 3], vec![9u8; n + 3]);
                narrow_bytes(CpuLevel::SCALAR, &values, &mut want);
                narrow_bytes(level, &values, &mut got);
                assert_eq!(want, got, "{level:?} bytes, length {n}");
                let (mut want, mut got) = (vec![0u8; 2 * n], vec![0u8; 2 * n]);
                narrow_words(CpuLevel::SCALAR, &values[..n], 6, 4.0, 1023.0, &mut want);
                narrow_words(level, &values[..n], 6, 4.0, 1023.0, &mut got);
                assert_eq!(want, got, "{level:?} words, length {n}");
                let (mut wide, mut again) = (vec![0f32; n], vec![0f32; n]);
                widen_words(CpuLevel::SCALAR, &want, 6, 0.25, &mut wide);
                widen_words(level, &want, 6, 0.25, &mut again);
                assert_eq!(wide, again, "{level:?} widened words, length {n}");
            }
        }
    }

    #[test]
    fn codes_are_the_nearest_within_the_range() {
        for (value, top, want) in
            [(0.49, 255.0, 0), (0.51, 255.0, 1), (254.6, 255.0, 255), (300.0, 255.0, 255), (-3.0, 255.0, 0)]
        {
            assert_eq!(code(value, top), want, "{value}");
        }
        assert_eq!((code(f32::NAN, 255.0), code(65534.7, 65535.0)), (0, 65535), "no number, 16 bits");
    }

    #[test]
    fn every_byte_and_every_ten_bit_word_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let mut wide = vec![0f32; 256];
        widen_bytes(CpuLevel::SCALAR, &all, &mut wide);
        let mut back = vec![0u8; 256];
        narrow_bytes(CpuLevel::SCALAR, &wide, &mut back);
        assert_eq!(all, back, "bytes");
        let words: Vec<u8> = (0..1024u16).flat_map(|w| (w << 6).to_le_bytes()).collect();
        let mut wide = vec![0f32; 1024];
        widen_words(CpuLevel::SCALAR, &words, 6, 0.25, &mut wide);
        let mut back = vec![0u8; 2048];
        narrow_words(CpuLevel::SCALAR, &wide, 6, 4.0, 1023.0, &mut back);
        assert_eq!(words, back, "words");
    }
}
