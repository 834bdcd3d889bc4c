//! Whether a field is more than the motion of the frame as a whole.
//!
//! The vector of a window has an error of some hundredths of a pixel, by noise and by aliasing; an affine motion that all
//! windows were fitted with has next to none. Taking a vector `d` further away from its best fit raises the window's mean
//! squared residual by `d^T T d` (`T`: its mean products of gradients). Where all of the way to the affine motion costs no
//! more than a part of the residual that is there anyway, nothing tells the two apart and the affine motion is taken. A frame
//! in which that holds nearly everywhere is taken to move as a whole, and only what clearly does not is left to itself:
//! worth 0.6 dB at x2 on frames of a still scene, 0.07 on city, and nothing lost on walk.
//!
//! What this is not for: fitting the affine motion (`smooth`).

use super::field::Field;
use super::nodes::Found;
use super::rank::median;
use super::smooth::spread;

/// Cost, as a share of the mean squared residual, up to which a vector follows the affine motion and from which it is
/// left as it is.
const TOLD_APART: (f32, f32) = (0.2, 0.5);
/// The same where the frame moves as a whole.
const TOLD_APART_OF_WHOLE: (f32, f32) = (1.0, 2.0);
/// Share of nodes above `TOLD_APART.1` below which a frame moves as a whole. Of a still scene there are 0.05 to 0.1, of one
/// with depth (city) 0.3.
const LOOSE: f32 = 0.15;
/// Added to the squared residual: no window of 8-bit values fits better.
const LEAST_SQUARE: f32 = 1e-3;

/// Takes a field of deviations from the affine motion to it where its `costs` are low: there nothing tells the two apart.
pub(super) fn bind(deviations: &mut Field, costs: &[f32], found: &mut [Found]) {
    let loose = costs.iter().filter(|cost| **cost > TOLD_APART.1).count() as f32;
    let whole = loose < LOOSE * costs.len() as f32;
    let (low, high) = if whole { TOLD_APART_OF_WHOLE } else { TOLD_APART };
    for ((v, found), cost) in deviations.vectors.iter_mut().zip(found).zip(costs) {
        let freedom = ((cost - low) / (high - low)).clamp(0.0, 1.0);
        *v = v.map(|v| v * freedom);
        found.bound = whole && freedom == 0.0;
    }
}

/// What it costs to take each node and those around it to the affine motion, as a share of their squared residuals; of
/// deviations as they were measured, not smoothed.
pub(super) fn costs(deviations: &Field, found: &[Found]) -> Vec<f32> {
    // A residual above that of the middle node is misfit, which excuses nothing.
    let most = median(&found.iter().map(|f| f.error).collect::<Vec<_>>());
    let square = |f: &Found| f.error.min(most).powi(2);
    let cost = |([dy, dx], f): (&[f32; 2], &Found)| {
        let [down, both, right] = f.tensor;
        (dy * dy * down + 2.0 * dy * dx * both + dx * dx * right).min(4.0 * square(f))
    };
    let raised: Vec<f32> = deviations.vectors.iter().zip(found).map(cost).collect();
    let squares: Vec<f32> = found.iter().map(square).collect();
    let columns = deviations.nodes().1;
    let pairs = spread(&raised, columns).into_iter().zip(spread(&squares, columns));
    pairs.map(|(raised, square)| raised / (square + LEAST_SQUARE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of 12 x 16 vectors is left, which deviate by `deviation(row, column)` to the right; their windows have texture
    /// and a residual of 2.
    fn left(deviation: impl Fn(usize, usize) -> f32) -> impl Fn(usize, usize) -> (f32, bool) {
        let mut field = Field::constant((96, 128), 8, [0.0; 2]);
        let columns = field.nodes().1;
        for (i, v) in field.vectors.iter_mut().enumerate() {
            *v = [0.0, deviation(i / columns, i % columns)];
        }
        let one = Found { tensor: [100.0, 0.0, 100.0], error: 2.0, bound: false };
        let mut found = vec![one; field.vectors.len()];
        let costs = costs(&field, &found);
        bind(&mut field, &costs, &mut found);
        move |row, column| (field.vectors[row * columns + column][1], found[row * columns + column].bound)
    }

    #[test]
    fn what_errors_of_measurement_explain_is_taken_to_the_motion_of_the_whole() {
        // 0.07 pixels cost 0.12 of a squared residual of 4.
        let left = left(|y, x| if (x + y) % 2 == 0 { 0.07 } else { -0.07 });
        assert!((0..12).all(|y| (0..16).all(|x| left(y, x) == (0.0, true))));
    }

    #[test]
    fn a_body_in_a_frame_that_moves_as_a_whole_is_left_and_nothing_else() {
        let body = |y: usize, x: usize| (4..7).contains(&y) && (4..7).contains(&x);
        let left = left(|y, x| if body(y, x) { 0.5 } else { 0.03 });
        assert_eq!((left(5, 5), left(5, 12)), ((0.5, false), (0.0, true)));
    }

    #[test]
    fn in_a_scene_with_depth_less_tells_vectors_apart() {
        // 0.15 pixels cost 0.56 of the squared residual.
        let near = |x: usize| [0.3, 0.15, 0.0][x / 6];
        let deep = left(|_, x| near(x));
        assert_eq!((deep(5, 0), deep(5, 8), deep(5, 15)), ((0.3, false), (0.15, false), (0.0, false)));
        let whole = left(|y, _| if y == 5 { near(8) } else { near(15) });
        assert_eq!(whole(5, 2), (0.0, true));
    }
}
