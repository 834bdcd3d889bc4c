//! What registration finds: shifts, the motion between two frames, and what is known about its quality.

use std::ops::{Add, Neg, Sub};

/// A displacement in low-resolution pixels, +x right, +y down.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shift {
    /// Columns to the right.
    pub dx: f64,
    /// Rows down.
    pub dy: f64,
}

impl Shift {
    /// Euclidean length in pixels.
    pub fn length(self) -> f64 {
        self.dx.hypot(self.dy)
    }
}

impl Add for Shift {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { dx: self.dx + other.dx, dy: self.dy + other.dy }
    }
}

impl Sub for Shift {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { dx: self.dx - other.dx, dy: self.dy - other.dy }
    }
}

impl Neg for Shift {
    type Output = Self;
    fn neg(self) -> Self {
        Self { dx: -self.dx, dy: -self.dy }
    }
}

/// Motion of one frame against another, asked for by position.
///
/// What is at (x, y) in the reference is at (x, y) + `at(x, y)` in the other frame. For now the motion is one
/// translation for the whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Motion {
    shift: Shift,
}

impl Motion {
    /// No motion at all.
    pub fn still() -> Self {
        Self::default()
    }

    /// The same shift everywhere: `dx` columns to the right, `dy` rows down, in low-resolution pixels.
    pub fn translation(dx: f64, dy: f64) -> Self {
        Self { shift: Shift { dx, dy } }
    }

    /// The dominant shift of the frame.
    pub fn global(&self) -> Shift {
        self.shift
    }

    /// The shift of what is at column `x`, row `y` of the reference.
    pub fn at(&self, _x: f64, _y: f64) -> Shift {
        self.shift
    }

    /// The motion a to c, where `self` is a to b and `next` is b to c.
    #[must_use]
    pub fn then(&self, next: &Motion) -> Motion {
        Self { shift: self.shift + next.shift }
    }
}

/// Motion between two frames and how far to trust it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// From the reference to the moving frame.
    pub motion: Motion,
    /// How much the two frames have in common under `motion`, 0 to 1: `sqrt(A D)`, measured on a reduced copy.
    ///
    /// `A` is their agreement corrected for chance, `1 - E / C`, where `E` is the mean absolute difference of
    /// corresponding pixels after gain and offset, and `C` that of randomly paired ones. `D` is the correlation
    /// coefficient of their detail (what differs from its surroundings); negative values count as 0.
    ///
    /// 1 for equal frames, above 0.9 for a good match; what moves otherwise takes about the share of the frame it
    /// covers; usually below 0.2 for unrelated frames, and near 0 for frames without texture, whose motion cannot be
    /// known.
    pub confidence: f64,
    /// Moving frame = gain * reference + offset.
    pub gain: f64,
    /// See `gain`; on the 8-bit scale.
    pub offset: f64,
    /// Whether the two frames show unrelated content: nothing of one should be used for the other.
    pub scene_cut: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn motions_add_along_a_chain() {
        let chain = Motion::translation(1.5, -2.0).then(&Motion::translation(0.25, 5.0));
        assert_eq!(chain.global(), Shift { dx: 1.75, dy: 3.0 }, "a to c");
        assert_eq!(chain.at(10.0, 3.0), chain.global(), "a translation is the same everywhere");
        assert_eq!(chain.then(&Motion::still()), chain, "still changes nothing");
    }
}
