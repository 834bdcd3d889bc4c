//! Asymmetric generalised Gaussians, fitted by moments (Lasmar, Stitou and Berthoumieu 2009,
//! doi:10.1109/ICIP.2009.5414404), as NIQE uses them.

use std::sync::LazyLock;

/// Shapes that are tried: 0.2 to 10 in steps of 0.001.
const SHAPES: usize = 9801;

/// Below this mean square there is nothing but rounding.
const NOTHING: f64 = 1e-8;

/// Shape, left and right scale of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Aggd {
    pub(super) alpha: f64,
    pub(super) left: f64,
    pub(super) right: f64,
}

/// A shape and what depends on it alone.
struct Shape {
    alpha: f64,
    /// `gamma(2/a)^2 / (gamma(1/a) gamma(3/a))`, which grows with `a`.
    ratio: f64,
}

static TABLE: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let shape = |i: usize| {
        let alpha = 0.2 + 0.001 * i as f64;
        let [one, two, three] = [1.0, 2.0, 3.0].map(|k| libm::tgamma(k / alpha));
        Shape { alpha, ratio: two * two / (one * three) }
    };
    (0..SHAPES).map(shape).collect()
});

impl Aggd {
    /// Fits `count` values by the sums of squares of negative and of positive ones and of absolute values, and how many are
    /// negative and positive. `None` if all values of a side are missing or all are 0 but for rounding.
    pub(super) fn fit([negative, positive, absolute, below, above]: [f64; 5], count: usize) -> Option<Self> {
        let n = count as f64;
        if below == 0.0 || above == 0.0 || (negative + positive) / n < NOTHING {
            return None;
        }
        let (left, right) = ((negative / below).sqrt(), (positive / above).sqrt());
        let skew = left / right;
        let ratio = (absolute / n).powi(2) / ((negative + positive) / n);
        let wanted = ratio * (skew.powi(3) + 1.0) * (skew + 1.0) / (skew * skew + 1.0).powi(2);
        let after = TABLE.partition_point(|shape| shape.ratio < wanted).min(SHAPES - 1);
        let before = after.saturating_sub(1);
        let apart = |i: usize| (TABLE[i].ratio - wanted).abs();
        let alpha = TABLE[if apart(before) <= apart(after) { before } else { after }].alpha;
        let scale = (libm::tgamma(1.0 / alpha) / libm::tgamma(3.0 / alpha)).sqrt();
        Some(Self { alpha, left: left * scale, right: right * scale })
    }

    /// Equation 8 of Mittal, Soundararajan and Bovik (2013).
    pub(super) fn mean(self) -> f64 {
        (self.right - self.left) * libm::tgamma(2.0 / self.alpha) / libm::tgamma(1.0 / self.alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments of a normal distribution and of a Laplacian one have the shapes 2 and 1.
    #[test]
    fn known_distributions_have_their_shapes() {
        let n = 1000usize;
        let sums = |square: f64, absolute: f64| {
            [0.5, 0.5, 0.0, 0.0, 0.0]
                .map(|s| s * square * n as f64)
                .into_iter()
                .zip([0.0, 0.0, absolute * n as f64, 500.0, 500.0])
                .map(|(a, b)| a + b)
                .collect::<Vec<f64>>()
        };
        let normal: [f64; 5] = sums(1.0, (2.0 / std::f64::consts::PI).sqrt()).try_into().expect("five");
        let fitted = Aggd::fit(normal, n).expect("a fit");
        assert!((fitted.alpha - 2.0).abs() < 2e-3 && (fitted.left - 2f64.sqrt()).abs() < 2e-3, "{fitted:?}");
        assert!(fitted.mean().abs() < 1e-12, "{fitted:?}");
        let laplace: [f64; 5] = sums(2.0, 1.0).try_into().expect("five");
        let fitted = Aggd::fit(laplace, n).expect("a fit");
        assert!((fitted.alpha - 1.0).abs() < 2e-3 && (fitted.right - 1.0).abs() < 2e-3, "{fitted:?}");
        assert_eq!(Aggd::fit([0.0; 5], n), None, "nothing");
    }
}
