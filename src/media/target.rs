//! Where the output goes: under a temporary name in the folder of the final one, renamed when it is whole.
//!
//! A part file is removed when its owner is dropped, and by [`remove_unfinished`] when the process has to end at once.
//! Nothing that exists is touched unless overwriting was asked for, and never before the new file is complete.

use std::ffi::CString;
use std::fs::File;
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{NamedTempFile, TempDir};

use super::heap;
use super::open::{file_url, folder_of, is_sequence_pattern, sequence_files, sequence_number, sequence_url};
use crate::cores::apart;
use crate::error::{Error, Kind, Result};

/// Bytes of an output that the system is asked to bring to disk at once, while frames are made: all of them at the end take 20 ms
/// for 75 MB, and the last of 16 MiB still 7, in which cores idle.
const BATCH: u64 = 4 << 20;

/// Part files and folders alive in this process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes every unfinished output of this process: for the moment before it is ended from outside.
pub fn remove_unfinished() {
    let paths = std::mem::take(&mut *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner));
    for path in paths {
        // One of the two is right; both may fail if the owner was quicker.
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_dir_all(&path);
    }
}

/// A file or folder that [`remove_unfinished`] removes while this is alive.
#[derive(Debug)]
pub struct Listed(PathBuf);

impl Listed {
    /// Lists `path`.
    pub fn new(path: &Path) -> Self {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|p| *p != self.0);
    }
}

/// An output that is not finished yet.
#[derive(Debug)]
pub(super) enum Target {
    /// y4m on standard output.
    Pipe,
    /// One file, the one it will replace, and how much of it is on its way to disk.
    File { part: NamedTempFile, path: PathBuf, overwrite: bool, listed: Listed, replaced: Option<File>, handed_on: u64 },
    /// Numbered pictures, made in a folder of their own.
    Sequence { folder: TempDir, pattern: PathBuf, overwrite: bool, listed: Listed },
}

/// Refuses outputs that would replace the input or, unless asked for, any existing file.
///
/// # Errors
/// [`Kind::Usage`] if `output` is `input`; [`Kind::Create`] if it exists.
pub(super) fn check(output: &Path, input: Option<&Path>, overwrite: bool) -> Result<()> {
    if input.is_some_and(|input| is_same(input, output)) {
        return Err(Error::new(Kind::Usage, "input and output are the same file")
            .hint("give the output another name")
            .file(output));
    }
    let exists = |path: &Path| Error::new(Kind::Create, "exists already").hint("--overwrite replaces it").file(path);
    if is_sequence_pattern(output) {
        if let (false, Some((_, found))) = (overwrite, sequence_files(output).first()) {
            return Err(exists(found));
        }
    } else if output.is_dir() {
        return Err(Error::new(Kind::Create, "is a folder").hint("give the name of a file in it").file(output));
    } else if !overwrite && output.symlink_metadata().is_ok() {
        return Err(exists(output));
    }
    Ok(())
}

/// Whether two names mean one file, or numbered sequences of pictures that have files in common.
fn is_same(input: &Path, output: &Path) -> bool {
    let same = |a: &Path, b: &Path| same_file::is_same_file(a, b).unwrap_or(false);
    let has_member = |pattern: &Path, file: &Path| {
        let alike = sequence_number(pattern, file).is_some() || pattern.file_name() == file.file_name();
        is_sequence_pattern(pattern) && alike && same(folder_of(pattern), folder_of(file))
    };
    same(input, output) || has_member(input, output) || has_member(output, input)
}

impl Target {
    /// Makes the temporary file or folder for `output`, in its folder or in another `place` on the same file system.
    pub(super) fn create(output: &Path, place: Option<&Path>, overwrite: bool) -> Result<Self> {
        if output.as_os_str() == "-" {
            return Ok(Self::Pipe);
        }
        let folder = place.unwrap_or(folder_of(output));
        let failed = |e: std::io::Error| {
            let kind = if Kind::of_io(&e) == Kind::Resource { Kind::Resource } else { Kind::Create };
            let hint = if folder.is_dir() { "check that you may write there" } else { "make the folder first" };
            Error::new(kind, format!("cannot be created in {}", folder.display())).hint(hint).caused_by(e).file(output)
        };
        let name =
            output.file_name().ok_or_else(|| Error::new(Kind::Usage, "the output has no file name").file(output))?;
        let mut prefix = std::ffi::OsString::from(".");
        // A long name leaves room for what is added to it; a sequence's folder must not look like a second pattern.
        prefix.push(
            name.to_str().map_or("output".to_owned(), |n| n.chars().take(50).collect::<String>().replace('%', "_")),
        );
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".part");
        if is_sequence_pattern(output) {
            let folder = builder.tempdir_in(folder).map_err(failed)?;
            let listed = Listed::new(folder.path());
            return Ok(Self::Sequence { folder, pattern: output.to_owned(), overwrite, listed });
        }
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let part = builder.tempfile_in(folder).map_err(failed)?;
        let listed = Listed::new(part.path());
        let replaced = to_replace(output);
        Ok(Self::File { part, path: output.to_owned(), overwrite, listed, replaced, handed_on: 0 })
    }

    /// What FFmpeg is to write to.
    pub(super) fn url(&self) -> Result<CString> {
        match self {
            Self::Pipe => Ok(c"pipe:1".to_owned()),
            Self::File { part, .. } => file_url(part.path()),
            Self::Sequence { folder, pattern, .. } => {
                sequence_url(&folder.path().join(pattern.file_name().unwrap_or_default()))
            }
        }
    }

    /// Asks the system, now and then, to bring what is written, `end` bytes, to disk, and to keep as much less in memory of the
    /// file that will be replaced. It need not: errors are those of the end.
    pub(super) fn hand_on(&mut self, end: u64) {
        let Self::File { part, replaced, handed_on, .. } = self else { return };
        if end < *handed_on + BATCH {
            return;
        }
        begin_to_write(part.as_file(), *handed_on..end);
        if let Some(replaced) = replaced {
            drop_from_memory(replaced, *handed_on..end);
        }
        *handed_on = end;
    }

    /// Makes the output appear under its final name. Returns its size in bytes.
    pub(super) fn publish(self) -> Result<u64> {
        match self {
            Self::Pipe => Ok(0),
            Self::File { part, path, overwrite, listed: _listed, replaced, handed_on } => {
                let rest = |file: &File| drop_from_memory(file, handed_on..u64::MAX);
                publish_file(part, &path, overwrite, || drop(replaced.inspect(rest)))
            }
            Self::Sequence { folder, pattern, overwrite, listed: _listed } => {
                publish_sequence(&folder, &pattern, overwrite)
            }
        }
    }
}

/// Gives a part file its name, after `last`.
fn publish_file(part: NamedTempFile, path: &Path, overwrite: bool, last: impl FnOnce()) -> Result<u64> {
    let failed = |e: std::io::Error| Error::new(Kind::of_io(&e), "could not be finished").caused_by(e).file(path);
    let size = part.as_file().metadata().map_err(failed)?.len();
    // The disk keeps no core busy: a file that is replaced goes meanwhile, and the memory of the job on another core.
    std::thread::scope(|scope| {
        // Where no thread can be started the output is finished all the same.
        let _ = std::thread::Builder::new().spawn_scoped(scope, apart(heap::give_back));
        begin_to_write(part.as_file(), 0..size);
        last();
        part.as_file().sync_all().map_err(failed)?;
        let moved = if overwrite { part.persist(path) } else { part.persist_noclobber(path) };
        moved.map(drop).map_err(|e| {
            let kind =
                if e.error.kind() == std::io::ErrorKind::AlreadyExists { Kind::Create } else { Kind::of_io(&e.error) };
            Error::new(kind, "could not be given its name").caused_by(e.error).file(path)
        })
    })?;
    Ok(size)
}

/// Has the system begin to bring `bytes` of a file to disk, and does not wait for it.
fn begin_to_write(file: &File, bytes: Range<u64>) {
    #[cfg(target_os = "linux")]
    // SAFETY: an open file; the call takes numbers and changes nothing but when it is written to disk.
    unsafe {
        let count = bytes.end - bytes.start;
        libc::sync_file_range(file.as_raw_fd(), bytes.start as i64, count as i64, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// The file that `path` names now, if any.
fn to_replace(path: &Path) -> Option<File> {
    // Pipes and devices are not asked, nor is where a link points: it is the link that is replaced.
    let there = path.symlink_metadata().is_ok_and(|there| there.is_file());
    if there { File::open(path).ok() } else { None }
}

/// Sets the memory free in which the system keeps `bytes` of a file, as far as they are on disk, where they stay: replacing a file
/// whose 75 MB are in memory takes 10 ms.
fn drop_from_memory(file: &File, bytes: Range<u64>) {
    #[cfg(target_os = "linux")]
    // SAFETY: an open file; advice changes nothing in it.
    unsafe {
        // A length of 0 is all that follows.
        let count = if bytes.end == u64::MAX { 0 } else { bytes.end - bytes.start };
        libc::posix_fadvise(file.as_raw_fd(), bytes.start as i64, count as i64, libc::POSIX_FADV_DONTNEED);
    }
}

fn publish_sequence(folder: &TempDir, pattern: &Path, overwrite: bool) -> Result<u64> {
    let failed = |e: std::io::Error| Error::new(Kind::of_io(&e), "could not be finished").caused_by(e).file(pattern);
    let entries = std::fs::read_dir(folder.path()).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    let target = |entry: &std::fs::DirEntry| folder_of(pattern).join(entry.file_name());
    if let Some(taken) = entries.iter().map(target).find(|to| !overwrite && to.exists()) {
        return Err(Error::new(Kind::Create, "appeared while the sequence was made")
            .hint("--overwrite replaces it")
            .file(&taken));
    }
    let mut size = 0;
    for entry in entries {
        size += entry.metadata().map_err(failed)?.len();
        std::fs::rename(entry.path(), target(&entry)).map_err(failed)?;
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_output_stays_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().expect("scratch");
        let out = folder.path().join("out.mkv");
        std::fs::write(&out, "old").expect("old file");
        assert_eq!(check(&out, None, false).expect_err("exists").kind(), Kind::Create, "not without overwrite");
        let target = Target::create(&out, None, true).expect("part file");
        assert_eq!(std::fs::read(&out).expect("still there"), b"old", "untouched while unfinished");
        drop(target);
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1, "the part file is gone");
        let target = Target::create(&out, None, true).expect("part file");
        if let Target::File { part, .. } = &target {
            std::fs::write(part.path(), "new").expect("written");
        }
        assert_eq!(target.publish().expect("published"), 3, "size");
        assert_eq!(std::fs::read(&out).expect("there"), b"new", "replaced");
    }

    #[test]
    fn a_file_that_will_be_replaced_keeps_what_is_in_it_while_its_memory_goes() {
        let folder = tempfile::tempdir().expect("scratch");
        let out = folder.path().join("out.mkv");
        let old: Vec<u8> = (0..3 * BATCH / 2).map(|i| (i % 251) as u8).collect();
        std::fs::write(&out, &old).expect("old file");
        let mut target = Target::create(&out, None, true).expect("part file");
        for end in [BATCH - 1, BATCH, BATCH + 1, 3 * BATCH] {
            target.hand_on(end);
            assert!(std::fs::read(&out).expect("still there") == old, "as it was, {end} bytes on");
        }
        assert_eq!(target.publish().expect("published"), 0, "nothing was written");
        assert!(std::fs::read(&out).expect("there").is_empty(), "replaced");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_that_nobody_writes_to_is_replaced_without_waiting() {
        let folder = tempfile::tempdir().expect("scratch");
        let out = folder.path().join("out.mkv");
        let made = std::process::Command::new("mkfifo").arg(&out).status().expect("mkfifo runs");
        assert!(made.success(), "a pipe");
        let target = Target::create(&out, None, true).expect("part file");
        assert_eq!(target.publish().expect("published"), 0, "size");
        assert!(out.symlink_metadata().expect("there").is_file(), "a file now");
    }

    #[test]
    fn the_input_is_recognised_under_any_name() {
        let folder = tempfile::tempdir().expect("scratch");
        let (a, b) = (folder.path().join("a.mkv"), folder.path().join("b.mkv"));
        std::fs::write(&a, "film").expect("input");
        std::fs::hard_link(&a, &b).expect("link");
        assert_eq!(
            check(&b, Some(&a), true).expect_err("same file").kind(),
            Kind::Usage,
            "a hard link is the same file"
        );
    }

    #[test]
    fn a_sequence_does_not_replace_its_older_frames() {
        let folder = tempfile::tempdir().expect("scratch");
        std::fs::write(folder.path().join("f0007.png"), "old").expect("old frame");
        let pattern = folder.path().join("f%04d.png");
        assert!(check(&pattern, None, false).is_err(), "exists");
        assert!(check(&folder.path().join("g%04d.png"), None, false).is_ok(), "other names are free");
    }
}
