//! Whole files: what the program does, as functions of the library.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::control::Control;
use super::enlarging::{Enlarging, Resources, Tally, pool};
use super::maps::MapFolder;
use super::options::{EnlargeOptions, EnlargePlan};
use super::registration::{FrameMotion, FrameRegistrar};
use super::upscaler::Alone;
use crate::cores::at_once;
use crate::error::{Error, Kind, Result, Stage};
use crate::frame::{Frame, PictureLayout};
use crate::fuse::{Blur, Held};
use crate::kernels::CpuLevel;
use crate::media::{
    Cut, Damage, InputSpec, Origin, OutputSpec, SecondReading, Unread, VideoInfo, VideoReader, VideoWriter, Written,
};

/// What part of a video is wanted; all of it by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Excerpt {
    /// Seconds after the first frame at which to begin.
    pub start: Option<f64>,
    /// Number of frames.
    pub frames: Option<u64>,
}

impl Excerpt {
    /// The part in ticks of the video, which `reader` has reached.
    fn cut(&self, reader: &VideoReader) -> Option<Cut> {
        self.cut_from(reader.position(), reader.usual_step())
    }

    /// The part in ticks of the video, if it is not all of it: its first frame is told to be at `first`, and frames are
    /// usually `step` apart.
    pub fn cut_from(&self, first: Option<i64>, step: i64) -> Option<Cut> {
        let first = first.filter(|_| self.start.is_some() || self.frames.is_some())?;
        let length = |frames: u64| i64::try_from(frames).unwrap_or(i64::MAX).saturating_mul(step);
        Some(Cut { first, end: self.frames.map_or(i64::MAX, |n| first.saturating_add(length(n))) })
    }
}

/// One video to enlarge.
#[derive(Debug, Clone)]
pub struct Job {
    /// What to read.
    pub input: InputSpec,
    /// Where to write.
    pub output: OutputSpec,
    /// How to enlarge.
    pub enlarge: EnlargeOptions,
    /// Part of the video; all of it by default.
    pub excerpt: Excerpt,
    /// Threads; 0 for one per core.
    pub threads: usize,
    /// Most memory to hold, bytes.
    pub max_memory: Option<u64>,
    /// Folder for pictures of motion, confidence and gate of every frame, made if it is missing; none by default.
    pub debug_maps: Option<PathBuf>,
}

impl Job {
    /// `input` enlarged to `output` with the defaults.
    pub fn new(input: InputSpec, output: OutputSpec) -> Self {
        Self {
            input,
            output,
            enlarge: EnlargeOptions::default(),
            excerpt: Excerpt::default(),
            threads: 0,
            max_memory: None,
            debug_maps: None,
        }
    }
}

/// What a finished job did.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The input.
    pub source: VideoInfo,
    /// What was done to it.
    pub plan: EnlargePlan,
    /// Name of the encoder and its pixel format.
    pub encoding: (String, String),
    /// Frames, bytes, streams kept and dropped.
    pub written: Written,
    /// Damage in the input.
    pub damage: Damage,
    /// Frames that had no time, and frames whose time had to move.
    pub repaired_times: (u64, u64),
    /// Frames of another size or format than the first.
    pub converted_frames: u64,
    /// Numbers of the frames at which a new scene begins.
    pub scene_cuts: Vec<u64>,
    /// Mean share of the picture that comes from several frames.
    pub multi_frame_share: f64,
    /// Frames that were made from themselves alone, by reason.
    pub alone: AloneCounts,
    /// Mean number of neighbours used for a frame.
    pub neighbours: f64,
    /// Mean noise estimate, 8-bit scale.
    pub noise: f64,
    /// Blurs of the camera that were undone, each once, in the order of the scenes; empty where none was.
    pub blurs: Vec<Blur>,
    /// How far the pictures of a network were from the frames before and after they were held to them, mean over all;
    /// `None` where none was.
    pub held: Option<Held>,
    /// Wall-clock time.
    pub elapsed: Duration,
}

/// What was found wrong with an input while all of it was read.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Damage.
    pub damage: Damage,
    /// Frames that had no time, and frames whose time had to move.
    pub repaired_times: (u64, u64),
    /// Frames of another size or format than the first.
    pub converted_frames: u64,
}

impl Summary {
    /// Of a job that is done.
    pub fn of(
        source: VideoInfo,
        plan: EnlargePlan,
        encoding: (String, String),
        written: Written,
        found: Found,
        tally: &Tally,
        elapsed: Duration,
    ) -> Self {
        let mean = |sum: f64| sum / tally.frames.max(1) as f64;
        Self {
            source,
            plan,
            encoding,
            written,
            damage: found.damage,
            repaired_times: found.repaired_times,
            converted_frames: found.converted_frames,
            multi_frame_share: mean(tally.share),
            noise: mean(tally.noise),
            neighbours: mean(tally.neighbours as f64),
            alone: tally.alone,
            blurs: tally.blurs.clone(),
            scene_cuts: tally.scene_cuts.clone(),
            held: tally.held.map(|sum| Held { before: mean(sum.before), after: mean(sum.after) }),
            elapsed,
        }
    }
}

/// How many frames were made from themselves alone, and why; see [`Alone`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AloneCounts {
    /// No other frame to use.
    pub no_neighbours: u64,
    /// Scenes of one frame.
    pub cut: u64,
    /// All neighbours are the same picture.
    pub repeated: u64,
    /// Low confidence in all neighbours.
    pub unlike: u64,
}

impl AloneCounts {
    /// One frame, for this reason.
    pub(super) fn of(alone: Alone) -> Self {
        let mut counts = Self::default();
        *match alone {
            Alone::NoNeighbours => &mut counts.no_neighbours,
            Alone::Cut => &mut counts.cut,
            Alone::Repeated => &mut counts.repeated,
            Alone::Unlike => &mut counts.unlike,
        } = 1;
        counts
    }

    pub(super) fn add(&mut self, other: Self) {
        self.no_neighbours += other.no_neighbours;
        self.cut += other.cut;
        self.repeated += other.repeated;
        self.unlike += other.unlike;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.no_neighbours + self.cut + self.repeated + self.unlike
    }
}

/// Stages that were made before the first picture was decoded.
struct Foreseen {
    layout: PictureLayout,
    stages: Result<Enlarging>,
}

/// Pixels of the largest pictures, as they come and as they are made, for which stages are made before one is decoded. Those of
/// larger ones take memory that a header alone shall not claim, and less of the time.
const BELIEVED: [usize; 2] = [1 << 20, 4 << 20];

/// Enlarges a video file, with everything that is in it beside the picture.
///
/// Blocks until it is done; `control` may be watched and stopped from another thread. On an error nothing is left
/// behind and an existing output is untouched.
///
/// # Errors
/// The first cause, with file, stage and frame. Damage in the input is no error: see [`Summary::damage`].
pub fn upscale_file(job: &Job, control: &Control) -> Result<Summary> {
    let start = Instant::now();
    let cpu = CpuLevel::detect();
    job.output.check((!job.input.is_pipe()).then_some(job.input.path.as_path()))?;
    // Neither knows of the other: opening a video takes as long as decoding its first frames.
    let (again, unread) =
        at_once(|| SecondReading::open(&job.input), || unread_for(&job.enlarge, &job.input, job.threads, cpu));
    let unread = unread?;
    let resources = Resources { threads: job.threads, max_memory: job.max_memory };
    let told = unread.told().filter(|told| told.width * told.height <= BELIEVED[0]);
    let (foreseen, reader) = at_once(|| Foreseen::by(&job.enlarge, told?, resources, cpu), || unread.read());
    let mut reader = reader?;
    let source = reader.info().clone();
    let plan = job.enlarge.resolve(&source.layout).map_err(|e| e.file(&source.path))?;
    let folder = map_folder(job, &plan)?;
    if let Some(seconds) = job.excerpt.start {
        reader.start_at(seconds)?;
    }
    control.expect(job.excerpt.frames.unwrap_or(source.frames_estimated));
    let mut output = job.output.clone();
    output.encoder.threads = job.threads;
    let (cut, usual_step) = (job.excerpt.cut(&reader), reader.usual_step());
    let origin = Origin { input: &job.input, source: &source, layout: &plan.to, cut, usual_step };
    // These do not wait for each other either.
    let (first, (enlarging, writer)) = at_once(
        || reader.next_frame(),
        || {
            let foreseen = foreseen.filter(|foreseen| foreseen.layout == source.layout);
            let stages = || foreseen.map_or_else(|| Enlarging::new(&plan, resources, cpu), |foreseen| foreseen.stages);
            at_once(stages, || VideoWriter::create_from(&output, &origin, again, None, cpu))
        },
    );
    let (enlarging, mut writer) = (enlarging?, writer?);
    let first = first.map_err(|e| e.at(Stage::Decode, Some(0)).file(&source.path))?;
    reader.use_pool(enlarging.frames());
    let encoding = (writer.encoder_name().to_owned(), writer.pixel_format());
    let mut tally = Tally::default();
    enlarging
        .with_maps(folder.is_some())
        .run(
            &mut limited(&mut reader, first, job.excerpt.frames),
            &mut |enlarged, spare| {
                tally.add(&enlarged);
                if let Some((folder, maps)) = folder.as_ref().zip(enlarged.maps.as_ref()) {
                    folder.write(enlarged.frame.index, maps)?;
                }
                writer.write_once(enlarged.frame, spare)
            },
            control,
        )
        .map_err(|e| e.file(&source.path))?;
    refuse_empty(tally.frames, &job.excerpt, &job.input)?;
    let written = writer.finish(tally.frames).map_err(|e| e.at(Stage::Encode, None))?;
    let found = Found {
        damage: reader.damage(),
        repaired_times: reader.repaired_times(),
        converted_frames: reader.converted_frames(),
    };
    Ok(Summary::of(source, plan, encoding, written, found, &tally, start.elapsed()))
}

/// Opens a video as `options` need it read.
///
/// # Errors
/// As for [`VideoReader::open`].
pub fn open_for(options: &EnlargeOptions, input: &InputSpec, threads: usize, cpu: CpuLevel) -> Result<VideoReader> {
    unread_for(options, input, threads, cpu)?.read()
}

fn unread_for(options: &EnlargeOptions, input: &InputSpec, threads: usize, cpu: CpuLevel) -> Result<Unread> {
    let holds = options.refine.as_ref().is_some_and(|refine| refine.consistency > 0);
    Unread::open(input, threads, cpu, options.method.is_multi_frame() || holds)
}

impl Foreseen {
    /// Stages for pictures as they are `told` to be; `None` if theirs would be too large to be believed, or if such pictures cannot
    /// be enlarged, of which the first one will say why.
    fn by(options: &EnlargeOptions, told: PictureLayout, resources: Resources, cpu: CpuLevel) -> Option<Self> {
        let plan = options.resolve(&told).ok()?;
        let made = plan.reconstructed();
        if made.width * made.height > BELIEVED[1] {
            return None;
        }
        Some(Self { layout: told, stages: Enlarging::new(&plan, resources, cpu) })
    }
}

/// Measures the motion of successive frames and hands each one's to `each`, which may stop by returning `false`.
///
/// # Errors
/// As for [`upscale_file`]. Returns the damage met.
pub fn motion_file(
    input: &InputSpec,
    threads: usize,
    control: &Control,
    each: &mut dyn FnMut(&FrameMotion, f64) -> Result<bool>,
) -> Result<Damage> {
    let cpu = CpuLevel::detect();
    let pool = pool(threads)?;
    let mut reader = VideoReader::open(input, threads, cpu)?;
    let info = reader.info().clone();
    let mut registrar = FrameRegistrar::for_shifts(&info.layout, cpu)?;
    while let Some(frame) = reader.next_frame().map_err(|e| e.at(Stage::Decode, None))? {
        if control.is_stopped() {
            return Err(control.interruption());
        }
        let seconds = info.seconds(frame.pts);
        let registered =
            pool.install(|| registrar.push(frame)).map_err(|e| e.at(Stage::Register, None).file(&input.path))?;
        if !each(&registered.frame_motion(), seconds)? {
            break;
        }
    }
    Ok(reader.damage())
}

/// The reader as a source of at most `most` frames, of which it has given the `first`.
fn limited(
    reader: &mut VideoReader,
    mut first: Option<Frame>,
    most: Option<u64>,
) -> impl FnMut() -> Result<Option<Frame>> + Send {
    let mut left = most.unwrap_or(u64::MAX);
    move || {
        if left == 0 {
            return Ok(None);
        }
        left -= 1;
        match first.take() {
            Some(frame) => Ok(Some(frame)),
            None => reader.next_frame(),
        }
    }
}

/// The folder for debugging pictures, if any are wanted.
fn map_folder(job: &Job, plan: &EnlargePlan) -> Result<Option<MapFolder>> {
    let Some(path) = &job.debug_maps else { return Ok(None) };
    if plan.window == 0 {
        let message = format!("debug maps show how frames are put together, method {} uses one alone", plan.method);
        return Err(Error::new(Kind::Usage, message).hint("a method that takes several frames, and a window above 0"));
    }
    MapFolder::create(path, job.output.overwrite).map(Some)
}

/// Refuses a part of a video without frames.
///
/// # Errors
/// [`Kind::Usage`] if `frames` is 0.
pub fn refuse_empty(frames: u64, excerpt: &Excerpt, input: &InputSpec) -> Result<()> {
    if frames > 0 {
        return Ok(());
    }
    let message = match excerpt.start {
        Some(seconds) => format!("has no frame at or after {seconds} s"),
        None => "no frame of it was asked for".to_owned(),
    };
    Err(Error::new(Kind::Usage, message).file(&input.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Scale;

    #[test]
    fn no_stages_are_made_beforehand_for_pictures_that_become_large() {
        let foreseen = |factor| {
            let options = EnlargeOptions { scale: Some(Scale::Factor(factor)), ..Default::default() };
            let resources = Resources { threads: 1, max_memory: None };
            Foreseen::by(&options, PictureLayout::gray(640, 480), resources, CpuLevel::detect()).is_some()
        };
        assert!(foreseen(2.0), "1.2 million pixels");
        assert!(!foreseen(4.0), "4.9 million");
    }
}
