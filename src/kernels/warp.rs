//! Moving a plane onto another frame's grid by a dense motion field: cubic interpolation, sixteen samples at a time.
//!
//! Motion is smooth, so sixteen neighbouring samples nearly always read from cells that differ by one pixel at most:
//! they then share contiguous loads, each sample with weights of its own. The others are read one by one, with the
//! same weights in the same order.

use super::levels;
use super::places::{extremes, whole};

const LANES: usize = 16;

type Lane = [f32; LANES];

/// A plane whose rows have mirrored margins; what lies further out is read from the margin's end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Image<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Samples on both sides of a row; at least 8.
    pub(crate) margin: usize,
}

impl Image<'_> {
    #[inline(always)]
    fn start(&self, y: i32) -> usize {
        let last = self.height as i32 - 1;
        let y = if y < 0 { -1 - y } else { y };
        let y = if y > last { 2 * last + 1 - y } else { y };
        y.clamp(0, last) as usize * (self.width + 2 * self.margin) + self.margin
    }
}

/// Keys' cubic (a = -1/2) for `N` taps; `t` is the distance beyond the second tap, below 1 if `N` is 4.
#[inline(always)]
fn cubic<const N: usize>(t: &Lane) -> [Lane; N] {
    let mut out = [[0.0; LANES]; N];
    for i in 0..LANES {
        let beyond = N == 5 && t[i] >= 1.0;
        let f = if beyond { t[i] - 1.0 } else { t[i] };
        let first = f * (f * (1.0 - 0.5 * f) - 0.5);
        let last = f * f * (0.5 * f - 0.5);
        let second = f * f * (1.5 * f - 2.5) + 1.0;
        let third = 1.0 - first - second - last;
        if N == 5 {
            out[0][i] = if beyond { 0.0 } else { first };
            out[1][i] = if beyond { first } else { second };
            out[2][i] = if beyond { second } else { third };
            out[3][i] = if beyond { third } else { last };
            out[4][i] = if beyond { last } else { 0.0 };
        } else {
            out[0][i] = first;
            out[1][i] = second;
            out[2][i] = third;
            out[3][i] = last;
        }
    }
    out
}

/// Reads sixteen samples whose cells start at row `y`, place `x` (lane 0), or one further.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "the index is that of the tap in both arrays")]
fn together<const NX: usize, const NY: usize>(image: &Image<'_>, y: i32, x: usize, ty: &Lane, tx: &Lane) -> Lane {
    let (wx, wy) = (cubic::<NX>(tx), cubic::<NY>(ty));
    let mut total = [0.0; LANES];
    for ky in 0..NY {
        let start = image.start(y + ky as i32) + x - image.margin;
        let line = &image.data[start..start + LANES + NX - 1];
        let mut row = [0.0; LANES];
        for kx in 0..NX {
            let values = &line[kx..kx + LANES];
            for i in 0..LANES {
                row[i] += wx[kx][i] * values[i];
            }
        }
        for i in 0..LANES {
            total[i] += wy[ky][i] * row[i];
        }
    }
    total
}

/// Reads one sample with its cell at row `y`, place `x`.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "the index is that of the tap in both arrays")]
fn alone(image: &Image<'_>, y: i32, x: usize, ty: f32, tx: f32) -> f32 {
    let (wx, wy) = (cubic::<4>(&[tx; LANES]), cubic::<4>(&[ty; LANES]));
    let mut total = 0.0;
    for ky in 0..4 {
        let start = image.start(y + ky as i32) + x - image.margin;
        let mut row = 0.0;
        for kx in 0..4 {
            row += wx[kx][0] * image.data[start + kx];
        }
        total += wy[ky][0] * row;
    }
    total
}

/// `position` within -1 and `end`; -1 if it is no number.
#[inline(always)]
fn within(position: f32, end: f32) -> f32 {
    let position = if position >= -1.0 { position } else { -1.0 };
    if position <= end { position } else { end }
}

/// Sixteen samples from column `x` of row `y`, moved by (dy, dx); `unseen` where they look outside the picture.
#[inline(always)]
fn sixteen(image: &Image<'_>, y: usize, x: usize, dy: &Lane, dx: &Lane, unseen: f32) -> Lane {
    let (bottom, right) = (image.height as f32 - 0.5, image.width as f32 - 0.5);
    let (mut cell_y, mut cell_x) = ([0; LANES], [0; LANES]);
    let (mut ty, mut tx, mut outside) = ([0.0; LANES], [0.0; LANES], [0; LANES]);
    for i in 0..LANES {
        let (py, px) = (y as f32 + dy[i], (x + i) as f32 + dx[i]);
        let seen = (py >= -0.5) & (py <= bottom) & (px >= -0.5) & (px <= right);
        outside[i] = if seen { 0 } else { -1 };
        // Unseen samples follow their lane so that they do not keep the others apart.
        let (py, px) = (within(py, bottom), within(px, right));
        let (fy, fx) = (py.floor(), px.floor());
        (ty[i], tx[i]) = (py - fy, px - fx);
        (cell_y[i], cell_x[i]) = (whole(fy), whole(fx) - i as i32);
    }
    let ((low_y, high_y), (low_x, high_x)) = (extremes(cell_y, cell_y), extremes(cell_x, cell_x));
    let place = low_x - 1 + image.margin as i32;
    let fits = place >= 0 && place as usize + LANES + 5 <= image.width + 2 * image.margin;
    let mut out = if high_y - low_y <= 1 && high_x - low_x <= 1 && fits {
        for i in 0..LANES {
            ty[i] += (cell_y[i] - low_y) as f32;
            tx[i] += (cell_x[i] - low_x) as f32;
        }
        let (y, x) = (low_y - 1, place as usize);
        match (high_y > low_y, high_x > low_x) {
            (false, false) => together::<4, 4>(image, y, x, &ty, &tx),
            (false, true) => together::<5, 4>(image, y, x, &ty, &tx),
            (true, false) => together::<4, 5>(image, y, x, &ty, &tx),
            (true, true) => together::<5, 5>(image, y, x, &ty, &tx),
        }
    } else {
        let mut out = [0.0; LANES];
        for i in 0..LANES {
            let x = (cell_x[i] + i as i32 - 1 + image.margin as i32) as usize;
            out[i] = alone(image, cell_y[i] - 1, x, ty[i], tx[i]);
        }
        out
    };
    for i in 0..LANES {
        out[i] = if outside[i] == 0 { out[i] } else { unseen };
    }
    out
}

levels! {
    /// `out[x]` = `image` at (x + dx[x], y + dy[x]), or `unseen` where that is more than half a pixel outside.
    ///
    /// Panics if the slices differ in length or the margin is below 8.
    pub(crate) fn warp_row(out: &mut [f32], image: &Image<'_>, y: usize, dy: &[f32], dx: &[f32], unseen: f32) {
        assert!(dy.len() == out.len() && dx.len() == out.len() && image.margin >= 8, "one vector a sample");
        let (whole, rest) = out.as_chunks_mut::<LANES>();
        let moved = whole.iter_mut().zip(dy.as_chunks::<LANES>().0.iter().zip(dx.as_chunks::<LANES>().0));
        for (k, (out, (dy, dx))) in moved.enumerate() {
            *out = sixteen(image, y, k * LANES, dy, dx, unseen);
        }
        let (start, n) = (whole.len() * LANES, rest.len());
        if n > 0 {
            let (mut ly, mut lx) = ([dy[start + n - 1]; LANES], [dx[start + n - 1]; LANES]);
            ly[..n].copy_from_slice(&dy[start..start + n]);
            lx[..n].copy_from_slice(&dx[start..start + n]);
            let moved = sixteen(image, y, start, &ly, &lx, unseen);
            rest.copy_from_slice(&moved[..n]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{CpuLevel, taps};

    fn image(width: usize, height: usize, margin: usize) -> Vec<f32> {
        let stride = width + 2 * margin;
        let value = |n: usize| {
            let (y, x) = (n / stride, (n % stride) as isize - margin as isize);
            let w = x.rem_euclid(2 * width as isize) as usize;
            let x = w.min(2 * width - 1 - w);
            ((x * 37 + y * 91) % 101) as f32
        };
        (0..stride * height).map(value).collect()
    }

    #[test]
    fn moved_samples_are_those_of_cubic_interpolation_and_equal_at_every_level() {
        for (width, height) in [(1, 1), (5, 3), (40, 9), (61, 30)] {
            let data = image(width, height, 8);
            let image = Image { data: &data, height, width, margin: 8 };
            for shear in [0.0f32, 0.03, 0.4, 2.3] {
                let dy: Vec<f32> = (0..width).map(|x| 0.3 + shear * x as f32 % 5.0 - 1.0).collect();
                let dx: Vec<f32> = (0..width).map(|x| 1.7 - shear * x as f32 % 7.0).collect();
                for y in 0..height {
                    let mut out = vec![0.0; width];
                    warp_row(CpuLevel::SCALAR, &mut out, &image, y, &dy, &dx, -7.0);
                    for x in 0..width {
                        let (py, px) = (f64::from(y as f32 + dy[x]), f64::from(x as f32 + dx[x]));
                        let inside = |p: f64, n: usize| p >= -0.5 && p <= n as f64 - 0.5;
                        let mut wanted = -7.0;
                        if inside(py, height) && inside(px, width) {
                            wanted = 0.0;
                            for ky in py.floor() as i64 - 1..=py.floor() as i64 + 2 {
                                for kx in px.floor() as i64 - 1..=px.floor() as i64 + 2 {
                                    let at = |k: i64, n: usize| {
                                        let k = if k < 0 { -1 - k } else { k };
                                        let k = if k >= n as i64 { 2 * n as i64 - 1 - k } else { k };
                                        k.clamp(0, n as i64 - 1) as usize
                                    };
                                    let weight = taps::cubic(ky as f64 - py) * taps::cubic(kx as f64 - px);
                                    let column = (kx + 8) as usize;
                                    wanted += weight * f64::from(data[at(ky, height) * (width + 16) + column]);
                                }
                            }
                        }
                        let wrong = (f64::from(out[x]) - wanted).abs();
                        assert!(wrong < 0.01, "{width}x{height} shear {shear} at {x}, {y}: {} {wanted}", out[x]);
                    }
                    for level in CpuLevel::available() {
                        let mut other = vec![0.0; width];
                        warp_row(level, &mut other, &image, y, &dy, &dx, -7.0);
                        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                        assert_eq!(bits(&out), bits(&other), "{level:?}");
                    }
                }
            }
        }
    }
}
