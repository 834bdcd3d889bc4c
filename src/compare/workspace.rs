//! Where a comparison puts what it makes: a temporary folder, or one in which results are kept and found again.
//!
//! Beside each kept file lies a receipt: the key of what it was made of (options, identity of the input, version of the
//! program) and what was measured while it was made. A file whose receipt has the same key is not made again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::error::{Error, Kind, Result};
use crate::media::Listed;

/// Folders of a comparison.
#[derive(Debug)]
pub(super) struct Workspace {
    kept: Option<PathBuf>,
    temporary: TempDir,
    _listed: Listed,
    overwrite: bool,
}

#[derive(Serialize, Deserialize)]
struct Receipt<T> {
    key: String,
    made: T,
}

impl Workspace {
    /// Makes the folders; `overwrite` lets files in `kept` that have no receipt be replaced.
    pub(super) fn open(kept: Option<&Path>, overwrite: bool) -> Result<Self> {
        let failed = |e: std::io::Error, what: &str| {
            let kind = if Kind::of_io(&e) == Kind::Resource { Kind::Resource } else { Kind::Create };
            Error::new(kind, format!("the folder for {what} cannot be made")).caused_by(e)
        };
        if let Some(folder) = kept {
            fs::create_dir_all(folder).map_err(|e| failed(e, "results that are kept").file(folder))?;
        }
        let temporary = tempfile::Builder::new().prefix("subpel-compare-").tempdir();
        let temporary = temporary.map_err(|e| failed(e, "results").hint("TMPDIR names another place"))?;
        let listed = Listed::new(temporary.path());
        Ok(Self { kept: kept.map(Path::to_owned), temporary, _listed: listed, overwrite })
    }

    /// A folder for what nobody needs afterwards.
    pub(super) fn scratch(&self) -> &Path {
        self.temporary.path()
    }

    /// The file `name.mkv`, made by `make` unless it is there already with the same `key`. Without a key it is always made.
    pub(super) fn file<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        key: Option<String>,
        make: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<(PathBuf, T)> {
        let folder = self.kept.as_deref().unwrap_or(self.temporary.path());
        let path = folder.join(format!("{name}.mkv"));
        let receipt = folder.join(format!("{name}.json"));
        let key = key.map(|key| format!("subpel {}: {key}", env!("CARGO_PKG_VERSION")));
        let earlier = read_receipt::<T>(&receipt);
        match earlier {
            Some(receipt) if path.is_file() && Some(&receipt.key) == key.as_ref() => return Ok((path, receipt.made)),
            None if path.exists() && !self.overwrite && self.kept.is_some() => {
                return Err(Error::new(Kind::Create, "exists already and was not made by a comparison")
                    .hint("--overwrite replaces it, or take another folder for --keep")
                    .file(&path));
            }
            _ => {}
        }
        // A receipt beside a file that it is not of would be believed next time.
        remove(&receipt)?;
        remove(&path)?;
        let made = make(&path)?;
        if let (Some(key), Some(_)) = (key, &self.kept) {
            write_receipt(&receipt, &Receipt { key, made: &made })?;
        }
        Ok((path, made))
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::Create, "an older result cannot be removed").caused_by(e).file(path))
        }
        _ => Ok(()),
    }
}

fn read_receipt<T: DeserializeOwned>(path: &Path) -> Option<Receipt<T>> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write_receipt<T: Serialize>(path: &Path, receipt: &Receipt<T>) -> Result<()> {
    let bytes = serde_json::to_vec(receipt)
        .map_err(|e| Error::new(Kind::Bug, "a receipt cannot be written as JSON").caused_by(e))?;
    fs::write(path, bytes)
        .map_err(|e| Error::new(Kind::of_io(&e), "a receipt cannot be written").caused_by(e).file(path))
}

/// What tells a file from others and from itself after a change: place, size, time; `None` if there is no such file.
pub(super) fn identity(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let about = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{} {} bytes {}.{:09}", path.display(), about.len(), changed.as_secs(), changed.subsec_nanos()))
}

/// A name for a file that belongs to `name`, whatever that holds: no separators, not hidden, not too long, and another
/// one for another name.
pub(super) fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-_".contains(c);
    let kept: String = name.chars().take(40).map(|c| if plain(c) { c } else { '_' }).collect();
    if kept == name {
        return kept;
    }
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    format!("{kept}-{:08x}", hasher.finish() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_in_the_folder_and_apart() {
        assert_eq!(file_name("map+builtin"), "map+builtin", "a plain name");
        let names =
            ["../../etc/passwd", "a/b", "a b", "a_b", ".", "..", "", &"x".repeat(50), &"x".repeat(51), "é", "%04d"];
        let files: Vec<String> = names.iter().map(|name| file_name(name)).collect();
        for (name, file) in names.iter().zip(&files) {
            assert!(!file.contains(['/', '%', '.']), "{name:?} is {file:?}");
            assert_eq!(files.iter().filter(|other| *other == file).count(), 1, "{name:?} shares {file:?}");
        }
    }

    #[test]
    fn files_are_made_again_only_if_their_key_changes() {
        let folder = tempfile::tempdir().expect("scratch");
        let workspace = || Workspace::open(Some(folder.path()), false).expect("a folder");
        let make = |key: &str, text: &'static str| {
            let make = |path: &Path| fs::write(path, text).map(|()| text.to_owned()).map_err(|_| unreachable!());
            workspace()
                .file::<String>("a", Some(key.into()), make)
                .map(|(path, made)| (made, fs::read_to_string(path).expect("the file")))
        };
        let both = |text: &str| (text.to_owned(), text.to_owned());
        assert_eq!(make("k", "one").expect("made"), both("one"), "first");
        assert_eq!(make("k", "two").expect("found"), both("one"), "found again");
        assert_eq!(make("l", "three").expect("made"), both("three"), "another key");
        fs::remove_file(folder.path().join("a.json")).expect("no receipt");
        assert_eq!(make("l", "four").expect_err("not ours").kind(), Kind::Create, "a file of somebody else");
    }
}
