//! What a reconstruction can be told: the family of methods, the blur, and what takes part.

use super::family::Technique;
use super::psf::Blur;
use crate::error::{Error, Kind, Result};

/// Parts of the reconstruction, to be left out one by one when it is measured what each is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// A motion of its own for every pixel; without it each frame moves as a whole.
    pub field: bool,
    /// Trust in each pixel of a neighbour by how it agrees; without it all count alike.
    pub confidence: bool,
    /// The gate between several frames and one.
    pub gate: bool,
    /// Shares of the correction by how much detail there is beside error; without them all is kept that the gate leaves.
    pub shares: bool,
    /// Bounds of residuals that tighten.
    pub bounds: bool,
    /// The total-variation prior.
    pub prior: bool,
    /// Light that differs slowly over the picture.
    pub glow: bool,
    /// Motion corrected by a draft, where the preset makes one.
    pub drafts: bool,
    /// Reconstruction of chroma; without it chroma is interpolated.
    pub chroma: bool,
}

impl Default for Parts {
    fn default() -> Self {
        let all = true;
        Self {
            field: all,
            confidence: all,
            gate: all,
            shares: all,
            bounds: all,
            prior: all,
            glow: all,
            drafts: all,
            chroma: all,
        }
    }
}

/// How pictures are reconstructed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Which family of methods.
    pub technique: Technique,
    /// How the frames are blurred. Over-estimating it costs far more than under-estimating it.
    pub blur: Blur,
    /// Steps of the semi-iteration, 0..=100, above x2 fewer for coded pictures; by scale if not given.
    pub iterations: Option<usize>,
    /// Gain of the total-variation prior, 8-bit scale per step at low noise, 0..=2.
    pub prior: f64,
    /// What takes part.
    pub parts: Parts,
    /// Range of the results, if it is not that of the codes of the depth.
    pub range: Option<(f32, f32)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            technique: Technique::default(),
            blur: Blur::default(),
            iterations: None,
            prior: 0.15,
            parts: Parts::default(),
            range: None,
        }
    }
}

impl Options {
    /// Checks every value against its domain.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the value and its range.
    pub fn validate(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(Kind::Usage, message));
        if let Blur::Gaussian(sigma) = self.blur
            && !(0.1..=1.0).contains(&sigma)
        {
            return wrong(format!("point-spread sigma is {sigma}, allowed are 0.1 to 1 low-resolution pixels"));
        }
        if let Some(iterations @ 101..) = self.iterations {
            return wrong(format!("{iterations} iterations, allowed are 0 to 100"));
        }
        if !(0.0..=2.0).contains(&self.prior) {
            return wrong(format!("prior gain is {}, allowed are 0 to 2", self.prior));
        }
        Ok(())
    }
}
