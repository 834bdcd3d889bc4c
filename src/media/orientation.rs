//! Display rotation: reading the display matrix, and turning pictures where a container cannot carry it.

use crate::frame::{ChromaSite, PictureLayout, Plane};

/// A rotation by quarter turns after an optional mirroring, as a display matrix asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orientation {
    /// Whether the picture is mirrored left to right before it is turned.
    pub mirrored: bool,
    /// Clockwise quarter turns, 0 to 3.
    pub quarter_turns: u8,
}

impl Orientation {
    /// Reads the nine 16.16 (and 2.30) fixed-point numbers of an ISO 14496-12 matrix, native byte order.
    ///
    /// The matrix maps (x, y) of the stored picture to (a x + c y, b x + d y) of the shown one. Anything but quarter
    /// turns and mirroring is rounded to the nearest.
    pub(super) fn from_matrix(bytes: &[u8]) -> Self {
        let entry =
            |i: usize| bytes.get(4 * i..4 * i + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
        let (a, b, c, d) = (entry(0), entry(1), entry(3), entry(4));
        let (a, b, c, d) = (i64::from(a), i64::from(b), i64::from(c), i64::from(d));
        let mirrored = a * d - b * c < 0;
        // Mirroring first (x -> -x) changes the sign of the first column.
        let (a, b) = if mirrored { (-a, -b) } else { (a, b) };
        let quarter_turns = if a.abs() >= b.abs() {
            if a >= 0 { 0 } else { 2 }
        } else if b > 0 {
            1
        } else {
            3
        };
        Self { mirrored, quarter_turns }
    }

    /// Whether pictures are shown as they are stored.
    pub fn is_identity(self) -> bool {
        self == Self::default()
    }

    /// Whether width and height change places.
    pub fn swaps_sides(self) -> bool {
        self.quarter_turns % 2 == 1
    }

    /// The layout of a turned picture.
    pub fn layout(self, layout: &PictureLayout) -> PictureLayout {
        let mut turned = layout.clone();
        let site = layout.chroma_site;
        if self.swaps_sides() {
            (turned.width, turned.height) = (layout.height, layout.width);
            turned.chroma_log2 = (layout.chroma_log2.1, layout.chroma_log2.0);
            turned.chroma_site = ChromaSite { x: site.y, y: site.x };
        }
        turned
    }

    /// Turns one plane.
    pub fn turn(self, plane: &Plane) -> Plane {
        let mut view = plane.view();
        if self.mirrored {
            view.invert_axis(ndarray::Axis(1));
        }
        match self.quarter_turns {
            1 => {
                view.swap_axes(0, 1);
                view.invert_axis(ndarray::Axis(1));
            }
            2 => {
                view.invert_axis(ndarray::Axis(0));
                view.invert_axis(ndarray::Axis(1));
            }
            3 => {
                view.swap_axes(0, 1);
                view.invert_axis(ndarray::Axis(0));
            }
            _ => {}
        }
        view.as_standard_layout().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    fn matrix(a: i32, b: i32, c: i32, d: i32) -> Vec<u8> {
        [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30].iter().flat_map(|v| v.to_ne_bytes()).collect()
    }

    #[test]
    fn quarter_turns_and_mirrors_are_read_and_applied() {
        let plane = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        for (m, want) in [
            (matrix(1, 0, 0, 1), arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])),
            (matrix(0, 1, -1, 0), arr2(&[[4.0, 1.0], [5.0, 2.0], [6.0, 3.0]])),
            (matrix(-1, 0, 0, -1), arr2(&[[6.0, 5.0, 4.0], [3.0, 2.0, 1.0]])),
            (matrix(0, -1, 1, 0), arr2(&[[3.0, 6.0], [2.0, 5.0], [1.0, 4.0]])),
            (matrix(-1, 0, 0, 1), arr2(&[[3.0, 2.0, 1.0], [6.0, 5.0, 4.0]])),
            (matrix(1, 0, 0, -1), arr2(&[[4.0, 5.0, 6.0], [1.0, 2.0, 3.0]])),
        ] {
            assert_eq!(Orientation::from_matrix(&m).turn(&plane), want, "{:?}", Orientation::from_matrix(&m));
        }
    }

    #[test]
    fn a_missing_matrix_turns_nothing() {
        assert!(Orientation::from_matrix(&matrix(1, 0, 0, 1)).is_identity(), "identity");
    }
}
