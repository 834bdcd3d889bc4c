//! Code values to linear light and back, as the colour description says.
//!
//! A camera averages light over each pixel; a file stores code values that are a bent function of it. Where frames come
//! from a camera, the observation model holds in linear light, so luma (or R, G and B) goes there before fusion and
//! comes back after it. Where they were scaled as code values, it does not: which is right depends on the clip.
//!
//! - Black is 0 and white is 255. White is code value 235 or 255 (at full range the highest code), except for the two
//!   transfers of high dynamic range: there it is the reference white of ITU-R BT.2408, 203 cd/m2 for PQ (which ends at
//!   10000 cd/m2, here 12562) and 75 % of the signal for HLG (which ends at 961), so that the same scene has about the
//!   same numbers whatever its transfer.
//! - The laws are those that files tag: the light before the camera for BT.601, BT.709, BT.2020 and HLG, before the
//!   display for PQ. No law is for rendering here; what counts is that it is undone exactly.
//! - Below a small signal (`TOE`) laws without a straight part of their own get one, through black: their inverses are
//!   vertical there and would turn the slightest correction of black into a visible one. Below black that line goes on;
//!   above 1.25 times the signal of white the tangent does. So both directions are defined and rising everywhere, and
//!   codes outside the range survive the way there and back.
//!
//! Each direction is one table of straight pieces: 8 a code value one way, 64 an octave of light the other way. Tables
//! are made in `f64` and rounded to `f32` once; samples then take only sums and products, so that results do not differ
//! between machines. The way there and back is within 1/100 of a code value (a test holds it to that).
//!
//! Luma is not the light of its colour: taking Y' to linear light is exact for grey and an approximation for colours
//! ("constant luminance" it is not). Chroma has no linear light of its own and is left alone.

use crate::color::{ColorDescription, span};
use crate::frame::ColorFamily;

/// Below this signal (black 0, white 1) the law is a straight line, where it has no straight part of its own.
const TOE: f64 = 1.0 / 32.0;
/// Above this signal the law goes on straight.
const END: f64 = 1.25;
/// Straight pieces for each code value on the 8-bit scale.
const PIECES: f64 = 8.0;
/// Bits of the mantissa that choose a piece of the table of codes: 64 pieces an octave.
const OCTAVE_BITS: u32 = 6;
const UNUSED_BITS: u32 = f32::MANTISSA_DIGITS - 1 - OCTAVE_BITS;

/// One straight piece: the value at its start and the rise for each unit of the argument.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    value: f32,
    rise: f32,
}

/// Where the law's middle part begins or ends.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Joint {
    code: f32,
    light: f32,
    /// Code values for each unit of light beyond it.
    rise: f32,
}

/// The way from code values to linear light and back, for the planes of one kind of picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Light {
    /// Code value of black.
    black: f32,
    range: (f32, f32),
    toe: Joint,
    end: Joint,
    /// Light from codes: piece `i` begins at `black + i / 8`. The first also serves below, the last above.
    lights: Vec<Piece>,
    /// Codes from light: piece `i` begins at the number whose bits are `i + first` and zeros.
    codes: Vec<Piece>,
    first: i32,
}

impl Light {
    /// The laws for luma (or grey, or R, G and B) of pictures with these colours, family and bits of a sample.
    ///
    /// An unspecified or unknown transfer is BT.709's for Y'CbCr and grey, and sRGB's for RGB. A range that is not
    /// specified is limited for Y'CbCr and grey, full for RGB. Makes two tables of about 2000 pieces: some milliseconds.
    pub fn new(color: &ColorDescription, family: ColorFamily, depth: u8) -> Self {
        let (black, width, _) = span(color.is_full(family), depth);
        let (black, width) = (f64::from(black), f64::from(width));
        let law = Law::of(color.transfer, family);
        // A toe that is not the law's own bends it: it ends where a piece of the table does.
        let toe = law.straight().unwrap_or((TOE * width * PIECES).round() / (width * PIECES));
        let curve = Curve { law, toe, black, width };
        let (end_rise, toe_rise) = (curve.slope(END).recip(), width * toe / curve.light(toe));
        let joint = |signal: f64, rise: f64| Joint {
            code: curve.code(signal) as f32,
            light: curve.light(signal) as f32,
            rise: rise as f32,
        };
        let (codes, first) = curve.codes();
        let mut light = Self {
            black: black as f32,
            range: (0.0, 0.0),
            toe: joint(toe, toe_rise),
            end: joint(END, end_rise),
            lights: curve.lights(),
            codes,
            first,
        };
        let (_, top, _) = span(true, depth);
        let mut range = [0.0, top];
        light.to_linear(&mut range);
        light.range = (range[0], range[1]);
        light
    }

    /// Linear light of the lowest and the highest code value.
    pub fn range(&self) -> (f32, f32) {
        self.range
    }

    /// Code values on the 8-bit scale to linear light, in place. One look-up a sample.
    pub fn to_linear(&self, samples: &mut [f32]) {
        let last = self.lights.len() - 1;
        for sample in samples {
            let at = (*sample - self.black) * PIECES as f32;
            // A cast to an integer cuts at 0 and makes 0 of what is no number.
            let piece = (at as usize).min(last);
            let Piece { value, rise } = self.lights[piece];
            *sample = value + (at - piece as f32) * rise;
        }
    }

    /// Linear light to code values on the 8-bit scale, in place; not rounded, not cut. One look-up a sample.
    pub fn to_code(&self, samples: &mut [f32]) {
        let last = self.codes.len() as i32 - 1;
        for sample in samples {
            let light = *sample;
            // Bits of positive numbers rise with them; those of negative ones are negative as integers.
            let bits = light.to_bits() as i32 >> UNUSED_BITS;
            let piece = (bits - self.first).clamp(0, last);
            let start = f32::from_bits(((piece + self.first) << UNUSED_BITS) as u32);
            let Piece { value, rise } = self.codes[piece as usize];
            let middle = value + (light - start) * rise;
            let above = self.end.code + (light - self.end.light) * self.end.rise;
            let below = self.black + light * self.toe.rise;
            let code = if light > self.end.light { above } else { middle };
            *sample = if light < self.toe.light { below } else { code };
        }
    }
}

/// A law with its place on the scale of codes.
#[derive(Debug, Clone, Copy)]
struct Curve {
    law: Law,
    /// Signal below which the law is straight.
    toe: f64,
    /// Code value of black, and code values from black to the signal 1.
    black: f64,
    width: f64,
}

impl Curve {
    fn code(&self, signal: f64) -> f64 {
        self.black + self.width * signal
    }

    /// Light, reference white at 255, of any signal.
    fn light(&self, signal: f64) -> f64 {
        let scale = 255.0 / self.law.light(self.law.white());
        if signal < self.toe {
            scale * self.law.light(self.toe) / self.toe * signal
        } else if signal > END {
            scale * self.law.light(END) + self.width * (signal - END) * self.slope(END)
        } else {
            scale * self.law.light(signal)
        }
    }

    /// Light for each code value around `signal`, which is in the middle part.
    fn slope(&self, signal: f64) -> f64 {
        let step = 1e-4;
        let rise = self.law.light(signal + step) - self.law.light(signal - step);
        255.0 / self.law.light(self.law.white()) * rise / (2.0 * step * self.width)
    }

    /// The straight pieces of light over codes, from black to the end of the middle part and one beyond.
    fn lights(&self) -> Vec<Piece> {
        let count = (END * self.width * PIECES).ceil() as usize;
        let light = |i: usize| self.light(i as f64 / (self.width * PIECES));
        (0..=count).map(|i| Piece { value: light(i) as f32, rise: (light(i + 1) - light(i)) as f32 }).collect()
    }

    /// The straight pieces of codes over light, and the leading bits of where the first one begins.
    fn codes(&self) -> (Vec<Piece>, i32) {
        let piece = |light: f64| (light as f32).to_bits() as i32 >> UNUSED_BITS;
        let (first, last) = (piece(self.light(self.toe)), piece(self.light(END)));
        let start = |i: i32| f64::from(f32::from_bits((i << UNUSED_BITS) as u32));
        let pieces = (first..=last).map(|i| {
            let (here, next) = (self.code_of(start(i)), self.code_of(start(i + 1)));
            Piece { value: here as f32, rise: ((next - here) / (start(i + 1) - start(i))) as f32 }
        });
        (pieces.collect(), first)
    }

    /// The code value of `light` on the law without its toe and end, by bisection: one law serves both ways.
    fn code_of(&self, light: f64) -> f64 {
        let wanted = light / 255.0 * self.law.light(self.law.white());
        let (mut low, mut high) = (0.0, 2.0 * END);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.law.light(middle) < wanted { low = middle } else { high = middle }
        }
        self.code(0.5 * (low + high))
    }
}

/// Transfer characteristics of H.273, light as a function of the signal.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Law {
    /// `(signal / slope)` up to the signal `knee`, then `((signal + offset) / (1 + offset)) ^ power`.
    Camera {
        slope: f64,
        knee: f64,
        offset: f64,
        power: f64,
    },
    Power(f64),
    Linear,
    /// Decades of light from black to white.
    Logarithm(f64),
    /// SMPTE ST 2084, 1 for 10000 cd/m2.
    Pq,
    /// ITU-R BT.2100's hybrid log-gamma.
    Hlg,
}

impl Law {
    /// The law of a code point; those not known are the family's usual one.
    fn of(transfer: u8, family: ColorFamily) -> Self {
        // The standards print three digits (BT.2020 four), with which the parts do not meet; these are where they do.
        const BT709: Law = Law::Camera {
            slope: 4.5,
            knee: 4.5 * 0.018_053_968_510_807,
            offset: 0.099_296_826_809_44,
            power: 1.0 / 0.45,
        };
        const SMPTE240: Law = Law::Camera {
            slope: 4.0,
            knee: 4.0 * 0.022_821_585_529_445,
            offset: 0.111_572_195_921_731,
            power: 1.0 / 0.45,
        };
        const SRGB: Law = Law::Camera { slope: 12.92, knee: 0.040_45, offset: 0.055, power: 2.4 };
        match transfer {
            1 | 6 | 11 | 12 | 14 | 15 => BT709,
            4 => Self::Power(2.2),
            5 => Self::Power(2.8),
            7 => SMPTE240,
            8 => Self::Linear,
            9 => Self::Logarithm(2.0),
            10 => Self::Logarithm(2.5),
            13 => SRGB,
            16 => Self::Pq,
            17 => Self::Power(2.6),
            18 => Self::Hlg,
            _ if family == ColorFamily::Rgb => SRGB,
            _ => BT709,
        }
    }

    /// Where the law's own straight part ends, if it has one.
    fn straight(self) -> Option<f64> {
        match self {
            Self::Camera { knee, .. } => Some(knee),
            Self::Linear => Some(TOE),
            _ => None,
        }
    }

    /// Signal of reference white.
    fn white(self) -> f64 {
        match self {
            Self::Pq => pq_signal(203.0 / 10_000.0),
            Self::Hlg => 0.75,
            _ => 1.0,
        }
    }

    /// Light at a signal of at least 0, on the law's own scale; rising.
    fn light(self, signal: f64) -> f64 {
        match self {
            Self::Camera { slope, knee, .. } if signal < knee => signal / slope,
            Self::Camera { offset, power, .. } => ((signal + offset) / (1.0 + offset)).powf(power),
            Self::Power(power) => signal.powf(power),
            Self::Linear => signal,
            Self::Logarithm(decades) => 10f64.powf(decades * (signal - 1.0)),
            Self::Pq => pq_light(signal),
            Self::Hlg if signal <= 0.5 => signal * signal / 3.0,
            Self::Hlg => (((signal - HLG_C) / HLG_A).exp() + HLG_B) / 12.0,
        }
    }
}

const HLG_A: f64 = 0.178_832_77;
const HLG_B: f64 = 1.0 - 4.0 * HLG_A;
/// `1/2 - a ln(4 a)`.
const HLG_C: f64 = 0.559_910_73;

const PQ_M1: f64 = 2610.0 / 16384.0;
const PQ_M2: f64 = 2523.0 / 4096.0 * 128.0;
const PQ_C1: f64 = 3424.0 / 4096.0;
const PQ_C2: f64 = 2413.0 / 4096.0 * 32.0;
const PQ_C3: f64 = 2392.0 / 4096.0 * 32.0;

/// SMPTE ST 2084 equation 4.1; its pole is at almost twice the signal, beyond which it stays as it is before it.
fn pq_light(signal: f64) -> f64 {
    let root = signal.min(1.75).powf(1.0 / PQ_M2);
    ((root - PQ_C1).max(0.0) / (PQ_C2 - PQ_C3 * root)).powf(1.0 / PQ_M1)
}

/// SMPTE ST 2084 equation 5.1.
fn pq_signal(light: f64) -> f64 {
    let power = light.powf(PQ_M1);
    ((PQ_C1 + PQ_C2 * power) / (1.0 + PQ_C3 * power)).powf(PQ_M2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Range;

    const TRANSFERS: [u8; 18] = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];

    fn light(transfer: u8, full: bool, depth: u8) -> Light {
        let range = if full { Range::Full } else { Range::Limited };
        Light::new(&ColorDescription { transfer, range, ..Default::default() }, ColorFamily::YCbCr, depth)
    }

    fn all() -> impl Iterator<Item = (String, Light)> {
        let kinds = TRANSFERS.iter().flat_map(|t| [(*t, false, 8), (*t, true, 8), (*t, false, 12), (*t, true, 12)]);
        kinds.map(|(t, full, depth)| (format!("transfer {t}, full range {full}, {depth} bits"), light(t, full, depth)))
    }

    /// Linear light of one code.
    fn of(light: &Light, code: f32) -> f32 {
        let mut sample = [code];
        light.to_linear(&mut sample);
        sample[0]
    }

    #[test]
    fn black_is_0_and_white_is_255() {
        for transfer in TRANSFERS.into_iter().filter(|t| ![16, 18].contains(t)) {
            for (full, black, white) in [(false, 16.0, 235.0), (true, 0.0, 255.0)] {
                let light = light(transfer, full, 8);
                assert_eq!(of(&light, black), 0.0, "transfer {transfer}, full range {full}");
                assert!(
                    (of(&light, white) - 255.0).abs() < 1e-3,
                    "transfer {transfer}: white is {}",
                    of(&light, white)
                );
            }
        }
    }

    #[test]
    fn known_codes_have_their_known_light() {
        // Of the published formulas: BT.709 and sRGB at half the signal, PQ's 100 cd/m2 (508/1023 at full range), HLG's
        // half.
        let near = |transfer, code: f32, wanted: f32| {
            let found = of(&light(transfer, true, 8), code);
            assert!((found / wanted - 1.0).abs() < 2e-4, "transfer {transfer}, code {code}: {found}, not {wanted}");
        };
        near(1, 127.5, 255.0 * 0.259_719_44);
        near(13, 127.5, 255.0 * 0.214_041_14);
        near(4, 127.5, 255.0 * 0.217_637_64);
        near(8, 127.5, 127.5);
        near(16, 255.0 * 0.508_078_4, 255.0 * 100.0 / 203.0);
        near(16, 255.0, 255.0 * 10_000.0 / 203.0);
        near(18, 191.25, 255.0);
        near(18, 127.5, 255.0 * (0.25 / 3.0) / 0.264_962_56);
    }

    #[test]
    fn the_way_there_and_back_is_within_a_hundredth_of_a_code() {
        for (name, light) in all() {
            let codes: Vec<f32> = (-1600..6400).map(|i| i as f32 / 16.0 + 0.007).collect();
            let mut samples = codes.clone();
            light.to_linear(&mut samples);
            light.to_code(&mut samples);
            let far = codes
                .iter()
                .zip(&samples)
                .map(|(a, b)| ((a - b).abs(), *a))
                .fold((0.0, 0.0), |m, v| if v.0 > m.0 { v } else { m });
            assert!(far.0 < 0.01, "{name}: off by {} at code {}", far.0, far.1);
        }
    }

    #[test]
    fn both_ways_rise_everywhere() {
        for (name, light) in all() {
            let mut samples: Vec<f32> = (-3200..12800).map(|i| i as f32 / 32.0).collect();
            light.to_linear(&mut samples);
            assert!(samples.windows(2).all(|p| p[0] < p[1]), "{name}: light does not rise");
            let (low, high) = (samples[0], samples[samples.len() - 1]);
            let mut samples: Vec<f32> =
                (0..20_000).map(|i| low + (high - low) * (i as f32 / 20_000.0).powi(5)).collect();
            light.to_code(&mut samples);
            assert!(samples.windows(2).all(|p| p[0] <= p[1]), "{name}: codes do not rise");
        }
    }

    #[test]
    fn the_range_is_that_of_all_codes() {
        let light = light(1, false, 10);
        assert_eq!(light.range(), (of(&light, 0.0), of(&light, 255.75)));
        assert!(light.range().0 < 0.0 && light.range().1 > 255.0, "{:?}", light.range());
    }

    #[test]
    fn what_is_no_number_stays_none_and_harms_no_other() {
        let light = light(1, false, 8);
        let mut samples = [f32::NAN, 100.0, f32::INFINITY, f32::NEG_INFINITY];
        light.to_linear(&mut samples);
        light.to_code(&mut samples);
        assert!(samples[0].is_nan() && (samples[1] - 100.0).abs() < 0.01, "{samples:?}");
        assert!(samples[2] == f32::INFINITY && samples[3] == f32::NEG_INFINITY, "{samples:?}");
    }

    #[test]
    fn tables_are_the_same_bits_on_every_machine() {
        // FNV-1a over all pieces: a mathematics library that rounds otherwise would show here.
        let hash = |light: &Light| {
            let words = light.lights.iter().chain(&light.codes).flat_map(|p| [p.value.to_bits(), p.rise.to_bits()]);
            words.fold(0xcbf2_9ce4_8422_2325u64, |h, w| (h ^ u64::from(w)).wrapping_mul(0x100_0000_01b3))
        };
        let found = [1, 13, 16, 18].map(|t| hash(&light(t, false, 8)));
        let wanted = [0x8205_170a_a4d9_365b, 0xbcc1_3710_969c_4bb8, 0xd524_d8d7_31ef_3318, 0xc228_5e7f_4f6b_78d2];
        assert_eq!(found, wanted, "{found:x?}");
    }
}
