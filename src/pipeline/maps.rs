//! Pictures for looking at a reconstruction: motion, confidence and gate of every frame, as PPM and PGM files.
//!
//! Motion against the next frame is told by colour: the hue is the direction (red right, yellow-green down, cyan left,
//! violet up), white is still and full colour is the length written into the file's comment. Confidence and gate are
//! grey, black 0 and white 1. All pictures have the input's size.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::frame::Plane;

/// What was measured to make one frame; all planes `rows x columns` of the input's luma.
#[derive(Debug, Clone, PartialEq)]
pub struct Maps {
    /// (down, right): what is at a pixel of this frame lies that far from it in the next one, in input pixels. 0 if
    /// this frame is the last of its scene.
    pub motion: [Plane; 2],
    /// Mean confidence of the neighbours that took part, 0 to 1; 0 where none did.
    pub confidence: Plane,
    /// How far neighbours were let take part, 0 to 1.
    pub gate: Plane,
}

/// A folder that maps are written to.
#[derive(Debug)]
pub(super) struct MapFolder {
    folder: PathBuf,
    overwrite: bool,
}

impl MapFolder {
    /// Makes the folder if it is missing; pictures in it are replaced only if `overwrite`.
    pub(super) fn create(folder: &Path, overwrite: bool) -> Result<Self> {
        let failed = |e| Error::new(Kind::Create, "the folder for debug maps cannot be made").caused_by(e).file(folder);
        fs::create_dir_all(folder).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), overwrite })
    }

    /// Writes the three pictures of frame `index`.
    pub(super) fn write(&self, index: u64, maps: &Maps) -> Result<()> {
        let (scale, colours) = coloured(&maps.motion);
        let comment = format!("full colour: {scale} pixels a frame");
        self.picture(&format!("motion_{index:06}.ppm"), "P6", &comment, maps.motion[0].dim(), &colours)?;
        for (name, plane) in [("confidence", &maps.confidence), ("gate", &maps.gate)] {
            let bytes: Vec<u8> = plane.iter().map(|v| byte(*v)).collect();
            self.picture(&format!("{name}_{index:06}.pgm"), "P5", "white: 1", plane.dim(), &bytes)?;
        }
        Ok(())
    }

    fn picture(&self, name: &str, kind: &str, comment: &str, size: (usize, usize), bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        let failed =
            |e: std::io::Error| Error::new(Kind::of_io(&e), "writing a debug map failed").caused_by(e).file(&path);
        let mut file = self.open(&path)?;
        write!(file, "{kind}\n# {comment}\n{} {}\n255\n", size.1, size.0).map_err(failed)?;
        file.write_all(bytes).map_err(failed)
    }

    fn open(&self, path: &Path) -> Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).truncate(self.overwrite).create(true).create_new(!self.overwrite);
        options.open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::new(Kind::Create, "exists already").hint("--overwrite replaces it").file(path)
            }
            _ => Error::new(Kind::Create, "a debug map cannot be made").caused_by(e).file(path),
        })
    }
}

/// 0..=1 as a byte.
fn byte(value: f32) -> u8 {
    (255.0 * value).round().clamp(0.0, 255.0) as u8
}

/// Colours of a motion, red, green and blue of each pixel, and the length that full colour stands for: a power of two,
/// 1 at least.
fn coloured([down, right]: &[Plane; 2]) -> (u32, Vec<u8>) {
    let longest = down.iter().zip(right).map(|(dy, dx)| dy.hypot(*dx)).fold(0.0, f32::max);
    let scale = (longest.ceil().min(32_768.0) as u32).max(1).next_power_of_two();
    let colour = |(dy, dx): (&f32, &f32)| {
        let (length, turn) = (dy.hypot(*dx) / scale as f32, dy.atan2(*dx) / std::f32::consts::TAU);
        // Red, green and blue are a third of a turn apart.
        [0.0, 1.0, 2.0].map(|third: f32| {
            let away = ((turn - third / 3.0).rem_euclid(1.0) - 0.5).abs() * 6.0;
            byte(1.0 - length.min(1.0) * (1.0 - (away - 1.0).clamp(0.0, 1.0)))
        })
    };
    (scale, down.iter().zip(right).flat_map(colour).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hue_is_direction_and_saturation_length() {
        let plane = |values: [f32; 6]| Plane::from_shape_vec((1, 6), values.to_vec()).expect("six");
        let third = std::f32::consts::TAU / 3.0;
        let (down, right) = (third.sin(), third.cos());
        let motion = [
            plane([0.0, 0.0, 4.0 * down, -4.0 * down, 0.0, 0.0]),
            plane([0.0, 4.0, 4.0 * right, 4.0 * right, -4.0, 2.0]),
        ];
        let (scale, colours) = coloured(&motion);
        assert_eq!(scale, 4, "full colour");
        let pixels: Vec<&[u8]> = colours.chunks(3).collect();
        let wanted: [[u8; 3]; 6] =
            [[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 255, 255], [255, 128, 128]];
        for (got, want) in pixels.iter().zip(wanted) {
            assert!(got.iter().zip(want).all(|(a, b)| a.abs_diff(b) <= 1), "{pixels:?}");
        }
    }
}
