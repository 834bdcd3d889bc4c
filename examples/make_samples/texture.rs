//! What the camera looks at, and the camera.
//!
//! A texture holds the scene at [`TEXELS`] texels for each low-resolution pixel and does not change. The camera
//! takes, for each pixel, a Gaussian average around that pixel's exact position, so that motion by any fraction of a
//! pixel is rendered without steps: the averages are wide enough (1.6 texels and more) for the texture's own grid not
//! to show. The average is taken of the coded (gamma) values, as the data sets of the field do.

use ndarray::Array2;

/// Texels for each low-resolution pixel along one axis.
pub(crate) const TEXELS: usize = 8;
/// Width of the camera's blur (standard deviation) in pixels of the grid it samples.
const BLUR: f64 = 0.4;

/// R, G, B from 0 to 1.
pub(crate) type Rgb = [f32; 3];

/// Y', Cb and Cr (BT.709, from -0.5 for chroma and 0 for luma), each times coverage, and coverage from 0 to 1.
pub(crate) struct Texture {
    planes: [Array2<f32>; 4],
}

impl Texture {
    /// An uncovered texture of `width` x `height` low-resolution pixels.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self { planes: std::array::from_fn(|_| Array2::zeros((height * TEXELS, width * TEXELS))) }
    }

    /// Paints where `color` returns one, given x and y in low-resolution pixels from the top left corner.
    pub(crate) fn paint(&mut self, color: impl Fn(f32, f32) -> Option<Rgb>) {
        let (rows, columns) = self.planes[0].dim();
        self.paint_part([0, 0, columns, rows], color);
    }

    /// As [`Self::paint`], looking only at the rectangle from `(x, y)` of size `(w, h)`.
    pub(crate) fn paint_in(&mut self, [x, y, w, h]: [f32; 4], color: impl Fn(f32, f32) -> Option<Rgb>) {
        let (rows, columns) = self.planes[0].dim();
        let texel = |v: f32, end: usize| ((v * TEXELS as f32).round().max(0.0) as usize).min(end);
        self.paint_part([texel(x, columns), texel(y, rows), texel(x + w, columns), texel(y + h, rows)], color);
    }

    fn paint_part(&mut self, [left, top, right, bottom]: [usize; 4], color: impl Fn(f32, f32) -> Option<Rgb>) {
        for row in top..bottom {
            for column in left..right {
                let at = |texel: usize| (texel as f32 + 0.5) / TEXELS as f32;
                let Some([r, g, b]) = color(at(column), at(row)) else { continue };
                let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
                for (plane, value) in self.planes.iter_mut().zip([y, (b - y) / 1.8556, (r - y) / 1.5748, 1.0]) {
                    plane[[row, column]] = value;
                }
            }
        }
    }
}

/// A grid of samples laid over the scene, in low-resolution pixels.
#[derive(Clone, Copy)]
struct Grid {
    first: (f64, f64),
    step: f64,
    size: (usize, usize),
    sigma: f64,
}

/// One picture: Y, Cb, Cr as 8-bit studio-range 4:2:0 with chroma sited left, ready for a raw file.
///
/// `layers` are textures with the scene position of their top left corner, the lowest first; `camera` is the scene
/// position of the picture's top left corner; all in low-resolution pixels. `scale` samples for each low-resolution
/// pixel. Layers are blurred one by one and then laid over each other, which is not quite what a lens does at the
/// edge of a moving thing.
pub(crate) fn picture(
    layers: &[(&Texture, (f64, f64))],
    camera: (f64, f64),
    (width, height): (usize, usize),
    scale: usize,
) -> Vec<u8> {
    let pixel = 1.0 / scale as f64;
    let luma = Grid {
        first: (camera.0 + 0.5 * pixel, camera.1 + 0.5 * pixel),
        step: pixel,
        size: (width * scale, height * scale),
        sigma: BLUR * pixel,
    };
    let chroma = Grid {
        first: (camera.0 + 0.5 * pixel, camera.1 + pixel),
        step: 2.0 * pixel,
        size: (width * scale / 2, height * scale / 2),
        sigma: 2.0 * BLUR * pixel,
    };
    let mut bytes = Vec::with_capacity(width * height * scale * scale * 3 / 2);
    for (plane, grid, foot, span) in [(0, luma, 16.0, 219.0), (1, chroma, 128.0, 224.0), (2, chroma, 128.0, 224.0)] {
        let mut seen = Array2::zeros((grid.size.1, grid.size.0));
        for (texture, place) in layers {
            let grid = Grid { first: (grid.first.0 - place.0, grid.first.1 - place.1), ..grid };
            let (value, cover) = (sample(&texture.planes[plane], grid), sample(&texture.planes[3], grid));
            seen = seen * (1.0 - cover) + value;
        }
        bytes.extend(seen.iter().map(|v: &f32| (foot + span * v).round().clamp(1.0, 254.0) as u8));
    }
    bytes
}

/// Gaussian averages of `plane` around the points of `grid`, rows first. What is outside the plane counts as 0.
fn sample(plane: &Array2<f32>, grid: Grid) -> Array2<f32> {
    let (rows, columns) = plane.dim();
    let mut tall = Array2::<f32>::zeros((grid.size.1, columns));
    for (o, mut out) in tall.rows_mut().into_iter().enumerate() {
        for (row, weight) in weights(grid.first.1 + o as f64 * grid.step, grid.sigma, rows) {
            out.scaled_add(weight, &plane.row(row));
        }
    }
    let mut wide = Array2::zeros((grid.size.1, grid.size.0));
    for o in 0..grid.size.0 {
        let taps: Vec<_> = weights(grid.first.0 + o as f64 * grid.step, grid.sigma, columns).collect();
        for row in 0..grid.size.1 {
            wide[[row, o]] = taps.iter().map(|&(column, weight)| weight * tall[[row, column]]).sum();
        }
    }
    wide
}

/// Texels around `position` (low-resolution pixels) and their weights; those of an infinite row sum to 1.
fn weights(position: f64, sigma: f64, texels: usize) -> impl Iterator<Item = (usize, f32)> {
    let (centre, sigma) = (position * TEXELS as f64 - 0.5, sigma * TEXELS as f64);
    let total = sigma * std::f64::consts::TAU.sqrt();
    let first = (centre - 4.0 * sigma).ceil() as i64;
    let last = (centre + 4.0 * sigma).floor() as i64;
    (first.max(0)..=last.min(texels as i64 - 1)).map(move |k| {
        let distance = (k as f64 - centre) / sigma;
        (k as usize, ((-0.5 * distance * distance).exp() / total) as f32)
    })
}
