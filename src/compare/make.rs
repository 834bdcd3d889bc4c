//! Making results: this program's methods in the same process, commands of other programs beside it.
//!
//! Methods run one after the other, so that time and memory are their own. Time is wall clock, with decoding of the
//! input and lossless encoding of the result. Memory is the most that the process held meanwhile, which includes what
//! every method needs (the program itself, FFmpeg).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::command;
use super::memory;
use super::reduce;
use super::request::{Contender, Maker, command_words, enlarge_options, quoted};
use super::source::{Part, Start};
use super::task::{Piece, Session, Task, TestKind, name_of};
use super::workspace::{file_name, identity};
use crate::error::{Error, Kind, Result};
use crate::media::{EncoderSpec, InputSpec, OutputSpec};
use crate::pipeline::{Excerpt, FrameNote, Job, Method, upscale_file};

/// A result of one piece, ready to be read.
pub(super) struct Ready {
    pub(super) part: Part,
    pub(super) made: Made,
}

/// What is known of how a result was made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Made {
    /// Wall-clock time; `None` of what was there before.
    pub(super) seconds: Option<f64>,
    /// Most memory held meanwhile, bytes.
    pub(super) peak_memory: Option<u64>,
    /// One for each frame, where the method tells.
    pub(super) notes: Vec<Note>,
}

/// What a method of this program tells of a frame.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Note {
    /// Length of the shift against the frame before, input pixels.
    pub(super) motion: f32,
    pub(super) confidence: f32,
    pub(super) share: f32,
}

impl Note {
    fn of(note: &FrameNote) -> Self {
        let motion = &note.motion;
        Self {
            motion: motion.dx.hypot(motion.dy) as f32,
            confidence: motion.confidence as f32,
            share: note.multi_frame_share as f32,
        }
    }
}

/// Makes the result of `contender` for one piece; `Err` of the inner result says why it has none.
///
/// # Errors
/// What ends the whole comparison: being stopped, no room, an input that cannot be read.
pub(super) fn result(
    session: &Session<'_>,
    task: &Task,
    piece: &Piece,
    contender: &Contender,
) -> Result<Result<Ready, String>> {
    let made = match &contender.maker {
        Maker::File(path) => of_file(path, piece),
        Maker::Own { method, model } => own(session, task, piece, &contender.name, (*method, model.as_deref())),
        Maker::Command(words) => by_command(session, task, piece, &contender.name, words),
    };
    match made {
        Ok(made) => Ok(Ok(made)),
        Err(e) if ends_everything(&e) => Err(e),
        Err(e) => Ok(Err(e.to_string())),
    }
}

/// Whether an error is not this contender's alone.
pub(super) fn ends_everything(error: &Error) -> bool {
    matches!(error.kind(), Kind::Interrupted | Kind::Terminated | Kind::Resource | Kind::Create | Kind::Bug)
}

/// How anyone can make what `contender` makes.
pub(super) fn command_line(session: &Session<'_>, task: &Task, contender: &Contender) -> String {
    let name = name_of(&session.request.input);
    let input = if matches!(task.kind, TestKind::Reference | TestKind::Enlarged) { name.as_str() } else { "IN" };
    match &contender.maker {
        Maker::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        Maker::Own { method, model } => {
            let words = command_words(input, "OUT.mkv", *method, model.as_deref(), task.scale, session.request.preset);
            quoted(words.iter().map(String::as_str))
        }
        Maker::Command(words) => quoted(words.iter().map(String::as_str)),
    }
}

/// A file that was made of the whole input before.
fn of_file(path: &Path, piece: &Piece) -> Result<Ready> {
    let excerpt = piece
        .excerpt
        .ok_or_else(|| Error::new(Kind::Usage, "is of the input itself, not of what this test enlarges"))?;
    let start = if excerpt.first > 0 { Start::Frames(excerpt.first) } else { Start::First };
    let frames = (!excerpt.whole).then_some(excerpt.frames);
    let part = Part { spec: InputSpec::local(path), start, frames, crop: None };
    Ok(Ready { part, made: Made::default() })
}

fn result_name(task: &Task, piece: &Piece, name: &str) -> String {
    format!("{}-{}-{}", task.kind.key(), piece.first, file_name(name))
}

/// A method of this program.
fn own(
    session: &Session<'_>,
    task: &Task,
    piece: &Piece,
    name: &str,
    (method, model): (Method, Option<&Path>),
) -> Result<Ready> {
    let request = session.request;
    let enlarge = enlarge_options(method, model, task.scale, task.factor(), request.preset)?;
    let words = command_words("", "", method, model, task.scale, request.preset).join(" ");
    let network = model.map(|path| identity(path).unwrap_or_default()).unwrap_or_default();
    let key = piece.identity.as_ref().map(|input| format!("{words} {network} of {input}"));
    let (path, made) = session.workspace.file(&result_name(task, piece, name), key, |path| {
        let control = Arc::new(session.watch.control().noting());
        session.watch.part(format!("enlarging with {name}"), piece.frames, Some(Arc::clone(&control)));
        let encoder = EncoderSpec { codec: Some("ffv1".into()), ..EncoderSpec::default() };
        let output = OutputSpec { encoder, overwrite: true, ..OutputSpec::file(path) };
        let start = match piece.input.start {
            Start::Seconds(seconds) => Some(seconds),
            Start::First | Start::Frames(_) => None,
        };
        let job = Job {
            enlarge,
            excerpt: Excerpt { start, frames: piece.input.frames },
            threads: request.threads,
            ..Job::new(piece.input.spec.clone(), output)
        };
        memory::forget_peak();
        let begun = Instant::now();
        upscale_file(&job, &control)?;
        let seconds = Some(begun.elapsed().as_secs_f64());
        let told = if method.is_multi_frame() { control.take_notes() } else { Vec::new() };
        Ok(Made { seconds, peak_memory: memory::peak(), notes: told.iter().map(Note::of).collect() })
    })?;
    Ok(Ready { part: Part::whole(InputSpec::local(path)), made })
}

/// Another program.
fn by_command(session: &Session<'_>, task: &Task, piece: &Piece, name: &str, words: &[String]) -> Result<Ready> {
    let input = command_input(session, task, piece)?;
    let key = piece.identity.as_ref().map(|input| format!("{words:?} of {input}"));
    let (path, made) = session.workspace.file(&result_name(task, piece, name), key, |path| {
        session.watch.part(format!("running {name}"), 0, None);
        command::run(words, &input, path, session.watch)
    })?;
    Ok(Ready { part: Part::whole(InputSpec::local(path)), made })
}

/// A file that holds just the piece.
fn command_input(session: &Session<'_>, task: &Task, piece: &Piece) -> Result<PathBuf> {
    let part = &piece.input;
    if part.start == Start::First && part.frames.is_none() {
        return Ok(part.spec.path.clone());
    }
    let key = piece.identity.as_ref().map(|input| format!("copy of {input}"));
    let name = format!("{}-{}-copy", task.kind.key(), piece.first);
    let (path, _) = session.workspace.file(&name, key, |path| {
        session.watch.part("cutting out the frames for other programs".into(), piece.frames, None);
        let encoder = EncoderSpec { codec: Some("ffv1".into()), ..EncoderSpec::default() };
        reduce::write(part, path, (task.from, None), encoder, session.watch)
    })?;
    Ok(path)
}
