//! Making segments: the pipeline over a range of frames, its pictures kept in one file a segment.
//!
//! Consecutive segments are one run of the pipeline, whose sink goes from file to file; each is published, beside the next
//! one's making, as soon as it is whole.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

use super::job::{SegmentJob, Trust};
use super::manifest::Tool;
use super::picture_file::{HashedWriter, PictureFile};
use super::publish::{Draft, failed, hash_file, host, read_sealed, write_sealed};
use super::range::{Opening, RangeReader, ReadingSeen};
use super::receipt::{Figures, Receipt, State};
use crate::error::{Error, Kind, Result};
use crate::frame::PictureLayout;
use crate::kernels::CpuLevel;
use crate::media::{EncodedWriter, InputSpec, Packed, Packing, StoredWriter, VideoInfo};
use crate::pipeline::{Control, Enlarged, Enlarging, Resources, Tally};

/// How work on a job is done; none of it shows in a pixel.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// What may be taken of the machine.
    pub resources: Resources,
    /// Where the input is, if not where it was planned.
    pub input: Option<PathBuf>,
    /// Whether segments that are whole are made again.
    pub again: bool,
}

/// Makes segment `number` (from 1), unless it is whole. Returns its receipt, and whether it was made now.
///
/// # Errors
/// [`Kind::Mismatch`] if the input or the weights are not those of the plan; [`Kind::Resource`] if the disk is full;
/// [`Kind::Interrupted`] if `control` was asked to stop; those of the pipeline.
pub fn run_segment(
    job: &SegmentJob,
    number: usize,
    trust: Trust,
    work: &Work,
    control: &Control,
) -> Result<(Receipt, bool)> {
    job.check_number(number)?;
    if let (false, State::Whole(receipt)) = (work.again, job.state(number, trust)?) {
        return Ok((*receipt, false));
    }
    let made = job.input(work.input.as_deref()).and_then(|input| {
        let (first, end) = job.range(number);
        control.expect(end - first);
        make(job, (number, number), &input, work.resources, &mut |_| Ok(()), control)
    });
    if let Err(error) = made {
        return Err(noted(job, number, as_stopped(error)));
    }
    // What failed before has been made good; the note may never have been there.
    let _ = std::fs::remove_file(job.folder().join(job.failure_name(number)));
    match job.state(number, Trust::Receipt)? {
        State::Whole(receipt) => Ok((*receipt, true)),
        other => Err(Error::new(Kind::Io, format!("segment {number} was made, but is {other:?}")).file(job.folder())),
    }
}

/// An interruption in the words of a job that can go on.
pub(super) fn as_stopped(error: Error) -> Error {
    match error.kind() {
        kind @ (Kind::Interrupted | Kind::Terminated) => {
            Error::new(kind, "stopped on request; segments that are whole stay").hint("the same command goes on")
        }
        _ => error,
    }
}

/// Leaves a note about a failure for whoever asks for the state of the job.
fn noted(job: &SegmentJob, number: usize, error: Error) -> Error {
    if !matches!(error.kind(), Kind::Interrupted | Kind::Terminated) {
        let note = (error.kind().exit_code(), host(), error.to_string());
        // The failure itself counts; a note that cannot be left changes nothing.
        let _ = write_sealed(job.folder(), &job.failure_name(number), &note);
    }
    error
}

impl SegmentJob {
    /// Why the last attempt at segment `number` failed: exit code, machine, words.
    pub fn failure(&self, number: usize) -> Option<(u8, String, String)> {
        read_sealed(&self.folder().join(self.failure_name(number)), 1 << 16).ok().flatten()
    }
}

/// Makes segments `first` to `last`; `deliver` sees each picture as the delivery encoder takes it, in order.
pub(super) fn make(
    job: &SegmentJob,
    (first, last): (usize, usize),
    input: &InputSpec,
    resources: Resources,
    deliver: &mut dyn FnMut(&Packed) -> Result<()>,
    control: &Control,
) -> Result<()> {
    let cpu = CpuLevel::detect();
    let manifest = job.manifest();
    let options = manifest.params.options()?;
    let opening = Opening { job, input, options: &options, threads: resources.threads, cpu };
    let reader = opening.open()?;
    let info = reader.info().clone();
    let plan = options.resolve(&info.layout).map_err(|e| e.file(&info.path))?;
    if plan.window as u64 != manifest.overlap {
        let message = format!("says that a segment needs {} frames more, not {}", manifest.overlap, plan.window);
        return Err(Error::new(Kind::Mismatch, message).hint("plan anew").file(job.folder()));
    }
    let form = manifest.delivery.packed();
    let packing = Packing::new(&plan.to, form.turn, &form.pixel_format, cpu)?;
    let (begin, end) = (job.range(first).0, job.range(last).1);
    let enlarging = Enlarging::new(&plan, resources, cpu)?.for_part(begin..end, manifest.scenes().blurs);
    let needed = (begin.saturating_sub(manifest.overlap), (end + manifest.overlap).min(manifest.frames));
    let seen = ReadingSeen::default();
    let mut frames = RangeReader::open(opening, reader, needed, enlarging.frames(), &seen, control)?;
    let most = |number| job.most_bytes(number, packed_bytes(&plan.to));
    let mut sink = Sink {
        job,
        info: &info,
        layout: &plan.to,
        packing,
        seen: &seen,
        threads: resources.threads,
        cpu,
        number: first,
        current: None,
        pending: None,
    };
    let ran = enlarging.run(
        &mut || frames.next_frame(),
        &mut |enlarged, spare| {
            let number = sink.number;
            let packed = sink.take(&enlarged).map_err(|e| if_full(e, job, most(number)))?;
            spare.give(enlarged.frame.planes);
            deliver(&packed)
        },
        control,
    );
    let number = sink.number;
    let published = sink.wait().map_err(|e| if_full(e, job, most(number.min(last))));
    ran.map_err(|e| e.file(&input.path))?;
    published?;
    if sink.number != last + 1 {
        let message = format!("the pipeline ended before segment {} was whole", sink.number);
        return Err(Error::new(Kind::Bug, message).file(job.folder()));
    }
    Ok(())
}

/// Bytes of an uncompressed picture.
fn packed_bytes(layout: &PictureLayout) -> u64 {
    let sample = if layout.depth > 8 { 2 } else { 1 };
    (0..layout.plane_count()).map(|i| layout.plane_size(i)).map(|(r, c)| r as u64 * c as u64 * sample).sum()
}

/// Says how much is needed where the disk is full.
fn if_full(error: Error, job: &SegmentJob, most: u64) -> Error {
    if error.kind() != Kind::Resource {
        return error;
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let free = rustix::fs::statvfs(job.folder()).map(|s| s.f_bavail.saturating_mul(s.f_frsize));
    let free = free.map_or("how much is free is unknown".to_owned(), |free| format!("{} MiB are free", mib(free)));
    error.hint(format!(
        "this segment needs up to {} MiB ({most} bytes) in {}, {free}; then run it again",
        mib(most),
        job.folder().display()
    ))
}

/// Takes enlarged frames, segment after segment.
struct Sink<'a> {
    job: &'a SegmentJob,
    info: &'a VideoInfo,
    layout: &'a PictureLayout,
    packing: Packing,
    seen: &'a ReadingSeen,
    threads: usize,
    cpu: CpuLevel,
    /// The segment that is being made.
    number: usize,
    current: Option<Current>,
    /// The segment before it, on its way to its name.
    pending: Option<JoinHandle<Result<()>>>,
}

/// A segment in the making.
struct Current {
    draft: Draft,
    writer: PictureFile,
    tally: Tally,
    started: Instant,
}

impl Sink<'_> {
    fn take(&mut self, enlarged: &Enlarged) -> Result<Packed> {
        let (first, end) = self.job.range(self.number);
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin()?,
        };
        let index = enlarged.frame.index;
        if index != first + current.tally.frames {
            return Err(Error::new(Kind::Bug, format!("frame {index} comes out of order")));
        }
        let packed = self.packing.pack(&enlarged.frame)?;
        current.tally.add(enlarged);
        current.writer.write(&packed, &enlarged.frame)?;
        if index + 1 == end {
            self.end(current)?;
        } else {
            self.current = Some(current);
        }
        Ok(packed)
    }

    fn begin(&self) -> Result<Current> {
        let draft = Draft::new(self.job.folder(), &format!("seg-{:05}", self.number))?;
        let writer = self.file(draft.path())?;
        Ok(Current { draft, writer, tally: Tally::default(), started: Instant::now() })
    }

    /// A new file for pictures of this segment.
    fn file(&self, path: &Path) -> Result<PictureFile> {
        let delivery = &self.job.manifest().delivery;
        if delivery.is_in_parts() {
            let writer = EncodedWriter::create(path, &delivery.of_parts(), self.info, self.layout, self.cpu)?;
            return Ok(PictureFile::Encoded(Box::new(HashedWriter::new(writer))));
        }
        let keeping = delivery.keeping();
        let writer = StoredWriter::create(path, &self.packing, self.info, keeping, self.threads, self.cpu)?;
        Ok(PictureFile::Stored(Box::new(writer)))
    }

    fn end(&mut self, current: Current) -> Result<()> {
        let Current { draft, writer, tally, started } = current;
        let (number, frames) = (self.number, self.job.range(self.number));
        let (written, coded) = writer.finish()?;
        if written != tally.frames || tally.frames != frames.1 - frames.0 {
            let message = format!("{written} of {} pictures of segment {number} were kept", tally.frames);
            return Err(Error::new(Kind::Bug, message));
        }
        let receipt = Receipt {
            segment: number,
            key: self.job.key(number).to_owned(),
            frames,
            bytes: 0,
            blake3: String::new(),
            coded,
            reading: self.seen.get(),
            tool: Tool::this(),
            host: host(),
            process: std::process::id(),
            seconds: started.elapsed().as_secs_f64(),
            figures: Figures::from(&tally),
        };
        self.wait()?;
        let (folder, stem) = (self.job.folder().to_owned(), self.job.stem(number));
        let publishing = std::thread::Builder::new()
            .name("publish".into())
            .spawn(move || publish(draft, &folder, &stem, receipt))
            .map_err(|e| Error::new(Kind::Resource, "no thread could be started").caused_by(e))?;
        self.pending = Some(publishing);
        self.number += 1;
        Ok(())
    }

    /// Waits until the segment before is where it belongs.
    fn wait(&mut self) -> Result<()> {
        match self.pending.take() {
            None => Ok(()),
            Some(pending) => {
                pending.join().unwrap_or_else(|_| Err(Error::new(Kind::Bug, "publishing a segment ended with a panic")))
            }
        }
    }
}

/// Gives a segment its name, and then its receipt.
fn publish(draft: Draft, folder: &Path, stem: &str, receipt: Receipt) -> Result<()> {
    let [note, conflict] = ["json", "conflict"].map(|extension| format!("{stem}.{extension}"));
    let (blake3, bytes) = hash_file(draft.path()).map_err(failed("reading a segment back", draft.path()))?;
    let receipt = Receipt { blake3, bytes, ..receipt };
    match result_of_another(folder, &note, &receipt) {
        Some(Another { alike: true, .. }) => return Ok(()),
        Some(Another { path, .. }) => {
            draft.publish(&conflict)?;
            let message = format!("two runs gave different pictures; the second is kept as {conflict}");
            return Err(Error::new(Kind::Bug, message)
                .hint("please report it, with both machines' kind of processor")
                .file(&path));
        }
        None => {}
    }
    let own = folder.join(receipt.data_name());
    draft.publish(&receipt.data_name())?;
    // Somebody may have been quicker, with other bytes for the same pictures.
    if let Some(Another { path, alike: true }) = result_of_another(folder, &note, &receipt) {
        if path != own {
            std::fs::remove_file(&own).map_err(failed("removing a segment that is there twice", &own))?;
        }
        return Ok(());
    }
    write_sealed(folder, &note, &receipt)
}

/// The whole result of another run.
struct Another {
    path: PathBuf,
    /// Whether it holds the same pictures.
    alike: bool,
}

/// What another run has made of the segment of `receipt`; `None` if it is not whole. A receipt that cannot be read is replaced.
fn result_of_another(folder: &Path, note: &str, receipt: &Receipt) -> Option<Another> {
    let other: Receipt = read_sealed(&folder.join(note), 1 << 20).ok().flatten()?;
    if other.key != receipt.key || !other.is_sound(receipt.coded.is_some()) {
        return None;
    }
    let path = folder.join(other.data_name());
    let whole = hash_file(&path).is_ok_and(|(hash, _)| hash == other.blake3);
    let pictures = |receipt: &Receipt| receipt.coded.as_ref().map(|coded| coded.pictures.clone());
    // An encoder may give other bytes for the same pictures; the first ones are as good.
    let alike = other.blake3 == receipt.blake3 || (other.coded.is_some() && pictures(&other) == pictures(receipt));
    whole.then_some(Another { path, alike })
}
