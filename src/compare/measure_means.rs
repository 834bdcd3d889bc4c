//! Means and worst figures over frames, one frame after the other; nothing is kept of them.

use crate::metrics::{Metric, Scores};

/// Means and worst figures of frames that were given one by one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Means {
    sums: [f64; Metric::ALL.len()],
    counts: [u64; Metric::ALL.len()],
    worst: Scores,
    frames: u64,
}

impl Means {
    /// Adds a frame. Figures that were not measured do not count.
    pub fn push(&mut self, scores: &Scores) {
        self.frames += 1;
        for (i, metric) in Metric::ALL.into_iter().enumerate() {
            let Some(value) = scores.get(metric) else { continue };
            self.sums[i] += value;
            self.counts[i] += 1;
            let worse = match self.worst.get(metric) {
                Some(worst) if metric.larger_is_better() => value.min(worst),
                Some(worst) => value.max(worst),
                None => value,
            };
            self.worst.set(metric, Some(worse));
        }
    }

    /// Adds figures of one metric that came at the end, as VMAF does.
    pub fn push_all(&mut self, metric: Metric, values: &[f64]) {
        for value in values {
            let mut scores = Scores::default();
            scores.set(metric, Some(*value));
            self.push(&scores);
            self.frames -= 1;
        }
    }

    /// Frames that were given.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Means over the frames for which a figure was measured; `None` where it never was.
    pub fn mean(&self) -> Scores {
        let mut mean = Scores::default();
        for (i, metric) in Metric::ALL.into_iter().enumerate() {
            mean.set(metric, (self.counts[i] > 0).then(|| self.sums[i] / self.counts[i] as f64));
        }
        mean
    }

    /// The worst figure of each metric: the lowest where more is better, else the highest.
    pub fn worst(&self) -> Scores {
        self.worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_leave_out_what_was_not_measured() {
        let mut means = Means::default();
        means.push(&Scores { psnr_y: Some(30.0), ..Default::default() });
        means.push(&Scores { psnr_y: Some(40.0), temporal: Some(2.0), ..Default::default() });
        means.push(&Scores { psnr_y: Some(38.0), temporal: Some(5.0), ..Default::default() });
        means.push_all(Metric::Vmaf, &[90.0, 80.0]);
        let want = Scores { psnr_y: Some(36.0), temporal: Some(3.5), vmaf: Some(85.0), ..Default::default() };
        assert_eq!((means.mean(), means.frames()), (want, 3), "mean");
        let worst = Scores { psnr_y: Some(30.0), temporal: Some(5.0), vmaf: Some(80.0), ..Default::default() };
        assert_eq!(means.worst(), worst, "worst");
    }
}
