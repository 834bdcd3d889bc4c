//! All planes of a picture, each with its own maps: chroma keeps its place against luma.

use super::{Filter, Resampler};
use crate::frame::{PictureLayout, Plane};
use crate::kernels::CpuLevel;
use rayon::prelude::*;

/// Resamples pictures of one layout to another size.
#[derive(Debug)]
pub struct PictureResampler {
    planes: Vec<Resampler>,
}

impl PictureResampler {
    /// Weights for every plane of `from` to the size of `to`, which is the same layout otherwise.
    ///
    /// # Panics
    /// If `from` is empty.
    pub fn new(from: &PictureLayout, to: &PictureLayout, filter: Filter, cpu: CpuLevel) -> Self {
        let plane = |index| {
            let (vertical, horizontal) = from.plane_maps(index, to);
            Resampler::new(vertical, horizontal, filter, cpu)
        };
        Self { planes: (0..from.plane_count()).map(plane).collect() }
    }

    /// Planes of the output's sizes, zeroed.
    pub fn allocate(&self) -> Vec<Plane> {
        self.planes.iter().map(|plane| Plane::zeros(plane.output_size())).collect()
    }

    /// Resamples all planes into `out`, as from [`Self::allocate`].
    ///
    /// # Panics
    /// If a number of planes or a size differs from the layouts'.
    pub fn resample(&self, planes: &[Plane], out: &mut [Plane]) {
        let count = self.planes.len();
        assert!(planes.len() == count && out.len() == count, "pictures of {count} planes expected");
        self.planes
            .par_iter()
            .zip(planes)
            .zip(out)
            .for_each(|((resampler, input), output)| resampler.resample(input.view(), output));
    }

    /// Resamples plane `index` alone.
    ///
    /// # Panics
    /// If there is no such plane, or a size differs from the layouts'.
    pub fn resample_plane(&self, index: usize, plane: &Plane, out: &mut Plane) {
        self.planes[index].resample(plane.view(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(width: usize, height: usize) -> PictureLayout {
        PictureLayout { alpha: true, ..PictureLayout::yuv420(width, height) }
    }

    /// A ramp over the luma grid is the same ramp after enlargement, in luma, chroma and alpha.
    #[test]
    fn colour_does_not_move_against_luma() {
        let (from, to) = (layout(64, 48), layout(128, 96));
        let ramp = |layout: &PictureLayout, per_pixel: f64, index| {
            let (spacing, site) = if matches!(index, 1 | 2) { (2.0, 0.0) } else { (1.0, 0.0) };
            Plane::from_shape_fn(layout.plane_size(index), |(_, x)| {
                (per_pixel * (spacing * x as f64 + site + 0.5)) as f32
            })
        };
        let small: Vec<Plane> = (0..4).map(|i| ramp(&from, 2.0, i)).collect();
        let resampler = PictureResampler::new(&from, &to, Filter::Bicubic, CpuLevel::detect());
        let mut large = resampler.allocate();
        resampler.resample(&small, &mut large);
        for (i, plane) in large.iter().enumerate() {
            assert_eq!(plane.dim(), to.plane_size(i), "size of plane {i}");
            let want = ramp(&to, 1.0, i);
            for ((y, x), value) in plane.indexed_iter().filter(|((_, x), _)| (8..plane.ncols() - 8).contains(x)) {
                assert!((value - want[[y, x]]).abs() < 1e-3, "plane {i} at {y}, {x}: {value}, not {}", want[[y, x]]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "pictures of 4 planes expected")]
    fn a_missing_plane_is_refused() {
        let resampler = PictureResampler::new(&layout(8, 8), &layout(16, 16), Filter::Nearest, CpuLevel::SCALAR);
        resampler.resample(&[], &mut resampler.allocate());
    }
}
