//! Foretelling from the first frames of a video what enlarging it will take and what it will bring.
//!
//! Gain is measured first: the same frames are made smaller by the scale that is asked for, enlarged again, and compared
//! with themselves, as Lanczos interpolation is. That is too little where several frames help: the frames hold alias
//! that is another one in each, and no reconstruction brings it back. So the gain is foretold as a multiple of what was
//! measured and a multiple of the alias; from x3 on, where frames made smaller tell nothing, from the diversity alone. All is fitted on
//! clips with a known truth; `docs/performance.md` has the figures and how far off they are.

use std::time::{Duration, Instant};

use ndarray::s;

use super::maps::Maps;
use super::method::Method;
use super::options::{EnlargeOptions, EnlargePlan, Scale};
use super::upscaler::{Enlarged, Upscaler};
use crate::error::Result;
use crate::frame::{ColorFamily, Frame, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::kernels::taps::cubic;
use crate::metrics::psnr;
use crate::resample::{Filter, PictureResampler};

/// Fewest and most frames that are looked at.
const FRAMES: (usize, usize) = (6, 16);
/// After this time no more than the fewest are taken.
const PATIENCE: Duration = Duration::from_secs(8);
/// Rows and columns of the middle of the frames on which gain and alias are measured.
const PART: (usize, usize) = (288, 384);
/// Fewest rows and columns of frames made smaller.
const LEAST: usize = 16;
/// Pixels between the places at which motion is followed.
const STEP: usize = 16;
/// At x2: decibels foretold for each measured on reduced frames, and for alias of share 1. Least squares over 14 clips.
const BY_ALIAS: (f64, f64) = (1.4, 22.0);
/// Largest share of alias that is believed.
const MOST_ALIAS: f64 = 0.15;
/// From x3 on: decibels foretold in any case, and for the whole diversity. Frames made smaller by so much tell nothing any more (3 dB off
/// with the rule of x2, 0.5 with this one; 22 clips).
const BY_DIVERSITY: (f64, f64) = (0.8, 2.8);
/// Share of the pictures from several frames below which what changes between frames is no alias, and above which all of it may be:
/// flames and water have as much of it as a sharp camera.
const SHARE: (f64, f64) = (0.6, 0.9);
/// Pixels trusted less are left out.
const TRUSTED: f32 = 0.5;
/// What the high-pass filter leaves of the variance of white noise: 1 - 2/4 + (3/8)^2.
const NOISE_LEFT: f64 = 0.640_625;

/// What the first frames of a video promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Wall-clock time of enlarging a frame, without decoding and encoding.
    pub seconds_per_frame: f64,
    /// Mean length of the shift from frame to frame, input pixels.
    pub mean_shift: f64,
    /// Mean share of the pictures that comes from several frames, 0 to 1.
    pub multi_frame_share: f64,
    /// Mean noise estimate, standard deviation on the 8-bit scale.
    pub noise: f64,
    /// How much of what lies between the pixels the frames of a window sample, 0 to 1: the mean share of the sub-pixel
    /// phases (scale x scale, but for the frame's own) that some other frame of the window falls on.
    pub subpixel_diversity: f64,
    /// Share of the energy of fine detail that changes with the sub-pixel phase, 0 to 1: half the energy by which
    /// successive frames, moved onto each other, differ, less noise. `None` where there is no detail or no motion.
    pub alias_energy: Option<f64>,
    /// Expected luma PSNR over that of Lanczos, dB, give or take one; `None` where frames are too small or too plain to tell.
    pub gain: Option<f64>,
}

/// What is kept of a frame that was enlarged.
struct Seen {
    share: f64,
    noise: f64,
    shift: f64,
    maps: Option<Maps>,
}

impl Forecast {
    /// Enlarges the first of the frames of `layout` that `next` gives, as `options` say, and measures.
    ///
    /// Takes 6 to 16 frames: a window and its neighbour, if that is quick.
    ///
    /// # Errors
    /// Those of `next`, of the options, and of enlarging.
    pub fn measure(
        options: &EnlargeOptions,
        layout: &PictureLayout,
        next: &mut dyn FnMut() -> Result<Option<Frame>>,
    ) -> Result<Self> {
        let mut upscaler = Upscaler::builder(layout).options(options.clone()).maps(true).build()?;
        let plan = upscaler.plan().clone();
        let most = (2 * plan.window + 2).clamp(FRAMES.0, FRAMES.1);
        let (start, mut busy) = (Instant::now(), Duration::ZERO);
        let (mut parts, mut seen) = (Vec::new(), Vec::new());
        while parts.len() < most && (parts.len() < FRAMES.0 || start.elapsed() < PATIENCE) {
            let Some(frame) = next()? else { break };
            parts.push(part(&frame, layout));
            let begun = Instant::now();
            seen.extend(upscaler.push(frame)?.into_iter().map(Seen::of));
            busy += begun.elapsed();
        }
        let begun = Instant::now();
        seen.extend(upscaler.finish()?.into_iter().map(Seen::of));
        busy += begun.elapsed();
        let mean = |value: fn(&Seen) -> f64| seen.iter().map(value).sum::<f64>() / seen.len().max(1) as f64;
        let noise = mean(|s| s.noise);
        let maps: Vec<&Maps> = seen.iter().filter_map(|s| s.maps.as_ref()).collect();
        let alias = alias(&parts, &maps, noise);
        let diversity = diversity(&maps[..maps.len().min(2 * plan.window + 1)], phases(&plan));
        let evidence = Evidence { share: mean(|s| s.share), alias: alias.unwrap_or(0.0), diversity };
        let scale = plan.to.height as f64 / plan.from.height as f64;
        let several = plan.method.is_multi_frame();
        let foretold = |measured| if several { expected(measured, &evidence, scale) } else { measured };
        Ok(Self {
            seconds_per_frame: busy.as_secs_f64() / seen.len().max(1) as f64,
            // Folded from 0, as an empty sum is -0.
            mean_shift: seen.iter().skip(1).fold(0.0, |sum, s| sum + s.shift)
                / seen.len().saturating_sub(1).max(1) as f64,
            multi_frame_share: evidence.share,
            noise,
            subpixel_diversity: diversity,
            alias_energy: alias,
            gain: gain(&parts, options, &plan)?.map(foretold),
        })
    }
}

impl Seen {
    fn of(enlarged: Enlarged) -> Self {
        Self {
            share: enlarged.multi_frame_share,
            noise: enlarged.noise,
            shift: enlarged.motion.dx.hypot(enlarged.motion.dy),
            maps: enlarged.maps,
        }
    }
}

/// Rows and columns of the middle of a picture: where it begins, how long it is.
fn middle((rows, columns): (usize, usize)) -> [(usize, usize); 2] {
    let one = |size: usize, most: usize| (size.saturating_sub(most) / 2, size.min(most));
    [one(rows, PART.0), one(columns, PART.1)]
}

/// The middle of a plane.
fn cut(plane: &Plane) -> Plane {
    let [(top, rows), (left, columns)] = middle(plane.dim());
    plane.slice(s![top..top + rows, left..left + columns]).to_owned()
}

/// The middle of a frame's luma, green where there is none.
fn part(frame: &Frame, layout: &PictureLayout) -> Plane {
    cut(&frame.planes[usize::from(layout.family == ColorFamily::Rgb)])
}

/// Places between pixels along an axis.
fn phases(plan: &EnlargePlan) -> usize {
    plan.to.width.div_ceil(plan.from.width).max(plan.to.height.div_ceil(plan.from.height)).clamp(1, 8)
}

/// Mean share of the other phases that frames fall on, following the motion of `maps` from the first frame on.
fn diversity(maps: &[&Maps], scale: usize) -> f64 {
    let Some(((rows, columns), others)) = maps.first().map(|m| m.gate.dim()).zip((scale * scale).checked_sub(1)) else {
        return 0.0;
    };
    let phase = |moved: f32| (moved * scale as f32).round().rem_euclid(scale as f32) as usize % scale;
    let (mut sum, mut count) = (0.0, 0.0);
    for y in (STEP / 2..rows).step_by(STEP) {
        for x in (STEP / 2..columns).step_by(STEP) {
            let (mut at, mut met) = ([y as f32, x as f32], 1u64);
            for map in &maps[..maps.len() - 1] {
                let place = (at[0].round() as usize, at[1].round() as usize);
                let Some(motion) = map.motion[0].get(place).zip(map.motion[1].get(place)) else { break };
                at = [at[0] + motion.0, at[1] + motion.1];
                met |= 1 << (phase(at[0] - y as f32) * scale + phase(at[1] - x as f32));
            }
            sum += f64::from(met.count_ones() - 1);
            count += 1.0;
        }
    }
    if others == 0 || count == 0.0 { 0.0 } else { sum / count / others as f64 }
}

/// See [`Forecast::alias_energy`]; `parts` are the middles of successive frames.
fn alias(parts: &[Plane], maps: &[&Maps], noise: f64) -> Option<f64> {
    let (mut changing, mut whole, mut count) = (0.0, 0.0, 0.0);
    for (pair, maps) in parts.windows(2).zip(maps) {
        let [down, right, trust] = [&maps.motion[0], &maps.motion[1], &maps.confidence].map(cut);
        let moves = down.iter().chain(&right).any(|v| *v != 0.0);
        if !moves || pair[0].dim() != down.dim() {
            continue;
        }
        let difference = Plane::from_shape_fn(down.dim(), |at| {
            let (y, x) = (at.0 as f32 + down[at], at.1 as f32 + right[at]);
            read(&pair[1], y, x).map_or(f32::NAN, |moved| pair[0][at] - moved)
        });
        for y in 1..down.nrows().saturating_sub(1) {
            for x in 1..down.ncols().saturating_sub(1) {
                let changed = fine(&difference, y, x);
                if trust[[y, x]] >= TRUSTED && changed.is_finite() {
                    changing += changed * changed / 2.0;
                    whole += fine(&pair[0], y, x).powi(2);
                    count += 1.0;
                }
            }
        }
    }
    let noise = NOISE_LEFT * noise * noise * count;
    // Less than this is the rounding of 8-bit samples.
    (count > 0.0 && whole - noise > 0.25 * count).then(|| ((changing - noise) / (whole - noise)).clamp(0.0, 1.0))
}

/// What is left at a place when a 3x3 binomial mean is taken off.
fn fine(plane: &Plane, y: usize, x: usize) -> f64 {
    let line = |y: usize| 0.25 * plane[[y, x - 1]] + 0.5 * plane[[y, x]] + 0.25 * plane[[y, x + 1]];
    f64::from(plane[[y, x]] - 0.25 * line(y - 1) - 0.5 * line(y) - 0.25 * line(y + 1))
}

/// Cubic interpolation at row `y`, column `x`; `None` near and outside the border.
fn read(plane: &Plane, y: f32, x: f32) -> Option<f32> {
    let (rows, columns) = plane.dim();
    let inside = |p: f32, n: usize| p >= 1.0 && p + 3.0 <= n as f32;
    if !inside(y, rows) || !inside(x, columns) {
        return None;
    }
    let (top, left) = (y as usize - 1, x as usize - 1);
    let weight = |p: f32, i: usize| cubic(f64::from(p) - i as f64) as f32;
    let line = |i: usize| (left..left + 4).map(|j| weight(x, j) * plane[[i, j]]).sum::<f32>();
    Some((top..top + 4).map(|i| weight(y, i) * line(i)).sum())
}

/// The gain to expect of several frames where `measured` was met on reduced frames, dB.
fn expected(measured: f64, of: &Evidence, scale: f64) -> f64 {
    let believed = ((of.share - SHARE.0) / (SHARE.1 - SHARE.0)).clamp(0.0, 1.0);
    let by_alias = BY_ALIAS.0 * measured.max(0.0) + BY_ALIAS.1 * believed * of.alias.min(MOST_ALIAS);
    let by_diversity = BY_DIVERSITY.0 + BY_DIVERSITY.1 * believed * of.diversity;
    let large = (scale - 2.0).clamp(0.0, 1.0);
    (1.0 - large) * by_alias + large * by_diversity
}

/// What several frames have to give.
struct Evidence {
    /// Of the pictures, from several frames.
    share: f64,
    /// Of fine detail that changes with the phase.
    alias: f64,
    /// Phases that are met.
    diversity: f64,
}

/// Measures the gain on the middles of frames made smaller.
fn gain(parts: &[Plane], options: &EnlargeOptions, plan: &EnlargePlan) -> Result<Option<f64>> {
    let ratio = [plan.to.height as f64 / plan.from.height as f64, plan.to.width as f64 / plan.from.width as f64];
    let Some((rows, columns)) = parts.first().map(|p| p.dim()) else { return Ok(None) };
    let small = [rows as f64 / ratio[0], columns as f64 / ratio[1]].map(|size| size as usize);
    let large = [0, 1].map(|axis| (small[axis] as f64 * ratio[axis]).round() as usize);
    let changes = options.method != Method::None || options.refine.is_some();
    if !changes || small[0] < LEAST || small[1] < LEAST || large == small {
        return Ok(None);
    }
    let gray = PictureLayout { family: ColorFamily::Gray, chroma_log2: (0, 0), alpha: false, ..plan.from.clone() };
    let (from, to) = (gray.resized(small[1], small[0]), gray.resized(large[1], large[0]));
    let reduction = PictureResampler::new(&to, &from, Filter::Bicubic, CpuLevel::detect());
    let truth: Vec<Plane> = parts.iter().map(|p| p.slice(s![..large[0], ..large[1]]).to_owned()).collect();
    let reduced = |truth: &Plane| {
        let mut out = reduction.allocate();
        reduction.resample(std::slice::from_ref(truth), &mut out);
        out.iter_mut().for_each(|plane| plane.mapv_inplace(|v| v.round().clamp(0.0, 255.0)));
        out
    };
    let frames: Vec<Vec<Plane>> = truth.iter().map(reduced).collect();
    let scale = Some(Scale::Size(large[1], large[0]));
    let lanczos =
        EnlargeOptions { method: Method::Interpolate(Filter::Lanczos), scale, refine: None, ..options.clone() };
    let (plain, made) =
        (enlarged(&frames, &from, lanczos)?, enlarged(&frames, &from, EnlargeOptions { scale, ..options.clone() })?);
    // The frames with whole windows, if there are any.
    let edge = if frames.len() > 2 * plan.window { plan.window } else { 0 };
    let (mut sum, mut count) = (0.0, 0.0);
    for at in edge..frames.len() - edge {
        let against = |made: &Plane| psnr(truth[at].view(), made.view());
        let (one, other) = (against(&made[at])?, against(&plain[at])?);
        if one.is_finite() && other.is_finite() {
            sum += one - other;
            count += 1.0;
        }
    }
    Ok((count > 0.0).then(|| sum / count))
}

/// The luma of all frames enlarged.
fn enlarged(frames: &[Vec<Plane>], layout: &PictureLayout, options: EnlargeOptions) -> Result<Vec<Plane>> {
    let mut upscaler = Upscaler::builder(layout).options(options).build()?;
    let mut out = Vec::new();
    for (index, planes) in frames.iter().enumerate() {
        let (index, pts, planes) = (index as u64, index as i64, planes.clone());
        let frame = Frame { index, pts, duration: 1, planes, coding: None, carried: Vec::new() };
        out.extend(upscaler.push(frame)?);
    }
    out.extend(upscaler.finish()?);
    Ok(out.into_iter().filter_map(|e| e.frame.planes.into_iter().next()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(rows: usize, columns: usize, down: f32, right: f32) -> Maps {
        let plane = |value| Plane::from_elem((rows, columns), value);
        Maps { motion: [plane(down), plane(right)], confidence: plane(1.0), gate: plane(1.0) }
    }

    #[test]
    fn gain_is_foretold_as_it_was_fitted() {
        let of =
            |measured, share, alias, diversity, scale| expected(measured, &Evidence { share, alias, diversity }, scale);
        assert!((of(2.4, 1.0, 0.115, 0.76, 2.0) - 5.9).abs() < 0.1, "a sharp camera, x2");
        assert!((of(1.4, 1.0, 0.075, 0.54, 4.0) - 2.4).abs() < 0.1, "the same, x4");
        assert_eq!(of(-1.2, 0.5, 0.167, 0.67, 2.0), 0.0, "flames");
        assert!((of(2.0, 0.6, 0.1, 0.5, 3.0) - 0.8).abs() < 1e-9, "flames, x3");
        assert!((of(1.0, 1.0, 0.0, 0.5, 2.5) - (1.4 + 2.2) / 2.0).abs() < 1e-9, "between the two rules");
    }

    #[test]
    fn diversity_counts_the_phases_that_are_met() {
        let of = |down, right, frames, scale| {
            let one = maps(64, 64, down, right);
            diversity(&vec![&one; frames], scale)
        };
        assert_eq!(of(0.0, 0.0, 5, 2), 0.0, "still");
        assert_eq!(of(1.0, -2.0, 5, 2), 0.0, "whole pixels");
        assert_eq!(of(0.01, -0.02, 5, 2), 0.0, "next to nothing");
        assert!((of(0.5, 0.0, 5, 2) - 1.0 / 3.0).abs() < 1e-9, "half pixels along one axis");
        assert!((of(0.25, 0.0, 9, 4) - 3.0 / 15.0).abs() < 1e-9, "one row of a 4 x 4 grid");
        assert_eq!((of(0.5, 0.25, 5, 2), of(0.5, 0.5, 1, 2), of(0.5, 0.5, 5, 1)), (1.0, 0.0, 0.0), "all, alone, x1");
        assert_eq!(diversity(&[], 2), 0.0, "no maps");
    }

    #[test]
    fn alias_is_what_changes_with_the_phase() {
        // Waves of 2.2 pixels sampled with a shift of half a pixel differ from cubic interpolation; those of 12 do not.
        let wave = |length: f32, shift: f32| {
            Plane::from_shape_fn((64, 64), |(_, x)| {
                120.0 + 50.0 * (std::f32::consts::TAU * (x as f32 + shift) / length).cos()
            })
        };
        let of = |length: f32| {
            let parts = [wave(length, 0.0), wave(length, -0.5)];
            alias(&parts, &[&maps(64, 64, 0.0, 0.5)], 0.0)
        };
        let (fine, coarse) = (of(2.2).expect("detail"), of(12.0).expect("detail"));
        assert!(fine > 0.3 && coarse < 0.02, "{fine} at 2.2 pixels, {coarse} at 12");
        assert_eq!(alias(&vec![Plane::zeros((64, 64)); 2], &[&maps(64, 64, 0.0, 0.5)], 0.0), None, "no detail");
    }
}
