//! Making a plan: the whole video is read once, and everything is written down that single segments cannot know.

use std::path::{Path, PathBuf};

use super::index::{IndexWriter, Record};
use super::job::{MANIFEST, SegmentJob};
use super::litter::is_ours;
use super::manifest::{Delivery, Findings, MOST_FRAMES, MOST_SEGMENTS, Manifest, SCHEMA, Tool};
use super::params::Params;
use super::publish::{Draft, failed, write_sealed};
use super::source::Source;
use crate::error::{Error, Kind, Result, Stage};
use crate::kernels::CpuLevel;
use crate::media::{EncodedWriter, InputSpec, PackedForm, VideoReader};
use crate::pipeline::{Control, EnlargePlan, Found, Resources, Scenes, Scout, open_for, refuse_empty};

/// How long segments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// At most this many frames each; they end at scene cuts where one is near.
    Frames(u64),
    /// So many, of equal length.
    Count(u64),
    /// A thirty-second of the video, 8 to 240 frames: what is lost when one process is killed.
    Small,
}

/// What a plan is to be made of.
#[derive(Debug, Clone)]
pub struct Request {
    /// The video.
    pub input: PathBuf,
    /// How it is enlarged.
    pub params: Params,
    /// How it is written in the end. [`Delivery::form`] is found out here.
    pub delivery: Delivery,
    /// How long segments are.
    pub lengths: Lengths,
    /// Whether scene cuts are looked for even where no estimate needs them, so that segments can end there.
    pub find_scenes: bool,
    /// What may be taken of the machine.
    pub resources: Resources,
}

/// Plans a job in `folder`, which is made if it is missing. Where the same plan is there already, it stays.
///
/// # Errors
/// [`Kind::Create`] if the folder holds something else; those of reading the video; [`Kind::Interrupted`] if `control` was
/// asked to stop.
pub fn plan(folder: &Path, request: &Request, control: &Control) -> Result<SegmentJob> {
    let input = request.params.input(&request.input);
    if input.allow_network {
        let message = "what an input opens besides cannot be held against a plan: no --allow-network with segments";
        return Err(Error::new(Kind::Usage, message).hint("save it as one file first").file(&input.path));
    }
    let source = Source::of(&input)?;
    make_folder(folder)?;
    let planned = plan_in(folder, request, &input, source, control);
    if planned.is_err() {
        // Only a folder that is empty goes.
        let _ = std::fs::remove_dir(folder);
    }
    planned
}

fn plan_in(
    folder: &Path,
    request: &Request,
    input: &InputSpec,
    source: Source,
    control: &Control,
) -> Result<SegmentJob> {
    if let Some(job) = SegmentJob::find(folder)? {
        let there = job.manifest();
        let segments = cut(there.frames, request.lengths, there.cuts.as_deref().unwrap_or_default())?;
        let same = there.source.blake3 == source.blake3 && there.tool == Tool::this() && there.segments == segments;
        let same = same && differences(&job, request).is_empty();
        return if same { Ok(job) } else { Err(other_plan(&job, request)) };
    }
    let cpu = CpuLevel::detect();
    let options = request.params.options()?;
    let mut reader = open_for(&options, input, request.resources.threads, cpu)?;
    let info = reader.info().clone();
    let resolved = options.resolve(&info.layout).map_err(|e| e.file(&info.path))?;
    let output = request.delivery.of_parts();
    let form = PackedForm::of_output(&output, &info, &resolved.to, cpu)?;
    if request.delivery.is_in_parts() {
        EncodedWriter::try_out(Draft::new(folder, "trial")?.path(), &output, &info, &resolved.to, cpu)?;
    }
    if let Some(seconds) = request.params.start {
        reader.start_at(seconds)?;
    }
    control.expect(request.params.frames.unwrap_or(info.frames_estimated));
    let writer = IndexWriter::new(folder)?;
    let read = read_all(&mut reader, writer, request, &resolved, control).map_err(|e| e.file(&info.path))?;
    refuse_empty(read.count, &request.params.excerpt(), input)?;
    // What was changed while it was read has been read in parts.
    source.check(input)?;
    let manifest = Manifest {
        schema: SCHEMA,
        tool: Tool::this(),
        source,
        frames: read.count,
        index: read.index,
        timed: read.timed,
        params: request.params.clone(),
        blurs: read.scenes.iter().flat_map(|s| &s.blurs).map(|(first, blur)| (*first, (*blur).into())).collect(),
        segments: cut(read.count, request.lengths, read.scenes.as_ref().map_or(&[], |s| &s.cuts))?,
        cuts: read.scenes.map(|scenes| scenes.cuts),
        overlap: resolved.window as u64,
        delivery: Delivery {
            form: (form.pixel_format, form.turn.mirrored, form.turn.quarter_turns),
            ..request.delivery.clone()
        },
        found: Findings::from(&Found {
            damage: reader.damage(),
            repaired_times: reader.repaired_times(),
            converted_frames: reader.converted_frames(),
        }),
    };
    manifest.check()?;
    write_sealed(folder, MANIFEST, &manifest)?;
    SegmentJob::of(folder, manifest)
}

/// Opens the job in `folder` if it is the one that `request` asks for; `None` if there is none.
pub(super) fn matching(folder: &Path, request: &Request) -> Result<Option<SegmentJob>> {
    let Some(job) = SegmentJob::find(folder)? else { return Ok(None) };
    job.check_tool(false)?;
    job.manifest().source.check(&request.params.input(&request.input))?;
    if !differences(&job, request).is_empty() {
        return Err(other_plan(&job, request));
    }
    SegmentJob::open(folder, false).map(Some)
}

/// In what a plan differs from a request, in words.
fn differences(job: &SegmentJob, request: &Request) -> Vec<String> {
    let fields = |value: serde_json::Result<serde_json::Value>| match value {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => Default::default(),
    };
    let manifest = job.manifest();
    let delivery = Delivery { form: manifest.delivery.form.clone(), ..request.delivery.clone() };
    let then = [fields(serde_json::to_value(&manifest.params)), fields(serde_json::to_value(&manifest.delivery))];
    let now = [fields(serde_json::to_value(&request.params)), fields(serde_json::to_value(&delivery))];
    let mut found = Vec::new();
    for (then, now) in then.iter().zip(&now) {
        for (name, value) in then.iter().filter(|(name, value)| now.get(*name) != Some(*value)) {
            let asked = now.get(name).cloned().unwrap_or_default();
            found.push(match name.as_str() {
                "keeping" => format!("segments were kept {value} and are to be {asked}"),
                _ => format!("{name} was {value} and is {asked}"),
            });
        }
    }
    found
}

fn other_plan(job: &SegmentJob, request: &Request) -> Error {
    let differences = differences(job, request);
    let what = if differences.is_empty() {
        "another input, program or length of segments".to_owned()
    } else {
        differences.join("; ")
    };
    Error::new(Kind::Mismatch, format!("holds another plan: {what}"))
        .hint("give the options of then, take another folder, or remove this one")
        .file(job.folder())
}

/// Makes the folder of a job, or takes one that holds nothing but what is left of a plan.
fn make_folder(folder: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new(Kind::Create, "making the job folder failed: there is no folder for it")
                .hint("make the folder around it first")
                .file(folder));
        }
        made => return made.map_err(failed("making the job folder", folder)),
    }
    let entries = std::fs::read_dir(folder).map_err(failed("reading the job folder", folder))?;
    for entry in entries {
        let name = entry.map_err(failed("reading the job folder", folder))?.file_name();
        if !is_ours(&name.to_string_lossy()) {
            return Err(Error::new(Kind::Create, format!("holds {name:?}, which is not of a job"))
                .hint("take an empty folder, or one that does not exist yet")
                .file(folder));
        }
    }
    Ok(())
}

/// What reading all frames has found.
struct AllRead {
    count: u64,
    index: [String; 2],
    timed: bool,
    scenes: Option<Scenes>,
}

fn read_all(
    reader: &mut VideoReader,
    mut writer: IndexWriter,
    request: &Request,
    resolved: &EnlargePlan,
    control: &Control,
) -> Result<AllRead> {
    let wanted = request.find_scenes || Scout::is_needed(resolved);
    let mut scout = if wanted { Scout::new(resolved, request.resources, CpuLevel::detect())? } else { None };
    let pool = scout.as_ref().map_or_else(|| crate::frame::PlanePool::new(1), Scout::frames);
    reader.use_pool(pool.clone());
    let (mut last, mut timed) = (None, true);
    let most = request.params.frames.unwrap_or(u64::MAX);
    while writer.count < most {
        if control.is_stopped() {
            return Err(control.interruption());
        }
        let next = control.timed(Stage::Decode, 1, || reader.next_told());
        let Some((frame, told)) = next.map_err(|e| e.at(Stage::Decode, Some(writer.count)))? else { break };
        if writer.count == MOST_FRAMES {
            return Err(Error::new(Kind::Usage, format!("has more than {MOST_FRAMES} frames"))
                .hint("enlarge it in parts, with --start and --frames"));
        }
        timed &= told.time.is_some_and(|time| last.replace(time).is_none_or(|last| last < time));
        writer.push(Record::of(&frame, told), &frame.carried)?;
        match &mut scout {
            Some(scout) => control.timed(Stage::Register, 1, || scout.push(frame))?,
            None => pool.give(frame.planes),
        }
    }
    let scenes = scout.map(Scout::finish).transpose()?;
    let count = writer.count;
    Ok(AllRead { count, index: writer.publish()?, timed, scenes })
}

/// First frame of each segment and the one after its last.
fn cut(frames: u64, lengths: Lengths, scenes: &[u64]) -> Result<Vec<(u64, u64)>> {
    let longest = match lengths {
        Lengths::Count(count) => {
            let count = count.clamp(1, frames);
            check_count(count)?;
            let bound = |n: u64| (u128::from(n) * u128::from(frames) / u128::from(count)) as u64;
            return Ok((0..count).map(|n| (bound(n), bound(n + 1))).collect());
        }
        Lengths::Frames(frames) => frames.max(1),
        Lengths::Small => frames.div_ceil(32).clamp(8, 240),
    };
    let mut segments = Vec::new();
    let mut first = 0;
    while first < frames {
        let end = (first + longest).min(frames);
        // A cut in the second half ends it early: nothing is read twice there.
        let near = scenes.iter().rev().find(|cut| (first + longest.div_ceil(2)..end).contains(*cut));
        let end = near.copied().unwrap_or(end);
        segments.push((first, end));
        first = end;
    }
    check_count(segments.len() as u64)?;
    Ok(segments)
}

fn check_count(count: u64) -> Result<()> {
    if count <= MOST_SEGMENTS as u64 {
        return Ok(());
    }
    let message = format!("{count} segments; at most {MOST_SEGMENTS} are allowed");
    Err(Error::new(Kind::Usage, message).hint("take a larger --segment-frames"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_the_video_and_end_at_cuts_that_are_near() {
        assert_eq!(cut(10, Lengths::Frames(4), &[]).expect("cut"), [(0, 4), (4, 8), (8, 10)], "by length");
        assert_eq!(cut(10, Lengths::Count(3), &[]).expect("cut"), [(0, 3), (3, 6), (6, 10)], "by number");
        assert_eq!(cut(3, Lengths::Count(99), &[]).expect("cut"), [(0, 1), (1, 2), (2, 3)], "no empty ones");
        assert_eq!(cut(20, Lengths::Frames(8), &[1, 6, 13]).expect("cut"), [(0, 6), (6, 13), (13, 20)], "at cuts");
        assert_eq!(cut(300, Lengths::Small, &[]).expect("cut").len(), 30, "ten frames each");
        assert!(cut(10_000_000, Lengths::Frames(1), &[]).is_err(), "too many");
    }
}
