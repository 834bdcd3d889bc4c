//! Whether two frames show the same scene: the confidence of an estimate, and scene cuts.
//!
//! Both look at a reduced copy, where noise and small local motion weigh little. Two measures are joined because each
//! is fooled alone: unrelated frames often share their large light and dark areas (the same sky, the same black
//! borders) but not their detail; frames of one scene that burn, flow or blur share their areas but little detail.

use super::agreement::chance_corrected;
use super::prepare::{Level, Prepared, gaussian};
use super::rank::median_magnitude;
use super::refine::{Aligner, Sample, State};
use crate::kernels::CpuLevel;

/// Width of the local mean that is taken off to leave detail, in pixels of the reduced copy.
const LOCAL: f64 = 3.0;
/// Detail counts up to this multiple of its median magnitude, so that one high-contrast object does not outvote all.
const CLIP: f32 = 4.0;
/// Smallest median magnitude of detail, grey levels.
const SMALLEST_DETAIL: f32 = 0.2;
/// Pixels compared.
const SAMPLES: usize = 16_384;
/// Frames closer than this, in mean grey levels, are never a cut, whatever their (absent or noisy) detail says.
const VISIBLE: f64 = 6.0;

/// What of `level` differs from its surroundings.
pub(super) fn detail(level: &Level, cpu: CpuLevel) -> Level {
    let local = level.smoothed(&gaussian(LOCAL), cpu);
    let pixels = level.pixels.iter().zip(&local.pixels).map(|(value, mean)| value - mean).collect();
    Level { pixels, ..*level }
}

/// How much two frames have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Likeness {
    /// Geometric mean of chance-corrected agreement and correlation of detail, 0 to 1.
    pub(super) confidence: f64,
    /// Mean absolute difference of corresponding pixels, grey levels, brightness not corrected.
    pub(super) difference: f64,
}

impl Likeness {
    /// Compares the frames under `state` (in pixels of full size) on level `at`, whose details they carry.
    pub(super) fn of(reference: &Prepared, moving: &Prepared, cpu: CpuLevel, state: &State, at: usize) -> Self {
        let state = state.at_level(at);
        let pairs =
            |reference, moving| Aligner { cpu, reference, moving, row_step: 1, trust: None }.pairs(&state, SAMPLES);
        let luma = pairs(&reference.levels[at], &moving.levels[at]);
        if luma.reference.is_empty() {
            return Self { confidence: 0.0, difference: f64::INFINITY };
        }
        let detail = correlation(pairs(&reference.detail, &moving.detail));
        let agreement = chance_corrected(&luma, &state);
        let total: f64 = luma.reference.iter().zip(&luma.moving).map(|(a, b)| f64::from((a - b).abs())).sum();
        Self {
            confidence: (agreement * detail.max(0.0)).sqrt().min(1.0),
            difference: total / luma.reference.len() as f64,
        }
    }

    /// Whether one frame cannot follow the other in a scene; `threshold` is the least confidence within one.
    pub(super) fn is_cut(&self, threshold: f64) -> bool {
        self.confidence < threshold && self.difference > VISIBLE
    }
}

/// Correlation coefficient of the clipped values of both frames; 0 where one of them is constant.
fn correlation(mut sample: Sample) -> f64 {
    for values in [&mut sample.reference, &mut sample.moving] {
        let limit = CLIP * median_magnitude(values).max(SMALLEST_DETAIL);
        values.iter_mut().for_each(|v| *v = v.clamp(-limit, limit));
    }
    let n = sample.reference.len() as f64;
    let mean = |values: &[f32]| values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(&sample.reference), mean(&sample.moving));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (a, b) in sample.reference.iter().zip(&sample.moving) {
        let (a, b) = (f64::from(*a) - mean_a, f64::from(*b) - mean_b);
        aa += a * a;
        bb += b * b;
        ab += a * b;
    }
    let scale = (aa * bb).sqrt();
    if scale > 0.0 { ab / scale } else { 0.0 }
}
