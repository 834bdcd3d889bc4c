//! From segments to the finished file: one delivery encoder, fed with the pictures of all segments in order.
//!
//! Segments that are encoded by themselves are put behind each other instead, packet by packet.
//!
//! The writer is that of `upscale`, with the same options and the same pictures; so its file is the same wherever the encoder
//! itself gives the same bytes twice.

use std::path::Path;
use std::time::{Duration, Instant};

use super::index::{Records, Shown};
use super::job::{SegmentJob, Trust};
use super::litter::remove_job;
use super::manifest::Manifest;
use super::planning::{Request, matching, plan};
use super::publish::DraftFolder;
use super::receipt::{State, numbers_in_words};
use super::work::{Work, as_stopped, make};
use crate::error::{Error, Kind, Result, Stage};
use crate::frame::Frame;
use crate::kernels::CpuLevel;
use crate::media::{EncodedReader, InputSpec, Origin, Packing, StoredReader, VideoInfo, VideoWriter};
use crate::pipeline::{Control, Found, Summary, Tally, open_for};

/// Joins the segments of a job to `output`. Waits up to `patience` for files that are on their way.
///
/// # Errors
/// [`Kind::Resource`] if segments are missing; [`Kind::Input`] if some are damaged, with their numbers; [`Kind::Usage`] if the
/// container of `output` needs other pictures than the one that was planned with; those of writing.
pub fn join(
    job: &SegmentJob,
    output: &Path,
    overwrite: bool,
    work: &Work,
    patience: Duration,
    control: &Control,
) -> Result<Summary> {
    let mut missing = Vec::new();
    let mut damaged = Vec::new();
    for number in 1..=job.segments() {
        // After the first wait nothing is on its way any more.
        let patience = if missing.is_empty() { patience } else { Duration::ZERO };
        match job.awaited(number, Trust::Hash, patience)? {
            State::Whole(_) => {}
            State::Missing => missing.push(number),
            State::Late { begun: false } => missing.push(number),
            State::Late { begun: true } | State::Damaged(_) => damaged.push(number),
        }
    }
    if !damaged.is_empty() {
        let message = format!("segments {} are damaged", numbers_in_words(&damaged));
        return Err(Error::new(Kind::Input, message)
            .hint("`subpel verify --repair JOB` takes them out; then run them again")
            .file(job.folder()));
    }
    if !missing.is_empty() {
        let message = format!("segments {} are missing", numbers_in_words(&missing));
        return Err(Error::new(Kind::Resource, message).hint("run them first").file(job.folder()));
    }
    let states = vec![true; job.segments()];
    deliver(job, output, overwrite, work, &states, control).map_err(as_stopped)
}

/// Plans, makes what is missing, and joins, in this process. An unfinished job in `folder` is gone on with. The folder is
/// removed when `output` is whole, unless it is to be kept.
///
/// # Errors
/// [`Kind::Mismatch`] if `folder` holds a job for another input or other options; those of [`plan`] and [`join`].
pub fn run(
    request: &Request,
    folder: &Path,
    output: &Path,
    overwrite: bool,
    keep: bool,
    control: &Control,
) -> Result<Summary> {
    let start = Instant::now();
    let input = request.params.input(&request.input);
    request.delivery.output(output, overwrite).check(Some(&input.path))?;
    let job = match matching(folder, request)? {
        Some(job) => job,
        None => plan(folder, request, control).map_err(as_stopped)?,
    };
    control.restart(job.manifest().frames);
    let work = Work { resources: request.resources, input: Some(request.input.clone()), again: false };
    // What was damaged is made again, like what is missing.
    let whole = job.states(Trust::Hash)?.iter().map(|state| matches!(state, State::Whole(_))).collect::<Vec<_>>();
    let summary = deliver(&job, output, overwrite, &work, &whole, control).map_err(as_stopped)?;
    if !keep {
        remove_job(folder)?;
    }
    Ok(Summary { elapsed: start.elapsed(), ..summary })
}

/// Feeds the pictures of all segments to the delivery encoder: from their files where they are `whole`, else as they are
/// made.
fn deliver(
    job: &SegmentJob,
    output: &Path,
    overwrite: bool,
    work: &Work,
    whole: &[bool],
    control: &Control,
) -> Result<Summary> {
    let start = Instant::now();
    let cpu = CpuLevel::detect();
    let manifest = job.manifest();
    let input = job.input(work.input.as_deref())?;
    let options = manifest.params.options()?;
    let (source, usual_step) = {
        let reader = open_for(&options, &input, work.resources.threads, cpu)?;
        (reader.info().clone(), reader.usual_step())
    };
    let plan = options.resolve(&source.layout).map_err(|e| e.file(&source.path))?;
    let spec = manifest.delivery.output(output, overwrite);
    let first = Records::open(job.folder(), 0, 1)?.next_record()?.and_then(|record| record.told);
    let cut = manifest.params.excerpt().cut_from(first, usual_step);
    if manifest.delivery.is_in_parts() && !spec.is_like(&manifest.delivery.of_parts())? {
        return Err(other_container(manifest, "is another kind of file").file(output));
    }
    let place =
        if on_one_file_system(job.folder(), output) { Some(DraftFolder::new(job.folder(), "join")?) } else { None };
    let folder = place.as_ref().map(DraftFolder::path);
    let origin = Origin { input: &input, source: &source, layout: &plan.to, cut, usual_step };
    let mut writer = VideoWriter::create(&spec, &origin, folder, cpu)?;
    let form = manifest.delivery.packed();
    if writer.form() != form {
        return Err(other_container(manifest, "needs other pictures").file(output));
    }
    let encoding = (writer.encoder_name().to_owned(), writer.pixel_format());
    let feeding = Feeding { job, input: &input, work, control };
    if manifest.delivery.is_in_parts() {
        feeding.splice_all(whole, &source, &mut writer)?;
    } else {
        feeding.feed_all(whole, &Packing::new(&plan.to, form.turn, &form.pixel_format, cpu)?, &mut writer)?;
    }
    let written = writer.finish(manifest.frames).map_err(|e| e.at(Stage::Encode, None))?;
    let mut tally = Tally::default();
    for number in 1..=job.segments() {
        if let State::Whole(receipt) = job.state(number, Trust::Receipt)? {
            tally.add_all(&Tally::from(&receipt.figures));
        }
    }
    let found = Found::from(&manifest.found);
    Ok(Summary::of(source, plan, encoding, written, found, &tally, start.elapsed()))
}

fn other_container(manifest: &Manifest, what: &str) -> Error {
    Error::new(Kind::Usage, format!("{what} than was planned for: .{}", manifest.delivery.container))
        .hint("name a file of that kind, or plan with another --container")
}

/// First and last number of each run of segments that are alike, and what they are.
fn runs(states: &[bool]) -> Vec<(bool, (usize, usize))> {
    let mut first = 1;
    let run = |alike: &[bool]| {
        let begin = first;
        first += alike.len();
        (alike[0], (begin, first - 1))
    };
    states.chunk_by(|a, b| a == b).map(run).collect()
}

/// The next frame that is shown.
fn next_of(shown: &mut Shown) -> Result<Frame> {
    shown.next_frame()?.ok_or_else(|| Error::new(Kind::Bug, "more pictures than frames"))
}

/// What writing the segments of a job needs.
struct Feeding<'a> {
    job: &'a SegmentJob,
    input: &'a InputSpec,
    work: &'a Work,
    control: &'a Control,
}

impl Feeding<'_> {
    /// Has all pictures encoded: those of `whole` segments from their files, the others as they are made.
    fn feed_all(&self, whole: &[bool], packing: &Packing, writer: &mut VideoWriter) -> Result<()> {
        let mut shown = Shown::open(self.job.folder(), self.job.manifest().frames)?;
        for (whole, (first, last)) in runs(whole) {
            if whole {
                (first..=last).try_for_each(|number| self.feed(number, packing, &mut shown, writer))?;
            } else {
                let deliver = &mut |picture: &_| writer.write_packed(picture, &next_of(&mut shown)?);
                make(self.job, (first, last), self.input, self.work.resources, deliver, self.control)?;
            }
        }
        Ok(())
    }

    /// Feeds the pictures of one whole segment.
    fn feed(&self, number: usize, packing: &Packing, shown: &mut Shown, writer: &mut VideoWriter) -> Result<()> {
        let (_, path) = self.job.whole(number)?;
        let (first, end) = self.job.range(number);
        let wrong = |what: &str| {
            Error::new(Kind::Input, format!("segment {number} holds {what} pictures than frames"))
                .hint("`subpel verify --repair JOB` takes it out; then run it again")
                .file(&path)
        };
        let mut reader = StoredReader::open(&path, packing, self.work.resources.threads, CpuLevel::detect())?;
        for _ in first..end {
            self.go_on()?;
            let frame = next_of(shown)?;
            let picture = reader.next_picture()?.ok_or_else(|| wrong("fewer"))?;
            let written = self.control.timed(Stage::Encode, 1, || writer.write_packed(&picture, &frame));
            written.map_err(|e| e.at(Stage::Encode, Some(frame.index)))?;
        }
        if reader.next_picture()?.is_some() { Err(wrong("more")) } else { Ok(()) }
    }

    /// Puts the packets of all segments, which are encoded, behind each other, after making those that are not `whole`.
    fn splice_all(&self, whole: &[bool], source: &VideoInfo, writer: &mut VideoWriter) -> Result<()> {
        for (_, run) in runs(whole).into_iter().filter(|(whole, _)| !whole) {
            make(self.job, run, self.input, self.work.resources, &mut |_| Ok(()), self.control)?;
        }
        let mut delay = 0;
        for number in 1..=self.job.segments() {
            let (receipt, path) = self.job.whole(number)?;
            delay = delay.max(receipt.coded.map_or(0, |coded| coded.delay));
            // Before anything is copied.
            writer.check_part(&EncodedReader::open(&path, source)?)?;
        }
        writer.begin_parts(delay);
        let mut shown = Shown::open(self.job.folder(), self.job.manifest().frames)?;
        for (number, whole) in (1..).zip(whole) {
            self.go_on()?;
            let (first, end) = self.job.range(number);
            let frames = (first..end).map(|_| next_of(&mut shown)).collect::<Result<Vec<_>>>()?;
            let mut part = EncodedReader::open(&self.job.whole(number)?.1, source)?;
            // What was made just now has been counted.
            let count = if *whole { end - first } else { 0 };
            self.control.timed(Stage::Encode, count, || writer.write_encoded(&mut part, &frames))?;
        }
        Ok(())
    }

    fn go_on(&self) -> Result<()> {
        if self.control.is_stopped() { Err(self.control.interruption()) } else { Ok(()) }
    }
}

/// Whether a file made in `folder` can be given the name `output`.
fn on_one_file_system(folder: &Path, output: &Path) -> bool {
    let parent = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (rustix::fs::stat(folder), rustix::fs::stat(parent)) {
        (Ok(a), Ok(b)) => a.st_dev == b.st_dev,
        _ => false,
    }
}

impl SegmentJob {
    /// Counts the pictures of a whole segment by decoding them.
    ///
    /// # Errors
    /// [`Kind::Input`] if they cannot be decoded, or are not as many as frames.
    pub fn decode(&self, number: usize) -> Result<()> {
        let (_, path) = self.whole(number)?;
        let mut reader = StoredReader::open_any(&path, CpuLevel::detect())?;
        let mut count = 0;
        while reader.next_picture()?.is_some() {
            count += 1;
        }
        let (first, end) = self.range(number);
        if count == end - first {
            return Ok(());
        }
        Err(Error::new(Kind::Input, format!("holds {count} pictures of {} frames", end - first)).file(&path))
    }
}
