//! A video of the methods beside each other, with the times, length and sound of the input.
//!
//! - `split`: one picture, from the left a strip of each; the border of two sweeps once in eight seconds, those of more
//!   stand, so that each can be followed.
//! - `side-by-side`: whole pictures in rows and columns, made smaller together where they pass 3840 x 2160.
//! - `difference`: the same, of eight times what each differs from the truth, or where there is none from the first
//!   method, about mid grey.
//!
//! The truth takes part where there is one. Results are read again; pictures keep the input's colour family and depth.

use std::f64::consts::TAU;

use super::canvas::{Fitter, black, difference, levels, place, strip};
use super::label::{self, Ink};
use super::make::Ready;
use super::request::{VideoLayout, VideoRequest};
use super::source::{Part, Pictures, Start};
use super::task::{Piece, Session, Task};
use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, Frame, PictureLayout, Plane};
use crate::kernels::CpuLevel;
use crate::media::{Cut, Orientation, Origin, VideoWriter};
use crate::resample::{Filter, PictureResampler};

/// Seconds of a sweep there and back, and how far it goes from the middle.
const SWEEP: f64 = 8.0;
const REACH: f64 = 0.42;
/// Largest picture of side-by-side videos, columns and rows.
const LARGEST: (usize, usize) = (3840, 2160);
/// How much differences are amplified.
const GAIN: f32 = 8.0;

/// One who is shown.
struct Shown {
    name: String,
    pictures: Pictures,
    fitter: Fitter,
}

/// Where everything goes.
struct Plan {
    layout: VideoLayout,
    /// One picture, without alpha, and the whole.
    picture: PictureLayout,
    canvas: PictureLayout,
    /// To the size in the whole, where that is smaller.
    smaller: Option<(PictureResampler, PictureLayout)>,
    columns: usize,
    count: usize,
    ink: Ink,
}

/// Writes the video that was asked for, of the results of `task`.
///
/// # Errors
/// [`Kind::Usage`] if there is nothing to show; those of reading and writing.
pub(super) fn write(
    session: &Session<'_>,
    task: &Task,
    results: &[(String, Vec<Ready>)],
    request: &VideoRequest,
) -> Result<()> {
    let [piece] = &task.pieces[..] else {
        return Err(Error::new(Kind::Bug, "a video of several excerpts was to be made"));
    };
    let parts = results.iter().filter_map(|(name, ready)| Some((name.clone(), ready.first()?.part.clone())));
    let mut parts: Vec<(String, Part)> = parts.collect();
    if parts.is_empty() {
        return Err(Error::new(Kind::Usage, "no method has a result to show in a video").file(&request.output.path));
    }
    let truth = piece.truth.as_ref().map(|part| ("reference".to_owned(), part.clone()));
    match (request.layout, truth) {
        // What others are compared with comes first.
        (VideoLayout::Difference, Some(truth)) => parts.insert(0, truth),
        (_, truth) => parts.extend(truth),
    }
    let base = PictureLayout { alpha: false, ..picture_layout(session, &parts)? };
    let open = |(name, part): (String, Part)| {
        let pictures = Pictures::open(&part, false, session.request.threads)?;
        let fitter = Fitter::new(pictures.layout(), &base);
        Ok(Shown { name, pictures, fitter })
    };
    let mut shown = parts.into_iter().map(open).collect::<Result<Vec<_>>>()?;
    let plan = Plan::new(request.layout, base, shown.len());
    session.watch.part("writing the video".into(), piece.frames, None);
    film(session, piece, &mut shown, &plan, request)
}

/// The layout that all are brought to: that of the first result, which is this program's as a rule.
fn picture_layout(session: &Session<'_>, parts: &[(String, Part)]) -> Result<PictureLayout> {
    let first = parts.iter().find(|(name, _)| name != "reference").or(parts.first());
    match first {
        Some((_, part)) => Ok(Pictures::open(part, false, session.request.threads)?.layout().clone()),
        None => Err(Error::new(Kind::Bug, "a video of nothing")),
    }
}

fn film(session: &Session<'_>, piece: &Piece, shown: &mut [Shown], plan: &Plan, request: &VideoRequest) -> Result<()> {
    let mut source = Pictures::open(&piece.input, false, session.request.threads)?;
    let info = source.info().clone();
    // Players turn the input's pictures; these were made upright, so they are turned back.
    let back = inverse(info.orientation);
    let layout = back.layout(&plan.canvas);
    let part = !matches!(piece.input.start, Start::First) || piece.input.frames.is_some();
    let mut writer: Option<VideoWriter> = None;
    let mut frames = 0;
    while let Some(at) = source.next()? {
        let Some(pictures) = next_of_all(shown)? else { break };
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let step = source.usual_step();
                let end = piece.input.frames.map_or(i64::MAX, |n| at.pts.saturating_add(step.saturating_mul(n as i64)));
                let cut = part.then_some(Cut { first: at.pts, end });
                let (input, cpu) = (&session.request.input, CpuLevel::detect());
                let origin = Origin { input, source: &info, layout: &layout, cut, usual_step: step };
                writer.insert(VideoWriter::create(&request.output, &origin, None, cpu)?)
            }
        };
        let seconds = info.seconds(at.pts);
        let names: Vec<&str> = shown.iter().map(|one| one.name.as_str()).collect();
        let planes = plan.compose(pictures, &names, seconds);
        let planes = planes.iter().map(|plane| back.turn(plane)).collect();
        writer.write(&Frame { planes, coding: None, ..at })?;
        frames += 1;
        session.watch.frame()?;
    }
    match writer {
        Some(writer) => writer.finish(frames).map(drop),
        None => Err(Error::new(Kind::Input, "no frame to show").file(&request.output.path)),
    }
}

/// The next frame of everybody, in the common layout; `None` when the first has ended.
fn next_of_all(shown: &mut [Shown]) -> Result<Option<Vec<Vec<Plane>>>> {
    let mut all = Vec::new();
    for one in shown {
        match one.pictures.next()? {
            Some(frame) => all.push(one.fitter.fit(frame)),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

/// What undoes an orientation.
fn inverse(turn: Orientation) -> Orientation {
    // A mirrored turn is its own inverse.
    let quarter_turns = if turn.mirrored { turn.quarter_turns } else { (4 - turn.quarter_turns) % 4 };
    Orientation { quarter_turns, ..turn }
}

impl Plan {
    fn new(layout: VideoLayout, picture: PictureLayout, count: usize) -> Self {
        // Differences are between others and the first.
        let count = if layout == VideoLayout::Difference { (count - 1).max(1) } else { count };
        let (mut columns, mut smaller) = (1, None);
        let mut cell = picture.clone();
        if layout != VideoLayout::Split {
            columns = (1..=count).find(|c| c * c >= count).unwrap_or(1);
            let rows = count.div_ceil(columns);
            let fit = |most: usize, all: usize| most as f64 / all as f64;
            let factor = fit(LARGEST.0, columns * cell.width).min(fit(LARGEST.1, rows * cell.height));
            if factor < 1.0 {
                let shrunk = |size: usize| ((size as f64 * factor) as usize / 2 * 2).max(2);
                cell = picture.resized(shrunk(picture.width), shrunk(picture.height));
                smaller =
                    Some((PictureResampler::new(&picture, &cell, Filter::Bicubic, CpuLevel::detect()), cell.clone()));
            }
        }
        let even = |size: usize| size.next_multiple_of(2);
        let rows = if layout == VideoLayout::Split { 1 } else { count.div_ceil(columns) };
        // Encoders want chroma to divide sides; so the seams do, too.
        let canvas = picture.resized(columns * even(cell.width), rows * even(cell.height));
        let ink = ink(&picture, label::dot(cell.height));
        Self { layout, picture, canvas, smaller, columns, count, ink }
    }

    /// One frame of the video. `pictures` are as many as `names`.
    fn compose(&self, mut pictures: Vec<Vec<Plane>>, names: &[&str], seconds: f64) -> Vec<Plane> {
        let mut canvas = black(&self.canvas);
        if self.layout == VideoLayout::Split {
            self.strips(&mut canvas, &pictures, names, seconds);
            return canvas;
        }
        let mut names = names.to_vec();
        let mut what = String::new();
        if self.layout == VideoLayout::Difference && pictures.len() > 1 {
            let base = pictures.remove(0);
            what = format!(" - {}, x{GAIN}", names.remove(0));
            pictures.iter_mut().for_each(|picture| difference(picture, &base, &self.picture, GAIN));
        }
        let cell = self.smaller.as_ref().map_or(&self.picture, |(_, cell)| cell);
        let (width, height) = (cell.width.next_multiple_of(2), cell.height.next_multiple_of(2));
        for (i, (picture, name)) in pictures.iter().zip(names).enumerate() {
            let at = (i % self.columns * width, i / self.columns * height);
            match &self.smaller {
                Some((resampler, _)) => {
                    let mut small = resampler.allocate();
                    resampler.resample(picture, &mut small);
                    place(&mut canvas, &self.canvas, &small, at);
                }
                None => place(&mut canvas, &self.canvas, picture, at),
            }
            label::write(&mut canvas, &self.canvas, &format!("{name}{what}"), at, width, self.ink);
        }
        canvas
    }

    fn strips(&self, canvas: &mut [Plane], pictures: &[Vec<Plane>], names: &[&str], seconds: f64) {
        let (width, count) = (self.picture.width, self.count);
        let border = |i: usize| match (i, count) {
            (1, 2) => ((0.5 + REACH * (TAU * seconds / SWEEP).sin()) * width as f64) as usize / 2 * 2,
            (0, _) => 0,
            (i, _) if i == count => width,
            (i, _) => i * width / count / 2 * 2,
        };
        for (i, (picture, name)) in pictures.iter().zip(names).enumerate() {
            let (from, to) = (border(i), border(i + 1));
            strip(canvas, &self.canvas, picture, (from, to));
            if i > 0 {
                self.line(canvas, from);
            }
            label::write(canvas, &self.canvas, name, (from, 0), to.saturating_sub(from), self.ink);
        }
    }

    /// A bright line, two pixels wide, where a strip begins.
    fn line(&self, canvas: &mut [Plane], at: usize) {
        for (index, plane) in canvas.iter_mut().enumerate() {
            let chroma = self.canvas.family == ColorFamily::YCbCr && index > 0;
            let log2 = self.canvas.plane_log2(index).0;
            for x in at >> log2..(at + 2).div_ceil(1 << log2) {
                if x < plane.ncols() {
                    plane.column_mut(x).fill(if chroma { self.ink.neutral } else { self.ink.light });
                }
            }
        }
    }
}

/// White as the transfer has it: reference white where signals go far beyond it.
fn ink(layout: &PictureLayout, dot: usize) -> Ink {
    let levels = levels(layout);
    let signal = match layout.color.transfer {
        16 => 0.58,
        18 => 0.75,
        _ => 1.0,
    };
    let value = |signal: f32| levels.black + signal * levels.white;
    Ink { light: value(signal), dark: value(0.1 * signal), neutral: levels.gray, dot }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(layout: &PictureLayout, value: f32) -> Vec<Plane> {
        (0..3).map(|i| Plane::from_elem(layout.plane_size(i), value)).collect()
    }

    #[test]
    fn every_layout_shows_everybody_and_has_even_sides() {
        let picture = PictureLayout::yuv420(201, 113);
        for kind in [VideoLayout::Split, VideoLayout::SideBySide, VideoLayout::Difference] {
            for count in 1..6 {
                let plan = Plan::new(kind, picture.clone(), count);
                let cells = match (kind, count) {
                    (VideoLayout::Split, _) | (_, 1) | (VideoLayout::Difference, 2) => (1, 1),
                    (VideoLayout::SideBySide, 2) | (VideoLayout::Difference, 3) => (2, 1),
                    (VideoLayout::SideBySide, 5) => (3, 2),
                    _ => (2, 2),
                };
                let size = (plan.canvas.width, plan.canvas.height);
                assert_eq!(size, (202 * cells.0, 114 * cells.1), "{kind} {count}");
                let pictures: Vec<_> = (0..count).map(|i| flat(&picture, 40.0 + 30.0 * i as f32)).collect();
                let composed = plan.compose(pictures, &["a"; 6][..count], 1.0);
                let sizes: Vec<_> = composed.iter().map(|p| p.dim()).collect();
                assert_eq!(sizes, (0..3).map(|i| plan.canvas.plane_size(i)).collect::<Vec<_>>(), "{kind} {count}");
                for i in (0..count).filter(|_| kind != VideoLayout::Difference) {
                    assert!(composed[0].iter().any(|v| *v == 40.0 + 30.0 * i as f32), "{kind} {count}: no {i}");
                }
            }
        }
    }

    #[test]
    fn differences_are_amplified_about_grey() {
        let picture = PictureLayout::yuv420(64, 32);
        let plan = Plan::new(VideoLayout::Difference, picture.clone(), 2);
        let composed = plan.compose(vec![flat(&picture, 100.0), flat(&picture, 103.0)], &["a", "b"], 0.0);
        assert_eq!(composed[0][[31, 63]], 16.0 + 0.5 * 219.0 + 24.0, "luma");
        assert_eq!(composed[1][[15, 31]], 128.0 + 24.0, "chroma");
    }

    #[test]
    fn large_pictures_are_made_smaller_together() {
        let plan = Plan::new(VideoLayout::SideBySide, PictureLayout::yuv420(3840, 2160), 4);
        assert_eq!((plan.canvas.width, plan.canvas.height), LARGEST, "two by two");
    }

    #[test]
    fn turning_there_and_back_changes_nothing() {
        let plane = Plane::from_shape_fn((2, 3), |(y, x)| (3 * y + x) as f32);
        for mirrored in [false, true] {
            for quarter_turns in 0..4 {
                let turn = Orientation { mirrored, quarter_turns };
                assert_eq!(inverse(turn).turn(&turn.turn(&plane)), plane, "{turn:?}");
            }
        }
    }
}
