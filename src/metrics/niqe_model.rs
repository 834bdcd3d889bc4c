//! What NIQE compares with: mean and covariance of the features of pictures that look natural.

use super::niqe::{FEATURES, Patch, patches};
use crate::error::{Error, Kind, Result};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// Patches whose local deviation is above this share of the sharpest one's of their picture take part in a model.
const SHARP: f64 = 0.75;

/// Sweeps after which a matrix of this size has long converged.
const SWEEPS: usize = 60;

/// Mean and covariance of features of pictures that look natural.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NiqeModel {
    /// Means of the 36 features.
    pub mean: Vec<f64>,
    /// Their covariance, 36 rows of 36.
    pub covariance: Vec<Vec<f64>>,
    /// Pictures it was fitted to.
    #[serde(default)]
    pub pictures: u64,
    /// Their sharp patches.
    #[serde(default)]
    pub patches: u64,
}

impl NiqeModel {
    /// Whether it is one: sizes and values.
    ///
    /// # Errors
    /// [`Kind::Input`] saying what is wrong.
    pub fn validate(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(Kind::Input, format!("this is no NIQE model: {what}")));
        if self.mean.len() != FEATURES {
            return wrong(format!("mean has {} numbers, not {FEATURES}", self.mean.len()));
        }
        if self.covariance.len() != FEATURES || self.covariance.iter().any(|row| row.len() != FEATURES) {
            return wrong(format!("covariance is not {FEATURES} rows of {FEATURES} numbers"));
        }
        if !self.mean.iter().chain(self.covariance.iter().flatten()).all(|v| v.is_finite()) {
            return wrong("not all numbers are finite".to_owned());
        }
        let c = |i: usize, j: usize| self.covariance[i][j];
        let differ = |i: usize, j: usize| (c(i, j) - c(j, i)).abs() > 1e-6 * (c(i, j).abs() + c(j, i).abs());
        if (0..FEATURES).any(|i| c(i, i) < 0.0 || (0..i).any(|j| differ(i, j))) {
            return wrong("covariance is not symmetric with variances of 0 and more".to_owned());
        }
        Ok(())
    }

    /// Equation 10: the distance of the features of a picture's patches; `None` if no patch has all features.
    pub(super) fn distance(&self, features: &[[f64; FEATURES]]) -> Option<f64> {
        let moments = Moments::of(features)?;
        let half = |i: usize, j: usize| 0.5 * (self.covariance[i][j] + moments.covariance[i][j]);
        let matrix: [[f64; FEATURES]; FEATURES] = std::array::from_fn(|i| std::array::from_fn(|j| half(i, j)));
        let apart = std::array::from_fn(|i| self.mean[i] - moments.mean[i]);
        Some(inverse_form(matrix, apart).max(0.0).sqrt())
    }
}

/// Collects the sharp patches of pictures for a model.
#[derive(Debug, Default)]
pub struct NiqeFit {
    features: Vec<[f64; FEATURES]>,
    pictures: u64,
}

impl NiqeFit {
    /// Takes a picture: luma on the 8-bit scale. Returns how many of its patches take part: those of at least three
    /// quarters of the sharpness of its sharpest. Keeps 288 bytes for each.
    pub fn push(&mut self, plane: ArrayView2<'_, f32>) -> usize {
        let patches: Vec<Patch> = patches(plane);
        let sharpest = patches.iter().map(|patch| patch.sharpness).fold(0.0, f64::max);
        let before = self.features.len();
        self.features.extend(patches.iter().filter(|patch| patch.sharpness > SHARP * sharpest).map(|p| p.features));
        self.pictures += 1;
        self.features.len() - before
    }

    /// The model.
    ///
    /// # Errors
    /// [`Kind::Input`] if there were not more patches than features: their covariance would mean nothing.
    pub fn finish(self) -> Result<NiqeModel> {
        let complete = self.features.iter().filter(|f| f.iter().all(|v| v.is_finite())).count();
        let moments = Moments::of(&self.features).filter(|_| complete > FEATURES).ok_or_else(|| {
            let message =
                format!("{} pictures have {complete} sharp patches of 96x96, too few for a NIQE model", self.pictures);
            Error::new(Kind::Input, message).hint(format!("at least {} are needed, thousands are better", FEATURES + 1))
        })?;
        Ok(NiqeModel {
            mean: moments.mean.to_vec(),
            covariance: moments.covariance.iter().map(|row| row.to_vec()).collect(),
            pictures: self.pictures,
            patches: complete as u64,
        })
    }
}

/// Mean and covariance of features.
struct Moments {
    mean: [f64; FEATURES],
    covariance: [[f64; FEATURES]; FEATURES],
}

impl Moments {
    /// Means of what is known; covariance (over `n - 1`) of the patches of which all is; `None` if there is none.
    fn of(features: &[[f64; FEATURES]]) -> Option<Self> {
        let mean = |i: usize, of: &[&[f64; FEATURES]]| {
            let known = of.iter().map(|f| f[i]).filter(|v| v.is_finite());
            known.clone().sum::<f64>() / known.count() as f64
        };
        let all: Vec<&[f64; FEATURES]> = features.iter().collect();
        let complete: Vec<&[f64; FEATURES]> = features.iter().filter(|f| f.iter().all(|v| v.is_finite())).collect();
        if complete.is_empty() {
            return None;
        }
        let centre: [f64; FEATURES] = std::array::from_fn(|i| mean(i, &complete));
        let n = (complete.len().max(2) - 1) as f64;
        let entry =
            |i: usize, j: usize| complete.iter().map(|f| (f[i] - centre[i]) * (f[j] - centre[j])).sum::<f64>() / n;
        let covariance = std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j)));
        Some(Self { mean: std::array::from_fn(|i| mean(i, &all)), covariance })
    }
}

/// `x' pinv(A) x` for a symmetric matrix, by its eigenvectors.
///
/// Cyclic Jacobi rotations (Golub and Van Loan, Matrix Computations, section 8.5). Directions whose eigenvalue is all
/// rounding are left out, as a pseudo-inverse does.
fn inverse_form<const N: usize>(mut a: [[f64; N]; N], mut x: [f64; N]) -> f64 {
    for _ in 0..SWEEPS {
        let largest = (0..N).map(|i| a[i][i].abs()).fold(0.0, f64::max);
        let mut rotated = false;
        for p in 0..N {
            for q in p + 1..N {
                if a[p][q].abs() > f64::EPSILON * f64::EPSILON * largest {
                    rotate(&mut a, &mut x, p, q);
                    rotated = true;
                }
            }
        }
        if !rotated {
            break;
        }
    }
    let values: [f64; N] = std::array::from_fn(|i| a[i][i]);
    let least = N as f64 * f64::EPSILON * values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    values.iter().zip(x).filter(|(value, _)| value.abs() > least).map(|(value, x)| x * x / value).sum()
}

/// Turns the axes `p` and `q` so that `a[p][q]` becomes 0, and `x` with them.
#[allow(clippy::needless_range_loop, reason = "two rows and two columns of one matrix")]
fn rotate<const N: usize>(a: &mut [[f64; N]; N], x: &mut [f64; N], p: usize, q: usize) {
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..N {
        let (kp, kq) = (a[k][p], a[k][q]);
        (a[k][p], a[k][q]) = (c * kp - s * kq, s * kp + c * kq);
    }
    for k in 0..N {
        let (pk, qk) = (a[p][k], a[q][k]);
        (a[p][k], a[q][k]) = (c * pk - s * qk, s * pk + c * qk);
    }
    (a[p][q], a[q][p]) = (0.0, 0.0);
    (x[p], x[q]) = (c * x[p] - s * x[q], s * x[p] + c * x[q]);
}
