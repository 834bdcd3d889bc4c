//! How long a plane is solved for and how far what is seen is believed: by scale, noise and coding.
//!
//! The numbers were measured; `docs/reconstruction.md` tells on what.

use super::family::Technique;
use super::options::Options;
use crate::frame::PictureLayout;

/// Share of its correction that a frame keeps where no other one supports it, and the error of the samples at which half
/// of that is left: up to x2, and above.
///
/// Deblurring alone is a guess, and all of it is too much for sources that are sharper than the usual blur (box and
/// Lanczos reduction lose 0.3 dB to Lanczos at x2); one frame cannot tell noise from detail either. Above x2 there is
/// more to gain (0.1 dB on walk) and less to spoil.
const ALONE: [(f64, f64); 2] = [(0.85, 3.0), (1.0, 6.0)];
/// Energy that errors are taken to add to fine detail: in squares of the error of coding, of the noise where all frames take part, and
/// of the noise where the reference stands alone; up to x2, and above, where less of what is added was seen.
///
/// Detail as it is measured has 0.63 of the energy of white noise, in windows where that varies by a fourth. Soft clips that were
/// compressed or noisy lost 0.2 to 3.5 dB to Lanczos without; more costs sharp clips more than it gains soft ones.
const HARM: [[f64; 3]; 2] = [[0.5, 1.0, 2.0], [1.5, 1.5, 2.0]];
/// Share of the prior's gain that counts where all frames take part, and most times it counts more where fewer do; up to x2
/// and above.
///
/// Above x2 that is worth 0.1 dB on walk, and 0.05 on city where all do; at x2, where frames alone are kept back by
/// [`ALONE`], -0.02.
const PRIOR: [(f64, f32); 2] = [(1.0, 1.0), (0.8, 8.0)];
/// Least bound of residuals that steps begin with, 8-bit scale, at x2, x3 and x4. Less at x2 costs city 0.1 dB and frames of
/// a still scene more; at x4 it gains 0.05 on walk and 0.15 on an old film.
const FIRST_BOUND: [f64; 3] = [20.0, 14.0, 9.0];
/// Lower end of the spectrum for a step that stays alone (chroma of `fast`): one that reaches down to what is hidden deepest
/// turns over what is not, by seven eighths. 0.13 dB on the mean of chroma of four clips, reduced by two kernels.
const ONE_STEP: f64 = 0.5;
/// Most steps of chroma at x2, x3 and x4, in frames of 4:2:0: it is softer than luma. With five times as many at x4 it gets worse by
/// 0.1 to 0.5 dB; fewer leave it unfinished.
const CHROMA_STEPS: [usize; 3] = [3, 4, 4];

/// Parameters of one solve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// How the plane is estimated.
    pub(super) technique: Technique,
    /// Steps.
    pub(super) iterations: usize,
    /// Lower end of the spectrum that is solved for, in (0, 1).
    pub(super) lambda: f64,
    /// Gain of the prior where all frames take part, 8-bit scale a step.
    pub(super) prior: f32,
    /// Most times that gain where fewer do.
    pub(super) loosest: f32,
    /// Largest residual that counts in full, 8-bit scale, at the first and at the last step.
    pub(super) bound: (f32, f32),
    /// Noise bound of a sample, 8-bit scale: what POCS leaves alone.
    pub(super) dead: f32,
    /// Share of the correction that is kept where the reference stands alone, 0..=1.
    pub(super) alone: f32,
    /// Energy that coding is taken to add to fine detail, squares on the 8-bit scale.
    pub(super) harm_of_coding: f32,
    /// The same of noise: where the reference stands alone, and where neighbours take part.
    pub(super) harm_of_noise: [f32; 2],
    /// Range of the result.
    pub(super) range: (f32, f32),
}

impl Schedule {
    /// For planes of pictures laid out as `from` that become `to`, at this noise and error of coding (8-bit scale); chroma needs
    /// fewer steps.
    pub(super) fn new(
        options: &Options,
        (from, to): (&PictureLayout, &PictureLayout),
        (noise, coding): (f64, f64),
        chroma: bool,
    ) -> Self {
        let scale = (to.width as f64 / from.width as f64).max(to.height as f64 / from.height as f64);
        let column = if scale <= 2.0 { 0 } else { 2.min(scale.ceil() as usize - 2) };
        // (steps, lambda): the more is hidden between samples, the slower it comes out.
        let (steps, lambda) = [(7, 0.07), (16, 0.05), (24, 0.035)][column];
        let (alone, alone_error) = ALONE[column.min(1)];
        let [of_coding, of_noise, of_noise_alone] = if options.parts.shares { HARM[column.min(1)] } else { [0.0; 3] };
        let (share, loosest) = PRIOR[column.min(1)];
        let above_eight = f32::from(to.depth) - 8.0;
        let codes = if to.depth >= 32 { 255.0 } else { 256.0 - (-above_eight).exp2() };
        let (error, parts) = (noise.hypot(coding), options.parts);
        let most = options.iterations.unwrap_or(steps);
        let luma = if column > 0 { fewer(most, lambda, lambda_at(lambda, coding)) } else { most };
        let iterations = if chroma { luma.saturating_sub(2).min(CHROMA_STEPS[column]) } else { luma };
        let bound = ((4.0 * error).max(FIRST_BOUND[column]) as f32, (0.6 * error).max(1.0) as f32);
        let prior = (share * options.prior * (noise / 1.5).clamp(1.0, 4.0)) as f32;
        Self {
            iterations: if chroma && !parts.chroma { 0 } else { iterations },
            lambda: lambda_at(lambda, error).max(if iterations == 1 { ONE_STEP } else { 0.0 }),
            prior: if parts.prior { prior } else { 0.0 },
            loosest,
            bound: if parts.bounds { bound } else { (f32::MAX, f32::MAX) },
            technique: options.technique,
            dead: (1.5 * error).max(1.0) as f32,
            alone: (alone / (1.0 + (error / alone_error).powi(2))) as f32,
            harm_of_coding: (of_coding * coding * coding) as f32,
            harm_of_noise: [of_noise_alone, of_noise].map(|times| (times * noise * noise) as f32),
            range: options.range.unwrap_or((0.0, codes)),
        }
    }

    /// (momentum, step) of each iteration.
    pub(super) fn steps(&self) -> Vec<(f32, f32)> {
        let (center, radius) = ((1.0 + self.lambda) / 2.0, (1.0 - self.lambda) / 2.0);
        let sigma = center / radius;
        let mut rho = 1.0 / sigma;
        let mut steps = vec![(0.0, (1.0 / center) as f32)];
        while steps.len() < self.iterations {
            let next = 1.0 / (2.0 * sigma - rho);
            steps.push(((next * rho) as f32, (2.0 * next / radius) as f32));
            rho = next;
        }
        steps.truncate(self.iterations);
        steps
    }

    /// Largest residual that counts in full at each step: what the estimate does not explain yet shrinks from step to
    /// step, what is wrong does not (graduated non-convexity, Blake and Zisserman 1987).
    pub(super) fn bounds(&self) -> Vec<f32> {
        let (first, last) = self.bound;
        if first == last {
            return vec![first; self.iterations];
        }
        let steps = self.iterations.max(2) - 1;
        (0..self.iterations).map(|n| first + (last - first) * n as f32 / steps as f32).collect()
    }
}

/// The lower end of the spectrum that is solved for at this error of the samples, where it is `least` without.
fn lambda_at(least: f64, error: f64) -> f64 {
    (least + 0.02 * error + 0.012 * error * error).min(0.6)
}

/// Of `steps` that are right for the lower end `least` of the spectrum, those for the end `lambda`: more of them go on to what is
/// below it, where coding has left its error alone.
///
/// The error of a step falls by (1 - sqrt(lambda)) / (1 + sqrt(lambda)). Steps that were fewer by the ratio of its logarithms would reach
/// as far; by its root city loses 0.01 dB at x4 in place of 0.05, and walk gains 0.1 to 0.2 as well.
fn fewer(steps: usize, least: f64, lambda: f64) -> usize {
    let rate = |lambda: f64| ((1.0 - lambda.sqrt()) / (1.0 + lambda.sqrt())).ln();
    let share = (rate(least) / rate(lambda)).sqrt();
    ((steps as f64 * share).round() as usize).max(steps.min(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_coded_takes_fewer_steps_above_twice_the_size() {
        let small = PictureLayout::gray(64, 48);
        let steps = |scale: usize, coding: f64| {
            let large = small.resized(64 * scale, 48 * scale);
            Schedule::new(&Options::default(), (&small, &large), (0.0, coding), false).iterations
        };
        assert_eq!((steps(2, 0.0), steps(2, 5.0)), (7, 7), "x2");
        for scale in [3, 4] {
            let [clean, fine, coarse] = [0.0, 1.0, 5.0].map(|coding| steps(scale, coding));
            assert!(clean > fine && fine > coarse && coarse >= 2, "x{scale}: {clean}, {fine}, {coarse}");
        }
        assert_eq!(fewer(16, 0.05, 0.05), 16, "as many as without");
        assert_eq!([0, 1, 2].map(|steps| fewer(steps, 0.05, 0.6)), [0, 1, 2], "few stay as they are");
    }

    #[test]
    fn a_frame_that_stands_alone_needs_more_detail_to_be_believed() {
        let (small, large) = (PictureLayout::gray(64, 48), PictureLayout::gray(128, 96));
        let schedule =
            |noise: f64, coding: f64| Schedule::new(&Options::default(), (&small, &large), (noise, coding), false);
        let clean = schedule(0.0, 0.0);
        assert_eq!((clean.harm_of_coding, clean.harm_of_noise), (0.0, [0.0; 2]), "without error all is believed");
        let noisy = schedule(3.0, 0.0);
        let [alone, together] = noisy.harm_of_noise;
        assert!(noisy.harm_of_coding == 0.0 && alone > together && together > 0.0, "{alone}, {together}");
        let coded = schedule(0.0, 3.0);
        assert!(coded.harm_of_coding > 0.0 && coded.harm_of_noise == [0.0; 2], "coding errs in all frames alike");
    }
}
