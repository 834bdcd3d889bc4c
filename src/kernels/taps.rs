//! Banded weights: for each output sample, where its input window starts and the weights of the samples in it.
//!
//! Interpolation and the observation model are both sums of a few neighbouring samples along one axis; this is the
//! one place that turns a continuous kernel into such sums. Weights are computed in `f64`, normalised so that each
//! output's weights sum to 1 (a constant stays a constant), and stored as `f32`. Borders are mirrored with the edge
//! sample repeated (`.. 1 0 | 0 1 ..`); mirrored samples are folded into the window, so windows never leave the input.

/// Weights of one axis: output `o` is the sum over `k` of `weights(o)[k] * input[start(o) + k]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taps {
    input: usize,
    count: usize,
    start: Vec<usize>,
    weights: Vec<f32>,
}

impl Taps {
    /// Samples `kernel` (even, zero outside `-support..=support`, in input samples) around each of `positions`.
    ///
    /// # Panics
    /// If `input` is 0.
    pub(crate) fn new(input: usize, positions: &[f64], support: f64, kernel: impl Fn(f64) -> f64) -> Self {
        assert!(input > 0, "an axis has at least one sample");
        let rows: Vec<(usize, Vec<f64>)> = positions.iter().map(|&p| window(input, p, support, &kernel)).collect();
        let count = rows.iter().map(|(_, w)| w.len()).max().unwrap_or(1);
        let mut taps =
            Self { input, count, start: Vec::with_capacity(rows.len()), weights: vec![0.0; count * rows.len()] };
        for (o, (first, row)) in rows.iter().enumerate() {
            // All windows have the same length; one that would pass the end starts earlier, behind zero weights.
            let start = (*first).min(input - count);
            let lead = first - start;
            for (slot, weight) in taps.weights[o * count + lead..][..row.len()].iter_mut().zip(row) {
                *slot = *weight as f32;
            }
            taps.start.push(start);
        }
        taps
    }

    /// Samples of the input axis.
    pub(crate) fn input(&self) -> usize {
        self.input
    }

    /// Samples of the output axis.
    pub(crate) fn output(&self) -> usize {
        self.start.len()
    }

    /// Length of every window.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// First input sample of output `o`; the window `start..start + count` is inside the input.
    pub(crate) fn start(&self, o: usize) -> usize {
        self.start[o]
    }

    /// The `count` weights of output `o`.
    pub(crate) fn weights(&self, o: usize) -> &[f32] {
        &self.weights[o * self.count..][..self.count]
    }
}

/// First sample and normalised weights of one output position, mirrored samples folded in.
fn window(input: usize, position: f64, support: f64, kernel: &impl Fn(f64) -> f64) -> (usize, Vec<f64>) {
    let n = input as i64;
    let (low, high) = ((position - support).ceil() as i64, (position + support).floor() as i64);
    let nearest = [(position.round() as i64, 1.0)];
    let sampled: Vec<(i64, f64)> = (low..=high).map(|i| (i, kernel(i as f64 - position))).collect();
    let total: f64 = sampled.iter().map(|(_, w)| w).sum();
    // A kernel narrower than the grid may miss every sample: the nearest one stands for it.
    let (sampled, total) = if total.abs() > 1e-9 { (&sampled[..], total) } else { (&nearest[..], 1.0) };
    let folded = sampled.iter().map(|&(i, w)| {
        let i = i.rem_euclid(2 * n);
        ((if i < n { i } else { 2 * n - 1 - i }) as usize, w / total)
    });
    let used: Vec<(usize, f64)> = folded.filter(|(_, w)| *w != 0.0).collect();
    let first = used.iter().map(|(i, _)| *i).min().unwrap_or(0);
    let last = used.iter().map(|(i, _)| *i).max().unwrap_or(0);
    let mut weights = vec![0.0; last - first + 1];
    for (i, w) in used {
        weights[i - first] += w;
    }
    (first, weights)
}

/// The interpolation kernel of Keys (1981) with a = -1/2: third-order accurate, support 2.
pub(crate) fn cubic(x: f64) -> f64 {
    let a = x.abs();
    if a <= 1.0 {
        (1.5 * a - 2.5) * a * a + 1.0
    } else if a < 2.0 {
        ((-0.5 * a + 2.5) * a - 4.0) * a + 2.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_stay_inside_whatever_the_size() {
        for input in 1..12 {
            let positions: Vec<f64> = (-8..30).map(|o| f64::from(o) * 0.37).collect();
            let taps = Taps::new(input, &positions, 2.0, cubic);
            for o in 0..positions.len() {
                assert!(taps.start(o) + taps.count() <= input, "input {input}, output {o}");
                let sum: f32 = taps.weights(o).iter().sum();
                assert!((sum - 1.0).abs() < 1e-6, "input {input}, output {o}: {sum}");
            }
        }
    }

    #[test]
    fn an_integer_position_takes_its_sample() {
        let taps = Taps::new(9, &[4.0], 2.0, cubic);
        let at = 4 - taps.start(0);
        assert!(taps.weights(0).iter().enumerate().all(|(k, w)| *w == if k == at { 1.0 } else { 0.0 }), "{taps:?}");
    }
}
