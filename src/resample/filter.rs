//! The interpolation kernels and their names.
//!
//! Each is a function of the distance in input samples, 1 at 0 and exactly 0 at every other integer, so that a
//! sample that is asked for where it lies comes back unchanged. `docs/resampling.md` has the equations and sources.

use crate::error::{Error, Kind};
use crate::frame::AxisMap;
use crate::kernels::taps::{Taps, cubic};
use std::fmt;
use std::str::FromStr;

/// How samples between samples are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The nearest sample, unchanged; of two equally near ones the first.
    Nearest,
    /// Straight lines between neighbours: 2 taps.
    Bilinear,
    /// Keys (1981) with a = -1/2: 4 taps.
    Bicubic,
    /// Sinc windowed by the central lobe of a sinc three times as wide: 6 taps.
    Lanczos,
}

impl Filter {
    /// All filters, cheapest first.
    pub const ALL: [Self; 4] = [Self::Nearest, Self::Bilinear, Self::Bicubic, Self::Lanczos];

    /// Lower-case name, as given on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    /// The weights of one axis; reductions stretch the kernel by `1 / scale`, which removes what would alias.
    ///
    /// # Panics
    /// If the map has no input samples.
    pub(super) fn taps(self, map: AxisMap) -> Taps {
        let position = |o: usize| on_grid(map.input_position(o as f64));
        let positions = (0..map.output).map(position);
        let stretch = (1.0 / map.scale).max(1.0);
        let sampled = |support: f64, kernel: fn(f64) -> f64| {
            let positions: Vec<f64> = positions.clone().collect();
            Taps::new(map.input, &positions, support * stretch, |x| kernel(x / stretch))
        };
        match self {
            Self::Nearest => {
                let nearest: Vec<f64> = positions.map(|p| (p - 0.5).ceil()).collect();
                Taps::new(map.input, &nearest, 0.25, |_| 1.0)
            }
            Self::Bilinear => sampled(1.0, triangle),
            Self::Bicubic => sampled(2.0, cubic),
            Self::Lanczos => sampled(3.0, lanczos),
        }
    }
}

/// A position rounded to a multiple of `2^-30` samples.
///
/// Distances to samples are then exact in `f64`: equal phases get equal weights wherever they are, ties of the
/// nearest sample are ties, and positions meant to be integers are integers.
fn on_grid(position: f64) -> f64 {
    const STEPS: f64 = (1u32 << 30) as f64;
    (position * STEPS).round() / STEPS
}

/// Linear interpolation: `1 - |x|` up to 1.
fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// `sinc(x) sinc(x / 3)` up to 3 (Duchon 1979, with three lobes).
fn lanczos(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    if x.abs() >= 3.0 || x.fract() == 0.0 {
        return 0.0;
    }
    let phase = std::f64::consts::PI * x;
    3.0 * phase.sin() * (phase / 3.0).sin() / (phase * phase)
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|filter| filter.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(Kind::Usage, format!("unknown filter '{name}', expected one of {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_refused_with_the_list() {
        for filter in Filter::ALL {
            assert_eq!(filter.to_string().parse::<Filter>().expect("own name"), filter, "{filter}");
        }
        let error = "Lanczos3".parse::<Filter>().expect_err("no such filter");
        assert_eq!(error.kind(), Kind::Usage, "{error}");
        assert_eq!(
            error.to_string(),
            "unknown filter 'Lanczos3', expected one of nearest, bilinear, bicubic, lanczos",
            "text"
        );
    }

    #[test]
    fn kernels_are_one_at_zero_and_exactly_zero_at_other_integers() {
        for kernel in [triangle, cubic, lanczos] {
            assert_eq!(kernel(0.0), 1.0, "centre");
            for x in 1..5 {
                assert_eq!((kernel(f64::from(x)), kernel(f64::from(-x))), (0.0, 0.0), "at {x}");
            }
        }
        assert!((lanczos(0.5) - 0.607_927_101_854_026_6).abs() < 1e-15, "6 / pi^2 at a half");
    }

    #[test]
    fn equal_phases_have_equal_weights() {
        for (input, output) in [(100, 300), (640, 1920), (50, 350)] {
            let taps = Filter::Lanczos.taps(AxisMap::centered(input, output));
            let period = output / input;
            for o in 20 * period..(input - 20) * period {
                assert_eq!(taps.weights(o), taps.weights(o + period), "{input} to {output}, output {o}");
                assert_eq!(taps.start(o) + 1, taps.start(o + period), "{input} to {output}, output {o}");
            }
        }
    }
}
