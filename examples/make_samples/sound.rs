//! The sound of the sample: a soft chord that swells and fades.

use std::f64::consts::TAU;

const RATE: usize = 48_000;

/// A WAV file, 48 kHz, two channels of 16 bits, as long as `frames` frames at `rate` frames a second.
pub(crate) fn wav(frames: usize, rate: usize) -> Vec<u8> {
    let samples = frames * RATE / rate;
    let data = (samples * 4) as u32;
    let mut bytes = Vec::with_capacity(44 + samples * 4);
    bytes.extend(b"RIFF");
    bytes.extend((36 + data).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    bytes.extend((RATE as u32).to_le_bytes());
    bytes.extend((RATE as u32 * 4).to_le_bytes());
    bytes.extend(b"\x04\0\x10\0data");
    bytes.extend(data.to_le_bytes());
    for n in 0..samples {
        let t = n as f64 / RATE as f64;
        let envelope = (std::f64::consts::PI * n as f64 / samples as f64).sin().powi(2);
        for lean in [0.6, 1.0] {
            let tone = |hertz: f64, share: f64| share * (TAU * hertz * t).sin();
            let chord = tone(220.0, lean) + tone(277.18, 0.8) + tone(329.63, 1.6 - lean) + tone(440.0, 0.3);
            bytes.extend(((4000.0 * envelope * chord).round() as i16).to_le_bytes());
        }
    }
    bytes
}
