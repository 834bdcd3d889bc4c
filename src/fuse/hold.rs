//! Pictures that were made elsewhere, by a network, drawn towards what the frames show.
//!
//! The steps are those of `backproject`; here is what they start from and how far a compressed frame is believed.

use ndarray::Zip;
use rayon::prelude::*;

use super::backproject::{MAP, Solver};
use super::schedule::Schedule;
use crate::frame::Plane;
use crate::kernels::splat::Samples;

/// Steps of the semi-iteration after which next to nothing is left of what they act on.
const MANY_STEPS: usize = 10;
/// Pixels on each side that the shift around a pixel is averaged over: more than a block of any codec, less than what colours
/// shift with.
const AROUND: usize = 16;

impl Solver {
    /// Draws `plane`, made elsewhere, towards what the frames of `seen` show; arguments as for [`Self::solve`].
    ///
    /// A frame that stands alone is not believed more than its coding: differences within `doubt` (8-bit scale) are left to the
    /// plane, but for what they are on average around a pixel. Returns what [`Self::prediction_error`] says of the reference before
    /// and after.
    pub(super) fn hold(
        &mut self,
        seen: &[Samples<'_>],
        schedule: Schedule,
        doubt: f32,
        plane: &mut Plane,
    ) -> [(f64, f64); 2] {
        self.pack(plane);
        let before = self.prediction_error(seen, 0, f32::MAX);
        let doubted = seen.len() == 1 && doubt > 0.0;
        let predicted = if doubted { self.predicted(seen).pop() } else { None };
        let own = predicted.map(|[predicted, shown]| believed(&predicted, &shown, doubt));
        let own = own.as_ref().and_then(|plane| plane.as_slice()).map(|plane| [Samples::new(plane)]);
        let held_to = own.as_ref().map_or(seen, |own| own);
        // Few steps of the semi-iteration leave as much of a shift of the whole picture as of any other mode (42 % after 4 steps at
        // x4); a plain step leaves none of it. Many leave nothing, and do better without.
        let mut steps = MAP.steps(&schedule);
        if let (true, Some(last)) = (steps.len() < MANY_STEPS, steps.last_mut()) {
            last.gains = [0.0, 1.0];
        }
        for step in steps {
            self.correct(held_to, step);
        }
        let after = self.prediction_error(seen, 0, f32::MAX);
        self.unpack(schedule.range, plane);
        [before, after]
    }
}

/// What is believed of a frame that `shown` is the coding of, where `predicted` was foretold: the mean difference around each pixel, and
/// of the rest of the difference what is beyond `doubt`.
fn believed(predicted: &Plane, shown: &Plane, doubt: f32) -> Plane {
    let mut rest = shown - predicted;
    let mean = mean_around(&mean_around(&rest, AROUND).t().to_owned(), AROUND);
    Zip::from(&mut rest).and(predicted).and(mean.t()).for_each(|rest, predicted, mean| {
        let detail = *rest - mean;
        *rest = predicted + mean + (detail - detail.clamp(-doubt, doubt));
    });
    rest
}

/// Means over columns, up to `reach` on both sides.
fn mean_around(plane: &Plane, reach: usize) -> Plane {
    let columns = plane.ncols();
    let mut means = Plane::zeros(plane.dim());
    means.outer_iter_mut().into_par_iter().zip(plane.outer_iter()).for_each(|(mut means, row)| {
        let mut sums = Vec::with_capacity(columns + 1);
        sums.push(0.0f64);
        for value in row {
            sums.push(sums[sums.len() - 1] + f64::from(*value));
        }
        for (x, mean) in means.iter_mut().enumerate() {
            let (from, to) = (x.saturating_sub(reach), (x + reach + 1).min(columns));
            *mean = ((sums[to] - sums[from]) / (to - from) as f64) as f32;
        }
    });
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_believed_beyond_their_doubt_and_on_average() {
        let predicted = Plane::from_elem((70, 90), 100.0);
        // 10 brighter everywhere, with details of +-2 and one of 30.
        let mut shown = Plane::from_shape_fn((70, 90), |(y, x)| 110.0 + if (x + y) % 2 == 0 { 2.0 } else { -2.0 });
        shown[[40, 50]] += 28.0;
        let wanted = believed(&predicted, &shown, 3.0);
        assert!((wanted[[5, 5]] - 110.0).abs() < 0.2, "details within doubt: {}", wanted[[5, 5]]);
        assert!((wanted[[40, 50]] - 137.0).abs() < 0.2, "what is beyond it: {}", wanted[[40, 50]]);
        let exact = believed(&predicted, &shown, 0.0);
        assert!(exact.iter().zip(&shown).all(|(a, b)| (a - b).abs() < 1e-3), "without doubt all is believed");
    }
}
