//! Where two frames move together: blocks whose residuals are no larger than noise and aliasing explain.
//!
//! Tukey's weight looks at one pixel: within an object that moves otherwise it still believes the pixels whose
//! residual happens to be small, and they pull the estimate towards the object. Blocks decide on their neighbourhood.

/// Pixels along the side of a block, as a power of two.
const BLOCK_LOG2: usize = 3;
/// Residual that aliasing may leave, as a share of the gradient (so in pixels).
const ALIASING: f64 = 0.15;
/// A block counts fully up to this ratio of residual energy to what is expected, and not at all from the second.
const RATIO: [f64; 2] = [1.6, 2.8];
/// If less than this share of the textured area agrees, the blocks say nothing and all count.
const LEAST_SHARE: f64 = 0.2;

/// Sums of squared residuals and squared gradients over blocks.
pub(super) struct BlockEnergy {
    rows: usize,
    columns: usize,
    /// Squared residuals, squared gradients and pixels of each block.
    sums: Vec<[f64; 3]>,
}

impl BlockEnergy {
    /// No pixels yet, for a picture of `rows x columns`.
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let [rows, columns] = [rows, columns].map(|n| n.div_ceil(1 << BLOCK_LOG2));
        Self { rows, columns, sums: vec![[0.0; 3]; rows * columns] }
    }

    /// Adds the pixels of row `y` from column `left` on.
    pub(super) fn add_row(&mut self, residual: &[f32], gradient: &[f32], left: usize, y: usize) {
        let row = &mut self.sums[(y >> BLOCK_LOG2) * self.columns..][..self.columns];
        for (x, (r, g)) in (left..).zip(residual.iter().zip(gradient)) {
            let sum = &mut row[x >> BLOCK_LOG2];
            sum[0] += f64::from(*r);
            sum[1] += f64::from(*g);
            sum[2] += 1.0;
        }
    }

    /// Sums over the 3 x 3 blocks around (row, column).
    fn around(&self, row: usize, column: usize) -> [f64; 3] {
        let mut sum = [0.0; 3];
        for y in row.saturating_sub(1)..(row + 2).min(self.rows) {
            for x in column.saturating_sub(1)..(column + 2).min(self.columns) {
                sum.iter_mut().zip(self.sums[y * self.columns + x]).for_each(|(s, v)| *s += v);
            }
        }
        sum
    }

    /// The weights of the blocks, where `sigma` is the standard deviation of the residuals of most pixels.
    pub(super) fn trust(&self, sigma: f64) -> Trust {
        let weight = |[residual, gradient, count]: [f64; 3]| {
            let expected = count * sigma * sigma + ALIASING * ALIASING * gradient;
            let ratio = if expected > 0.0 { residual / expected } else { 0.0 };
            ((RATIO[1] - ratio) / (RATIO[1] - RATIO[0])).clamp(0.0, 1.0)
        };
        let at = |i: usize| self.around(i / self.columns, i % self.columns);
        let mut weights: Vec<f32> =
            (0..self.sums.len()).map(|i| weight(at(i)).min(weight(self.sums[i])) as f32).collect();
        let textured = |weights: &[f32]| self.sums.iter().zip(weights).map(|(s, w)| s[1] * f64::from(*w)).sum::<f64>();
        if textured(&weights) < LEAST_SHARE * textured(&vec![1.0; weights.len()]) {
            weights.fill(1.0);
        }
        Trust { columns: self.columns, weights }
    }
}

/// Weights of blocks, 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trust {
    columns: usize,
    weights: Vec<f32>,
}

impl Trust {
    /// Weights of row `y` from column `left` on, in a level that is `2^log2` times as large as that of the blocks.
    pub(super) fn fill_row(&self, out: &mut [f32], left: usize, y: usize, log2: usize) {
        let size = BLOCK_LOG2 + log2;
        let last = self.weights.len() / self.columns - 1;
        let row = &self.weights[(y >> size).min(last) * self.columns..][..self.columns];
        let mut rest = out;
        let mut x = left;
        while !rest.is_empty() {
            // Odd columns left out by the reduction belong to the last block.
            let column = (x >> size).min(self.columns - 1);
            let end = if column == self.columns - 1 { usize::MAX } else { (column + 1) << size };
            let (now, later) = rest.split_at_mut(rest.len().min(end - x));
            now.fill(row[column]);
            x += now.len();
            rest = later;
        }
    }
}
