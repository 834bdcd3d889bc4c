//! The point-spread function of the observation model, split into a filter and a B-spline.
//!
//! A low-resolution sample reads the picture through a quadratic B-spline at its sub-pixel position (`kernels::splat`);
//! what the blur has beyond that is a short symmetric filter on the high-resolution grid. With the spline's
//! response `sinc(f)^3` the filter is the least-squares fit of `h(f) sinc(f)^3` to the blur's response (a Gaussian's is
//! `exp(-2 (pi sigma f)^2)`) over all frequencies of the grid. Where the blur is narrower than the spline the filter
//! sharpens; how far is limited, as the iteration diverges beyond it: very small sigmas all give the narrowest model.

use std::f64::consts::PI;

use crate::error::{Error, Kind, Result};
use crate::kernels::taps::cubic;

/// Greatest gain of the filter at any frequency.
const MOST_GAIN: f64 = 1.3;
/// Root mean square error of the response at which the filter of a known blur is long enough, ...
const CLOSE: f64 = 0.004;
/// ... and, times the scale, that of the usual blur, which is nobody's exactly: a fourth of the time goes into filters.
/// At x2 it makes 5 taps of 7, which moves 0.15 dB from frames of cubic reduction to those of a Gaussian.
const CLOSE_USUAL: f64 = 0.026;
/// Gaussian part of the usual blur, low-resolution pixels.
const USUAL_SIGMA: f64 = 0.4;
/// Longest filter, taps on each side.
const LONGEST: usize = 8;
/// Frequencies at which the response is fitted.
const NODES: usize = 128;

/// How the camera, or whatever made the frames, has blurred the scene before sampling it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Blur {
    /// The mean of the two below, the Gaussian with 0.4: within half a decibel of either where it is the right one.
    #[default]
    Usual,
    /// A Gaussian with this standard deviation in low-resolution pixels, 0.1 to 1.
    Gaussian(f64),
    /// Cubic reduction with antialiasing (Keys, a = -1/2), as of most programs that make frames smaller: flat up to half
    /// the Nyquist frequency, and nothing left at twice of it.
    Cubic,
}

impl std::fmt::Display for Blur {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usual => f.write_str("usual"),
            Self::Gaussian(sigma) => write!(f, "{sigma:.2}"),
            Self::Cubic => f.write_str("cubic"),
        }
    }
}

impl std::str::FromStr for Blur {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "usual" => return Ok(Self::Usual),
            "cubic" => return Ok(Self::Cubic),
            _ => {}
        }
        let sigma = text.parse().ok().filter(|sigma| (0.1..=1.0).contains(sigma));
        let wrong = || format!("blur {text:?} is not usual, cubic or 0.1 to 1 low-resolution pixels");
        sigma.map(Self::Gaussian).ok_or_else(|| Error::new(Kind::Usage, wrong()))
    }
}

/// The filter: `taps[radius + d]` is the weight of the pixel at distance `d`; they sum to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Psf {
    taps: Vec<f32>,
}

impl Psf {
    /// For `blur` where `scale` pixels of the grid make a low-resolution pixel.
    pub(super) fn new(blur: Blur, scale: f64) -> Self {
        let response = |f: f64| match blur {
            Blur::Gaussian(sigma) => {
                // The gain is greatest at the highest frequency, 1/2.
                let narrowest = ((MOST_GAIN * spline(0.5)).ln() / -(2.0 * (PI * 0.5).powi(2))).max(0.0).sqrt();
                gaussian((sigma * scale).max(narrowest), f)
            }
            Blur::Cubic => keys(f * scale).min(MOST_GAIN * spline(f)),
            Blur::Usual => {
                0.5 * (keys(f * scale).max(0.0) + gaussian(USUAL_SIGMA * scale, f)).min(2.0 * MOST_GAIN * spline(f))
            }
        };
        let close = if blur == Blur::Usual { CLOSE_USUAL / scale } else { CLOSE };
        // The same nodes for every length: a response is a sum of hundreds of cosines.
        let wanted: Vec<(f64, f64)> = nodes().map(|f| (f, response(f))).collect();
        let mut best = Vec::new();
        for radius in 1..=LONGEST {
            let (half, error) = fit(radius, &wanted);
            best = half;
            if error < close {
                break;
            }
        }
        let center = 1.0 - 2.0 * best.iter().sum::<f64>();
        let sides = best.iter().rev().copied();
        let taps: Vec<f32> = sides.chain([center]).chain(best.iter().copied()).map(|t| t as f32).collect();
        Self { taps }
    }

    /// The filter that changes nothing.
    pub(super) fn identity() -> Self {
        Self { taps: vec![1.0] }
    }

    /// Response at `f` cycles a pixel of the filter and the B-spline together: that of the model's blur.
    pub(super) fn response(&self, f: f64) -> f64 {
        let radius = self.radius() as f64;
        let term = |(k, w): (usize, &f32)| f64::from(*w) * (2.0 * PI * f * (k as f64 - radius)).cos();
        spline(f) * self.taps.iter().enumerate().map(term).sum::<f64>()
    }

    /// Pixels on each side that the filter sums.
    pub(super) fn radius(&self) -> usize {
        self.taps.len() / 2
    }

    /// All weights, leftmost or topmost first.
    pub(super) fn taps(&self) -> &[f32] {
        &self.taps
    }
}

/// Response of a Gaussian of `sigma` pixels at `f` cycles a pixel.
fn gaussian(sigma: f64, f: f64) -> f64 {
    (-2.0 * (PI * sigma * f).powi(2)).exp()
}

/// Response of the quadratic B-spline at `f` cycles a pixel.
fn spline(f: f64) -> f64 {
    if f == 0.0 { 1.0 } else { ((PI * f).sin() / (PI * f)).powi(3) }
}

/// Response of cubic reduction (Keys, a = -1/2) at `f` cycles a low-resolution sample.
pub(super) fn keys(f: f64) -> f64 {
    // The kernel is zero beyond 2: the midpoint rule is exact to 1e-6 here.
    let n = 512;
    let places = (0..n).map(|i| 4.0 * (f64::from(i) + 0.5) / f64::from(n) - 2.0);
    places.map(|x| cubic(x) * (2.0 * PI * f * x).cos()).sum::<f64>() * 4.0 / f64::from(n)
}

/// Frequencies at which filters are fitted, cycles a pixel.
fn nodes() -> impl Iterator<Item = f64> {
    (0..NODES).map(|n| (n as f64 + 0.5) / (2 * NODES) as f64)
}

/// Weights at distances 1..=radius, and the error of the response; `wanted` are frequencies and the response there.
fn fit(radius: usize, wanted: &[(f64, f64)]) -> (Vec<f64>, f64) {
    // h(f) = 1 + sum_d a_d (2 cos(2 pi d f) - 2): the taps sum to 1 whatever a.
    let rows: Vec<(Vec<f64>, f64)> = wanted
        .iter()
        .map(|&(f, response)| {
            let b = spline(f);
            let basis = (1..=radius).map(|d| b * (2.0 * (2.0 * PI * d as f64 * f).cos() - 2.0)).collect();
            (basis, response - b)
        })
        .collect();
    let mut normal = vec![vec![0.0; radius + 1]; radius];
    for (basis, target) in &rows {
        for i in 0..radius {
            for j in 0..radius {
                normal[i][j] += basis[i] * basis[j];
            }
            normal[i][radius] += basis[i] * target;
        }
    }
    let a = solve(normal);
    let error = |(basis, target): &(Vec<f64>, f64)| {
        let sum: f64 = basis.iter().zip(&a).map(|(b, a)| b * a).sum();
        (sum - target).powi(2)
    };
    let mean = rows.iter().map(error).sum::<f64>() / NODES as f64;
    (a, mean.sqrt())
}

/// Solution of a small symmetric positive definite system given with its right side as last column.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for i in 0..n {
        let pivot = rows[i].clone();
        for row in &mut rows[i + 1..] {
            let factor = row[i] / pivot[i];
            row.iter_mut().zip(&pivot).for_each(|(value, p)| *value -= factor * p);
        }
    }
    let mut x = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * x[j]).sum();
        x[i] = (rows[i][n] - known) / rows[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_and_spline_together_are_the_gaussian() {
        for sigma in [0.5, 0.66, 0.8, 1.0, 1.32, 1.6, 2.0] {
            let psf = Psf::new(Blur::Gaussian(sigma / 2.0), 2.0);
            let sum: f32 = psf.taps().iter().sum();
            assert!((sum - 1.0).abs() < 1e-6, "sigma {sigma}: taps sum to {sum}");
            for n in 0..=10 {
                let f = f64::from(n) / 20.0;
                let at =
                    |(k, w): (usize, &f32)| f64::from(*w) * (2.0 * PI * f * (k as f64 - psf.radius() as f64)).cos();
                let response = spline(f) * psf.taps().iter().enumerate().map(at).sum::<f64>();
                let wanted = (-2.0 * (PI * sigma * f).powi(2)).exp();
                assert!((response - wanted).abs() < 0.015, "sigma {sigma}, {f} cycles: {response}, not {wanted}");
            }
        }
    }

    #[test]
    fn the_narrowest_model_is_limited() {
        let [a, b] = [0.1, 0.15].map(|sigma| Psf::new(Blur::Gaussian(sigma), 2.0));
        assert_eq!(a, b, "both are narrower than the limit");
        let psf = a;
        let gain = psf.taps().iter().enumerate().map(|(k, w)| if (k + psf.radius()) % 2 == 0 { *w } else { -w });
        assert!(gain.sum::<f32>().abs() < 1.5, "{:?}", psf.taps());
    }
}
