//! Names burnt into a video: letters of 8 by 8 pixels, enlarged, light on a dark box.
//!
//! The font is in the public domain (font8x8); it has the letters of Latin scripts, others show as `?`.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};

use crate::frame::{PictureLayout, Plane};

/// Side of a letter before it is enlarged.
const LETTER: usize = 8;
/// Rows of a picture for each enlargement of a letter.
const ROWS: usize = 320;

/// How bright a label is in a picture, and what is dark and without colour there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ink {
    /// Values of luma, or of R, G and B.
    pub(super) light: f32,
    pub(super) dark: f32,
    /// Value of chroma.
    pub(super) neutral: f32,
    /// Side of a dot of a letter, pixels.
    pub(super) dot: usize,
}

/// Side of a letter's dot in pictures of so many rows.
pub(super) fn dot(rows: usize) -> usize {
    rows.div_ceil(ROWS).max(1)
}

/// The dots of a letter, rows from the top, the lowest bit on the left.
fn letter(c: char) -> [u8; LETTER] {
    let known = |c: char| BASIC_FONTS.get(c).or_else(|| LATIN_FONTS.get(c));
    known(c).or_else(|| known('?')).unwrap_or_default()
}

/// Writes `text` at the top left of the strip of `columns` from `left` on, as far as it fits, on rows from `top` on.
pub(super) fn write(
    planes: &mut [Plane],
    layout: &PictureLayout,
    text: &str,
    (left, top): (usize, usize),
    columns: usize,
    ink: Ink,
) {
    let dot = ink.dot;
    let margin = 2 * dot;
    let fitting = (columns.saturating_sub(4 * margin) / (LETTER * dot)).min(text.chars().count());
    let letters: Vec<[u8; LETTER]> = text.chars().take(fitting).map(letter).collect();
    let box_size = (letters.len() * LETTER * dot + 2 * margin, LETTER * dot + 2 * margin);
    let origin = (left + margin, top + margin);
    if letters.is_empty() {
        return;
    }
    let lit = |x: usize, y: usize| {
        let (Some(x), Some(y)) = (x.checked_sub(margin), y.checked_sub(margin)) else { return false };
        let (column, row) = (x / dot, y / dot);
        letters.get(column / LETTER).is_some_and(|l| row < LETTER && l[row] >> (column % LETTER) & 1 == 1)
    };
    for (index, plane) in planes.iter_mut().enumerate() {
        let (log2_x, log2_y) = layout.plane_log2(index);
        let chroma = layout.family == crate::frame::ColorFamily::YCbCr && index > 0;
        for y in 0..box_size.1.div_ceil(1 << log2_y) {
            for x in 0..box_size.0.div_ceil(1 << log2_x) {
                let at = ((origin.1 >> log2_y) + y, (origin.0 >> log2_x) + x);
                if let Some(sample) = plane.get_mut(at) {
                    *sample = match chroma {
                        true => ink.neutral,
                        false if lit(x, y) => ink.light,
                        false => ink.dark,
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_drawn_the_right_way_round_and_unknown_ones_are_marked() {
        // The stem of an L is on its left, its foot at the bottom.
        let rows = letter('L');
        let side = |from: u32| rows.iter().map(|row| (row >> from & 0xF).count_ones()).sum::<u32>();
        assert!(side(0) > side(4), "{rows:?}");
        assert!(rows[6].count_ones() > rows[1].count_ones(), "{rows:?}");
        assert_eq!(letter('語'), letter('?'), "unknown");
        assert_ne!(letter('é'), letter('?'), "Latin");
    }
}
