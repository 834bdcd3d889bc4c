//! Several methods side by side on one video: who enlarges, what is measured, what is kept.
//!
//! ```text
//! survey ─► for each test: task ─► for each method: make ─► judge ─► looks
//!                                                        └─► shots, crops, video, advice
//! ```
//! With a reference there is one test. Without one the input is its own truth: it is made smaller and recovered
//! (`reduce`, and `recode` for what its compression does), and the enlargement itself is measured by what needs no
//! truth. Methods run in turn, results are read frame by frame: memory does not grow with the length but for 200 bytes
//! of figures a frame. What is not here: how a page looks (`report`), the terminal (`cli`).

mod advice;
mod canvas;
mod command;
mod judge;
mod label;
mod looks;
mod make;
pub mod measure;
mod measure_files;
mod measure_means;
mod measure_planes;
mod measure_temporal;
#[cfg(test)]
mod measure_temporal_tests;
mod measure_vmaf;
mod memory;
mod picture;
mod recode;
mod reduce;
mod request;
mod show;
mod source;
mod survey;
mod task;
mod video;
mod watch;
mod workspace;

pub use request::{Contender, DEFAULT_CROP, Maker, Request, VideoLayout, VideoRequest};
pub use watch::{Moment, Watch};

use judge::judge;
use looks::Looks;
use make::{Made, Ready};
use survey::Survey;
use task::{Session, Task, TestKind, name_of};
use workspace::Workspace;

use crate::error::{Error, Kind, Result};
use crate::media::Damage;
use crate::report::{Clip, Comparison, MethodResult, Test};

/// What a comparison found, and what was wrong with its input.
#[derive(Debug)]
pub struct Findings {
    /// The result.
    pub comparison: Comparison,
    /// Damage in the input.
    pub damage: Damage,
}

/// Compares methods on one video; blocks until it is done. `watch` may be looked at and stopped from another thread.
///
/// Needs room in the temporary folder (or the one for results that are kept) for a lossless copy of every result.
/// Nothing is left behind but what was asked for.
///
/// # Errors
/// [`Kind::Usage`] for a request that cannot be met; [`Kind::Input`] if the input or the reference cannot be read or do
/// not go together; being stopped. A method that fails is no error: [`MethodResult::failed`].
pub fn compare(request: &Request, watch: &Watch) -> Result<Findings> {
    request.check()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(request.threads).build();
    let pool = pool.map_err(|e| Error::new(Kind::Resource, "no threads could be started").caused_by(e))?;
    pool.install(|| {
        let workspace = Workspace::open(request.keep.as_deref(), request.overwrite)?;
        let survey = Survey::of(request, watch)?;
        findings(&Session { request, survey: &survey, workspace: &workspace, watch })
    })
}

/// What comes up on the way.
#[derive(Default)]
struct Found {
    notes: Vec<String>,
    damage: Option<Damage>,
}

fn findings(session: &Session<'_>) -> Result<Findings> {
    let kinds = session.kinds();
    session.watch.expect_steps(kinds.len() * session.request.contenders.len());
    let (mut tests, mut seen, mut found) = (Vec::new(), Vec::new(), Found::default());
    let mut scale = 1.0;
    for kind in kinds {
        match session.task(kind)? {
            Ok(task) => {
                scale = task.factor();
                let (test, looks) = run(session, &task, &mut found)?;
                tests.push(test);
                seen.push(looks);
            }
            Err(why) => {
                session.watch.skip_steps(session.request.contenders.len());
                found.notes.push(format!("{}: not tested, {why}", kind.title()));
            }
        }
    }
    if session.request.pictures {
        session.watch.part("choosing pictures".into(), 0, None);
        show::show(&mut tests, &seen)?;
    }
    let advice = advice::advise(session, &tests, scale);
    let comparison = Comparison {
        program: format!("subpel {}", env!("CARGO_PKG_VERSION")),
        input: clip(session, &tests),
        scale,
        tests,
        advice,
        notes: found.notes,
    };
    Ok(Findings { comparison, damage: found.damage.unwrap_or_default() })
}

/// All contenders on one test.
fn run(session: &Session<'_>, task: &Task, found: &mut Found) -> Result<(Test, Looks)> {
    let mut looks = Looks::of(task, session.workspace.scratch(), session.request.pictures)?;
    looks.see_sources(session, task)?;
    let (mut methods, mut results) = (Vec::new(), Vec::new());
    for contender in &session.request.contenders {
        session.watch.next(format!("{}: {}", task.kind.title(), contender.name));
        // A file is of the enlarged input, and of nothing else.
        if matches!(contender.maker, Maker::File(_)) && task.pieces.iter().any(|piece| piece.excerpt.is_none()) {
            continue;
        }
        let (result, made) = method_result(session, task, contender, &mut looks, found)?;
        if result.failed.is_none() {
            results.push((contender.name.clone(), made));
        }
        methods.push(result);
    }
    let video = session.request.video.as_ref();
    if let Some(video) = video.filter(|_| matches!(task.kind, TestKind::Reference | TestKind::Enlarged)) {
        video::write(session, task, &results, video)?;
    }
    let test = Test {
        key: task.kind.key().to_owned(),
        title: task.kind.title().to_owned(),
        explanation: task.explanation.clone(),
        truth: task.truth.clone(),
        size: task.to,
        methods,
        shots: Vec::new(),
        crops: Vec::new(),
    };
    Ok((test, looks))
}

/// Makes and measures one contender's results.
fn method_result(
    session: &Session<'_>,
    task: &Task,
    contender: &Contender,
    looks: &mut Looks,
    found: &mut Found,
) -> Result<(MethodResult, Vec<Ready>)> {
    let mut result = MethodResult {
        name: contender.name.clone(),
        command: make::command_line(session, task, contender),
        external: !contender.is_own(),
        mean: Default::default(),
        psnr_y_min: None,
        per_frame: Vec::new(),
        frames_per_second: None,
        peak_memory: None,
        failed: None,
    };
    let mut made = Vec::new();
    for piece in &task.pieces {
        match make::result(session, task, piece, contender)? {
            Ok(ready) => made.push(ready),
            Err(why) => return Ok((MethodResult { failed: Some(why), ..result }, Vec::new())),
        }
    }
    match judge(session, task, &contender.name, &made, looks)? {
        Ok(verdict) => {
            (result.mean, result.psnr_y_min) = (verdict.means.mean(), verdict.means.worst().psnr_y);
            (result.frames_per_second, result.peak_memory) = cost(&made, verdict.per_frame.len());
            result.per_frame = verdict.per_frame;
            // What FFmpeg complains about may be a contender's file: the input's own damage is met beside all of them.
            if found.damage.as_ref().is_none_or(|known| verdict.damage.count < known.count) {
                found.damage = Some(verdict.damage);
            }
            for note in verdict.notes.into_iter().map(|note| format!("{}: {note}", task.kind.title())) {
                if !found.notes.contains(&note) {
                    found.notes.push(note);
                }
            }
        }
        Err(why) => result.failed = Some(why),
    }
    Ok((result, made))
}

/// Frames a second over all pieces, and most memory in any.
fn cost(made: &[Ready], frames: usize) -> (Option<f64>, Option<u64>) {
    let seconds: Option<f64> = made.iter().map(|ready| ready.made.seconds).sum();
    let memory = made.iter().filter_map(|Ready { made: Made { peak_memory, .. }, .. }| *peak_memory).max();
    (seconds.filter(|s| *s > 0.0).map(|s| frames as f64 / s), memory)
}

/// The input, for the head of a page.
fn clip(session: &Session<'_>, tests: &[Test]) -> Clip {
    let (info, layout) = (&session.survey.info, &session.survey.layout);
    let compared = tests.iter().flat_map(|test| &test.methods).map(|method| method.per_frame.len()).max();
    Clip {
        name: name_of(&session.request.input),
        width: layout.width,
        height: layout.height,
        frames: compared.unwrap_or(0) as u64,
        rate: f64::from(info.frame_rate.0) / f64::from(info.frame_rate.1.max(1)),
        format: format!("{} {}", info.codec, info.pixel_format),
    }
}
