//! Measuring one contender's results of a test: frame by frame, in bounded memory, beside the truth and the input.

use super::looks::Looks;
use super::make::{Note, Ready};
use super::measure::{Means, MeasureOptions, Measurer};
use super::source::{Part, Pictures};
use super::task::{Piece, Session, Task};
use crate::error::{Error, Kind, Result};
use crate::frame::Frame;
use crate::kernels::CpuLevel;
use crate::media::Damage;
use crate::metrics::Metric;
use crate::report::FrameScores;

/// What was measured of all frames.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) means: Means,
    pub(super) per_frame: Vec<FrameScores>,
    /// What could not be measured, and why.
    pub(super) notes: Vec<String>,
    /// Damage met in the input.
    pub(super) damage: Damage,
}

/// Measures the results of all pieces; `Err` of the inner result says what is wrong with them.
///
/// # Errors
/// A truth that does not go with the input; being stopped; that of measuring.
pub(super) fn judge(
    session: &Session<'_>,
    task: &Task,
    name: &str,
    results: &[Ready],
    looks: &mut Looks,
) -> Result<Result<Verdict, String>> {
    let mut verdict = Verdict::default();
    session.watch.part(format!("measuring {name}"), task.frames(), None);
    for (piece, ready) in task.pieces.iter().zip(results) {
        match one_piece(session, task, (name, piece, ready), &mut verdict, looks) {
            Ok(()) => {}
            Err(Failure::Result(why)) => return Ok(Err(why)),
            Err(Failure::Comparison(error)) => return Err(error),
        }
    }
    Ok(Ok(verdict))
}

/// Whose fault it is.
enum Failure {
    /// The result's alone.
    Result(String),
    /// Nobody can be measured.
    Comparison(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Comparison(error)
    }
}

fn one_piece(
    session: &Session<'_>,
    task: &Task,
    (name, piece, ready): (&str, &Piece, &Ready),
    verdict: &mut Verdict,
    looks: &mut Looks,
) -> Result<(), Failure> {
    let open = |part: &Part| Pictures::open(part, false, session.request.threads);
    let mut result = open(&ready.part).map_err(|e| Failure::Result(e.to_string()))?;
    let size = (result.layout().width, result.layout().height);
    if size != task.to {
        let (got, wanted) = (size, task.to);
        let words = format!("it is {}x{}, the enlarged video is {}x{}", got.0, got.1, wanted.0, wanted.1);
        return Err(Failure::Result(words));
    }
    let mut truth = piece.truth.as_ref().map(open).transpose()?;
    let mut input = open(&piece.input)?;
    let options = &session.request.measure;
    // Tiny pictures keep most of themselves.
    let crop = options.crop.min(size.0.min(size.1) / 8);
    let layouts = (result.layout(), truth.as_ref().map(Pictures::layout), input.layout());
    let options = MeasureOptions { crop, ..options.clone() };
    let mut measurer = Measurer::new(layouts.0, layouts.1, Some(layouts.2), options, CpuLevel::detect())?;
    let before = verdict.per_frame.len();
    loop {
        let at = verdict.per_frame.len() - before;
        let next = result.next().map_err(|e| Failure::Result(e.to_string()))?;
        let source = input.next()?;
        let right = truth.as_mut().map(Pictures::next).transpose()?;
        let Some((frame, source)) = paired(next, source, at)? else {
            truth_ends_too(session, right, at)?;
            break;
        };
        let right = match right {
            Some(None) => return Err(Failure::Comparison(short_reference(session, at))),
            right => right.flatten(),
        };
        let measured = measurer.push(&frame, right.as_ref(), Some(&source))?;
        verdict.means.push(&measured.scores);
        let note = ready.made.notes.get(at);
        let told = |f: fn(&Note) -> f32| note.map(|note| f64::from(f(note)));
        let number = piece.first + at as u64;
        verdict.per_frame.push(FrameScores {
            frame: number,
            scores: measured.scores,
            motion: measured.motion.or(told(|note| note.motion)),
            confidence: measured.confidence.or(told(|note| note.confidence)),
            multi_frame_share: told(|note| note.share),
        });
        looks.see(name, number, &frame, result.layout())?;
        session.watch.frame()?;
    }
    // Where the input was reduced, the truth is the input.
    let source = if piece.excerpt.is_some() { Some(&input) } else { truth.as_ref() };
    if let Some(damage) = source.map(Pictures::damage).filter(|damage| damage.count > verdict.damage.count) {
        verdict.damage = damage;
    }
    if verdict.notes.is_empty() {
        verdict.notes = measurer.notes().to_vec();
    }
    finish(measurer, verdict, before)
}

/// VMAF comes when all frames are there.
fn finish(measurer: Measurer, verdict: &mut Verdict, before: usize) -> Result<(), Failure> {
    if let Some(values) = measurer.finish()? {
        verdict.means.push_all(Metric::Vmaf, &values);
        for (scores, value) in verdict.per_frame[before..].iter_mut().zip(values) {
            scores.scores.vmaf = Some(value);
        }
    }
    Ok(())
}

/// The result's frame and the input's, or neither.
fn paired(result: Option<Frame>, input: Option<Frame>, at: usize) -> Result<Option<(Frame, Frame)>, Failure> {
    match (result, input) {
        (None, None) => Ok(None),
        (Some(frame), Some(source)) => Ok(Some((frame, source))),
        (None, Some(_)) => Err(Failure::Result(format!("it has only {at} frames, the input has more"))),
        (Some(_), None) => Err(Failure::Result(format!("it has more frames than the input's {at}"))),
    }
}

/// Nothing may be left of the truth when the input has ended.
fn truth_ends_too(session: &Session<'_>, right: Option<Option<Frame>>, at: usize) -> Result<(), Failure> {
    match (right, &session.request.reference) {
        (Some(Some(_)), Some(reference)) => {
            let message = format!("has more frames than the input's {at}; frames are compared one by one");
            let error =
                Error::new(Kind::Input, message).hint("cut both to the same frames, or choose some with --frames");
            Err(Failure::Comparison(error.file(&reference.path)))
        }
        _ => Ok(()),
    }
}

fn short_reference(session: &Session<'_>, at: usize) -> Error {
    let message = format!("has only {at} frames, the input has more; frames are compared one by one");
    let error = Error::new(Kind::Input, message).hint("cut both to the same frames, or choose some with --frames");
    match &session.request.reference {
        Some(reference) => error.file(&reference.path),
        None => error.file(&session.request.input.path),
    }
}
