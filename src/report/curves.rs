//! Figures per frame as curves, thinned to what a screen can show.
//!
//! A curve of many frames keeps, of each stretch as wide as a dot, its lowest and its highest frame: every outlier
//! stays, and stays the frame it is.

use super::Test;
use super::columns::{Figure, MEASURES, TRAITS};

/// Stretches a curve is divided into: about two a dot of the plot.
const STRETCHES: usize = 400;

/// One plot: a figure of all methods that have it.
#[derive(Debug)]
pub(super) struct Curves {
    pub(super) figure: Figure,
    pub(super) curves: Vec<Curve>,
}

/// One method's figure, frame by frame.
#[derive(Debug)]
pub(super) struct Curve {
    /// Number of the method in its test.
    pub(super) method: usize,
    /// Frame and value, in order of frames.
    pub(super) points: Vec<(u64, f64)>,
}

/// All plots of a test; figures that no frame has are left out.
pub(super) fn curves(test: &Test) -> Vec<Curves> {
    let measures = MEASURES.iter().map(|m| of_figure(test, m.figure, &|f| (m.of)(&f.scores)));
    let traits = TRAITS.iter().map(|t| of_figure(test, t.figure, &|f| (t.of)(f)));
    measures.chain(traits).filter(|plot| !plot.curves.is_empty()).collect()
}

fn of_figure(test: &Test, figure: Figure, of: &dyn Fn(&super::FrameScores) -> Option<f64>) -> Curves {
    let curve = |(method, result): (usize, &super::MethodResult)| {
        let point = |f: &super::FrameScores| Some((f.frame, of(f).filter(|value| value.is_finite())?));
        let points: Vec<(u64, f64)> = result.per_frame.iter().filter_map(point).collect();
        (!points.is_empty()).then(|| Curve { method, points: thin(points) })
    };
    Curves { figure, curves: test.methods.iter().enumerate().filter_map(curve).collect() }
}

/// At most two points for each of [`STRETCHES`].
fn thin(points: Vec<(u64, f64)>) -> Vec<(u64, f64)> {
    if points.len() <= 2 * STRETCHES {
        return points;
    }
    let stretch = points.len().div_ceil(STRETCHES);
    let extremes = |part: &[(u64, f64)]| {
        let low = (0..part.len()).min_by(|&a, &b| part[a].1.total_cmp(&part[b].1)).unwrap_or(0);
        let high = (0..part.len()).max_by(|&a, &b| part[a].1.total_cmp(&part[b].1)).unwrap_or(0);
        let (first, second) = (low.min(high), low.max(high));
        if first == second { vec![part[first]] } else { vec![part[first], part[second]] }
    };
    points.chunks(stretch).flat_map(extremes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_stay_as_they_are() {
        let points: Vec<(u64, f64)> = (0..800).map(|n| (n, (n % 7) as f64)).collect();
        assert_eq!(thin(points.clone()), points);
    }

    #[test]
    fn outliers_of_long_clips_stay_and_keep_their_frames() {
        let value = |n: u64| match n {
            1234 => -50.0,
            4321 => 90.0,
            _ => (n as f64 / 50.0).sin(),
        };
        let thinned = thin((0..5000).map(|n| (n, value(n))).collect());
        assert!(thinned.len() <= 2 * STRETCHES, "{}", thinned.len());
        assert!(thinned.contains(&(1234, -50.0)) && thinned.contains(&(4321, 90.0)));
        assert!(thinned.is_sorted_by(|a, b| a.0 < b.0));
    }
}
