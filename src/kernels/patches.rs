//! Windows of two frames compared under a sub-pixel shift: the sums behind the motion field.
//!
//! A window is square, 16 or 8 pixels wide. All its pixels share one shift, so that interpolation is one set of weights
//! for each axis and rows are read where they lie. Sums are kept in [`LANES`] partial sums, lane `i` taking every sixteenth
//! pixel of the window, and reduced in a fixed order: the same bits at every CPU level.

use super::levels;

/// Partial sums of a window.
const LANES: usize = 16;

/// The widest window.
pub(crate) const WIDEST: usize = 16;

/// The narrowest window.
const NARROWEST: usize = 8;

/// Pixels of the widest window; a narrower one uses the first `side * side` values, row after row.
pub(crate) const AREA: usize = WIDEST * WIDEST;

/// One over the residual whose weight is one half, grey levels: residuals of aliasing count, those of other motion hardly.
const SOFTNESS: f32 = 1.0 / HALF_WEIGHT;

/// See [`SOFTNESS`].
const HALF_WEIGHT: f32 = 8.0;

/// The residual of all pixels that would give the `weight` (as a share of the sum of `G`) a window has, grey levels: for
/// small residuals their root mean square, whereas large ones count less and less.
pub(crate) fn residual_of_weight(weight: f32) -> f32 {
    HALF_WEIGHT * ((1.0 - weight).max(0.0) / weight.max(1e-6)).sqrt()
}

/// A window of the moving frame with its gradient.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    value: [f32; AREA],
    down: [f32; AREA],
    right: [f32; AREA],
}

impl Template {
    /// All zero.
    pub(crate) fn new() -> Self {
        Self { value: [0.0; AREA], down: [0.0; AREA], right: [0.0; AREA] }
    }
}

/// Where and how the reference is read: `side + 1` rows of `side + 1` pixels, row `k` starting at `k * stride`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pub(crate) pixels: &'a [f32],
    pub(crate) stride: usize,
    /// Interpolation weights of a row and the one below, times the gain of brightness.
    pub(crate) rows: [f32; 2],
    /// Interpolation weights of a pixel and the one right of it.
    pub(crate) columns: [f32; 2],
    /// Added to the interpolated value.
    pub(crate) offset: f32,
    /// How the vector changes inside the window: that of its part down, then of its part right, each per row and per
    /// column. Taken into account to first order, by the template's gradient.
    pub(crate) shear: [[f32; 2]; 2],
}

/// Partial sums of a window, in the order of the fields of [`PatchSums`], and room for its residuals.
///
/// They leave the kernel lane by lane: added up inside, they would keep compilers from using vectors.
#[derive(Debug, Clone)]
pub(crate) struct PatchLanes {
    sums: [[f32; LANES]; 9],
    residuals: [f32; AREA],
}

impl PatchLanes {
    /// All zero.
    pub(crate) fn new() -> Self {
        Self { sums: [[0.0; LANES]; 9], residuals: [0.0; AREA] }
    }

    /// [`PatchSums::weight`] alone.
    pub(crate) fn weight(&self, scale: f32) -> f32 {
        scale * total(&self.sums[8])
    }

    /// The sums, each times `scale`.
    pub(crate) fn totals(&self, scale: f32) -> PatchSums {
        let sum = |k: usize| scale * total(&self.sums[k]);
        PatchSums {
            slope: [sum(0), sum(1)],
            tensor: [sum(2), sum(3), sum(4)],
            gradient: [sum(5), sum(6)],
            residual: sum(7),
            weight: sum(8),
        }
    }
}

/// Sums over a window; `g` is the gradient of the template, `r` the residual (reference minus template), `G` the weight
/// of the place and `w = G / (1 + (r / 8)^2)`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct PatchSums {
    /// `w g r`, down and right.
    pub(crate) slope: [f32; 2],
    /// `w g g`: down-down, down-right, right-right.
    pub(crate) tensor: [f32; 3],
    /// `w g`, down and right.
    pub(crate) gradient: [f32; 2],
    /// `w r`.
    pub(crate) residual: f32,
    /// `w`.
    pub(crate) weight: f32,
}

#[inline(always)]
fn lane<const N: usize>(row: &[f32], start: usize) -> [f32; N] {
    let mut lane = [0.0; N];
    lane.copy_from_slice(&row[start..start + N]);
    lane
}

/// One operation on all lanes: loops of a single operation are what compilers turn into vector code.
macro_rules! lanewise {
    ($($name:ident($($arg:ident),*) = $value:expr;)*) => {$(
        #[inline(always)]
        fn $name<const N: usize>($($arg: &[f32; N]),*) -> [f32; N] {
            let mut out = [0.0; N];
            for i in 0..N {
                $(let $arg = $arg[i];)*
                out[i] = $value;
            }
            out
        }
    )*};
}

lanewise! {
    sum_of(a, b) = a + b;
    difference(a, b) = a - b;
    product(a, b) = a * b;
    quotient(a, b) = a / b;
}

/// `sum += a * b`.
#[inline(always)]
fn add<const N: usize>(sum: &mut [f32; N], a: &[f32; N], b: &[f32; N]) {
    *sum = sum_of(sum, &product(a, b));
}

/// Lanes added in pairs, halves first.
#[inline(always)]
fn total(sum: &[f32; LANES]) -> f32 {
    let mut left = *sum;
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            left[i] += left[i + half];
        }
    }
    left[0]
}

/// `weights[0] * a + weights[1] * b`.
#[inline(always)]
fn blend<const N: usize>(a: &[f32; N], b: &[f32; N], weights: [f32; 2]) -> [f32; N] {
    sum_of(&product(a, &[weights[0]; N]), &product(b, &[weights[1]; N]))
}

/// The first pixels of row `y` of the reference, interpolated along the row.
#[inline(always)]
fn across<const N: usize>(look: &Lookup<'_>, y: usize) -> [f32; N] {
    let row = &look.pixels[y * look.stride..];
    blend(&lane(row, 0), &lane(row, 1), look.columns)
}

/// `place / (1 + (residual / 8)^2)`.
#[inline(always)]
fn weight_of(residual: &[f32; LANES], place: &[f32; LANES]) -> [f32; LANES] {
    let share = product(residual, &[SOFTNESS; LANES]);
    quotient(place, &sum_of(&[1.0; LANES], &product(&share, &share)))
}

/// Writes the residuals of a window of `SIDE`, row after row; `SHEARED` if the shear is not zero.
#[inline(always)]
fn residuals<const SIDE: usize, const SHEARED: bool>(out: &mut [f32; AREA], template: &Template, look: &Lookup<'_>) {
    let middle = (SIDE as f32 - 1.0) / 2.0;
    let [mut shear_down, mut shear_right] = [[0.0; SIDE]; 2];
    for i in 0..SIDE {
        let x = i as f32 - middle;
        shear_down[i] = look.shear[0][1] * x;
        shear_right[i] = look.shear[1][1] * x;
    }
    let mut above: [f32; SIDE] = across(look, 0);
    for y in 0..SIDE {
        let below = across(look, y + 1);
        let at = y * SIDE;
        let value = difference(&lane(&template.value, at), &[look.offset; SIDE]);
        let mut residual = difference(&blend(&above, &below, look.rows), &value);
        if SHEARED {
            let y = y as f32 - middle;
            let down = sum_of(&[look.shear[0][0] * y; SIDE], &shear_down);
            let right = sum_of(&[look.shear[1][0] * y; SIDE], &shear_right);
            add(&mut residual, &lane(&template.down, at), &down);
            add(&mut residual, &lane(&template.right, at), &right);
        }
        out[at..at + SIDE].copy_from_slice(&residual);
        above = below;
    }
}

#[inline(always)]
fn any_residuals<const SIDE: usize>(out: &mut [f32; AREA], template: &Template, look: &Lookup<'_>) {
    if look.shear == [[0.0; 2]; 2] {
        residuals::<SIDE, false>(out, template, look);
    } else {
        residuals::<SIDE, true>(out, template, look);
    }
}

#[inline(always)]
fn measure_window<const SIDE: usize>(
    sums: &mut PatchLanes,
    template: &Template,
    places: &[f32; AREA],
    look: &Lookup<'_>,
) {
    any_residuals::<SIDE>(&mut sums.residuals, template, look);
    let mut lanes = [[0.0; LANES]; 9];
    for at in (0..SIDE * SIDE).step_by(LANES) {
        let (residual, place) = (lane(&sums.residuals, at), lane(places, at));
        let (gy, gx) = (lane(&template.down, at), lane(&template.right, at));
        let weight = weight_of(&residual, &place);
        let (wy, wx) = (product(&weight, &gy), product(&weight, &gx));
        add(&mut lanes[0], &wy, &residual);
        add(&mut lanes[1], &wx, &residual);
        add(&mut lanes[2], &wy, &gy);
        add(&mut lanes[3], &wy, &gx);
        add(&mut lanes[4], &wx, &gx);
        lanes[5] = sum_of(&lanes[5], &wy);
        lanes[6] = sum_of(&lanes[6], &wx);
        add(&mut lanes[7], &weight, &residual);
        lanes[8] = sum_of(&lanes[8], &weight);
    }
    sums.sums = lanes;
}

#[inline(always)]
fn weight_of_window<const SIDE: usize>(
    sums: &mut PatchLanes,
    template: &Template,
    places: &[f32; AREA],
    look: &Lookup<'_>,
) {
    any_residuals::<SIDE>(&mut sums.residuals, template, look);
    let mut lanes = [0.0; LANES];
    for at in (0..SIDE * SIDE).step_by(LANES) {
        lanes = sum_of(&lanes, &weight_of(&lane(&sums.residuals, at), &lane(places, at)));
    }
    sums.sums[8] = lanes;
}

#[inline(always)]
fn load_window<const SIDE: usize>(template: &mut Template, source: &[f32], stride: usize) {
    for y in 0..SIDE {
        let (above, row) = (&source[y * stride..][..SIDE + 2], &source[(y + 1) * stride..][..SIDE + 2]);
        let below = &source[(y + 2) * stride..][..SIDE + 2];
        let (left, middle, right) = (lane(row, 0), lane::<SIDE>(row, 1), lane(row, 2));
        let (up, down) = (lane(above, 1), lane(below, 1));
        let (at, half) = (y * SIDE, [0.5; SIDE]);
        template.value[at..at + SIDE].copy_from_slice(&middle);
        template.right[at..at + SIDE].copy_from_slice(&product(&half, &difference(&right, &left)));
        template.down[at..at + SIDE].copy_from_slice(&product(&half, &difference(&down, &up)));
    }
}

/// # Panics
/// If `side` is neither 16 nor 8, or `pixels` ends before `rows` rows of `rows` pixels.
#[inline(always)]
fn check(side: usize, pixels: &[f32], stride: usize, rows: usize) {
    assert!(side == WIDEST || side == NARROWEST, "windows are 16 or 8 pixels wide, not {side}");
    assert!(stride >= rows && pixels.len() >= (rows - 1) * stride + rows, "the window's rows are all there");
}

levels! {
    /// Loads the window of `side` pixels and its central differences; `source` starts one pixel up and left of it and
    /// holds `side + 2` rows of `side + 2` pixels, `stride` apart.
    ///
    /// # Panics
    /// If `side` is neither 16 nor 8, or rows are missing.
    pub(crate) fn load_template(template: &mut Template, source: &[f32], stride: usize, side: usize) {
        check(side, source, stride, side + 2);
        if side == WIDEST {
            load_window::<WIDEST>(template, source, stride);
        } else {
            load_window::<NARROWEST>(template, source, stride);
        }
    }

    /// The sums of one Gauss-Newton step; `places` are the weights `G` of the window's pixels.
    ///
    /// # Panics
    /// If `side` is neither 16 nor 8, or rows are missing.
    pub(crate) fn measure_patch(
        sums: &mut PatchLanes, template: &Template, places: &[f32; AREA], look: &Lookup<'_>, side: usize,
    ) {
        check(side, look.pixels, look.stride, side + 1);
        if side == WIDEST {
            measure_window::<WIDEST>(sums, template, places, look);
        } else {
            measure_window::<NARROWEST>(sums, template, places, look);
        }
    }

    /// The sums behind [`PatchLanes::weight`] alone.
    ///
    /// # Panics
    /// If `side` is neither 16 nor 8, or rows are missing.
    pub(crate) fn patch_weight(
        sums: &mut PatchLanes, template: &Template, places: &[f32; AREA], look: &Lookup<'_>, side: usize,
    ) {
        check(side, look.pixels, look.stride, side + 1);
        if side == WIDEST {
            weight_of_window::<WIDEST>(sums, template, places, look);
        } else {
            weight_of_window::<NARROWEST>(sums, template, places, look);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CpuLevel;
    use crate::kernels::testing::noise;

    fn window(side: usize, stride: usize, level: CpuLevel) -> Template {
        let mut template = Template::new();
        load_template(level, &mut template, &noise(3, (side + 1) * stride + side + 2), stride, side);
        template
    }

    fn places() -> [f32; AREA] {
        let values = noise(5, AREA);
        std::array::from_fn(|i| values[i] / 256.0)
    }

    #[test]
    fn every_level_gives_the_bits_of_the_scalar_one() {
        for side in [8, 16] {
            for stride in [side + 2, side + 5, 64] {
                for (seed, scale) in [(1, 1.0), (2, 1e30), (3, 1e-42)] {
                    let shear = if seed == 1 { [[0.01, -0.2], [0.1, 0.03]] } else { [[0.0; 2]; 2] };
                    let pixels: Vec<f32> = noise(seed, side * stride + side + 1).iter().map(|v| v * scale).collect();
                    let look = Lookup {
                        pixels: &pixels,
                        stride,
                        rows: [0.7, 0.35],
                        columns: [0.25, 0.75],
                        offset: -3.0,
                        shear,
                    };
                    let run = |level| {
                        let template = window(side, stride, level);
                        let mut lanes = PatchLanes::new();
                        measure_patch(level, &mut lanes, &template, &places(), &look, side);
                        let sums = lanes.totals(1.0);
                        let mut alone = PatchLanes::new();
                        patch_weight(level, &mut alone, &template, &places(), &look, side);
                        assert_eq!(alone.weight(1.0).to_bits(), sums.weight.to_bits(), "the weight alone is the same");
                        format!("{template:?} {sums:?}")
                    };
                    for level in CpuLevel::available() {
                        assert_eq!(run(CpuLevel::SCALAR), run(level), "{level:?}, side {side}, stride {stride}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_sums_are_those_of_the_plain_formula() {
        for side in [8usize, 16] {
            let stride = side + 3;
            let (source, pixels) = (noise(3, (side + 1) * stride + side + 2), noise(9, side * stride + side + 1));
            let template = window(side, stride, CpuLevel::SCALAR);
            let shear = [[0.01, -0.2], [0.1, 0.03]];
            let middle = (side as f64 - 1.0) / 2.0;
            let look = Lookup { pixels: &pixels, stride, rows: [0.72, 0.18], columns: [0.4, 0.6], offset: 11.0, shear };
            let mut lanes = PatchLanes::new();
            measure_patch(CpuLevel::SCALAR, &mut lanes, &template, &places(), &look, side);
            let got = lanes.totals(1.0);
            let mut want = [0f64; 9];
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                let t = |dy: usize, dx: usize| f64::from(source[(y + dy) * stride + x + dx]);
                let i = |dy: usize, dx: usize| f64::from(pixels[(y + dy) * stride + x + dx]);
                let (gy, gx) = (0.5 * (t(2, 1) - t(0, 1)), 0.5 * (t(1, 2) - t(1, 0)));
                let row = |dy| 0.4 * i(dy, 0) + 0.6 * i(dy, 1);
                let (v, u) = (y as f64 - middle, x as f64 - middle);
                let r = 0.72 * row(0) + 0.18 * row(1) + 11.0 - t(1, 1)
                    + gy * (0.01 * v - 0.2 * u)
                    + gx * (0.1 * v + 0.03 * u);
                let place = f64::from(places()[y * side + x]);
                let w = place / (1.0 + r * r / 64.0);
                let terms = [gy * r, gx * r, gy * gy, gy * gx, gx * gx, gy, gx, r, 1.0];
                want.iter_mut().zip(terms).for_each(|(sum, term)| *sum += w * term);
            }
            let [by, bx] = got.slope;
            let [hyy, hyx, hxx] = got.tensor;
            let [gy, gx] = got.gradient;
            let got = [by, bx, hyy, hyx, hxx, gy, gx, got.residual, got.weight];
            for (k, (got, want)) in got.into_iter().zip(want).enumerate() {
                assert!((f64::from(got) - want).abs() <= 1e-3 * want.abs().max(1.0), "sum {k}: {got}, not {want}");
            }
        }
    }
}
