//! Measuring how the frames were blurred, by leaving a frame out and predicting it.
//!
//! For each candidate blur the scene is reconstructed without one neighbour, and the picture that comes out is asked
//! what that neighbour should show. A blur that is too narrow leaves the prediction soft, one that is too wide
//! amplifies what the frames do not agree on. Given enough frames the error would not depend on the blur at all (a
//! sharper scene behind a softer lens shows the same), so the minimum is wide and moves little: on city reduced through
//! Gaussians of 0.25, 0.4 and 0.6 it stayed inside the range of usual sources, where the usual blur is kept. It guards
//! against gross errors and is no measurement of a lens; who knows the blur should say it.
//!
//! The result is a function of the frames given, whatever comes after them. It is not for single frames: without a
//! neighbour there is nothing to predict.

use super::confidence::Candidate;
use super::observe::Moved;
use super::schedule::Schedule;
use super::{
    Appearance, Blur, Group, LEAST_CONFIDENCE, Neighbour, Options, Reconstructor, candidate, is_useful, mean, shown,
    slice,
};
use crate::error::Result;
use crate::frame::{ColorFamily, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::register::Field;

/// Frames on each side that the measurement uses.
pub const CALIBRATION_RADIUS: usize = 2;
/// Most rows and columns of the part of a frame that is measured: its middle.
const MOST: (usize, usize) = (288, 480);
/// Sigmas that are tried, low-resolution pixels.
const SIGMAS: [f64; 8] = [0.25, 0.29, 0.33, 0.37, 0.41, 0.45, 0.5, 0.56];
/// Where the minimum lies for frames made by a Gaussian of 0.4 as well as by cubic reduction (measured on city and
/// walk, x2: 0.37 to 0.45): no reason to leave the usual blur.
const USUAL: std::ops::RangeInclusive<f64> = 0.36..=0.46;
/// A minimum counts if the error there is at most this share of the least one in that range. Minima of moving water, flames and soft clips
/// are flat (0.4 to 3 % below) and cost 0.8 to 2 dB where they were believed (x2, cubic reduction).
const CLEAR: f64 = 0.95;

/// Measures the blur of `reference` and the frames around it, whose pictures are as in `layout`.
///
/// Without a neighbour that agrees with the reference the answer is [`Blur::Usual`]. Cost: sixteen reconstructions of
/// 480 x 288 pixels at twice the size.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if a side of the frames is 0.
pub fn measure_blur(
    layout: &PictureLayout,
    reference: &[Plane],
    neighbours: &[Neighbour<'_>],
    cpu: CpuLevel,
) -> Result<Blur> {
    let part = Part::middle(layout);
    let luma = PictureLayout {
        family: ColorFamily::Gray,
        chroma_log2: (0, 0),
        alpha: false,
        ..layout.resized(part.columns, part.rows)
    };
    let own = vec![part.of(reference, layout)];
    let cut: Vec<(Vec<Plane>, Appearance, Field)> = neighbours
        .iter()
        .map(|n| {
            let planes = vec![part.of(n.planes, layout)];
            let appearance = Appearance::new(&planes, None, &luma, cpu);
            (planes, appearance, n.field.cropped(part.top, part.left, part.rows, part.columns))
        })
        .collect();
    let others: Vec<Neighbour<'_>> = cut
        .iter()
        .zip(neighbours)
        .map(|((planes, appearance, field), n)| Neighbour { planes, appearance, field, gain: n.gain, offset: n.offset })
        .collect();
    let appearance = Appearance::new(&own, None, &luma, cpu);
    let to = luma.resized(2 * luma.width, 2 * luma.height);
    let (mut best, mut usual) = ((f64::INFINITY, 0.0), f64::INFINITY);
    for sigma in SIGMAS {
        let options = Options { blur: Blur::Gaussian(sigma), ..Options::default() };
        let mut solver = Reconstructor::new(&luma, &to, options, cpu)?;
        let Some(error) = solver.leave_one_out(&own, &appearance, &others) else { return Ok(Blur::Usual) };
        if error < best.0 {
            best = (error, sigma);
        }
        if USUAL.contains(&sigma) {
            usual = usual.min(error);
        }
    }
    Ok(if best.0 > CLEAR * usual { Blur::Usual } else { Blur::Gaussian(best.1) })
}

impl Reconstructor {
    /// Root mean square error of predicting the nearest neighbours from the other frames; `None` if none of them agrees
    /// with the reference.
    fn leave_one_out(
        &mut self,
        reference: &[Plane],
        appearance: &Appearance,
        neighbours: &[Neighbour<'_>],
    ) -> Option<f64> {
        let neighbours: Vec<&Neighbour<'_>> = neighbours.iter().filter(|n| is_useful(n, reference)).collect();
        let candidates: Vec<Candidate<'_>> = neighbours.iter().map(|n| candidate(n)).collect();
        let noise = f64::from(self.judge.compare(appearance, &candidates));
        let kept: Vec<usize> =
            (0..candidates.len()).filter(|&k| mean(self.judge.weights(k)) >= LEAST_CONFIDENCE).collect();
        if kept.len() < 2 {
            return None;
        }
        // Those whose vectors are shortest; frame 0 is the reference.
        let mut nearest: Vec<usize> = (1..=kept.len()).collect();
        nearest.sort_by(|a, b| length(candidates[kept[a - 1]].field).total_cmp(&length(candidates[kept[b - 1]].field)));
        nearest.truncate(2);
        let moved = |&k: &usize| Moved { field: candidates[k].field, weights: self.judge.weights(k) };
        let moved: Vec<_> = kept.iter().map(moved).collect();
        let own = slice(&reference[0]);
        let others: Vec<_> = kept.iter().map(|&k| slice(&neighbours[k].planes[0])).collect();
        let shown = shown(&own, &others, &kept, &candidates, Some(&|_| None));
        // More steps than a picture gets, and hardly any regularisation: both would hide the blur.
        let schedule = Schedule { iterations: 10, lambda: 0.1, ..self.schedule(noise, 0.0, false) };
        let mut picture = Plane::zeros((self.to.height, self.to.width));
        let Group { solver, lighting, .. } = &mut self.groups[0];
        let seen = lighting.seen(self.cpu, &shown, solver.maps.1.input);
        solver.observe(&moved);
        let (mut error, mut weight) = (0.0, 0.0);
        for held in nearest {
            solver.hold_out(Some(held));
            solver.solve(&seen, schedule, None, &mut picture);
            let (e, w) = solver.prediction_error(&seen, held, schedule.bound.0);
            (error, weight) = (error + e, weight + w);
        }
        (weight > 0.0).then(|| (error / weight).sqrt())
    }
}

/// Mean length of the vectors of a field, from 64 places.
fn length(field: &Field) -> f32 {
    let (height, width) = field.size();
    let at = |n: usize| field.at((height * (n / 8)) as f32 / 8.0, (width * (n % 8)) as f32 / 8.0);
    (0..64).map(at).map(|[dy, dx]| dy.hypot(dx)).sum::<f32>() / 64.0
}

/// The middle of a frame.
struct Part {
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
}

impl Part {
    fn middle(layout: &PictureLayout) -> Self {
        let (rows, columns) = (layout.height.min(MOST.0), layout.width.min(MOST.1));
        Self { top: (layout.height - rows) / 2, left: (layout.width - columns) / 2, rows, columns }
    }

    /// Luma of this part of a frame.
    fn of(&self, planes: &[Plane], layout: &PictureLayout) -> Plane {
        let cut = |plane: &Plane| {
            let (rows, columns) = (self.top..self.top + self.rows, self.left..self.left + self.columns);
            plane.slice(ndarray::s![rows, columns]).to_owned()
        };
        let used = if layout.family == ColorFamily::Rgb { 3 } else { 1 };
        let part: Vec<Plane> = planes.iter().take(used).map(cut).collect();
        layout.luma(&part).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Shift;

    /// Waves moved by (dx, dy) and turned by `angle`.
    fn frame(angle: f64, (dx, dy): (f64, f64)) -> Vec<Plane> {
        let value = |(y, x): (usize, usize)| {
            let (x, y) = (x as f64 - dx, y as f64 - dy);
            let wave = |n: f64| 20.0 * (n * 0.35 * ((n + angle).cos() * x + (n + angle).sin() * y)).sin();
            (128.0 + [1.0, 2.0, 3.5, 5.0].map(wave).iter().sum::<f64>()) as f32
        };
        vec![Plane::from_shape_fn((72, 80), value)]
    }

    #[test]
    fn without_neighbours_that_agree_the_usual_blur_stays() {
        let layout = PictureLayout::gray(80, 72);
        let cpu = CpuLevel::SCALAR;
        let measured = |angle: f64, shifts: &[(f64, f64)]| {
            let reference = frame(0.0, (0.0, 0.0));
            let other = |&shift: &(f64, f64)| {
                let planes = frame(angle, shift);
                let appearance = Appearance::new(&planes, None, &layout, cpu);
                (planes, appearance, Field::uniform(72, 80, Shift { dx: -shift.0, dy: -shift.1 }))
            };
            let others: Vec<_> = shifts.iter().map(other).collect();
            let neighbours: Vec<_> = others
                .iter()
                .map(|(planes, appearance, field)| Neighbour { planes, appearance, field, gain: 1.0, offset: 0.0 })
                .collect();
            measure_blur(&layout, &reference, &neighbours, cpu).expect("a blur")
        };
        let shifts = [(0.5, 0.1), (-0.4, 0.55), (0.1, -0.5), (1.4, 1.5)];
        assert_eq!(measured(0.0, &[]), Blur::Usual, "nothing to predict");
        assert_eq!(measured(1.0, &shifts), Blur::Usual, "frames of another scene");
    }
}
