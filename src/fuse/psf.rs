//! The point-spread function of the observation model: a Gaussian, sampled on the high-resolution grid.

use crate::kernels::taps::cubic;

/// Steps of the tabulated kernel for one high-resolution pixel.
const STEPS: usize = 256;
/// Share of the kernel's mass that may be cut off.
const TAIL: f64 = 0.005;

/// A Gaussian, tabulated; widened by the cubic interpolation kernel where it is narrow against the grid.
///
/// Sampling a Gaussian of `sigma` pixels on the grid interpolates the blurred picture up to an aliasing of
/// `exp(-2 (pi sigma)^2)`: 6e-5 at 0.7. Below that the picture is interpolated by [`cubic`] before the blur.
#[derive(Debug, Clone)]
pub(super) struct Psf {
    table: Vec<f64>,
    /// Half of the taps.
    half: usize,
}

impl Psf {
    /// Narrowest Gaussian that is sampled directly, in high-resolution pixels.
    const DIRECT: f64 = 0.6;

    /// `sigma` in high-resolution pixels.
    pub(super) fn new(sigma: f64) -> Self {
        let reach = 4.0 * sigma + 2.0;
        let gauss = |t: f64| (-0.5 * (t / sigma).powi(2)).exp();
        let value = |d: f64| {
            if sigma >= Self::DIRECT {
                return gauss(d);
            }
            // Mean of the cubic kernel under the Gaussian, by the midpoint rule over +-4 sigma.
            let nodes = (0..64).map(|n| sigma * (f64::from(n) + 0.5 - 32.0) / 8.0);
            let (sum, mass) = nodes.fold((0.0, 0.0), |(s, m), t| (s + gauss(t) * cubic(d - t), m + gauss(t)));
            sum / mass
        };
        let table: Vec<f64> = (0..=(reach * STEPS as f64) as usize).map(|n| value(n as f64 / STEPS as f64)).collect();
        let total: f64 = table.iter().map(|v| v.abs()).sum();
        let tail = |half: usize| table.iter().skip(half * STEPS).map(|v| v.abs()).sum::<f64>() / total;
        let half = (1..).find(|&half| tail(half) < TAIL).unwrap_or(1);
        Self { table, half }
    }

    /// Taps of every window.
    pub(super) fn taps(&self) -> usize {
        2 * self.half
    }

    fn at(&self, distance: f64) -> f64 {
        let place = distance.abs() * STEPS as f64;
        let (index, part) = (place as usize, place.fract());
        let value = |i: usize| self.table.get(i).copied().unwrap_or(0.0);
        value(index) + part * (value(index + 1) - value(index))
    }

    /// First pixel and normalised weights of the window around `position`.
    pub(super) fn window(&self, position: f64, weights: &mut [f32]) -> isize {
        let first = position.floor() as isize - self.half as isize + 1;
        let value = |k: usize| self.at(first as f64 + k as f64 - position);
        let total: f64 = (0..weights.len()).map(value).sum();
        for (k, weight) in weights.iter_mut().enumerate() {
            *weight = (value(k) / total) as f32;
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_keep_the_position_and_the_width_of_the_gaussian() {
        for sigma in [0.2, 0.35, 0.7, 1.4, 2.8] {
            let psf = Psf::new(sigma);
            for position in [3.0, 3.3, 3.5, -2.8] {
                let mut weights = vec![0.0; psf.taps()];
                let first = psf.window(position, &mut weights);
                let moment = |n: i32| -> f64 {
                    let term = |(k, w): (usize, &f32)| f64::from(*w) * ((first + k as isize) as f64 - position).powi(n);
                    weights.iter().enumerate().map(term).sum()
                };
                assert!((moment(0) - 1.0).abs() < 1e-6, "sum at sigma {sigma}, position {position}");
                assert!(moment(1).abs() < 0.02, "centre at sigma {sigma}, position {position}: {}", moment(1));
                let width = moment(2).max(0.0).sqrt();
                assert!((width - sigma).abs() < 0.08, "width at sigma {sigma}, position {position}: {width}");
            }
        }
    }
}
