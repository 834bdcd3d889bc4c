//! The families of reconstruction: five ways to solve for a picture, one observation model.
//!
//! All of them get the same samples at the same places with the same confidences (`observe`, `confidence`) and start
//! from the same interpolated reference (`enlarge`). A family decides what picture follows. `docs/methods.md` has their
//! equations, sources and measurements. What is between frames and samples is not here.

use std::fmt;
use std::str::FromStr;

use super::backproject::{IBP, MAP, POCS, Solver};
use super::frequency::Frequency;
use super::schedule::Schedule;
use super::shift_add::ShiftAdd;
use crate::error::{Error, Kind, Result};
use crate::kernels::splat::Samples;

/// A family of reconstruction methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Technique {
    /// Aliases told apart in the Fourier domain (Tsai and Huang 1984); for frames that move as a whole.
    Frequency,
    /// Non-uniform interpolation, then deblurring (Elad and Hel-Or 2001).
    ShiftAdd,
    /// Iterative back-projection (Irani and Peleg 1991).
    Ibp,
    /// Back-projection with robust residuals and a total-variation prior.
    #[default]
    Map,
    /// Projections onto convex sets (Stark and Oskoui 1989).
    Pocs,
}

impl Technique {
    /// All families, in the order of `--help`.
    pub const ALL: [Self; 5] = [Self::Frequency, Self::ShiftAdd, Self::Ibp, Self::Map, Self::Pocs];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frequency => "frequency",
            Self::ShiftAdd => "shift-add",
            Self::Ibp => "ibp",
            Self::Map => "map",
            Self::Pocs => "pocs",
        }
    }

    /// The one table of families.
    pub(super) fn family(self) -> &'static dyn Family {
        match self {
            Self::Frequency => &Frequency,
            Self::ShiftAdd => &ShiftAdd,
            Self::Ibp => &IBP,
            Self::Map => &MAP,
            Self::Pocs => &POCS,
        }
    }
}

impl fmt::Display for Technique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Technique {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(Kind::Usage, format!("technique {text:?} is not one of {names}"))
        };
        Self::ALL.into_iter().find(|t| t.name() == text).ok_or_else(wrong)
    }
}

/// One way to estimate a plane.
pub(super) trait Family: Sync {
    /// Leaves the estimate of one plane in the solver.
    ///
    /// The solver has observed the neighbours; `seen` are the samples of the reference and then theirs, in the reference's
    /// light.
    fn estimate(&self, solver: &mut Solver, seen: &[Samples<'_>], schedule: &Schedule);
}
