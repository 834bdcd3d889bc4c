//! Which method to use, by rules that are told with it.
//!
//! 1. A method's worth is its PSNR-Y over that of Lanczos interpolation: with a reference on it, else over the recovery
//!    tests, weighted by how near they are to what the input has gone through. Where the input was compressed enough to
//!    be coded again, that test has half of the weight; bicubic and Gaussian reduction share the rest.
//! 2. Out is what is below Lanczos (or, without it, bicubic) in that mean, or in its SSIM-Y by more than 0.002.
//! 3. Of the others the best; of those within 0.1 dB of it, which nobody sees, the fastest. Speeds within a quarter of each
//!    other are the same, for clocks are not exact: then one without a network, then one of single frames.
//! 4. If nothing is left, Lanczos (or the best interpolation there is).
//!
//! Only methods of this program are recommended; what other programs did better is said.

use super::request::{Contender, Maker, command_words, quoted};
use super::task::{Session, TestKind, name_of};
use crate::pipeline::{Method, Scale};
use crate::report::{Advice, MethodResult, Test, Truth};

/// Differences below this are seen by nobody, dB.
const CLOSE: f64 = 0.1;
/// Speeds above this share of the fastest are as fast.
const SAME_SPEED: f64 = 0.75;
/// Loss of PSNR-Y that is more than rounding, dB.
const TOLD_LOSS: f64 = 0.02;
/// Loss of SSIM-Y that is still none.
const SSIM_LOSS: f64 = 0.002;
/// Motion below which frames show the same samples, input pixels a frame.
const STILL: f64 = 0.05;
/// Share of the picture below which several frames did not take part.
const LITTLE: f64 = 0.25;

/// What the tests say of one contender.
struct Standing<'a> {
    contender: &'a Contender,
    /// Weighted over the tests, less that of the yardstick.
    psnr: f64,
    ssim: f64,
    /// Frames a second on the largest task.
    speed: Option<f64>,
}

/// The recommendation.
pub(super) fn advise(session: &Session<'_>, tests: &[Test], scale: f64) -> Advice {
    let contenders = &session.request.contenders;
    let Some(yardstick) = yardstick(contenders, tests) else { return without_yardstick(session, tests, scale) };
    let standings: Vec<Standing<'_>> =
        contenders.iter().filter_map(|contender| standing(contender, yardstick, tests)).collect();
    let own = || standings.iter().filter(|standing| standing.contender.is_own());
    let fit = || own().filter(|s| s.psnr >= 0.0 && s.ssim >= -SSIM_LOSS);
    let best = fit().map(|s| s.psnr).fold(f64::NEG_INFINITY, f64::max);
    let close = || fit().filter(|s| s.psnr >= best - CLOSE);
    let fastest = close().filter_map(|s| s.speed).fold(0.0, f64::max);
    let as_fast = close().filter(|s| s.speed.unwrap_or(0.0) >= SAME_SPEED * fastest);
    let chosen = as_fast.min_by(|a, b| parts(a.contender).cmp(&parts(b.contender)).then(b.psnr.total_cmp(&a.psnr)));
    let Some(chosen) = chosen else { return without_yardstick(session, tests, scale) };
    let mut reasons = vec![why(chosen, yardstick, tests)];
    reasons.extend(cheaper(chosen, best, &standings));
    reasons.extend(several_frames(chosen, &standings, tests));
    reasons.extend(worse(chosen, &standings, yardstick));
    reasons.extend(others(chosen, &standings));
    reasons.extend(speed(chosen));
    Advice { method: chosen.contender.name.clone(), command: command(session, chosen.contender, scale), reasons }
}

/// How much a method is made of: a network counts more than other frames.
fn parts(contender: &Contender) -> u8 {
    match &contender.maker {
        Maker::Own { method, model } => 2 * u8::from(model.is_some()) + u8::from(method.is_multi_frame()),
        Maker::File(_) | Maker::Command(_) => u8::MAX,
    }
}

/// The interpolation that gains are counted from.
fn yardstick<'a>(contenders: &'a [Contender], tests: &[Test]) -> Option<&'a str> {
    let there = |name: &str| tests.iter().all(|test| result(test, name).is_some_and(|r| r.failed.is_none()));
    ["lanczos", "bicubic"].into_iter().find_map(|name| {
        contenders.iter().find(|contender| contender.name == name && there(name)).map(|c| c.name.as_str())
    })
}

fn result<'a>(test: &'a Test, name: &str) -> Option<&'a MethodResult> {
    test.methods.iter().find(|method| method.name == name)
}

/// Tests with a truth and their weights, which sum to 1.
fn weighted(tests: &[Test]) -> Vec<(&Test, f64)> {
    let judged: Vec<&Test> = tests.iter().filter(|test| test.truth != Truth::Nothing).collect();
    // The coded test weighs as much as all others together.
    let coded = (judged.len().saturating_sub(1)).max(1) as f64;
    let weight = |test: &Test| if test.key == TestKind::Coded.key() { coded } else { 1.0 };
    let total: f64 = judged.iter().map(|test| weight(test)).sum();
    judged.iter().map(|test| (*test, weight(test) / total)).collect()
}

/// `None` of a contender that failed somewhere, or has no figures.
fn standing<'a>(contender: &'a Contender, yardstick: &str, tests: &[Test]) -> Option<Standing<'a>> {
    let (mut psnr, mut ssim) = (0.0, 0.0);
    let judged = weighted(tests);
    if judged.is_empty() {
        return None;
    }
    for (test, weight) in judged {
        let (own, base) = (result(test, &contender.name)?, result(test, yardstick)?);
        psnr += weight * (own.mean.psnr_y? - base.mean.psnr_y?);
        ssim += weight * (own.mean.ssim_y? - base.mean.ssim_y?);
    }
    let speed = tests.last().and_then(|test| result(test, &contender.name)?.frames_per_second);
    Some(Standing { contender, psnr, ssim, speed })
}

/// The main reason, with figures.
fn why(chosen: &Standing<'_>, yardstick: &str, tests: &[Test]) -> String {
    let name = &chosen.contender.name;
    let figures = weighted(tests).into_iter().filter_map(|(test, _)| {
        let (own, base) = (result(test, name)?.mean.psnr_y?, result(test, yardstick)?.mean.psnr_y?);
        let place = match test.key.as_str() {
            "reference" => "against the reference",
            "recovery-coded" => "on a copy made smaller and coded like the source",
            "recovery-bicubic" => "on a copy made smaller by bicubic interpolation",
            _ => "on a copy made smaller by a Gaussian",
        };
        Some(format!("{:+.2} dB {place}", own - base))
    });
    let figures: Vec<String> = figures.collect();
    if name == yardstick {
        return format!("Nothing that was tried is better than {yardstick}.");
    }
    format!("{name} is nearest to the truth: over {yardstick}, {}.", figures.join(", "))
}

/// Whether something better was left for something faster.
fn cheaper(chosen: &Standing<'_>, best: f64, standings: &[Standing<'_>]) -> Option<String> {
    let better = standings
        .iter()
        .filter(|s| s.contender.is_own() && s.psnr == best && s.psnr > chosen.psnr)
        .max_by(|a, b| a.psnr.total_cmp(&b.psnr))?;
    let times = chosen.speed? / better.speed?;
    let (by, name) = (better.psnr - chosen.psnr, &better.contender.name);
    let cost =
        if times * SAME_SPEED > 1.0 { format!("takes {times:.1} times as long") } else { "is made of more".into() };
    Some(format!("{name} gains {by:.2} dB more, which nobody sees, and {cost}."))
}

/// Whether several frames bring anything, and if not, why.
fn several_frames(chosen: &Standing<'_>, standings: &[Standing<'_>], tests: &[Test]) -> Option<String> {
    let multi = |s: &&Standing<'_>| matches!(s.contender.maker, Maker::Own { method, .. } if method.is_multi_frame());
    let several = standings.iter().filter(multi).max_by(|a, b| a.psnr.total_cmp(&b.psnr))?;
    let single =
        standings.iter().filter(|s| s.contender.is_own() && !multi(s)).max_by(|a, b| a.psnr.total_cmp(&b.psnr))?;
    let gain = several.psnr - single.psnr;
    let (motion, share) = evidence(&several.contender.name, tests);
    let share = share?;
    let moves = motion.map_or(String::new(), |m| format!(", frames move {m:.2} pixels on average"));
    let taken = format!("{:.0} % of the picture comes from several frames{moves}", 100.0 * share);
    if gain >= CLOSE {
        let held = if multi(&chosen) { "" } else { ", but a network beats them" };
        return (multi(&chosen) || !held.is_empty()).then(|| {
            format!("Several frames help here ({gain:+.2} dB over the best of single frames{held}): {taken}.")
        });
    }
    let why = if motion.is_some_and(|motion| motion < STILL) {
        "the camera stands still, so all frames show the same samples"
    } else if share < LITTLE {
        "frames differ too much to be put together"
    } else {
        "they agree, but hold little detail that a single one lacks"
    };
    Some(format!("Several frames bring nothing here ({gain:+.2} dB): {why}; {taken}."))
}

/// Mean motion, and mean share that comes from several frames, over all tests.
fn evidence(name: &str, tests: &[Test]) -> (Option<f64>, Option<f64>) {
    let mean = |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let frames = || tests.iter().filter_map(|test| result(test, name)).flat_map(|result| &result.per_frame);
    let last = tests.last().and_then(|test| result(test, name)).map_or(&[][..], |result| &result.per_frame);
    let motion = mean(last.iter().filter_map(|frame| frame.motion).collect());
    (motion, mean(frames().filter_map(|frame| frame.multi_frame_share).collect()))
}

/// Methods that are worse than interpolation.
fn worse(chosen: &Standing<'_>, standings: &[Standing<'_>], yardstick: &str) -> Option<String> {
    let bad = standings.iter().filter(|s| {
        s.contender.name != chosen.contender.name
            && s.contender.name != yardstick
            && s.contender.name != "bicubic"
            && (s.psnr < -TOLD_LOSS || s.ssim < -SSIM_LOSS)
    });
    let told: Vec<String> = bad.map(|s| format!("{} ({:+.2} dB)", s.contender.name, s.psnr)).collect();
    (!told.is_empty()).then(|| format!("Worse than {yardstick} here: {}.", told.join(", ")))
}

/// Candidates of other programs that are better.
fn others(chosen: &Standing<'_>, standings: &[Standing<'_>]) -> Option<String> {
    let better = standings.iter().filter(|s| !s.contender.is_own() && s.psnr > chosen.psnr);
    let told: Vec<String> =
        better.map(|s| format!("{} (by {:.2} dB)", s.contender.name, s.psnr - chosen.psnr)).collect();
    (!told.is_empty()).then(|| format!("Better than all of this program's: {}.", told.join(", ")))
}

fn speed(chosen: &Standing<'_>) -> Option<String> {
    chosen.speed.map(|fps| format!("It makes {fps:.1} frames a second on this machine."))
}

fn command(session: &Session<'_>, contender: &Contender, scale: f64) -> String {
    let Maker::Own { method, model } = &contender.maker else { return String::new() };
    let scale = Scale::Factor(scale);
    let input = session.request.input.path.to_string_lossy();
    let name = name_of(&session.request.input);
    let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
    let known = ["mp4", "mov", "mkv", "webm", "png", "avi"];
    let own = session.request.input.path.extension().and_then(|extension| extension.to_str());
    let extension = own.filter(|own| known.contains(own)).unwrap_or("mkv");
    let output = format!("{stem}-large.{extension}");
    let words = command_words(&input, &output, *method, model.as_deref(), scale, session.request.preset);
    quoted(words.iter().map(String::as_str))
}

/// Where nothing can be judged: too small an input, or no interpolation to count from.
fn without_yardstick(session: &Session<'_>, tests: &[Test], scale: f64) -> Advice {
    let judged = weighted(tests);
    let own = session.request.contenders.iter().filter(|contender| contender.is_own());
    let mean = |contender: &Contender| {
        let figures: Option<Vec<f64>> =
            judged.iter().map(|(test, weight)| Some(weight * result(test, &contender.name)?.mean.psnr_y?)).collect();
        figures.filter(|f| !f.is_empty()).map(|f| f.iter().sum::<f64>())
    };
    let best = own.filter_map(|c| mean(c).map(|psnr| (c, psnr))).max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((contender, psnr)) = best {
        let name = &contender.name;
        let reason =
            format!("{name} is nearest to the truth, PSNR-Y {psnr:.2} dB; no interpolation was compared with it.");
        return Advice { method: name.clone(), command: command(session, contender, scale), reasons: vec![reason] };
    }
    let usual = Contender { name: "map".into(), maker: Maker::Own { method: Method::default(), model: None } };
    let reason = "Nothing could be compared with a truth; this is the method that serves most videos.";
    Advice { method: usual.name.clone(), command: command(session, &usual, scale), reasons: vec![reason.into()] }
}
