//! A job folder that holds a plan: names of its files, what is there, what is missing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::index;
use super::manifest::{MOST_BYTES, Manifest, Tool};
use super::publish::{hash_text, read_sealed};
use super::receipt::State;
use crate::error::{Error, Kind, Result};
use crate::media::InputSpec;

/// Name of the manifest in a job folder.
pub(super) const MANIFEST: &str = "manifest.json";

/// How far files are looked at before they are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Size alone.
    Receipt,
    /// Every byte.
    Hash,
}

/// A planned job.
#[derive(Debug, Clone)]
pub struct SegmentJob {
    folder: PathBuf,
    manifest: Manifest,
    keys: Vec<String>,
}

impl SegmentJob {
    /// Opens the job in `folder`.
    ///
    /// # Errors
    /// [`Kind::Usage`] if there is none; [`Kind::Input`] if its manifest or index is damaged; [`Kind::Mismatch`] if it is
    /// from another version of this program or of FFmpeg's libraries, unless `allow_mixed`.
    pub fn open(folder: &Path, allow_mixed: bool) -> Result<Self> {
        let none = || Error::new(Kind::Usage, "holds no job").hint("`subpel plan IN -o JOB` makes one").file(folder);
        let job = Self::find(folder)?.ok_or_else(none)?;
        job.check_tool(allow_mixed)?;
        index::check(folder, job.manifest.frames, &job.manifest.index)?;
        Ok(job)
    }

    /// The job in `folder`, if there is one; its version and index are not looked at.
    pub(super) fn find(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(MANIFEST);
        let Some(manifest) = read_sealed::<Manifest>(&path, MOST_BYTES)? else { return Ok(None) };
        manifest.check().map_err(|e| e.file(&path))?;
        Self::of(folder, manifest).map(Some)
    }

    /// The job of `manifest`.
    pub(super) fn of(folder: &Path, manifest: Manifest) -> Result<Self> {
        let content = manifest.content()?;
        let key = |(n, (first, end)): (usize, &(u64, u64))| {
            hash_text(&format!("{content} segment {} frames {first} to {end}", n + 1))[..16].to_owned()
        };
        let keys = manifest.segments.iter().enumerate().map(key).collect();
        Ok(Self { folder: folder.to_owned(), manifest, keys })
    }

    pub(super) fn check_tool(&self, allow_mixed: bool) -> Result<()> {
        let (then, now) = (&self.manifest.tool, Tool::this());
        if allow_mixed || *then == now {
            return Ok(());
        }
        let message = format!("was planned by {}, this is {}", then.words(), now.words());
        Err(Error::new(Kind::Mismatch, message)
            .hint("take that version, plan anew, or --allow-mixed if pictures may differ from segment to segment")
            .file(&self.folder.join(MANIFEST)))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is to be done.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.keys.len()
    }

    /// First frame of segment `number` (from 1) and the one after its last.
    pub fn range(&self, number: usize) -> (u64, u64) {
        self.manifest.segments[number - 1]
    }

    /// Key of segment `number`.
    pub fn key(&self, number: usize) -> &str {
        &self.keys[number - 1]
    }

    /// Name of segment `number`'s files, without extension.
    pub(super) fn stem(&self, number: usize) -> String {
        format!("seg-{number:05}-{}", self.key(number))
    }

    /// Name of the receipt of segment `number`.
    pub fn receipt_name(&self, number: usize) -> String {
        format!("{}.json", self.stem(number))
    }

    /// Name of the note why segment `number` failed.
    pub fn failure_name(&self, number: usize) -> String {
        format!("{}.failed", self.stem(number))
    }

    /// Refuses numbers that no segment has.
    ///
    /// # Errors
    /// [`Kind::Usage`] with what is allowed.
    pub fn check_number(&self, number: usize) -> Result<()> {
        if (1..=self.segments()).contains(&number) {
            return Ok(());
        }
        let message = format!("there is no segment {number}, only 1 to {}", self.segments());
        Err(Error::new(Kind::Usage, message).file(&self.folder))
    }

    /// States of all segments, from the first.
    ///
    /// # Errors
    /// As for [`Self::state`].
    pub fn states(&self, trust: Trust) -> Result<Vec<State>> {
        (1..=self.segments()).map(|number| self.state(number, trust)).collect()
    }

    /// State of segment `number`, after waiting up to `patience` for a file that is on its way.
    ///
    /// # Errors
    /// As for [`Self::state`].
    pub fn awaited(&self, number: usize, trust: Trust, patience: Duration) -> Result<State> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let state = self.state(number, trust)?;
            let left = patience.saturating_sub(start.elapsed());
            if !matches!(state, State::Late { .. }) || left.is_zero() {
                return Ok(state);
            }
            std::thread::sleep(pause.min(left));
            pause *= 2;
        }
    }

    /// The input, at another place if one is given, if it is still the one that was planned.
    pub(super) fn input(&self, elsewhere: Option<&Path>) -> Result<InputSpec> {
        let input = self.manifest.params.input(elsewhere.unwrap_or(self.manifest.source.path()));
        self.manifest.source.check(&input)?;
        Ok(input)
    }

    /// Bytes that the pictures of segment `number` take at most: those they take uncompressed.
    pub(super) fn most_bytes(&self, number: usize, picture: u64) -> u64 {
        let (first, end) = self.range(number);
        (end - first).saturating_mul(picture)
    }
}
