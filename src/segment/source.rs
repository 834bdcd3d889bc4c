//! Which input a job is for: where it was, how long it is, when it was changed, and a hash of all of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::params::text_of;
use super::publish::hash_into;
use crate::error::{Error, Kind, Result};
use crate::media::{InputSpec, sequence_files};

/// An input as it was when it was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Absolute path.
    pub path: String,
    /// Bytes; of a numbered sequence, of all its files.
    pub bytes: u64,
    /// Last change, nanoseconds since 1970; of a sequence the latest.
    pub changed: i64,
    /// Hash of the content; of a sequence, of all its files with their numbers.
    pub blake3: String,
}

/// Files with their numbers in a sequence.
type Files = Vec<(u64, PathBuf)>;

/// What is known of files without reading them: their sizes added up, and the latest change.
fn glance(spec: &InputSpec) -> Result<(Files, u64, i64)> {
    if spec.is_pipe() {
        return Err(Error::new(Kind::Usage, "segments are made from files, which can be read more than once")
            .hint("save it first, or take upscale without --resume")
            .file(&spec.path));
    }
    let files = if spec.is_sequence() { sequence_files(&spec.path) } else { vec![(0, spec.path.clone())] };
    let (mut bytes, mut changed) = (0, i64::MIN);
    for (_, file) in &files {
        let gone = |e| Error::new(Kind::Input, "cannot be opened").file(file).caused_by(e);
        let about = std::fs::metadata(file).map_err(gone)?;
        bytes += about.len();
        let time = about.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        changed = changed.max(time.and_then(|t| i64::try_from(t.as_nanos()).ok()).unwrap_or(0));
    }
    Ok((files, bytes, changed))
}

fn hash(files: &[(u64, PathBuf)]) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (number, file) in files {
        let unread = |e| Error::new(Kind::Input, "cannot be read").file(file).caused_by(e);
        if files.len() > 1 {
            hasher.update(&number.to_le_bytes());
        }
        hash_into(&mut hasher, file).map_err(unread)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

impl Source {
    /// Reads all of an input.
    pub(super) fn of(spec: &InputSpec) -> Result<Self> {
        let (files, bytes, changed) = glance(spec)?;
        let unknown = |e| Error::new(Kind::Input, "cannot be found").file(&spec.path).caused_by(e);
        let path = std::path::absolute(&spec.path).map_err(unknown)?;
        Ok(Self { path: text_of(&path)?, bytes, changed, blake3: hash(&files)? })
    }

    /// Refuses an input that is not this one. Where size and time of the last change are the same it is not read again.
    pub(super) fn check(&self, spec: &InputSpec) -> Result<()> {
        let (files, bytes, changed) = glance(spec)?;
        let differs = |what: String| {
            Error::new(Kind::Mismatch, format!("is not the input that was planned: {what}"))
                .hint("bring that input back, or plan anew")
                .file(&spec.path)
        };
        if bytes != self.bytes {
            return Err(differs(format!("it has {bytes} bytes, then {}", self.bytes)));
        }
        if changed != self.changed && hash(&files)? != self.blake3 {
            return Err(differs("its content has changed".to_owned()));
        }
        Ok(())
    }

    /// Where it was.
    pub(super) fn path(&self) -> &Path {
        Path::new(&self.path)
    }
}
